//! Kafka's client properties (the Java client's names) for librdkafka, and what librdkafka says (`voice`).
//!
//! librdkafka itself is the authority on names and values: each pair is tried on an empty configuration. What is
//! translated, enforced or dropped before that is in the tables below.

pub mod jaas;
pub mod limit;
pub mod poller;
pub mod providers;
pub mod resolve;
pub mod voice;
pub mod zookeeper;

mod security;

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::ClientProperties;
use copyist_model::client::is_secret;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use crate::error::Error;

/// What a client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Consumer,
    Producer,
    /// Admin calls and metadata only.
    Admin,
}

/// Largest record that a client takes (librdkafka's own upper bound): the source allowed a record, and the
/// destination decides.
const RECORD_MAX_BYTES: u32 = 1_000_000_000;

/// Java's name, librdkafka's names, and the role that it matters to (nothing: every role).
const TRANSLATED: [(&str, &[&str], Option<Role>); 8] = [
    ("sasl.mechanism", &["sasl.mechanisms"], None),
    ("metadata.max.age.ms", &["topic.metadata.refresh.interval.ms"], None),
    ("request.timeout.ms", &["socket.timeout.ms"], None),
    ("receive.buffer.bytes", &["socket.receive.buffer.bytes"], None),
    ("send.buffer.bytes", &["socket.send.buffer.bytes"], None),
    ("fetch.max.wait.ms", &["fetch.wait.max.ms"], Some(Role::Consumer)),
    ("max.request.size", &["message.max.bytes"], Some(Role::Producer)),
    ("max.partition.fetch.bytes", &["fetch.message.max.bytes"], Some(Role::Consumer)),
];

/// Names that librdkafka knows for producers alone: another role drops them without a word.
const PRODUCER_NAMES: [&str; 19] = [
    "acks",
    "batch.num.messages",
    "batch.size",
    "compression.codec",
    "compression.level",
    "compression.type",
    "delivery.timeout.ms",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "linger.ms",
    "message.send.max.retries",
    "message.timeout.ms",
    "partitioner",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.ms",
    "request.required.acks",
    "retries",
    "sticky.partitioning.linger.ms",
    "transactional.id",
];

/// Names that librdkafka knows for consumers alone: another role drops them without a word.
const CONSUMER_NAMES: [&str; 9] = [
    "auto.offset.reset",
    "check.crcs",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "isolation.level",
    "queued.min.messages",
    "fetch.message.max.bytes",
];

/// Names that would do harm or mean nothing here, whatever their value: positions are ours, no group is joined,
/// events and queues belong to the engine.
const NOT_OURS: [&str; 27] = [
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "coordinator.query.interval.ms",
    "delivery.report.only.error",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.metrics.push",
    "enable.partition.eof",
    "enabled_events",
    "fetch.queue.backoff.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "log.queue",
    "log_level",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "session.timeout.ms",
    "ssl.cipher.suites",
    "statistics.interval.ms",
];

/// Unless the user says otherwise.
const DEFAULTS: [(&str, &str); 2] = [
    // While nothing answers, bootstrap servers are tried at half this interval: 20 times a second by default.
    ("reconnect.backoff.ms", "500"),
    // An outage ends as soon as the cluster is back; librdkafka's own default is 10 s.
    ("reconnect.backoff.max.ms", "2000"),
];

const ALWAYS: [(&str, &str); 4] = [
    ("allow.auto.create.topics", "false"),
    ("enable.metrics.push", "false"),
    ("log.connection.close", "false"),
    ("socket.keepalive.enable", "true"),
];

