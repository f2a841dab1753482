//! Which configs a created topic gets.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::TopicCreation;

/// Configs of a topic by name.
pub type Configs = BTreeMap<String, String>;

const MIN_IN_SYNC: &str = "min.insync.replicas";
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
const TIMESTAMP_BEFORE: &str = "message.timestamp.before.max.ms";
const TIMESTAMP_AFTER: &str = "message.timestamp.after.max.ms";
const TIMESTAMP_DIFFERENCE: &str = "message.timestamp.difference.max.ms";

/// Java's `Long.MAX_VALUE`: no limit.
const NO_LIMIT: &str = "9223372036854775807";

/// Belong to one cluster's brokers, tiers or vendor: they mean nothing, or something else, at another.
const KEPT_BACK_PREFIXES: [&str; 5] = ["remote.", "local.retention.", "confluent.", "redpanda.", "automq."];
const KEPT_BACK_SUFFIX: &str = ".replication.throttled.replicas";
/// An old message format would make the destination rewrite what it gets.
const KEPT_BACK: [&str; 1] = ["message.format.version"];

/// How the destination names its limits on the records' timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampLimits {
    /// From 3.6 on (KIP-937).
    BeforeAndAfter,
    /// Until 3.9.
    Difference,
    /// None that this user may set.
    Unknown,
}

impl TimestampLimits {
    /// The configs that open them: the source's old, late and early records are all copied.
    #[must_use]
    pub fn opened(self) -> Configs {
        let names: &[&str] = match self {
            Self::BeforeAndAfter => &[TIMESTAMP_BEFORE, TIMESTAMP_AFTER],
            Self::Difference => &[TIMESTAMP_DIFFERENCE],
            Self::Unknown => &[],
        };
        names.iter().map(|name| ((*name).to_owned(), NO_LIMIT.to_owned())).collect()
    }
}

/// What several source topics agree on, and the names of what they do not.
#[must_use]
pub fn agreed(sources: &[&Configs]) -> (Configs, BTreeSet<String>) {
    let names: BTreeSet<&String> = sources.iter().flat_map(|configs| configs.keys()).collect();
    let mut common = Configs::new();
    let mut differing = BTreeSet::new();
    for name in names.into_iter().filter(|name| travels(name)) {
        let values: BTreeSet<Option<&String>> = sources.iter().map(|configs| configs.get(name)).collect();
        if let (1, Some(Some(value))) = (values.len(), values.first()) {
            common.insert(name.clone(), (*value).clone());
        } else {
            differing.insert(name.clone());
        }
    }
    (common, differing)
}

/// The configs of a topic created after one with the configs `source`, with `replication_factor` replicas.
#[must_use]
pub fn of_created(
    source: &Configs,
    creation: &TopicCreation,
    limits: TimestampLimits,
    replication_factor: u16,
) -> Configs {
    let mut configs: Configs = source.iter().filter(|(name, _)| travels(name)).map(owned).collect();
    configs.insert(TIMESTAMP_TYPE.to_owned(), creation.timestamp_type.clone());
    configs.extend(limits.opened());
    configs.extend(creation.overrides.iter().map(owned));
    bound_in_sync(&mut configs, replication_factor);
    configs
}

/// More replicas in sync than there are would refuse every record.
pub fn bound_in_sync(configs: &mut Configs, replication_factor: u16) {
    if let Some(value) = configs.get_mut(MIN_IN_SYNC)
        && value.parse::<u64>().is_ok_and(|replicas| replicas > u64::from(replication_factor))
    {
        *value = replication_factor.to_string();
    }
}

fn travels(name: &str) -> bool {
    let kept_back = KEPT_BACK_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with(KEPT_BACK_SUFFIX)
        || KEPT_BACK.contains(&name);
    // Decided by the connector, whatever the source has.
    let decided = [TIMESTAMP_TYPE, TIMESTAMP_BEFORE, TIMESTAMP_AFTER, TIMESTAMP_DIFFERENCE].contains(&name);
    !kept_back && !decided
}

