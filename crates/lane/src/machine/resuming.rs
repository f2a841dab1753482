//! Resuming: ask the destination what it holds, and read on from there.

use copyist_model::Position;

use super::opening::{From, Opening, first_position};
use super::{Lane, Phase};
use crate::align::{self, Fingerprint};
use crate::event::{
    Action, Answer, Evidence, Now, Parking, ProducerState, Question, Status, TailBatch, Waiting,
};
use crate::evidence::{self, Next, Nothing, Tail, Trail};
use crate::loss::{Loss, Stop};
use crate::verdict::{Refused, refused};

/// What is being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resuming {
    State,
    /// With what the state said, where that alone is not enough.
    LogEnd {
        known: Option<Next>,
    },
    Watermark {
        known: Option<Next>,
        log_end: i64,
    },
    Tail {
        offset: i64,
        log_end: i64,
    },
    /// On a compacted source: which of its records are there.
    Contents {
        next: Next,
    },
    /// The source deleted records from the position on.
    AfterRetention {
        next: Next,
        earliest: i64,
    },
    /// Somebody else went on: is our epoch current?
    Epoch,
}

impl Lane {
    pub(super) fn resume(&mut self, now: Now, out: &mut Vec<Action>) {
        // Contents prove nothing while a former holder may still write.
        if self.birth.source_compacted && self.rules.lease_margin && now.boot < self.right.free_at {
            return self.wait_until(self.right.free_at, Waiting::FormerHolder, out);
        }
        self.drop_what_was_read();
        self.cause = None;
        self.stored_when_asked = self.stored;
        if let Some(stored) = self.stored.filter(|stored| stored.n > self.acked.n) {
            self.acked = stored;
        }
        self.resumed_epoch = self.right.epoch;
        self.resumed_at = now.boot;
        self.remembered_ms = None;
        self.report(Status::Waiting(Waiting::Answers), out);
        match self.record.as_ref().map(|record| record.producer_id) {
            Some(producer_id) if self.birth.facts.describes_producers => {
                self.ask_step(Resuming::State, Question::ProducerState { producer_id }, out);
            }
            Some(_) | None => self.ask_step(Resuming::LogEnd { known: None }, Question::LogEnd, out),
        }
    }

    fn ask_step(&mut self, step: Resuming, what: Question, out: &mut Vec<Action>) {
        self.phase = Phase::Resuming(step);
        self.ask(what, out);
    }

    pub(super) fn resuming_answer(
        &mut self,
        now: Now,
        step: Resuming,
        answer: Answer,
        out: &mut Vec<Action>,
    ) {
        match (step, answer) {
            (Resuming::State, Answer::ProducerState(state)) => self.state_known(state, out),
            (Resuming::State, Answer::Refused { code, .. }) if refused(code) == Refused::Unsupported => {
                self.ask_step(Resuming::LogEnd { known: None }, Question::LogEnd, out);
            }
            (Resuming::LogEnd { known }, Answer::LogEnd(log_end)) => {
                self.ask_step(Resuming::Watermark { known, log_end }, Question::HighWatermark, out);
            }
            (Resuming::Watermark { known, log_end }, Answer::HighWatermark(high)) if high >= log_end => {
                match known {
                    Some(next) => self.measured(now, next, log_end, out),
                    None => self.look_at_tail(now, log_end, log_end, out),
                }
            }
            (Resuming::Tail { offset, log_end }, Answer::Tail(Some(batch))) => {
                self.tail_known(now, offset, log_end, &batch, out);
            }
            (Resuming::Tail { offset, log_end }, Answer::Tail(None)) => {
                self.no_traces(now, log_end, trail_to(offset, log_end), out);
            }
            (Resuming::Tail { offset, log_end }, Answer::Refused { code, .. })
                if refused(code) == Refused::OutOfRange =>
            {
                self.no_traces(now, log_end, trail_to(offset, log_end), out);
            }
            (Resuming::Contents { next }, Answer::Contents { source, destination }) => {
                match align::of_compacted(&prints(&source), &destination) {
                    Some(skip) => {
                        self.found_by_contents(now, next, (self.acked.next_offset, &source, skip), out);
                    }
                    None => self.begin_generation(now, self.at_position(), next.n, out),
                }
            }
            (Resuming::AfterRetention { next, earliest }, Answer::Contents { source, destination }) => {
                self.retention_judged(now, (next, earliest), (&source, &destination), out);
            }
            // Another epoch may have come meanwhile.
            (Resuming::Epoch, Answer::EpochCurrent(current)) => {
                if current || self.right.epoch > self.resumed_epoch {
                    self.known_high = None;
                    self.resume(now, out);
                } else {
                    self.park(Parking::Overtaken, out);
                }
            }
            (_, Answer::Refused { code, text }) => self.question_refused(now, code, text, out),
            (_, Answer::HighWatermark(_)) => self.wait_for_replicas(now, out),
            (_, _) => self.back_off(now, "no answer".to_owned(), out),
        }
    }

