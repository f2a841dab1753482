//! Who leads the partitions of a topic. Pure.

use std::collections::BTreeMap;

use copyist_kafka::{BrokerId, Metadata, PartitionKey, Topic};
use copyist_model::TopicName;

/// The topic and who is to be asked for which of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaders {
    pub topic: Topic,
    /// With the leader epoch of each partition.
    pub led: BTreeMap<BrokerId, BTreeMap<PartitionKey, i32>>,
    /// Partitions that nobody leads.
    pub leaderless: Vec<i32>,
}

impl Leaders {
    /// # Errors
    /// Why the topic cannot be read, in words.
    pub fn of(view: &Metadata, name: &TopicName) -> Result<Self, String> {
        let found = view.topics.get(name).ok_or_else(|| format!("there is no topic {name}"))?;
        found.code.check().map_err(|code| format!("topic {name}: {code}"))?;
        let mut leaders = Self { topic: found.topic.clone(), led: BTreeMap::new(), leaderless: Vec::new() };
        for (number, partition) in &found.partitions {
            let Some(leader) = partition.leader else {
                leaders.leaderless.push(*number);
                continue;
            };
            let key = PartitionKey { topic: found.topic.clone(), partition: *number };
            leaders.led.entry(leader.broker).or_default().insert(key, leader.epoch);
        }
        if found.partitions.is_empty() {
            return Err(format!("topic {name} has no partitions"));
        }
        Ok(leaders)
    }

    pub fn partitions(&self) -> impl Iterator<Item = i32> {
        self.led.values().flat_map(BTreeMap::keys).map(|key| key.partition).chain(self.leaderless.clone())
    }
}

#[cfg(test)]
mod tests {
    use copyist_kafka::metadata::{PartitionMetadata, TopicMetadata};
    use copyist_kafka::{Code, Leader};
    use copyist_model::TopicId;

    use super::*;

    fn view(code: i16, leaders: &[Option<(i32, i32)>]) -> Metadata {
        let partition = |leader: &Option<(i32, i32)>| PartitionMetadata {
            code: Code::NONE,
            leader: leader.map(|(broker, epoch)| Leader { broker, epoch }),
            replicas: 1,
        };
        let name: TopicName = "t".parse().unwrap();
        let topic = TopicMetadata {
            topic: Topic::new(name.clone(), TopicId(7)),
            code: Code(code),
            is_internal: false,
            partitions: (0..).zip(leaders.iter().map(partition)).collect(),
        };
        Metadata { topics: [(name, topic)].into(), ..Metadata::default() }
    }

    #[test]
    fn partitions_are_grouped_by_leader_and_the_leaderless_are_kept() {
        let name: TopicName = "t".parse().unwrap();
        let view = view(0, &[Some((1, 5)), None, Some((2, 0)), Some((1, 6))]);
        let leaders = Leaders::of(&view, &name).unwrap();
        let led: Vec<_> =
            leaders.led.iter().map(|(broker, keys)| (*broker, keys.values().copied().collect())).collect();
        assert_eq!(led, [(1, vec![5, 6]), (2, vec![0])]);
        assert_eq!(leaders.leaderless, [1]);
        let mut partitions: Vec<i32> = leaders.partitions().collect();
        partitions.sort_unstable();
        assert_eq!(partitions, [0, 1, 2, 3]);
    }

    #[test]
    fn a_topic_that_cannot_be_read_says_why() {
        let (t, u): (TopicName, TopicName) = ("t".parse().unwrap(), "u".parse().unwrap());
        let rows = [
            (view(29, &[Some((1, 5))]), &t, "topic t: TopicAuthorizationFailed (29)"),
            (view(0, &[]), &t, "topic t has no partitions"),
            (view(0, &[None]), &u, "there is no topic u"),
        ];
        for (view, name, expected) in rows {
            assert_eq!(Leaders::of(&view, name).unwrap_err(), expected);
        }
        assert!(Leaders::of(&view(0, &[None]), &t).is_ok());
    }
}
