//! The lanes of a task on an agent: the machine of each, and what is done for it. As the raw engine's shell does it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use copyist_agent::core;
use copyist_agent::job::{JobEvent, Order};
use copyist_agent::positions::known::Remembered;
use copyist_lane::{
    Answer, Birth, DestinationFacts, Event, Lane, Now, Offer, Parking, Refusal, Right, Start, Status, Stored,
    Waiting,
};
use copyist_model::{AssignmentEpoch, AssignmentId, InstanceState, LaneHeld, LaneId, LaneRecord, TopicName};

use crate::agent::Agent;
use crate::broker::EXPIRATION_MS;
use crate::brokers::{Request, SourceKey, end, lanes_of};
use crate::queue::{Timer, Turn};
use crate::sim::{Sim, WALL_BEGAN_MS};
use crate::wishes::orphan;

const SUPERSEDED_PAUSE_MS: u64 = 1_000;

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
pub struct Cursor {
    pub reading: u32,
    pub next: i64,
    pub skip: u64,
    pub told_until: i64,
}

#[derive(Default)]
pub struct LaneCell {
    pub serial: u64,
    pub destination: Option<TopicName>,
    pub machine: Option<Lane>,
    pub status: Option<Status>,
    /// It has reached both its leaders.
    pub reached: bool,
    pub right: copyist_agent::job::Right,
    pub wire: VecDeque<Request>,
    pub cursor: Option<Cursor>,
    pub offered: Option<(Offer, Vec<i64>)>,
    pub wake_at: Option<u64>,
    pub told_record: Option<LaneHeld>,
    pub store_is_empty: bool,
    pub proposed: Option<(core::ProposalNumber, LaneRecord)>,
    /// The next renewal tells.
    pub asks_epoch: Option<(u32, Duration)>,
    pub leaving: bool,
    pub again: bool,
}

impl LaneCell {
    pub fn is_life(&self, serial: u64) -> bool {
        self.serial == serial
    }
}

/// What an agent remembers of a lane: it may not have read the last of its positions, unless it has to.
fn look_up(sim: &mut Sim, lane: &LaneId, held: Option<&LaneHeld>, is_takeover: bool) -> Remembered {
    let believes_late = sim.breaks.late_positions_count;
    let altered = held.and_then(LaneHeld::altered).filter(|_| !believes_late).unwrap_or_default();
    let all = sim.brokers.stored(lane);
    let read = if sim.chance(25) { sim.dice.index(all + 1) } else { all };
    let found = sim.brokers.remembered(lane, read, altered);
    let is_taken = found.may_be_old(held, is_takeover) || sim.breaks.old_positions_count;
    if read < all {
        let what = if is_taken { "lanes born by old positions" } else { "positions read to their end" };
        sim.trace.count(what);
    }
    if is_taken { found } else { sim.brokers.remembered(lane, all, altered) }
}

pub type Lanes = BTreeMap<SourceKey, LaneCell>;

impl Agent {
    fn lane_at(&self, id: &AssignmentId, key: &SourceKey, serial: u64) -> LaneAt {
        LaneAt { agent: self.index, life: self.process.life, id: id.clone(), key: key.clone(), serial }
    }

    pub fn cell(&mut self, at: &LaneAt) -> Option<&mut LaneCell> {
        let cell = self.jobs.get_mut(&at.id)?.lanes.get_mut(&at.key)?;
        Some(cell).filter(|cell| cell.serial == at.serial)
    }

    pub fn plan_word(&self, sim: &mut Sim, delay: u64, at: &LaneAt, word: Word) {
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

    pub fn conceive(
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

    pub fn lane_released(&mut self, sim: &mut Sim, at: &LaneAt) {
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
        let Some(job) = self.jobs.get(&at.id) else { return };
        let (right, epoch, order) = (job.right, job.epoch, &job.order);
        let told = job.lanes.get(&at.key).and_then(|cell| cell.told_record.clone());
        let held = [told.as_ref(), order.records.get(&lane)].into_iter().flatten();
        let held = held.max_by_key(|held| held.generation());
        let altered = held.and_then(LaneHeld::altered).unwrap_or_default();
        let free_in = u64::try_from(right.free_at.as_millis()).expect("a short test");
        let free_in = self.process.clock.when(free_in).saturating_sub(sim.now);
        let found = look_up(sim, &lane, held, free_in > 0);
        if found.may_be_outdone(held, free_in > 0) {
            sim.trace.count("starts looked up again");
            return self.plan_word(sim, free_in + 1, at, Word::Born);
        }
        let exact = found.stored.as_ref().and_then(|stored| stored.exact.as_ref());
        let records = [held.and_then(LaneHeld::record), exact.map(|exact| &exact.record)];
        let (topic, partition) = &at.key;
        let Some(destination) = job.lanes.get(&at.key).and_then(|cell| cell.destination.clone()) else {
            return;
        };
        let birth = Birth {
            lane,
            source: end("source", topic, *partition),
            destination: end("destination", &destination, *partition),
            record: records.into_iter().flatten().max_by_key(|record| record.generation).cloned(),
            altered,
            newest_generation: found.newest,
            stored: match (exact, &found.stored) {
                (Some(exact), _) => Stored::Position(exact.position),
                (None, Some(stored)) => Stored::Start { next_offset: stored.next_offset },
                (None, None) => Stored::Nothing,
            },
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
    pub fn feed(&mut self, sim: &mut Sim, at: &LaneAt, event: Event) {
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

    pub fn report_lane(&mut self, sim: &mut Sim, at: &LaneAt, status: Status) {
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
