//! A real Kafka cluster on this machine: node 1 is broker and controller, any further node a broker. Versions before
//! 3.3 come with one node of ZooKeeper, those before 4.0 where it is asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cluster_files::{Ports, Quorum, kafka_uuid, server_properties};
use crate::error::{Error, Result};
use crate::jars::Jars;
use crate::java::classes;
use crate::ports::free_port;
use crate::probe::living_brokers;
use crate::process::{Lifetime, Process, Spec};
use crate::progress::Progress;
use crate::scratch::Scratch;
use crate::version::KafkaVersion;
use crate::zookeeper::ZooKeeper;

const START_LIMIT: Duration = Duration::from_secs(120);
const FORMAT_LIMIT: Duration = Duration::from_secs(60);
const STOP_GRACE: Duration = Duration::from_secs(30);
/// Another process may take a port between our choice and the broker's start.
const PORT_TRIES: u32 = 5;

#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How messages call it, and part of its directory's name: "source".
    pub name: String,
    /// Of the brokers; `None`: that of the jars which the cluster is started with.
    pub version: Option<KafkaVersion>,
    /// Keeps what it knows of itself in ZooKeeper also where the version leaves the choice (3.3 to 3.9).
    pub on_zookeeper: bool,
    /// Below which path of ZooKeeper, as in `/kafka`; empty: the root.
    pub chroot: String,
    /// Brokers, at least one.
    pub nodes: usize,
    /// Of node 1's PLAINTEXT listener; `None`: a free one.
    pub port: Option<u16>,
    /// Of every node.
    pub jvm_flags: Vec<String>,
    /// Kafka's server properties in addition, or instead of the launcher's own.
    pub properties: BTreeMap<String, String>,
    /// Opens a second listener, SASL_PLAINTEXT with SCRAM-SHA-256, for this user; PLAINTEXT stays open.
    pub scram: Option<ScramUser>,
    /// Brokers refuse to create topics with a compression.type of their own (a `create.topic.policy.class.name`).
    pub refuses_compression_type: bool,
    /// Data, configuration and logs; stays when the cluster is dropped. `None`: a [`Scratch`], which does not.
    pub dir: Option<PathBuf>,
    pub lifetime: Lifetime,
    pub progress: Progress,
}

impl ClusterOptions {
    /// One node with a heap of 512 MB and flags that favour a quick start over peak speed.
    pub fn named(name: &str) -> ClusterOptions {
        ClusterOptions {
            name: name.to_owned(),
            version: None,
            on_zookeeper: false,
            chroot: String::new(),
            nodes: 1,
            port: None,
            jvm_flags: ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
                .map(str::to_owned)
                .to_vec(),
            properties: BTreeMap::new(),
            scram: None,
            refuses_compression_type: false,
            dir: None,
            lifetime: Lifetime::default(),
            progress: Progress::default(),
        }
    }
}

#[derive(Clone)]
pub struct ScramUser {
    pub name: String,
    pub password: String,
}

impl ScramUser {
    /// A Kafka client's properties to log in as this user; Copyist takes them with its prefixes.
    pub fn client_properties(&self) -> BTreeMap<String, String> {
        let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
        let jaas = format!("{module} required username=\"{}\" password=\"{}\";", self.name, self.password);
        let pairs = [
            ("security.protocol", "SASL_PLAINTEXT".to_owned()),
            ("sasl.mechanism", "SCRAM-SHA-256".to_owned()),
            ("sasl.jaas.config", jaas),
        ];
        pairs.map(|(key, value)| (key.to_owned(), value)).into()
    }
}

impl fmt::Debug for ScramUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A cluster; dropped, it is killed, and its data removed unless [`ClusterOptions::dir`] was given.
#[derive(Debug)]
pub struct Cluster {
    options: ClusterOptions,
    /// Of the launcher's own version: our Java classes are compiled against them.
    jars: Jars,
    broker_jars: Jars,
    id: String,
    // Before ZooKeeper, which they look for in vain otherwise.
    nodes: Vec<Node>,
    // Before the directory: all must be gone when their files go.
    zookeeper: Option<ZooKeeper>,
    _scratch: Option<Scratch>,
}

#[derive(Debug)]
struct Node {
    what: String,
    ports: Ports,
    dir: PathBuf,
    process: Option<Process>,
}

