//! A coordinator replica: campaigns, leads, answers `Renew`. What it does when it leads is in `term`.

use std::collections::BTreeMap;

use copyist_coordinator::core::view::View;
use copyist_coordinator::core::{Core, Holder};
use copyist_coordinator::store::keys;
use copyist_model::StoreRevision;

use crate::network::{Message, Opening, Renewal};
use crate::node::{Node, Process};
use crate::options::{LEADER_TTL_MS, STORE_PATIENCE_MS};
use crate::queue::Timer;
use crate::sim::Sim;
use crate::store::{Answer, LeaseId, Question};
use crate::term::Term;

/// What a replica waits for an answer to.
#[derive(Debug, Clone)]
pub enum Asked {
    Campaign,
    KeepAlive {
        sent: u64,
    },
    PutAgain,
    Load {
        leader: u64,
    },
    Commit,
    Open(Box<Opening>),
    Alive {
        agent: usize,
        life: u64,
        number: u64,
        holder: Holder,
    },
    Held {
        agent: usize,
        life: u64,
        number: u64,
    },
    /// Whatever the answer is.
    Nothing,
}

/// Numbers what it asks the store, and remembers why.
#[derive(Debug, Default)]
pub struct Desk {
    number: u64,
    waiting: BTreeMap<u64, Asked>,
}

impl Desk {
    pub fn ask(&mut self, sim: &mut Sim, process: &Process, why: Asked, question: Question) {
        self.number += 1;
        let number = self.number;
        sim.note(process.node, "asks", || format!("#{number} {}", question.name()));
        self.waiting.insert(number, why);
        let ask = Message::Ask { life: process.life, number, question: Box::new(question) };
        sim.send(process.node, Node::Store, None, ask);
        sim.wake(process, STORE_PATIENCE_MS, Timer::StoreSilent { number });
    }

    /// Answers that a leader waits for mean nothing to the next one.
    fn forget_leading(&mut self) {
        self.waiting.retain(|_, asked| matches!(asked, Asked::Alive { .. } | Asked::Held { .. }));
    }
}

pub enum Role {
    Follows,
    /// Its campaign was won or lost, and it will hear of it.
    Campaigns,
    /// It leads, and reads what the store holds.
    Loads {
        revision: u64,
    },
    Leads(Box<Term>),
    /// It leads, and does not know what became of a commit.
    PutsAgain {
        revision: u64,
    },
}

pub struct Replica {
    pub process: Process,
    index: usize,
    pub desk: Desk,
    pub role: Role,
    lease: LeaseId,
    /// Until then it holds its own lease, on its own clock.
    lease_ends: u64,
    /// Whom it believes to lead.
    leader: Option<usize>,
    /// Agents' keys that vanished while it loaded.
    vanished: Vec<(Holder, u64)>,
}

impl Replica {
    pub fn new(index: usize, process: Process) -> Self {
        Self {
            process,
            index,
            desk: Desk::default(),
            role: Role::Follows,
            lease: LeaseId::Leader { replica: index, number: 0 },
            lease_ends: 0,
            leader: None,
            vanished: Vec::new(),
        }
    }

    pub fn begin(&mut self, sim: &mut Sim) {
        self.process.begin();
        self.desk = Desk::default();
        self.role = Role::Follows;
        self.leader = None;
        sim.note(self.process.node, "starts", || format!("life {}", self.process.life));
        let delay = sim.between(1, 400);
        sim.wake(&self.process, delay, Timer::Campaign);
    }

    pub fn end(&mut self, sim: &mut Sim) {
        self.leave(sim);
        self.process.end();
    }

    pub fn term(&self) -> Option<&Term> {
        match &self.role {
            Role::Leads(term) => Some(term),
            Role::Follows | Role::Campaigns | Role::Loads { .. } | Role::PutsAgain { .. } => None,
        }
    }

    fn now(&self, sim: &Sim) -> u64 {
        self.process.clock.shows(sim.now)
    }

    /// It leads no more: its sessions end, and whoever waits for a reply asks again.
    fn leave(&mut self, sim: &mut Sim) {
        if let Role::Leads(term) = std::mem::replace(&mut self.role, Role::Follows) {
            sim.note(self.process.node, "term ends", || term.number.to_string());
            let number = term.number;
            for session in sim.links_of(|link| link.term == number) {
                sim.break_link(session);
            }
        }
        self.leader = None;
        self.desk.forget_leading();
    }

    pub fn wake(&mut self, sim: &mut Sim, timer: &Timer) {
        match *timer {
            Timer::Campaign => {
                // Who watches the leader's key need not ask often.
                let delay = sim.between(1_500, 3_000);
                sim.wake(&self.process, delay, Timer::Campaign);
                if matches!(self.role, Role::Follows) {
                    self.campaign(sim);
                }
            }
            Timer::KeepAlive => self.keep_alive(sim),
            Timer::LeaderTick { term } => self.tick(sim, term),
            Timer::StoreSilent { number } => {
                if let Some(asked) = self.desk.waiting.remove(&number) {
                    self.unanswered(sim, &asked);
                }
            }
            _ => {}
        }
    }

