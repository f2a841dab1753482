//! The lanes of a task, and how an order changes them. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_model::{LaneStart, TaskLanes, TaskRevision};

use super::lane::{Lane, Phase};
use crate::engine::name::{LaneName, named};

/// Numbers a lane within its task; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneNumber(pub u32);

/// A lane to make ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub number: LaneNumber,
    pub name: LaneName,
    pub start: LaneStart,
    /// Next source offset, when the task knows it.
    pub next: Option<i64>,
    /// It may lie outside the log: ask.
    pub suspect: bool,
}

/// The lanes by number. A number is never used again.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub all: BTreeMap<LaneNumber, Lane>,
    next_number: u32,
    revision: Option<TaskRevision>,
}

impl Lanes {
    /// Takes an order: new lanes come, missing ones leave, and a raised revision retries what had stopped.
    pub fn order(&mut self, revision: TaskRevision, lanes: &TaskLanes, now: Duration) {
        let mut wanted = named(lanes);
        let raised = self.revision.is_some_and(|before| revision > before);
        self.revision = Some(revision);
        for lane in self.all.values_mut() {
            let start = wanted.remove(&lane.name);
            lane.leaving = start.is_none();
            if raised && !lane.leaving {
                lane.retry(now);
            }
        }
        for (name, start) in wanted {
            self.all.insert(LaneNumber(self.next_number), Lane::new(name, start, now));
            self.next_number += 1;
        }
    }

    /// The lanes that the order names.
    pub fn ordered(&self) -> impl Iterator<Item = &Lane> + Clone {
        self.all.values().filter(|lane| !lane.leaving)
    }

    /// Whether any lane could be read.
    pub fn any_to_read(&self) -> bool {
        self.ordered().any(|lane| !matches!(lane.phase(), Phase::Stopped { .. }))
    }

    /// The lanes that wait to be made ready.
    pub fn wanted(&self) -> Vec<Wanted> {
        let waiting = |(number, lane): (&LaneNumber, &Lane)| {
            let waits = matches!(lane.phase(), Phase::Waiting { .. }) && !lane.leaving;
            waits.then(|| Wanted {
                number: *number,
                name: lane.name.clone(),
                start: lane.start,
                next: lane.next(),
                suspect: lane.suspect,
            })
        };
        self.all.iter().filter_map(waiting).collect()
    }

    /// The smallest batch that a lane needs.
    pub fn batch_bytes(&self) -> Option<u32> {
        let reads = |lane: &&Lane| !matches!(lane.phase(), Phase::Stopped { .. });
        self.ordered().filter(reads).map(Lane::batch_bytes).min()
    }

    /// Records whose fate is not known yet.
    pub fn awaited(&self) -> usize {
        self.all.values().map(Lane::awaited).sum()
    }

    /// Positions to store.
    pub fn unstored(&self) -> Vec<(LaneNumber, i64)> {
        self.all.iter().filter_map(|(number, lane)| Some((*number, lane.unstored()?))).collect()
    }

    /// Takes out the lanes that have left: nothing of them is under way or unstored.
    pub fn sweep(&mut self) -> Vec<LaneNumber> {
        let gone = |lane: &Lane| lane.leaving && lane.awaited() == 0 && lane.unstored().is_none();
        let gone: Vec<_> =
            self.all.iter().filter(|(_, lane)| gone(lane)).map(|(number, _)| *number).collect();
        gone.iter().for_each(|number| drop(self.all.remove(number)));
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::super::lane::Record;
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn task(partitions: &[i32]) -> TaskLanes {
        let mut lanes = TaskLanes::default();
        for partition in partitions {
            lanes.insert(&"s".parse().unwrap(), &"d".parse().unwrap(), *partition, LaneStart::Reset);
        }
        lanes
    }

    fn partitions(lanes: &Lanes) -> Vec<(u32, i32)> {
        lanes.all.iter().map(|(number, lane)| (number.0, lane.name.partition)).collect()
    }

    #[test]
    fn lanes_come_and_leave_and_numbers_are_never_used_again() {
        let mut lanes = Lanes::default();
        lanes.order(TaskRevision(1), &task(&[0, 1]), NOW);
        assert_eq!(partitions(&lanes), [(0, 0), (1, 1)]);
        lanes.order(TaskRevision(2), &task(&[1]), NOW);
        assert_eq!(lanes.ordered().count(), 1);
        assert_eq!(lanes.sweep(), [LaneNumber(0)]);
        lanes.order(TaskRevision(3), &task(&[0, 1]), NOW);
        assert_eq!(partitions(&lanes), [(1, 1), (2, 0)]);
    }

    #[test]
    fn a_lane_leaves_when_nothing_of_it_is_under_way_or_unstored() {
        let mut lanes = Lanes::default();
        lanes.order(TaskRevision(1), &task(&[0]), NOW);
        let number = LaneNumber(0);
        lanes.all.get_mut(&number).unwrap().begin(5, NOW);
        lanes.all.get_mut(&number).unwrap().admit(Record { offset: 5, timestamp: 1, bytes: 1 }, NOW);
        lanes.order(TaskRevision(2), &task(&[]), NOW);
        assert_eq!((lanes.sweep(), lanes.any_to_read(), lanes.awaited()), (vec![], false, 1));
        lanes.all.get_mut(&number).unwrap().acknowledge(0, NOW);
        assert_eq!((lanes.sweep(), lanes.unstored()), (vec![], vec![(number, 6)]));
        lanes.all.get_mut(&number).unwrap().store(6);
        assert_eq!(lanes.sweep(), [number]);
    }

    #[test]
    fn only_a_raised_revision_retries_and_only_what_had_stopped() {
        let mut lanes = Lanes::default();
        lanes.order(TaskRevision(1), &task(&[0, 1]), NOW);
        lanes.all.get_mut(&LaneNumber(0)).unwrap().stop("why".into());
        lanes.all.get_mut(&LaneNumber(1)).unwrap().begin(7, NOW);
        lanes.order(TaskRevision(1), &task(&[0, 1]), NOW);
        assert!(lanes.wanted().is_empty() && lanes.any_to_read());
        lanes.order(TaskRevision(2), &task(&[0, 1]), NOW);
        let wanted: Vec<_> = lanes.wanted().iter().map(|lane| lane.number).collect();
        assert_eq!(wanted, [LaneNumber(0)]);
    }

    #[test]
    fn a_stopped_lane_does_not_narrow_the_others_batches() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.batch_bytes(), None);
        lanes.order(TaskRevision(1), &task(&[0, 1]), NOW);
        let narrowed = lanes.all.get_mut(&LaneNumber(0)).unwrap();
        narrowed.begin(0, NOW);
        narrowed.admit(Record { offset: 0, timestamp: 1, bytes: 10 }, NOW);
        narrowed.fail(0, rdkafka::error::RDKafkaErrorCode::InvalidRecord);
        assert!(narrowed.settle());
        assert_eq!(lanes.batch_bytes(), Some(1));
        lanes.all.get_mut(&LaneNumber(0)).unwrap().stop("why".into());
        assert_eq!(lanes.batch_bytes(), Some(super::super::refusal::BATCH_BYTES));
    }
}
