//! The keys of the worker file: Kafka Connect's own (of its distributed and its standalone worker, 4.3 and
//! older), and Copyist's. Kafka client keys are in [`copyist_connector::clients`].

use super::key::{Clients, Default, Effect, Family, Level, Members, Without, WorkerKey};
use super::kind::Kind;

/// The row of a key.
#[must_use]
pub fn find(name: &str) -> Option<&'static WorkerKey> {
    KEYS.iter().find(|key| key.name == name)
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    documentation: &'static str,
) -> WorkerKey {
    WorkerKey { name, kind, default: Default::Value(default), effect: Effect::Honoured, documentation }
}

const fn optional(name: &'static str, kind: Kind, documentation: &'static str) -> WorkerKey {
    WorkerKey { name, kind, default: Default::Absent, effect: Effect::Honoured, documentation }
}

const fn without(name: &'static str, without: Without, documentation: &'static str) -> WorkerKey {
    let effect = Effect::Without(without);
    WorkerKey { name, kind: Kind::Text, default: Default::Absent, effect, documentation }
}

const fn unneeded(reason: &'static str) -> Without {
    Without { level: Level::Info, harmless: &[], reason }
}

const fn unmet(harmless: &'static [&'static str], reason: &'static str) -> Without {
    Without { level: Level::Warning, harmless, reason }
}

const PORT: Kind = Kind::Number { min: 0, max: 65_535, unit: "a TCP port" };
const BYTES: Kind = Kind::Number { min: 1_048_576, max: 1 << 50, unit: "bytes" };
const PARTITIONS: Kind = Kind::Count { max: 100_000, unit: "partitions" };
const REPLICAS: Kind = Kind::Count { max: 32_767, unit: "replicas" };

const CONVERTERS: Without = Without {
    level: Level::Info,
    harmless: &["org.apache.kafka.connect.converters.ByteArrayConverter", "ByteArrayConverter", "ByteArray"],
    reason: "records are copied byte by byte and never converted",
};
const PLUGINS: Without = unneeded("Java plugins are not loaded");
const GROUP: Without = unneeded("the coordinator places tasks, not a consumer group of workers");
const TRACKING: Without = unneeded("a connector's topics are those that it copies");
const POSITIONS: Without =
    unneeded("positions go to offset.storage.topic once the destination has acknowledged the records");
const HTTP: Without = unneeded("the REST API is served over HTTP");
const EXTENSIONS: Without =
    unmet(&[""], "REST extensions are not loaded: whoever reaches the listeners may use the REST API");
const HEADERS: Without = unmet(&[""], "the REST API adds no such headers");
const ADMIN: Without = unmet(&[], "administration is on the same listeners as everything else");
const PROVIDERS: Without = unmet(&[""], "references of the form ${provider:path:key} are not resolved");
const FLEET: Without = unmet(&[""], "a standalone process is its own coordinator, with its own store");
const EXACTLY_ONCE: Without = unneeded("the raw engine copies exactly once without transactions");
const OVERRIDES: Without = unmet(&["All"], "connectors may set any client key");
const CREATION: Without =
    unmet(&["true"], "each connector says by topic.auto.create whether topics are created");

