//! The gRPC services: decode, ask the driver, encode.

pub mod agents;
pub mod connectors;
pub mod fleet;
pub(crate) mod watch;

use copyist_proto::connect::connector_service_server::ConnectorServiceServer;
use copyist_proto::connect::fleet_service_server::FleetServiceServer;
use copyist_proto::control::agent_service_server::AgentServiceServer;
use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::core::{Answer, Command};
use crate::driver::Settings;
use crate::error::Error;
use crate::handle::Handle;
use crate::store::etcd::Leader;
use copyist_proto::forward::ForwardLayer;
use tonic::Status;

/// Asks for a change, where this replica leads.
async fn command(handle: &Handle, command: Command) -> Result<Answer, Status> {
    if handle.leader() != Leader::Ours {
        return Err(copyist_proto::not_begun("no coordinator leads at this moment: ask again".to_owned()));
    }
    handle.command(command).await.map_err(|failure| connectors::status(&failure))
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

/// Serves both APIs, reflection (v1 and v1alpha) and health on a stream of connections, until told to stop.
///
/// # Errors
/// When the server itself fails.
pub async fn serve<C, E>(
    connections: impl Stream<Item = Result<C, E>>,
    handle: Handle,
    settings: Settings,
    build: Build,
    stop: CancellationToken,
) -> Result<(), Error>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<ConnectorServiceServer<connectors::Connectors>>().await;
    reporter.set_serving::<FleetServiceServer<fleet::Fleet>>().await;
    reporter.set_serving::<AgentServiceServer<agents::Agents>>().await;
    let reflect = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(copyist_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    #[expect(clippy::expect_used, reason = "the descriptors were compiled into this program")]
    let (v1, v1alpha) = (
        reflect().build_v1().expect("compiled descriptors are valid"),
        reflect().build_v1alpha().expect("compiled descriptors are valid"),
    );
    let target = handle.clone();
    Server::builder()
        .layer(ForwardLayer::new("coordinator", &["/copyist.connect.v1."], move |_| target.target()))
        .add_service(
            ConnectorServiceServer::new(connectors::Connectors::new(handle.clone(), build))
                .max_decoding_message_size(REQUEST_BYTES_MAX),
        )
        .add_service(FleetServiceServer::new(fleet::Fleet::new(handle.clone(), stop.clone())))
        .add_service(AgentServiceServer::new(agents::Agents::new(handle, settings, stop.clone())))
        .add_service(health)
        .add_service(v1)
        .add_service(v1alpha)
        .serve_with_incoming_shutdown(connections, stop.cancelled_owned())
        .await
        .map_err(Error::Serve)
}