const ALWAYS_CONSUMER: [(&str, &str); 8] = [
    ("auto.offset.reset", "error"),
    ("check.crcs", "true"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
    // A batch of any size passes: the broker sends at least one, however small the limits (KIP-74).
    ("receive.message.max.bytes", "2147483647"),
    // The queues are small, so a full one is looked at again soon.
    ("fetch.queue.backoff.ms", "50"),
];

const ALWAYS_PRODUCER: [(&str, &str); 5] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    // Nothing is written after a record that was refused: else the gap would be filled out of order.
    ("enable.gapless.guarantee", "true"),
    ("max.in.flight.requests.per.connection", "5"),
    // Never give up: an outage is waited out.
    ("message.timeout.ms", "0"),
];

/// The properties in librdkafka's names, with what is always enforced for the role; and the names the user wrote
/// that have no effect, in order.
///
/// # Errors
/// [`Error::Stuck`] with every problem at once.
pub fn config(properties: &ClientProperties, role: Role) -> Result<(ClientConfig, Vec<String>), Error> {
    let mut draft = Draft::of(properties, role);
    if properties.bootstrap_servers().trim().is_empty() {
        let missing = "bootstrap.servers is missing: it must name at least one host:port";
        draft.problems.insert(0, Problem::blind(missing.to_owned()));
    }
    if !draft.problems.is_empty() {
        let texts: Vec<String> = draft.problems.into_iter().map(|problem| problem.text).collect();
        return Err(Error::Stuck(texts.join("; ")));
    }
    Ok((draft.enforce(role), draft.without_effect))
}

/// Those of the properties named whose values [`config`] refuses with a text that shows them.
#[must_use]
pub fn hidden_problems(
    properties: &ClientProperties,
    role: Role,
    hidden: &BTreeSet<String>,
) -> BTreeSet<String> {
    let problems = Draft::of(properties, role).problems;
    problems.into_iter().filter_map(|problem| problem.shows).filter(|name| hidden.contains(name)).collect()
}

#[derive(Default)]
struct Draft {
    /// librdkafka's name → the user's name and the value.
    set: BTreeMap<String, (String, String)>,
    without_effect: Vec<String>,
    problems: Vec<Problem>,
}

struct Problem {
    text: String,
    /// The property whose value the text shows.
    shows: Option<String>,
}

impl Problem {
    fn blind(text: String) -> Self {
        Self { text, shows: None }
    }

    fn showing(name: &str, text: String) -> Self {
        Self { text, shows: Some(name.to_owned()) }
    }
}

impl Draft {
    fn of(properties: &ClientProperties, role: Role) -> Self {
        let mut draft = Self::default();
        let rest = security::take(properties, &mut draft);
        for (name, value) in &rest {
            draft.translate(name, value.trim(), role);
        }
        draft.probe();
        draft
    }

    fn set(&mut self, name: &str, written: &str, value: &str) {
        self.set.insert(name.to_owned(), (written.to_owned(), value.to_owned()));
    }

    fn translate(&mut self, name: &str, value: &str, role: Role) {
        let enforced = [ALWAYS.as_slice(), &ALWAYS_CONSUMER, &ALWAYS_PRODUCER].concat();
        let translated = TRANSLATED.iter().find(|(java, ..)| *java == name);
        let other_role = |names: &[&str], owner: Role| names.contains(&name) && role != owner;
        if other_role(&PRODUCER_NAMES, Role::Producer) || other_role(&CONSUMER_NAMES, Role::Consumer) {
            return;
        }
        if let Some((_, targets, only)) = translated {
            if only.is_none_or(|only| only == role) {
                targets.iter().for_each(|target| self.set(target, name, in_range(target, value)));
            }
        } else if NOT_OURS.contains(&name) || enforced.iter().any(|(ours, _)| *ours == name) {
            self.note_enforced(name, value, &enforced);
        } else {
            self.set(name, name, in_range(name, value));
        }
    }

    /// A value that says what is enforced anyway has its effect.
    fn note_enforced(&mut self, name: &str, value: &str, enforced: &[(&str, &str)]) {
        let agrees = |(ours, forced): &(&str, &str)| *ours == name && forced.eq_ignore_ascii_case(value);
        if !enforced.iter().any(agrees) {
            self.without_effect.push(name.to_owned());
        }
    }

