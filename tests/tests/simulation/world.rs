//! The world: everybody, and what happens next.

use std::collections::BTreeMap;

use copyist_coordinator::core::Command;

use crate::agent::Agent;
use crate::breaks::Breaks;
use crate::brokers::Brokers;
use crate::dice::Dice;
use crate::invariants::{Fact, Invariants, Violation};
use crate::link::Due;
use crate::network::{Envelope, Message, Network};
use crate::node::{Clock, Node, Process};
use crate::options::{IN_FLIGHT_MS, Options, REPLICAS};
use crate::queue::{Happening, Queue, Towards};
use crate::replica::{Replica, Role};
use crate::sim::Sim;
use crate::store::Store;
use crate::trace::{Counts, Trace};
use crate::user::User;

/// What a run came to.
pub struct Outcome {
    pub violation: Option<Violation>,
    pub counts: Counts,
    pub events: u64,
    pub lines: Vec<String>,
    pub digest: u64,
    /// From healing until all was well.
    pub recovery_ms: u64,
}

pub struct World {
    pub sim: Sim,
    pub store: Store,
    pub replicas: Vec<Replica>,
    pub agents: Vec<Agent>,
    pub user: User,
    pub invariants: Invariants,
    pub violation: Option<Violation>,
    pub healed_at: u64,
    pub is_done: bool,
    pub is_judged_in_the_end: bool,
}

pub fn options_of(seed: u64) -> Options {
    Options { moves: seed % 4 == 3, ..Options::draw(&mut Dice::new(!seed)) }
}

/// One run, as far as the invariants of these names go; none: all of them, and liveness.
pub fn run(seed: u64, options: Options, breaks: Breaks, only: &[&str], is_traced: bool) -> Outcome {
    let mut world = World::new(seed, options, breaks, only, is_traced);
    let mut events = 0;
    while !world.is_done
        && world.violation.is_none()
        && let Some((at, happening)) = world.sim.queue.next()
    {
        events += 1;
        world.happen(at, happening);
    }
    Outcome {
        violation: world.violation,
        events,
        lines: world.sim.trace.lines().to_vec(),
        digest: world.sim.trace.digest(),
        recovery_ms: world.sim.now - world.healed_at,
        counts: world.sim.trace.counts,
    }
}

impl World {
    fn new(seed: u64, options: Options, breaks: Breaks, only: &[&str], is_traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let mut clock = || {
            let drift = options.drift_per_mille;
            let drawn = dice.below(2 * drift.unsigned_abs() + 1);
            let drift_per_mille = i64::try_from(drawn).expect("small") - drift;
            Clock { began_at: 1_000 + dice.below(1_000_000), drift_per_mille }
        };
        let replicas: Vec<Replica> = (0..REPLICAS)
            .map(|index| Replica::new(index, Process::new(Node::Replica(index), clock())))
            .collect();
        let agents: Vec<Agent> = (0..options.agents)
            .map(|index| Agent::new(index, Process::new(Node::Agent(index), clock())))
            .collect();
        let user = User::new(Process::new(Node::User, Clock::default()), options.connectors);
        let sim = Sim {
            now: 0,
            dice,
            options,
            breaks,
            network: Network::default(),
            links: BTreeMap::new(),
            last_session: 0,
            last_term: 0,
            queue: Queue::default(),
            trace: Trace::new(is_traced),
            facts: Vec::new(),
            source: BTreeMap::new(),
            brokers: Brokers::new(options.times, options.has_holes),
            is_healed: false,
        };
        let mut world = Self {
            sim,
            store: Store::new(),
            replicas,
            agents,
            user,
            invariants: Invariants::new(options.autonomy_ms, only),
            is_judged_in_the_end: only.is_empty(),
            violation: None,
            healed_at: 0,
            is_done: false,
        };
        world.set_out();
        world
    }

    fn set_out(&mut self) {
        let nodes = (0..REPLICAS).map(Node::Replica).chain((0..self.agents.len()).map(Node::Agent));
        nodes.collect::<Vec<_>>().into_iter().for_each(|node| self.begin(node));
        let names: Vec<_> = self.user.connectors.keys().cloned().collect();
        for name in names {
            let topic = format!("{name}-0").parse().expect("a name");
            let partitions = u32::try_from(1 + self.sim.dice.below(6)).expect("small");
            self.sim.source.insert(topic, partitions);
        }
        let storm_ms = self.sim.options.storm_ms;
        self.sim.after(500, Happening::UserActs);
        self.sim.after(5_000, Happening::SourceGrows);
        if self.sim.options.restores {
            let copied = self.sim.between(6_000, 15_000);
            let restored = copied + self.sim.between(3_000, 15_000);
            self.sim.after(copied, Happening::Copies);
            self.sim.after(restored, Happening::Restores);
        }
        if self.sim.options.copies {
            self.sim.after(1_000, Happening::RecordsCome);
            self.sim.after(3_000, Happening::BrokersTurn);
        }
        self.sim.after(2_000, Happening::FaultStrikes);
        self.sim.after(storm_ms, Happening::Heals);
    }

