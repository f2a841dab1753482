//! A coordinator that does what its script says.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use copyist_proto::Coordinators;
use copyist_proto::control as wire;
use copyist_proto::control::agent_message::Message as Said;
use copyist_proto::control::agent_service_server::{AgentService, AgentServiceServer};
use copyist_proto::control::coordinator_message::Message as Stated;
use futures::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// What is done about one session.
#[derive(Clone)]
pub enum Act {
    /// Never answers.
    Hang,
    Redirect(String),
    Refuse(Status),
    /// Welcomes, states this, and listens until the agent ends the session.
    Hold(Vec<wire::CoordinatorMessage>),
    /// Welcomes, and reads nothing that is said.
    Deaf,
    /// Welcomes, and ends the session.
    End,
    /// Welcomes with these words, and ends the session.
    Welcome(wire::Welcome),
}

/// What is done about one question for rights.
#[derive(Clone)]
pub enum Answer {
    Held,
    After(Duration),
    Hang,
    Fail(Status),
}

/// Acts are played in their order, the last one again and again.
pub struct Scripted {
    acts: Mutex<VecDeque<Act>>,
    answers: Mutex<VecDeque<Answer>>,
    /// Everything that agents said.
    heard: mpsc::Sender<Said>,
    /// When questions came, on the clock of rights.
    pub asked_ms: Mutex<Vec<u64>>,
}

fn next<T: Clone>(script: &Mutex<VecDeque<T>>) -> T {
    let mut script = script.lock().unwrap();
    if script.len() > 1 { script.pop_front() } else { script.front().cloned() }
        .expect("the script has an act")
}

fn stated(message: Stated) -> wire::CoordinatorMessage {
    wire::CoordinatorMessage { message: Some(message) }
}

pub fn welcome() -> wire::CoordinatorMessage {
    let welcome = wire::Welcome {
        store_id: "s".into(),
        heartbeat_interval_ms: 200,
        autonomy_max_ms: 7,
        protocol_version: copyist_proto::CONTROL_PROTOCOL_VERSION,
        ..Default::default()
    };
    stated(Stated::Welcome(welcome))
}

impl Scripted {
    /// With acts for sessions.
    pub fn acting(acts: impl IntoIterator<Item = Act>) -> (Arc<Self>, mpsc::Receiver<Said>) {
        Self::new(acts, [])
    }

    /// With answers to questions for rights.
    pub fn answering(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        Self::new([], answers).0
    }

    fn new(
        acts: impl IntoIterator<Item = Act>,
        answers: impl IntoIterator<Item = Answer>,
    ) -> (Arc<Self>, mpsc::Receiver<Said>) {
        let (heard, said) = mpsc::channel(100_000);
        let (acts, answers) = (acts.into_iter().collect(), answers.into_iter().collect());
        let (acts, answers) = (Mutex::new(acts), Mutex::new(answers));
        (Arc::new(Self { acts, answers, heard, asked_ms: Mutex::default() }), said)
    }

    /// Serves it; returns its address. Ends with the test's runtime.
    pub async fn serve(self: &Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Server::builder().add_service(AgentServiceServer::from_arc(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    /// Serves it within the process, where time can stand still.
    pub fn in_process(self: &Arc<Self>) -> Coordinators {
        let (accept, connections) = mpsc::channel(4);
        let server = Server::builder().add_service(AgentServiceServer::from_arc(self.clone()));
        tokio::spawn(
            server.serve_with_incoming(ReceiverStream::new(connections).map(Ok::<_, std::io::Error>)),
        );
        let connect = tower::service_fn(move |_| {
            let accept = accept.clone();
            async move {
                let (near, far) = tokio::io::duplex(64 << 10);
                accept.send(far).await.map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(near))
            }
        });
        let channel = Endpoint::from_static("http://in-process").connect_with_connector_lazy(connect);
        Coordinators::in_process(channel, super::PATIENCE)
    }

    /// What it says from now on about sessions.
    pub fn act(&self, act: Act) {
        *self.acts.lock().unwrap() = VecDeque::from([act]);
    }

    pub fn asked(&self) -> usize {
        self.asked_ms.lock().unwrap().len()
    }
}

/// An address where nobody listens.
pub async fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
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

/// A way to an address over which nothing passes any more once it is frozen; what is connected stays so.
pub async fn freezable(to: String) -> (String, tokio_util::sync::CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let frozen = tokio_util::sync::CancellationToken::new();
    let freeze = frozen.clone();
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = tokio::net::TcpStream::connect(&to).await.unwrap();
            let frozen = frozen.clone();
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = frozen.cancelled() => pending().await,
                }
            });
        }
    });
    (address, freeze)
}

/// Each with its address.
pub async fn addresses(scripted: &[&Arc<Scripted>]) -> Coordinators {
    let mut addresses = Vec::new();
    for scripted in scripted {
        addresses.push(scripted.serve().await);
    }
    super::coordinators(addresses)
}

#[tonic::async_trait]
impl AgentService for Scripted {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<wire::CoordinatorMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut said = request.into_inner();
        let hello = said.message().await?.and_then(|message| message.message).expect("it is Hello");
        // Not every test listens.
        let _ = self.heard.send(hello).await;
        let statements = match next(&self.acts) {
            Act::Hang => pending().await,
            Act::Refuse(status) => return Err(status),
            Act::Redirect(leader_address) => {
                vec![stated(Stated::Redirect(wire::Redirect { leader_address }))]
            }
            Act::End => vec![welcome()],
            Act::Welcome(welcome) => vec![stated(Stated::Welcome(welcome))],
            Act::Deaf => {
                let stream = futures::stream::iter([Ok(welcome())]).chain(futures::stream::pending());
                // What keeps the agent's words unread.
                let stream = stream.map(move |statement| {
                    let _ = &said;
                    statement
                });
                return Ok(Response::new(Box::pin(stream)));
            }
            Act::Hold(more) => {
                let (ends, ended) = mpsc::channel::<Result<wire::CoordinatorMessage, Status>>(1);
                let heard = self.heard.clone();
                tokio::spawn(async move {
                    while let Ok(Some(message)) = said.message().await {
                        let _ =
                            heard.send(message.message.expect("agents of this version say no more")).await;
                    }
                    drop(ends);
                });
                let statements = std::iter::once(welcome()).chain(more).map(Ok);
                let stream = futures::stream::iter(statements).chain(ReceiverStream::new(ended));
                return Ok(Response::new(Box::pin(stream)));
            }
        };
        Ok(Response::new(Box::pin(futures::stream::iter(statements.into_iter().map(Ok)))))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewResponse>, Status> {
        assert_eq!(
            request.into_inner(),
            wire::RenewRequest { agent_id: "a:1".into(), incarnation: "i".into() }
        );
        self.asked_ms.lock().unwrap().push(crate::driver::boot_ms());
        match next(&self.answers) {
            Answer::Held => {}
            Answer::After(delay) => tokio::time::sleep(delay).await,
            Answer::Hang => pending().await,
            Answer::Fail(status) => return Err(status),
        }
        Ok(Response::new(wire::RenewResponse { held: Vec::new(), lease_ttl_ms: 10_000 }))
    }
}
