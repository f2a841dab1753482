//! How a resuming lane tells what is at the destination: from the broker's memory, the log's tail, or its length.

use copyist_model::{LaneRecord, Position};
use copyist_wire::sequence;

use crate::event::{Evidence, ProducerState, TailBatch};

/// Epoch of every producer id without a transactional id.
pub const PRODUCER_EPOCH: i16 = 0;

/// The number of the first record that the destination does not hold yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    pub n: i64,
    pub evidence: Evidence,
}

/// The next n by DescribeProducers. `None`: the state is of somebody else's epoch.
#[must_use]
pub fn from_state(record: &LaneRecord, near_n: i64, state: &ProducerState) -> Option<Next> {
    (state.epoch == PRODUCER_EPOCH).then(|| Next {
        n: sequence::unwrap(sequence::add(state.last_sequence, 1), near_n, record.base_n),
        evidence: Evidence::DescribeProducers,
    })
}

/// What a batch at the tail says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// The last of ours.
    Ours(Next),
    /// Control or foreign: look at the batch that ends before this offset.
    LookBefore(i64),
    /// The batch begins beyond the offset asked for: that part of the log was compacted away.
    Gap,
}

/// Judges the batch found when looking at `offset`.
#[must_use]
pub fn from_tail(record: &LaneRecord, near_n: i64, offset: i64, batch: &TailBatch) -> Tail {
    if batch.base_offset > offset {
        return Tail::Gap;
    }
    let ours = batch.producer_id == record.producer_id && batch.producer_epoch == PRODUCER_EPOCH;
    if batch.control || !ours {
        return Tail::LookBefore(batch.base_offset);
    }
    let next_sequence = sequence::add(batch.base_sequence, batch.last_offset - batch.base_offset + 1);
    let n = sequence::unwrap(next_sequence, near_n, record.base_n);
    Tail::Ours(Next { n, evidence: Evidence::Tail })
}

/// The next n by the destination's end, exact where the lane is the only writer.
#[must_use]
pub fn by_arithmetic(record: &LaneRecord, log_end: i64) -> i64 {
    record.base_n + log_end - record.base_offset
}

/// The destination offset of record `n`, exact where the lane is the only writer.
#[must_use]
pub fn offset_of(record: &LaneRecord, n: i64) -> i64 {
    record.base_offset + n - record.base_n
}

/// What is known when the tail, searched back to the position, has nothing of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    Next(Next),
    /// The log is longer than ours alone: others write here.
    Foreign {
        expected_offset: i64,
    },
    /// Others write here and the tail is not whole: nobody can tell.
    Unknowable,
}

/// How far the tail could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trail {
    /// Back to the position.
    Whole,
    /// Not even its last batch is there any more.
    Gone,
    /// Its last batches are not ours, and those before them are gone.
    Broken,
}