    fn campaign(&mut self, sim: &mut Sim) {
        let LeaseId::Leader { number, .. } = self.lease else { return };
        let number = (number + 1).max(self.process.life * 10_000);
        self.lease = LeaseId::Leader { replica: self.index, number };
        self.role = Role::Campaigns;
        self.lease_ends = self.now(sim) + LEADER_TTL_MS;
        let question = Question::Campaign(self.lease.clone());
        self.desk.ask(sim, &self.process, Asked::Campaign, question);
    }

    fn keep_alive(&mut self, sim: &mut Sim) {
        if matches!(self.role, Role::Follows | Role::Campaigns) {
            return;
        }
        sim.wake(&self.process, 700, Timer::KeepAlive);
        let sent = self.now(sim);
        let question = Question::KeepAlive(self.lease.clone());
        self.desk.ask(sim, &self.process, Asked::KeepAlive { sent }, question);
    }

    /// A leader whose own lease has ended does nothing more.
    pub fn leave_if_over(&mut self, sim: &mut Sim) {
        if self.now(sim) >= self.lease_ends && self.term().is_some() {
            sim.trace.count("terms ended by their own clock");
            self.leave(sim);
        }
    }

    fn tick(&mut self, sim: &mut Sim, number: u64) {
        self.leave_if_over(sim);
        if let Role::Leads(term) = &mut self.role
            && term.number == number
        {
            sim.wake(&self.process, 250, Timer::LeaderTick { term: number });
            term.tick(sim, &mut self.desk, &self.process);
        }
    }

    fn unanswered(&mut self, sim: &mut Sim, asked: &Asked) {
        match asked {
            Asked::Campaign => self.role = Role::Follows,
            Asked::Load { .. } | Asked::PutAgain => match self.role {
                Role::Loads { revision } | Role::PutsAgain { revision } => self.put_again(sim, revision),
                Role::Follows | Role::Campaigns | Role::Leads(_) => {}
            },
            Asked::Commit => {
                sim.trace.count("commits of unknown outcome");
                self.doubt(sim);
            }
            Asked::KeepAlive { .. }
            | Asked::Open(_)
            | Asked::Alive { .. }
            | Asked::Held { .. }
            | Asked::Nothing => {}
        }
    }

    /// What became of a commit is unknown.
    fn doubt(&mut self, sim: &mut Sim) {
        let Role::Leads(term) = &self.role else { return };
        let revision = term.leader;
        self.leave(sim);
        if sim.breaks.unknown_not_fenced {
            self.load(sim, revision);
        } else {
            self.put_again(sim, revision);
        }
    }

    fn put_again(&mut self, sim: &mut Sim, revision: u64) {
        if self.now(sim) >= self.lease_ends {
            self.role = Role::Follows;
            return;
        }
        self.role = Role::PutsAgain { revision };
        let question = Question::PutAgain { lease: self.lease.clone(), revision };
        self.desk.ask(sim, &self.process, Asked::PutAgain, question);
    }

    fn load(&mut self, sim: &mut Sim, revision: u64) {
        self.role = Role::Loads { revision };
        self.vanished.clear();
        self.desk.ask(sim, &self.process, Asked::Load { leader: revision }, Question::Load);
    }

    pub fn told(&mut self, sim: &mut Sim, number: u64, answer: Answer) {
        let Some(asked) = self.desk.waiting.remove(&number) else { return };
        match (asked, answer) {
            (Asked::Campaign, Answer::Won { revision }) => {
                self.leader = Some(self.index);
                self.load(sim, revision);
                sim.wake(&self.process, 500, Timer::KeepAlive);
            }
            (Asked::Campaign, Answer::Lost { leader }) => {
                self.role = Role::Follows;
                self.leader = Some(leader).filter(|leader| *leader != self.index);
            }
            (Asked::KeepAlive { sent }, Answer::Alive(true)) => self.lease_ends = sent + LEADER_TTL_MS,
            (Asked::KeepAlive { .. }, _) => self.leave(sim),
            (Asked::PutAgain, Answer::Put { revision }) => {
                sim.trace.count("leader keys put again");
                self.load(sim, revision);
            }
            (Asked::Load { leader }, Answer::Loaded { leader: by, revision, pairs }) => {
                self.loaded(sim, leader, by, revision, &pairs);
            }
            (Asked::Commit, Answer::Deposed) => self.leave(sim),
            (Asked::PutAgain | Asked::Load { .. }, _) => self.leave(sim),
            (Asked::Commit, answer) => {
                if let Role::Leads(term) = &mut self.role {
                    term.answered(sim, &mut self.desk, &self.process, answer);
                }
            }
            (Asked::Open(opening), Answer::Done) => {
                if let Role::Leads(term) = &mut self.role {
                    term.open(sim, &mut self.desk, &self.process, *opening);
                }
            }
            (Asked::Alive { agent, life, number, holder }, Answer::Alive(alive)) => {
                self.alive(sim, (agent, life, number), holder, alive);
            }
            (Asked::Held { agent, life, number }, Answer::Held(held)) => {
                let renewal = held.map_or(Renewal::NotYet, Renewal::Held);
                let renewed = Message::Renewed { number, renewal };
                sim.send(self.process.node, Node::Agent(agent), Some(life), renewed);
            }
            _ => {}
        }
    }

