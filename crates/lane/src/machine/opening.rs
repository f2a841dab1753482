//! A new generation: its producer id, its place at the destination, its record, its first position; then copying.

use copyist_model::{AssignmentEpoch, Engine, LaneGeneration, LaneRecord, Position};

use super::{Lane, Phase};
use crate::birth::{Birth, Start, Stored};
use crate::event::{Action, Answer, Evidence, Now, Parking, Question, Read, Refusal, Status, Waiting};
use crate::loss::Stop;
use crate::verdict::{Refused, refused};

/// A generation that is to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    from: From,
    /// Records counted so far.
    base_n: i64,
    /// Where the destination must end, if the old producer's records are all that it may hold.
    expected_end: Option<i64>,
    /// Under which epoch the destination was asked for it. Under another one somebody else may have gone on in between.
    epoch: Option<AssignmentEpoch>,
    /// It follows from what the destination said, not from how the lane was born.
    derived: bool,
    step: Step,
}

/// Where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// As the start policy says.
    Policy(Start),
    Offset {
        next_offset: i64,
        leader_epoch: i32,
    },
    /// Where it is: only that others write into the destination too is new.
    Shared,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Begin,
    NewProducerId {
        from: i64,
    },
    LogEnd {
        from: i64,
        producer_id: i64,
    },
    Watermark {
        from: i64,
        producer_id: i64,
        log_end: i64,
    },
    /// Kept, so that a repetition proposes the same.
    Proposed {
        record: Box<LaneRecord>,
        first: Position,
        epoch: AssignmentEpoch,
    },
    Committed {
        first: Position,
    },
}

impl Opening {
    fn new(from: From, base_n: i64) -> Self {
        Self { from, base_n, expected_end: None, epoch: None, derived: false, step: Step::Begin }
    }

    /// From what the destination said under this epoch.
    pub(super) fn derived(from: From, base_n: i64, epoch: AssignmentEpoch) -> Self {
        Self { epoch: Some(epoch), derived: true, ..Self::new(from, base_n) }
    }

    /// A new producer id, and nothing else is new.
    pub(super) fn renewing(self, expected_end: Option<i64>) -> Self {
        Self { expected_end, ..self }
    }

    /// `None`: a record holds, and the lane goes on under it.
    pub(super) fn at_birth(birth: &Birth) -> Option<Self> {
        let known_n = birth.record.as_ref().map_or(0, |record| record.base_n);
        match (birth.stored, &birth.record) {
            (Stored::Start { next_offset }, _) => {
                Some(Self::new(From::Offset { next_offset, leader_epoch: -1 }, known_n))
            }
            // A position that outlived its record: the store was lost.
            (Stored::Position(position), None) => {
                let Position { next_offset, leader_epoch, n, .. } = position;
                Some(Self::new(From::Offset { next_offset, leader_epoch }, n))
            }
            (Stored::Nothing, None) => Some(Self::new(From::Policy(birth.start), known_n)),
            // A crash between the record and its first position; or a position of an earlier generation.
            (Stored::Nothing, Some(record)) => Some(Self::committed(record)),
            (Stored::Position(position), Some(record)) => {
                (position.generation != record.generation).then(|| Self::committed(record))
            }
        }
    }

    fn committed(record: &LaneRecord) -> Self {
        let first = first_position(record);
        Self { step: Step::Committed { first }, ..Self::new(From::Shared, record.base_n) }
    }
}

/// The position with which a record begins.
pub(super) fn first_position(record: &LaneRecord) -> Position {
    Position {
        generation: record.generation,
        next_offset: record.base_source_offset,
        leader_epoch: -1,
        n: record.base_n,
        destination_offset: record.base_offset,
    }
}

impl Lane {
    /// Begins, or repeats what was not answered.
    pub(super) fn open(&mut self, now: Now, out: &mut Vec<Action>) {
        if self.is_opening_outdated() {
            return self.open_anew(now, out);
        }
        let Some(opening) = self.opening.clone() else { return };
        match opening.step {
            Step::Proposed { record, first, .. } => self.propose(record, first, out),
            Step::Committed { first } => self.store_first(first, out),
            Step::Begin | Step::NewProducerId { .. } | Step::LogEnd { .. } | Step::Watermark { .. } => {
                let waits = opening.from != From::Shared && self.rules.lease_margin;
                if waits && now.boot < self.right.free_at {
                    return self.wait_until(self.right.free_at, Waiting::FormerHolder, out);
                }
                self.phase = Phase::Opening;
                self.opening.iter_mut().for_each(|opening| opening.epoch = Some(self.right.epoch));
                self.report(Status::Waiting(Waiting::Answers), out);
                self.open_from(opening.from, out);
            }
        }
    }

