//! What kind of run: how many take part, how often what fails.

use copyist_coordinator::core::Patience;

use crate::brokers::Times;
use crate::dice::Dice;

pub const REPLICAS: usize = 3;
/// Rights of agents.
pub const TTL_MS: u64 = 10_000;
pub const MARGIN_MS: u64 = 7_000;
/// A write that was sent under a right arrives by then after it, or never: its connection is aborted.
pub const IN_FLIGHT_MS: u64 = 4_000;
/// After which silence of an agent its parts go to others.
pub const SUSPECT_MS: u64 = 1_500;
pub const LEADER_TTL_MS: u64 = 2_500;
/// How long whoever asks the store waits for its answer.
pub const STORE_PATIENCE_MS: u64 = 2_000;

#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub agents: usize,
    pub connectors: usize,
    /// True milliseconds until everything heals.
    pub storm_ms: u64,
    /// Between two faults, on average.
    pub fault_every_ms: u64,
    /// Of a hundred faults so many are a pause of an agent that has just asked for its rights.
    pub pauses_after_asking: u64,
    /// Of a hundred messages so many are lost.
    pub loss: u64,
    /// And of a hundred answers to whoever had an agent's lease granted so many.
    pub lost_grants: u64,
    /// And so many are very late.
    pub late: u64,
    /// Of a hundred commands so many are delivered twice.
    pub duplicates: u64,
    /// Leases end early or late, and not almost on time.
    pub odd_leases: bool,
    /// Agents' clocks go so many per mille fast or slow, at most.
    pub drift_per_mille: i64,
    /// How long an agent goes on by itself after its right.
    pub autonomy_ms: u64,
    /// Whether the store is lost once, and restored from a copy.
    pub restores: bool,
    /// Whether tasks copy records, or only say so.
    pub copies: bool,
    pub times: Times,
    /// Of a hundred positions so many are not acknowledged; half of these are stored later.
    pub lost_positions: u64,
    /// Offsets without a record.
    pub has_holes: bool,
    /// Whether an operator moves parts.
    pub moves: bool,
}

impl Options {
    /// As the coordinator's driver has it.
    pub fn patience(&self) -> Patience {
        let by_itself = TTL_MS + self.autonomy_ms;
        Patience { suspect_ms: SUSPECT_MS, released_after_ms: by_itself + by_itself / 50 + MARGIN_MS }
    }
}

impl Options {
    pub fn draw(dice: &mut Dice) -> Self {
        let restores = dice.percent(8);
        Self {
            agents: 2 + dice.index(3),
            connectors: 1 + dice.index(3),
            storm_ms: 30_000 + dice.below(40_000) + if restores { 40_000 } else { 0 },
            restores,
            fault_every_ms: [1_500, 4_000, 10_000][dice.index(3)],
            pauses_after_asking: 4,
            loss: [0, 1, 3][dice.index(3)],
            lost_grants: [0, 3, 30][dice.index(3)],
            late: [0, 1, 4][dice.index(3)],
            duplicates: [0, 10, 30][dice.index(3)],
            odd_leases: dice.percent(40),
            drift_per_mille: [0, 3, 10][dice.index(3)],
            autonomy_ms: [0, 5_000, 25_000][dice.index(3)],
            copies: dice.percent(60),
            times: [Times::Fresh, Times::Old, Times::Old, Times::Turning][dice.index(4)],
            lost_positions: 3,
            has_holes: dice.percent(50),
            moves: false,
        }
    }
}
