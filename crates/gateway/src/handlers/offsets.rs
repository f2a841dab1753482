//! Offsets (KIP-875).

use copyist_proto::connect::{AlterOffsetsRequest, GetOffsetsRequest, ResetOffsetsRequest};

use super::request_id;
use crate::document::{Done, Offsets};
use crate::exchange::{Call, call, read, write};
use crate::input;
use crate::refusal::Refusal;
use crate::reply::Reply;

pub async fn get(mut to: Call) -> Result<Reply, Refusal> {
    let request = GetOffsetsRequest { name: to.target.connector };
    let found = call(request, |request| to.client.get_offsets(request)).await?;
    Reply::ok(&Offsets::try_from(&found)?)
}

pub async fn alter(mut to: Call) -> Result<Reply, Refusal> {
    let offsets = input::offsets(&read(to.body, to.declared).await?)?;
    let request = AlterOffsetsRequest { name: to.target.connector, offsets, request_id: request_id() };
    let done = write(request, |request| to.client.alter_offsets(request)).await?;
    Reply::ok(&Done { message: &done.message })
}

pub async fn reset(mut to: Call) -> Result<Reply, Refusal> {
    let request = ResetOffsetsRequest { name: to.target.connector, request_id: request_id() };
    let done = write(request, |request| to.client.reset_offsets(request)).await?;
    Reply::ok(&Done { message: &done.message })
}
