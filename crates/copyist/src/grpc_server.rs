//! The gRPC server of every role: limits, deadlines, traces, health and reflection around the role's own services.

use std::error::Error;
use std::time::Duration;

use copyist_proto::forward::ForwardLayer;
use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};
use tonic_health::ServingStatus;
use tower::limit::GlobalConcurrencyLimitLayer;

mod trace;

/// A call is answered, or its stream of answers opened, within this unless the caller asks for less. More than a
/// management call may take.
const CALL_DEADLINE: Duration = Duration::from_secs(120);

/// Calls at once that are not answered yet; beyond that they wait within their deadline. Open streams do not count.
const CALLS_MAX: usize = 1_024;

/// Calls and open streams at once on one connection; beyond that HTTP/2 has the caller wait.
const STREAMS_PER_CONNECTION_MAX: u32 = 512;

/// After which silence a caller is asked whether it is there, and after which it is not.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// How long callers may take to learn that the process stops, before their connections are closed.
const LINGER_MAX: Duration = Duration::from_secs(3);

const HEALTH: &str = tonic_health::pb::health_server::SERVICE_NAME;
const REFLECTION: &str = tonic_reflection::pb::v1::server_reflection_server::SERVICE_NAME;
const REFLECTION_ALPHA: &str = tonic_reflection::pb::v1alpha::server_reflection_server::SERVICE_NAME;

/// What a role answers.
#[derive(Clone)]
pub struct Services {
    pub routes: Routes,
    /// The full names of the services that health is asked for.
    pub names: Vec<&'static str>,
    pub forward: ForwardLayer,
}

impl Services {
    /// Of a role without any of its own.
    #[must_use]
    pub fn none() -> Self {
        let forward = ForwardLayer::new("nobody", &[], |_| copyist_proto::forward::Target::Here);
        Self { routes: Routes::default(), names: Vec::new(), forward }
    }
}

/// Connections that a listener accepts, each answer sent without delay.
pub fn accepted(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

/// Serves a role's services, health (overall and of each) and reflection (v1 and v1alpha) on a stream of connections,
/// until told to stop: then health says so, and what is under way is answered for some seconds.
///
/// # Errors
/// When the server itself fails.
pub async fn serve<C, E>(
    connections: impl Stream<Item = Result<C, E>>,
    services: Services,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let (reporter, health) = tonic_health::server::health_reporter();
    for name in &services.names {
        reporter.set_service_status(*name, ServingStatus::Serving).await;
    }
    let routes = reflected(services.routes.add_service(health), &services.names);
    let names = services.names;
    let until = stop.clone();
    let stopping = async move {
        until.cancelled().await;
        for name in names.into_iter().chain([""]) {
            reporter.set_service_status(name, ServingStatus::NotServing).await;
        }
    };
    let served = Server::builder()
        .timeout(CALL_DEADLINE)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .layer(trace::TraceLayer)
        .layer(GlobalConcurrencyLimitLayer::new(CALLS_MAX))
        .layer(services.forward)
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections, stopping);
    tokio::select! {
        result = served => result,
        () = lingered(&stop) => Ok(()),
    }
}

async fn lingered(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LINGER_MAX).await;
}

/// Lists what this role answers, and describes all of it.
fn reflected(routes: Routes, names: &[&'static str]) -> Routes {
    let reflect = |own: &'static str| {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(copyist_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        let listed = names.iter().copied().chain([HEALTH, own]);
        listed.fold(builder, tonic_reflection::server::Builder::with_service_name)
    };
    #[expect(clippy::expect_used, reason = "the descriptors were compiled into this program")]
    let (v1, v1alpha) = (
        reflect(REFLECTION).build_v1().expect("compiled descriptors are valid"),
        reflect(REFLECTION_ALPHA).build_v1alpha().expect("compiled descriptors are valid"),
    );
    routes.add_service(v1).add_service(v1alpha)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use tonic::transport::Endpoint;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_check_response::ServingStatus as Shown;
    use tonic_health::pb::health_client::HealthClient;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_stop_is_shown_and_an_open_stream_does_not_hinder_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let services = Services { names: vec!["copyist.Test"], ..Services::none() };
        let serving = tokio::spawn(serve(accepted(listener), services, stop.clone()));
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let watched = ["", "copyist.Test"].map(|service| {
            let mut client = HealthClient::new(channel.clone());
            async move {
                let request = HealthCheckRequest { service: service.to_owned() };
                client.watch(request).await.unwrap().into_inner()
            }
        });
        let mut streams = futures::future::join_all(watched).await;
        for stream in &mut streams {
            assert_eq!(stream.next().await.unwrap().unwrap().status(), Shown::Serving);
        }
        stop.cancel();
        for stream in &mut streams {
            let said = tokio::time::timeout(LONG, stream.next()).await.unwrap();
            assert_eq!(said.unwrap().unwrap().status(), Shown::NotServing);
        }
        // The streams are still held open.
        tokio::time::timeout(LONG, serving).await.unwrap().unwrap().unwrap();
        drop(streams);
    }
}
