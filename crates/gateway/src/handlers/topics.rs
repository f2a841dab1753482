//! Active topics (KIP-558).

use std::collections::BTreeMap;

use copyist_proto::connect::{GetTopicsRequest, ResetTopicsRequest};
use http::StatusCode;

use crate::document::Topics;
use crate::exchange::{Call, call, write};
use crate::refusal::Refusal;
use crate::reply::Reply;

pub async fn get(mut to: Call) -> Result<Reply, Refusal> {
    is_tracked(&to)?;
    let request = GetTopicsRequest { name: to.target.connector.clone() };
    let found = call(request, |request| to.client.get_topics(request)).await?;
    Reply::ok(&BTreeMap::from([(&to.target.connector, Topics { topics: &found.topics })]))
}

pub async fn reset(mut to: Call) -> Result<Reply, Refusal> {
    is_tracked(&to)?;
    if !to.gateway.tracking.may_be_reset {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "Topic tracking reset is disabled."));
    }
    let request = ResetTopicsRequest { name: to.target.connector };
    write(request, |request| to.client.reset_topics(request)).await?;
    Ok(Reply::Empty(StatusCode::ACCEPTED))
}

fn is_tracked(to: &Call) -> Result<(), Refusal> {
    if to.gateway.tracking.enabled {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "Topic tracking is disabled."))
}
