//! Settings: Kafka Connect's worker properties, with Copyist's own keys among them.
//!
//! [`table`] has the keys; [`given`] reads a file by it; here the values become [`Settings`].

mod address;
mod clients;
mod definition;
mod given;
pub mod key;
pub mod kind;
mod machine;
mod notice;
pub mod table;

use std::path::PathBuf;
use std::time::Duration;

use copyist_agent::worker::{StorageTopic, Worker};
use copyist_model::AgentId;

pub use address::Address;
pub use key::Level;
pub use machine::Machine;
pub use notice::Notice;

use crate::error::Problem;
use crate::properties::Properties;
use given::Given;

/// What the process is to be like. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `group.id`: the name of the fleet.
    pub group_id: String,
    pub worker: Worker,
    /// Where the REST API listens; at least one.
    pub listeners: Vec<Address>,
    pub coordinator_listen: Address,
    pub metrics_listen: Address,
    /// The embedded store's file; absolute. Its directory may not exist yet.
    pub store_path: PathBuf,
    pub agent: AgentSettings,
    /// What a new holder of a task waits beyond the old one's right.
    pub lease_margin: Duration,
    pub log_format: LogFormat,
}

/// The agent, besides its [`Worker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSettings {
    pub lease_ttl: Duration,
    /// Shorter than `lease_ttl`.
    pub suspect: Duration,
    pub autonomy_max: Duration,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Settings {
    /// Reads the properties of the worker file `place`; the notices are for the user in either case.
    pub fn read(
        place: &str,
        properties: &Properties,
        machine: &Machine,
    ) -> (Result<Self, Vec<Problem>>, Vec<Notice>) {
        let given = Given::read(place, properties);
        let mut problems = given.problems.clone();
        let problem = |text| Problem { place: place.to_owned(), line: None, text };
        problems.extend(rules(&given).into_iter().map(problem));
        let settings = match Self::assemble(&given, machine) {
            Some(settings) if problems.is_empty() => Ok(settings),
            Some(_) | None => Err(problems),
        };
        let notices = notice::notices(place, properties, &given, settings.as_ref().ok());
        (settings, notices)
    }

    /// Nothing, when a value is absent because it is wrong.
    fn assemble(given: &Given, machine: &Machine) -> Option<Self> {
        let listeners = listeners(given)?;
        Some(Self {
            group_id: given.text("group.id")?.to_owned(),
            worker: worker(given, agent_id(given, &listeners, machine)?)?,
            listeners,
            coordinator_listen: given.address("coordinator.listen")?,
            metrics_listen: given.address("metrics.listen")?,
            store_path: machine.directory.join(given.text("store.path")?),
            agent: AgentSettings {
                lease_ttl: given.millis("agent.lease.ttl.ms")?,
                suspect: given.millis("agent.suspect.ms")?,
                autonomy_max: given.millis("agent.autonomy.max.ms")?,
            },
            lease_margin: given.millis("lease.margin.ms")?,
            log_format: if given.text("log.format")? == "json" { LogFormat::Json } else { LogFormat::Text },
        })
    }
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
    problems
}

fn worker(given: &Given, agent_id: AgentId) -> Option<Worker> {
    let mut clients = given.clients.clone();
    clients.insert(key::Clients::All, "bootstrap.servers", given.text("bootstrap.servers")?.to_owned());
    let replicas = |prefix: &str| given.number(&format!("{prefix}.replication.factor"));
    Some(Worker {
        agent_id,
        cluster: clients.cluster(),
        producer: clients.producer(),
        consumer: clients.consumer(),
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
    let mut listeners = given.listeners("listeners")?;
    if let (true, Some(first)) = (given.is_defaulted("listeners"), listeners.first_mut()) {
        first.host = given.text("rest.host.name").unwrap_or(&first.host).to_owned();
        first.port = given.number("rest.port").unwrap_or(first.port);
    }
    Some(listeners)
}

/// `agent.id`, or as Connect makes its `worker_id`: what is advertised, else the first listener's host, else this
/// machine's address.
fn agent_id(given: &Given, listeners: &[Address], machine: &Machine) -> Option<AgentId> {
    if let Some(id) = given.agent_id("agent.id") {
        return Some(id);
    }
    let first = listeners.first()?;
    let listener = first.names_a_host().then_some(first.host.as_str());
    let host = given.text("rest.advertised.host.name").or(listener).unwrap_or(&machine.address);
    let port = given.number("rest.advertised.port").unwrap_or(first.port);
    Address::join(host, port).parse().ok()
}

#[cfg(test)]
mod tests;
