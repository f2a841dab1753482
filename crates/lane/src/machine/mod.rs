//! The state machine of one lane.
//!
//! ```text
//! Leaders -> Opening (no record, or a new generation) -+
//!        \-> Resuming (ask what is at the destination) -+-> Copying -> Draining -> Resuming, BackingOff, Opening,
//!                                                                                 Parked, Stopped or Released
//! ```
//!
//! Whatever goes wrong while copying ends in `Draining`: nothing more is sent, every answer is read, and only then the
//! cause is acted upon. From every waiting phase the way on is `Lane::begin`, which derives what to do from what is
//! known. Read `opening`, `resuming`, `copying`, `draining`, then `positions` and `losses`. Invariants:
//! - a record holds, and its first position is stored, before its first batch (`opening`);
//! - nothing is sent twice unless the destination was asked in between (`draining`);
//! - a weak lane writes under the right of the epoch under which it asked (`copying::Gate`);
//! - a position covers acknowledged records without a gap (`copying`, `positions`).

mod copying;
mod draining;
mod losses;
mod opening;
mod positions;
mod resuming;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use copyist_model::{AssignmentEpoch, LaneRecord, Position};

use crate::birth::{Birth, Stored};
use crate::event::{Action, Answer, Event, Evidence, Now, Offer, Parking, Question, Right, Status, Waiting};
use crate::fence::{Fence, fence_intact};
use crate::loss::Stop;
use copying::Flight;
use draining::Cause;
use opening::Opening;
use resuming::Resuming;

/// The first pause after a failure; doubled with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Not much longer than an outage lasts: as with Kafka's own clients, what is back is used at once.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// What keeps lanes exact, each of which can be left out to show that it is needed. Production code knows the default
/// alone: all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// After an unknown outcome the destination is asked, and only then written to again.
    pub ask_before_resending: bool,
    /// The first batch after a resume waits for its answer before others follow.
    pub first_batch_alone: bool,
    /// Each batch of a weak lane waits for its answer before others follow: if the broker forgets the producer in full
    /// flow and then refuses one batch, it accepts the next, and the log has a gap.
    pub weak_batches_alone: bool,
    /// A weak lane writes only under the epoch under which it asked, not under any that it holds.
    pub epoch_compared: bool,
    /// Less at the destination than a stored position says is a loss, not a place to go on from.
    pub never_rewind: bool,
    pub base_offset_checked: bool,
    /// A weak lane waits until no former holder can write.
    pub lease_margin: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            ask_before_resending: true,
            first_batch_alone: true,
            weak_batches_alone: true,
            epoch_compared: true,
            never_rewind: true,
            base_offset_checked: true,
            lease_margin: true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Leaders,
    Opening,
    Resuming(Resuming),
    Copying,
    Draining,
    BackingOff { until: Duration },
    Parked,
    Stopped,
    Released,
}

/// One lane on one agent. Made for an assignment; outlives changes of the right.
#[derive(Debug, Clone)]
pub struct Lane {
    birth: Birth,
    rules: Rules,
    phase: Phase,
    record: Option<LaneRecord>,
    /// A generation that is to begin.
    opening: Option<Opening>,
    right: Right,
    /// Under which epoch, and when, the destination was first asked in the last resume.
    resumed_epoch: AssignmentEpoch,
    resumed_at: Duration,
    leaders_known: bool,
    /// Acknowledged without a gap.
    acked: Position,
    /// Acknowledged by the store of positions.
    stored: Option<Position>,
    /// The same when the destination was asked: what it said may be older than what is stored since.
    stored_when_asked: Option<Position>,
    storing: Option<Position>,
    store_failures: u32,
    /// At the destination by its own word, but acknowledged to nobody here.
    unconfirmed: Option<Position>,
    /// Records at the destination already are going by.
    skipping: bool,
    /// A new producer id is to begin where the skipped records end.
    renewing: bool,
    /// Acknowledged bytes that no stored position covers.
    unstored_bytes: u64,
    flush_at: Option<Duration>,
    next_n: i64,
    /// One past the highest n that this lane ever sent or found.
    known_high: Option<i64>,
    in_flight: VecDeque<Flight>,
    cause: Option<Cause>,
    /// A batch failed: what was acknowledged behind it does not count.
    broken: bool,
    offer: Option<Offer>,
    alone: bool,
    /// Of the last resume.
    evidence: Evidence,
    /// See [`Fence::remembered_ms`].
    remembered_ms: Option<i64>,
    /// When the question was asked, or the batch sent, whose answer is the latest word of what is at the destination.
    heard_at: Duration,
    damaged_at: Option<i64>,
    /// Of the destination, in the present resume.
    log_end: i64,
    /// A next n and a log end that do not agree.
    suspected: Option<(i64, i64)>,
    reading: u32,
    question: u32,
    /// The question that waits for its answer.
    asked: bool,
    token: u64,
    failures: u32,
    releasing: bool,
    status: Option<Status>,
    wake_at: Option<Duration>,
}

