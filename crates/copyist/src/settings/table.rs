//! The keys of the worker file: Kafka Connect's own (of its distributed and its standalone worker, 4.3 and
//! older), and Copyist's. Kafka client keys are in [`copyist_connector::clients`].

use super::key::{Clients, Default, Effect, Family, Level, Members, Without, WorkerKey};
use super::kind::Kind;
use super::role::{self, Role};

/// The row of a key.
#[must_use]
pub fn find(name: &str) -> Option<&'static WorkerKey> {
    KEYS.iter().find(|key| key.name == name)
}

const fn key(
    roles: &'static [Role],
    name: &'static str,
    kind: Kind,
    default: &'static str,
    documentation: &'static str,
) -> WorkerKey {
    let default = Default::Value(default);
    WorkerKey { name, kind, default, effect: Effect::Honoured, roles, documentation }
}

const fn optional(
    roles: &'static [Role],
    name: &'static str,
    kind: Kind,
    documentation: &'static str,
) -> WorkerKey {
    WorkerKey { name, kind, default: Default::Absent, effect: Effect::Honoured, roles, documentation }
}

const fn without(
    roles: &'static [Role],
    name: &'static str,
    without: Without,
    documentation: &'static str,
) -> WorkerKey {
    let effect = Effect::Without(without);
    WorkerKey { name, kind: Kind::Text, default: Default::Absent, effect, roles, documentation }
}

const fn unneeded(reason: &'static str) -> Without {
    Without { level: Level::Info, harmless: &[], reason }
}

const fn unmet(harmless: &'static [&'static str], reason: &'static str) -> Without {
    Without { level: Level::Warning, harmless, reason }
}

const STANDALONE: &[Role] = &[Role::Standalone];
const AGENT: &[Role] = &[Role::Agent];
const GATEWAY: &[Role] = &[Role::Gateway];
/// Those for whom an agent's lease has a length.
const CLOCKS: &[Role] = &[Role::Standalone, Role::Distributed, Role::Coordinator, Role::Agent];

const PORT: Kind = Kind::Number { min: 0, max: 65_535, unit: "a TCP port" };
const BOOLEAN: Kind = Kind::OneOf(&["true", "false"]);
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
const POSITIONS: Without =
    unneeded("positions go to offset.storage.topic once the destination has acknowledged the records");
const HTTP: Without = unneeded("the REST API is served over HTTP");
const EXTENSIONS: Without =
    unmet(&[""], "REST extensions are not loaded: whoever reaches the listeners may use the REST API");
const HEADERS: Without = unmet(&[""], "the REST API adds no such headers");
/// What keys of a fleet are for a standalone process.
pub const FLEET: Without = unmet(&[""], "a standalone process is its own coordinator, with its own store");
const EXACTLY_ONCE: Without = unneeded("the raw engine copies exactly once without transactions");
const OVERRIDES: Without = unmet(&["All"], "connectors may set any client key");
const CREATION: Without =
    unmet(&["true"], "each connector says by topic.auto.create whether topics are created");