    /// The leader speaks of its log, not of what is replicated: if a new leader lacks all of ours it knows nothing of us
    /// either, and would accept whatever comes next. So what the state says is waited for as well.
    fn state_known(&mut self, state: Option<ProducerState>, out: &mut Vec<Action>) {
        let Some(record) = &self.record else { return };
        let known = state.and_then(|state| evidence::from_state(record, self.acked.n, &state));
        self.remembered_ms = known.and(state).map(|state| state.last_timestamp);
        self.ask_step(Resuming::LogEnd { known }, Question::LogEnd, out);
    }

    /// Looks at the last batch that ends before `before`. The very last one always: where acknowledged records are lost,
    /// others may have taken their places.
    fn look_at_tail(&mut self, now: Now, before: i64, log_end: i64, out: &mut Vec<Action>) {
        let Some(record) = &self.record else { return };
        let enough = if before < log_end { self.acked.destination_offset } else { record.base_offset };
        if before <= enough {
            return self.no_traces(now, log_end, Trail::Whole, out);
        }
        let offset = before - 1;
        self.ask_step(Resuming::Tail { offset, log_end }, Question::Tail { offset }, out);
    }

    fn tail_known(&mut self, now: Now, offset: i64, log_end: i64, batch: &TailBatch, out: &mut Vec<Action>) {
        let Some(record) = &self.record else { return };
        match evidence::from_tail(record, self.acked.n, offset, batch) {
            Tail::Ours(next) => self.measured(now, next, log_end, out),
            Tail::LookBefore(offset) => self.look_at_tail(now, offset, log_end, out),
            Tail::Gap => self.no_traces(now, log_end, trail_to(offset, log_end), out),
        }
    }

    fn no_traces(&mut self, now: Now, log_end: i64, trail: Trail, out: &mut Vec<Action>) {
        let Some(record) = &self.record else { return };
        let position = self.acked;
        match evidence::without_traces(record, &position, log_end, trail) {
            Nothing::Next(next) => self.measured(now, next, log_end, out),
            Nothing::Foreign { expected_offset } => {
                let loss = Loss::Foreign { n: position.n, expected_offset, found_offset: log_end };
                self.lose(now, loss, out);
            }
            Nothing::Unknowable => {
                let destination_from = position.destination_offset;
                let stop = Stop::Unknowable { n: position.n, destination_from, destination_to: log_end };
                self.stop_for_a_human(stop, out);
            }
        }
    }

    /// Where the lane is the only writer, the length of the log agrees with the next n. One of our own batches may have
    /// arrived between two questions, so only the same answers twice are believed.
    fn measured(&mut self, now: Now, next: Next, log_end: i64, out: &mut Vec<Action>) {
        let Some(record) = &self.record else { return };
        self.log_end = log_end;
        let expected_offset = evidence::offset_of(record, next.n);
        // While the broker remembers us, a former holder may go on until it is refused: the log grows, and rightly so.
        let grows = self.is_remembered(now) && log_end >= expected_offset;
        if record.shared || !self.rules.base_offset_checked || expected_offset == log_end || grows {
            self.suspected = None;
            return self.numbered(now, next, out);
        }
        if self.suspected.replace((next.n, log_end)) != Some((next.n, log_end)) {
            return self.back_off(
                now,
                "the destination's length does not agree with its last batch".to_owned(),
                out,
            );
        }
        let misfit = if log_end < expected_offset {
            Loss::AcknowledgedLost {
                found_n: evidence::by_arithmetic(record, log_end),
                stored_n: next.n,
                source_to: self.acked.next_offset,
                destination_to: expected_offset,
            }
        } else {
            Loss::Foreign { n: next.n, expected_offset, found_offset: log_end }
        };
        self.lose(now, self.regression(next).unwrap_or(misfit), out);
    }

