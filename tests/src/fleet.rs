//! A fleet on this machine: coordinators, agents and gateways, each a process with a worker file of its own, that can be
//! killed, stopped, cut off and started again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::copyist::copyist_binary;
use crate::cut::Cut;
use crate::error::{Error, LogTail, Result};
use crate::etcd::Etcd;
use crate::ports::free_port;
use crate::process::{Process, Spec};
use crate::progress::Progress;
use crate::rest::Rest;
use crate::scratch::Scratch;
use crate::wait::wait_until;

/// Wide: a machine under load is no failure.
const LIMIT: Duration = Duration::from_secs(90);
const STOP_GRACE: Duration = Duration::from_secs(60);

/// What a fleet has.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// Its `group.id`, and part of its directory's name.
    pub name: String,
    pub coordinators: usize,
    pub agents: usize,
    pub gateways: usize,
    /// Of all worker files, in addition to the fleet's own.
    pub properties: BTreeMap<String, String>,
    /// Variables to set: `RUST_LOG`, `OTEL_…`.
    pub environment: BTreeMap<String, String>,
}

impl FleetOptions {
    /// 3 coordinators, 4 agents and 2 gateways, as a fleet is run.
    #[must_use]
    pub fn named(name: &str) -> FleetOptions {
        let (coordinators, agents, gateways) = (3, 4, 2);
        let log = ("RUST_LOG".to_owned(), "info,copyist_agent::engine::raw=debug".to_owned());
        let (properties, environment) = (BTreeMap::new(), BTreeMap::from([log]));
        FleetOptions { name: name.to_owned(), coordinators, agents, gateways, properties, environment }
    }
}

/// A fleet; dropped, it is killed, and its files are removed.
#[derive(Debug)]
pub struct Fleet {
    pub coordinators: Vec<Member>,
    pub agents: Vec<Member>,
    pub gateways: Vec<Member>,
    /// Before each coordinator's gRPC.
    pub ways: Vec<Cut>,
    /// Before etcd, for each coordinator.
    pub etcd_ways: Vec<Cut>,
    _scratch: Scratch,
}

/// A process of the fleet.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    role: &'static str,
    dir: PathBuf,
    binary: PathBuf,
    environment: BTreeMap<String, String>,
    grpc: u16,
    metrics: u16,
    rest: Rest,
    process: Option<Process>,
}

impl Fleet {
    /// Starts all of it, and waits until each gateway has a healthy fleet behind it.
    ///
    /// # Errors
    /// When a program is missing, or does not come up.
    pub fn start(etcd: &Etcd, destination: &str, options: &FleetOptions) -> Result<Fleet> {
        let mut fleet = Fleet::prepare(etcd, destination, options)?;
        for member in fleet.members_mut() {
            member.launch()?;
        }
        fleet.wait_healthy()?;
        Ok(fleet)
    }

    /// Writes the worker files and starts nothing.
    ///
    /// # Errors
    /// When a file cannot be written, or there is no port.
    pub fn prepare(etcd: &Etcd, destination: &str, options: &FleetOptions) -> Result<Fleet> {
        let scratch = Scratch::new(&options.name)?;
        let port_of_etcd = etcd.port(0).ok_or_else(|| Error::Invalid("etcd has no member".to_owned()))?;
        let mut shared = shared_properties(destination, options);
        let mut coordinators = Vec::new();
        let (mut ways, mut etcd_ways) = (Vec::new(), Vec::new());
        for number in 1..=options.coordinators {
            let member = Member::new("coordinator", number, scratch.path(), options)?;
            ways.push(Cut::before(member.grpc)?);
            etcd_ways.push(Cut::before(port_of_etcd)?);
            coordinators.push(member);
        }
        let endpoints: Vec<String> = ways.iter().map(Cut::address).collect();
        shared.insert("coordinator.endpoints".to_owned(), endpoints.join(","));
        for (member, (way, etcd_way)) in coordinators.iter().zip(ways.iter().zip(&etcd_ways)) {
            member.write(
                &shared,
                &[
                    ("coordinator.listen", format!("127.0.0.1:{}", member.grpc)),
                    ("coordinator.advertised.address", way.address()),
                    ("etcd.endpoints", etcd_way.address()),
                ],
            )?;
        }
        let agents = (1..=options.agents).map(|number| {
            let member = Member::new("agent", number, scratch.path(), options)?;
            let own = [
                ("agent.id", format!("agent-{number}:8083")),
                ("agent.listen", format!("127.0.0.1:{}", member.grpc)),
            ];
            member.write(&shared, &own)?;
            Ok(member)
        });
        let agents = agents.collect::<Result<_>>()?;
        let gateways = (1..=options.gateways).map(|number| {
            let member = Member::new("gateway", number, scratch.path(), options)?;
            let own = [
                ("listeners", member.rest.base().to_owned()),
                ("gateway.listen", format!("127.0.0.1:{}", member.grpc)),
            ];
            member.write(&shared, &own)?;
            Ok(member)
        });
        let gateways = gateways.collect::<Result<_>>()?;
        Ok(Fleet { coordinators, agents, gateways, ways, etcd_ways, _scratch: scratch })
    }

