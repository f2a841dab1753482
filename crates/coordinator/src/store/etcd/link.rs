//! The connection to etcd: one task owns it and says which member it is to; everybody asks by it. It keeps to one member
//! until somebody complains, as balancing among members prefers the dead one, which is never busy.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Certificate, Channel, Client, ConnectOptions, Identity, KvClient, LeaseClient, TlsOptions, WatchClient,
};
use rand::RngExt;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use super::keyspace::Keyspace;
use super::trouble::{Kind, Trouble};
use super::{Settings, Tls};
use crate::clock::Backoff;
use crate::reports::Reports;

/// How long a member may take until it is connected and has answered once.
const CONNECT_LIMIT: Duration = Duration::from_millis(2_500);

/// How long a question may take, unless who asks has less time.
pub(super) const ASK_LIMIT: Duration = Duration::from_millis(2_500);

/// How long who asks waits for a connection.
const LINK_LIMIT: Duration = Duration::from_secs(3);

/// etcd ends connections that are tried more often than every 5 s.
const TRY_IDLE_AFTER: Duration = Duration::from_secs(6);
const TRY_IDLE_LIMIT: Duration = Duration::from_secs(3);

/// The longest answer. A page may have as many values of the largest size; a watch that begins late may hear of a
/// thousand commits at once.
const ANSWER_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// A connection that lasted less was no better than none.
const LASTS: Duration = Duration::from_secs(2);

/// Complaints that wait; what comes on top says the same.
const COMPLAINTS: usize = 16;

/// A connection to a member.
#[derive(Clone)]
pub(super) struct Connection {
    /// Rises with each connection.
    pub(super) number: u64,
    pub(super) endpoint: Arc<str>,
    clients: Clients,
}

/// What a member is asked by. Boxed, as they are large and are copied for each question.
#[derive(Clone)]
pub(super) struct Clients {
    pub(super) kv: Box<KvClient>,
    pub(super) lease: Box<LeaseClient>,
    watch: Box<WatchClient>,
}

impl Connection {
    pub(super) fn kv(&self) -> Box<KvClient> {
        self.clients.kv.clone()
    }

    pub(super) fn watch(&self) -> Box<WatchClient> {
        self.clients.watch.clone()
    }
}

#[derive(Clone)]
enum State {
    Lost(Trouble),
    Connected(Connection),
}

/// That a connection, by its number, does not do.
type Complaint = (u64, Trouble);

/// By which everybody asks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Link {
    state: watch::Receiver<State>,
    complaints: mpsc::Sender<Complaint>,
}

impl Link {
    /// The connection, as soon as there is one.
    pub(super) async fn connection(&self) -> Result<Connection, Trouble> {
        let mut state = self.state.clone();
        let found = state.wait_for(|state| matches!(state, State::Connected(_))).await;
        match found.as_deref() {
            Ok(State::Connected(connection)) => Ok(connection.clone()),
            Ok(State::Lost(_)) | Err(_) => Err(Trouble::stopping()),
        }
    }

    /// Waits until this connection is not the one to ask by any more.
    pub(super) async fn replaced(&self, number: u64) {
        let mut state = self.state.clone();
        let is_other = |state: &State| match state {
            State::Connected(connection) => connection.number != number,
            State::Lost(_) => true,
        };
        if state.wait_for(is_other).await.is_err() {
            // Nothing replaces it any more.
            std::future::pending::<()>().await;
        }
    }

    /// That a connection does not do: the next member is tried.
    pub(super) fn complain(&self, number: u64, trouble: &Trouble) {
        match self.complaints.try_send((number, trouble.clone())) {
            // A full queue says the same already; without its task there is nothing to try.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {}
        }
    }

    /// Asks the member that is connected, once.
    pub(super) async fn ask<T, F>(
        &self,
        limit: Duration,
        question: impl FnOnce(Clients) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let connection = self.connection_soon().await?;
        self.ask_by(&connection, limit, question(connection.clients.clone())).await
    }

    /// The connection, or why there is none.
    pub(super) async fn connection_soon(&self) -> Result<Connection, Trouble> {
        match timeout(LINK_LIMIT, self.connection()).await {
            Ok(connection) => connection,
            Err(_) => Err(self.lost()),
        }
    }

    /// Asks what may be asked twice, of another member when the first one fails.
    pub(super) async fn ask_again<T, F>(
        &self,
        limit: Duration,
        question: impl Fn(Clients) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let connection = self.connection_soon().await?;
        match self.ask_by(&connection, limit, question(connection.clients.clone())).await {
            Err(trouble) if trouble.kind.is_of_member() => {
                match timeout(LINK_LIMIT, self.replaced(connection.number)).await {
                    Ok(()) => self.ask(limit, question).await,
                    Err(_) => Err(trouble),
                }
            }
            answer => answer,
        }
    }