    /// The next n is known; what remains is whether it may be believed, and which source record it is.
    fn numbered(&mut self, now: Now, next: Next, out: &mut Vec<Action>) {
        if let Some(loss) = self.regression(next) {
            return self.lose(now, loss, out);
        }
        if self.must_wait_for_former_holder(now) {
            return self.wait_until(self.right.free_at, Waiting::FormerHolder, out);
        }
        if self.known_high.is_some_and(|high| next.n > high) {
            self.report(Status::Waiting(Waiting::Answers), out);
            let epoch = self.resumed_epoch;
            return self.ask_step(Resuming::Epoch, Question::EpochCurrent { epoch }, out);
        }
        self.acked = self.anchor_for(next.n);
        if !self.birth.source_compacted {
            let skip = u64::try_from(next.n - self.acked.n).unwrap_or(0);
            return self.found(now, next, skip, out);
        }
        if self.record.as_ref().is_some_and(|record| record.shared) {
            return self.begin_generation(now, self.at_position(), next.n, out);
        }
        let what = Question::Contents {
            source_from: self.acked.next_offset,
            destination_from: self.acked.destination_offset,
            destination_to: self.log_end,
        };
        self.ask_step(Resuming::Contents { next }, what, out);
    }

    /// Less than a stored position says: acknowledged records are lost, or an intruder moved the sequence back.
    fn regression(&self, next: Next) -> Option<Loss> {
        let stored = self.stored_when_asked?;
        (self.rules.never_rewind && next.n < stored.n).then_some(Loss::AcknowledgedLost {
            found_n: next.n,
            stored_n: stored.n,
            source_to: stored.next_offset,
            destination_to: stored.destination_offset,
        })
    }

    /// A former holder may still write what the broker will have forgotten when we write it again.
    fn must_wait_for_former_holder(&self, now: Now) -> bool {
        self.rules.lease_margin && !self.is_remembered(now) && now.boot < self.right.free_at
    }

    /// The latest known place at or before record `n`: from there on the source is counted.
    fn anchor_for(&self, n: i64) -> Position {
        let base = self.record.as_ref().map(first_position);
        let places = [Some(self.acked), self.stored, base];
        places.into_iter().flatten().find(|place| place.n <= n).unwrap_or(self.acked)
    }

    /// `skip` of the source's records from the position on are there.
    fn found(&mut self, now: Now, next: Next, skip: u64, out: &mut Vec<Action>) {
        self.next_n = next.n;
        self.known_high = Some(next.n);
        self.heard_at = self.resumed_at;
        if skip == 0 && std::mem::take(&mut self.renewing) {
            return self.begin_renewed(now, self.at_position(), next.n, out);
        }
        self.start_reading(self.acked.next_offset, skip, out);
        self.start_copying(next.evidence, out);
    }

    /// By content, `skip` of these source records are there. They are skipped by offset: a cleaner may take some of them
    /// before they are read.
    fn found_by_contents(
        &mut self,
        now: Now,
        next: Next,
        (from_offset, source, skip): (i64, &[(i64, Fingerprint)], usize),
        out: &mut Vec<Action>,
    ) {
        let last = skip.checked_sub(1).and_then(|at| source.get(at));
        let next_offset = last.map_or(from_offset, |(offset, _)| offset + 1);
        self.next_n = next.n;
        self.known_high = Some(next.n);
        self.heard_at = self.resumed_at;
        if std::mem::take(&mut self.renewing) {
            let from = From::Offset { next_offset, leader_epoch: -1 };
            return self.begin_renewed(now, from, next.n, out);
        }
        self.start_reading(next_offset, 0, out);
        self.start_copying(Evidence::Contents, out);
        if next.n > self.acked.n {
            self.hold_unconfirmed(now, next_offset, -1);
        }
    }

