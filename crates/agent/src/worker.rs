//! What an agent knows from its worker file.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::providers::Providers;
use copyist_model::{AgentId, ClientProperties, TopicName};

/// A topic of the worker's own, as its properties describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageTopic {
    pub name: TopicName,
    /// Partitions to create it with.
    pub partitions: u32,
    /// Replication factor to create it with; bounded by the number of brokers.
    pub replication_factor: u16,
}

/// The worker's cluster, and what is kept there.
#[derive(Debug, Clone)]
pub struct Worker {
    /// The name of the fleet.
    pub group_id: String,
    /// Connect's `worker_id`.
    pub agent_id: AgentId,
    /// How to reach the worker's cluster: properties for every client there.
    pub cluster: ClientProperties,
    /// `producer.*` of the worker file, over `cluster`, for producers of records.
    pub producer: ClientProperties,
    /// `consumer.*` of the worker file, over `cluster`.
    pub consumer: ClientProperties,
    /// Resolve the references in the properties of connectors.
    pub providers: Providers,
    pub offset_storage: StorageTopic,
    pub config_storage: StorageTopic,
    pub status_storage: StorageTopic,
    /// Where the agent runs; empty: not said.
    pub rack: String,
    /// What else is known about it, for placement.
    pub labels: BTreeMap<String, String>,
    /// The longest time from one storing of a moving lane's position to the next.
    pub flush_interval: Duration,
    /// What the raw engine may hold of what it read, for all tasks together.
    pub memory_bytes: usize,
    /// Longest time that a clean stop waits for acknowledgements (`task.shutdown.graceful.timeout.ms`).
    pub stop_timeout: Duration,
}

#[cfg(test)]
impl Worker {
    /// Of a cluster that nobody serves.
    pub(crate) fn nowhere() -> Self {
        let topic =
            |name: &str| StorageTopic { name: name.parse().unwrap(), partitions: 1, replication_factor: 1 };
        Self {
            group_id: "g".to_owned(),
            agent_id: "a:1".parse().unwrap(),
            cluster: ClientProperties([("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned())].into()),
            producer: ClientProperties::default(),
            consumer: ClientProperties::default(),
            providers: Providers::default(),
            offset_storage: topic("o"),
            config_storage: topic("c"),
            status_storage: topic("s"),
            rack: String::new(),
            labels: BTreeMap::new(),
            flush_interval: Duration::from_secs(10),
            memory_bytes: 1,
            stop_timeout: Duration::from_secs(1),
        }
    }
}
