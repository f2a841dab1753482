//! Active topics (KIP-558).

use std::collections::BTreeMap;

use copyist_proto::connect::{GetTopicsRequest, ResetTopicsRequest};
use http::StatusCode;

use crate::document::Topics;
use crate::exchange::{Call, call, write};
use crate::refusal::Refusal;
use crate::reply::Reply;

pub async fn get(mut to: Call) -> Result<Reply, Refusal> {
    let request = GetTopicsRequest { name: to.target.connector.clone() };
    let found = call(request, |request| to.client.get_topics(request)).await?;
    Reply::ok(&BTreeMap::from([(&to.target.connector, Topics { topics: &found.topics })]))
}

pub async fn reset(mut to: Call) -> Result<Reply, Refusal> {
    let request = ResetTopicsRequest { name: to.target.connector };
    write(request, |request| to.client.reset_topics(request)).await?;
    Ok(Reply::Empty(StatusCode::ACCEPTED))
}
