//! The leader of one destination partition, as `fence.md` measured it.

use std::collections::{BTreeMap, VecDeque};

use copyist_lane::{ProducerState, TailBatch};

pub const EXPIRATION_MS: i64 = 24 * 3_600_000;
const REMEMBERED_BATCHES: usize = 5;
const MODULUS: i64 = 1 << 31;

/// A batch in the log. `records` are source offsets; empty for somebody else's, which has `count` records.
#[derive(Debug, Clone)]
pub struct Batch {
    pub base_offset: i64,
    pub count: i64,
    pub producer_id: i64,
    pub base_sequence: i64,
    pub max_timestamp: i64,
    pub records: Vec<i64>,
}

#[derive(Debug, Clone)]
struct State {
    last_sequence: i64,
    last_timestamp: i64,
    /// First and last sequence, original base offset.
    recent: VecDeque<(i64, i64, i64)>,
}

#[derive(Debug, Clone)]
pub struct Partition {
    pub batches: Vec<Batch>,
    pub log_start: i64,
    pub high_watermark: i64,
    pub topic_id: u128,
    states: BTreeMap<i64, State>,
}

impl Default for Partition {
    fn default() -> Self {
        Self { batches: Vec::new(), log_start: 0, high_watermark: 0, topic_id: 1, states: BTreeMap::new() }
    }
}

impl Partition {
    pub fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.base_offset + batch.count)
    }

    /// The base offset: of this batch, or of the one of which it is a resend. Otherwise the error code.
    pub fn append(&mut self, mut batch: Batch) -> Result<i64, i16> {
        let first = batch.base_sequence;
        let last = (first + batch.count - 1) % MODULUS;
        if let Some(state) = self.states.get(&batch.producer_id) {
            if let Some(&(_, _, offset)) = state.recent.iter().find(|(f, l, _)| (*f, *l) == (first, last)) {
                return Ok(offset);
            }
            if first != (state.last_sequence + 1) % MODULUS {
                return Err(45);
            }
        }
        batch.base_offset = self.end();
        self.remember(&batch);
        let offset = batch.base_offset;
        self.batches.push(batch);
        Ok(offset)
    }

    fn remember(&mut self, batch: &Batch) {
        if batch.producer_id < 0 {
            return;
        }
        let last = (batch.base_sequence + batch.count - 1) % MODULUS;
        let state = self.states.entry(batch.producer_id).or_insert_with(|| State {
            last_sequence: last,
            last_timestamp: batch.max_timestamp,
            recent: VecDeque::new(),
        });
        state.last_sequence = last;
        state.last_timestamp = batch.max_timestamp;
        state.recent.push_back((batch.base_sequence, last, batch.base_offset));
        if state.recent.len() > REMEMBERED_BATCHES {
            state.recent.pop_front();
        }
    }

    pub fn append_foreign(&mut self, count: i64) {
        let batch = Batch {
            base_offset: self.end(),
            count,
            producer_id: -1,
            base_sequence: -1,
            max_timestamp: 0,
            records: Vec::new(),
        };
        self.batches.push(batch);
        self.replicate();
    }

    pub fn replicate(&mut self) {
        self.high_watermark = self.end();
    }

    /// The expiry tick, and what a restart does as well: how many producers were forgotten.
    pub fn expire(&mut self, wall_ms: i64) -> usize {
        let before = self.states.len();
        self.states.retain(|_, state| state.last_timestamp + EXPIRATION_MS > wall_ms);
        before - self.states.len()
    }

    /// Another replica leads: it has what is replicated, and its own memory of it.
    pub fn change_leader(&mut self, wall_ms: i64, unclean: i64) {
        let end = self.high_watermark - unclean;
        // What was there before the lane is old enough to be on every replica.
        let is_old = |batch: &Batch| batch.producer_id < 0 && unclean > 0;
        self.batches.retain(|batch| batch.base_offset < end || is_old(batch));
        self.high_watermark = self.end();
        self.states.clear();
        for batch in self.batches.clone() {
            self.remember(&batch);
        }
        self.expire(wall_ms);
    }

    pub fn recreate(&mut self) {
        *self = Self { topic_id: self.topic_id + 1, ..Self::default() };
    }

    pub fn delete_records(&mut self) {
        self.log_start = self.high_watermark;
    }

    pub fn state(&self, producer_id: i64) -> Option<ProducerState> {
        self.states.get(&producer_id).map(|state| ProducerState {
            epoch: 0,
            last_sequence: i32::try_from(state.last_sequence).expect("below 2^31"),
            last_timestamp: state.last_timestamp,
        })
    }

    pub fn tail(&self, offset: i64) -> Option<TailBatch> {
        if offset < self.log_start {
            return None;
        }
        let batch = self.batches.iter().rev().find(|batch| batch.base_offset <= offset)?;
        Some(TailBatch {
            base_offset: batch.base_offset,
            last_offset: batch.base_offset + batch.count - 1,
            producer_id: batch.producer_id,
            producer_epoch: 0,
            base_sequence: i32::try_from(batch.base_sequence).expect("below 2^31"),
            control: false,
        })
    }

    /// Source offsets of our records, in the order of the log.
    pub fn copied(&self) -> impl Iterator<Item = i64> + '_ {
        self.batches.iter().flat_map(|batch| batch.records.iter().copied())
    }

    /// The same, of a range of destination offsets.
    pub fn copied_between(&self, from: i64, to: i64) -> Vec<i64> {
        let all =
            self.batches.iter().flat_map(|batch| (batch.base_offset..).zip(batch.records.iter().copied()));
        all.filter(|(offset, _)| (from..to).contains(offset)).map(|(_, record)| record).collect()
    }
}