    /// The source begins at `earliest`, beyond where this lane reads; the destination holds more than the position
    /// says, so perhaps nothing is missing: its content tells.
    pub(super) fn ask_after_retention(&mut self, earliest: i64, out: &mut Vec<Action>) {
        let Some(record) = &self.record else { return };
        let next = Next { n: self.next_n, evidence: Evidence::Contents };
        let what = Question::Contents {
            source_from: earliest,
            destination_from: self.acked.destination_offset,
            destination_to: evidence::offset_of(record, self.next_n),
        };
        self.drop_what_was_read();
        self.report(Status::Waiting(Waiting::Answers), out);
        self.ask_step(Resuming::AfterRetention { next, earliest }, what, out);
    }

    fn retention_judged(
        &mut self,
        now: Now,
        (next, earliest): (Next, i64),
        (source, destination): (&[(i64, Fingerprint)], &[Fingerprint]),
        out: &mut Vec<Action>,
    ) {
        let deleted = usize::try_from(earliest - self.acked.next_offset).unwrap_or(usize::MAX);
        match align::after_retention(&prints(source), destination, deleted) {
            Some(skip) => self.found_by_contents(now, next, (earliest, source, skip), out),
            None => self.overtaken_by_retention(now, earliest, out),
        }
    }

    pub(super) fn skipped_to(
        &mut self,
        now: Now,
        reading: u32,
        next_offset: i64,
        leader_epoch: i32,
        out: &mut Vec<Action>,
    ) {
        if reading != self.reading || !std::mem::take(&mut self.skipping) || self.phase != Phase::Copying {
            return;
        }
        if std::mem::take(&mut self.renewing) {
            return self.begin_renewed(now, From::Offset { next_offset, leader_epoch }, self.next_n, out);
        }
        self.hold_unconfirmed(now, next_offset, leader_epoch);
    }

    /// What lies at the destination by its own word becomes a position once it is replicated.
    fn hold_unconfirmed(&mut self, now: Now, next_offset: i64, leader_epoch: i32) {
        let Some(record) = &self.record else { return };
        // Where others write too, ours end there or later: a search of the tail goes back far enough.
        let destination_offset = if record.shared {
            self.acked.destination_offset + self.next_n - self.acked.n
        } else {
            evidence::offset_of(record, self.next_n)
        };
        let generation = record.generation;
        self.unconfirmed =
            Some(Position { generation, next_offset, leader_epoch, n: self.next_n, destination_offset });
        self.flush_at.get_or_insert(now.boot + self.birth.flush_interval);
    }

    /// The broker has forgotten the producer for good: the next record begins a new generation, once its place in the
    /// source is known.
    pub(super) fn renew_producer(&mut self, now: Now, out: &mut Vec<Action>) {
        self.renewing = true;
        self.begin(now, out);
    }

    fn begin_renewed(&mut self, now: Now, from: From, base_n: i64, out: &mut Vec<Action>) {
        let sole = self.record.as_ref().filter(|record| !record.shared && self.rules.base_offset_checked);
        let expected_end = sole.map(|record| evidence::offset_of(record, base_n));
        let opening = Opening::derived(from, base_n, self.resumed_epoch).renewing(expected_end);
        self.opening = Some(opening);
        self.begin(now, out);
    }

    fn at_position(&self) -> From {
        From::Offset { next_offset: self.acked.next_offset, leader_epoch: self.acked.leader_epoch }
    }
}

/// The search broke off at `offset`: at the very last one, or behind batches of others.
fn trail_to(offset: i64, log_end: i64) -> Trail {
    if offset + 1 < log_end { Trail::Broken } else { Trail::Gone }
}

fn prints(located: &[(i64, Fingerprint)]) -> Vec<Fingerprint> {
    located.iter().map(|(_, print)| *print).collect()
}
