//! What is known of one lane: what was sent, what came back, how far it is. Pure: no I/O, no clock.

use std::collections::VecDeque;
use std::time::Duration;

use copyist_model::LaneStart;
use rdkafka::error::RDKafkaErrorCode;

use super::refusal::{BATCH_BYTES, Verdict, judge};
use crate::engine::name::LaneName;

/// What a lane may have unacknowledged; a larger record travels when the lane has no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub records: usize,
    pub bytes: usize,
}

impl Share {
    /// What all lanes of a task may have, and the bounds of what one of them gets of it.
    const TASK: Self = Self { records: 100_000, bytes: 48 << 20 };
    const LANE_MAX: Self = Self { records: 20_000, bytes: 4 << 20 };
    const LANE_MIN: Self = Self { records: 100, bytes: 64 << 10 };

    #[must_use]
    pub fn of(lanes: usize) -> Self {
        let part = |task: usize, min: usize, max: usize| (task / lanes.max(1)).clamp(min, max);
        Self {
            records: part(Self::TASK.records, Self::LANE_MIN.records, Self::LANE_MAX.records),
            bytes: part(Self::TASK.bytes, Self::LANE_MIN.bytes, Self::LANE_MAX.bytes),
        }
    }
}

/// What a lane is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Not read: its start or a leader is not known; the text says what is missing, once that is known.
    Waiting { why: Option<String> },
    /// Read, as far as there is room.
    Reading,
    /// A human is needed.
    Stopped { reason: String },
}

/// A record, as far as a lane looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    /// Milliseconds since 1970; −1: it has none.
    pub timestamp: i64,
    /// Of key and value.
    pub bytes: usize,
}

/// What to do with a record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Send it under this number.
    Send(u64),
    /// Leave it: it was sent already, or the lane stopped (at this record, perhaps).
    Leave,
}

/// What acknowledgements moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    pub records: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    record: Record,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Awaited,
    Acknowledged,
    Failed,
}

/// One lane of a task.
#[derive(Debug)]
pub struct Lane {
    pub name: LaneName,
    pub start: LaneStart,
    /// No longer in the order: it ends when what was sent came back.
    pub leaving: bool,
    /// The position was found outside the log, or may be: look before reading.
    pub suspect: bool,
    phase: Phase,
    /// Next source offset to copy: all before it is acknowledged.
    next: Option<i64>,
    /// What of that is stored.
    stored: Option<i64>,
    sent: VecDeque<Sent>,
    sent_bytes: usize,
    /// How many of `sent` have an answer.
    answered: usize,
    /// Number of the first record in `sent`.
    first_sequence: u64,
    failure: Option<(u64, RDKafkaErrorCode)>,
    batch_bytes: u32,
    source_reached: bool,
    destination_reached: bool,
    at_end: bool,
    moved_at: Duration,
    newest_timestamp: Option<i64>,
}

impl Lane {
    #[must_use]
    pub fn new(name: LaneName, start: LaneStart, now: Duration) -> Self {
        Self {
            name,
            start,
            leaving: false,
            suspect: false,
            phase: Phase::Waiting { why: None },
            next: None,
            stored: None,
            sent: VecDeque::new(),
            sent_bytes: 0,
            answered: 0,
            first_sequence: 0,
            failure: None,
            batch_bytes: BATCH_BYTES,
            source_reached: false,
            destination_reached: false,
            at_end: false,
            moved_at: now,
            newest_timestamp: None,
        }
    }

    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    #[must_use]
    pub fn next(&self) -> Option<i64> {
        self.next
    }

