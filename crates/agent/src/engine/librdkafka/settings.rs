//! The client settings of a task. Pure.

use copyist_model::ConnectorSpec;

use super::refusal::BATCH_BYTES;
use crate::client::{self, Role};
use crate::engine::choice::destination;
use crate::error::Error;
use crate::worker::Worker;
use rdkafka::ClientConfig;

/// Time from one set of statistics to the next: they feed lag and the sense of an outage.
const STATISTICS_MS: u32 = 5_000;
/// What all lanes of a task may have read ahead, and the bounds of what one of them gets of it.
const READ_AHEAD_KBYTES: usize = 32 << 10;
const READ_AHEAD_LANE_KBYTES: (usize, usize) = (1 << 10, 16 << 10);

/// # Errors
/// [`Error::Stuck`]: the source's properties are wrong.
pub fn consumer(spec: &ConnectorSpec, client_id: &str, lanes: usize) -> Result<ClientConfig, Error> {
    let (mut config, without_effect) = client::config(&spec.source, Role::Consumer)?;
    tell_without_effect("source", &without_effect);
    let (least, most) = READ_AHEAD_LANE_KBYTES;
    let read_ahead = (READ_AHEAD_KBYTES / lanes.max(1)).clamp(least, most);
    config
        .set("queued.max.messages.kbytes", read_ahead.to_string())
        .set("statistics.interval.ms", STATISTICS_MS.to_string());
    name(&mut config, client_id);
    Ok(config)
}

/// `batch_bytes`: the smallest bound that a lane needs.
///
/// # Errors
/// [`Error::Stuck`]: the destination's properties are wrong.
pub fn producer(
    worker: &Worker,
    spec: &ConnectorSpec,
    client_id: &str,
    batch_bytes: u32,
) -> Result<ClientConfig, Error> {
    let (mut config, without_effect) = client::config(&destination(worker, spec), Role::Producer)?;
    tell_without_effect("destination", &without_effect);
    let asked = config.get("batch.size").and_then(|size| size.parse().ok()).unwrap_or(BATCH_BYTES);
    config
        .set("batch.size", batch_bytes.min(asked).to_string())
        // Lanes bound what is under way; this bounds them all once more.
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "1048576")
        .set("statistics.interval.ms", STATISTICS_MS.to_string());
    if batch_bytes <= 1 {
        config.set("batch.num.messages", "1");
    }
    name(&mut config, client_id);
    Ok(config)
}

fn name(config: &mut ClientConfig, client_id: &str) {
    if config.get("client.id").is_none() {
        config.set("client.id", client_id);
    }
}

fn tell_without_effect(role: &str, names: &[String]) {
    if !names.is_empty() {
        tracing::debug!(role, ?names, "client properties without effect");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copyist_model::{
        ClientProperties, Destination, OffsetReset, RenameFormat, TopicCreation, TopicSelection,
    };
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn properties(pairs: &[(&str, &str)]) -> ClientProperties {
        ClientProperties(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    fn spec(destination: Destination) -> ConnectorSpec {
        ConnectorSpec {
            selection: TopicSelection::default(),
            rename: RenameFormat::identity(),
            tasks_max: None,
            source: properties(&[("bootstrap.servers", "s:1"), ("client.id", "mine")]),
            destination,
            offset_reset: OffsetReset::Earliest,
            engine: copyist_model::EngineChoice::Auto,
            loss_policy: copyist_model::LossPolicy::Fail,
            agents: copyist_model::AgentChoice::default(),
            creation: TopicCreation {
                enabled: true,
                replication_factor: None,
                timestamp_type: "CreateTime".into(),
                overrides: BTreeMap::new(),
            },
            poll_interval: Duration::from_secs(120),
        }
    }

    fn worker() -> Worker {
        let topic = |name: &str| crate::worker::StorageTopic {
            name: name.parse().unwrap(),
            partitions: 1,
            replication_factor: 1,
        };
        Worker {
            group_id: "g".into(),
            agent_id: "a:1".parse().unwrap(),
            cluster: properties(&[
                ("bootstrap.servers", "w:1"),
                ("linger.ms", "1"),
                ("retry.backoff.ms", "9"),
            ]),
            producer: properties(&[("linger.ms", "2"), ("compression.type", "lz4")]),
            consumer: ClientProperties::default(),
            offset_storage: topic("o"),
            config_storage: topic("c"),
            status_storage: topic("s"),
            rack: String::new(),
            labels: std::collections::BTreeMap::new(),
            flush_interval: Duration::from_secs(10),
            memory_bytes: 64 << 20,
            stop_timeout: Duration::from_secs(5),
        }
    }

    #[test]
    fn the_workers_cluster_is_layered_and_a_connectors_own_is_alone() {
        let own = spec(Destination::Worker(properties(&[("compression.type", "zstd")])));
        let config = producer(&worker(), &own, "c-0", BATCH_BYTES).unwrap();
        let rows = [
            ("bootstrap.servers", "w:1"),
            ("retry.backoff.ms", "9"),
            ("linger.ms", "2"),
            ("compression.type", "zstd"),
            ("client.id", "c-0"),
        ];
        for (name, value) in rows {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
        let other = spec(Destination::Cluster(properties(&[("bootstrap.servers", "d:1")])));
        let config = producer(&worker(), &other, "c-0", BATCH_BYTES).unwrap();
        assert_eq!((config.get("bootstrap.servers"), config.get("linger.ms")), (Some("d:1"), None));
    }

    #[test]
    fn batches_keep_the_smaller_bound_and_one_byte_means_one_record() {
        let asked = |size| spec(Destination::Worker(properties(&[("batch.size", size)])));
        for (size, bound, expected) in [("5000", BATCH_BYTES, "5000"), ("5000", 10, "10"), ("0", 10, "1")] {
            let config = producer(&worker(), &asked(size), "c", bound).unwrap();
            assert_eq!(config.get("batch.size"), Some(expected), "{size} {bound}");
        }
        let one = producer(&worker(), &asked("5000"), "c", 1).unwrap();
        assert_eq!(one.get("batch.num.messages"), Some("1"));
    }

    #[test]
    fn lanes_share_what_is_read_ahead() {
        let spec = spec(Destination::Worker(ClientProperties::default()));
        for (lanes, kbytes) in [(0, "16384"), (1, "16384"), (8, "4096"), (1000, "1024")] {
            let config = consumer(&spec, "c", lanes).unwrap();
            assert_eq!(config.get("queued.max.messages.kbytes"), Some(kbytes), "{lanes} lanes");
            assert_eq!(config.get("client.id"), Some("mine"));
        }
    }
}
