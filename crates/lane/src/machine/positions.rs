//! Positions: what is acknowledged without a gap, stored now and then and at each clean stop.

use copyist_model::Position;

use super::draining::Cause;
use super::{Lane, Phase};
use crate::event::{Action, Answer, Now, Parking, Question, Status};

/// A position is stored at the latest after that many acknowledged bytes.
const UNSTORED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A clean stop tries that often to store the last position; a resume does without.
const STORES_AT_RELEASE_MAX: u32 = 3;

impl Lane {
    pub(super) fn store_if_due(&mut self, now: Now, out: &mut Vec<Action>) {
        let due = self.unstored_bytes >= UNSTORED_BYTES_MAX || self.flush_at.is_some_and(|at| now.boot >= at);
        if self.phase != Phase::Copying || !due || self.storing.is_some() {
            return;
        }
        self.flush_at = None;
        if self.is_storable() {
            self.flush_at = Some(now.boot + self.birth.flush_interval);
            if self.may_store(now) {
                self.store(self.acked, out);
            } else if self.right.epoch != self.resumed_epoch && now.boot < self.right.ends_at {
                // An idle lane sends no batch that would notice the new epoch.
                self.drain(now, Cause::Ask, out);
            }
        } else if self.unconfirmed.is_some() {
            self.ask(Question::HighWatermark, out);
            self.flush_at = Some(now.boot + self.birth.flush_interval);
        }
    }

    /// Under the same checks as a batch.
    fn may_store(&self, now: Now) -> bool {
        self.is_remembered(now) || self.holds_right(now)
    }

    fn store(&mut self, position: Position, out: &mut Vec<Action>) {
        self.storing = Some(position);
        self.unstored_bytes = 0;
        out.push(Action::StorePosition(position));
    }

    pub(super) fn position_stored(&mut self, now: Now, position: Position, out: &mut Vec<Action>) {
        if self.storing != Some(position) {
            return;
        }
        self.storing = None;
        self.store_failures = 0;
        // One of an earlier generation says nothing of this one.
        if self.record.as_ref().is_some_and(|record| record.generation == position.generation) {
            self.stored = Some(position);
        }
        if self.is_storing_first() {
            self.opened(now, out);
        } else if self.releases_when_stored() {
            // It may be one of before the stop.
            self.store_and_release(now, out);
        }
    }

    pub(super) fn position_seen(&mut self, now: Now, position: Position, out: &mut Vec<Action>) {
        let Some(generation) = self.record.as_ref().map(|record| record.generation) else { return };
        if position.generation > generation {
            return self.superseded(now, out);
        }
        if position.generation == generation && self.stored.is_none_or(|stored| position.n > stored.n) {
            self.stored = Some(position);
        }
    }

    /// Somebody has begun a generation that this lane knows nothing of.
    fn superseded(&mut self, now: Now, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Copying => self.drain(now, Cause::Superseded, out),
            Phase::Draining => self.fail(Cause::Superseded),
            Phase::Leaders
            | Phase::Opening
            | Phase::Resuming(_)
            | Phase::BackingOff { .. }
            | Phase::Parked => self.park(Parking::Superseded, out),
            Phase::Stopped | Phase::Released => {}
        }
    }

    /// Never below what is stored already, by whomever.
    fn is_storable(&self) -> bool {
        let place = |position: Position| (position.n, position.next_offset);
        self.stored.is_none_or(|stored| place(self.acked) > place(stored))
    }

    pub(super) fn position_failed(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.storing.take().is_none() {
            return;
        }
        self.store_failures = self.store_failures.saturating_add(1);
        if self.is_storing_first() {
            self.back_off(now, "the first position is not stored yet".to_owned(), out);
        } else if self.releases_when_stored() {
            self.store_and_release(now, out);
        } else {
            self.flush_at = Some(now.boot + self.birth.flush_interval);
        }
    }

    /// The high watermark was asked for: are the records that lay there at the resume replicated?
    pub(super) fn confirmed(&mut self, now: Now, answer: &Answer) {
        let (Answer::HighWatermark(high), Some(position)) = (answer, self.unconfirmed) else { return };
        if *high >= self.log_end {
            self.unconfirmed = None;
            self.acked = position;
            self.flush_at = Some(now.boot);
        }
    }

    pub(super) fn stop(&mut self, now: Now, out: &mut Vec<Action>) {
        self.releasing = true;
        self.store_failures = 0;
        match self.phase {
            Phase::Copying => self.drain(now, Cause::Release, out),
            Phase::Draining => {}
            Phase::Leaders
            | Phase::Opening
            | Phase::Resuming(_)
            | Phase::BackingOff { .. }
            | Phase::Parked
            | Phase::Stopped
            | Phase::Released => self.release(out),
        }
    }

    fn releases_when_stored(&self) -> bool {
        self.releasing && self.phase == Phase::Draining && self.in_flight.is_empty()
    }

    pub(super) fn store_and_release(&mut self, now: Now, out: &mut Vec<Action>) {
        self.drop_what_was_read();
        if self.storing.is_some() {
            return;
        }
        let tries = self.store_failures < STORES_AT_RELEASE_MAX;
        if self.is_storable() && tries && self.may_store(now) {
            self.store(self.acked, out);
        } else {
            self.release(out);
        }
    }

    pub(super) fn release(&mut self, out: &mut Vec<Action>) {
        self.drop_what_was_read();
        self.phase = Phase::Released;
        self.flush_at = None;
        self.report(Status::Released, out);
        out.push(Action::Released { last: self.stored, unstored: self.is_storable() });
    }
}
