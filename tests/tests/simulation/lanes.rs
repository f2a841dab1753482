//! The lanes of a task on an agent: the machine of each, and what is done for it. As the raw engine's shell does it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use copyist_agent::core;
use copyist_agent::job::{JobEvent, Order, Proposal, Unanswered, Verdict};
use copyist_lane::{
    Action, Answer, Birth, DestinationFacts, Event, Lane, Now, Offer, Outcome, Parking, Question, Refusal,
    Right, Send, Start, Status, Stored, Waiting,
};
use copyist_model::{
    AssignmentEpoch, AssignmentId, InstanceState, LaneGeneration, LaneId, LaneRecord, Position, TopicName,
};

use crate::agent::Agent;
use crate::broker::EXPIRATION_MS;
use crate::brokers::{Request, SourceKey, end, lanes_of};
use crate::options::IN_FLIGHT_MS;
use crate::queue::{Happening, Timer, Turn};
use crate::sim::{Sim, WALL_BEGAN_MS};

const PROPOSAL_PATIENCE_MS: u64 = 30_000;
const EPOCH_PATIENCE_MS: u64 = 15_000;
const SUPERSEDED_PAUSE_MS: u64 = 1_000;
const RECORDS_PER_BATCH: usize = 5;

/// Names a lane at an agent, in one of its lives there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneAt {
    pub agent: usize,
    pub life: u64,
    pub id: AssignmentId,
    pub key: SourceKey,
    pub serial: u64,
}

/// What comes to a lane.
#[derive(Debug, Clone)]
pub enum Word {
    /// Its position was looked up.
    Born,
    /// There may be something to read, or its time has come.
    Look,
    Hears(Box<Event>),
    /// Nobody answered a proposal.
    ProposalSilent(core::ProposalNumber),
    EpochSilent {
        question: u32,
    },
}

/// Where the source is read.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    reading: u32,
    next: i64,
    skip: u64,
    told_until: i64,
}

#[derive(Default)]
pub struct LaneCell {
    serial: u64,
    destination: Option<TopicName>,
    machine: Option<Lane>,
    status: Option<Status>,
    /// It has reached both its leaders.
    reached: bool,
    right: copyist_agent::job::Right,
    pub wire: VecDeque<Request>,
    cursor: Option<Cursor>,
    offered: Option<(Offer, Vec<i64>)>,
    wake_at: Option<u64>,
    told_record: Option<LaneRecord>,
    store_is_empty: bool,
    proposed: Option<(core::ProposalNumber, LaneRecord)>,
    /// The next renewal tells.
    asks_epoch: Option<(u32, Duration)>,
    leaving: bool,
    again: bool,
}

impl LaneCell {
    pub fn is_life(&self, serial: u64) -> bool {
        self.serial == serial
    }
}

pub type Lanes = BTreeMap<SourceKey, LaneCell>;

impl Agent {
    fn lane_at(&self, id: &AssignmentId, key: &SourceKey, serial: u64) -> LaneAt {
        LaneAt { agent: self.index, life: self.process.life, id: id.clone(), key: key.clone(), serial }
    }

    fn cell(&mut self, at: &LaneAt) -> Option<&mut LaneCell> {
        let cell = self.jobs.get_mut(&at.id)?.lanes.get_mut(&at.key)?;
        Some(cell).filter(|cell| cell.serial == at.serial)
    }

    fn plan_word(&self, sim: &mut Sim, delay: u64, at: &LaneAt, word: Word) {
        sim.wake(&self.process, delay, Timer::Lane { at: Box::new(at.clone()), word });
    }

