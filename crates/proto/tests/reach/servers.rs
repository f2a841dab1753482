//! What may be found at an address.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use copyist_proto::connect::fleet_service_client::FleetServiceClient;
use copyist_proto::connect::fleet_service_server::{FleetService, FleetServiceServer};
use copyist_proto::connect::{
    DrainAgentRequest, DrainAgentResponse, ForgetAgentRequest, ForgetAgentResponse, GetFleetRequest,
    GetFleetResponse, GetPlacementRequest, GetPlacementResponse, MovePartRequest, MovePartResponse,
    UndrainAgentRequest, UndrainAgentResponse, WatchEvent, WatchRequest,
};
use copyist_proto::forward::{ForwardLayer, Target};
use http_body_util::Limited;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_health::server::HealthReporter;
use tower::util::MapResponseLayer;

/// A replica with a FleetService, which answers DrainAgent with its own name and records what it saw.
#[derive(Clone, Default)]
pub struct Replica {
    name: &'static str,
    /// How many more calls it cannot answer.
    pub unavailable: Arc<AtomicUsize>,
    pub seen: Arc<Mutex<Vec<MetadataMap>>>,
}

impl Replica {
    pub fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    pub fn asked(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// What the last call came with.
    pub fn last(&self) -> MetadataMap {
        self.seen.lock().unwrap().last().expect("it was asked").clone()
    }

    /// Serves it, and the health service, forwarding as `choose` says.
    pub async fn serve(
        &self,
        by: &'static str,
        choose: impl Fn(&str) -> Target + Send + Sync + 'static,
    ) -> (String, HealthReporter) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (reporter, health) = tonic_health::server::health_reporter();
        let prefixes = &["/copyist.connect.v1.", "/grpc.health.v1."];
        let server = Server::builder()
            .layer(ForwardLayer::new(by, prefixes, choose))
            .add_service(FleetServiceServer::new(self.clone()).max_decoding_message_size(64 << 20))
            .add_service(health);
        // Ends with the test's runtime.
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (address, reporter)
    }

    /// Serves it as a process that dies between the head of an answer and its end.
    pub async fn breaking_off(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let broken = |answer: http::Response<Body>| answer.map(|body| Body::new(Limited::new(body, 0)));
        let server = Server::builder()
            .layer(MapResponseLayer::new(broken))
            .add_service(FleetServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    /// Serves it, forwarding nothing.
    pub async fn alone(&self) -> String {
        self.serve("coordinator", |_| Target::Here).await.0
    }
}

#[tonic::async_trait]
impl FleetService for Replica {
    /// "hang" is never answered, "fail" is an error with details, "follower" is one of who does not lead; else the answer's metadata says by whom it is.
    async fn drain_agent(
        &self,
        request: Request<DrainAgentRequest>,
    ) -> Result<Response<DrainAgentResponse>, Status> {
        self.seen.lock().unwrap().push(request.metadata().clone());
        let is_unavailable = self.unavailable.load(Ordering::Relaxed) > 0;
        if is_unavailable {
            self.unavailable.fetch_sub(1, Ordering::Relaxed);
            return Err(Status::unavailable("nobody leads"));
        }
        match request.into_inner().agent_id.as_str() {
            "hang" => pending().await,
            "follower" => Err(copyist_proto::not_begun("nobody leads".to_owned())),
            "fail" => {
                Err(Status::with_details(tonic::Code::NotFound, "no\nsuch agent", b"\x00\xff"[..].into()))
            }
            _ => {
                let mut answer = Response::new(DrainAgentResponse {});
                answer.metadata_mut().insert("by", self.name.parse().unwrap());
                Ok(answer)
            }
        }
    }

    async fn undrain_agent(
        &self,
        _: Request<UndrainAgentRequest>,
    ) -> Result<Response<UndrainAgentResponse>, Status> {
        Err(Status::unimplemented("undrain"))
    }

    async fn forget_agent(
        &self,
        _: Request<ForgetAgentRequest>,
    ) -> Result<Response<ForgetAgentResponse>, Status> {
        Err(Status::unimplemented("forget"))
    }

    async fn get_fleet(&self, _: Request<GetFleetRequest>) -> Result<Response<GetFleetResponse>, Status> {
        Err(Status::unimplemented("fleet"))
    }

    async fn get_placement(
        &self,
        _: Request<GetPlacementRequest>,
    ) -> Result<Response<GetPlacementResponse>, Status> {
        Err(Status::unimplemented("placement"))
    }

    async fn move_part(&self, _: Request<MovePartRequest>) -> Result<Response<MovePartResponse>, Status> {
        Err(Status::unimplemented("move"))
    }

    type WatchStream = tokio_stream::Empty<Result<WatchEvent, Status>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch"))
    }
}

/// Drains an agent; returns who answered.
pub async fn drain<S>(client: &mut FleetServiceClient<S>, agent: &str) -> Result<String, Status>
where
    S: tonic::client::GrpcService<tonic::body::Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResponseBody: tonic::codegen::Body<Data = bytes::Bytes> + Send + 'static,
    <S::ResponseBody as tonic::codegen::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let answer = client.drain_agent(DrainAgentRequest { agent_id: agent.to_owned() }).await?;
    Ok(answer.metadata().get("by").expect("it says who").to_str().unwrap().to_owned())
}

/// An address where nobody listens.
pub async fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A process that dies over each request: it reads a little of it and closes. Counts its connections.
pub async fn dying() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            // HTTP/2's preface alone is 24 bytes long: the head of a request is there.
            let _ = stream.read_exact(&mut [0; 100]).await;
        }
    });
    (address, count)
}

/// A process that is stopped: the system takes its connections, and nothing comes back.
pub async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            kept.push(listener.accept().await.unwrap());
        }
    });
    address
}

/// An address that takes no connection and refuses none: its queue of connections is full.
pub struct Blackhole {
    pub address: String,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

pub async fn blackhole() -> Blackhole {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    let patience = std::time::Duration::from_millis(500);
    while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
        assert!(queued.len() < 10, "the queue of connections has a bound");
    }
    Blackhole { address: address.to_string(), _listener: listener, _queued: queued }
}
