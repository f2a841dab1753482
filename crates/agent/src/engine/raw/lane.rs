//! One lane as the route has it: its machine, what it reads, what is on its way. No I/O.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use copyist_kafka::{Leader, OutgoingBatch, PartitionKey, Producer, Wanted};
use copyist_lane::{Lane, Status};
use copyist_model::{LaneHeld, LaneStart};

use super::appetite::Appetite;
use super::budget::Lease;
use super::fetching::FetcherId;
use super::reader::{LaneReader, Ready};
use super::task::TaskNumber;
use crate::engine::name::LaneName;
use crate::job::Right;
use crate::metrics::LaneMetrics;

/// Names a lane within a route, once: one that is made again gets another number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneNumber(pub u64);

/// A lane of a task.
#[derive(Debug)]
pub struct LaneCell {
    pub task: TaskNumber,
    pub name: LaneName,
    pub start: LaneStart,
    /// What the coordinator said that the store holds, newer than that of the order.
    pub told_record: Option<LaneHeld>,
    /// The coordinator has no record of it: this one came with its position.
    pub store_is_empty: bool,
    /// It is not made before.
    pub not_before: Duration,
    pub life: Life,
    /// To be made again once it is released: it was changed meanwhile.
    pub again: bool,
    pub leaving: bool,
    pub metrics: LaneMetrics,
    /// Both leaders were reached: it was about to copy, once.
    pub reached: bool,
    /// Since when it has not been copying.
    pub idle_since: Option<Duration>,
}

/// A lane exists once all that its machine must know is known.
#[derive(Debug)]
pub enum Life {
    Unborn { waits_for: String, asked: bool },
    Alive(Box<Alive>),
}

/// A lane with its machine.
#[derive(Debug)]
pub struct Alive {
    pub machine: Lane,
    pub reader: LaneReader,
    pub source: PartitionKey,
    pub destination: PartitionKey,
    pub source_leader: Option<Leader>,
    pub destination_leader: Option<Leader>,
    /// Offered to the machine, and not taken yet.
    pub offered: Option<Ready>,
    pub flying: BTreeMap<u64, Flying>,
    pub own: Own,
    /// Something was written over it since the last look.
    pub own_used_lately: bool,
    /// Who fetches for it, and under which name.
    pub fetched_by: Option<(FetcherId, PartitionKey)>,
    /// The right that the machine was told of last.
    pub right: Right,
    pub status: Option<Status>,
    /// Which of the source's fetchers: lanes of one source partition need one each.
    pub slot: u32,
    pub wake_at: Option<Duration>,
    /// The source's last answer failed: no fetch before.
    pub fetch_not_before: Duration,
    pub fetch_failures: u32,
    /// The source is being asked what range it has.
    pub asking_range: bool,
    pub last_stable_offset: i64,
    pub newest_timestamp: i64,
    /// Where it was at the last measuring, and when it moved last.
    pub measured_offset: i64,
    pub moved_at: Duration,
}

/// A batch that waits for its answer.
#[derive(Debug)]
pub struct Flying {
    pub records: u64,
    pub bytes: u64,
    pub max_timestamp: i64,
    /// Kept where it is to be read back.
    pub to_check: Option<OutgoingBatch>,
    /// Holds the batch's bytes in the budget.
    pub lease: Arc<Lease>,
}

/// The connection of a weak lane alone.
#[derive(Debug)]
pub enum Own {
    Closed,
    /// With the batch that waits for it, and its token.
    Opening(u64, OutgoingBatch),
    Open(Producer),
}

/// Both partitions and who leads them.
#[derive(Debug)]
pub struct Ends {
    pub source: PartitionKey,
    pub destination: PartitionKey,
    pub source_leader: Option<Leader>,
    pub destination_leader: Option<Leader>,
}

impl LaneCell {
    pub fn alive(&mut self) -> Option<&mut Alive> {
        match &mut self.life {
            Life::Alive(alive) => Some(alive),
            Life::Unborn { .. } => None,
        }
    }

    /// Whether a batch that has nothing but the right to keep two writers apart waits for its answer.
    #[must_use]
    pub fn has_weak_in_flight(&self) -> bool {
        match &self.life {
            Life::Alive(alive) => matches!(alive.own, Own::Open(_)) && !alive.flying.is_empty(),
            Life::Unborn { .. } => false,
        }
    }

    /// A human was asked for.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.seen().is_some_and(|alive| matches!(alive.status, Some(Status::Stopped(_))))
    }

    #[must_use]
    pub fn seen(&self) -> Option<&Alive> {
        match &self.life {
            Life::Alive(alive) => Some(alive),
            Life::Unborn { .. } => None,
        }
    }
}

impl Alive {
    #[must_use]
    pub fn new(machine: Lane, reader: LaneReader, ends: Ends, right: Right, slot: u32) -> Self {
        let Ends { source, destination, source_leader, destination_leader } = ends;
        Self {
            machine,
            reader,
            source,
            destination,
            source_leader,
            destination_leader,
            offered: None,
            flying: BTreeMap::new(),
            own: Own::Closed,
            own_used_lately: false,
            fetched_by: None,
            right,
            status: None,
            slot,
            wake_at: None,
            fetch_not_before: Duration::ZERO,
            fetch_failures: 0,
            asking_range: false,
            last_stable_offset: -1,
            newest_timestamp: -1,
            measured_offset: -1,
            moved_at: Duration::ZERO,
        }
    }

    /// Nothing will be sent until it reads anew.
    pub fn drop_what_was_read(&mut self) {
        self.offered = None;
        self.reader.stop();
    }

    /// Nothing of it waits to be sent, or for an answer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.flying.is_empty() && self.offered.is_none() && self.reader.queued_bytes() == 0
    }

    /// The source has more than was read.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.reader.fetch_from().0 < self.last_stable_offset
    }

    /// What to fetch for it next, given what one lane may hold: nothing while it has enough or cannot be read.
    #[must_use]
    pub fn wanted(&self, now: Duration, appetite: &Appetite, share_bytes: usize) -> Option<Wanted> {
        let leader = self.source_leader?;
        self.reader.reading()?;
        let largest = self.reader.largest_batch_bytes();
        let enough = self.reader.queued_bytes() >= appetite.ahead_bytes(largest, share_bytes);
        if self.asking_range || now < self.fetch_not_before || enough {
            return None;
        }
        let (offset, last_fetched_epoch) = self.reader.fetch_from();
        Some(Wanted {
            offset,
            current_leader_epoch: leader.epoch,
            last_fetched_epoch,
            max_bytes: int32(appetite.partition_bytes(largest)),
        })
    }

    /// Records between what was acknowledged and the end of what is committed.
    #[must_use]
    pub fn lag_records(&self) -> i64 {
        (self.last_stable_offset - self.machine.position().next_offset).max(0)
    }
}

/// As Kafka counts what it is asked for; all that is asked for is far below the bound.
pub fn int32(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