impl Lane {
    /// A lane that waits for its leaders: the first event is [`Event::Leaders`].
    #[must_use]
    pub fn new(birth: Birth) -> Self {
        Self::with_rules(birth, Rules::default())
    }

    /// For tests that leave a rule out.
    #[must_use]
    pub fn with_rules(birth: Birth, rules: Rules) -> Self {
        let acked = starting_position(&birth);
        let known = matches!(birth.stored, Stored::Position(position) if position == acked);
        let opening = Opening::at_birth(&birth);
        Self {
            rules,
            phase: Phase::Leaders,
            record: birth.record.clone(),
            opening,
            right: birth.right,
            resumed_epoch: birth.right.epoch,
            resumed_at: Duration::ZERO,
            leaders_known: false,
            acked,
            stored: known.then_some(acked),
            stored_when_asked: None,
            storing: None,
            store_failures: 0,
            unconfirmed: None,
            skipping: false,
            renewing: false,
            unstored_bytes: 0,
            flush_at: None,
            next_n: acked.n,
            known_high: None,
            in_flight: VecDeque::with_capacity(copying::IN_FLIGHT_MAX),
            cause: None,
            broken: false,
            offer: None,
            alone: true,
            evidence: Evidence::Fresh,
            remembered_ms: None,
            heard_at: Duration::ZERO,
            damaged_at: None,
            log_end: 0,
            suspected: None,
            reading: 0,
            question: 0,
            asked: false,
            token: 0,
            failures: 0,
            releasing: false,
            status: None,
            wake_at: None,
            birth,
        }
    }

    /// Acknowledged without a gap; not necessarily stored.
    #[must_use]
    pub fn position(&self) -> Position {
        self.acked
    }

    /// The record in force.
    #[must_use]
    pub fn record(&self) -> Option<&LaneRecord> {
        self.record.as_ref()
    }

    /// Batches that wait for their answers.
    #[must_use]
    pub fn batches_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Takes what happened, appends what to do about it.
    pub fn step(&mut self, now: Now, event: Event, out: &mut Vec<Action>) {
        if self.phase == Phase::Released {
            return;
        }
        match event {
            Event::Leaders { source, destination } => self.leaders_changed(now, source && destination, out),
            Event::Answer { question, answer } => self.answer(now, question, answer, out),
            Event::RecordCommitted => self.record_committed(out),
            Event::RecordRefused(refusal) => self.record_refused(now, refusal, out),
            Event::PositionStored(position) => self.position_stored(now, position, out),
            Event::PositionSeen(position) => self.position_seen(now, position, out),
            Event::PositionFailed => self.position_failed(now, out),
            Event::Offered(offer) if offer.reading == self.reading => self.offer = Some(offer),
            Event::Offered(_) => {}
            Event::NothingUntil { reading, next_offset, leader_epoch } => {
                self.nothing_until(now, reading, next_offset, leader_epoch);
            }
            Event::SkippedTo { reading, next_offset, leader_epoch } => {
                self.skipped_to(now, reading, next_offset, leader_epoch, out);
            }
            Event::Answered { token, outcome } => self.answered(now, token, &outcome, out),
            Event::Disconnected => self.alone = true,
            Event::Source(trouble) => self.source_trouble(now, trouble, out),
            Event::DestinationRecreated(id) => self.destination_recreated(now, id, out),
            Event::Right(right) => self.right_changed(now, right, out),
            Event::Tick => self.tick(now, out),
            Event::Restarted => self.restarted(now, out),
            Event::Stop => self.stop(now, out),
        }
        self.abort_when_right_ended(now, out);
        self.send_if_allowed(now, out);
        self.store_if_due(now, out);
        self.set_wake(now, out);
    }

