//! What a leading replica does: the core decides, one commit is on its way, and what follows from it is told once it is
//! stored.

use std::collections::{BTreeMap, VecDeque};

use copyist_agent::core::Saying;
use copyist_coordinator::core::{
    Command, Commit, Core, Decision, Event, Findings, FoundTopic, Hello, Holder, Now, Proposal, Send, Ticket,
    Write,
};
use copyist_model::{AgentId, StoreRevision};

use crate::invariants::Fact;
use crate::link::{Said, Stated};
use crate::network::{Message, Opening};
use crate::node::{Node, Process};
use crate::replica::{Asked, Desk};
use crate::sim::{Sim, WALL_BEGAN_MS};
use crate::store::{Answer, LeaseId, Proposed, Question};

pub struct Term {
    pub number: u64,
    lease: LeaseId,
    /// The revision of the leader's key.
    pub leader: u64,
    pub core: Core,
    began_at: u64,
    /// Decided, and not yet performed.
    row: VecDeque<Commit>,
    in_flight: Option<Commit>,
    sessions: BTreeMap<AgentId, (u64, Holder)>,
    tickets: BTreeMap<Ticket, (u64, Command)>,
    last_ticket: u64,
    /// At which revision the key of each agent was written.
    written: BTreeMap<AgentId, u64>,
}

