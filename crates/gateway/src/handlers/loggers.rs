//! `/admin/loggers`: what the processes write to their logs.

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_model::{LogLevel, LoggerFault};
use copyist_proto::Coordinators;
use copyist_proto::connect::logger_service_client::LoggerServiceClient;
use copyist_proto::connect::{SetLoggerRequest, SetLoggerResponse};
use http::StatusCode;
use tokio::task::JoinSet;

use crate::document::LoggerLevel;
use crate::exchange::{Call, read};
use crate::input;
use crate::refusal::Refusal;
use crate::reply::Reply;

/// A coordinator that does not answer by then is left out.
const COORDINATOR_DEADLINE: Duration = Duration::from_secs(5);

pub fn list(to: &Call) -> Result<Reply, Refusal> {
    let all = to.gateway.loggers.all();
    let levels: BTreeMap<&str, LoggerLevel> =
        all.iter().map(|logger| (logger.name.as_str(), logger.into())).collect();
    Reply::ok(&levels)
}

pub fn get(to: &Call) -> Result<Reply, Refusal> {
    let name = &to.target.logger;
    let logger = to.gateway.loggers.get(name);
    let logger =
        logger.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, format!("Logger {name} not found.")))?;
    Reply::ok(&LoggerLevel::from(&logger))
}

/// `scope=cluster` is for the whole fleet; anything else is for this process.
pub async fn set(to: Call) -> Result<Reply, Refusal> {
    let config = input::config_body(&read(to.body, to.declared).await?)?;
    let level = config.into_iter().find(|entry| entry.key == "level").and_then(|entry| entry.value);
    let level = level
        .ok_or_else(|| Refusal::bad_request("Desired 'level' parameter was not specified in request."))?;
    let level: LogLevel = level.parse()?;
    let changed = to.gateway.loggers.set(&to.target.logger, level)?;
    let scope = to.query.all("scope").and_then(|scopes| scopes.first().map(|scope| scope.to_lowercase()));
    if scope.as_deref() != Some("cluster") {
        return Reply::ok(&changed);
    }
    let request =
        SetLoggerRequest { logger: to.target.logger, level: level.as_str().to_owned(), agents: true };
    everywhere(&to.gateway.coordinators, &request).await?;
    Ok(Reply::Empty(StatusCode::NO_CONTENT))
}

/// Sets a logger at each coordinator, and by the leader at its agents.
///
/// # Errors
/// Connect's 409 when no leader was reached: it holds where it could be said, and may be said again.
async fn everywhere(coordinators: &Coordinators, request: &SetLoggerRequest) -> Result<(), Refusal> {
    let mut asked = JoinSet::new();
    for address in coordinators.addresses() {
        let (address, channel, request) =
            (address.to_owned(), coordinators.channel(address), request.clone());
        asked.spawn(async move {
            let said = match channel {
                Ok(channel) => {
                    let mut request = tonic::Request::new(request);
                    request.set_timeout(COORDINATOR_DEADLINE);
                    let set = LoggerServiceClient::new(channel).set_logger(request).await;
                    set.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
                }
                Err(invalid) => Err(invalid.to_string()),
            };
            (address, said)
        });
    }
    let (mut agents, mut left_out) = (None, Vec::new());
    while let Some(answered) = asked.join_next().await {
        match answered {
            Ok((_, Ok(SetLoggerResponse { agents_told, .. }))) => agents = agents.or(agents_told),
            Ok((address, Err(because))) => left_out.push(format!("{address}: {because}")),
            Err(broken) => left_out.push(broken.to_string()),
        }
    }
    if !left_out.is_empty() {
        tracing::warn!("not all coordinators could be told of a log level: {}", left_out.join("; "));
    }
    match agents {
        Some(agents) => {
            tracing::info!(
                logger = request.logger,
                level = request.level,
                agents,
                "log level set everywhere"
            );
            Ok(())
        }
        None => {
            left_out.push("the agents were not told".to_owned());
            Err(Refusal::no_leader(&left_out.join("; ")))
        }
    }
}

impl From<LoggerFault> for Refusal {
    fn from(fault: LoggerFault) -> Self {
        let status = match fault {
            LoggerFault::UnknownLevel(_) => StatusCode::NOT_FOUND,
            LoggerFault::Nameless | LoggerFault::TooLong | LoggerFault::TooMany => StatusCode::BAD_REQUEST,
        };
        Self::new(status, fault.to_string())
    }
}
