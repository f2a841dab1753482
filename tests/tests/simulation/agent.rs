//! An agent: its core, its session, its renewals. What its jobs do is in `job`.

use std::collections::BTreeMap;
use std::sync::Arc;

use copyist_agent::core::{Core, Effect, Event, Judgement, ProposalNumber, Run, Saying};
use copyist_agent::job::Order;
use copyist_coordinator::core::{self as coordinator, Holder, LaneVerdict, Statement};
use copyist_model::{AgentId, AssignmentId};

use crate::breaks::Breaks;
use crate::invariants::Fact;
use crate::job::Job;
use crate::lanes::LaneAt;
use crate::link::{Said, Stated};
use crate::network::{Message, Opening, Renewal};
use crate::node::{Node, Process};
use crate::options::{MARGIN_MS, REPLICAS, TTL_MS};
use crate::queue::{Happening, Timer};
use crate::sim::Sim;
use crate::wishes::orphan;

const TICK_MS: u64 = 500;
const RENEW_EVERY_MS: u64 = 2_500;
const ANSWER_PATIENCE_MS: u64 = 5_000;

/// Its line to the leader.
enum Line {
    Off,
    Opening { session: u64, outbox: Vec<Saying> },
    Open { session: u64 },
}

pub struct Agent {
    pub process: Process,
    pub index: usize,
    pub holder: Holder,
    pub core: Core,
    pub jobs: BTreeMap<AssignmentId, Job>,
    line: Line,
    leader: Option<usize>,
    /// The `Renew` that waits for its answer, and when it was sent by its own clock.
    renewing: Option<(u64, u64)>,
    renew_again: bool,
    renew_turn: u64,
    last_renew: u64,
    /// Who waits for an answer to which proposal.
    pub proposals: BTreeMap<ProposalNumber, LaneAt>,
    last_serial: u64,
    pub is_drained: bool,
    /// Since when no process of it runs.
    pub down_since: u64,
    /// The user said that it is gone: nobody starts it before.
    pub stays_down_until: u64,
    /// It is to pause once it has asked for its rights.
    pub pauses_after_asking: bool,
}

impl Agent {
    pub fn new(index: usize, process: Process) -> Self {
        let agent: AgentId = format!("agent-{index}:9084").parse().expect("a name");
        Self {
            process,
            index,
            holder: Holder { agent, incarnation: String::new() },
            core: Core::default(),
            jobs: BTreeMap::new(),
            line: Line::Off,
            leader: None,
            renewing: None,
            renew_again: false,
            renew_turn: 0,
            last_renew: 0,
            proposals: BTreeMap::new(),
            last_serial: 0,
            is_drained: false,
            down_since: 0,
            stays_down_until: 0,
            pauses_after_asking: false,
        }
    }

    pub fn begin(&mut self, sim: &mut Sim) {
        self.process.begin();
        self.holder.incarnation = format!("a{}.{}", self.index, self.process.life);
        self.core = Core::default();
        self.jobs.clear();
        self.proposals.clear();
        self.line = Line::Off;
        self.renewing = None;
        self.renew_again = false;
        self.is_drained = false;
        sim.note(self.process.node, "starts", || self.holder.incarnation.clone());
        sim.wake(&self.process, TICK_MS, Timer::AgentTick);
        let delay = sim.between(1, 200);
        sim.wake(&self.process, delay, Timer::Reconnect);
        self.plan_renewal(sim, RENEW_EVERY_MS);
    }

    pub fn end(&mut self, sim: &mut Sim) {
        let jobs = std::mem::take(&mut self.jobs);
        for (id, mut job) in jobs {
            job.lanes.values_mut().for_each(|cell| orphan(sim, &mut cell.wire, true));
            let (holder, epoch) = (self.holder.clone(), job.epoch);
            sim.facts.push(Fact::Ended { holder, id, epoch, is_clean: false });
        }
        self.process.end();
        self.down_since = sim.now;
        let (index, life) = (self.index, self.process.life);
        for session in sim.links_of(|link| (link.agent, link.agent_life) == (index, life)) {
            sim.break_link(session);
        }
        self.line = Line::Off;
    }

    /// Numbers lanes and proposals.
    pub fn next_serial(&mut self) -> u64 {
        self.last_serial += 1;
        self.last_serial
    }

    pub fn now(&self, sim: &Sim) -> u64 {
        self.process.clock.shows(sim.now)
    }

    pub fn step(&mut self, sim: &mut Sim, event: Event) {
        let now = self.now(sim);
        for effect in self.core.step(now, event) {
            self.perform(sim, effect);
        }
    }