#[rustfmt::skip]
pub static KEYS: &[WorkerKey] = &[
    WorkerKey {
        name: "bootstrap.servers", kind: Kind::Servers, default: Default::Required, effect: Effect::Honoured,
        documentation: "The brokers of the destination cluster to ask first, as host:port, separated by commas.",
    },
    key("group.id", Kind::Text, "copyist", "The name of the fleet."),
    key("listeners", Kind::Listeners, "http://:8083", "Where the REST API listens, as http://host:port, separated by commas; without a host: on every interface."),
    optional("rest.host.name", Kind::Text, "The host of the REST API's listener when there is no listeners (as in Kafka before 3.0)."),
    optional("rest.port", PORT, "The port of the REST API's listener when there is no listeners (as in Kafka before 3.0)."),
    optional("rest.advertised.host.name", Kind::Text, "The host by which others reach the REST API; part of the agent's id."),
    optional("rest.advertised.port", PORT, "The port by which others reach the REST API; part of the agent's id."),
    optional("rest.advertised.listener", Kind::OneOf(&["http"]), "Which listener others reach."),

    key("offset.storage.topic", Kind::Topic, "connect-offsets", "The topic of positions, in the destination cluster; created when missing."),
    key("offset.storage.partitions", PARTITIONS, "25", "How many partitions the topic of positions is created with."),
    key("offset.storage.replication.factor", REPLICAS, "3", "How many replicas the topic of positions is created with."),
    key("config.storage.topic", Kind::Topic, "connect-configs", "The topic of configs, in the destination cluster; created when missing."),
    key("config.storage.replication.factor", REPLICAS, "3", "How many replicas the topic of configs is created with."),
    key("status.storage.topic", Kind::Topic, "connect-status", "The topic of statuses, in the destination cluster; created when missing."),
    key("status.storage.partitions", PARTITIONS, "5", "How many partitions the topic of statuses is created with."),
    key("status.storage.replication.factor", REPLICAS, "3", "How many replicas the topic of statuses is created with."),
    key("offset.flush.interval.ms", Kind::millis(1), "10000", "The longest time from one storing of a moving partition's position to the next."),
    key("task.shutdown.graceful.timeout.ms", Kind::millis(0), "5000", "How long a clean stop waits for acknowledgements of the destination."),

    key("store.path", Kind::Text, "copyist-data/store.redb", "The file that keeps connectors, tasks and assignments; from the directory that the process starts in."),
    key("coordinator.listen", Kind::Address, "127.0.0.1:9083", "Where gRPC listens."),
    key("metrics.listen", Kind::Address, "127.0.0.1:9084", "Where Prometheus finds GET /metrics."),
    optional("agent.id", Kind::AgentId, "Connect's worker_id; by default the advertised host:port of the REST API."),
    optional("agent.rack", Kind::Text, "The rack that the agent is in."),
    optional("agent.labels", Kind::Labels, "What else is to be known about the agent, as name=value, separated by commas."),
    key("agent.memory.bytes", BYTES, "268435456", "How many bytes of records an agent holds at most, besides what one answer brings."),
    key("agent.lease.ttl.ms", Kind::millis(1_000), "10000", "How long an agent may write after its right was last renewed."),
    key("agent.suspect.ms", Kind::millis(100), "1500", "After which silence of an agent its tasks go to others."),
    key("agent.autonomy.max.ms", Kind::millis(0), "600000", "How long an agent copies on without a coordinator, after its right has ended."),
    key("lease.margin.ms", Kind::millis(0), "7000", "What a new holder of a task waits beyond the old one's right."),
    key("log.format", Kind::OneOf(&["text", "json"]), "text", "How log lines look: text for people, json for programs."),

    without("key.converter", CONVERTERS, "How keys are converted."),
    without("value.converter", CONVERTERS, "How values are converted."),
    without("header.converter", CONVERTERS, "How headers are converted."),
    without("internal.key.converter", CONVERTERS, "How keys of the storage topics were converted before Kafka 3.0."),
    without("internal.value.converter", CONVERTERS, "How values of the storage topics were converted before Kafka 3.0."),
    without("key.converter.plugin.version", PLUGINS, "The version of the key converter."),
    without("value.converter.plugin.version", PLUGINS, "The version of the value converter."),
    without("header.converter.plugin.version", PLUGINS, "The version of the header converter."),
    without("plugin.path", PLUGINS, "Where Java plugins are."),
    without("plugin.discovery", PLUGINS, "How Java plugins are found."),
    without("offset.storage.file.filename", POSITIONS, "The file of positions of a standalone worker."),
    without("offset.flush.timeout.ms", POSITIONS, "How long storing positions may take."),
    without("topic.tracking.enable", TRACKING, "Whether the topics in use are recorded."),
    without("topic.tracking.allow.reset", TRACKING, "Whether that record may be reset."),
    without("topic.creation.enable", CREATION, "Whether topics are created for source connectors."),
    without("exactly.once.source.support", EXACTLY_ONCE, "Whether source connectors write in transactions."),
    without("connector.client.config.override.policy", OVERRIDES, "Which client keys connectors may set."),
    without("config.providers", PROVIDERS, "Where references in values are looked up."),

    without("rest.extension.classes", EXTENSIONS, "Extensions of the REST API, such as authentication."),
    without("access.control.allow.origin", HEADERS, "Which web pages may call the REST API."),
    without("access.control.allow.methods", HEADERS, "Which methods such pages may use."),
    without("response.http.headers.config", HEADERS, "Headers of every answer."),
    without("admin.listeners", ADMIN, "Where the REST API's administration listens."),
    without("ssl.client.auth", HTTP, "Whether callers of the REST API need a certificate."),

    without("rebalance.timeout.ms", GROUP, "How long a rebalance may take."),
    without("session.timeout.ms", GROUP, "After which silence a worker is given up."),
    without("heartbeat.interval.ms", GROUP, "How often a worker says that it lives."),
    without("connect.protocol", GROUP, "How workers share out tasks."),
    without("scheduled.rebalance.max.delay.ms", GROUP, "How long a lost worker's tasks wait for it."),
    without("worker.sync.timeout.ms", GROUP, "How long a worker waits to catch up."),
    without("worker.unsync.backoff.ms", GROUP, "How long a worker stays out when it cannot."),
    without("inter.worker.key.generation.algorithm", GROUP, "How keys between workers are made."),
    without("inter.worker.key.size", GROUP, "How long keys between workers are."),
    without("inter.worker.key.ttl.ms", GROUP, "How long keys between workers hold."),
    without("inter.worker.signature.algorithm", GROUP, "How requests between workers are signed."),
    without("inter.worker.verification.algorithms", GROUP, "Which signatures between workers are accepted."),

    without("etcd.endpoints", FLEET, "The store of a fleet."),
    without("etcd.prefix", FLEET, "Where a fleet's keys begin."),
    without("coordinator.endpoints", FLEET, "The coordinators of a fleet."),
    without("coordinator.advertised.address", FLEET, "Where a fleet reaches this coordinator."),
];

