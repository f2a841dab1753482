//! Conversions between generated types and `copyist-model`. Into the wire always works; out of it can meet text
//! that breaks a rule, which names the message and the field.

use std::time::Duration;

use copyist_model::{
    AgentChoice, AssignmentEpoch, AssignmentId, ClientProperties, ConnectorSpec, Destination, EngineChoice,
    InvalidName, LossPolicy, OffsetReset, Part, PartitionSet, RenameFormat, StoreRevision, TaskLanes,
    TopicCreation, TopicLanes, TopicName, TopicPattern, TopicSelection, ZooKeeper, ZooKeepers,
};

use crate::{control, store};

/// A message that does not say what it must: the sender is broken, or of another version.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("{message} lacks {field}")]
    Missing { message: &'static str, field: &'static str },
    #[error("{message} holds an invalid name")]
    Name {
        message: &'static str,
        #[source]
        source: InvalidName,
    },
    #[error("{message} has {field} {value:?}, which is not valid: {reason}")]
    Value { message: &'static str, field: &'static str, value: String, reason: String },
}

impl Malformed {
    pub(crate) fn name(message: &'static str) -> impl Fn(InvalidName) -> Self {
        move |source| Self::Name { message, source }
    }
}

impl From<&AssignmentId> for control::AssignmentId {
    fn from(id: &AssignmentId) -> Self {
        let part = match id.part {
            Part::Survey => control::assignment_id::Part::Survey(true),
            Part::Task(number) => control::assignment_id::Part::Task(number),
        };
        Self { connector: id.connector.to_string(), part: Some(part) }
    }
}

impl TryFrom<control::AssignmentId> for AssignmentId {
    type Error = Malformed;

    fn try_from(id: control::AssignmentId) -> Result<Self, Malformed> {
        let part = match id.part {
            Some(control::assignment_id::Part::Survey(_)) => Part::Survey,
            Some(control::assignment_id::Part::Task(number)) => Part::Task(number),
            None => return Err(Malformed::Missing { message: "AssignmentId", field: "part" }),
        };
        Ok(Self { connector: id.connector.parse().map_err(Malformed::name("AssignmentId"))?, part })
    }
}

/// An id that a message must carry.
///
/// # Errors
/// When it is missing or malformed.
pub fn assignment_id(id: Option<control::AssignmentId>) -> Result<AssignmentId, Malformed> {
    id.ok_or(Malformed::Missing { message: "message", field: "id" })?.try_into()
}

/// An epoch that a message must carry.
///
/// # Errors
/// When it is missing.
pub fn epoch(epoch: Option<control::Epoch>) -> Result<AssignmentEpoch, Malformed> {
    let epoch = epoch.ok_or(Malformed::Missing { message: "message", field: "epoch" })?;
    Ok(AssignmentEpoch { incarnation: epoch.incarnation, revision: StoreRevision(epoch.revision) })
}

impl From<AssignmentEpoch> for control::Epoch {
    fn from(epoch: AssignmentEpoch) -> Self {
        Self { incarnation: epoch.incarnation, revision: epoch.revision.0 }
    }
}

impl From<&ConnectorSpec> for control::ConnectorSpec {
    fn from(spec: &ConnectorSpec) -> Self {
        let names = |names: &std::collections::BTreeSet<TopicName>| {
            names.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (destination_is_worker, destination) = match &spec.destination {
            Destination::Worker(properties) => (true, properties.0.clone()),
            Destination::Cluster(properties) => (false, properties.0.clone()),
        };
        let offset_reset = match spec.offset_reset {
            OffsetReset::Earliest => control::OffsetReset::Earliest,
            OffsetReset::Latest => control::OffsetReset::Latest,
        };
        Self {
            topic_whitelist: names(&spec.selection.whitelist),
            topic_pattern: spec.selection.pattern.as_ref().map(|pattern| pattern.as_str().to_owned()),
            topic_blacklist: names(&spec.selection.blacklist),
            rename_format: spec.rename.as_str().to_owned(),
            tasks_max: spec.tasks_max,
            source: spec.source.0.clone(),
            destination_is_worker,
            destination,
            offset_reset: offset_reset.into(),
            create_topics: spec.creation.enabled,
            replication_factor: spec.creation.replication_factor.map(u32::from),
            timestamp_type: spec.creation.timestamp_type.clone(),
            topic_overrides: spec.creation.overrides.clone(),
            poll_interval_ms: millis(spec.poll_interval),
            engine: spec.engine.as_str().to_owned(),
            loss_policy: spec.loss_policy.as_str().to_owned(),
            source_zookeeper: spec.zookeepers.source.as_ref().map(control::ZooKeeper::from),
            destination_zookeeper: spec.zookeepers.destination.as_ref().map(control::ZooKeeper::from),
        }
    }
}

impl From<&ZooKeeper> for control::ZooKeeper {
    fn from(zookeeper: &ZooKeeper) -> Self {
        Self {
            connect: zookeeper.to_string(),
            connection_timeout_ms: millis(zookeeper.connection_timeout),
            session_timeout_ms: millis(zookeeper.session_timeout),
        }
    }
}

impl TryFrom<control::ZooKeeper> for ZooKeeper {
    type Error = Malformed;