    fn perform(&mut self, sim: &mut Sim, effect: Effect) {
        match effect {
            Effect::Start { id, epoch, order, right } => self.start(sim, id, epoch, order, right),
            Effect::Order { id, order } => self.order(sim, &id, order),
            Effect::Right { id, right } => self.right(sim, &id, right),
            Effect::Stop { id } => self.stop(sim, &id),
            Effect::Tell(saying) => self.tell(sim, saying),
            Effect::Answer { number, answer } => self.proposal_answered(sim, number, answer),
            Effect::Renew => {
                if self.renewing.is_some() {
                    self.renew_again = true;
                } else {
                    self.renew(sim);
                }
            }
            Effect::Rejoin => self.rejoin(sim),
            Effect::Drained => self.is_drained = true,
        }
    }

    fn tell(&mut self, sim: &mut Sim, saying: Saying) {
        match &mut self.line {
            // The next Hello says everything.
            Line::Off => {}
            Line::Opening { outbox, .. } => outbox.push(saying),
            Line::Open { session } => sim.say(*session, Said::Saying(Box::new(saying))),
        }
    }

    fn rejoin(&mut self, sim: &mut Sim) {
        let session = match self.line {
            Line::Off => return,
            Line::Opening { session, .. } | Line::Open { session } => session,
        };
        sim.trace.count("leases lost, seen by the agent");
        self.hang_up(sim, session);
    }

    fn hang_up(&mut self, sim: &mut Sim, session: u64) {
        sim.break_link(session);
        self.line = Line::Off;
        let delay = sim.between(50, 500);
        sim.wake(&self.process, delay, Timer::Reconnect);
    }

    pub fn wake(&mut self, sim: &mut Sim, timer: &Timer) {
        match timer {
            Timer::AgentTick => {
                sim.wake(&self.process, TICK_MS, Timer::AgentTick);
                self.step(sim, Event::Tick);
                sim.facts.push(Fact::Ticked(self.holder.clone()));
            }
            Timer::Heartbeat { session } => {
                if matches!(self.line, Line::Open { session: open } if open == *session) {
                    sim.say(*session, Said::Heartbeat);
                    sim.wake(&self.process, 500, timer.clone());
                }
            }
            Timer::Reconnect => self.connect(sim),
            Timer::OpenSilent { session } => {
                if matches!(self.line, Line::Opening { session: it, .. } if it == *session) {
                    self.hang_up(sim, *session);
                }
            }
            Timer::Renew { turn } if *turn == self.renew_turn && self.renewing.is_none() => self.renew(sim),
            Timer::RenewSilent { number } if self.renewing.is_some_and(|(it, _)| it == *number) => {
                sim.trace.count("renewals without an answer");
                self.renewed(sim);
            }
            Timer::Job { id, epoch, turn } => self.job_turn(sim, id, *epoch, *turn),
            Timer::Lane { at, word } => self.lane_word(sim, at, word.clone()),
            _ => {}
        }
    }

    fn connect(&mut self, sim: &mut Sim) {
        if !matches!(self.line, Line::Off) {
            return;
        }
        let replica = self.leader.take().unwrap_or_else(|| sim.dice.index(REPLICAS));
        sim.last_session += 1;
        let session = sim.last_session;
        self.line = Line::Opening { session, outbox: Vec::new() };
        let opening = Opening {
            session,
            agent: self.index,
            life: self.process.life,
            holder: self.holder.clone(),
            running: self.core.reports(),
            store_id: self.core.store_id().to_owned(),
        };
        sim.note(self.process.node, "connects", || format!("session {session} to replica-{replica}"));
        sim.send(self.process.node, Node::Replica(replica), None, Message::Open(Box::new(opening)));
        sim.wake(&self.process, ANSWER_PATIENCE_MS, Timer::OpenSilent { session });
    }

    pub fn hear(&mut self, sim: &mut Sim, message: Message) {
        match message {
            Message::OpenRefused { session, leader } => {
                if matches!(self.line, Line::Opening { session: it, .. } if it == session) {
                    self.leader = leader;
                    self.line = Line::Off;
                    let delay = sim.between(50, 400);
                    sim.wake(&self.process, delay, Timer::Reconnect);
                }
            }
            Message::Renewed { number, renewal } => {
                let Some((_, sent)) = self.renewing.filter(|(waiting, _)| *waiting == number) else { return };
                let event = match renewal {
                    Renewal::Held(held) => {
                        let sent_ms = if sim.breaks.right_from_answer { self.now(sim) } else { sent };
                        Event::Renewed { sent_ms, ttl_ms: TTL_MS, held }
                    }
                    Renewal::NotYet => {
                        self.renewing = None;
                        return self.plan_renewal(sim, 200);
                    }
                    Renewal::LeaseGone => Event::LeaseLost,
                };
                self.step(sim, event);
                self.renewed(sim);
            }
            _ => {}
        }
    }

