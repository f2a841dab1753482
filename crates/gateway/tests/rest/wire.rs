//! A served router, and requests and answers as text.

use std::net::SocketAddr;
use std::time::Duration;

use copyist_gateway::{Error, Gateway, Surface, TopicTracking};
use copyist_model::{LogLevel, Loggers};
use copyist_proto::connect::connector_service_server::ConnectorServiceServer;
use copyist_proto::connect::logger_service_server::LoggerServiceServer;
use copyist_proto::coordinators::HEADER_BYTES_MAX;
use copyist_proto::{Coordinators, OwnLoggers};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use crate::double::Double;

/// No exchange of these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Rest {
    pub address: SocketAddr,
    pub double: Double,
    pub stop: CancellationToken,
    pub served: JoinHandle<Result<(), Error>>,
}

/// The loggers of the gateway's process.
pub fn loggers() -> OwnLoggers {
    OwnLoggers::new(Loggers::new(LogLevel::Info, [("h2".to_owned(), LogLevel::Warn)]))
}

pub async fn gateway_of(double: &Double) -> Gateway {
    Gateway::new(coordinators_of(double).await, loggers(), Surface::Everything)
}

/// A double's gRPC server, over memory.
async fn coordinators_of(double: &Double) -> Coordinators {
    let (near, far) = tokio::io::duplex(64 << 10);
    let incoming = tokio_stream::once(Ok::<DuplexStream, std::io::Error>(far)).chain(tokio_stream::pending());
    let service = ConnectorServiceServer::new(double.clone()).max_decoding_message_size(32 << 20);
    // Ends with the test's runtime.
    let server = tonic::transport::Server::builder().add_service(service);
    let server = server.add_service(LoggerServiceServer::new(double.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));
    let mut near = Some(TokioIo::new(near));
    let connect = tower::service_fn(move |_: http::Uri| {
        std::future::ready(near.take().ok_or_else(|| std::io::Error::other("connected twice")))
    });
    let endpoint = Endpoint::from_static("http://in-process").http2_max_header_list_size(HEADER_BYTES_MAX);
    let channel = endpoint.connect_with_connector(connect).await.expect("memory connects");
    Coordinators::in_process(channel, PATIENCE)
}

impl Rest {
    pub async fn start() -> Self {
        Self::with(Surface::Everything).await
    }

    /// Of which a listener has a part.
    pub async fn with(surface: Surface) -> Self {
        Self::tracking(surface, TopicTracking { enabled: true, may_be_reset: true }).await
    }

    /// With limits to what may be done with the record of active topics.
    pub async fn tracking(surface: Surface, tracking: TopicTracking) -> Self {
        let double = Double::default();
        double.kept().health = copyist_proto::connect::HealthState::Healthy;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
        let address = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let gateway = Gateway::new(coordinators_of(&double).await, loggers(), surface).tracking(tracking);
        let served = tokio::spawn(copyist_gateway::serve(listener, gateway, stop.clone()));
        Self { address, double, stop, served }
    }

    /// Sends a request written as `METHOD /path`, headers, blank line, body. `Host`, `Accept: application/json`,
    /// and with a body Content-Type and Content-Length, are added; a header `X: -` is not sent at all.
    pub async fn ask(&self, request: &str) -> String {
        let answer = tokio::time::timeout(PATIENCE, self.raw(raw_request(request).into_bytes())).await;
        readable(&answer.expect("the answer comes in time"))
    }

    /// Sends bytes, and reads until the server closes.
    pub async fn raw(&self, request: Vec<u8>) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("the server listens");
        stream.write_all(&request).await.expect("the server reads the whole request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("the server closes in good order");
        String::from_utf8(answer).expect("answers are UTF-8")
    }

    /// Compares each answer with the expected one, which is written as `readable` does.
    pub async fn check(&self, table: &[(&str, &str)]) {
        for (request, expected) in table {
            assert_eq!(self.ask(request).await, sorted(expected), "{request}");
        }
    }
}

fn raw_request(request: &str) -> String {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut lines = head.lines();
    let mut raw = format!("{} HTTP/1.1\r\n", lines.next().expect("a request has a first line"));
    let given: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    let length = body.len().to_string();
    let mut defaults =
        vec![("Host", "connect:8083"), ("Accept", "application/json"), ("Connection", "close")];
    if !body.is_empty() {
        defaults.extend([("Content-Type", "application/json"), ("Content-Length", length.as_str())]);
    }
    defaults.retain(|(name, _)| !given.iter().any(|(known, _)| known == name));
    for (name, value) in defaults.iter().chain(&given).filter(|(_, value)| *value != "-") {
        raw.push_str(&format!("{name}: {value}\r\n"));
    }
    raw + "\r\n" + body
}

/// Status, headers by name without Date and Connection, and after a blank line the body, if there is one.
fn readable(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let (status, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = status.strip_prefix("HTTP/1.1 ").unwrap_or(status);
    let kept =
        headers.lines().filter(|line| !line.starts_with("Date: ") && !line.starts_with("Connection: "));
    let head = [status].into_iter().chain(kept).collect::<Vec<_>>().join("\n");
    sorted(&if body.is_empty() { head } else { format!("{head}\n\n{body}") })
}

fn sorted(answer: &str) -> String {
    let (head, body) = answer.split_once("\n\n").unwrap_or((answer, ""));
    let mut lines: Vec<&str> = head.lines().collect();
    lines[1..].sort_unstable();
    format!("{}\n\n{body}", lines.join("\n"))
}