    pub fn violate(&mut self, invariant: &'static str, text: String) {
        self.violation.get_or_insert(Violation { invariant, text });
    }

    fn happen(&mut self, at: u64, happening: Happening) {
        self.sim.now = at;
        let passed = self.invariants.pass(at);
        self.violation = self.violation.take().or(passed);
        match happening {
            Happening::Arrives(envelope) => self.arrive(*envelope),
            Happening::Pumps { session, towards } => self.pump(session, towards),
            Happening::Wakes { node, life, ref timer } => {
                let Some(process) = self.process_mut(node) else { return };
                if !process.is_up || process.life != life {
                    return;
                }
                if process.is_paused {
                    process.held.push(happening);
                    return;
                }
                match node {
                    Node::Replica(index) => self.replicas[index].wake(&mut self.sim, timer),
                    Node::Agent(index) => self.agents[index].wake(&mut self.sim, timer),
                    Node::User => self.user.wake(&mut self.sim, timer),
                    Node::Store | Node::Brokers => {}
                }
            }
            Happening::LeaseDue(lease) => self.store.lease_due(&mut self.sim, &lease),
            Happening::Produces(at) => self.produces(&at),
            Happening::ArrivesLate(request) => self.arrives_late(&request),
            Happening::LaneAsks { at, question, what } => self.lane_asks(&at, question, what),
            Happening::LaneStores { at, position, record } => self.lane_stores(&at, position, *record),
            Happening::PositionLands { at, position, record } => {
                self.sim.trace.count("positions that landed late");
                self.position_lands(&at, position, *record);
            }
            Happening::BrokersTurn => self.brokers_turn(),
            Happening::RecordsCome => self.records_come(),
            Happening::UserActs => self.user_acts(),
            Happening::SourceGrows => self.source_grows(),
            Happening::FaultStrikes => self.strike(),
            Happening::FaultEnds(relief) => self.relieve(relief),
            Happening::Copies => self.store.keep_snapshot(),
            Happening::Restores => self.restore(),
            Happening::UserLooks => {
                if self.user.look(&self.store.view) {
                    self.sim.after(2_000, Happening::UserLooks);
                }
                self.sim.facts.push(Fact::UserMoved);
            }
            Happening::Pauses(node) => self.pause(node, "pauses with a question on its way"),
            Happening::Heals => self.heal(),
            Happening::Looks => self.look(),
        }
        for index in 0..self.agents.len() {
            self.end_if_drained(index);
        }
        self.judge();
    }

    fn judge(&mut self) {
        for fact in std::mem::take(&mut self.sim.facts) {
            let seen = self.invariants.observe(self.sim.now, &self.store, &self.user, &fact);
            self.violation = self.violation.take().or(seen);
        }
    }

    fn arrive(&mut self, envelope: Envelope) {
        if !self.sim.gets_through(&envelope) {
            return;
        }
        if envelope.to == Node::Store {
            return self.store.serve(&mut self.sim, &envelope);
        }
        let Some(process) = self.process_mut(envelope.to) else { return };
        if !process.is_up || envelope.to_life.is_some_and(|life| life != process.life) {
            return;
        }
        if process.is_paused {
            process.held.push(Happening::Arrives(Box::new(envelope)));
            return;
        }
        let message = envelope.message;
        match envelope.to {
            Node::Replica(index) => self.replicas[index].hear(&mut self.sim, message),
            Node::Agent(index) => self.agents[index].hear(&mut self.sim, message),
            Node::User => {
                let is_reply = matches!(message, Message::Replied { .. });
                self.user.hear(&mut self.sim, message);
                self.sim.facts.extend(is_reply.then_some(Fact::UserMoved));
            }
            Node::Store | Node::Brokers => {}
        }
    }