    fn renew(&mut self, sim: &mut Sim) {
        self.last_renew += 1;
        let number = self.last_renew;
        self.renewing = Some((number, self.now(sim)));
        let replica = Node::Replica(sim.dice.index(REPLICAS));
        let (agent, life, holder) = (self.index, self.process.life, self.holder.clone());
        sim.send(self.process.node, replica, None, Message::Renew { agent, life, number, holder });
        sim.wake(&self.process, ANSWER_PATIENCE_MS, Timer::RenewSilent { number });
        if std::mem::take(&mut self.pauses_after_asking) {
            sim.after(1, Happening::Pauses(self.process.node));
        }
    }

    /// The question is over, answered or not.
    fn renewed(&mut self, sim: &mut Sim) {
        self.renewing = None;
        if std::mem::take(&mut self.renew_again) {
            self.renew(sim);
        } else {
            self.plan_renewal(sim, RENEW_EVERY_MS);
        }
    }

    fn plan_renewal(&mut self, sim: &mut Sim, delay: u64) {
        self.renew_turn += 1;
        sim.wake(&self.process, delay, Timer::Renew { turn: self.renew_turn });
    }

    /// Something that its session brought.
    pub fn hear_stated(&mut self, sim: &mut Sim, session: u64, stated: Stated) {
        let (current, is_open) = match self.line {
            Line::Off => return sim.break_link(session),
            Line::Opening { session, .. } => (session, false),
            Line::Open { session } => (session, true),
        };
        if current != session {
            return sim.break_link(session);
        }
        if let Stated::Closed = stated {
            return self.hang_up(sim, session);
        }
        if !is_open {
            self.opened(sim, session);
        }
        let event = match stated {
            Stated::Welcome { store_id } => {
                Event::Welcome { store_id, autonomy_max_ms: sim.options.autonomy_ms }
            }
            Stated::Statement(statement) => self.understood(sim, *statement),
            Stated::Closed => return,
        };
        self.step(sim, event);
    }

    fn opened(&mut self, sim: &mut Sim, session: u64) {
        if let Line::Opening { outbox, .. } = std::mem::replace(&mut self.line, Line::Open { session }) {
            outbox.into_iter().for_each(|saying| sim.say(session, Said::Saying(Box::new(saying))));
        }
        sim.wake(&self.process, 500, Timer::Heartbeat { session });
    }

    fn understood(&mut self, sim: &mut Sim, statement: Statement) -> Event {
        match statement {
            Statement::Run(run) => {
                sim.note(self.process.node, "is to run", || {
                    format!("{}@{} r{}", run.id, run.epoch, run.revision.0)
                });
                let holder = self.holder.clone();
                sim.facts.push(Fact::Stated { holder, id: run.id.clone(), epoch: run.epoch });
                Event::Run(Box::new(to_run(*run, sim)))
            }
            Statement::Release { id, epoch } => {
                sim.note(self.process.node, "is to leave", || format!("{id}@{epoch}"));
                Event::Release { id, epoch }
            }
            Statement::SetComplete => Event::SetComplete,
            Statement::Verdict(verdict) => judged(*verdict),
        }
    }
}

fn to_run(run: coordinator::Run, sim: &Sim) -> Run {
    let wait = match sim.breaks {
        Breaks { no_wait: true, .. } => 0,
        Breaks { no_margin: true, .. } => TTL_MS,
        _ => TTL_MS + MARGIN_MS,
    };
    let records = run.records.into_iter().collect();
    Run {
        id: run.id,
        epoch: run.epoch,
        order: Order {
            revision: run.revision,
            generation: run.generation,
            spec: run.spec,
            lanes: run.lanes,
            records: Arc::new(records),
            shared: run.shared,
            paused: run.paused,
            traceparent: String::new(),
        },
        previous_right_wait_ms: if run.follows_unreleased { wait } else { 0 },
    }
}

fn judged(verdict: LaneVerdict) -> Event {
    let (refused_because, holds) = match verdict.refusal {
        None => (None, None),
        Some(refusal) => (Some(refusal.because), refusal.holds),
    };
    let judgement = Judgement { refused_because, holds };
    Event::Verdict { lane: verdict.lane, generation: verdict.generation, judgement }
}
