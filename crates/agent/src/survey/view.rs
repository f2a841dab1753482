//! What a cluster's metadata says, as far as a survey needs it.

use std::collections::BTreeMap;

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
