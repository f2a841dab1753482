//! Copying: which batch may go out, and what its answer says. The hot path.

use std::time::Duration;

use copyist_model::Position;
use copyist_wire::sequence;

use super::draining::Cause;
use super::{Lane, Phase};
use crate::event::{Action, Now, Offer, Outcome, Send, Status, Waiting};
use crate::evidence::{PRODUCER_EPOCH, by_arithmetic, offset_of};
use crate::fence::HEARD_MAX;
use crate::loss::Loss;
use crate::verdict::{Verdict, verdict};

/// Brokers remember that many batches of a producer: only then is each resend recognised.
pub(super) const IN_FLIGHT_MAX: usize = 5;

/// A batch that was sent and is not acknowledged in order yet.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    token: u64,
    n: i64,
    offer: Offer,
    /// Sent while the fence was weak, on the lane's own connection.
    weak: bool,
    aborted: bool,
    sent_at: Duration,
    pub(super) remembered_ms: i64,
    result: Option<Settled>,
}

impl Flight {
    pub(super) fn is_abortable(&self) -> bool {
        self.weak && !self.aborted && self.result.is_none()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    Stored { base_offset: i64 },
    Failed,
}

/// What a base offset that is not the expected one means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Misplaced {
    /// Others write there too, and the fence is intact.
    Foreign,
    Lost(Loss),
}

/// Whether the batch offered may go out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Gate {
    Open {
        weak: bool,
    },
    /// Answers are due first.
    Full,
    Closed(Waiting),
    /// What was asked holds no more: ask again.
    AskAgain,
}

impl Lane {
    pub(super) fn send_if_allowed(&mut self, now: Now, out: &mut Vec<Action>) {
        let (Phase::Copying, Some(offer)) = (&self.phase, self.offer) else { return };
        match self.gate(now, &offer) {
            Gate::Open { weak } => self.send(now, offer, weak, out),
            Gate::Full => {}
            Gate::Closed(why) => self.report(Status::Waiting(why), out),
            Gate::AskAgain => self.drain(now, Cause::Ask, out),
        }
    }

    fn gate(&self, now: Now, offer: &Offer) -> Gate {
        let weak = !self.is_intact(offer.max_timestamp, now);
        let first_alone = self.alone && self.rules.first_batch_alone;
        let alone = first_alone || (weak && self.rules.weak_batches_alone);
        if self.in_flight.len() >= if alone { 1 } else { IN_FLIGHT_MAX } || self.skipping {
            return Gate::Full;
        }
        // Batches on two connections could overtake one another.
        if self.in_flight.back().is_some_and(|last| last.weak != weak) {
            return Gate::Full;
        }
        if !weak {
            return Gate::Open { weak };
        }
        // Somebody of ours may have gone on while the broker remembered; once it does not, it takes the same again.
        if now.boot.saturating_sub(self.heard_at) >= HEARD_MAX {
            return Gate::AskAgain;
        }
        if self.rules.epoch_compared && self.right.epoch != self.resumed_epoch {
            return Gate::AskAgain;
        }
        if self.rules.lease_margin && self.resumed_at < self.right.free_at {
            let free = now.boot >= self.right.free_at;
            return if free { Gate::AskAgain } else { Gate::Closed(Waiting::FormerHolder) };
        }
        if !self.holds_right(now) {
            return Gate::Closed(Waiting::Right);
        }
        Gate::Open { weak }
    }

    fn send(&mut self, now: Now, offer: Offer, weak: bool, out: &mut Vec<Action>) {
        let Some(record) = &self.record else { return };
        self.offer = None;
        self.token += 1;
        out.push(Action::Send(Send {
            token: self.token,
            n: self.next_n,
            count: offer.count,
            sequence: sequence::sequence(self.next_n, record.base_n),
            producer_id: record.producer_id,
            producer_epoch: PRODUCER_EPOCH,
            own_connection: weak,
        }));
        self.in_flight.push_back(Flight {
            token: self.token,
            n: self.next_n,
            offer,
            weak,
            aborted: false,
            sent_at: now.boot,
            remembered_ms: if self.birth.facts.log_append_time { now.wall_ms } else { offer.max_timestamp },
            result: None,
        });
        self.next_n += i64::from(offer.count);
        self.known_high = self.known_high.max(Some(self.next_n));
        if let Some(Status::Waiting(_)) = self.status {
            self.report(Status::Copying(self.evidence), out);
        }
    }

