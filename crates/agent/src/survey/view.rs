//! What a cluster's metadata says, as far as a survey needs it.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{ClusterId, TopicName};

/// A cluster, as one answer of one of its brokers shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    pub id: ClusterId,
    /// Brokers that are up.
    pub brokers: u16,
    pub topics: BTreeMap<TopicName, TopicView>,
}

/// A topic that is there, to whoever may describe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicView {
    /// Partitions `0..partitions` exist.
    pub partitions: u32,
    /// How many of them, from 0 on without a gap, have a leader.
    pub led: u32,
    /// The smallest of its partitions: a reassignment under way only adds.
    pub replication_factor: u16,
}

impl ClusterView {
    /// Partitions of a topic; none when it is not there.
    #[must_use]
    pub fn partitions(&self, topic: &TopicName) -> u32 {
        self.topics.get(topic).map_or(0, |view| view.partitions)
    }

    /// Partitions of a topic that have a leader, from 0 on without a gap.
    #[must_use]
    pub fn led(&self, topic: &TopicName) -> u32 {
        self.topics.get(topic).map_or(0, |view| view.led)
    }
}

impl TopicView {
    /// From its partitions as metadata lists them: number, whether somebody leads it, replicas.
    #[must_use]
    pub fn of(partitions: impl Iterator<Item = (i32, bool, usize)>) -> Self {
        let (mut known, mut led) = (BTreeSet::new(), BTreeSet::new());
        let mut fewest: Option<usize> = None;
        for (number, is_led, replicas) in partitions {
            known.insert(number);
            if is_led {
                led.insert(number);
            }
            fewest = Some(fewest.map_or(replicas, |fewest| fewest.min(replicas)));
        }
        Self {
            partitions: without_gap(&known),
            led: without_gap(&led),
            replication_factor: fewest.and_then(|count| u16::try_from(count).ok()).unwrap_or(1),
        }
    }
}

/// How many numbers there are from 0 on without a gap.
fn without_gap(numbers: &BTreeSet<i32>) -> u32 {
    (0u32..).zip(numbers).take_while(|(n, number)| i32::try_from(*n) == Ok(**number)).map(|_| 1).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_count_from_zero_on_without_a_gap() {
        type Listed = &'static [(i32, bool, usize)];
        let rows: [(Listed, (u32, u32, u16)); 7] = [
            (&[], (0, 0, 1)),
            (&[(0, true, 3)], (1, 1, 3)),
            (&[(2, true, 3), (0, true, 2), (1, true, 3)], (3, 3, 2)),
            (&[(0, true, 1), (2, true, 1)], (1, 1, 1)),
            (&[(1, true, 1), (2, true, 1)], (0, 0, 1)),
            (&[(0, true, 1), (1, false, 1), (2, true, 1)], (3, 1, 1)),
            (&[(0, false, 1)], (1, 0, 1)),
        ];
        for (partitions, expected) in rows {
            let view = TopicView::of(partitions.iter().copied());
            assert_eq!((view.partitions, view.led, view.replication_factor), expected, "{partitions:?}");
        }
    }
}
