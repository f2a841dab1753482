//! The source log, and what must be at the destination because of it.

use crate::broker::EXPIRATION_MS;
use crate::options::Times;
use crate::world::{WALL_START_MS, World};

/// A record's key is its offset modulo this.
const KEYS: usize = 4;

impl World {
    pub fn grow_source(&mut self, records: u64) {
        for _ in 0..records {
            let hole = self.options.holes && self.dice.percent(12);
            let fresh = self.wall_ms();
            let old = WALL_START_MS - 2 * EXPIRATION_MS + self.source_end();
            let timestamp = match self.options.times {
                Times::Fresh => fresh,
                Times::Old => old,
                Times::Turning if self.source.len() < 20 => old,
                Times::Turning => fresh,
            };
            self.source.push((!hole).then_some(timestamp));
        }
    }

    pub fn timestamp(&self, offset: i64) -> Option<i64> {
        usize::try_from(offset).ok().and_then(|at| self.source.get(at).copied().flatten())
    }

    /// The destination holds the source's records in order, once each.
    pub fn check_order(&mut self) {
        let Some(first) = self.first_offset.filter(|_| !self.options.compacted) else { return };
        let (mut batches, mut expected) = self.compared;
        // A new leader may have less than was compared.
        if batches > self.partition.batches.len() || batches == 0 {
            (batches, expected) = (0, first);
        }
        for batch in &self.partition.batches[batches..] {
            for &found in &batch.records {
                while expected < self.source_end() && self.timestamp(expected).is_none() {
                    expected += 1;
                }
                if found != expected && self.damaged.is_none() {
                    self.damaged = Some(format!("source offset {found} arrived where {expected} belongs"));
                }
                expected = found + 1;
            }
        }
        self.compared = (self.partition.batches.len(), expected);
    }

    /// A new leader has other batches than were compared: what was wrong may be gone.
    pub fn compare_anew(&mut self) {
        self.compared = (0, 0);
        self.damaged = None;
    }

    /// The source's cleaner: before an offset, only the last record of each key stays.
    pub fn clean_source(&mut self, up_to: usize) {
        let up_to = up_to.min(self.source.len());
        for at in 0..up_to {
            let key = at % KEYS;
            let superseded = (at + 1..up_to).any(|later| later % KEYS == key && self.source[later].is_some());
            if superseded {
                self.source[at] = None;
            }
        }
    }

    /// A compacted source: each record left was copied, and the last of each key is the last there as well.
    pub fn folds_alike(&self) -> bool {
        let copied: Vec<i64> = self.partition.copied().collect();
        let left: Vec<i64> = (0..self.source_end()).filter(|at| self.timestamp(*at).is_some()).collect();
        let last_of = |records: &[i64]| -> Vec<Option<i64>> {
            let keys = 0..i64::try_from(KEYS).expect("small");
            let modulus = keys.end;
            keys.map(|key| records.iter().rev().copied().find(|at| at % modulus == key)).collect()
        };
        left.iter().all(|at| copied.contains(at)) && last_of(&copied) == last_of(&left)
    }

    /// Records that should have arrived in the end.
    pub fn expected(&self) -> usize {
        let first = self.first_offset.unwrap_or(0);
        (first..self.source_end()).filter(|at| self.timestamp(*at).is_some()).count()
    }
}
