//! Connect's own keys: those of every source connector of Kafka Connect 4.3, in its groups and order.

use crate::class::{Family, Members};
use crate::clients::Side;
use crate::key::Default::{Absent, Required, Value};
use crate::key::Effect::{Always, Honoured, Without};
use crate::key::Importance::{High, Low, Medium};
use crate::key::{Effect, FieldWidth as F, Key, Section, key};
use crate::kind::{Kind, Width};
use crate::plugin::VERSION;

const LONG: Kind = Kind::Number { width: Width::Long, min: None, max: None, counted: false };
const TASKS_MAX: Kind = Kind::Number { width: Width::Int, min: Some(1), max: None, counted: true };
const NO_TRANSFORMS: &str = "transformations are not supported, since copies are exact; leave the key out";
const NO_PREDICATES: &str = "predicates belong to transformations, which are not supported, since copies are \
                             exact; leave the key out";
const ONE_VERSION: Effect = Without("there is one version of each class, the one that runs");
const NEVER_SKIPPED: Effect = Without("no record is ever skipped or altered; failed requests are repeated");
const NO_TRANSACTIONS: Effect = Without("records are not written in transactions");

#[rustfmt::skip]
const COMMON: &[Key] = &[
    key("name", Kind::Name, Required, High, Honoured, "The connector's name, of which there is one in a fleet.").shown("Connector name", F::Medium),
    key("connector.class", Kind::Text, Required, High, Honoured, "The connector's class, by full or simple name.").shown("Connector class", F::Long),
    key("connector.plugin.version", Kind::Text, Value(VERSION), Medium, Always(&[VERSION]), "There is one version of each class, the one that runs.").shown("Connector version", F::Medium),
    key("tasks.max", TASKS_MAX, Absent, High, Honoured, "The most tasks to spread the partitions over; by itself one for each partition, up to 256.").shown("Tasks max", F::Short),
    key("tasks.max.enforce", Kind::Boolean, Value("true"), Low, Always(&["true"]), "There are never more tasks than tasks.max says.").shown("Enforce tasks max", F::Short),
    key("key.converter", Kind::ByteArrays, Absent, Low, Honoured, "A byte-array converter: keys are copied byte by byte.").shown("Key converter class", F::Short),
    key("key.converter.plugin.version", Kind::Text, Absent, Low, ONE_VERSION, "The version of the key converter.").shown("Key converter version", F::Short),
    key("value.converter", Kind::ByteArrays, Absent, Low, Honoured, "A byte-array converter: values are copied byte by byte.").shown("Value converter class", F::Short),
    key("value.converter.plugin.version", Kind::Text, Absent, Low, ONE_VERSION, "The version of the value converter.").shown("Value converter version", F::Short),
    key("header.converter", Kind::ByteArrays, Absent, Low, Honoured, "A byte-array converter: headers are copied byte by byte.").shown("Header converter class", F::Short),
    key("header.converter.plugin.version", Kind::Text, Absent, Low, ONE_VERSION, "The version of the header converter.").shown("Header converter version", F::Short),
];

#[rustfmt::skip]
const TRANSFORMS: &[Key] = &[
    key("transforms", Kind::EmptyList(NO_TRANSFORMS), Value(""), Low, Honoured, "Must be empty: copies are exact.").shown("Transforms", F::Long),
];

#[rustfmt::skip]
const PREDICATES: &[Key] = &[
    key("predicates", Kind::EmptyList(NO_PREDICATES), Value(""), Low, Honoured, "Must be empty: copies are exact.").shown("Predicates", F::Long),
];

#[rustfmt::skip]
const RELOAD: &[Key] = &[
    key("config.action.reload", Kind::OneOf(&["none", "restart"]), Value("restart"), Low, Without("references are resolved when a client is made"), "What to do when an external value that the config refers to has changed.").shown("Reload Action", F::Medium),
];

