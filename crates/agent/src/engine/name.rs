//! What a lane is called within a task. Pure.

use std::collections::BTreeMap;
use std::fmt;

use copyist_model::{LaneStart, TaskLanes, TopicName};

/// A source partition and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneName {
    pub source: TopicName,
    pub partition: i32,
    pub destination: TopicName,
}

impl fmt::Display for LaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.source, self.partition)
    }
}

/// The lanes of an order, each with where it starts.
#[must_use]
pub fn named(lanes: &TaskLanes) -> BTreeMap<LaneName, LaneStart> {
    let name = |(source, partition, destination, start): (&TopicName, _, &TopicName, _)| {
        (LaneName { source: source.clone(), partition, destination: destination.clone() }, start)
    };
    lanes.iter().map(name).collect()
}