impl Term {
    pub fn new(number: u64, key: (LeaseId, u64), core: Core) -> Self {
        let (lease, leader) = key;
        Self {
            number,
            lease,
            leader,
            began_at: core.view().revision.0,
            core,
            row: VecDeque::new(),
            in_flight: None,
            sessions: BTreeMap::new(),
            tickets: BTreeMap::new(),
            last_ticket: 0,
            written: BTreeMap::new(),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.row.is_empty()
    }

    fn step(&mut self, sim: &mut Sim, desk: &mut Desk, process: &Process, event: Event) {
        let now =
            Now { boot_ms: process.clock.shows(sim.now), wall_ms: WALL_BEGAN_MS.unsigned_abs() + sim.now };
        let decision = self.core.step(now, event);
        self.take(sim, desk, process, decision);
    }

    fn take(&mut self, sim: &mut Sim, desk: &mut Desk, process: &Process, decision: Decision) {
        let is_busy = !self.is_idle();
        for commit in decision.commits {
            if is_busy {
                assert!(commit.writes.is_empty(), "one commit is in flight");
                commit.sends.into_iter().for_each(|send| self.deliver(sim, process, send));
            } else {
                self.row.push_back(commit);
            }
        }
        self.go_on(sim, desk, process);
    }

    /// Performs what waits, up to the next commit that must be stored first.
    fn go_on(&mut self, sim: &mut Sim, desk: &mut Desk, process: &Process) {
        while self.in_flight.is_none()
            && let Some(mut commit) = self.row.pop_front()
        {
            if commit.writes.is_empty() || sim.breaks.tell_before_storing {
                let sends = std::mem::take(&mut commit.sends);
                sends.into_iter().for_each(|send| self.deliver(sim, process, send));
            }
            if commit.writes.is_empty() {
                continue;
            }
            let leader = (!sim.breaks.leader_not_compared).then(|| (self.lease.clone(), self.leader));
            let alive = commit.alive.clone();
            let incarnation = self.core.view().meta.incarnation;
            let proposed = Proposed { leader, alive, writes: commit.writes.clone(), incarnation };
            self.in_flight = Some(commit);
            desk.ask(sim, process, Asked::Commit, Question::Commit(Box::new(proposed)));
        }
    }

    /// What became of the commit on its way.
    pub fn answered(&mut self, sim: &mut Sim, desk: &mut Desk, process: &Process, answer: Answer) {
        let Some(commit) = self.in_flight.take() else { return };
        match answer {
            Answer::Committed { revision } => {
                for write in &commit.writes {
                    if let Write::Agent(agent, Some(_)) = write {
                        self.written.insert(agent.clone(), revision);
                    }
                }
                commit.sends.into_iter().for_each(|send| self.deliver(sim, process, send));
                self.step(sim, desk, process, Event::Committed(StoreRevision(revision)));
            }
            Answer::Refused { gone } => {
                self.row.clear();
                // Known before the core plans again, or it would plan the same.
                self.in_flight = Some(Commit::default());
                for holder in gone {
                    self.drop_session(sim, &holder);
                    self.step(sim, desk, process, Event::LeaseEnded(holder));
                }
                self.in_flight = None;
                self.step(sim, desk, process, Event::Refused);
            }
            Answer::LeaseGone(holder) => {
                self.row.clear();
                self.in_flight = Some(Commit::default());
                self.drop_session(sim, &holder);
                self.step(sim, desk, process, Event::LeaseEnded(holder));
                self.in_flight = None;
                self.step(sim, desk, process, Event::Refused);
            }
            _ => {}
        }
    }

    pub fn tick(&mut self, sim: &mut Sim, desk: &mut Desk, process: &Process) {
        self.step(sim, desk, process, Event::Tick);
    }

    pub fn command(
        &mut self,
        sim: &mut Sim,
        desk: &mut Desk,
        process: &Process,
        number: u64,
        command: Command,
    ) {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        sim.note(process.node, "command", || format!("{number}: {}", crate::user::shown(&command)));
        self.tickets.insert(ticket, (number, command.clone()));
        self.step(sim, desk, process, Event::Command(ticket, command));
    }

    /// The lease of an agent was granted, so its session is open.
    pub fn open(&mut self, sim: &mut Sim, desk: &mut Desk, process: &Process, opening: Opening) {
        let Opening { session, agent, life, holder, running, store_id } = opening;
        let Node::Replica(replica) = process.node else { return };
        let known = self.core.view().agents.get(&holder.agent);
        let former = known.filter(|known| known.incarnation != holder.incarnation);
        if let Some(former) = former {
            let incarnation = former.incarnation.clone();
            let former = Holder { agent: holder.agent.clone(), incarnation };
            let revoke = Question::Revoke(LeaseId::Agent(former.clone()));
            desk.ask(sim, process, Asked::Nothing, revoke);
            self.step(sim, desk, process, Event::LeaseEnded(former));
        }
        if let Some((before, _)) = self.sessions.insert(holder.agent.clone(), (session, holder.clone())) {
            sim.break_link(before);
        }
        sim.open_link(session, (agent, life), holder.clone(), (replica, self.number));
        sim.note(process.node, "opens", || format!("session {session} of {}", holder.incarnation));
        sim.trace.count("sessions");
        sim.state(session, Stated::Welcome { store_id: self.core.view().meta.store_id.clone() });
        let hello = Hello {
            holder,
            rack: String::new(),
            labels: BTreeMap::new(),
            running: running.iter().map(|report| (report.id.clone(), report.epoch)).collect(),
            store_id,
            is_settled: true,
        };
        self.step(sim, desk, process, Event::Hello(Box::new(hello)));
        for report in running {
            sim.say(session, Said::Saying(Box::new(Saying::Report(report))));
        }
    }

    pub fn hear(&mut self, sim: &mut Sim, desk: &mut Desk, process: &Process, session: u64, said: Said) {
        let Some(holder) = sim.links.get(&session).map(|link| link.holder.clone()) else { return };
        let event = match said {
            Said::Heartbeat => return self.step(sim, desk, process, Event::Heartbeat(holder)),
            Said::Closed => {
                let is_current = self.sessions.get(&holder.agent).is_some_and(|(it, _)| *it == session);
                if !is_current {
                    return;
                }
                self.sessions.remove(&holder.agent);
                Event::SessionEnded(holder)
            }
            Said::Saying(saying) => meant(holder, *saying),
        };
        sim.note(process.node, "hears", || format!("{session}: {}", heard(&event)));
        self.step(sim, desk, process, event);
    }

    /// The key of an agent vanished; what was written since is newer than that.
    pub fn vanished(
        &mut self,
        sim: &mut Sim,
        desk: &mut Desk,
        process: &Process,
        holder: Holder,
        revision: u64,
    ) {
        sim.note(process.node, "watches", || {
            format!("the key of {} vanished at {revision}", holder.incarnation)
        });
        let known_at = self.written.get(&holder.agent).copied().unwrap_or(self.began_at);
        if revision > known_at {
            self.drop_session(sim, &holder);
            self.step(sim, desk, process, Event::LeaseEnded(holder));
        }
    }

    fn drop_session(&mut self, sim: &mut Sim, holder: &Holder) {
        let session = self.sessions.get(&holder.agent).filter(|(_, by)| by == holder).map(|(it, _)| *it);
        if let Some(session) = session {
            self.sessions.remove(&holder.agent);
            sim.break_link(session);
        }
    }

    fn deliver(&mut self, sim: &mut Sim, process: &Process, send: Send) {
        match send {
            Send::Reply(ticket, reply) => {
                let Some((number, command)) = self.tickets.remove(&ticket) else { return };
                sim.note(process.node, "replies", || format!("{number}: {}", crate::user::shown(&command)));
                sim.facts.push(Fact::Answered { command: Box::new(command), is_ok: reply.is_ok() });
                let replied = Message::Replied { number, reply: Some(reply), leader: None };
                sim.send(process.node, Node::User, None, replied);
            }
            Send::Statement(holder, statement) => {
                let session = self.sessions.get(&holder.agent).filter(|(_, by)| *by == holder);
                if let Some((session, _)) = session {
                    sim.state(*session, Stated::Statement(Box::new(statement)));
                }
            }
        }
    }
}

/// What a word of an agent means to the core.
fn meant(holder: Holder, saying: Saying) -> Event {
    match saying {
        Saying::Draining => Event::Draining(holder),
        Saying::Drained => Event::Drained(holder),
        Saying::Report(report) => Event::Reported {
            holder,
            id: report.id,
            epoch: report.epoch,
            state: report.state,
            trace: report.trace,
        },
        Saying::Released { id, epoch } => Event::Released { holder, id, epoch },
        Saying::Surveyed { id, epoch, findings } => {
            let found = |topic: copyist_agent::job::FoundTopic| FoundTopic {
                source: topic.source,
                destination: topic.destination,
                partitions: topic.partitions,
                literal: topic.literal,
            };
            let findings = Findings {
                generation: findings.generation,
                source: findings.source_cluster,
                destination: findings.destination_cluster,
                topics: findings.topics.into_iter().map(found).collect(),
            };
            Event::Surveyed { holder, connector: id.connector, epoch, findings }
        }
        Saying::Propose { id, epoch, proposal } => Event::Proposed(vec![Proposal {
            holder,
            id,
            epoch,
            replaces: proposal.replaces,
            record: Box::new(proposal.record),
        }]),
    }
}

fn heard(event: &Event) -> String {
    match event {
        Event::Draining(holder) => format!("{} drains", holder.incarnation),
        Event::Drained(holder) => format!("{} has drained", holder.incarnation),
        Event::SessionEnded(holder) => format!("{} is off", holder.incarnation),
        Event::Reported { id, epoch, state, .. } => format!("{id}@{epoch} is {}", state.as_str()),
        Event::Released { id, epoch, .. } => format!("{id}@{epoch} is released"),
        Event::Surveyed { connector, epoch, findings, .. } => {
            format!("survey of {connector}@{epoch}: {} topics", findings.topics.len())
        }
        Event::Proposed(proposals) => format!("{} proposals", proposals.len()),
        _ => String::new(),
    }
}
