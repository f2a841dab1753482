//! Two agents never both write a weak lane: what one writes under its right has arrived, or never will, before the next
//! one begins.

use std::collections::BTreeMap;

use copyist_coordinator::core::Holder;
use copyist_model::{AssignmentEpoch, AssignmentId};

use super::{Fact, Invariant, Truth};
use crate::options::IN_FLIGHT_MS;

/// When a job may write, in true time.
#[derive(Debug, Clone)]
struct Writer {
    holder: Holder,
    epoch: AssignmentEpoch,
    from: u64,
    until: u64,
    /// When its last write arrives at the latest, if the job is over.
    ended: Option<u64>,
}

impl Writer {
    fn last_arrival(&self) -> u64 {
        let by_right = self.until + IN_FLIGHT_MS;
        self.ended.map_or(by_right, |ended| by_right.min(ended))
    }

    /// When it may begin to write, if it does.
    fn writes(&self) -> Option<(u64, u64)> {
        let until = self.ended.map_or(self.until, |ended| ended.min(self.until));
        (self.from < until).then_some((self.from, self.last_arrival()))
    }
}

#[derive(Default)]
pub struct WeakWriters {
    writers: BTreeMap<AssignmentId, Vec<Writer>>,
    passed: u64,
}

impl Invariant for WeakWriters {
    fn name(&self) -> &'static str {
        "one writer of weak lanes"
    }

    fn observe(&mut self, truth: &Truth, fact: &Fact) -> Option<String> {
        let now = truth.now;
        match fact {
            Fact::Right { holder, id, epoch, from, until } => {
                let writers = self.writers.entry(id.clone()).or_default();
                writers.retain(|writer| writer.last_arrival() + 1_000 > now);
                let known = writers.iter_mut().find(|it| it.holder == *holder && it.epoch == *epoch);
                match known {
                    Some(writer) => writer.until = *until,
                    None => writers.push(Writer {
                        holder: holder.clone(),
                        epoch: *epoch,
                        from: (*from).max(now),
                        until: *until,
                        ended: None,
                    }),
                }
            }
            Fact::Ended { holder, id, epoch, is_clean } => {
                let writers = self.writers.entry(id.clone()).or_default();
                for writer in writers.iter_mut().filter(|it| it.holder == *holder && it.epoch == *epoch) {
                    writer.until = writer.until.min(now);
                    writer.ended = Some(if *is_clean { now } else { now + IN_FLIGHT_MS });
                }
            }
            _ => {}
        }
        None
    }

    /// Whether two could write at one moment since the last look.
    fn pass(&mut self, now: u64) -> Option<String> {
        let passed = std::mem::replace(&mut self.passed, now);
        self.writers.iter().filter(|(_, writers)| writers.len() > 1).find_map(|(id, writers)| {
            let pairs = writers
                .iter()
                .enumerate()
                .flat_map(|(at, one)| writers[at + 1..].iter().map(move |other| (one, other)));
            pairs.into_iter().find_map(|(one, other)| {
                let ((a, until_a), (b, until_b)) = (one.writes()?, other.writes()?);
                let begin = a.max(b).max(passed);
                (begin < until_a.min(until_b).min(now)).then(|| {
                    format!(
                        "{id}: {}@{} may write until {until_a}, and {}@{} until {until_b}, both at {begin}",
                        one.holder.incarnation, one.epoch, other.holder.incarnation, other.epoch
                    )
                })
            })
        })
    }
}