    #[must_use]
    pub fn batch_bytes(&self) -> u32 {
        self.batch_bytes
    }

    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.sent.len()
    }

    /// Records whose fate is not known yet.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.sent.len() - self.answered
    }

    /// Whether both leaders were reached, ever.
    #[must_use]
    pub fn reached(&self) -> (bool, bool) {
        (self.source_reached, self.destination_reached)
    }

    /// Reading can begin at this offset, which is stored already.
    pub fn begin(&mut self, next: i64, now: Duration) {
        self.next = Some(next);
        self.stored = Some(self.stored.unwrap_or(next));
        self.suspect = false;
        self.moved_at = now;
        self.at_end = false;
        self.phase = Phase::Reading;
    }

    pub fn wait(&mut self, why: String) {
        self.phase = Phase::Waiting { why: Some(why) };
    }

    /// The reader was taken away.
    pub fn let_go(&mut self) {
        self.at_end = false;
        if self.phase == Phase::Reading {
            self.phase = Phase::Waiting { why: None };
        }
    }

    pub fn stop(&mut self, reason: String) {
        self.phase = Phase::Stopped { reason };
    }

    /// A stopped lane tries again from its position.
    pub fn retry(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Stopped { .. }) {
            self.phase = Phase::Waiting { why: None };
            self.suspect = self.next.is_some();
            self.batch_bytes = BATCH_BYTES;
            self.moved_at = now;
        }
    }

    pub fn reach_destination(&mut self) {
        self.destination_reached = true;
    }

    /// The reader is at the end of the log.
    pub fn reach_end(&mut self) {
        self.source_reached = true;
        self.at_end = true;
    }

    /// Whether one more record may be sent.
    #[must_use]
    pub fn has_room(&self, share: Share) -> bool {
        self.sent.is_empty() || (self.sent.len() < share.records && self.sent_bytes < share.bytes)
    }

    /// Looks at the next record read; one that is to be sent counts as sent.
    pub fn admit(&mut self, record: Record, now: Duration) -> Admission {
        let due = self.sent.back().map_or(self.next, |last| Some(last.record.offset + 1));
        if self.phase != Phase::Reading || due.is_none_or(|due| record.offset < due) {
            return Admission::Leave;
        }
        self.source_reached = true;
        self.at_end = false;
        if record.timestamp == 0 {
            self.stop(format!(
                "the record at offset {} is stamped 0 (1970-01-01), which this engine cannot keep: librdkafka \
                 would stamp it with the present time; engine=raw keeps it",
                record.offset
            ));
            return Admission::Leave;
        }
        if self.sent.is_empty() {
            self.moved_at = now;
        }
        let sequence = self.first_sequence + self.sent.len() as u64;
        self.sent.push_back(Sent { record, fate: Fate::Awaited });
        self.sent_bytes += record.bytes;
        Admission::Send(sequence)
    }

    /// The destination has the record of this number; the position follows where there is no gap.
    pub fn acknowledge(&mut self, sequence: u64, now: Duration) -> Moved {
        let mut moved = Moved::default();
        self.answer(sequence, Fate::Acknowledged);
        while let Some(Sent { record, fate: Fate::Acknowledged }) = self.sent.front().copied() {
            self.answered -= 1;
            self.sent.pop_front();
            self.first_sequence += 1;
            self.sent_bytes -= record.bytes;
            self.next = Some(record.offset + 1);
            self.newest_timestamp = Some(record.timestamp);
            self.moved_at = now;
            moved.records += 1;
            moved.bytes += record.bytes as u64;
        }
        moved
    }

    /// The record of this number was not delivered. The first one counts: later ones may have failed for it.
    pub fn fail(&mut self, sequence: u64, code: RDKafkaErrorCode) {
        self.answer(sequence, Fate::Failed);
        if self.failure.is_none_or(|(first, _)| sequence < first) {
            self.failure = Some((sequence, code));
        }
    }

    /// The clients are gone: what was not acknowledged will be read again, unless the lane stops here. Returns
    /// whether a refusal changed what the lane does next.
    pub fn settle(&mut self) -> bool {
        let failure = self.failure.take();
        let refused = failure.and_then(|(sequence, code)| Some((self.sent_mut(sequence)?.record, code)));
        let changed = refused.is_some_and(|(record, code)| self.refuse(record, code));
        self.first_sequence += self.sent.len() as u64;
        self.sent.clear();
        (self.sent_bytes, self.answered) = (0, 0);
        self.let_go();
        changed
    }

    fn refuse(&mut self, record: Record, code: RDKafkaErrorCode) -> bool {
        let verdict = judge(code, record.bytes, self.batch_bytes);
        match verdict {
            Verdict::Again => (),
            Verdict::Narrow(bytes) => self.batch_bytes = bytes,
            Verdict::Stop => self.stop(format!(
                "the destination {}-{} refuses the record at offset {} ({} bytes of key and value): {code}",
                self.name.destination, self.name.partition, record.offset, record.bytes
            )),
        }
        verdict != Verdict::Again
    }

    /// What should be stored now.
    #[must_use]
    pub fn unstored(&self) -> Option<i64> {
        self.next.filter(|_| self.next != self.stored)
    }

    pub fn store(&mut self, next: i64) {
        self.stored = Some(next);
    }

    /// Time since it last moved while it has something to do.
    #[must_use]
    pub fn stall_age(&self, now: Duration) -> Duration {
        let idle = self.phase == Phase::Reading && self.at_end && self.sent.is_empty();
        if idle { Duration::ZERO } else { now.saturating_sub(self.moved_at) }
    }

    /// Source offsets left to copy, given the end of the log as far as it is known (−1 or less: not).
    #[must_use]
    pub fn lag_records(&self, log_end: i64) -> i64 {
        let unacknowledged = i64::try_from(self.sent.len()).unwrap_or(i64::MAX);
        match self.next {
            Some(next) if !self.at_end && log_end > next => (log_end - next).max(unacknowledged),
            Some(_) | None => unacknowledged,
        }
    }

    /// When the newest record that was copied was written, in milliseconds since 1970.
    #[must_use]
    pub fn newest_timestamp(&self) -> Option<i64> {
        self.newest_timestamp
    }

    fn answer(&mut self, sequence: u64, fate: Fate) {
        if let Some(sent) = self.sent_mut(sequence)
            && sent.fate == Fate::Awaited
        {
            sent.fate = fate;
            self.answered += 1;
        }
    }

    fn sent_mut(&mut self, sequence: u64) -> Option<&mut Sent> {
        let place = sequence.checked_sub(self.first_sequence)?;
        self.sent.get_mut(usize::try_from(place).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RDKafkaErrorCode as Code;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1);

    fn lane() -> Lane {
        let name = LaneName { source: "s".parse().unwrap(), partition: 3, destination: "d".parse().unwrap() };
        Lane::new(name, LaneStart::Reset, Duration::ZERO)
    }

    fn reading(next: i64) -> Lane {
        let mut lane = lane();
        lane.begin(next, NOW);
        lane
    }

    fn record(offset: i64) -> Record {
        Record { offset, timestamp: 1_000 + offset, bytes: 10 }
    }

    #[test]
    fn the_position_follows_acknowledgements_without_a_gap() {
        let mut lane = reading(5);
        // The source has gaps: 7 and 8 are not there.
        let sequences: Vec<_> = [5, 6, 9, 10].map(|offset| lane.admit(record(offset), NOW)).into();
        assert_eq!(sequences, [0, 1, 2, 3].map(Admission::Send));
        let rows = [(1, 0, 5), (0, 2, 7), (3, 0, 7), (9, 0, 7), (0, 0, 7), (2, 2, 11)];
        for (sequence, records, next) in rows {
            let moved = lane.acknowledge(sequence, NOW);
            assert_eq!((moved.records, moved.bytes), (records, records * 10), "acknowledged {sequence}");
            assert_eq!(lane.next(), Some(next), "acknowledged {sequence}");
        }
        assert_eq!((lane.in_flight(), lane.awaited(), lane.sent_bytes), (0, 0, 0));
        assert_eq!(lane.newest_timestamp(), Some(1_010));
        assert_eq!(lane.unstored(), Some(11));
        lane.store(11);
        assert_eq!(lane.unstored(), None);
    }

    #[test]
    fn a_record_is_sent_once_and_only_while_reading() {
        let mut lane = lane();
        assert_eq!(lane.admit(record(5), NOW), Admission::Leave);
        lane.begin(5, NOW);
        assert_eq!(lane.admit(record(4), NOW), Admission::Leave);
        assert_eq!(lane.admit(record(6), NOW), Admission::Send(0));
        assert_eq!(lane.admit(record(6), NOW), Admission::Leave);
        lane.fail(0, Code::PurgeQueue);
        assert!(!lane.settle());
        assert_eq!(lane.phase(), &Phase::Waiting { why: None });
        lane.begin(lane.next().unwrap(), NOW);
        assert_eq!(lane.admit(record(6), NOW), Admission::Send(1), "numbers are never used again");
        assert_eq!(lane.acknowledge(0, NOW), Moved::default(), "of the clients before");
    }

    #[test]
    fn room_is_bounded_but_one_record_always_fits() {
        let share = Share { records: 5, bytes: 100 };
        let mut lane = reading(0);
        assert!(lane.has_room(share));
        lane.admit(Record { bytes: 300, ..record(0) }, NOW);
        assert!(!lane.has_room(share));
        lane.acknowledge(0, NOW);
        for offset in 1..=5 {
            assert!(lane.has_room(share));
            lane.admit(record(offset), NOW);
        }
        assert!(!lane.has_room(share));
        assert!(lane.has_room(Share { records: 6, ..share }));
    }

    #[test]
    fn lanes_share_what_a_task_may_have() {
        let rows = [(0, 20_000, 4 << 20), (10, 10_000, 4 << 20), (100, 1_000, 503_316), (9_999, 100, 65_536)];
        for (lanes, records, bytes) in rows {
            assert_eq!(Share::of(lanes), Share { records, bytes }, "{lanes} lanes");
        }
    }

    #[test]
    fn a_record_stamped_zero_stops_the_lane_behind_what_came_before() {
        let mut lane = reading(0);
        lane.admit(record(0), NOW);
        assert_eq!(lane.admit(Record { timestamp: 0, ..record(1) }, NOW), Admission::Leave);
        assert_eq!(lane.admit(record(2), NOW), Admission::Leave);
        let Phase::Stopped { reason } = lane.phase() else { panic!("it goes on") };
        assert!(reason.contains("offset 1 ") && reason.contains("engine=raw"), "{reason}");
        lane.acknowledge(0, NOW);
        lane.settle();
        assert_eq!(lane.next(), Some(1));
        assert!(matches!(lane.phase(), Phase::Stopped { .. }));
        assert_eq!(reading(0).admit(Record { timestamp: -1, ..record(0) }, NOW), Admission::Send(0));
    }

    #[test]
    fn a_refusal_is_narrowed_down_and_then_stops_the_lane_with_the_record() {
        let mut lane = reading(0);
        for batch in [BATCH_BYTES, 125_000, 15_625, 1_953, 244, 30, 3] {
            assert_eq!(lane.batch_bytes(), batch);
            let Admission::Send(first) = lane.admit(record(0), NOW) else { panic!("not sent") };
            lane.admit(record(1), NOW);
            lane.fail(first + 1, Code::PurgeQueue);
            lane.fail(first, Code::MessageSizeTooLarge);
            assert!(lane.settle());
            if matches!(lane.phase(), Phase::Waiting { .. }) {
                lane.begin(0, NOW);
            }
        }
        let Phase::Stopped { reason } = lane.phase() else { panic!("it goes on") };
        assert!(
            ["d-3", "offset 0", "10 bytes", "MessageSizeTooLarge"].iter().all(|part| reason.contains(part))
        );
        lane.retry(NOW);
        assert_eq!((lane.phase(), lane.suspect), (&Phase::Waiting { why: None }, true));
        assert_eq!(lane.batch_bytes(), BATCH_BYTES);
    }

    #[test]
    fn a_failure_is_an_answer_and_nothing_moves_past_it() {
        let mut lane = reading(0);
        for offset in 0..3 {
            assert_eq!(lane.admit(record(offset), NOW), Admission::Send(offset as u64));
        }
        lane.fail(1, Code::PurgeQueue);
        lane.fail(1, Code::PurgeQueue);
        assert_eq!(lane.awaited(), 2);
        lane.acknowledge(2, NOW);
        lane.acknowledge(0, NOW);
        lane.acknowledge(1, NOW);
        assert_eq!((lane.awaited(), lane.in_flight(), lane.next()), (0, 2, Some(1)));
    }

    #[test]
    fn only_a_stopped_lane_is_retried() {
        let mut lane = reading(0);
        lane.retry(NOW);
        assert_eq!(lane.phase(), &Phase::Reading);
    }

    #[test]
    fn it_stalls_only_while_it_has_something_to_do() {
        let (later, age) = (Duration::from_secs(11), Duration::from_secs(10));
        let mut lane = reading(0);
        assert_eq!(lane.stall_age(later), age, "nothing was read yet");
        lane.reach_end();
        assert_eq!(lane.stall_age(later), Duration::ZERO);
        lane.admit(record(0), later);
        assert_eq!(lane.stall_age(later + age), age, "since the record was sent");
        lane.acknowledge(0, later);
        assert_eq!(lane.reached(), (true, false));
    }

    #[test]
    fn lag_counts_to_the_end_of_the_log_unless_the_end_was_read() {
        let mut lane = reading(10);
        assert_eq!(lane.lag_records(-1), 0);
        assert_eq!(lane.lag_records(15), 5);
        lane.admit(record(10), NOW);
        assert_eq!(lane.lag_records(10), 1, "what is known of the end is older");
        lane.acknowledge(0, NOW);
        lane.reach_end();
        assert_eq!(lane.lag_records(12), 0, "only control records are left");
    }

    proptest! {
        /// Whatever comes back in whatever order: the position is the end of the acknowledged prefix.
        #[test]
        fn the_position_is_the_end_of_the_acknowledged_prefix(
            gaps in proptest::collection::vec(1i64..4, 1..40),
            order in proptest::collection::vec(0usize..40, 0..60),
        ) {
            let mut lane = reading(0);
            let offsets: Vec<i64> =
                gaps.iter().scan(0, |offset, gap| { *offset += gap; Some(*offset) }).collect();
            for offset in &offsets {
                lane.admit(record(*offset), NOW);
            }
            prop_assert_eq!(lane.awaited(), offsets.len());
            let mut acknowledged = vec![false; offsets.len()];
            let mut records = 0;
            for sequence in order {
                if let Some(done) = acknowledged.get_mut(sequence) {
                    *done = true;
                }
                records += lane.acknowledge(sequence as u64, NOW).records;
                let prefix = acknowledged.iter().take_while(|done| **done).count();
                let expected = prefix.checked_sub(1).map_or(0, |last| offsets[last] + 1);
                prop_assert_eq!(lane.next(), Some(expected));
                prop_assert_eq!(records, prefix as u64);
                prop_assert_eq!(lane.in_flight(), offsets.len() - prefix);
                prop_assert_eq!(lane.awaited(), acknowledged.iter().filter(|done| !**done).count());
            }
        }
    }
}