/// The first that fits holds; a key of [`KEYS`] comes before any of them.
pub static FAMILIES: [Family; 12] = [
    Family { prefix: "producer.", members: Members::Clients(Clients::Producers) },
    Family { prefix: "consumer.", members: Members::Clients(Clients::Consumers) },
    Family { prefix: "admin.listeners.", members: Members::Ignored(HTTP) },
    Family { prefix: "admin.", members: Members::Clients(Clients::Admins) },
    Family { prefix: "key.converter.", members: Members::Ignored(CONVERTERS) },
    Family { prefix: "value.converter.", members: Members::Ignored(CONVERTERS) },
    Family { prefix: "header.converter.", members: Members::Ignored(CONVERTERS) },
    Family { prefix: "internal.key.converter.", members: Members::Ignored(CONVERTERS) },
    Family { prefix: "internal.value.converter.", members: Members::Ignored(CONVERTERS) },
    Family { prefix: "config.providers.", members: Members::Ignored(PROVIDERS) },
    Family { prefix: "listeners.https.", members: Members::Ignored(HTTP) },
    Family { prefix: "metrics.context.", members: Members::Ignored(unneeded("metrics are Prometheus's")) },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_there_once_and_defaults_fit_their_kinds() {
        let names: BTreeSet<_> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), KEYS.len());
        for key in KEYS {
            if let Default::Value(default) = key.default {
                assert!(key.kind.read(default).is_ok(), "{}={default}", key.name);
            }
        }
    }

    #[test]
    fn every_key_has_one_sentence() {
        for WorkerKey { name, documentation, .. } in KEYS {
            assert!(documentation.ends_with('.') && documentation.matches(". ").count() == 0, "{name}");
        }
    }

    #[test]
    fn no_family_hides_another() {
        for (index, family) in FAMILIES.iter().enumerate() {
            let earlier = FAMILIES[..index].iter().find(|earlier| family.prefix.starts_with(earlier.prefix));
            assert!(earlier.is_none(), "{} is never reached", family.prefix);
        }
    }
}
