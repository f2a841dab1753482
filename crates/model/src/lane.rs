//! Lanes: one source partition carried by one connector into one destination partition.

use std::collections::BTreeMap;
use std::fmt;

use crate::name::{ClusterId, ConnectorName, TopicName};

/// Names a lane for ever: it survives renames of the destination and new generations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneId {
    pub connector: ConnectorName,
    pub source_cluster: ClusterId,
    pub topic: TopicName,
    pub partition: i32,
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Where a lane without a stored position starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LaneStart {
    /// As the connector's reset key says: the lane was there when the connector first looked.
    Reset,
    /// At the earliest offset: a later survey found it, so its records are all newer than the connector.
    Earliest,
}

/// A set of partition numbers, kept as sorted, disjoint, non-adjacent inclusive ranges.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PartitionSet(Vec<(i32, i32)>);

impl PartitionSet {
    /// The ranges, inclusive on both ends, in order.
    #[must_use]
    pub fn ranges(&self) -> &[(i32, i32)] {
        &self.0
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        self.0.iter().flat_map(|&(first, last)| first..=last)
    }

    #[must_use]
    pub fn contains(&self, partition: i32) -> bool {
        self.0.iter().any(|&(first, last)| (first..=last).contains(&partition))
    }

    pub fn insert(&mut self, partition: i32) {
        if self.contains(partition) {
            return;
        }
        self.0.push((partition, partition));
        self.0.sort_unstable();
        let mut merged: Vec<(i32, i32)> = Vec::with_capacity(self.0.len());
        for &(first, last) in &self.0 {
            match merged.last_mut() {
                Some(previous) if previous.1 + 1 == first => previous.1 = last,
                Some(_) | None => merged.push((first, last)),
            }
        }
        self.0 = merged;
    }
}

impl FromIterator<i32> for PartitionSet {
    fn from_iter<I: IntoIterator<Item = i32>>(partitions: I) -> Self {
        let mut set = Self::default();
        partitions.into_iter().for_each(|partition| set.insert(partition));
        set
    }
}

/// The lanes of one source topic within a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicLanes {
    /// Where its records go; partition numbers stay as they are.
    pub destination: TopicName,
    /// Lanes that were there at the connector's first complete survey.
    pub first_seen: PartitionSet,
    /// Lanes that a later survey found.
    pub found_later: PartitionSet,
}

impl TopicLanes {
    #[must_use]
    pub fn new(destination: TopicName) -> Self {
        Self { destination, first_seen: PartitionSet::default(), found_later: PartitionSet::default() }
    }

    pub fn iter(&self) -> impl Iterator<Item = (i32, LaneStart)> + '_ {
        let first = self.first_seen.iter().map(|partition| (partition, LaneStart::Reset));
        first.chain(self.found_later.iter().map(|partition| (partition, LaneStart::Earliest)))
    }
}

/// The lanes of a task, by source topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskLanes(pub BTreeMap<TopicName, TopicLanes>);

impl TaskLanes {
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(|topic| topic.first_seen.len() + topic.found_later.len()).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[must_use]
    pub fn contains(&self, topic: &TopicName, partition: i32) -> bool {
        let holds = |lanes: &TopicLanes| {
            lanes.first_seen.contains(partition) || lanes.found_later.contains(partition)
        };
        self.0.get(topic).is_some_and(holds)
    }

    pub fn insert(&mut self, topic: &TopicName, destination: &TopicName, partition: i32, start: LaneStart) {
        let lanes = self.0.entry(topic.clone()).or_insert_with(|| TopicLanes::new(destination.clone()));
        match start {
            LaneStart::Reset => lanes.first_seen.insert(partition),
            LaneStart::Earliest => lanes.found_later.insert(partition),
        }
    }

    /// Every lane: source topic, partition, destination topic, start.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicName, i32, &TopicName, LaneStart)> {
        self.0.iter().flat_map(|(topic, lanes)| {
            lanes.iter().map(move |(partition, start)| (topic, partition, &lanes.destination, start))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn partition_sets_behave_as_sets_of_numbers(numbers in proptest::collection::vec(0i32..40, 0..60)) {
            let set: PartitionSet = numbers.iter().copied().collect();
            let model: BTreeSet<i32> = numbers.iter().copied().collect();
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.len(), model.len());
            prop_assert!((0..40).all(|n| set.contains(n) == model.contains(&n)));
            let gaps_remain = set.ranges().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
            prop_assert!(gaps_remain, "adjacent ranges were not joined: {:?}", set.ranges());
        }
    }

    #[test]
    fn a_lane_keeps_the_start_it_was_found_with() {
        let topic: TopicName = "t".parse().unwrap();
        let mut lanes = TaskLanes::default();
        lanes.insert(&topic, &topic, 0, LaneStart::Reset);
        lanes.insert(&topic, &topic, 1, LaneStart::Earliest);
        let starts: Vec<_> = lanes.iter().map(|(_, partition, _, start)| (partition, start)).collect();
        assert_eq!(starts, [(0, LaneStart::Reset), (1, LaneStart::Earliest)]);
        assert!(lanes.contains(&topic, 1) && !lanes.contains(&topic, 2));
        assert_eq!(lanes.len(), 2);
    }
}