    /// Asks librdkafka about each pair alone: unknown names have no effect, bad values are problems.
    fn probe(&mut self) {
        let set = std::mem::take(&mut self.set);
        for (name, (written, value)) in set {
            match ClientConfig::new().set(&name, &value).create_native_config() {
                Ok(_) => drop(self.set.insert(name, (written, value))),
                Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
                    self.without_effect.push(written);
                }
                Err(KafkaError::ClientConfig(_, why, ..)) if !is_secret(&written) => {
                    let text = format!("{written}={value}: {why}");
                    self.problems.push(Problem::showing(&written, text));
                }
                Err(_) => self.problems.push(Problem::blind(format!("{written}: the value is not valid"))),
            }
        }
        self.without_effect.sort();
    }

    fn enforce(&self, role: Role) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in DEFAULTS {
            config.set(name, value);
        }
        if role == Role::Producer {
            config.set("message.max.bytes", RECORD_MAX_BYTES.to_string());
        }
        for (name, (_, value)) in &self.set {
            config.set(name, value);
        }
        let by_role: &[(&str, &str)] = match role {
            Role::Consumer => &ALWAYS_CONSUMER,
            Role::Producer => &ALWAYS_PRODUCER,
            Role::Admin => &[],
        };
        for (name, value) in ALWAYS.iter().chain(by_role) {
            config.set(*name, *value);
        }
        if role == Role::Consumer {
            // Fetching by hand needs a group's name; nothing is ever joined or committed under it.
            config.set("group.id", format!("copyist-{}", uuid::Uuid::new_v4()));
        }
        config
    }
}