#[rustfmt::skip]
pub static KEYS: &[WorkerKey] = &[
    WorkerKey {
        name: "bootstrap.servers", kind: Kind::Servers, default: Default::Required, effect: Effect::Honoured,
        roles: role::WORKERS,
        documentation: "The brokers of the destination cluster to ask first, as host:port, separated by commas.",
    },
    key(role::ALL, "group.id", Kind::Text, "copyist", "The name of the fleet."),
    key(role::REST, "listeners", Kind::Listeners, "http://:8083", "Where the REST API listens, as http://host:port, separated by commas; without a host: on every interface."),
    optional(role::REST, "admin.listeners", Kind::Listeners, "Where /admin/loggers is served, in the form of listeners; without the key: with everything else; empty: nowhere."),
    optional(role::REST, "rest.host.name", Kind::Text, "The host of the REST API's listener when there is no listeners (as in Kafka before 3.0)."),
    optional(role::REST, "rest.port", PORT, "The port of the REST API's listener when there is no listeners (as in Kafka before 3.0)."),
    optional(role::WORKERS, "rest.advertised.host.name", Kind::Text, "The host by which others reach the REST API; part of the agent's id."),
    optional(role::WORKERS, "rest.advertised.port", PORT, "The port by which others reach the REST API; part of the agent's id."),
    optional(role::WORKERS, "rest.advertised.listener", Kind::OneOf(&["http"]), "Which listener others reach."),

    key(role::WORKERS, "offset.storage.topic", Kind::Topic, "connect-offsets", "The topic of positions, in the destination cluster; created when missing."),
    key(role::WORKERS, "offset.storage.partitions", PARTITIONS, "25", "How many partitions the topic of positions is created with."),
    key(role::WORKERS, "offset.storage.replication.factor", REPLICAS, "3", "How many replicas the topic of positions is created with."),
    key(role::WORKERS, "config.storage.topic", Kind::Topic, "connect-configs", "The topic of configs, in the destination cluster; created when missing."),
    key(role::WORKERS, "config.storage.replication.factor", REPLICAS, "3", "How many replicas the topic of configs is created with."),
    key(role::WORKERS, "status.storage.topic", Kind::Topic, "connect-status", "The topic of statuses, in the destination cluster; created when missing."),
    key(role::WORKERS, "status.storage.partitions", PARTITIONS, "5", "How many partitions the topic of statuses is created with."),
    key(role::WORKERS, "status.storage.replication.factor", REPLICAS, "3", "How many replicas the topic of statuses is created with."),
    key(role::WORKERS, "offset.flush.interval.ms", Kind::millis(1), "10000", "The longest time from one storing of a moving partition's position to the next."),
    key(role::WORKERS, "task.shutdown.graceful.timeout.ms", Kind::millis(0), "5000", "How long a clean stop waits for acknowledgements of the destination."),

    key(STANDALONE, "store.path", Kind::Text, "copyist-data/store.redb", "The file that keeps connectors, tasks and assignments; from the directory that the process starts in."),
    key(role::COORDINATORS, "coordinator.listen", Kind::Address, "127.0.0.1:9083", "Where a coordinator's gRPC listens."),
    optional(role::REPLICAS, "coordinator.advertised.address", Kind::Endpoint, "Where the others of the fleet reach this coordinator, as host:port; by default coordinator.listen, with this machine's address where that names no host."),
    optional(role::FLEET, "coordinator.endpoints", Kind::Endpoints, "The coordinators of the fleet, as host:port, separated by commas; by default those of a distributed process are the one within."),
    key(role::REPLICAS, "coordinator.lease.ttl.ms", Kind::millis(1), "2000", "How long a coordinator leads after it last reached etcd; whole seconds, at least two."),
    optional(role::REPLICAS, "etcd.endpoints", Kind::EtcdEndpoints, "The members of the etcd cluster that keeps what the fleet knows, as http://host:port or https://host:port, separated by commas."),
    key(role::REPLICAS, "etcd.prefix", Kind::Prefix, "/copyist", "What all keys of Copyist's fleets begin with in etcd; group.id comes next."),
    optional(role::REPLICAS, "etcd.user", Kind::Text, "Who the coordinator is for etcd."),
    optional(role::REPLICAS, "etcd.password", Kind::Secret, "The password of etcd.user."),
    optional(role::REPLICAS, "etcd.tls.ca.file", Kind::Text, "The file of certificates (PEM) by which etcd is known; https needs it."),
    optional(role::REPLICAS, "etcd.tls.cert.file", Kind::Text, "The file of the coordinator's own certificate (PEM) for etcd, where that asks for one."),
    optional(role::REPLICAS, "etcd.tls.key.file", Kind::Text, "The file of the private key (PEM) of etcd.tls.cert.file."),
    key(AGENT, "agent.listen", Kind::Address, "127.0.0.1:9085", "Where an agent's gRPC listens: health and reflection."),
    key(GATEWAY, "gateway.listen", Kind::Address, "127.0.0.1:9086", "Where a gateway's gRPC listens: the management API, passed on to the coordinators, health and reflection."),
    key(role::ALL, "metrics.listen", Kind::Address, "127.0.0.1:9084", "Where Prometheus finds GET /metrics."),
    optional(role::WORKERS, "agent.id", Kind::AgentId, "Connect's worker_id; by default the advertised host:port of the REST API."),
    optional(role::WORKERS, "agent.rack", Kind::Text, "The rack that the agent is in."),
    optional(role::WORKERS, "agent.labels", Kind::Labels, "What else is to be known about the agent, as name=value, separated by commas."),
    key(role::WORKERS, "agent.memory.bytes", BYTES, "268435456", "How many bytes of records an agent holds at most, besides what one answer brings."),
    key(CLOCKS, "agent.lease.ttl.ms", Kind::millis(1_000), "10000", "How long an agent may write after its right was last renewed."),
    key(role::COORDINATORS, "agent.suspect.ms", Kind::millis(100), "1500", "After which silence of an agent its tasks go to others."),
    key(role::COORDINATORS, "agent.autonomy.max.ms", Kind::millis(0), "600000", "How long an agent copies on without a coordinator, after its right has ended."),
    key(role::COORDINATORS, "lease.margin.ms", Kind::millis(0), "7000", "What a new holder of a task waits beyond the old one's right."),
    key(role::ALL, "log.format", Kind::OneOf(&["text", "json"]), "text", "How log lines look: text for people, json for programs."),

    without(role::WORKERS, "key.converter", CONVERTERS, "How keys are converted."),
    without(role::WORKERS, "value.converter", CONVERTERS, "How values are converted."),
    without(role::WORKERS, "header.converter", CONVERTERS, "How headers are converted."),
    without(role::WORKERS, "internal.key.converter", CONVERTERS, "How keys of the storage topics were converted before Kafka 3.0."),
    without(role::WORKERS, "internal.value.converter", CONVERTERS, "How values of the storage topics were converted before Kafka 3.0."),
    without(role::WORKERS, "key.converter.plugin.version", PLUGINS, "The version of the key converter."),
    without(role::WORKERS, "value.converter.plugin.version", PLUGINS, "The version of the value converter."),
    without(role::WORKERS, "header.converter.plugin.version", PLUGINS, "The version of the header converter."),
    without(role::WORKERS, "plugin.path", PLUGINS, "Where Java plugins are."),
    without(role::WORKERS, "plugin.discovery", PLUGINS, "How Java plugins are found."),
    without(role::WORKERS, "offset.storage.file.filename", POSITIONS, "The file of positions of a standalone worker."),
    without(role::WORKERS, "offset.flush.timeout.ms", POSITIONS, "How long storing positions may take."),
    key(role::REST, "topic.tracking.enable", BOOLEAN, "true", "Whether the REST API shows the topics in use."),
    key(role::REST, "topic.tracking.allow.reset", BOOLEAN, "true", "Whether that record may be reset."),
    without(role::WORKERS, "topic.creation.enable", CREATION, "Whether topics are created for source connectors."),
    without(role::WORKERS, "exactly.once.source.support", EXACTLY_ONCE, "Whether source connectors write in transactions."),
    without(role::WORKERS, "connector.client.config.override.policy", OVERRIDES, "Which client keys connectors may set."),
    optional(role::ALL, "config.providers", Kind::Text, "The names of the providers that resolve references such as ${file:/path:key} in this file and in the client keys of connectors, separated by commas; for each, config.providers.NAME.class says which it is."),

    without(role::REST, "rest.extension.classes", EXTENSIONS, "Extensions of the REST API, such as authentication."),
    without(role::REST, "access.control.allow.origin", HEADERS, "Which web pages may call the REST API."),
    without(role::REST, "access.control.allow.methods", HEADERS, "Which methods such pages may use."),
    without(role::REST, "response.http.headers.config", HEADERS, "Headers of every answer."),
    without(role::REST, "ssl.client.auth", HTTP, "Whether callers of the REST API need a certificate."),

    without(role::WORKERS, "rebalance.timeout.ms", GROUP, "How long a rebalance may take."),
    without(role::WORKERS, "session.timeout.ms", GROUP, "After which silence a worker is given up."),
    without(role::WORKERS, "heartbeat.interval.ms", GROUP, "How often a worker says that it lives."),
    without(role::WORKERS, "connect.protocol", GROUP, "How workers share out tasks."),
    without(role::WORKERS, "scheduled.rebalance.max.delay.ms", GROUP, "How long a lost worker's tasks wait for it."),
    without(role::WORKERS, "worker.sync.timeout.ms", GROUP, "How long a worker waits to catch up."),
    without(role::WORKERS, "worker.unsync.backoff.ms", GROUP, "How long a worker stays out when it cannot."),
    without(role::WORKERS, "inter.worker.key.generation.algorithm", GROUP, "How keys between workers are made."),
    without(role::WORKERS, "inter.worker.key.size", GROUP, "How long keys between workers are."),
    without(role::WORKERS, "inter.worker.key.ttl.ms", GROUP, "How long keys between workers hold."),
    without(role::WORKERS, "inter.worker.signature.algorithm", GROUP, "How requests between workers are signed."),
    without(role::WORKERS, "inter.worker.verification.algorithms", GROUP, "Which signatures between workers are accepted."),

];

