//! `/` and `/health`.

use std::time::Duration;

use copyist_proto::Malformed;
use copyist_proto::connect::{GetHealthRequest, GetServerRequest, HealthState};
use http::StatusCode;

use crate::document::{Health, Server};
use crate::exchange::{Call, Limits, call, call_within};
use crate::refusal::Refusal;
use crate::reply::Reply;

/// Connect's limit on a probe; that no coordinator answers is said sooner.
const PROBE: Limits = Limits { deadline: Duration::from_secs(10), patience: Duration::from_secs(2) };

pub async fn get(mut to: Call) -> Result<Reply, Refusal> {
    let server = call(GetServerRequest {}, |request| to.client.get_server(request)).await?;
    Reply::ok(&Server::from(&server))
}

/// A probe gets Connect's document also when nobody answers behind the gateway.
pub async fn health(mut to: Call) -> Result<Reply, Refusal> {
    let probed = call_within(PROBE, GetHealthRequest {}, |request| to.client.get_health(request)).await;
    let (status, state, message) = match probed {
        Ok(health) => {
            let (status, state) = match health.state() {
                HealthState::Healthy => (StatusCode::OK, "healthy"),
                HealthState::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
                HealthState::Unhealthy => (StatusCode::INTERNAL_SERVER_ERROR, "unhealthy"),
                HealthState::Unspecified => {
                    return Err(Malformed::Missing { message: "GetHealthResponse", field: "state" }.into());
                }
            };
            (status, state, health.message)
        }
        Err(refusal) => {
            let message = format!(
                "Worker was unable to handle this request and may be unable to handle other requests. {}",
                refusal.message
            );
            (StatusCode::INTERNAL_SERVER_ERROR, "unhealthy", message)
        }
    };
    Reply::json(status, &Health { status: state, message: &message })
}