    /// Waits for what was asked by this connection.
    pub(super) async fn ask_by<T>(
        &self,
        connection: &Connection,
        limit: Duration,
        asked: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Trouble> {
        let trouble = match timeout(limit, Box::pin(asked)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Trouble::of(&connection.endpoint, &error),
            Err(_) => Trouble::silent(&connection.endpoint, limit),
        };
        if trouble.kind.is_of_member() {
            self.complain(connection.number, &trouble);
        }
        Err(trouble)
    }

    fn lost(&self) -> Trouble {
        match &*self.state.borrow() {
            State::Lost(trouble) => trouble.clone(),
            State::Connected(connection) => Trouble::silent(&connection.endpoint, LINK_LIMIT),
        }
    }
}

/// The task that owns the connection.
pub(super) struct Connecting {
    endpoints: Vec<Arc<str>>,
    settings: Arc<Settings>,
    keyspace: Keyspace,
    state: watch::Sender<State>,
    complaints: mpsc::Receiver<Complaint>,
}

/// A link, and what must run for it.
pub(super) fn link(settings: Arc<Settings>, keyspace: Keyspace) -> (Link, Connecting) {
    let first = Trouble::new(Kind::Member, "etcd has not been reached yet".to_owned());
    let (sender, state) = watch::channel(State::Lost(first));
    let (complaints, heard) = mpsc::channel(COMPLAINTS);
    let endpoints = settings.endpoints.iter().map(|endpoint| Arc::from(endpoint.as_str())).collect();
    let connecting = Connecting { endpoints, settings, keyspace, state: sender, complaints: heard };
    (Link { state, complaints }, connecting)
}

impl Connecting {
    /// Connects, and connects to the next member when somebody complains, until told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut reports = Reports::new();
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(3));
        let mut number = 0;
        let mut failed: usize = 0;
        let mut at = any_of(self.endpoints.len());
        loop {
            let endpoint = self.next_endpoint(at);
            at += 1;
            let connected = tokio::select! {
                () = stop.cancelled() => return,
                connected = self.connect(endpoint.clone()) => connected,
            };
            match connected {
                Ok(clients) => {
                    number += 1;
                    reports.recovered(&format!("etcd is reached at {endpoint}"));
                    let connection = Connection { number, endpoint, clients };
                    self.state.send_replace(State::Connected(connection));
                    let began = tokio::time::Instant::now();
                    let trouble = tokio::select! {
                        () = stop.cancelled() => return,
                        trouble = self.complaint(number) => trouble,
                    };
                    tracing::debug!("a connection to etcd is given up: {trouble}");
                    self.state.send_replace(State::Lost(trouble));
                    if began.elapsed() > LASTS {
                        backoff.reset();
                        continue;
                    }
                }
                Err(trouble) => {
                    reports.failed(&trouble.to_string());
                    self.state.send_replace(State::Lost(trouble));
                    failed += 1;
                    // The others first.
                    if !failed.is_multiple_of(self.endpoints.len().max(1)) {
                        continue;
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    fn next_endpoint(&self, at: usize) -> Arc<str> {
        let endpoint = self.endpoints.get(at % self.endpoints.len().max(1));
        endpoint.cloned().unwrap_or_else(|| Arc::from(""))
    }

    async fn complaint(&mut self, number: u64) -> Trouble {
        while let Some((about, trouble)) = self.complaints.recv().await {
            if about == number {
                return trouble;
            }
        }
        // Nobody can complain any more.
        std::future::pending().await
    }

    /// A member is connected once it has answered: a process that is stopped takes connections as well.
    async fn connect(&self, url: Arc<str>) -> Result<Clients, Trouble> {
        let connecting = async {
            let channel = endpoint(&url, self.settings.tls.as_ref())?.connect().await?;
            let mut options = ConnectOptions::new().with_require_leader(true).with_auto_token_refresh(true);
            if let Some(user) = &self.settings.user {
                options = options.with_user(&user.name, &user.password);
            }
            let client = Client::from_channel(Channel::Tonic(channel), Some(options)).await?;
            let mut clients = Clients {
                kv: Box::new(client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX)),
                lease: Box::new(client.lease_client()),
                watch: Box::new(client.watch_client().max_decoding_message_size(ANSWER_BYTES_MAX)),
            };
            clients.kv.get(self.keyspace.head(), None).await?;
            Ok(clients)
        };
        match timeout(CONNECT_LIMIT, Box::pin(connecting)).await {
            Ok(connected) => connected.map_err(|error| Trouble::of(&url, &error)),
            Err(_) => Err(Trouble::silent(&url, CONNECT_LIMIT)),
        }
    }
}

/// Where to begin: not every replica with the same member.
#[expect(clippy::disallowed_methods, reason = "the driver draws the randomness of where to begin")]
fn any_of(endpoints: usize) -> usize {
    rand::rng().random_range(0..endpoints.max(1))
}

fn endpoint(url: &Arc<str>, tls: Option<&Tls>) -> Result<Endpoint, etcd_client::Error> {
    let endpoint = Endpoint::from_shared(url.to_string())?
        .connect_timeout(CONNECT_LIMIT)
        .http2_keep_alive_interval(TRY_IDLE_AFTER)
        .keep_alive_timeout(TRY_IDLE_LIMIT)
        .keep_alive_while_idle(true);
    if !url.starts_with("https://") {
        return Ok(endpoint);
    }
    let Some(tls) = tls else {
        let why = "an https:// endpoint needs the certificate of the authority that signs its own".to_owned();
        return Err(etcd_client::Error::InvalidArgs(why));
    };
    let mut options = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.ca));
    if let Some(identity) = &tls.identity {
        options = options.identity(Identity::from_pem(&identity.certificate, &identity.key));
    }
    Ok(endpoint.tls_config(options)?)
}
