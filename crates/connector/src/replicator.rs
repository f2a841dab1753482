//! The keys of the Replicator family: `EMRReplicatorSourceConnector` and `CopyistSourceConnector`.

use std::time::Duration;

use copyist_model::{
    AgentChoice, ClientProperties, ConnectorSpec, Destination, EngineChoice, LossPolicy, OffsetReset,
    TopicCreation, TopicSelection,
};

use crate::class::{Family, Members};
use crate::clients::Side;
use crate::given::Given;
use crate::key::Default::{Absent, Required, Value};
use crate::key::Effect::{Always, Honoured, Without};
use crate::key::Importance::{High, Low, Medium};
use crate::key::{Effect, Key, Section, key};
use crate::kind::{Kind, Width};
use crate::rejection::Problem;

const NO_ZOOKEEPER: Effect = Without("brokers are asked, not ZooKeeper");
const NO_TRANSLATION: Effect = Without("offsets of consumer groups are not translated");
const NO_SCHEMAS: Effect = Without("schemas are not copied");
const NO_PROVENANCE: &str = "no provenance headers are added or looked at";
const INT_MS: Kind = Kind::number(Width::Int, 0);
const INT: Kind = Kind::Number { width: Width::Int, min: None, max: None, counted: false };
const SAME_PARTITION: &str = "each record goes into the partition that it came from, which keeps the order of \
                              records; write true, or leave the key out";

#[rustfmt::skip]
const SOURCE: &[Key] = &[
    key("src.kafka.bootstrap.servers", Kind::Servers, Required, High, Honoured, "Brokers of the source cluster, as host:port, separated by commas."),
    key("src.zookeeper.connect", Kind::Text, Absent, Low, NO_ZOOKEEPER, "ZooKeeper of the source cluster."),
    key("src.zookeeper.connection.timeout.ms", INT_MS, Value("6000"), Low, NO_ZOOKEEPER, "How long to wait for a connection to it."),
    key("src.zookeeper.session.timeout.ms", INT_MS, Value("6000"), Low, NO_ZOOKEEPER, "After which silence a session with it ends."),
    key("src.key.converter", Kind::ByteArrays, Absent, Low, Honoured, "A byte-array converter: keys are copied byte by byte."),
    key("src.value.converter", Kind::ByteArrays, Absent, Low, Honoured, "A byte-array converter: values are copied byte by byte."),
    key("src.header.converter", Kind::ByteArrays, Absent, Low, Honoured, "A byte-array converter: headers are copied byte by byte."),
];

#[rustfmt::skip]
const TOPICS: &[Key] = &[
    key("topic.whitelist", Kind::Topics, Value(""), High, Honoured, "Topics to copy, by name, separated by commas."),
    key("topic.regex", Kind::Pattern, Absent, High, Honoured, "Topics to copy, by a regular expression over their whole names; later topics are found as well."),
    key("topic.blacklist", Kind::Topics, Value(""), High, Honoured, "Topics never to copy, by name, separated by commas; it wins over the other two."),
    key("topic.poll.interval.ms", Kind::number(Width::Int, 1), Value("120000"), Low, Honoured, "How often to look for new topics and partitions."),
    key("offset.start", Kind::OneOf(&["connect", "consumer"]), Value("connect"), Low, Always(&["connect"]), "Positions come from the worker's offset.storage.topic, and not from a consumer group."),
    key("offset.topic.commit", Kind::Boolean, Value("false"), Low, Always(&["false"]), "Progress is not committed to a consumer group at the source."),
];

