//! The broker behind all connections, and its handle.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::connection;
use super::control;
use super::counts::{Counts, Snapshot};
use super::injection::{Injection, Injections};
use super::sessions::{Sessions, TopicKey};
use super::topics::{Topic, TopicSpec, Topics};
use crate::error::{Error, Result};
use crate::ports::free_port;

/// Highest versions offered, by API key, where they differ from the newest known; −1: the API is not offered.
pub type Limits = BTreeMap<i16, i16>;

#[derive(Clone, Debug)]
pub struct Options {
    /// 0: a free one.
    pub port: u16,
    pub cluster_id: String,
    pub topics: Vec<TopicSpec>,
    pub limits: Limits,
    /// Checks the CRC of every batch that is produced.
    pub check_crc: bool,
    /// The last batch of a partition in an answer to Fetch is cut where the client's limit is, as brokers do.
    pub cut_tails: bool,
    /// A producer that is not known must begin with sequence 0, as before Kafka 2.5.
    pub strict_producers: bool,
    /// How old the records of endless topics are.
    pub record_age: Duration,
    /// As `max.message.bytes`.
    pub max_batch_bytes: usize,
    /// 0: none, every client is asked to say all partitions each time.
    pub fetch_sessions_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            port: 0,
            cluster_id: "stub".to_owned(),
            topics: Vec::new(),
            limits: Limits::new(),
            check_crc: true,
            cut_tails: false,
            strict_producers: false,
            record_age: Duration::ZERO,
            max_batch_bytes: 16 << 20,
            fetch_sessions_max: 1000,
        }
    }
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Broker {
    pub options: Options,
    pub port: u16,
    pub counts: Counts,
    pub injections: Injections,
    pub sessions: Mutex<Sessions>,
    topics: RwLock<Topics>,
    next_producer_id: AtomicI64,
    appends: Mutex<u64>,
    appended: Condvar,
    stops: AtomicBool,
}

/// The content, also after a panic of another thread: a stub goes on.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Broker {
    pub fn topics(&self) -> RwLockReadGuard<'_, Topics> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn topics_mut(&self) -> RwLockWriteGuard<'_, Topics> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn topic(&self, key: &TopicKey) -> Option<Arc<Topic>> {
        let topics = self.topics();
        let found = match key {
            TopicKey::Name(name) => topics.by_name.get(name),
            TopicKey::Id(id) => topics.by_id(*id),
        };
        found.cloned()
    }

    /// # Errors
    /// Those of the shape's codec.
    pub fn create(&self, spec: &TopicSpec, configs: BTreeMap<String, String>) -> std::io::Result<()> {
        let topic = Topic::new(spec, configs, now_ms(self.options.record_age))?;
        self.topics_mut().insert(topic);
        Ok(())
    }

    pub fn new_producer_id(&self) -> i64 {
        self.next_producer_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Changes with every append and every command.
    pub fn appends(&self) -> u64 {
        *locked(&self.appends)
    }

    pub fn tell_append(&self) {
        *locked(&self.appends) += 1;
        self.appended.notify_all();
    }

    /// Waits until [`Broker::appends`] is no longer `seen`, at most `limit`.
    pub fn wait_for_append(&self, seen: u64, limit: Duration) {
        let appends = locked(&self.appends);
        let waited = self.appended.wait_timeout_while(appends, limit, |now| *now == seen && !self.stops());
        drop(waited);
    }

    pub fn stops(&self) -> bool {
        self.stops.load(Ordering::Acquire)
    }
}

#[expect(clippy::disallowed_methods, reason = "records bear the time of a real clock")]
pub(crate) fn now_ms(ago: Duration) -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.saturating_sub(ago).as_millis()).unwrap_or(i64::MAX)
}

/// A stub broker in this process; dropped, it closes its connections and ends its threads.
#[derive(Debug)]
pub struct Stub {
    broker: Arc<Broker>,
    accepting: Option<JoinHandle<()>>,
}

impl Stub {
    /// Listens on 127.0.0.1.
    ///
    /// # Errors
    /// When the port is taken, or a shape cannot be built.
    pub fn start(options: Options) -> Result<Stub> {
        let port = if options.port == 0 { free_port()? } else { options.port };
        let what = format!("listen on port {port}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(Error::io(what))?;
        let broker = Arc::new(Broker {
            port,
            counts: Counts::default(),
            injections: Injections::default(),
            sessions: Mutex::new(Sessions::new(options.fetch_sessions_max)),
            topics: RwLock::default(),
            next_producer_id: AtomicI64::new(1000),
            appends: Mutex::new(0),
            appended: Condvar::new(),
            stops: AtomicBool::new(false),
            options,
        });
        for spec in &broker.options.topics {
            let created = broker.create(spec, BTreeMap::new());
            created.map_err(Error::io(format_args!("build the batches of {}", spec.name)))?;
        }
        let own = Arc::clone(&broker);
        let thread = std::thread::Builder::new().name("stub".to_owned());
        let accepting = thread.spawn(move || accept(&listener, &own)).map_err(Error::io("start a thread"))?;
        Ok(Stub { broker, accepting: Some(accepting) })
    }

    /// `host:port`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.broker.port)
    }

    pub fn counts(&self) -> Snapshot {
        self.broker.counts.snapshot()
    }

    pub fn inject(&self, injection: Injection) {
        self.broker.injections.add(injection);
    }

    /// Injections that have not met all their requests.
    pub fn injections_waiting(&self) -> usize {
        self.broker.injections.waiting()
    }

    /// How often something was done on demand so far.
    pub fn injections_met(&self) -> usize {
        self.broker.injections.taken()
    }

    /// A line of the module [`control`](super::control); its answer.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn command(&self, line: &str) -> std::result::Result<String, String> {
        control::run(&self.broker, line)
    }

    pub fn topic_id(&self, topic: &str) -> Option<uuid::Uuid> {
        Some(self.broker.topic(&TopicKey::Name(topic.to_owned()))?.id)
    }

    /// Topic and partition: log start, end, leader epoch.
    pub fn offsets(&self, topic: &str, partition: i32) -> Option<(i64, i64, i32)> {
        let topic = self.broker.topic(&TopicKey::Name(topic.to_owned()))?;
        let data = locked(topic.partition(partition)?);
        Some((data.log_start, data.end, data.leader_epoch()))
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.broker.stops.store(true, Ordering::Release);
        self.broker.tell_append();
        // Wakes the accepting thread.
        let _woken = TcpStream::connect((Ipv4Addr::LOCALHOST, self.broker.port));
        if let Some(accepting) = self.accepting.take() {
            let _ended = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, broker: &Arc<Broker>) {
    let mut connections: Vec<(TcpStream, JoinHandle<()>)> = Vec::new();
    for stream in listener.incoming() {
        if broker.stops() {
            break;
        }
        connections.retain(|(_, thread)| !thread.is_finished());
        let Ok(stream) = stream else { continue };
        let Ok(handle) = stream.try_clone() else { continue };
        let own = Arc::clone(broker);
        let thread = std::thread::Builder::new().name("stub connection".to_owned());
        if let Ok(thread) = thread.spawn(move || connection::serve(&own, &stream)) {
            connections.push((handle, thread));
        }
    }
    for (stream, thread) in connections {
        // Closed already is as good.
        let _closed = stream.shutdown(Shutdown::Both);
        let _ended = thread.join();
    }
}
