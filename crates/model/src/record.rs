//! What makes a lane exact: its record, fixed in the store before its first batch, and the positions it reaches.

use std::fmt;

use crate::epoch::LaneGeneration;
use crate::lane::LaneId;
use crate::name::{ClusterId, TopicName};

/// What moves a lane's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// Record batches as they are, exactly once.
    Raw,
    /// The compatibility engine: a client built on records, at least once.
    Librdkafka,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Librdkafka => "librdkafka",
        })
    }
}

/// A topic's id (KIP-516): another one under the same name is another topic. All zero: the broker has no topic ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TopicId(pub u128);

impl TopicId {
    /// What brokers before 2.8 have instead.
    pub const NONE: Self = Self(0);

    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

/// As a UUID, in hexadecimal with hyphens.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..])
    }
}

/// One end of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneEnd {
    pub cluster: ClusterId,
    pub topic: TopicName,
    pub topic_id: TopicId,
    pub partition: i32,
}

/// Who may number a lane's records, and from where: the n-th record of a generation always travels with sequence
/// `(n - base_n) mod 2^31`, whoever sends it, and lies at destination offset `base_offset + n - base_n` unless the
/// destination partition is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRecord {
    pub lane: LaneId,
    pub generation: LaneGeneration,
    pub engine: Engine,
    pub source: LaneEnd,
    pub destination: LaneEnd,
    /// Owned by the lane at the destination. -1 for an engine that owns none.
    pub producer_id: i64,
    /// Records counted in earlier generations.
    pub base_n: i64,
    /// The destination's end offset when the generation began.
    pub base_offset: i64,
    /// The source offset from which the generation counts.
    pub base_source_offset: i64,
    /// Others write into the destination partition too, so base offsets are not compared.
    pub shared: bool,
}

/// What the store holds of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneHeld {
    /// The record that holds.
    Record(Box<LaneRecord>),
    /// Its offset was changed by a user, and no record holds: positions of this generation, and of those before it, say
    /// nothing any more, wherever they lie and whenever they arrive.
    Altered(LaneGeneration),
}

impl LaneHeld {
    /// The newest generation that the store knows of.
    #[must_use]
    pub fn generation(&self) -> LaneGeneration {
        match self {
            Self::Record(record) => record.generation,
            Self::Altered(generation) => *generation,
        }
    }

    #[must_use]
    pub fn record(&self) -> Option<&LaneRecord> {
        match self {
            Self::Record(record) => Some(record),
            Self::Altered(_) => None,
        }
    }

    /// The generation that a user's change has ended, if one has.
    #[must_use]
    pub fn altered(&self) -> Option<LaneGeneration> {
        match self {
            Self::Record(_) => None,
            Self::Altered(generation) => Some(*generation),
        }
    }
}

impl From<LaneRecord> for LaneHeld {
    fn from(record: LaneRecord) -> Self {
        Self::Record(Box::new(record))
    }
}

/// What a lane has reached: everything before it was acknowledged by the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub generation: LaneGeneration,
    /// The next source offset to copy.
    pub next_offset: i64,
    /// The source's leader epoch of the last record copied; -1 while none was, or unknown.
    pub leader_epoch: i32,
    /// Records sent so far, earlier generations included: the number of the next one.
    pub n: i64,
    /// The destination offset after the last record acknowledged.
    pub destination_offset: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_is_shown_as_a_uuid() {
        let id = TopicId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.to_string(), "01234567-89ab-cdef-0123-456789abcdef");
        assert!(TopicId::NONE.is_none() && !id.is_none());
    }

    #[test]
    fn engines_are_called_as_in_the_key() {
        assert_eq!(
            (Engine::Raw.to_string(), Engine::Librdkafka.to_string()),
            ("raw".into(), "librdkafka".into())
        );
    }
}
