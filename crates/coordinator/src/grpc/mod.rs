//! The gRPC services: decode, ask the driver, encode.

pub mod agents;
pub mod connectors;
mod details;
mod ending;
pub mod fleet;
mod loggers;
mod offsets;
mod plugins;
mod topics;
pub(crate) mod watch;

use copyist_proto::connect::connector_service_server::ConnectorServiceServer;
use copyist_proto::connect::fleet_service_server::FleetServiceServer;
use copyist_proto::connect::logger_service_server::{self, LoggerServiceServer};
use copyist_proto::control::agent_service_server::AgentServiceServer;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::Routes;

use crate::core::{Answer, Command, Core};
use crate::driver::Settings;
use crate::handle::{Handle, Known};
use crate::store::etcd::Leader;
use copyist_proto::OwnLoggers;
use copyist_proto::forward::{ForwardLayer, Target};
use tonic::Status;

/// Asks for a change, where this replica leads.
async fn command(handle: &Handle, command: Command) -> Result<Answer, Status> {
    if handle.leader() != Leader::Ours {
        return Err(copyist_proto::not_begun("no coordinator leads at this moment: ask again".to_owned()));
    }
    handle.command(command).await.map_err(|failure| details::status(&failure))
}

/// Asks the driver what it knows.
async fn read<T: Send + 'static>(
    handle: &Handle,
    question: impl FnOnce(&Core, &Known) -> T + Send + 'static,
) -> Result<T, Status> {
    handle.read(question).await.map_err(|failure| details::status(&failure))
}

/// What this program is, for `GET /`.
#[derive(Debug, Clone)]
pub struct Build {
    /// major.minor.patch.
    pub version: &'static str,
    /// 16 hexadecimal digits, or "unknown".
    pub commit: &'static str,
}

/// The largest request: what the gateway takes as a body, and its frame.
const REQUEST_BYTES_MAX: usize = 20 * 1024 * 1024;

/// What a coordinator answers: agents, and management calls, which are passed on where another replica leads, but for
/// those about the process that is asked.
pub fn services(
    handle: Handle,
    settings: Settings,
    build: Build,
    own_loggers: OwnLoggers,
    stop: CancellationToken,
) -> (Routes, [&'static str; 4], ForwardLayer) {
    let target = handle.clone();
    let forward = ForwardLayer::new("coordinator", &["/copyist.connect.v1."], move |path| {
        if service(path) == logger_service_server::SERVICE_NAME { Target::Here } else { target.target() }
    });
    let connectors = ConnectorServiceServer::new(connectors::Connectors::new(handle.clone(), build))
        .max_decoding_message_size(REQUEST_BYTES_MAX);
    let fleet = FleetServiceServer::new(fleet::Fleet::new(handle.clone(), stop.clone()));
    let loggers = LoggerServiceServer::new(loggers::LoggersOfCoordinator::new(handle.clone(), own_loggers));
    let agents = AgentServiceServer::new(agents::Agents::new(handle, settings, stop));
    let names = [name(&connectors), name(&fleet), name(&loggers), name(&agents)];
    let routes = Routes::new(connectors).add_service(fleet).add_service(loggers).add_service(agents);
    (routes, names, forward)
}

/// The service of a path: `/service/method`.
fn service(path: &str) -> &str {
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}

fn name<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}