    /// The lease of an agent was kept alive; then, and not before, what it holds is read.
    fn alive(&mut self, sim: &mut Sim, to: (usize, u64, u64), holder: Holder, alive: bool) {
        let (agent, life, number) = to;
        if alive {
            let age_ms = if sim.breaks.renew_without_read { 15_000 } else { 0 };
            let question = Question::Held { holder, age_ms };
            self.desk.ask(sim, &self.process, Asked::Held { agent, life, number }, question);
        } else {
            let gone = Message::Renewed { number, renewal: Renewal::LeaseGone };
            sim.send(self.process.node, Node::Agent(agent), Some(life), gone);
        }
    }

    fn loaded(
        &mut self,
        sim: &mut Sim,
        leader: u64,
        by: Option<(LeaseId, u64)>,
        revision: u64,
        pairs: &[(String, Vec<u8>, u64)],
    ) {
        if by != Some((self.lease.clone(), leader)) {
            return self.leave(sim);
        }
        let mut view = View { revision: StoreRevision(revision), ..View::default() };
        for (key, value, modified) in pairs {
            keys::decode(&mut view, key, value, StoreRevision(*modified))
                .expect("it was encoded by the same code");
        }
        sim.last_term += 1;
        let number = sim.last_term;
        sim.note(self.process.node, "leads", || format!("term {number} at revision {revision}"));
        let term = Term::new(number, (self.lease.clone(), leader), Core::new(view, sim.options.patience()));
        self.role = Role::Leads(Box::new(term));
        self.leader = Some(self.index);
        sim.wake(&self.process, 250, Timer::LeaderTick { term: number });
        for (holder, revision) in std::mem::take(&mut self.vanished) {
            if let Role::Leads(term) = &mut self.role {
                term.vanished(sim, &mut self.desk, &self.process, holder, revision);
            }
        }
    }

    pub fn hear(&mut self, sim: &mut Sim, message: Message) {
        self.leave_if_over(sim);
        match message {
            Message::NobodyLeads => {
                if matches!(self.role, Role::Follows) {
                    self.campaign(sim);
                }
            }
            Message::Open(opening) => match &self.role {
                Role::Leads(_) => {
                    let lease = LeaseId::Agent(opening.holder.clone());
                    self.desk.ask(sim, &self.process, Asked::Open(opening), Question::Grant(lease));
                }
                Role::Follows | Role::Campaigns | Role::Loads { .. } | Role::PutsAgain { .. } => {
                    let refused = Message::OpenRefused { session: opening.session, leader: self.leader };
                    sim.send(self.process.node, Node::Agent(opening.agent), Some(opening.life), refused);
                }
            },
            Message::Renew { agent, life, number, holder } => {
                let question = Question::KeepAlive(LeaseId::Agent(holder.clone()));
                let asked = Asked::Alive { agent, life, number, holder };
                self.desk.ask(sim, &self.process, asked, question);
            }
            Message::Command { number, command } => match &mut self.role {
                Role::Leads(term) => term.command(sim, &mut self.desk, &self.process, number, *command),
                Role::Follows | Role::Campaigns | Role::Loads { .. } | Role::PutsAgain { .. } => {
                    let replied = Message::Replied { number, reply: None, leader: self.leader };
                    sim.send(self.process.node, Node::User, None, replied);
                }
            },
            Message::Told { number, answer } => self.told(sim, number, *answer),
            Message::Vanished { holder, revision, .. } => {
                match &mut self.role {
                    Role::Leads(term) => term.vanished(sim, &mut self.desk, &self.process, holder, revision),
                    // What is loaded may be of before.
                    Role::Loads { .. } => self.vanished.push((holder, revision)),
                    Role::Follows | Role::Campaigns | Role::PutsAgain { .. } => {}
                }
            }
            Message::Ask { .. }
            | Message::OpenRefused { .. }
            | Message::Renewed { .. }
            | Message::Replied { .. } => {}
        }
    }
}