impl Cluster {
    /// Starts a cluster and waits until all its brokers serve. A directory that holds the data of an earlier one, of
    /// as many nodes, goes on as that cluster.
    pub fn start(jars: &Jars, options: ClusterOptions) -> Result<Cluster> {
        let broker_jars = broker_jars(jars, &options)?;
        let scratch = match &options.dir {
            Some(_) => None,
            None => Some(Scratch::new(&options.name)?),
        };
        let kept = options.dir.as_deref();
        let dir = kept.or(scratch.as_ref().map(Scratch::path)).unwrap_or(Path::new(".")).to_owned();
        let id = formatted_id(&dir).unwrap_or_else(new_cluster_id);
        let needs_zookeeper =
            options.on_zookeeper || options.version.is_some_and(KafkaVersion::needs_zookeeper);
        let zookeeper =
            needs_zookeeper.then(|| ZooKeeper::start(&broker_jars, &dir, options.lifetime, options.progress));
        let mut cluster = Cluster {
            options,
            jars: jars.clone(),
            broker_jars,
            id,
            nodes: Vec::new(),
            zookeeper: zookeeper.transpose()?,
            _scratch: scratch,
        };
        let mut tries = 1;
        loop {
            cluster.nodes = cluster.plan(&dir)?;
            cluster.write_files()?;
            match cluster.launch() {
                Err(error) if tries < PORT_TRIES && cluster.port_was_taken() => {
                    cluster.options.progress.say(format_args!("  {error}; trying other ports"));
                    tries += 1;
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        // With ZooKeeper the first broker makes it up.
        cluster.id = formatted_id(&dir).unwrap_or(cluster.id);
        Ok(cluster)
    }

    /// Starts two clusters at once, which takes little longer than one.
    pub fn start_two(jars: &Jars, one: ClusterOptions, other: ClusterOptions) -> Result<(Cluster, Cluster)> {
        std::thread::scope(|scope| {
            let started = scope.spawn(|| Cluster::start(jars, one));
            let other = Cluster::start(jars, other);
            let one =
                started.join().map_err(|_| Error::Invalid("the start of a cluster panicked".to_owned()))?;
            Ok((one?, other?))
        })
    }

    fn plan(&self, dir: &Path) -> Result<Vec<Node>> {
        (1..=self.options.nodes)
            .map(|id| {
                let sasl = self.options.scram.as_ref().map(|_| free_port()).transpose()?;
                let has_controller = id == 1 && self.zookeeper.is_none();
                let controller = has_controller.then(free_port).transpose()?;
                let plaintext = self.options.port.filter(|_| id == 1).map_or_else(free_port, Ok)?;
                let ports = Ports { plaintext, sasl, controller };
                let what = format!("Kafka node {id} of {}", self.options.name);
                Ok(Node { what, ports, dir: node_dir(dir, id), process: None })
            })
            .collect()
    }

    fn write_files(&self) -> Result<()> {
        let controller = self.nodes.iter().find_map(|node| node.ports.controller).unwrap_or_default();
        let quorum = self.zookeeper.as_ref().map(|zookeeper| Quorum::ZooKeeper(zookeeper.port));
        let quorum = quorum.unwrap_or(Quorum::KRaft(controller));
        for (number, node) in self.nodes.iter().enumerate() {
            let text = server_properties(&self.options, number + 1, node.ports, quorum, &node.data());
            let written = fs::create_dir_all(&node.dir).and_then(|()| fs::write(node.config(), text));
            written.map_err(Error::io(format_args!("write {}", node.config().display())))?;
            if self.zookeeper.is_none() && !node.data().join("meta.properties").exists() {
                self.format(node)?;
            }
        }
        Ok(())
    }

    fn class_path(&self) -> Result<PathBuf> {
        let mut class_path = self.broker_jars.class_path().into_os_string();
        if self.options.refuses_compression_type {
            class_path.push(":");
            class_path.push(classes(&self.jars, self.options.progress)?);
        }
        Ok(class_path.into())
    }

    fn format(&self, node: &Node) -> Result<()> {
        let what = format!("the formatting of {}", node.what);
        let quick = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dcopyist.log.level=WARN"].map(str::to_owned);
        let class = "kafka.tools.StorageTool";
        let spec = self.broker_jars.java_with(
            &what,
            &quick,
            &self.class_path()?,
            class,
            &node.dir.join("format.log"),
        )?;
        let mut spec = spec.args(["format", "--cluster-id", &self.id, "--config"]).arg(node.config());
        // The controller's snapshot holds the users.
        if let (Some(user), Some(_)) = (&self.options.scram, node.ports.controller) {
            let user = format!("SCRAM-SHA-256=[name={},password={}]", user.name, user.password);
            spec = spec.args(["--add-scram", &user]);
        }
        Process::run(&spec, FORMAT_LIMIT, self.options.progress)
    }

    /// Starts the nodes that do not run and waits until all brokers know each other.
    fn launch(&mut self) -> Result<()> {
        let class_path = self.class_path()?;
        for node in self.nodes.iter_mut().filter(|node| node.process.is_none()) {
            let (flags, log) = (&self.options.jvm_flags, node.log());
            let spec = self.broker_jars.java_with(&node.what, flags, &class_path, "kafka.Kafka", &log)?;
            let mut spec = spec.arg(node.config());
            spec.lifetime = self.options.lifetime;
            node.process = Some(Process::spawn(&spec)?);
        }
        let expected = self.nodes.len();
        for node in &mut self.nodes {
            let what = format!("{} to serve", node.what);
            let port = node.ports.plaintext;
            if let Some(process) = &mut node.process {
                process.wait_for(&what, START_LIMIT, self.options.progress, || {
                    Ok(living_brokers(port).ok().filter(|count| *count == expected))
                })?;
            }
        }
        Ok(())
    }

    fn port_was_taken(&self) -> bool {
        let logs = self.nodes.iter().filter_map(|node| node.process.as_ref());
        logs.flat_map(Process::log_text).any(|text| text.contains("Address already in use"))
    }

    /// `host:port` of every broker's PLAINTEXT listener.
    pub fn bootstrap(&self) -> String {
        join(self.nodes.iter().map(|node| node.ports.plaintext))
    }

    /// `host:port` of every broker's SASL_PLAINTEXT listener; empty without a SCRAM user.
    pub fn sasl_bootstrap(&self) -> String {
        join(self.nodes.iter().filter_map(|node| node.ports.sasl))
    }

    pub fn cluster_id(&self) -> &str {
        &self.id
    }

    /// Where its ZooKeeper is, in the form of `zookeeper.connect`.
    pub fn zookeeper(&self) -> Option<String> {
        let zookeeper = self.zookeeper.as_ref()?;
        Some(format!("127.0.0.1:{}{}", zookeeper.port, self.options.chroot))
    }

    /// A command line tool of the brokers' own version; arguments follow.
    pub fn command(&self, what: &str, class: &str, log: &Path) -> Result<Spec> {
        self.broker_jars.command(what, class, log)
    }

    /// The log of node 1; it goes on over restarts.
    pub fn log_path(&self) -> PathBuf {
        self.nodes.first().map(Node::log).unwrap_or_default()
    }

    /// The processes that run.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| node.process.as_ref()).map(Process::pid).collect()
    }

    /// `kill -9` to every node; the data stays.
    pub fn kill_9(&mut self) {
        for node in &mut self.nodes {
            node.process = None;
        }
    }

    /// SIGTERM, node 1 (the controller) last; a node that has not ended after 30 s is killed and reported.
    pub fn stop(&mut self) -> Result<()> {
        let processes = self.nodes.iter_mut().rev().filter_map(|node| node.process.take());
        let ends: Vec<Result<_>> = processes.map(|mut process| process.stop(STOP_GRACE)).collect();
        ends.into_iter().try_for_each(|end| end.map(|_status| ()))
    }

    /// Starts what does not run, on the same ports and data. After [`Cluster::kill_9`] or [`Cluster::stop`]; when
    /// nodes still run, those stay.
    pub fn restart(&mut self) -> Result<()> {
        if self.zookeeper.is_some() {
            ZooKeeper::wait_sessions_over(self.options.progress)?;
        }
        self.launch()
    }

    /// All brokers stop, and go on as another version, which looks after its metadata in the same way.
    pub fn upgrade(&mut self, version: KafkaVersion) -> Result<()> {
        if version.needs_zookeeper() != self.zookeeper.is_some() {
            return Err(Error::Invalid(format!("{} cannot become {version}", self.options.name)));
        }
        self.stop()?;
        self.broker_jars = Jars::fetch_broker(version, self.options.progress)?;
        self.options.version = Some(version);
        self.restart()
    }

    /// Gives the nodes up, for [`Lifetime::MayOutliveUs`] and with a directory of their own; returns their pids.
    pub fn leave_running(mut self) -> Vec<u32> {
        let processes = self.nodes.iter_mut().filter_map(|node| node.process.take());
        let zookeeper = self.zookeeper.take().map(ZooKeeper::leave_running);
        processes.map(Process::leave_running).chain(zookeeper).collect()
    }
}

impl Node {
    fn config(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("kafka.log")
    }
}

/// What the brokers are started from.
fn broker_jars(jars: &Jars, options: &ClusterOptions) -> Result<Jars> {
    let Some(version) = options.version else { return Ok(jars.clone()) };
    if options.scram.is_some() && !version.formats_users() {
        let text =
            format!("{}: the launcher gives users to Kafka 3.5 and later, not to {version}", options.name);
        return Err(Error::Invalid(text));
    }
    Jars::fetch_broker(version, options.progress)
}

/// Its first bit is 0, as an id that begins with a dash (the 63rd letter of 64) would be taken for an option.
fn new_cluster_id() -> String {
    kafka_uuid(uuid::Uuid::new_v4().as_u128() >> 1)
}

/// The cluster id of the data that is there already.
fn formatted_id(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(node_dir(dir, 1).join("data/meta.properties")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("cluster.id=")).map(str::to_owned)
}

fn node_dir(dir: &Path, id: usize) -> PathBuf {
    dir.join(format!("node-{id}"))
}

fn join(ports: impl Iterator<Item = u16>) -> String {
    let addresses: Vec<String> = ports.map(|port| format!("127.0.0.1:{port}")).collect();
    addresses.join(",")
}