    pub(super) fn answered(&mut self, now: Now, token: u64, outcome: &Outcome, out: &mut Vec<Action>) {
        let Some(at) = self.in_flight.iter().position(|flight| flight.token == token) else { return };
        let verdict = verdict(outcome);
        self.in_flight[at].result = Some(match (verdict, outcome) {
            (Verdict::Stored, Outcome::Stored { base_offset }) => {
                Settled::Stored { base_offset: *base_offset }
            }
            (_, _) => Settled::Failed,
        });
        if self.in_flight[at].result == Some(Settled::Failed) {
            let cause = self.cause_of(verdict, &self.in_flight[at].offer, outcome);
            self.fail(cause);
        }
        while let Some(result) = self.in_flight.front().and_then(|flight| flight.result) {
            if let (Some(flight), Settled::Stored { base_offset }) = (self.in_flight.pop_front(), result) {
                self.acknowledge(now, &flight, base_offset);
            } else {
                // What is acknowledged behind it leaves a gap.
                self.broken = true;
            }
        }
        if self.phase == Phase::Draining && self.in_flight.is_empty() {
            self.drained(now, out);
        }
    }

    fn acknowledge(&mut self, now: Now, flight: &Flight, base_offset: i64) {
        if self.broken {
            return;
        }
        match self.misplaced(flight, base_offset) {
            Some(Misplaced::Lost(loss)) => {
                self.broken = true;
                return self.fail(Cause::Lose(loss));
            }
            Some(Misplaced::Foreign) => self.fail(Cause::Share),
            None => {}
        }
        let count = i64::from(flight.offer.count);
        self.acked = Position {
            generation: self.acked.generation,
            next_offset: flight.offer.next_offset,
            leader_epoch: flight.offer.leader_epoch,
            n: flight.n + count,
            destination_offset: base_offset + count,
        };
        self.unconfirmed = None;
        self.remembered_ms = Some(flight.remembered_ms);
        self.heard_at = flight.sent_at;
        self.unstored_bytes += u64::from(flight.offer.bytes);
        self.flush_at.get_or_insert(now.boot + self.birth.flush_interval);
        self.alone = false;
        self.failures = 0;
        self.damaged_at = None;
    }

    /// An acknowledged batch lies where no other writer is needed to explain it, or not.
    fn misplaced(&self, flight: &Flight, base_offset: i64) -> Option<Misplaced> {
        let record =
            self.record.as_ref().filter(|record| self.rules.base_offset_checked && !record.shared)?;
        let (n, expected_offset) = (flight.n, offset_of(record, flight.n));
        if base_offset == expected_offset {
            return None;
        }
        // No other writer makes a log shorter.
        if base_offset < expected_offset {
            return Some(Misplaced::Lost(Loss::AcknowledgedLost {
                found_n: by_arithmetic(record, base_offset),
                stored_n: n,
                source_to: self.acked.next_offset,
                destination_to: expected_offset,
            }));
        }
        let foreign = Loss::Foreign { n, expected_offset, found_offset: base_offset };
        Some(if flight.weak { Misplaced::Lost(foreign) } else { Misplaced::Foreign })
    }

    /// Offsets without records: they move the last batch's end, or the position itself when all is acknowledged.
    pub(super) fn nothing_until(&mut self, now: Now, reading: u32, next_offset: i64, leader_epoch: i32) {
        if reading != self.reading || self.phase != Phase::Copying || self.skipping {
            return;
        }
        if let Some(last) = self.in_flight.back_mut() {
            last.offer.next_offset = next_offset;
            last.offer.leader_epoch = leader_epoch;
        } else if let Some(position) = &mut self.unconfirmed {
            position.next_offset = next_offset;
            position.leader_epoch = leader_epoch;
        } else {
            self.acked.next_offset = next_offset;
            self.acked.leader_epoch = leader_epoch;
            self.flush_at.get_or_insert(now.boot + self.birth.flush_interval);
        }
    }

    /// What is on the way under a right that is over must not arrive later than the margin allows.
    pub(super) fn abort_when_right_ended(&mut self, now: Now, out: &mut Vec<Action>) {
        if now.boot < self.right.ends_at || !self.in_flight.iter().any(Flight::is_abortable) {
            return;
        }
        self.in_flight.iter_mut().for_each(|flight| flight.aborted = true);
        out.push(Action::Abort);
    }
}