#[rustfmt::skip]
const ERRORS: &[Key] = &[
    key("errors.retry.timeout", LONG, Value("0"), Medium, NEVER_SKIPPED, "How long a failed operation is repeated.").shown("Retry Timeout for Errors", F::Medium),
    key("errors.retry.delay.max.ms", LONG, Value("60000"), Medium, NEVER_SKIPPED, "The longest wait between two such attempts.").shown("Maximum Delay Between Retries for Errors", F::Medium),
    key("errors.tolerance", Kind::OneOf(&["none", "all"]), Value("none"), Medium, Always(&["none"]), "A record that cannot be copied stops its partition, and is never skipped.").shown("Error Tolerance", F::Short),
    key("errors.log.enable", Kind::Boolean, Value("false"), Medium, Without("every failure is logged"), "Whether tolerated failures are logged.").shown("Log Errors", F::Short),
    key("errors.log.include.messages", Kind::Boolean, Value("false"), Medium, Always(&["false"]), "Records are never written to the log.").shown("Log Error Details", F::Short),
];

#[rustfmt::skip]
const CREATION: &[Key] = &[
    key("topic.creation.groups", Kind::List, Value(""), Low, Without("created topics take after their source topics"), "Groups of configs for created topics.").shown("Topic Creation Groups", F::Long),
];

#[rustfmt::skip]
const EXACTLY_ONCE: &[Key] = &[
    key("exactly.once.support", Kind::OneOfAnyCase(&["REQUIRED", "REQUESTED"]), Value("requested"), Medium, Honoured, "Whether to insist on exactly-once copies, which engine=raw makes; required refuses another engine.").shown("Exactly once support", F::Short),
    key("transaction.boundary", Kind::OneOfAnyCase(&["INTERVAL", "POLL", "CONNECTOR"]), Value("poll"), Medium, NO_TRANSACTIONS, "Where a producer's transactions end.").shown("Transaction Boundary", F::Short),
    key("transaction.boundary.interval.ms", Kind::number(Width::Long, 0), Absent, Low, NO_TRANSACTIONS, "How long a producer's transactions last.").shown("Transaction boundary interval", F::Short),
];

#[rustfmt::skip]
const OFFSETS: &[Key] = &[
    key("offsets.storage.topic", Kind::NonEmptyText, Absent, Low, Without("positions are stored in the worker's offset.storage.topic"), "A topic of the connector's own for its positions.").shown("Offsets topic", F::Long),
];

/// Connect's groups; `Common` is in two parts, and orders run on between groups, as in Connect.
pub const SECTIONS: &[Section] = &[
    Section { group: "Common", first_order: 1, keys: COMMON },
    Section { group: "Transforms", first_order: 12, keys: TRANSFORMS },
    Section { group: "Predicates", first_order: 13, keys: PREDICATES },
    Section { group: "Common", first_order: 14, keys: RELOAD },
    Section { group: "Error Handling", first_order: 1, keys: ERRORS },
    Section { group: "Topic Creation", first_order: 1, keys: CREATION },
    Section { group: "Exactly Once Support", first_order: 2, keys: EXACTLY_ONCE },
    Section { group: "offsets.topic", first_order: 1, keys: OFFSETS },
];

const NO_SETTINGS: Members = Members::Ignored("a byte-array converter has no settings");

pub const FAMILIES: &[Family] = &[
    Family { prefix: "producer.override.", members: Members::Clients(Side::Destination) },
    Family {
        prefix: "admin.override.",
        members: Members::Ignored("topics are created by the same settings as records are written"),
    },
    Family { prefix: "consumer.override.", members: Members::Ignored("Connect has it for sinks only") },
    Family { prefix: "key.converter.", members: NO_SETTINGS },
    Family { prefix: "value.converter.", members: NO_SETTINGS },
    Family { prefix: "header.converter.", members: NO_SETTINGS },
    Family { prefix: "transforms.", members: Members::Ignored("there are no transformations") },
    Family { prefix: "predicates.", members: Members::Ignored("there are no transformations") },
    Family {
        prefix: "topic.creation.",
        members: Members::Ignored("created topics take after their source topics"),
    },
];