/// Values with which Java and librdkafka say the same in other words.
fn in_range<'v>(target: &str, value: &'v str) -> &'v str {
    match (target, value) {
        // "As the system has it", "never".
        ("socket.receive.buffer.bytes" | "socket.send.buffer.bytes" | "connections.max.idle.ms", "-1") => "0",
        // No batching at all.
        ("batch.size", "0") => "1",
        ("socket.timeout.ms", _) if value.parse::<u64>().is_ok_and(|ms| ms > 300_000) => "300000",
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> ClientProperties {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ClientProperties(pairs.chain([("bootstrap.servers".into(), "b:9092".into())]).collect())
    }

    fn translated(role: Role, pairs: &[(&str, &str)]) -> (ClientConfig, Vec<String>) {
        config(&properties(pairs), role).unwrap()
    }

    fn problems(role: Role, pairs: &[(&str, &str)]) -> String {
        config(&properties(pairs), role).unwrap_err().to_string()
    }

    #[test]
    fn javas_names_become_librdkafkas() {
        let rows: [(Role, &str, &str, &str, &str); 16] = [
            (Role::Admin, "bootstrap.servers", "b:9092", "bootstrap.servers", "b:9092"),
            (Role::Consumer, "fetch.max.wait.ms", "250", "fetch.wait.max.ms", "250"),
            (Role::Consumer, "max.partition.fetch.bytes", "99", "fetch.message.max.bytes", "99"),
            (Role::Consumer, "request.timeout.ms", "400000", "socket.timeout.ms", "300000"),
            (Role::Consumer, "client.rack", "r1", "client.rack", "r1"),
            (Role::Producer, "max.request.size", "5000000", "message.max.bytes", "5000000"),
            (Role::Producer, "linger.ms", "7", "linger.ms", "7"),
            (Role::Producer, "batch.size", "0", "batch.size", "1"),
            (Role::Producer, "compression.type", "lz4", "compression.type", "lz4"),
            (Role::Producer, "request.timeout.ms", "20000", "socket.timeout.ms", "20000"),
            (Role::Admin, "metadata.max.age.ms", "1000", "topic.metadata.refresh.interval.ms", "1000"),
            (Role::Admin, "send.buffer.bytes", "-1", "socket.send.buffer.bytes", "0"),
            (Role::Admin, "retry.backoff.ms", "11", "retry.backoff.ms", "11"),
            (Role::Admin, "client.id", "me", "client.id", "me"),
            (
                Role::Admin,
                "client.dns.lookup",
                "resolve_canonical_bootstrap_servers_only",
                "client.dns.lookup",
                "resolve_canonical_bootstrap_servers_only",
            ),
            (Role::Admin, "security.protocol", "SSL", "security.protocol", "SSL"),
        ];
        for (role, name, value, target, expected) in rows {
            let (config, without_effect) = translated(role, &[(name, value)]);
            assert_eq!(config.get(target), Some(expected), "{name}");
            assert!(without_effect.is_empty(), "{name}: {without_effect:?}");
        }
    }

    #[test]
    fn what_is_enforced_stays_and_is_named_only_when_it_differs() {
        let pairs = [
            ("acks", "1"),
            ("enable.idempotence", "true"),
            ("isolation.level", "read_uncommitted"),
            ("enable.auto.commit", "true"),
            ("group.id", "g"),
        ];
        let (producer, without_effect) = translated(Role::Producer, &pairs);
        assert_eq!(producer.get("acks"), Some("all"));
        assert_eq!(producer.get("message.timeout.ms"), Some("0"));
        assert_eq!(producer.get("isolation.level"), None);
        assert_eq!(without_effect, ["acks", "enable.auto.commit", "group.id"]);
        let (consumer, without_effect) = translated(Role::Consumer, &pairs);
        assert_eq!(consumer.get("isolation.level"), Some("read_committed"));
        assert_eq!(consumer.get("auto.offset.reset"), Some("error"));
        assert!(consumer.get("group.id").unwrap().starts_with("copyist-"));
        assert_eq!(without_effect, ["enable.auto.commit", "group.id", "isolation.level"]);
        for role in [Role::Consumer, Role::Producer, Role::Admin] {
            assert_eq!(translated(role, &[]).0.get("reconnect.backoff.max.ms"), Some("2000"));
            let own = translated(role, &[("reconnect.backoff.max.ms", "7000")]).0;
            assert_eq!(own.get("reconnect.backoff.max.ms"), Some("7000"));
            assert_eq!(translated(role, &[]).0.get("allow.auto.create.topics"), Some("false"));
        }
    }

    #[test]
    fn names_of_java_alone_have_no_effect() {
        let pairs =
            [("max.poll.records", "300"), ("key.deserializer", "x.Y"), ("ssl.enabled.protocols", "TLSv1.3")];
        let expected = ["key.deserializer", "max.poll.records", "ssl.enabled.protocols"];
        assert_eq!(translated(Role::Consumer, &pairs).1, expected);
    }

    #[test]
    fn all_problems_come_at_once_and_no_secret_with_them() {
        let shown = problems(
            Role::Consumer,
            &[("security.protocol", "TLS"), ("fetch.min.bytes", "many"), ("sasl.jaas.config", "S1 S2")],
        );
        assert!(shown.contains("security.protocol=TLS") && shown.contains("fetch.min.bytes=many"), "{shown}");
        assert!(shown.contains("sasl.jaas.config") && !shown.contains("S1"), "{shown}");
        let none = config(&ClientProperties::default(), Role::Admin).unwrap_err().to_string();
        assert!(none.contains("bootstrap.servers") && none.contains("host:port"), "{none}");
    }

    #[test]
    fn librdkafka_takes_each_roles_configuration() {
        for role in [Role::Consumer, Role::Producer, Role::Admin] {
            let (config, _) = translated(role, &[]);
            let made = match role {
                Role::Consumer => config.create::<rdkafka::consumer::BaseConsumer>().map(drop),
                Role::Producer | Role::Admin => config.create::<rdkafka::producer::BaseProducer>().map(drop),
            };
            assert_eq!(made.map_err(|error| error.to_string()), Ok(()), "{role:?}");
        }
    }
}