#[must_use]
pub fn without_traces(record: &LaneRecord, position: &Position, log_end: i64, trail: Trail) -> Nothing {
    let by_length = by_arithmetic(record, log_end);
    let next = |n| Nothing::Next(Next { n, evidence: Evidence::Arithmetic });
    match (record.shared, trail) {
        (true, Trail::Whole) => next(position.n),
        // The length proves nothing where others were seen to add to it.
        (true, Trail::Gone | Trail::Broken) | (false, Trail::Broken) => Nothing::Unknowable,
        // Nothing of ours was found where something lies: it is somebody else's.
        (false, Trail::Whole) if by_length > position.n => {
            Nothing::Foreign { expected_offset: offset_of(record, position.n) }
        }
        (false, Trail::Whole | Trail::Gone) => next(by_length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copyist_model::{Engine, LaneEnd, LaneGeneration, LaneId, TopicId};

    fn record(shared: bool) -> LaneRecord {
        let cluster: copyist_model::ClusterId = "c".parse().unwrap();
        let topic: copyist_model::TopicName = "t".parse().unwrap();
        let end =
            LaneEnd { cluster: cluster.clone(), topic: topic.clone(), topic_id: TopicId::NONE, partition: 0 };
        LaneRecord {
            lane: LaneId { connector: "x".parse().unwrap(), source_cluster: cluster, topic, partition: 0 },
            generation: LaneGeneration(1),
            engine: Engine::Raw,
            source: end.clone(),
            destination: end,
            producer_id: 9,
            base_n: 100,
            base_offset: 1000,
            base_source_offset: 0,
            shared,
        }
    }

    fn position(n: i64) -> Position {
        Position {
            generation: LaneGeneration(1),
            next_offset: n,
            leader_epoch: 0,
            n,
            destination_offset: 1000 + n - 100,
        }
    }

    fn batch(base_offset: i64, last_offset: i64, producer_id: i64) -> TailBatch {
        let base_sequence = i32::try_from(base_offset - 1000).unwrap();
        TailBatch { base_offset, last_offset, producer_id, producer_epoch: 0, base_sequence, control: false }
    }

    #[test]
    fn the_state_gives_the_next_n_nearest_to_the_position() {
        let state = |epoch, last_sequence| ProducerState { epoch, last_sequence, last_timestamp: 0 };
        let next = |n| Some(Next { n, evidence: Evidence::DescribeProducers });
        assert_eq!(from_state(&record(false), 120, &state(0, 29)), next(130));
        assert_eq!(from_state(&record(false), 120, &state(0, 9)), next(110));
        assert_eq!(from_state(&record(false), 120, &state(1, 29)), None);
        let wrapped = 100 + (1 << 31) + 5;
        assert_eq!(from_state(&record(false), wrapped - 10, &state(0, 4)), next(wrapped));
        assert_eq!(from_state(&record(false), wrapped - 10, &state(0, i32::MAX)), next(100 + (1 << 31)));
    }

    #[test]
    fn the_tail_is_searched_back_to_the_last_batch_of_ours() {
        let ours = batch(1020, 1029, 9);
        let next = Next { n: 130, evidence: Evidence::Tail };
        let rows = [
            ("ours", ours, Tail::Ours(next)),
            ("foreign", batch(1020, 1029, 8), Tail::LookBefore(1020)),
            ("without producer", batch(1020, 1029, -1), Tail::LookBefore(1020)),
            ("another epoch", TailBatch { producer_epoch: 1, ..ours }, Tail::LookBefore(1020)),
            ("control", TailBatch { control: true, ..ours }, Tail::LookBefore(1020)),
            ("beyond", batch(1030, 1031, 9), Tail::Gap),
        ];
        for (label, batch, expected) in rows {
            assert_eq!(from_tail(&record(false), 120, 1029, &batch), expected, "{label}");
        }
    }

    #[test]
    fn without_traces_the_length_decides_where_we_are_alone() {
        let next = |n| Nothing::Next(Next { n, evidence: Evidence::Arithmetic });
        let rows = [
            ("alone, nothing came", false, 1020, Trail::Whole, next(120)),
            ("alone, tail deleted", false, 1030, Trail::Gone, next(130)),
            ("alone, log too short", false, 1010, Trail::Whole, next(110)),
            ("alone, log too long", false, 1030, Trail::Whole, Nothing::Foreign { expected_offset: 1020 }),
            ("others last, ours deleted", false, 1030, Trail::Broken, Nothing::Unknowable),
            ("shared, nothing came", true, 1030, Trail::Whole, next(120)),
            ("shared, tail deleted", true, 1030, Trail::Gone, Nothing::Unknowable),
            ("shared, others last", true, 1030, Trail::Broken, Nothing::Unknowable),
        ];
        for (label, shared, log_end, trail, expected) in rows {
            let found = without_traces(&record(shared), &position(120), log_end, trail);
            assert_eq!(found, expected, "{label}");
        }
    }
}
