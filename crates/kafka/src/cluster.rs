//! A cluster: where its brokers are and what they lead, and a connection to each for questions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use copyist_model::{ClusterId, TopicName};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::backoff::Backoff;
use crate::connection::Connection;
use crate::error::Error;
use crate::metadata::Metadata;
use crate::options::ClientOptions;
use crate::topic::{BrokerId, Endpoint, Leader, PartitionKey};
use crate::versions::Api;

/// A handle, cheap to clone. Connections are made when they are needed, and made again after they broke.
#[derive(Debug, Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: ClientOptions,
    view: watch::Sender<Arc<Metadata>>,
    /// What a refresh asks for.
    topics: Mutex<BTreeSet<TopicName>>,
    /// One refresh at a time; those who asked before it began share its result.
    refresh: tokio::sync::Mutex<Refresh>,
    links: Mutex<BTreeMap<BrokerId, Arc<Link>>>,
}

#[derive(Debug)]
struct Refresh {
    began: Option<Instant>,
    not_before: Instant,
    backoff: Backoff,
    /// The connection to a bootstrap server, until the brokers are known.
    first: Option<Arc<Connection>>,
}

/// One attempt at a time to reach a broker.
#[derive(Debug)]
struct Link(tokio::sync::Mutex<LinkState>);

#[derive(Debug)]
struct LinkState {
    connection: Option<(Endpoint, Arc<Connection>)>,
    not_before: Instant,
    backoff: Backoff,
}

