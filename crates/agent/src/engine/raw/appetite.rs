//! How much one broker of the source is asked for at once, and how much is read ahead of its lanes. Pure.
//!
//! Too much is as bad as too little: bytes that wait long before they are sent have left the caches by then, and each
//! of them is fetched from memory once more. So a fetch asks for about what the L2 cache holds, and a lane reads no
//! further ahead than keeps its requests full. A source that is far away is asked for more, since there is one fetch
//! under way at a time.

use std::time::Duration;

/// About what a core's L2 cache holds.
const RESPONSE_BYTES_MIN: usize = 1 << 20;
const RESPONSE_BYTES_MAX: usize = 16 << 20;
/// The least that is asked for of one partition.
const PARTITION_BYTES_MIN: usize = 64 << 10;
/// Kafka counts them in an `int32`.
const PARTITION_BYTES_MAX: usize = 1 << 30;
/// An answer that takes longer while every lane waits for it should have brought more.
const FAR: Duration = Duration::from_millis(20);
/// An answer that comes sooner may bring less.
const NEAR: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appetite {
    response_bytes: usize,
    /// How many lanes shared a fetch, at most.
    lanes: usize,
}

/// How an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    pub took: Duration,
    /// Its lanes had nothing else to do meanwhile, and the source has more for them.
    pub starving: bool,
}

impl Default for Appetite {
    fn default() -> Self {
        Self { response_bytes: RESPONSE_BYTES_MIN, lanes: 1 }
    }
}

impl Appetite {
    /// What one answer may bring.
    #[must_use]
    pub fn response_bytes(&self) -> usize {
        self.response_bytes
    }

    /// What one answer may bring of a partition whose largest batch had so many bytes: an even part of the answer, so
    /// that each brings something for every lane; a power of two, as the session tells the broker of each change.
    #[must_use]
    pub fn partition_bytes(&self, largest_batch_bytes: usize) -> usize {
        let share = (self.response_bytes / self.lanes).max(PARTITION_BYTES_MIN);
        let rounded_down = 1 << share.ilog2();
        largest_batch_bytes.next_power_of_two().max(rounded_down).min(PARTITION_BYTES_MAX)
    }

    /// Nothing is fetched for a lane that has so many bytes waiting, when the agent's budget lets it have `share_bytes`.
    #[must_use]
    pub fn ahead_bytes(&self, largest_batch_bytes: usize, share_bytes: usize) -> usize {
        // While one answer's part goes out, the next one's is here.
        (2 * self.partition_bytes(largest_batch_bytes)).min(share_bytes).max(largest_batch_bytes)
    }

    pub fn shared_by(&mut self, lanes: usize) {
        self.lanes = self.lanes.max(lanes);
    }

    /// What an answer teaches, when the agent's budget is of `budget_bytes`.
    pub fn learn(&mut self, served: Served, budget_bytes: usize) {
        let max = RESPONSE_BYTES_MAX.min(budget_bytes / 4).max(RESPONSE_BYTES_MIN);
        if served.took > FAR && served.starving {
            self.response_bytes = (self.response_bytes * 2).min(max);
        } else if served.took < NEAR {
            self.response_bytes = (self.response_bytes / 2).max(RESPONSE_BYTES_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const BUDGET: usize = 256 * MIB;

    fn of(lanes: usize) -> Appetite {
        let mut appetite = Appetite::default();
        appetite.shared_by(lanes);
        appetite
    }

    fn after(answers: &[(u64, bool)], budget_bytes: usize) -> usize {
        let mut appetite = Appetite::default();
        for (took_ms, starving) in answers {
            let served = Served { took: Duration::from_millis(*took_ms), starving: *starving };
            appetite.learn(served, budget_bytes);
        }
        appetite.response_bytes()
    }

    #[test]
    fn a_partition_gets_its_part_and_at_least_its_largest_batch() {
        assert_eq!(of(1).partition_bytes(0), MIB);
        assert_eq!(of(5).partition_bytes(1_000), 128 << 10, "a fifth, rounded down to a power of two");
        assert_eq!(of(2_000).partition_bytes(1_000), 64 << 10, "not less");
        assert_eq!(of(2_000).partition_bytes(5 * MIB), 8 * MIB, "a batch comes whole");
        assert_eq!(of(1).partition_bytes(usize::MAX / 4), 1 << 30);
    }

    #[test]
    fn a_lane_reads_no_further_ahead_than_keeps_it_busy() {
        assert_eq!(of(1).ahead_bytes(0, BUDGET), 2 * MIB);
        assert_eq!(of(5).ahead_bytes(1_000, BUDGET), 256 << 10);
        assert_eq!(of(5).ahead_bytes(MIB, BUDGET), 2 * MIB, "two batches");
        assert_eq!(of(5).ahead_bytes(MIB, 1_500_000), 1_500_000, "no more than its part of the budget");
        assert_eq!(of(5).ahead_bytes(MIB, 100), MIB, "but one batch, or it would never go on");
    }

    #[test]
    fn lanes_that_left_leave_their_room() {
        let mut appetite = of(10);
        appetite.shared_by(3);
        assert_eq!(appetite, of(10), "the broker is not told anew each time that some have enough");
    }

    #[test]
    fn a_source_far_away_is_asked_for_more_at_once() {
        assert_eq!(after(&[(21, true)], BUDGET), 2 * MIB);
        assert_eq!(after(&[(20, true)], BUDGET), MIB, "near enough");
        assert_eq!(after(&[(100, false)], BUDGET), MIB, "the destination is what it waits for");
        assert_eq!(after(&[(100, true); 9], BUDGET), 16 * MIB, "bounded");
        assert_eq!(after(&[(100, true); 9], 8 * MIB), 2 * MIB, "a quarter of the budget");
        assert_eq!(after(&[(100, true); 9], 1), MIB, "or the least");
    }

    #[test]
    fn a_source_that_is_near_again_is_asked_for_less() {
        let far = [(100, true), (100, true)];
        assert_eq!(after(&[far[0], far[1], (10, false)], BUDGET), 4 * MIB);
        assert_eq!(after(&[far[0], far[1], (4, true)], BUDGET), 2 * MIB);
        assert_eq!(after(&[far[0], far[1], (4, false), (4, false), (4, false)], BUDGET), MIB);
    }
}