    /// A task is to copy the lanes of its order, and no others.
    pub fn order_lanes(&mut self, sim: &mut Sim, id: &AssignmentId, before: Option<&Order>) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let order = job.order.clone();
        let mut wanted = if job.is_stopping { BTreeMap::new() } else { lanes_of(&order) };
        let is_retried = before.is_some_and(|before| before.revision < order.revision);
        let policy_changed = before.is_some_and(|before| before.spec.loss_policy != order.spec.loss_policy);
        for key in job.lanes.keys().cloned().collect::<Vec<_>>() {
            let is_wanted = wanted.remove(&key).is_some();
            let Some(cell) = self.jobs.get_mut(id).and_then(|job| job.lanes.get_mut(&key)) else { continue };
            if !is_wanted || policy_changed {
                cell.again = is_wanted;
                self.leave_lane(sim, id, &key);
            } else if cell.leaving {
                cell.again = true;
            } else if is_retried && matches!(cell.status, Some(Status::Stopped(_))) {
                self.forget_lane(sim, id, &key);
                self.conceive(sim, id, key, None, 0);
            }
        }
        for (key, destination) in wanted {
            let cell = LaneCell { destination: Some(destination), ..LaneCell::default() };
            self.conceive(sim, id, key, Some(cell), 0);
        }
        self.tell_task(sim, id);
    }

    fn conceive(
        &mut self,
        sim: &mut Sim,
        id: &AssignmentId,
        key: SourceKey,
        cell: Option<LaneCell>,
        delay: u64,
    ) {
        let serial = self.next_serial();
        let delay = delay + sim.between(2, 40);
        let Some(job) = self.jobs.get_mut(id) else { return };
        let destination = lanes_of(&job.order).remove(&key);
        let cell = LaneCell { serial, ..cell.unwrap_or(LaneCell { destination, ..LaneCell::default() }) };
        job.lanes.insert(key.clone(), cell);
        let at = self.lane_at(id, &key, serial);
        self.plan_word(sim, delay, &at, Word::Born);
    }

    /// A lane drains, and is released.
    fn leave_lane(&mut self, sim: &mut Sim, id: &AssignmentId, key: &SourceKey) {
        let Some(cell) = self.jobs.get_mut(id).and_then(|job| job.lanes.get_mut(key)) else { return };
        let is_alive = cell.machine.is_some();
        if std::mem::replace(&mut cell.leaving, true) && is_alive {
            return;
        }
        let serial = cell.serial;
        let at = self.lane_at(id, key, serial);
        if is_alive {
            self.plan_word(sim, 0, &at, Word::Hears(Box::new(Event::Stop)));
        } else {
            self.lane_released(sim, &at);
        }
    }

    pub fn leave_lanes(&mut self, sim: &mut Sim, id: &AssignmentId) {
        let keys: Vec<SourceKey> =
            self.jobs.get(id).into_iter().flat_map(|job| job.lanes.keys().cloned()).collect();
        for key in keys {
            if let Some(cell) = self.jobs.get_mut(id).and_then(|job| job.lanes.get_mut(&key)) {
                cell.again = false;
            }
            self.leave_lane(sim, id, &key);
        }
        self.end_if_released(sim, id);
    }

    /// Nothing of a lane is left here; what it wrote last may be on its way.
    pub fn forget_lane(&mut self, sim: &mut Sim, id: &AssignmentId, key: &SourceKey) -> Option<LaneCell> {
        let mut cell = self.jobs.get_mut(id)?.lanes.remove(key)?;
        orphan(sim, &mut cell.wire, false);
        Some(cell)
    }

    fn lane_released(&mut self, sim: &mut Sim, at: &LaneAt) {
        let Some(cell) = self.forget_lane(sim, &at.id, &at.key) else { return };
        if cell.again {
            self.conceive(sim, &at.id, at.key.clone(), None, 0);
        }
        self.end_if_released(sim, &at.id);
    }

    fn end_if_released(&mut self, sim: &mut Sim, id: &AssignmentId) {
        if let Some(job) = self.jobs.get(id).filter(|job| job.is_stopping && job.lanes.is_empty()) {
            let timer = Timer::Job { id: id.clone(), epoch: job.epoch, turn: Turn::End };
            sim.wake(&self.process, 0, timer);
        }
    }

    /// Something comes to a lane.
    pub fn lane_word(&mut self, sim: &mut Sim, at: &LaneAt, word: Word) {
        let Some(cell) = self.cell(at) else { return };
        match word {
            Word::Born => self.give_birth(sim, at),
            Word::Hears(event) => self.feed(sim, at, *event),
            Word::Look => {
                let due = cell.wake_at;
                let now = self.now(sim);
                if due.is_some_and(|due| due <= now) {
                    if let Some(cell) = self.cell(at) {
                        cell.wake_at = None;
                    }
                    self.feed(sim, at, Event::Tick);
                }
            }
            Word::ProposalSilent(number) => {
                if cell.proposed.as_ref().is_some_and(|(waiting, _)| *waiting == number) {
                    cell.proposed = None;
                    self.feed(sim, at, Event::RecordRefused(Refusal::Unanswered));
                }
            }
            Word::EpochSilent { question } => {
                if cell.asks_epoch.take_if(|(waiting, _)| *waiting == question).is_some() {
                    self.feed(sim, at, Event::Answer { question, answer: Answer::Lost });
                }
            }
        }
        self.read(sim, at);
    }

    fn give_birth(&mut self, sim: &mut Sim, at: &LaneAt) {
        let lane = lane_id(&at.id, &at.key);
        let stored = sim.brokers.positions.get(&lane).cloned();
        let Some(job) = self.jobs.get(&at.id) else { return };
        let (right, epoch, order) = (job.right, job.epoch, &job.order);
        let told = job.lanes.get(&at.key).and_then(|cell| cell.told_record.clone());
        let records = [told, order.records.get(&lane).cloned(), stored.as_ref().map(|it| it.record.clone())];
        let (topic, partition) = &at.key;
        let Some(destination) = job.lanes.get(&at.key).and_then(|cell| cell.destination.clone()) else {
            return;
        };
        let birth = Birth {
            lane,
            source: end("source", topic, *partition),
            destination: end("destination", &destination, *partition),
            record: records.into_iter().flatten().max_by_key(|record| record.generation),
            stored: stored.map_or(Stored::Nothing, |stored| Stored::Position(stored.position)),
            start: Start::Earliest,
            loss_policy: order.spec.loss_policy,
            shared: false,
            source_compacted: false,
            facts: DestinationFacts {
                producer_expiration: Some(Duration::from_millis(EXPIRATION_MS.unsigned_abs())),
                log_append_time: false,
                max_batch_bytes: 100_000,
                describes_producers: true,
            },
            right: lane_right(epoch, right),
            flush_interval: Duration::from_millis(1_000),
        };
        let Some(cell) = self.cell(at) else { return };
        cell.machine = Some(Lane::new(birth));
        cell.right = right;
        sim.trace.count("lanes born");
        self.feed(sim, at, Event::Leaders { source: true, destination: true });
    }

    /// One event for one lane; first its right, if that is another than it knows.
    fn feed(&mut self, sim: &mut Sim, at: &LaneAt, event: Event) {
        let boot = Duration::from_millis(self.now(sim));
        let Some(job) = self.jobs.get_mut(&at.id) else { return };
        let (right, epoch) = (job.right, job.epoch);
        let Some(cell) = job.lanes.get_mut(&at.key).filter(|cell| cell.serial == at.serial) else { return };
        let Some(machine) = &mut cell.machine else { return };
        let wall_ms = WALL_BEGAN_MS + i64::try_from(sim.now).expect("a short test");
        let dice = u32::try_from(sim.dice.below(1 << 32)).expect("32 bits");
        let now = Now { boot, wall_ms, dice };
        let mut actions = Vec::new();
        if cell.right != right {
            cell.right = right;
            machine.step(now, Event::Right(lane_right(epoch, right)), &mut actions);
        }
        sim.note(self.process.node, "lane hears", || format!("{}-{} {event:?}", at.key.0, at.key.1));
        machine.step(now, event, &mut actions);
        actions.into_iter().for_each(|action| self.perform_lane(sim, at, action));
    }

    fn perform_lane(&mut self, sim: &mut Sim, at: &LaneAt, action: Action) {
        sim.note(self.process.node, "lane does", || format!("{}-{} {action:?}", at.key.0, at.key.1));
        match action {
            Action::Ask { question, what } => self.ask(sim, at, question, what),
            Action::Propose { replaces, record, .. } => {
                self.propose(sim, at, LaneGeneration(replaces), *record);
            }
            Action::StorePosition(position) => self.store_position(sim, at, position),
            Action::Read(read) => {
                let Some(cell) = self.cell(at) else { return };
                cell.offered = None;
                let (reading, next, skip) = (read.reading, read.from_offset, read.skip_records);
                cell.cursor = Some(Cursor { reading, next, skip, told_until: next });
                self.plan_word(sim, 1, at, Word::Look);
            }
            Action::Send(send) => self.send_batch(sim, at, &send),
            Action::Abort => {
                sim.trace.count("aborted writes");
                self.lose_requests(sim, at, |request| request.is_weak);
            }
            Action::WakeAt(when) => {
                let when = u64::try_from(when.as_millis()).expect("a short test");
                let delay = self.process.clock.when(when).saturating_sub(sim.now) + 1;
                if let Some(cell) = self.cell(at) {
                    cell.wake_at = Some(when);
                    self.plan_word(sim, delay, at, Word::Look);
                }
            }
            Action::Report(status) => self.report_lane(sim, at, status),
            Action::Idle => {
                if let Some(cell) = self.cell(at) {
                    cell.cursor = None;
                    cell.offered = None;
                }
            }
            Action::Released { .. } => self.lane_released(sim, at),
            Action::LimitBatches { .. }
            | Action::VerifySource
            | Action::RefreshMetadata
            | Action::RecordGap(_) => {}
        }
    }

    fn ask(&mut self, sim: &mut Sim, at: &LaneAt, question: u32, what: Question) {
        let Question::EpochCurrent { epoch } = what else {
            let delay = sim.between(1, 10);
            let asked = Happening::LaneAsks { at: Box::new(at.clone()), question, what };
            return sim.after(delay, asked);
        };
        sim.trace.count("asked whether the epoch is current");
        let Some(job) = self.jobs.get(&at.id) else { return };
        if job.epoch != epoch {
            let answer = Answer::EpochCurrent(false);
            return self.plan_word(sim, 1, at, Word::Hears(Box::new(Event::Answer { question, answer })));
        }
        let before = job.right.ends_at;
        if let Some(cell) = self.cell(at) {
            cell.asks_epoch = Some((question, before));
            self.plan_word(sim, EPOCH_PATIENCE_MS, at, Word::EpochSilent { question });
        }
    }

    fn propose(&mut self, sim: &mut Sim, at: &LaneAt, replaces: LaneGeneration, record: LaneRecord) {
        let Some(job) = self.jobs.get(&at.id) else { return };
        let epoch = job.epoch;
        let number = core::ProposalNumber(self.next_serial());
        if let Some(cell) = self.cell(at) {
            cell.proposed = Some((number, record.clone()));
        }
        self.proposals.insert(number, at.clone());
        sim.trace.count("lane records proposed");
        self.plan_word(sim, PROPOSAL_PATIENCE_MS, at, Word::ProposalSilent(number));
        let proposal = Box::new(Proposal { replaces, record });
        self.step(sim, core::Event::Proposed { number, id: at.id.clone(), epoch, proposal });
    }

    /// A proposal is settled.
    pub fn proposal_answered(
        &mut self,
        sim: &mut Sim,
        number: core::ProposalNumber,
        answer: Result<Verdict, Unanswered>,
    ) {
        let Some(at) = self.proposals.remove(&number) else { return };
        let Some(cell) = self.cell(&at) else { return };
        let waits = cell.proposed.take_if(|(waiting, _)| *waiting == number);
        let Some((_, record)) = waits else { return };
        let event = match answer {
            Ok(Verdict::Committed) => {
                cell.told_record = Some(record);
                Event::RecordCommitted
            }
            Ok(Verdict::Refused { holds: None, .. })
                if !cell.store_is_empty && cell.machine.as_ref().is_some_and(|it| it.record().is_some()) =>
            {
                cell.store_is_empty = true;
                return self.propose(sim, &at, LaneGeneration(0), record);
            }
            Ok(Verdict::Refused { holds, .. }) => {
                sim.trace.count("lane records refused");
                cell.told_record = holds.map(|holds| *holds).or(cell.told_record.take());
                Event::RecordRefused(Refusal::Outdated)
            }
            Err(Unanswered) => Event::RecordRefused(Refusal::Unanswered),
        };
        self.plan_word(sim, 0, &at, Word::Hears(Box::new(event)));
    }

    fn store_position(&mut self, sim: &mut Sim, at: &LaneAt, position: Position) {
        let record = self.cell(at).and_then(|cell| cell.machine.as_ref()?.record().cloned());
        let Some(record) = record else { return };
        let delay = sim.between(2, 30);
        let stores = Happening::LaneStores { at: Box::new(at.clone()), position, record: Box::new(record) };
        sim.after(delay, stores);
    }

    fn send_batch(&mut self, sim: &mut Sim, at: &LaneAt, send: &Send) {
        let (by, now) = (self.holder.clone(), sim.now);
        let epoch = self.jobs.get(&at.id).map(|job| job.epoch).unwrap_or_default();
        // Shorter than a connection keeps on trying to deliver, counted from the end of the right.
        let delay = if sim.chance(12) { sim.between(100, IN_FLIGHT_MS - 200) } else { sim.between(1, 10) };
        let Some(cell) = self.cell(at) else { return };
        let Some((offer, records)) = cell.offered.take() else {
            return self.hear_lost(sim, at, send.token);
        };
        let latest = cell.wire.back().map_or(0, |request| request.arrives);
        let arrives = (now + delay).max(latest);
        cell.wire.push_back(Request {
            to: at.key.clone(),
            by,
            epoch,
            token: send.token,
            producer_id: send.producer_id,
            sequence: i64::from(send.sequence),
            records,
            max_timestamp: offer.max_timestamp,
            is_weak: send.own_connection,
            sent: now,
            arrives,
        });
        sim.trace.count(if send.own_connection { "batches sent by right" } else { "batches sent by fence" });
        sim.queue.plan(arrives, Happening::Produces(Box::new(at.clone())));
    }

    fn hear_lost(&self, sim: &mut Sim, at: &LaneAt, token: u64) {
        let lost = Event::Answered { token, outcome: Outcome::Lost };
        self.plan_word(sim, 0, at, Word::Hears(Box::new(lost)));
    }

    /// Requests that nobody will answer; they may arrive all the same.
    pub fn lose_requests(&mut self, sim: &mut Sim, at: &LaneAt, which: impl Fn(&Request) -> bool) {
        let Some(cell) = self.cell(at) else { return };
        let wire = std::mem::take(&mut cell.wire);
        let (mut lost, kept): (VecDeque<Request>, VecDeque<Request>) = wire.into_iter().partition(which);
        cell.wire = kept;
        let tokens: Vec<u64> = lost.iter().map(|request| request.token).collect();
        orphan(sim, &mut lost, false);
        tokens.into_iter().for_each(|token| self.hear_lost(sim, at, token));
    }

    /// All connections of the agent to the brokers break.
    pub fn cut_connections(&mut self, sim: &mut Sim) {
        for at in self.all_lanes() {
            self.lose_requests(sim, &at, |_| true);
            self.plan_word(sim, 1, &at, Word::Hears(Box::new(Event::Disconnected)));
        }
    }

    pub fn all_lanes(&self) -> Vec<LaneAt> {
        let lanes = self.jobs.iter().flat_map(|(id, job)| {
            let living = job.lanes.iter().filter(|(_, cell)| cell.machine.is_some());
            living.map(move |(key, cell)| self.lane_at(id, key, cell.serial))
        });
        lanes.collect()
    }

    /// Rights changed: lanes that wait for that hear of it.
    pub fn lanes_hear_right(&mut self, sim: &mut Sim, id: &AssignmentId) {
        let lanes: Vec<LaneAt> = self.all_lanes().into_iter().filter(|at| at.id == *id).collect();
        for at in lanes {
            let Some(job) = self.jobs.get(&at.id) else { return };
            let (right, epoch) = (job.right, job.epoch);
            let Some(cell) = self.cell(&at) else { continue };
            let is_told =
                |(_, before): &mut (u32, Duration)| right.ends_at.is_zero() || right.ends_at > *before;
            let asked = cell.asks_epoch.take_if(is_told);
            cell.right = right;
            self.feed(sim, &at, Event::Right(lane_right(epoch, right)));
            if let Some((question, _)) = asked {
                let answer = Answer::EpochCurrent(!right.ends_at.is_zero());
                self.feed(sim, &at, Event::Answer { question, answer });
            }
            self.read(sim, &at);
        }
    }

    fn report_lane(&mut self, sim: &mut Sim, at: &LaneAt, status: Status) {
        match &status {
            Status::Copying(_) => sim.trace.count("lanes resumed"),
            Status::Waiting(Waiting::FormerHolder) => sim.trace.count("lanes wait for a former holder"),
            Status::Waiting(Waiting::Right) => sim.trace.count("lanes wait for the right"),
            Status::Parked(Parking::Overtaken) => sim.trace.count("lanes overtaken"),
            Status::Parked(Parking::Superseded) => sim.trace.count("lanes superseded"),
            Status::Stopped(stop) => {
                sim.trace.count("lanes stopped");
                sim.facts.push(crate::invariants::Fact::LaneStopped(format!("{}: {stop}", at.id)));
            }
            Status::Waiting(_) | Status::Released => {}
        }
        let is_superseded = status == Status::Parked(Parking::Superseded);
        let Some(cell) = self.cell(at) else { return };
        let reaches =
            matches!(status, Status::Copying(_) | Status::Waiting(Waiting::Right | Waiting::FormerHolder));
        cell.reached |= reaches;
        cell.status = Some(status);
        if is_superseded && cell.leaving {
            return self.lane_released(sim, at);
        }
        if is_superseded && let Some(cell) = self.forget_lane(sim, &at.id, &at.key) {
            let LaneCell { destination, told_record, reached, .. } = cell;
            let next = LaneCell { destination, told_record, reached, ..LaneCell::default() };
            self.conceive(sim, &at.id, at.key.clone(), Some(next), SUPERSEDED_PAUSE_MS);
        }
        self.tell_task(sim, &at.id);
    }

    /// The state of a task, if it is another one than was told.
    pub fn tell_task(&mut self, sim: &mut Sim, id: &AssignmentId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let state = if job.order.paused {
            InstanceState::Paused
        } else if job.lanes.values().any(|cell| matches!(cell.status, Some(Status::Stopped(_)))) {
            InstanceState::Failed
        } else if job.lanes.values().all(|cell| cell.reached) {
            InstanceState::Running
        } else {
            InstanceState::Unassigned
        };
        if job.told_state != Some(state) && !job.is_stopping {
            job.told_state = Some(state);
            let (epoch, trace) = (job.epoch, String::new());
            let id = id.clone();
            self.step(sim, core::Event::Job(JobEvent::Status { id, epoch, state, trace }));
        }
    }

    /// Reads on: offers the next batch as long as it is taken, or says what went by.
    fn read(&mut self, sim: &mut Sim, at: &LaneAt) {
        loop {
            let latest = sim.brokers.source_end(&at.key);
            let Some(cell) = self.cell(at) else { return };
            let Some(mut cursor) = cell.cursor.filter(|_| cell.offered.is_none()) else { return };
            if cursor.skip > 0 {
                while cursor.skip > 0 && cursor.next < latest {
                    cursor.skip -= u64::from(sim.brokers.timestamp(&at.key, cursor.next).is_some());
                    cursor.next += 1;
                }
                cell.cursor = Some(cursor);
                if cursor.skip > 0 {
                    return;
                }
                let (reading, next_offset) = (cursor.reading, cursor.next);
                self.feed(sim, at, Event::SkippedTo { reading, next_offset, leader_epoch: 0 });
            } else if !self.offer(sim, at, cursor) {
                return;
            }
        }
    }

    /// Returns whether something was offered or said.
    fn offer(&mut self, sim: &mut Sim, at: &LaneAt, mut cursor: Cursor) -> bool {
        let latest = sim.brokers.source_end(&at.key);
        let wanted = 1 + sim.dice.index(RECORDS_PER_BATCH);
        let mut records = Vec::with_capacity(wanted);
        while records.len() < wanted && cursor.next < latest {
            if sim.brokers.timestamp(&at.key, cursor.next).is_some() {
                records.push(cursor.next);
            }
            cursor.next += 1;
        }
        let reading = cursor.reading;
        let event = if let Some(&first_offset) = records.first() {
            let stamps = records.iter().filter_map(|offset| sim.brokers.timestamp(&at.key, *offset));
            let offer = Offer {
                reading,
                first_offset,
                next_offset: cursor.next,
                count: u32::try_from(records.len()).expect("small"),
                leader_epoch: 0,
                max_timestamp: stamps.max().expect("some"),
                bytes: 100 * u32::try_from(records.len()).expect("small"),
            };
            if let Some(cell) = self.cell(at) {
                cell.offered = Some((offer, records));
            }
            Event::Offered(offer)
        } else if cursor.next > cursor.told_until {
            cursor.told_until = cursor.next;
            Event::NothingUntil { reading, next_offset: cursor.next, leader_epoch: 0 }
        } else {
            return false;
        };
        if let Some(cell) = self.cell(at) {
            cell.cursor = Some(cursor);
        }
        self.feed(sim, at, event);
        true
    }
}

/// Nobody waits for these any more; some arrive all the same, the first ones first. What is on a connection of a lane's
/// own has arrived once that was closed, or never does; but a crashed process closes nothing.
pub fn orphan(sim: &mut Sim, wire: &mut VecDeque<Request>, is_crash: bool) {
    let wire = std::mem::take(wire);
    let kept = sim.dice.index(wire.len() + 1);
    for request in wire.into_iter().take(kept) {
        sim.trace.count("requests without anybody who waits");
        let at = if request.is_weak && !is_crash { sim.now } else { request.arrives };
        sim.queue.plan(at, Happening::ArrivesLate(Box::new(request)));
    }
}

pub fn lane_id(id: &AssignmentId, key: &SourceKey) -> LaneId {
    LaneId {
        connector: id.connector.clone(),
        source_cluster: "source".parse().expect("a name"),
        topic: key.0.clone(),
        partition: key.1,
    }
}

fn lane_right(epoch: AssignmentEpoch, right: copyist_agent::job::Right) -> Right {
    Right { epoch, ends_at: right.ends_at, free_at: right.free_at }
}
