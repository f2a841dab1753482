//! What everybody shares: time, chance, the network, the trace.

use std::collections::BTreeMap;

use copyist_model::TopicName;

use crate::breaks::Breaks;
use crate::brokers::Brokers;
use crate::dice::Dice;
use crate::invariants::Fact;
use crate::link::Link;
use crate::network::Network;
use crate::node::{Node, Process};
use crate::options::Options;
use crate::queue::{Happening, Queue, Timer};
use crate::trace::Trace;

/// The wall clock at the beginning, in milliseconds since 1970.
pub const WALL_BEGAN_MS: i64 = 1_700_000_000_000;

pub struct Sim {
    /// True milliseconds.
    pub now: u64,
    pub dice: Dice,
    pub options: Options,
    pub breaks: Breaks,
    pub network: Network,
    pub links: BTreeMap<u64, Link>,
    pub last_session: u64,
    pub last_term: u64,
    pub queue: Queue,
    pub trace: Trace,
    pub facts: Vec<Fact>,
    /// The source cluster: partitions of each topic.
    pub source: BTreeMap<TopicName, u32>,
    pub brokers: Brokers,
    /// Nothing fails any more.
    pub is_healed: bool,
}

impl Sim {
    pub fn after(&mut self, delay: u64, happening: Happening) {
        self.queue.plan(self.now + delay, happening);
    }

    /// Wakes up a process after so many true milliseconds.
    pub fn wake(&mut self, process: &Process, delay: u64, timer: Timer) {
        self.after(delay, Happening::Wakes { node: process.node, life: process.life, timer });
    }

    pub fn note(&mut self, node: Node, verb: &str, text: impl FnOnce() -> String) {
        self.trace.note(self.now, node, verb, text);
    }

    /// Whether something goes wrong that goes wrong so many times of a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        percent > 0 && !self.is_healed && self.dice.percent(percent)
    }

    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.dice.below(most - least + 1)
    }
}