    fn try_from(wire: control::ZooKeeper) -> Result<Self, Malformed> {
        let [connection, session] =
            [wire.connection_timeout_ms, wire.session_timeout_ms].map(Duration::from_millis);
        Self::parse(&wire.connect, connection, session).map_err(|problems| Malformed::Value {
            message: "ZooKeeper",
            field: "connect",
            value: wire.connect,
            reason: problems.join("; "),
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl TryFrom<control::ConnectorSpec> for ConnectorSpec {
    type Error = Malformed;

    fn try_from(spec: control::ConnectorSpec) -> Result<Self, Malformed> {
        const MESSAGE: &str = "ConnectorSpec";
        let invalid =
            |field, value: String, reason| Malformed::Value { message: MESSAGE, field, value, reason };
        let names = |names: Vec<String>| {
            names.iter().map(|name| name.parse().map_err(Malformed::name(MESSAGE))).collect::<Result<_, _>>()
        };
        let offset_reset = match spec.offset_reset() {
            control::OffsetReset::Earliest => OffsetReset::Earliest,
            control::OffsetReset::Latest => OffsetReset::Latest,
            control::OffsetReset::Unspecified => {
                return Err(Malformed::Missing { message: MESSAGE, field: "offset_reset" });
            }
        };
        let pattern = spec
            .topic_pattern
            .map(|text| TopicPattern::parse(&text).map_err(|why| invalid("topic_pattern", text, why)))
            .transpose()?;
        let replication_factor = spec
            .replication_factor
            .map(|factor| {
                let why = |error: std::num::TryFromIntError| error.to_string();
                u16::try_from(factor)
                    .map_err(|error| invalid("replication_factor", factor.to_string(), why(error)))
            })
            .transpose()?;
        let one_of = |field, value: String, why: &str| invalid(field, value, why.to_owned());
        let engine = EngineChoice::ALL.into_iter().find(|engine| engine.as_str() == spec.engine);
        let loss_policy = LossPolicy::ALL.into_iter().find(|policy| policy.as_str() == spec.loss_policy);
        let destination = ClientProperties(spec.destination);
        Ok(Self {
            selection: TopicSelection {
                whitelist: names(spec.topic_whitelist)?,
                pattern,
                blacklist: names(spec.topic_blacklist)?,
            },
            rename: RenameFormat::parse(&spec.rename_format).map_err(Malformed::name(MESSAGE))?,
            tasks_max: spec.tasks_max,
            source: ClientProperties(spec.source),
            destination: if spec.destination_is_worker {
                Destination::Worker(destination)
            } else {
                Destination::Cluster(destination)
            },
            zookeepers: ZooKeepers {
                source: spec.source_zookeeper.map(TryInto::try_into).transpose()?,
                destination: spec.destination_zookeeper.map(TryInto::try_into).transpose()?,
            },
            offset_reset,
            engine: engine.ok_or_else(|| one_of("engine", spec.engine, "auto, raw or librdkafka"))?,
            loss_policy: loss_policy
                .ok_or_else(|| one_of("loss_policy", spec.loss_policy, "fail, continue or restart"))?,
            agents: AgentChoice::default(),
            creation: TopicCreation {
                enabled: spec.create_topics,
                replication_factor,
                timestamp_type: spec.timestamp_type,
                overrides: spec.topic_overrides,
            },
            poll_interval: Duration::from_millis(spec.poll_interval_ms),
        })
    }
}

/// The lanes of a task, for the wire.
#[must_use]
pub fn lanes_to_wire(lanes: &TaskLanes) -> Vec<control::TopicLanes> {
    let ranges = |set: &PartitionSet| {
        set.ranges().iter().map(|&(first, last)| control::PartitionRange { first, last }).collect()
    };
    let topic = |(topic, lanes): (&TopicName, &TopicLanes)| control::TopicLanes {
        topic: topic.to_string(),
        destination: lanes.destination.to_string(),
        first_seen: ranges(&lanes.first_seen),
        found_later: ranges(&lanes.found_later),
    };
    lanes.0.iter().map(topic).collect()
}

/// The lanes of a task, from the wire.
///
/// # Errors
/// When a topic's name or a range is malformed.
pub fn lanes_from_wire(topics: Vec<control::TopicLanes>) -> Result<TaskLanes, Malformed> {
    const MESSAGE: &str = "TopicLanes";
    let mut lanes = TaskLanes::default();
    for topic in topics {
        let pairs = |ranges: Vec<control::PartitionRange>| -> Vec<i32> {
            ranges.iter().flat_map(|range| [range.first, range.last]).collect()
        };
        let name = topic.topic.parse().map_err(Malformed::name(MESSAGE))?;
        let destination = topic.destination.parse().map_err(Malformed::name(MESSAGE))?;
        let parsed = TopicLanes {
            destination,
            first_seen: partitions(MESSAGE, &pairs(topic.first_seen))?,
            found_later: partitions(MESSAGE, &pairs(topic.found_later))?,
        };
        lanes.0.insert(name, parsed);
    }
    Ok(lanes)
}

/// The lanes of a task, for the store.
#[must_use]
pub fn lanes_to_store(lanes: &TaskLanes) -> Vec<store::TaskTopic> {
    let flat = |set: &PartitionSet| set.ranges().iter().flat_map(|&(first, last)| [first, last]).collect();
    let topic = |(topic, lanes): (&TopicName, &TopicLanes)| store::TaskTopic {
        topic: topic.to_string(),
        destination: lanes.destination.to_string(),
        first_seen: flat(&lanes.first_seen),
        found_later: flat(&lanes.found_later),
    };
    lanes.0.iter().map(topic).collect()
}

/// The lanes of a task, from the store.
///
/// # Errors
/// When a topic's name or a range is malformed.
pub fn lanes_from_store(topics: Vec<store::TaskTopic>) -> Result<TaskLanes, Malformed> {
    const MESSAGE: &str = "TaskTopic";
    let mut lanes = TaskLanes::default();
    for topic in topics {
        let name = topic.topic.parse().map_err(Malformed::name(MESSAGE))?;
        let destination = topic.destination.parse().map_err(Malformed::name(MESSAGE))?;
        let parsed = TopicLanes {
            destination,
            first_seen: partitions(MESSAGE, &topic.first_seen)?,
            found_later: partitions(MESSAGE, &topic.found_later)?,
        };
        lanes.0.insert(name, parsed);
    }
    Ok(lanes)
}

/// Partitions of one topic beyond which a range is taken for damage (Kafka clusters have far fewer).
const PARTITIONS_MAX: i32 = 1_000_000;

fn partitions(message: &'static str, flat: &[i32]) -> Result<PartitionSet, Malformed> {
    let mut set = PartitionSet::default();
    for range in flat.chunks(2) {
        match *range {
            [first, last] if 0 <= first && first <= last && last < PARTITIONS_MAX => {
                (first..=last).for_each(|partition| set.insert(partition));
            }
            _ => {
                return Err(Malformed::Value {
                    message,
                    field: "partition range",
                    value: format!("{range:?}"),
                    reason: "it needs 0 <= first <= last".to_owned(),
                });
            }
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use copyist_model::LaneStart;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn spec() -> impl Strategy<Value = ConnectorSpec> {
        let names = || {
            proptest::collection::btree_set(
                "[a-z]{1,5}".prop_map(|name| name.parse::<TopicName>().unwrap()),
                0..4,
            )
        };
        let properties =
            || proptest::collection::btree_map("[a-z.]{1,8}", "[ -~]{0,8}", 0..4).prop_map(ClientProperties);
        let first = (names(), names(), any::<bool>(), proptest::option::of(1u32..9), properties());
        let second = (properties(), any::<[bool; 3]>(), proptest::option::of(any::<u16>()), 0u64..1_000_000);
        (first, second).prop_map(|((whitelist, blacklist, patterned, tasks_max, source), second)| {
            let (destination, [worker, latest, enabled], replication_factor, poll_ms) = second;
            ConnectorSpec {
                selection: TopicSelection {
                    whitelist,
                    pattern: patterned.then(|| TopicPattern::parse("a.*|b").unwrap()),
                    blacklist,
                },
                rename: RenameFormat::parse("${topic}.copy").unwrap(),
                tasks_max,
                source,
                destination: match worker {
                    true => Destination::Worker(destination),
                    false => Destination::Cluster(destination),
                },
                zookeepers: ZooKeepers {
                    source: worker.then(|| zookeeper("a:1,b:2/c")),
                    destination: latest.then(|| zookeeper("d:1")),
                },
                offset_reset: if latest { OffsetReset::Latest } else { OffsetReset::Earliest },
                creation: TopicCreation {
                    enabled,
                    replication_factor,
                    timestamp_type: "CreateTime".to_owned(),
                    overrides: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
                },
                poll_interval: Duration::from_millis(poll_ms),
                engine: EngineChoice::ALL[(poll_ms % 3) as usize],
                loss_policy: LossPolicy::ALL[(poll_ms / 3 % 3) as usize],
                agents: AgentChoice::default(),
            }
        })
    }

    fn zookeeper(connect: &str) -> ZooKeeper {
        ZooKeeper::parse(connect, Duration::from_millis(7), Duration::from_secs(8)).unwrap()
    }

    #[test]
    fn a_zookeeper_without_a_server_is_refused() {
        let error = ZooKeeper::try_from(control::ZooKeeper::default()).unwrap_err().to_string();
        assert!(error.contains("connect") && error.contains("no server"), "{error}");
    }

    proptest! {
        #[test]
        fn specs_survive_the_wire(spec in spec()) {
            prop_assert_eq!(ConnectorSpec::try_from(control::ConnectorSpec::from(&spec)).unwrap(), spec);
        }

        #[test]
        fn lanes_survive_wire_and_store(found in proptest::collection::vec((0..3usize, 0..50, any::<bool>()), 0..60)) {
            let topics: [TopicName; 3] = ["a", "b", "c"].map(|name| name.parse().unwrap());
            let mut lanes = TaskLanes::default();
            for (topic, partition, later) in found {
                let start = if later { LaneStart::Earliest } else { LaneStart::Reset };
                lanes.insert(&topics[topic], &topics[0], partition, start);
            }
            prop_assert_eq!(&lanes_from_wire(lanes_to_wire(&lanes)).unwrap(), &lanes);
            prop_assert_eq!(&lanes_from_store(lanes_to_store(&lanes)).unwrap(), &lanes);
        }
    }

    #[test]
    fn assignment_ids_survive_the_wire_and_need_a_part() {
        let connector = "c".parse().unwrap();
        for id in [AssignmentId::survey(&connector), AssignmentId::task(&connector, 3)] {
            assert_eq!(AssignmentId::try_from(control::AssignmentId::from(&id)).unwrap(), id);
        }
        let without = control::AssignmentId { connector: "c".into(), part: None };
        assert!(AssignmentId::try_from(without).is_err());
    }

    #[test]
    fn hostile_ranges_are_refused() {
        for flat in [&[3, 1][..], &[-1, 2], &[0], &[0, i32::MAX]] {
            assert!(partitions("TaskTopic", flat).is_err(), "{flat:?}");
        }
    }

    #[test]
    fn a_spec_without_its_parts_names_what_is_missing() {
        let error = ConnectorSpec::try_from(control::ConnectorSpec::default()).unwrap_err();
        assert!(error.to_string().contains("offset_reset"), "{error}");
    }
}
