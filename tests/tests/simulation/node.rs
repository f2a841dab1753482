//! Who takes part, the life of a process, and its clock.

use std::fmt;

use crate::queue::Happening;

/// A place that messages come from and go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    Store,
    Replica(usize),
    Agent(usize),
    User,
    /// Of both clusters, and the store of positions.
    Brokers,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.pad("store"),
            Self::Replica(index) => f.pad(&format!("replica-{index}")),
            Self::Agent(index) => f.pad(&format!("agent-{index}")),
            Self::User => f.pad("user"),
            Self::Brokers => f.pad("brokers"),
        }
    }
}

/// Counts its own milliseconds: it began somewhere, and goes a little fast or slow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    pub began_at: u64,
    pub drift_per_mille: i64,
}

impl Clock {
    /// What it shows at a true moment.
    pub fn shows(self, now: u64) -> u64 {
        self.began_at + now * self.rate() / 1_000
    }

    /// The true moment at which it shows that; in the past: the beginning.
    pub fn when(self, shown: u64) -> u64 {
        shown.saturating_sub(self.began_at).saturating_mul(1_000).div_ceil(self.rate())
    }

    fn rate(self) -> u64 {
        1_000_u64.saturating_add_signed(self.drift_per_mille)
    }
}

/// A process of a node, one after the other.
#[derive(Debug, Clone)]
pub struct Process {
    pub node: Node,
    /// Counts its processes.
    pub life: u64,
    pub is_up: bool,
    pub is_paused: bool,
    /// What happened to it while it was paused.
    pub held: Vec<Happening>,
    pub clock: Clock,
}

impl Process {
    pub fn new(node: Node, clock: Clock) -> Self {
        Self { node, life: 0, is_up: false, is_paused: false, held: Vec::new(), clock }
    }

    pub fn begin(&mut self) {
        self.life += 1;
        self.is_up = true;
        self.is_paused = false;
        self.held.clear();
    }

    pub fn end(&mut self) {
        self.is_up = false;
        self.is_paused = false;
        self.held.clear();
    }
}
