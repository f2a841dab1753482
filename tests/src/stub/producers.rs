//! What a partition remembers of its producers, and what it says to a batch: a broker's rules (Kafka 4.3, from its
//! `ProducerAppendInfo` and `ProducerStateEntry`), without transactions.

use std::collections::{BTreeMap, VecDeque};

use super::code;

/// Batches of a producer that a broker knows again.
const REMEMBERED_BATCHES: usize = 5;

/// A batch, as far as it counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub producer_id: i64,
    pub epoch: i16,
    pub first_sequence: i32,
    /// Records − 1.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970.
    pub max_timestamp: i64,
}

impl Appended {
    fn last_sequence(&self) -> i32 {
        advance(self.first_sequence, self.last_offset_delta)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Append,
    /// One of the last five again: answered with its offset, not appended.
    Duplicate {
        base_offset: i64,
    },
    Refuse(i16),
}

#[derive(Clone, Debug, Default)]
pub struct Producers {
    by_id: BTreeMap<i64, Producer>,
}

#[derive(Clone, Debug)]
pub struct Producer {
    pub epoch: i16,
    pub last_sequence: i32,
    pub last_timestamp: i64,
    batches: VecDeque<Remembered>,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

impl Producers {
    /// `strict`: an unknown producer must begin with sequence 0, as before Kafka 2.5.
    pub fn judge(&self, batch: &Appended, strict: bool) -> Verdict {
        let Some(producer) = self.by_id.get(&batch.producer_id) else {
            let refused = strict && batch.first_sequence != 0;
            return if refused { Verdict::Refuse(code::UNKNOWN_PRODUCER_ID) } else { Verdict::Append };
        };
        if batch.epoch < producer.epoch {
            return Verdict::Refuse(code::INVALID_PRODUCER_EPOCH);
        }
        let expected = if batch.epoch > producer.epoch {
            0
        } else {
            let same = |known: &&Remembered| {
                known.first_sequence == batch.first_sequence && known.last_sequence == batch.last_sequence()
            };
            if let Some(known) = producer.batches.iter().find(same) {
                return Verdict::Duplicate { base_offset: known.base_offset };
            }
            advance(producer.last_sequence, 1)
        };
        if batch.first_sequence == expected {
            Verdict::Append
        } else {
            Verdict::Refuse(code::OUT_OF_ORDER_SEQUENCE_NUMBER)
        }
    }

    pub fn remember(&mut self, batch: &Appended, base_offset: i64) {
        let last_sequence = batch.last_sequence();
        let new =
            || Producer { epoch: batch.epoch, last_sequence, last_timestamp: 0, batches: VecDeque::new() };
        let producer = self.by_id.entry(batch.producer_id).or_insert_with(new);
        if producer.epoch != batch.epoch {
            *producer = new();
        }
        producer.last_sequence = last_sequence;
        producer.last_timestamp = batch.max_timestamp;
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        let first_sequence = batch.first_sequence;
        producer.batches.push_back(Remembered { first_sequence, last_sequence, base_offset });
    }

    /// As after an expiry, or a deletion of the topic.
    pub fn forget_all(&mut self) {
        self.by_id.clear();
    }

    pub fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }
}

/// Sequences go on with 0 after 2^31 − 1.
fn advance(sequence: i32, by: i32) -> i32 {
    sequence.wrapping_add(by) & i32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, first_sequence: i32, records: i32) -> Appended {
        Appended { producer_id: 7, epoch, first_sequence, last_offset_delta: records - 1, max_timestamp: 0 }
    }

    #[test]
    fn a_batch_is_judged_as_by_a_broker() {
        let mut producers = Producers::default();
        for (at, first) in [0, 10, 20, 30, 40, 50].into_iter().enumerate() {
            producers.remember(&batch(1, first, 10), at as i64 * 10);
        }
        let refused = Verdict::Refuse(code::OUT_OF_ORDER_SEQUENCE_NUMBER);
        for (given, expected) in [
            (batch(1, 60, 1), Verdict::Append),
            (batch(1, 61, 1), refused),
            (batch(1, 59, 2), refused),
            (batch(1, 50, 10), Verdict::Duplicate { base_offset: 50 }),
            (batch(1, 10, 10), Verdict::Duplicate { base_offset: 10 }),
            // The sixth is forgotten; other boundaries are no duplicate.
            (batch(1, 0, 10), refused),
            (batch(1, 50, 9), refused),
            (batch(0, 60, 1), Verdict::Refuse(code::INVALID_PRODUCER_EPOCH)),
            (batch(2, 0, 1), Verdict::Append),
            (batch(2, 60, 1), refused),
        ] {
            assert_eq!(producers.judge(&given, false), expected, "{given:?}");
        }
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere_unless_the_broker_is_old() {
        let producers = Producers::default();
        assert_eq!(producers.judge(&batch(0, 1000, 1), false), Verdict::Append);
        let refused = Verdict::Refuse(code::UNKNOWN_PRODUCER_ID);
        assert_eq!(producers.judge(&batch(0, 1000, 1), true), refused);
        assert_eq!(producers.judge(&batch(0, 0, 1), true), Verdict::Append);
    }

    #[test]
    fn sequences_wrap() {
        let mut producers = Producers::default();
        producers.remember(&batch(0, i32::MAX - 1, 4), 0);
        assert_eq!(producers.judge(&batch(0, 2, 1), false), Verdict::Append);
        assert_eq!(producers.judge(&batch(0, i32::MAX - 1, 4), false), Verdict::Duplicate { base_offset: 0 });
    }
}