    pub fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.coordinators.iter_mut().chain(&mut self.agents).chain(&mut self.gateways)
    }

    /// All that runs must go on running; waits until `GET /health` answers 200 at each gateway.
    ///
    /// # Errors
    /// When it does not come about.
    pub fn wait_healthy(&mut self) -> Result<()> {
        for at in 0..self.gateways.len() {
            let what = format!("gateway {} to be healthy", at + 1);
            let rest = self.gateways[at].rest.clone();
            self.wait(&what, || {
                Ok(rest.get("/health").is_ok_and(|(status, _)| status == 200).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Waits for a condition; an error shows the end of each log.
    ///
    /// # Errors
    /// When it does not come about.
    pub fn wait<T>(&self, what: &str, poll: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        wait_until(what, LIMIT, Progress::Silent, poll)
            .map_err(|error| Error::Invalid(format!("{}{}", error.chain(), self.tails())))
    }

    /// The REST API by a gateway.
    #[must_use]
    pub fn rest(&self, gateway: usize) -> &Rest {
        &self.gateways[gateway].rest
    }

    /// Which coordinator leads, by the log of its present run.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        (0..self.coordinators.len()).find(|at| self.leads(*at))
    }

    /// Whether a coordinator leads, as far as it knows.
    #[must_use]
    pub fn leads(&self, coordinator: usize) -> bool {
        self.coordinators.get(coordinator).is_some_and(|member| {
            let log = member.process.as_ref().and_then(|process| process.log_text().ok()).unwrap_or_default();
            let leads = log.rfind("this coordinator leads store=");
            let ends = ["this coordinator leads no more", "the store failed", "coordinator leads address="];
            let ended = ends.iter().filter_map(|end| log.rfind(end)).max();
            leads.is_some() && leads > ended
        })
    }

    /// Waits until one of the coordinators leads.
    ///
    /// # Errors
    /// When none does.
    pub fn wait_leader(&self) -> Result<usize> {
        self.wait("a coordinator to lead", || Ok(self.leader()))
    }

    /// Which agents run tasks of a connector, by its status: by task, the agent's place.
    ///
    /// # Errors
    /// When no gateway answers.
    pub fn holders(&self, connector: &str) -> Result<BTreeMap<u64, usize>> {
        let (_, status) = self.rest(0).get(&format!("/connectors/{connector}/status"))?;
        let tasks = status["tasks"].as_array().cloned().unwrap_or_default();
        let holder = |task: &Value| {
            let agent = task["worker_id"].as_str()?.strip_prefix("agent-")?.split(':').next()?;
            Some((task["id"].as_u64()?, agent.parse::<usize>().ok()?.checked_sub(1)?))
        };
        Ok(tasks.iter().filter_map(holder).collect())
    }

    /// The end of each log.
    #[must_use]
    pub fn tails(&self) -> String {
        let all = self.coordinators.iter().chain(&self.agents).chain(&self.gateways);
        all.map(|member| format!("\n== {}{}", member.name, LogTail::read(&member.log_path()))).collect()
    }
}

impl Member {
    fn new(role: &'static str, number: usize, dir: &Path, options: &FleetOptions) -> Result<Member> {
        let name = format!("{role}-{number}");
        let dir = dir.join(&name);
        fs::create_dir_all(&dir).map_err(Error::io(format_args!("create {}", dir.display())))?;
        Ok(Member {
            name,
            role,
            dir,
            binary: copyist_binary()?,
            environment: options.environment.clone(),
            grpc: free_port()?,
            metrics: free_port()?,
            rest: Rest::new(format!("http://127.0.0.1:{}", free_port()?))?,
            process: None,
        })
    }

    fn write(&self, shared: &BTreeMap<String, String>, own: &[(&str, String)]) -> Result<()> {
        let mut properties = shared.clone();
        properties.insert("metrics.listen".to_owned(), format!("127.0.0.1:{}", self.metrics));
        properties.extend(own.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        let text: String = properties.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        fs::write(self.worker_file(), text).map_err(Error::io("write worker.properties"))
    }

    /// Another process of the same kind, with a worker file that differs by `properties`, in a directory of its own.
    ///
    /// # Errors
    /// When its files cannot be written, or there is no port.
    pub fn beside(&self, name: &str, properties: &[(&str, &str)]) -> Result<Member> {
        let dir = self.dir.with_file_name(name);
        fs::create_dir_all(&dir).map_err(Error::io(format_args!("create {}", dir.display())))?;
        let text = fs::read_to_string(self.worker_file()).map_err(Error::io("read worker.properties"))?;
        let other = Member {
            name: name.to_owned(),
            role: self.role,
            dir,
            binary: self.binary.clone(),
            environment: self.environment.clone(),
            grpc: free_port()?,
            metrics: free_port()?,
            rest: Rest::new(format!("http://127.0.0.1:{}", free_port()?))?,
            process: None,
        };
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let mut all: BTreeMap<String, String> =
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        all.extend(properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let grpc = format!("127.0.0.1:{}", other.grpc);
        let listens = format!("{}.listen", self.role);
        let own = [(listens.as_str(), grpc), ("listeners", other.rest.base().to_owned())];
        other.write(&all, &own)?;
        Ok(other)
    }

    /// Starts it, without waiting for anything; nothing, when it runs.
    ///
    /// # Errors
    /// When the program is missing.
    pub fn launch(&mut self) -> Result<()> {
        if self.process.is_none() {
            let mut spec = Spec::new(&self.name, &self.binary, self.log_path());
            spec = spec.arg(self.role).arg(self.worker_file());
            let variables = self.environment.iter().map(|(name, value)| (name.into(), Some(value.into())));
            spec.environment.extend(variables);
            self.process = Some(Process::spawn(&spec)?);
        }
        Ok(())
    }

    pub fn kill_9(&mut self) {
        self.process = None;
    }

    /// SIGTERM, then waits for its end.
    ///
    /// # Errors
    /// When it does not run, or does not end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let process =
            self.process.take().ok_or_else(|| Error::Invalid(format!("{} does not run", self.name)));
        process?.stop(STOP_GRACE)
    }

    pub fn signal(&self, signal: Signal) {
        self.process.iter().for_each(|process| process.signal(signal));
    }

    #[must_use]
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.exited(), Ok(None)))
    }

    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// What starts it, as one would type it.
    #[must_use]
    pub fn command(&self) -> String {
        format!("{} {} {}", self.binary.display(), self.role, self.worker_file().display())
    }

    #[must_use]
    pub fn worker_file(&self) -> PathBuf {
        self.dir.join("worker.properties")
    }

    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("copyist.log")
    }

    /// All that it logged, over restarts.
    ///
    /// # Errors
    /// When it has not run yet.
    pub fn log_text(&self) -> Result<String> {
        let path = self.log_path();
        fs::read_to_string(&path).map_err(Error::io(format_args!("read {}", path.display())))
    }

    /// `host:port` of its gRPC.
    #[must_use]
    pub fn grpc_address(&self) -> String {
        format!("127.0.0.1:{}", self.grpc)
    }

    /// The Prometheus text.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn metrics(&self) -> Result<String> {
        let metrics = Rest::new(format!("http://127.0.0.1:{}", self.metrics))?;
        Ok(metrics.get_text("/metrics")?.1)
    }
}

fn shared_properties(destination: &str, options: &FleetOptions) -> BTreeMap<String, String> {
    let converter = "org.apache.kafka.connect.converters.ByteArrayConverter";
    let name = &options.name;
    let mut properties: BTreeMap<String, String> = BTreeMap::from(
        [
            ("bootstrap.servers", destination.to_owned()),
            ("group.id", name.clone()),
            ("key.converter", converter.to_owned()),
            ("value.converter", converter.to_owned()),
            ("offset.storage.topic", format!("{name}-offsets")),
            ("offset.storage.replication.factor", "1".to_owned()),
            ("offset.storage.partitions", "5".to_owned()),
            ("config.storage.topic", format!("{name}-configs")),
            ("config.storage.replication.factor", "1".to_owned()),
            ("status.storage.topic", format!("{name}-status")),
            ("status.storage.replication.factor", "1".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    properties.extend(options.properties.clone());
    properties
}
