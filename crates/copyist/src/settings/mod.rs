//! Settings: Kafka Connect's worker properties, with Copyist's own keys among them.
//!
//! [`table`] has the keys; [`given`] reads a file by it; here the values become [`Settings`].

mod address;
mod clients;
mod definition;
pub mod etcd;
mod fleet;
mod given;
pub mod key;
pub mod kind;
mod machine;
mod notice;
mod providers;
pub mod role;
mod secret;
pub mod table;

use std::path::PathBuf;
use std::time::Duration;

use copyist_agent::worker::{StorageTopic, Worker};
use copyist_gateway::TopicTracking;
use copyist_model::AgentId;

pub use address::Address;
pub use etcd::EtcdSettings;
pub use key::Level;
pub use machine::Machine;
pub use notice::Notice;
pub use role::Role;
pub use secret::Secret;

use crate::error::Problem;
use copyist_model::properties::Properties;
use given::Given;

/// What the process is to be like: what it has settings for, it runs. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `group.id`: the name of the fleet.
    pub group_id: String,
    pub metrics_listen: Address,
    pub log_format: LogFormat,
    pub coordinator: Option<CoordinatorSettings>,
    pub agent: Option<AgentSettings>,
    pub gateway: Option<GatewaySettings>,
    /// Where the agent and the gateway find coordinators; none: the one of this process.
    pub coordinators: Vec<Address>,
}

/// A coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorSettings {
    pub listen: Address,
    pub store: StoreSettings,
    pub agent_lease_ttl: Duration,
    /// Shorter than `agent_lease_ttl`.
    pub suspect: Duration,
    pub autonomy_max: Duration,
    /// What a new holder of a task waits beyond the old one's right.
    pub lease_margin: Duration,
}

/// Where a coordinator keeps what it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreSettings {
    /// The embedded store's file; absolute. Its directory may not exist yet.
    File(PathBuf),
    Etcd {
        etcd: EtcdSettings,
        /// Of the lease under which this coordinator leads; whole seconds.
        lease_ttl: Duration,
        /// Where others reach this coordinator; port 0: the one that it listens on.
        advertised: Address,
    },
}

/// An agent.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    pub worker: Worker,
    pub lease_ttl: Duration,
    /// For gRPC; none, where the coordinator's listener is this process's.
    pub listen: Option<Address>,
}

/// A gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySettings {
    /// Where the REST API listens; at least one.
    pub listeners: Vec<Address>,
    pub administration: Administration,
    /// `topic.tracking.enable`, `topic.tracking.allow.reset`.
    pub tracking: TopicTracking,
    /// For gRPC; none, where the coordinator's listener is this process's.
    pub listen: Option<Address>,
}