/// The first that fits holds; a key of [`KEYS`] comes before any of them.
pub static FAMILIES: [Family; 12] = [
    Family { prefix: "producer.", roles: role::WORKERS, members: Members::Clients(Clients::Producers) },
    Family { prefix: "consumer.", roles: role::WORKERS, members: Members::Clients(Clients::Consumers) },
    Family { prefix: "admin.listeners.", roles: role::REST, members: Members::Ignored(HTTP) },
    Family { prefix: "admin.", roles: role::WORKERS, members: Members::Clients(Clients::Admins) },
    Family { prefix: "key.converter.", roles: role::WORKERS, members: Members::Ignored(CONVERTERS) },
    Family { prefix: "value.converter.", roles: role::WORKERS, members: Members::Ignored(CONVERTERS) },
    Family { prefix: "header.converter.", roles: role::WORKERS, members: Members::Ignored(CONVERTERS) },
    Family { prefix: "internal.key.converter.", roles: role::WORKERS, members: Members::Ignored(CONVERTERS) },
    Family {
        prefix: "internal.value.converter.",
        roles: role::WORKERS,
        members: Members::Ignored(CONVERTERS),
    },
    Family { prefix: "config.providers.", roles: role::ALL, members: Members::Providers },
    Family { prefix: "listeners.https.", roles: role::REST, members: Members::Ignored(HTTP) },
    Family {
        prefix: "metrics.context.",
        roles: role::ALL,
        members: Members::Ignored(unneeded("metrics are Prometheus's")),
    },
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
