//! A process that is awake runs nothing for longer than its autonomy after its right.

use std::collections::BTreeMap;

use copyist_coordinator::core::Holder;

use super::{Fact, Invariant, Truth};

/// More than lies between two ticks of a process that is awake.
const TICK_MAX_MS: u64 = 1_500;
/// For a tick, and for what lanes may take to drain.
const ENDING_MS: u64 = 7_000;

#[derive(Default)]
pub struct Autonomy {
    /// Since when each process is awake, and when it ticked last.
    awake: BTreeMap<Holder, (u64, u64)>,
}

impl Invariant for Autonomy {
    fn name(&self) -> &'static str {
        "the end of autonomy"
    }

    fn observe(&mut self, truth: &Truth, fact: &Fact) -> Option<String> {
        let Fact::Ticked(holder) = fact else { return None };
        let now = truth.now;
        let (since, last) = self.awake.entry(holder.clone()).or_insert((now, now));
        if now > *last + TICK_MAX_MS {
            *since = now;
        }
        *last = now;
        if now < *since + ENDING_MS {
            return None;
        }
        let late = |until: u64| now.checked_sub(until + ENDING_MS);
        let mut running = truth.running.iter().filter(|((_, by), _)| by == holder);
        running.find_map(|((id, _), runs)| {
            let late = late(runs.by_itself_until)?;
            Some(format!("{id}@{} runs on {}, {late} ms too long", runs.epoch, holder.incarnation))
        })
    }
}