#[rustfmt::skip]
const DESTINATION: &[Key] = &[
    key("dest.kafka.bootstrap.servers", Kind::Servers, Value(""), High, Honoured, "Brokers of the destination cluster; by itself the worker's."),
    key("dest.zookeeper.connect", Kind::Text, Value(""), Low, NO_ZOOKEEPER, "ZooKeeper of the destination cluster."),
    key("dest.zookeeper.connection.timeout.ms", INT_MS, Value("6000"), Low, NO_ZOOKEEPER, "How long to wait for a connection to it."),
    key("dest.zookeeper.session.timeout.ms", INT_MS, Value("6000"), Low, NO_ZOOKEEPER, "After which silence a session with it ends."),
    key("topic.rename.format", Kind::Rename, Value("${topic}"), High, Honoured, "The destination topic's name, in which ${topic} stands for the source topic's; without it, all records go into the one topic named."),
    key("topic.auto.create", Kind::Boolean, Value("true"), Low, Honoured, "Whether to create missing destination topics, and to add partitions as the source topic has them.").with_dependents(&["dest.topic.replication.factor", "topic.timestamp.type"]),
    key("topic.preserve.partitions", Kind::OnlyTrue(SAME_PARTITION), Value("true"), Low, Honoured, "Each record goes into the partition that it came from, always."),
    key("dest.topic.replication.factor", Kind::number(Width::Short, 0), Value("0"), Low, Honoured, "The replication factor of created topics; 0: as the source topic has it."),
    key("topic.timestamp.type", Kind::OneOf(&["CreateTime", "LogAppendTime"]), Value("CreateTime"), Low, Honoured, "message.timestamp.type of created topics; only CreateTime keeps the records' timestamps."),
    key("topic.create.backoff.ms", INT_MS, Value("120000"), Low, Without("what failed is tried again at the next look for topics"), "How long to wait before trying again to create a topic."),
    key("topic.config.sync", Kind::Boolean, Value("false"), Low, Always(&["false"]), "A created topic has the configs of its source topic; later changes are not followed."),
    key("topic.config.sync.interval.ms", INT_MS, Value("120000"), Low, Without("later changes of topic configs are not followed"), "How often to look for changes of topic configs."),
];

#[rustfmt::skip]
const TRANSLATION: &[Key] = &[
    key("offset.timestamps.commit", Kind::Boolean, Value("false"), Low, Always(&["false"]), "No timestamps are written to the source for offset translation."),
    key("offset.translator.tasks.max", INT, Value("0"), Low, Always(&["0"]), "No task translates the offsets of consumer groups."),
    key("offset.translator.tasks.separate", Kind::Boolean, Value("false"), Low, NO_TRANSLATION, "Whether those tasks do nothing else."),
    key("offset.translator.batch.size", INT, Value("1"), Low, NO_TRANSLATION, "How many groups one request asks for."),
    key("offset.translator.batch.period.ms", INT_MS, Value("60000"), Low, NO_TRANSLATION, "How long to wait between two such requests."),
    key("fetch.offset.expiry.ms", INT_MS, Value("600000"), Low, NO_TRANSLATION, "After which time such a request is dropped."),
    key("fetch.offset.retry.backoff.ms", INT_MS, Value("100"), Low, NO_TRANSLATION, "How long to wait before repeating such a request."),
    key("provenance.header.enable", Kind::Boolean, Value("false"), Medium, Always(&["false"]), "Records are copied without a header that says where they come from."),
    key("provenance.header.filter.overrides", Kind::Text, Value(""), Low, Without(NO_PROVENANCE), "Records to copy although they come from the destination."),
    key("schema.registry.topic", Kind::Text, Absent, Low, NO_SCHEMAS, "The source's topic of schemas."),
    key("schema.registry.url", Kind::Text, Absent, Low, NO_SCHEMAS, "The destination's schema registry."),
    key("schema.registry.max.schemas.per.subject", INT, Value("1000"), Low, NO_SCHEMAS, "How many schemas of a subject are remembered."),
    key("schema.registry.client.basic.auth.credentials.source", Kind::Text, Value("URL"), Low, NO_SCHEMAS, "Where the registry's credentials come from."),
    key("schema.registry.client.basic.auth.user.info", Kind::Password, Absent, Low, NO_SCHEMAS, "The registry's credentials."),
    key("schema.subject.translator.class", Kind::Class, Absent, Low, NO_SCHEMAS, "How subjects are renamed."),
];