    fn restarted(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.phase == Phase::Stopped {
            // Whatever comes of it is news, also the same as before.
            self.status = None;
            self.failures = 0;
            self.begin(now, out);
        }
    }

    /// Goes on from whatever is known: a new generation is opened, or the destination is asked.
    fn begin(&mut self, now: Now, out: &mut Vec<Action>) {
        self.drop_what_was_read();
        if self.releasing {
            self.release(out);
        } else if !self.leaders_known {
            self.phase = Phase::Leaders;
            self.report(Status::Waiting(Waiting::Leaders), out);
        } else if self.opening.is_some() {
            self.open(now, out);
        } else if let Some(loss) = self.recreated() {
            self.lose(now, loss, out);
        } else {
            self.resume(now, out);
        }
    }

    fn leaders_changed(&mut self, now: Now, known: bool, out: &mut Vec<Action>) {
        self.leaders_known = known;
        self.alone = true;
        // Two leaders' answers do not make one truth: what the first had may be gone with it.
        if matches!(self.phase, Phase::Leaders | Phase::Resuming(_)) {
            self.begin(now, out);
        }
    }

    fn answer(&mut self, now: Now, question: u32, answer: Answer, out: &mut Vec<Action>) {
        if question != self.question || !std::mem::take(&mut self.asked) {
            return;
        }
        match self.phase.clone() {
            Phase::Opening => self.opening_answer(now, answer, out),
            Phase::Resuming(step) => self.resuming_answer(now, step, answer, out),
            Phase::Copying => self.confirmed(now, &answer),
            Phase::Leaders
            | Phase::Draining
            | Phase::BackingOff { .. }
            | Phase::Parked
            | Phase::Stopped
            | Phase::Released => {}
        }
    }

    fn right_changed(&mut self, now: Now, right: Right, out: &mut Vec<Action>) {
        let had_ended = now.boot >= self.right.ends_at;
        self.right = right;
        let overtaken = self.status == Some(Status::Parked(Parking::Overtaken));
        // The same epoch again, after a pause: nobody else got the lane in between.
        let again = had_ended || right.epoch > self.resumed_epoch;
        if self.phase == Phase::Parked && overtaken && again && now.boot < right.ends_at {
            self.failures = 0;
            self.begin(now, out);
        }
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Action>) {
        self.wake_at = None;
        match self.phase {
            Phase::BackingOff { until } if now.boot >= until => self.begin(now, out),
            Phase::BackingOff { .. }
            | Phase::Leaders
            | Phase::Opening
            | Phase::Resuming(_)
            | Phase::Copying
            | Phase::Draining
            | Phase::Parked
            | Phase::Stopped
            | Phase::Released => {}
        }
    }

    /// Waits, twice as long with each failure since the last acknowledgement, a quarter of it by chance.
    fn back_off(&mut self, now: Now, why: String, out: &mut Vec<Action>) {
        let doubled = BACKOFF_FIRST.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        let jitter = doubled / 4 * (now.dice % 1024) / 1024;
        self.wait_until(now.boot + doubled - jitter, Waiting::Backoff(why), out);
    }

    /// Not a failure: followers are never far behind for long.
    fn wait_for_replicas(&mut self, now: Now, out: &mut Vec<Action>) {
        let why = "records of the destination are not replicated yet".to_owned();
        self.wait_until(now.boot + BACKOFF_FIRST, Waiting::Backoff(why), out);
    }

    fn wait_until(&mut self, until: Duration, why: Waiting, out: &mut Vec<Action>) {
        self.drop_what_was_read();
        self.phase = Phase::BackingOff { until };
        self.report(Status::Waiting(why), out);
    }

    fn park(&mut self, why: Parking, out: &mut Vec<Action>) {
        self.drop_what_was_read();
        self.phase = Phase::Parked;
        out.push(Action::Idle);
        self.report(Status::Parked(why), out);
    }