impl Cluster {
    /// Asks the bootstrap servers, one after the other, until one answers.
    ///
    /// # Errors
    /// What the last one said, when none does.
    pub async fn connect(options: ClientOptions) -> Result<Self, Error> {
        let refresh = Refresh {
            began: None,
            not_before: Instant::now(),
            backoff: Backoff::new(options.retry_backoff),
            first: None,
        };
        let shared = Shared {
            options,
            view: watch::Sender::new(Arc::new(Metadata::default())),
            topics: Mutex::default(),
            refresh: tokio::sync::Mutex::new(refresh),
            links: Mutex::default(),
        };
        let cluster = Self { shared: Arc::new(shared) };
        cluster.refresh().await?;
        Ok(cluster)
    }

    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.shared.options
    }

    /// What was learned last.
    #[must_use]
    pub fn view(&self) -> Arc<Metadata> {
        Arc::clone(&self.shared.view.borrow())
    }

    /// Tells of each change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Metadata>> {
        self.shared.view.subscribe()
    }

    /// The cluster's id.
    ///
    /// # Errors
    /// [`Error::Unknown`] when the cluster has told none.
    pub fn id(&self) -> Result<ClusterId, Error> {
        let what = || "the cluster does not tell its id".to_owned();
        self.view().cluster.clone().ok_or_else(|| Error::Unknown { what: what() })
    }

    /// Where a broker listens.
    ///
    /// # Errors
    /// [`Error::Unknown`] when the cluster has no such broker, or it is down.
    pub fn endpoint(&self, broker: BrokerId) -> Result<Endpoint, Error> {
        let what = || format!("broker {broker} is not there");
        self.view().brokers.get(&broker).cloned().ok_or_else(|| Error::Unknown { what: what() })
    }

    /// The topics that the view shows from the next refresh on.
    pub fn set_topics(&self, topics: BTreeSet<TopicName>) {
        *lock(&self.shared.topics) = topics;
    }

    /// Adds to them.
    pub fn add_topics(&self, topics: impl IntoIterator<Item = TopicName>) {
        lock(&self.shared.topics).extend(topics);
    }

    /// Asks the cluster how it is now. At most one such question is out, and after a failure, or soon after an answer,
    /// it waits (`retry.backoff.ms`, doubling).
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn refresh(&self) -> Result<Arc<Metadata>, Error> {
        let asked = Instant::now();
        let mut refresh = self.shared.refresh.lock().await;
        if refresh.began.is_some_and(|began| began >= asked) {
            return Ok(self.view());
        }
        sleep_until(refresh.not_before).await;
        let began = Instant::now();
        let topics = lock(&self.shared.topics).clone();
        let answer = self.ask_someone(&mut refresh.first, Some(&topics)).await;
        if answer.is_ok() {
            refresh.backoff.reset();
            refresh.began = Some(began);
        }
        let pause = refresh.backoff.wait(rand::random());
        refresh.not_before = Instant::now() + pause;
        let metadata = answer?;
        if !metadata.brokers.is_empty() {
            // From here on the brokers under their own names are asked.
            refresh.first = None;
        }
        self.shared.view.send_modify(|view| *view = Arc::new(view.updated(metadata)));
        self.forget_links();
        Ok(self.view())
    }

    /// All topics that we may describe, without keeping them in the view.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn all_topics(&self) -> Result<Metadata, Error> {
        self.ask_someone(&mut None, None).await
    }

    /// Takes in what an answer said about a leader (KIP-951).
    pub fn learn(&self, key: &PartitionKey, leader: Leader, endpoints: &[(BrokerId, Endpoint)]) {
        self.shared.view.send_if_modified(|view| Arc::make_mut(view).learn(key, leader, endpoints));
    }

    /// A connection to a broker for questions, shared by all who ask.
    ///
    /// # Errors
    /// [`Error::Unknown`], or why it cannot be reached.
    pub async fn connection(&self, broker: BrokerId) -> Result<Arc<Connection>, Error> {
        let endpoint = self.endpoint(broker)?;
        let link = {
            let mut links = lock(&self.shared.links);
            let new = || Arc::new(Link::new(self.shared.options.reconnect_backoff));
            Arc::clone(links.entry(broker).or_insert_with(new))
        };
        link.connection(&endpoint, &self.shared.options).await
    }

    /// A connection to who leads a partition, and its leader epoch.
    ///
    /// # Errors
    /// [`Error::Unknown`] while the view has no leader of it.
    pub async fn leader(&self, key: &PartitionKey) -> Result<(Arc<Connection>, Leader), Error> {
        let what = || format!("nobody is known to lead {key}");
        let leader = self.view().leader(key).ok_or_else(|| Error::Unknown { what: what() })?;
        Ok((self.connection(leader.broker).await?, leader))
    }

    /// A connection to the controller, or to a broker that passes on what is meant for it.
    ///
    /// # Errors
    /// As [`Cluster::connection`].
    pub async fn controller(&self) -> Result<Arc<Connection>, Error> {
        let view = self.view();
        let broker = view.controller.or_else(|| view.brokers.keys().next().copied());
        let broker = broker.ok_or_else(|| Error::Unknown { what: "no broker is known".to_owned() })?;
        self.connection(broker).await
    }

    /// Closes all connections for questions; what is under way is answered first.
    pub async fn close(&self) {
        let links = std::mem::take(&mut *lock(&self.shared.links));
        for link in links.into_values() {
            if let Some((_, connection)) = link.0.lock().await.connection.take() {
                connection.close().await;
            }
        }
        if let Some(first) = self.shared.refresh.lock().await.first.take() {
            first.close().await;
        }
    }

    /// Known brokers in an order of chance, then the bootstrap servers.
    async fn ask_someone(
        &self,
        first: &mut Option<Arc<Connection>>,
        topics: Option<&BTreeSet<TopicName>>,
    ) -> Result<Metadata, Error> {
        let options = &self.shared.options;
        let mut last = Error::Unknown { what: "no broker is known".to_owned() };
        let mut brokers: Vec<BrokerId> = self.view().brokers.keys().copied().collect();
        if !brokers.is_empty() {
            let turn = usize::from(rand::random::<u16>()) % brokers.len();
            brokers.rotate_left(turn);
        }
        for broker in brokers {
            let answer = async { ask(&*self.connection(broker).await?, topics).await };
            match answer.await {
                Ok(metadata) => return Ok(metadata),
                Err(error) => last = error,
            }
        }
        for endpoint in &options.bootstrap {
            let answer = async {
                let open = Connection::open(endpoint, &options.connection);
                let connection = Arc::new(open.await?);
                let metadata = ask(&connection, topics).await?;
                *first = Some(connection);
                Ok(metadata)
            };
            match answer.await {
                Ok(metadata) => return Ok(metadata),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Brokers that are gone need no connection.
    fn forget_links(&self) {
        let view = self.view();
        lock(&self.shared.links).retain(|broker, _| view.brokers.contains_key(broker));
    }

    /// `doing` within the time for one operation.
    pub(crate) async fn within<T>(
        &self,
        what: impl Into<String>,
        doing: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let after = self.shared.options.operation_timeout;
        let late = |_| Error::Timeout { what: what.into(), after };
        timeout(after, doing).await.map_err(late)?
    }

    /// A wait before an operation is tried once more.
    pub(crate) fn pause(&self, backoff: &mut Backoff) -> Duration {
        backoff.wait(rand::random())
    }
}

impl Link {
    fn new(backoff: (Duration, Duration)) -> Self {
        let state =
            LinkState { connection: None, not_before: Instant::now(), backoff: Backoff::new(backoff) };
        Self(tokio::sync::Mutex::new(state))
    }

    async fn connection(
        &self,
        endpoint: &Endpoint,
        options: &ClientOptions,
    ) -> Result<Arc<Connection>, Error> {
        let mut state = self.0.lock().await;
        if let Some((at, connection)) = &state.connection
            && at == endpoint
            && connection.is_open()
        {
            return Ok(Arc::clone(connection));
        }
        state.connection = None;
        sleep_until(state.not_before).await;
        let opened = Connection::open(endpoint, &options.connection).await;
        if opened.is_ok() {
            state.backoff.reset();
        }
        let pause = state.backoff.wait(rand::random());
        state.not_before = Instant::now() + pause;
        let connection = Arc::new(opened?);
        state.connection = Some((endpoint.clone(), Arc::clone(&connection)));
        Ok(connection)
    }
}

async fn ask(connection: &Connection, topics: Option<&BTreeSet<TopicName>>) -> Result<Metadata, Error> {
    let version = connection.version(Api::Metadata)?;
    let request = Metadata::request(topics.map(BTreeSet::iter));
    let body = connection.call(Api::Metadata, version, &request).await?;
    Metadata::read(&body, version)
}

/// A poisoned lock is taken all the same: each value behind one is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