#[rustfmt::skip]
const COPYING: &[Key] = &[
    key("engine", Kind::OneOf(&["auto", "raw", "librdkafka"]), Value("auto"), Medium, Honoured, "What moves the records: raw copies batches as they are, exactly once; librdkafka is for clusters that raw cannot speak to, at least once; auto takes raw where it can.").with_dependents(&["exactly.once.support"]),
    key("loss.policy", Kind::OneOf(&["fail", "continue", "restart"]), Value("fail"), Medium, Honoured, "What a lane does when records are lost to it (source truncated, created anew or deleted before they were copied; destination lost what it had): fail stops it and says which offsets, continue goes on behind the gap and shows it, restart begins again at the source's first offset."),
    key("agent.labels", Kind::Labels, Value(""), Low, Honoured, "Only agents that have all of these labels (name=value, separated by commas; agent.labels of their worker files) run the connector."),
    key("agent.racks", Kind::List, Value(""), Low, Honoured, "Agents in one of these racks (agent.rack of their worker files) are taken before others."),
];

pub const SECTIONS: &[Section] = &[
    Section { group: "Source", first_order: 1, keys: SOURCE },
    Section { group: "Source Topics", first_order: 1, keys: TOPICS },
    Section { group: "Destination", first_order: 1, keys: DESTINATION },
    Section { group: "Copying", first_order: 1, keys: COPYING },
    Section { group: "Offsets, Provenance and Schemas", first_order: 1, keys: TRANSLATION },
];

const NO_SETTINGS: Members = Members::Ignored("a byte-array converter has no settings");

pub const FAMILIES: &[Family] = &[
    Family {
        prefix: "src.kafka.timestamps.",
        members: Members::Ignored("offsets of consumer groups are not translated"),
    },
    Family { prefix: "src.kafka.", members: Members::Clients(Side::Source) },
    Family { prefix: "src.consumer.", members: Members::Clients(Side::Source) },
    Family { prefix: "dest.kafka.", members: Members::Clients(Side::Destination) },
    Family { prefix: "src.key.converter.", members: NO_SETTINGS },
    Family { prefix: "src.value.converter.", members: NO_SETTINGS },
    Family { prefix: "src.header.converter.", members: NO_SETTINGS },
];

/// Of two prefixes the later one wins.
const SOURCE_PREFIXES: [&str; 2] = ["src.kafka.", "src.consumer."];
const DESTINATION_PREFIXES: [&str; 2] = ["dest.kafka.", "producer.override."];

/// What is wrong with keys together.
#[must_use]
pub fn rules(given: &Given<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if given.text("src.kafka.bootstrap.servers") == Some("") {
        let rule = "no broker is named; write host:port, several separated by commas";
        problems.push(Problem::invalid("src.kafka.bootstrap.servers", "", rule));
    }
    if given.is_blank("topic.whitelist") && given.is_blank("topic.regex") {
        let text = "Must configure one of topic.whitelist (names, separated by commas) or topic.regex (a \
                    regular expression over names), or both";
        problems.push(Problem::new("topic.whitelist", text));
    }
    let required = given.text("exactly.once.support").is_some_and(|it| it.eq_ignore_ascii_case("required"));
    if required && given.text("engine") != Some("raw") {
        let text =
            "required needs engine=raw: the engine that is taken where raw cannot copy copies at least once";
        problems.push(Problem::new("exactly.once.support", text));
    }
    problems.extend(sasl_rules(given, &SOURCE_PREFIXES, Side::Source));
    if !given.is_blank("dest.kafka.bootstrap.servers") {
        problems.extend(sasl_rules(given, &DESTINATION_PREFIXES, Side::Destination));
    }
    problems
}