    /// What was asked under an earlier epoch may be wrong by now, unless it is committed.
    fn is_opening_outdated(&self) -> bool {
        let Some(opening) = self.opening.as_ref().filter(|_| self.rules.epoch_compared) else { return false };
        let committed = matches!(opening.step, Step::Committed { .. });
        !committed && opening.epoch.is_some_and(|epoch| epoch != self.right.epoch)
    }

    /// A new epoch came with the record that this lane has, so nothing that it proposed has been committed.
    fn open_anew(&mut self, now: Now, out: &mut Vec<Action>) {
        let of_birth = self.opening.take().filter(|opening| !opening.derived);
        self.opening = of_birth.map(|opening| Opening { epoch: None, step: Step::Begin, ..opening });
        self.begin(now, out);
    }

    fn open_from(&mut self, from: From, out: &mut Vec<Action>) {
        match from {
            From::Policy(Start::Nowhere) => self.stop_for_a_human(Stop::NoPosition, out),
            From::Policy(Start::Earliest | Start::Latest) => {
                self.opening_step(Step::Begin);
                self.ask(Question::SourceRange, out);
            }
            From::Offset { next_offset, .. } => {
                self.opening_step(Step::NewProducerId { from: next_offset });
                self.ask(Question::NewProducerId, out);
            }
            From::Shared => self.propose_shared(out),
        }
    }

    fn opening_step(&mut self, step: Step) {
        self.opening.iter_mut().for_each(|opening| opening.step = step.clone());
    }

    pub(super) fn opening_answer(&mut self, now: Now, answer: Answer, out: &mut Vec<Action>) {
        let Some(opening) = self.opening.clone() else { return };
        match (opening.step, answer) {
            (Step::Begin, Answer::SourceRange { earliest, latest }) => {
                let from = if opening.from == From::Policy(Start::Latest) { latest } else { earliest };
                self.opening_step(Step::NewProducerId { from });
                self.ask(Question::NewProducerId, out);
            }
            (Step::NewProducerId { from }, Answer::NewProducerId(producer_id)) => {
                self.opening_step(Step::LogEnd { from, producer_id });
                self.resumed_epoch = self.right.epoch;
                self.resumed_at = now.boot;
                self.ask(Question::LogEnd, out);
            }
            (Step::LogEnd { .. }, Answer::LogEnd(log_end))
                if opening.expected_end.is_some_and(|expected| expected != log_end) =>
            {
                self.opening = None;
                self.renew_producer(now, out);
            }
            (Step::LogEnd { from, producer_id }, Answer::LogEnd(log_end)) => {
                self.opening_step(Step::Watermark { from, producer_id, log_end });
                self.ask(Question::HighWatermark, out);
            }
            (Step::Watermark { .. }, Answer::HighWatermark(_)) if self.is_opening_outdated() => {
                self.open_anew(now, out);
            }
            (Step::Watermark { from, producer_id, log_end }, Answer::HighWatermark(high))
                if high >= log_end =>
            {
                self.propose_new(opening.base_n, from, producer_id, log_end, opening.from, out);
            }
            (_, Answer::Refused { code, text }) => self.question_refused(now, code, text, out),
            (_, Answer::HighWatermark(_)) => self.wait_for_replicas(now, out),
            (_, _) => self.back_off(now, "no answer".to_owned(), out),
        }
    }

    /// An error in answer to a question that has no other answer.
    pub(super) fn question_refused(&mut self, now: Now, code: i16, text: String, out: &mut Vec<Action>) {
        match refused(code) {
            Refused::Denied { needs } => self.stop_for_a_human(Stop::Denied { code, needs }, out),
            Refused::Again | Refused::OutOfRange | Refused::Unsupported => {
                out.push(Action::RefreshMetadata);
                self.back_off(now, format!("error {code}: {text}"), out);
            }
        }
    }

    fn propose_new(
        &mut self,
        base_n: i64,
        base_source_offset: i64,
        producer_id: i64,
        base_offset: i64,
        from: From,
        out: &mut Vec<Action>,
    ) {
        let record = LaneRecord {
            lane: self.birth.lane.clone(),
            generation: self.next_generation(),
            engine: Engine::Raw,
            source: self.birth.source.clone(),
            destination: self.birth.destination.clone(),
            producer_id,
            base_n,
            base_offset,
            base_source_offset,
            shared: self.birth.shared || self.record.as_ref().is_some_and(|record| record.shared),
        };
        let mut first = first_position(&record);
        if let From::Offset { leader_epoch, .. } = from {
            first.leader_epoch = leader_epoch;
        }
        self.propose(Box::new(record), first, out);
    }

