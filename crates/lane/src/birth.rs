//! What a lane knows when it begins on an agent.

use std::time::Duration;

use copyist_model::{LaneEnd, LaneGeneration, LaneId, LaneRecord, LossPolicy, Position};

use crate::event::Right;

/// What a lane knows when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Birth {
    pub lane: LaneId,
    /// As metadata shows it now.
    pub source: LaneEnd,
    /// As metadata shows it now.
    pub destination: LaneEnd,
    /// The record that holds, if there is one.
    pub record: Option<LaneRecord>,
    /// The generation that a user's change of the offset has ended, where no record holds since; zero: there was no such
    /// change. `stored` is none of its positions, nor of older ones.
    pub altered: LaneGeneration,
    pub stored: Stored,
    /// The newest generation of which the store of positions holds anything, whatever counts there: positions of an
    /// older one would never count.
    pub newest_generation: LaneGeneration,
    pub start: Start,
    pub loss_policy: LossPolicy,
    /// Others are known to write into the destination partition too.
    pub shared: bool,
    /// `cleanup.policy` of the source topic contains `compact`.
    pub source_compacted: bool,
    pub facts: DestinationFacts,
    pub right: Right,
    /// Longest time between two stored positions of a lane that moves.
    pub flush_interval: Duration,
}

/// What the store of positions holds for a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    Nothing,
    /// A position without a generation (MirrorMaker 2's, a user's): where to begin.
    Start {
        next_offset: i64,
    },
    /// Ours. Ignored when its generation is not the record's.
    Position(Position),
}

/// Where a lane without a stored position begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    /// Nowhere: the user must say.
    Nowhere,
}

/// What the brokers of the destination say of themselves and of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestinationFacts {
    /// The smallest `producer.id.expiration.ms` of the brokers (`transactional.id.expiration.ms` before 3.4).
    /// `None`: unreadable, and the user states none.
    pub producer_expiration: Option<Duration>,
    /// The topic stamps what it stores with its own time.
    pub log_append_time: bool,
    /// `max.message.bytes` of the topic.
    pub max_batch_bytes: u32,
    /// The brokers answer DescribeProducers (2.8).
    pub describes_producers: bool,
}