/// With SASL, both the mechanism and the login must be written: Kafka's default mechanism is Kerberos.
fn sasl_rules(given: &Given<'_>, prefixes: &[&str; 2], side: Side) -> Vec<Problem> {
    let properties = given.properties(prefixes, side);
    let protocol = properties.get("security.protocol").unwrap_or_default().to_ascii_uppercase();
    if !protocol.starts_with("SASL_") {
        return Vec::new();
    }
    let lacks =
        |property: &&str| prefixes.iter().all(|prefix| given.is_blank(&format!("{prefix}{property}")));
    let missing = ["sasl.mechanism", "sasl.jaas.config"].into_iter().filter(lacks);
    let missing = missing.map(|property| {
        let key = format!("{}{property}", prefixes[0]);
        let text = format!("Missing required configuration \"{key}\": security.protocol is {protocol}.");
        Problem::new(&key, text)
    });
    missing.collect()
}

/// The spec and its warnings, of a config without problems.
#[must_use]
pub fn assemble(given: &Given<'_>) -> (ConnectorSpec, Vec<String>) {
    let reset = given.text("src.consumer.auto.offset.reset").or(given.text("src.kafka.auto.offset.reset"));
    let count = |key: &str| given.number(key).unwrap_or_default().unsigned_abs();
    let replication_factor = u16::try_from(count("dest.topic.replication.factor")).ok();
    let spec = ConnectorSpec {
        selection: TopicSelection {
            whitelist: given.topics("topic.whitelist"),
            pattern: given.pattern("topic.regex"),
            blacklist: given.topics("topic.blacklist"),
        },
        rename: given.rename("topic.rename.format"),
        tasks_max: given.number("tasks.max").and_then(|tasks| u32::try_from(tasks).ok()),
        source: given.properties(&SOURCE_PREFIXES, Side::Source),
        destination: destination(given.properties(&DESTINATION_PREFIXES, Side::Destination), given),
        engine: one_of(given, "engine", EngineChoice::ALL, EngineChoice::as_str),
        loss_policy: one_of(given, "loss.policy", LossPolicy::ALL, LossPolicy::as_str),
        offset_reset: if reset == Some("latest") { OffsetReset::Latest } else { OffsetReset::Earliest },
        creation: TopicCreation {
            enabled: given.flag("topic.auto.create"),
            replication_factor: replication_factor.filter(|factor| *factor > 0),
            timestamp_type: given.text("topic.timestamp.type").unwrap_or_default().to_owned(),
            overrides: std::collections::BTreeMap::new(),
        },
        poll_interval: Duration::from_millis(count("topic.poll.interval.ms")),
        agents: AgentChoice { labels: given.labels("agent.labels"), racks: given.list("agent.racks") },
    };
    let warnings = warnings(&spec);
    (spec, warnings)
}

/// The choice that a key names; its kind allows no other.
fn one_of<T: Copy + Default, const N: usize>(
    given: &Given<'_>,
    key: &str,
    all: [T; N],
    name: fn(T) -> &'static str,
) -> T {
    all.into_iter().find(|choice| given.text(key) == Some(name(*choice))).unwrap_or_default()
}

fn destination(properties: ClientProperties, given: &Given<'_>) -> Destination {
    if given.is_blank("dest.kafka.bootstrap.servers") {
        Destination::Worker(properties)
    } else {
        Destination::Cluster(properties)
    }
}

fn warnings(spec: &ConnectorSpec) -> Vec<String> {
    let TopicSelection { whitelist, pattern, blacklist } = &spec.selection;
    let mut warnings = Vec::new();
    let both: Vec<_> = whitelist.intersection(blacklist).map(ToString::to_string).collect();
    if !both.is_empty() {
        let both = both.join(", ");
        warnings.push(format!("not copied, since topic.blacklist wins over topic.whitelist: {both}"));
    }
    if spec.rename.is_literal() && (pattern.is_some() || whitelist.difference(blacklist).nth(1).is_some()) {
        let one = spec.rename.as_str();
        warnings.push(format!(
            "topic.rename.format is the name {one} without ${{topic}}: records of all topics selected go into \
             this one topic"
        ));
    }
    if spec.creation.timestamp_type == "LogAppendTime" {
        warnings.push(
            "topic.timestamp.type=LogAppendTime: in created topics brokers replace the records' own timestamps"
                .to_owned(),
        );
    }
    warnings
}