    fn propose_shared(&mut self, out: &mut Vec<Action>) {
        let generation = self.next_generation();
        if let Some(record) = &self.record {
            let record = Box::new(LaneRecord { generation, shared: true, ..record.clone() });
            let first = Position { generation, ..self.acked };
            self.propose(record, first, out);
        }
    }

    /// Above every generation seen: also above that of a position whose record is lost, or which a user has overruled.
    ///
    /// And above those that are not to be seen, of a lane that was deleted and whose positions land late: each took a
    /// commit, so none is beyond the revision at which a later holder is assigned, as long as the store is neither
    /// restored nor replaced.
    fn next_generation(&self) -> LaneGeneration {
        let of_position = match self.birth.stored {
            Stored::Position(position) => position.generation.0,
            Stored::Start { .. } | Stored::Nothing => 0,
        };
        let of_record = self.record.as_ref().map_or(0, |record| record.generation.0);
        let of_others = self.birth.newest_generation.max(self.birth.altered);
        let seen = of_position.max(of_record).max(of_others.0);
        LaneGeneration((seen + 1).max(self.right.epoch.revision.0))
    }

    fn propose(&mut self, record: Box<LaneRecord>, first: Position, out: &mut Vec<Action>) {
        self.phase = Phase::Opening;
        let epoch = self.right.epoch;
        self.opening_step(Step::Proposed { record: record.clone(), first, epoch });
        let replaces = self.record.as_ref().map_or(self.birth.altered.0, |record| record.generation.0);
        out.push(Action::Propose { epoch, replaces, record });
        self.report(Status::Waiting(Waiting::Store), out);
    }

    pub(super) fn record_committed(&mut self, out: &mut Vec<Action>) {
        let Some(Opening { step: Step::Proposed { record, first, .. }, .. }) = self.opening.clone() else {
            return;
        };
        let same_producer = self.record.as_ref().is_some_and(|old| old.producer_id == record.producer_id);
        self.record = Some(*record);
        self.acked = first;
        self.next_n = first.n;
        self.stored = None;
        self.unstored_bytes = 0;
        self.flush_at = None;
        if !same_producer {
            self.remembered_ms = None;
            self.known_high = None;
        }
        self.opening_step(Step::Committed { first });
        if self.phase == Phase::Opening {
            self.store_first(first, out);
        }
    }

    pub(super) fn record_refused(&mut self, now: Now, refusal: Refusal, out: &mut Vec<Action>) {
        let Some(Opening { step: Step::Proposed { epoch, .. }, .. }) = self.opening else { return };
        if self.phase != Phase::Opening {
            return;
        }
        match refusal {
            // Refused for its epoch, perhaps, and a newer one is here.
            Refusal::Outdated if epoch < self.right.epoch => {
                self.back_off(now, "the lane record was refused".to_owned(), out);
            }
            Refusal::Outdated => self.park(Parking::Superseded, out),
            Refusal::Unanswered => self.back_off(now, "the lane record is not stored yet".to_owned(), out),
        }
    }

    fn store_first(&mut self, first: Position, out: &mut Vec<Action>) {
        self.phase = Phase::Opening;
        self.storing = Some(first);
        out.push(Action::StorePosition(first));
        self.report(Status::Waiting(Waiting::Store), out);
    }

    /// The first position is stored: a new producer starts from nothing, one that was there before is asked for.
    pub(super) fn opened(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(opening) = self.opening.take() else { return };
        if opening.from == From::Shared {
            return self.begin(now, out);
        }
        self.known_high = Some(self.acked.n);
        self.heard_at = self.resumed_at;
        self.start_reading(self.acked.next_offset, 0, out);
        self.start_copying(Evidence::Fresh, out);
    }

    pub(super) fn is_storing_first(&self) -> bool {
        let committed = matches!(self.opening, Some(Opening { step: Step::Committed { .. }, .. }));
        committed && self.phase == Phase::Opening
    }

    pub(super) fn start_reading(&mut self, from_offset: i64, skip_records: u64, out: &mut Vec<Action>) {
        self.drop_what_was_read();
        self.skipping = skip_records > 0;
        let leader_epoch = if from_offset == self.acked.next_offset { self.acked.leader_epoch } else { -1 };
        out.push(Action::Read(Read { reading: self.reading, from_offset, skip_records, leader_epoch }));
    }
}