fn owned((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configs(pairs: &[(&str, &str)]) -> Configs {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn creation(overrides: &[(&str, &str)]) -> TopicCreation {
        TopicCreation {
            enabled: true,
            replication_factor: None,
            timestamp_type: "CreateTime".into(),
            overrides: configs(overrides),
        }
    }

    #[test]
    fn what_belongs_to_one_cluster_stays_there_and_all_else_travels() {
        let rows = [
            ("cleanup.policy", true),
            ("retention.ms", true),
            ("max.message.bytes", true),
            ("compression.type", true),
            ("min.insync.replicas", true),
            ("leader.replication.throttled.replicas", false),
            ("follower.replication.throttled.replicas", false),
            ("remote.storage.enable", false),
            ("local.retention.ms", false),
            ("confluent.placement.constraints", false),
            ("redpanda.remote.read", false),
            ("message.format.version", false),
        ];
        for (name, travels) in rows {
            let source = configs(&[(name, "1")]);
            let made = of_created(&source, &creation(&[]), TimestampLimits::Unknown, 3);
            assert_eq!(made.contains_key(name), travels, "{name}");
            assert_eq!(agreed(&[&source]).0.contains_key(name), travels, "{name}");
        }
    }

    #[test]
    fn timestamps_are_decided_by_the_connector_with_open_limits() {
        let source = configs(&[
            ("message.timestamp.type", "LogAppendTime"),
            ("message.timestamp.before.max.ms", "1000"),
            ("message.timestamp.after.max.ms", "1000"),
            ("message.timestamp.difference.max.ms", "1000"),
        ]);
        let rows = [
            (
                TimestampLimits::BeforeAndAfter,
                configs(&[
                    ("message.timestamp.type", "CreateTime"),
                    ("message.timestamp.before.max.ms", NO_LIMIT),
                    ("message.timestamp.after.max.ms", NO_LIMIT),
                ]),
            ),
            (
                TimestampLimits::Difference,
                configs(&[
                    ("message.timestamp.type", "CreateTime"),
                    ("message.timestamp.difference.max.ms", NO_LIMIT),
                ]),
            ),
            (TimestampLimits::Unknown, configs(&[("message.timestamp.type", "CreateTime")])),
        ];
        for (limits, expected) in rows {
            assert_eq!(of_created(&source, &creation(&[]), limits, 1), expected, "{limits:?}");
        }
        assert_eq!(NO_LIMIT, i64::MAX.to_string());
    }

    #[test]
    fn the_users_configs_win_and_no_more_replicas_are_in_sync_than_there_are() {
        let source = configs(&[("retention.ms", "1"), ("min.insync.replicas", "2")]);
        let overrides = [("retention.ms", "2"), ("message.timestamp.after.max.ms", "3")];
        let made = of_created(&source, &creation(&overrides), TimestampLimits::BeforeAndAfter, 1);
        let shown = |name: &str| made.get(name).map(String::as_str);
        assert_eq!(shown("retention.ms"), Some("2"));
        assert_eq!(shown("message.timestamp.after.max.ms"), Some("3"));
        assert_eq!(shown("min.insync.replicas"), Some("1"));
        for (factor, expected) in [(1, "1"), (2, "2"), (3, "2")] {
            let made = of_created(&source, &creation(&[]), TimestampLimits::Unknown, factor);
            assert_eq!(
                made.get("min.insync.replicas").map(String::as_str),
                Some(expected),
                "factor {factor}"
            );
        }
    }

    #[test]
    fn of_several_sources_only_what_all_have_alike_is_used() {
        let a = configs(&[("same", "1"), ("other", "1"), ("only", "1"), ("remote.storage.enable", "true")]);
        let b = configs(&[("same", "1"), ("other", "2")]);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(agreed(&[&a, &b]), (configs(&[("same", "1")]), names(&["only", "other"])));
        assert_eq!(agreed(&[&b]), (b.clone(), names(&[])));
        assert_eq!(agreed(&[]), (configs(&[]), names(&[])));
    }
}