    /// A session delivers the next thing, if its other end is there.
    fn pump(&mut self, session: u64, towards: Towards) {
        let Some(link) = self.sim.links.get(&session) else { return };
        let (agent, life, replica, term) = (link.agent, link.agent_life, link.replica, link.term);
        let node = match towards {
            Towards::Agent => Node::Agent(agent),
            Towards::Replica => Node::Replica(replica),
        };
        if let Some(process) = self.process_mut(node).filter(|process| process.is_up && process.is_paused) {
            process.held.push(Happening::Pumps { session, towards });
            return;
        }
        let is_there = match towards {
            Towards::Agent => {
                let process = &self.agents[agent].process;
                process.is_up && process.life == life
            }
            Towards::Replica => self.replicas[replica].term().is_some_and(|leads| leads.number == term),
        };
        if !is_there {
            return self.sim.break_link(session);
        }
        match self.sim.due(session, towards) {
            Due::Nothing => {}
            Due::Stated(stated) => self.agents[agent].hear_stated(&mut self.sim, session, stated),
            Due::Said(said) => {
                self.replicas[replica].leave_if_over(&mut self.sim);
                let Replica { process, desk, role, .. } = &mut self.replicas[replica];
                if let Role::Leads(leads) = role {
                    leads.hear(&mut self.sim, desk, process, session, said);
                }
            }
        }
    }

    fn user_acts(&mut self) {
        if !self.sim.is_healed {
            self.user.act(&mut self.sim);
            self.operate();
            let delay = self.sim.between(200, 4_000);
            self.sim.after(delay, Happening::UserActs);
            self.sim.facts.push(Fact::UserMoved);
        }
    }

    fn move_a_part(&mut self) {
        let (held, agents) = (&self.store.view.assignments, self.agents.len());
        let nth = self.sim.dice.index(held.len().max(1));
        let Some(id) = held.keys().nth(nth).cloned() else { return };
        let to = self.agents[self.sim.dice.index(agents)].holder.agent.clone();
        self.user.tell(&mut self.sim, Command::Move { id, to });
    }

    /// What an operator does: nothing runs on the first agent for a while, and the dead are forgotten.
    fn operate(&mut self) {
        if self.sim.dice.percent(4) {
            let drained = self.sim.dice.percent(50);
            let agent = self.agents[0].holder.agent.clone();
            self.user.tell(&mut self.sim, Command::DrainAgent { agent, drained });
        }
        if self.sim.options.moves && self.sim.dice.percent(10) {
            self.move_a_part();
        }
        // What a dead process left in its sockets has arrived by then.
        let now = self.sim.now;
        let is_dead =
            |agent: &&mut Agent| !agent.process.is_up && now > agent.down_since + IN_FLIGHT_MS + 500;
        if let Some(dead) = self.agents.iter_mut().find(is_dead)
            && dead.stays_down_until < now
            && dead.process.life > 0
        {
            // As long as the word may take.
            dead.stays_down_until = now + 35_000;
            let agent = dead.holder.agent.clone();
            self.user.tell(&mut self.sim, Command::ForgetAgent { agent });
        }
    }

    /// A topic comes, or grows.
    fn source_grows(&mut self) {
        if self.sim.is_healed {
            return;
        }
        let delay = self.sim.between(3_000, 12_000);
        self.sim.after(delay, Happening::SourceGrows);
        let names: Vec<_> = self.user.connectors.keys().cloned().collect();
        let name = &names[self.sim.dice.index(names.len())];
        let topic = format!("{name}-{}", self.sim.dice.below(3)).parse().expect("a name");
        let more = u32::try_from(1 + self.sim.dice.below(3)).expect("small");
        let partitions = self.sim.source.entry(topic).or_default();
        *partitions = (*partitions + more).min(8);
        self.sim.trace.count("source topics grown");
    }

    pub fn process(&self, node: Node) -> Option<&Process> {
        match node {
            Node::Store | Node::Brokers => None,
            Node::Replica(index) => Some(&self.replicas[index].process),
            Node::Agent(index) => Some(&self.agents[index].process),
            Node::User => Some(&self.user.process),
        }
    }

    pub fn process_mut(&mut self, node: Node) -> Option<&mut Process> {
        match node {
            Node::Store | Node::Brokers => None,
            Node::Replica(index) => Some(&mut self.replicas[index].process),
            Node::Agent(index) => Some(&mut self.agents[index].process),
            Node::User => Some(&mut self.user.process),
        }
    }

    pub fn begin(&mut self, node: Node) {
        match node {
            Node::Replica(index) => self.replicas[index].begin(&mut self.sim),
            Node::Agent(index) => self.agents[index].begin(&mut self.sim),
            Node::Store | Node::User | Node::Brokers => {}
        }
    }

    pub fn end(&mut self, node: Node) {
        match node {
            Node::Replica(index) => self.replicas[index].end(&mut self.sim),
            Node::Agent(index) => self.agents[index].end(&mut self.sim),
            Node::Store | Node::User | Node::Brokers => {}
        }
    }
}