/// Where the REST API's `/admin` is, as Connect's `admin.listeners` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Administration {
    /// With everything else.
    Beside,
    /// Nowhere.
    Off,
    /// At these addresses, and nowhere else; at least one.
    At(Vec<Address>),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Settings {
    /// Reads the properties of the worker file `place` for a role; the notices are for the user in either case.
    pub fn read(
        place: &str,
        properties: &Properties,
        machine: &Machine,
        role: Role,
    ) -> (Result<Self, Vec<Problem>>, Vec<Notice>) {
        let given = Given::read(place, properties, machine, role);
        let mut problems = given.problems.clone();
        let problem = |text| Problem { place: place.to_owned(), line: None, text };
        problems.extend(rules(&given).into_iter().map(problem));
        problems.extend(fleet::rules(place, &given, machine, role).into_iter().map(problem));
        let etcd = role.is_one_of(role::REPLICAS).then(|| etcd::read(&given, machine));
        let etcd = etcd.transpose().unwrap_or_else(|texts| {
            problems.extend(texts.into_iter().map(problem));
            None
        });
        let settings = match Self::assemble(&given, machine, role, etcd) {
            Some(settings) if problems.is_empty() => Ok(settings),
            Some(_) | None => Err(problems),
        };
        let notices = notice::notices(place, properties, &given, settings.as_ref().ok(), role);
        (settings, notices)
    }

    /// Nothing, when a value is absent because it is wrong.
    fn assemble(given: &Given, machine: &Machine, role: Role, etcd: Option<EtcdSettings>) -> Option<Self> {
        let (mut coordinator, mut agent, mut gateway) = (None, None, None);
        if role.is_one_of(role::COORDINATORS) {
            coordinator = Some(coordinator_settings(given, machine, etcd)?);
        }
        if role.is_one_of(role::WORKERS) {
            agent = Some(agent_settings(given, machine, role)?);
        }
        if role.is_one_of(role::REST) {
            let is_true = |key: &str| given.text(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
            gateway = Some(GatewaySettings {
                listeners: listeners(given)?,
                administration: administration(given),
                tracking: TopicTracking {
                    enabled: is_true("topic.tracking.enable"),
                    may_be_reset: is_true("topic.tracking.allow.reset"),
                },
                listen: given.address("gateway.listen"),
            });
        }
        Some(Self {
            group_id: given.text("group.id")?.to_owned(),
            metrics_listen: given.address("metrics.listen")?,
            log_format: if given.text("log.format")? == "json" { LogFormat::Json } else { LogFormat::Text },
            coordinator,
            agent,
            gateway,
            coordinators: given.addresses("coordinator.endpoints").unwrap_or_default(),
        })
    }
}

fn coordinator_settings(
    given: &Given,
    machine: &Machine,
    etcd: Option<EtcdSettings>,
) -> Option<CoordinatorSettings> {
    let ttl = given.millis("agent.lease.ttl.ms")?;
    let store = match etcd {
        Some(etcd) => StoreSettings::Etcd {
            etcd,
            lease_ttl: fleet::granted(given.millis("coordinator.lease.ttl.ms")?),
            advertised: fleet::advertised(given, machine)?,
        },
        None => StoreSettings::File(machine.directory.join(given.text("store.path")?)),
    };
    Some(CoordinatorSettings {
        listen: given.address("coordinator.listen")?,
        agent_lease_ttl: match store {
            StoreSettings::File(_) => ttl,
            StoreSettings::Etcd { .. } => fleet::granted(ttl),
        },
        store,
        suspect: given.millis("agent.suspect.ms")?,
        autonomy_max: given.millis("agent.autonomy.max.ms")?,
        lease_margin: given.millis("lease.margin.ms")?,
    })
}

fn agent_settings(given: &Given, machine: &Machine, role: Role) -> Option<AgentSettings> {
    let listen = given.address("agent.listen");
    let named = match (&listen, role.is_one_of(role::REST)) {
        (_, true) => listeners(given)?.into_iter().next()?,
        // By a loopback address all agents of a fleet would have the same name.
        (Some(listen), false) if listen.is_loopback() => Address { host: String::new(), port: listen.port },
        (Some(listen), false) => listen.clone(),
        (None, false) => return None,
    };
    Some(AgentSettings {
        worker: worker(given, agent_id(given, &named, machine)?)?,
        lease_ttl: given.millis("agent.lease.ttl.ms")?,
        listen,
    })
}

/// What is wrong with values that are right each by itself.
fn rules(given: &Given) -> Vec<String> {
    let mut problems = Vec::new();
    let topics = ["offset.storage.topic", "config.storage.topic", "status.storage.topic"];
    for (index, key) in topics.iter().enumerate() {
        let topic = given.topic(key);
        let same = |other: &&&str| topic.is_some() && given.topic(other) == topic;
        if let (Some(other), Some(topic)) = (topics[..index].iter().find(same), &topic) {
            problems.push(format!("{other} and {key} are both {topic}; each needs a topic of its own"));
        }
    }
    let ttl = given.millis("agent.lease.ttl.ms");
    if let (Some(suspect), Some(ttl)) = (given.millis("agent.suspect.ms"), ttl)
        && suspect >= ttl
    {
        problems.push(format!(
            "agent.suspect.ms is {}; it must be less than agent.lease.ttl.ms, which is {}",
            suspect.as_millis(),
            ttl.as_millis()
        ));
    }
    problems.extend(given.clients.missing());
    problems.extend(given.clients.hidden_values());
    problems
}

fn worker(given: &Given, agent_id: AgentId) -> Option<Worker> {
    let mut clients = given.clients.clone();
    clients.insert(key::Clients::All, "bootstrap.servers", given.text("bootstrap.servers")?.to_owned());
    let replicas = |prefix: &str| given.number(&format!("{prefix}.replication.factor"));
    Some(Worker {
        group_id: given.text("group.id")?.to_owned(),
        agent_id,
        cluster: clients.cluster(),
        producer: clients.producer(),
        consumer: clients.consumer(),
        providers: given.providers.clone(),
        offset_storage: StorageTopic {
            name: given.topic("offset.storage.topic")?,
            partitions: given.number("offset.storage.partitions")?,
            replication_factor: replicas("offset.storage")?,
        },
        config_storage: StorageTopic {
            name: given.topic("config.storage.topic")?,
            // Connect needs the order of all its records.
            partitions: 1,
            replication_factor: replicas("config.storage")?,
        },
        status_storage: StorageTopic {
            name: given.topic("status.storage.topic")?,
            partitions: given.number("status.storage.partitions")?,
            replication_factor: replicas("status.storage")?,
        },
        rack: given.text("agent.rack").unwrap_or_default().to_owned(),
        labels: given.labels("agent.labels").unwrap_or_default(),
        flush_interval: given.millis("offset.flush.interval.ms")?,
        memory_bytes: given.number("agent.memory.bytes")?,
        stop_timeout: given.millis("task.shutdown.graceful.timeout.ms")?,
    })
}

/// `listeners`, or what stood for it before Kafka 3.0.
fn listeners(given: &Given) -> Option<Vec<Address>> {
    let mut listeners = given.addresses("listeners")?;
    if let (true, Some(first)) = (given.is_defaulted("listeners"), listeners.first_mut()) {
        first.host = given.text("rest.host.name").unwrap_or(&first.host).to_owned();
        first.port = given.number("rest.port").unwrap_or(first.port);
    }
    Some(listeners)
}

fn administration(given: &Given) -> Administration {
    match given.addresses("admin.listeners") {
        Some(addresses) => Administration::At(addresses),
        None if given.is_blank("admin.listeners") => Administration::Off,
        None => Administration::Beside,
    }
}

/// `agent.id`, or as Connect makes its `worker_id`: what is advertised, else the host of the first listener, else
/// this machine's address.
fn agent_id(given: &Given, first: &Address, machine: &Machine) -> Option<AgentId> {
    if let Some(id) = given.agent_id("agent.id") {
        return Some(id);
    }
    let listener = first.names_a_host().then_some(first.host.as_str());
    let host = given.text("rest.advertised.host.name").or(listener).unwrap_or(&machine.address);
    let port = given.number("rest.advertised.port").unwrap_or(first.port);
    Address::join(host, port).parse().ok()
}

#[cfg(test)]
mod tests;