    fn stop_for_a_human(&mut self, why: Stop, out: &mut Vec<Action>) {
        self.drop_what_was_read();
        self.phase = Phase::Stopped;
        out.push(Action::Idle);
        self.report(Status::Stopped(why), out);
    }

    /// Offers of before are not of the next reading; answers of before answer another question.
    fn drop_what_was_read(&mut self) {
        self.reading = self.reading.wrapping_add(1);
        self.question = self.question.wrapping_add(1);
        self.asked = false;
        self.offer = None;
        self.skipping = false;
        self.unconfirmed = None;
    }

    fn ask(&mut self, what: Question, out: &mut Vec<Action>) {
        self.question = self.question.wrapping_add(1);
        self.asked = true;
        out.push(Action::Ask { question: self.question, what });
    }

    fn report(&mut self, status: Status, out: &mut Vec<Action>) {
        if self.status.as_ref() != Some(&status) {
            out.push(Action::Report(status.clone()));
            self.status = Some(status);
        }
    }

    /// Whether the broker surely remembers us now and after a batch with this timestamp.
    fn is_intact(&self, next_timestamp: i64, now: Now) -> bool {
        let on_their_way = self.in_flight.iter().map(|flight| flight.remembered_ms).min();
        let fence = Fence {
            engine: copyist_model::Engine::Raw,
            source_compacted: self.birth.source_compacted,
            log_append_time: self.birth.facts.log_append_time,
            producer_expiration: self.birth.facts.producer_expiration,
            remembered_ms: self.remembered_ms.map(|acked| on_their_way.map_or(acked, |sent| sent.min(acked))),
        };
        fence_intact(&fence, next_timestamp, now.wall_ms)
    }

    /// Whether the broker surely remembers us now.
    fn is_remembered(&self, now: Now) -> bool {
        self.remembered_ms.is_some_and(|remembered| self.is_intact(remembered, now))
    }

    /// Whether the right of the epoch under which the destination was asked is still ours.
    fn holds_right(&self, now: Now) -> bool {
        let same = !self.rules.epoch_compared || self.right.epoch == self.resumed_epoch;
        same && now.boot < self.right.ends_at
    }

    fn set_wake(&mut self, now: Now, out: &mut Vec<Action>) {
        let of_phase = match self.phase {
            Phase::BackingOff { until } => Some(until),
            Phase::Copying if self.offer.is_some() => {
                Some(self.right.free_at).filter(|free_at| *free_at > now.boot)
            }
            Phase::Leaders
            | Phase::Opening
            | Phase::Resuming(_)
            | Phase::Copying
            | Phase::Draining
            | Phase::Parked
            | Phase::Stopped
            | Phase::Released => None,
        };
        let of_right =
            self.in_flight.iter().any(|flight| flight.is_abortable()).then_some(self.right.ends_at);
        let of_flush = self.flush_at.filter(|_| self.phase == Phase::Copying && self.storing.is_none());
        let wanted = [of_phase, of_flush, of_right].into_iter().flatten().min();
        if wanted != self.wake_at {
            self.wake_at = wanted;
            out.extend(wanted.map(Action::WakeAt));
        }
    }

    fn start_copying(&mut self, evidence: Evidence, out: &mut Vec<Action>) {
        self.phase = Phase::Copying;
        self.alone = true;
        self.evidence = evidence;
        self.cause = None;
        self.broken = false;
        self.report(Status::Copying(evidence), out);
    }
}

/// Where a lane stands before it has asked: its stored position, if it is of the record's generation, else the place
/// where the record begins.
fn starting_position(birth: &Birth) -> Position {
    let of_record = birth.record.as_ref().map_or_else(
        || Position {
            generation: copyist_model::LaneGeneration::default(),
            next_offset: 0,
            leader_epoch: -1,
            n: 0,
            destination_offset: 0,
        },
        opening::first_position,
    );
    match birth.stored {
        Stored::Position(position) if position.generation == of_record.generation => position,
        Stored::Position(_) | Stored::Start { .. } | Stored::Nothing => of_record,
    }
}
