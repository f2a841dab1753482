//! What goes wrong, drawn by chance, and how it ends.

use crate::node::Node;
use crate::options::{MARGIN_MS, REPLICAS, TTL_MS};
use crate::queue::{Happening, Relief};
use crate::world::World;

impl World {
    /// One fault, and the plan of the next.
    pub fn strike(&mut self) {
        if self.sim.is_healed {
            return;
        }
        let next = 1 + self.sim.dice.below(2 * self.sim.options.fault_every_ms);
        self.sim.after(next, Happening::FaultStrikes);
        let agent = Node::Agent(self.sim.dice.index(self.agents.len()));
        let replica = match self.store.leader() {
            // Most of what goes wrong with a replica matters if it leads.
            Some(leader) if self.sim.dice.percent(60) => Node::Replica(leader),
            Some(_) | None => Node::Replica(self.sim.dice.index(REPLICAS)),
        };
        if let Node::Agent(index) = agent
            && self.sim.dice.percent(self.sim.options.pauses_after_asking)
        {
            self.agents[index].pauses_after_asking = true;
            return;
        }
        match self.sim.dice.below(100) {
            0..20 => self.crash(agent, "crashes of agents"),
            20..30 => self.crash(replica, "crashes of replicas"),
            30..42 => self.pause(agent, "pauses of agents"),
            42..52 => self.pause(replica, "pauses of replicas"),
            52..62 => self.cut_off(agent, "agents cut off"),
            62..72 => self.cut_off(replica, "replicas cut off"),
            72..82 => {
                self.cut(vec![(replica, Node::Store), (Node::Store, replica)], "replicas without a store")
            }
            82..90 => self.cut_one_way(agent, replica),
            90..94 => self.drain(agent),
            94..97 => self.cut_connections(agent),
            _ => self.break_a_session(),
        }
    }

    fn crash(&mut self, node: Node, kind: &'static str) {
        if !self.process(node).is_some_and(|process| process.is_up) {
            return;
        }
        self.sim.trace.count(kind);
        self.sim.note(node, "crashes", String::new);
        self.end(node);
        let delay = match self.sim.dice.below(10) {
            0..6 => self.sim.between(100, 2_000),
            _ => self.sim.between(2_000, 20_000),
        };
        self.sim.after(delay, Happening::FaultEnds(Relief::Starts(node)));
    }

    pub fn pause(&mut self, node: Node, kind: &'static str) {
        let is_healed = self.sim.is_healed;
        let free = self.process_mut(node).filter(|it| it.is_up && !it.is_paused && !is_healed);
        let Some(process) = free else { return };
        process.is_paused = true;
        self.sim.trace.count(kind);
        self.sim.note(node, "pauses", String::new);
        let delay = match self.sim.dice.below(10) {
            0..5 => self.sim.between(300, 4_000),
            5..8 => self.sim.between(4_000, 25_000),
            // About as long as others wait for what it may have written last.
            _ => self.sim.between(12_000, 20_000),
        };
        self.sim.after(delay, Happening::FaultEnds(Relief::Resumes(node)));
    }

    fn cut_off(&mut self, node: Node, kind: &'static str) {
        let mut others: Vec<Node> = (0..REPLICAS).map(Node::Replica).collect();
        others.extend((0..self.agents.len()).map(Node::Agent));
        others.extend([Node::Store, Node::User]);
        // The brokers may be elsewhere.
        if self.sim.dice.percent(50) {
            others.push(Node::Brokers);
        }
        others.retain(|other| *other != node);
        self.cut(others.iter().flat_map(|other| [(node, *other), (*other, node)]).collect(), kind);
    }

    fn cut_one_way(&mut self, agent: Node, replica: Node) {
        let ways = [(agent, replica), (replica, agent), (replica, Node::Store), (Node::Store, replica)];
        let way = ways[self.sim.dice.index(ways.len())];
        self.cut(vec![way], "ways cut");
    }

    fn cut(&mut self, ways: Vec<(Node, Node)>, kind: &'static str) {
        self.sim.trace.count(kind);
        if let Some((from, to)) = ways.first() {
            let (from, to, count) = (*from, *to, ways.len());
            self.sim.note(from, "cut", || format!("{kind}: {count} ways, the first to {to}"));
        }
        self.sim.network.cut(&ways);
        let delay = match self.sim.dice.below(10) {
            0..6 => self.sim.between(200, 5_000),
            _ => self.sim.between(5_000, 25_000),
        };
        self.sim.after(delay, Happening::FaultEnds(Relief::Opens(ways)));
    }

    fn drain(&mut self, node: Node) {
        let Node::Agent(index) = node else { return };
        let agent = &mut self.agents[index];
        if agent.process.is_up && !agent.process.is_paused {
            self.sim.trace.count("agents drained");
            self.sim.note(node, "drains", String::new);
            agent.step(&mut self.sim, copyist_agent::core::Event::Drain);
            self.end_if_drained(index);
        }
    }

    /// The store is lost; until it is back, every right has ended, as the manual says.
    pub fn restore(&mut self) {
        let replicas = (0..REPLICAS).map(Node::Replica);
        let ways: Vec<(Node, Node)> =
            replicas.flat_map(|replica| [(replica, Node::Store), (Node::Store, replica)]).collect();
        self.sim.network.cut(&ways);
        self.store.restore(&mut self.sim);
        self.user.lose_sight();
        self.sim.brokers.make_sure(false, |_| true);
        let outage = TTL_MS + MARGIN_MS + self.sim.between(500, 4_000);
        self.sim.after(outage, Happening::FaultEnds(Relief::Opens(ways)));
        self.sim.after(outage + 12_000, Happening::UserLooks);
    }

    fn cut_connections(&mut self, node: Node) {
        let Node::Agent(index) = node else { return };
        self.sim.trace.count("connections to brokers cut");
        self.sim.note(node, "cut", || "from the brokers, for a moment".to_owned());
        self.agents[index].cut_connections(&mut self.sim);
    }

    fn break_a_session(&mut self) {
        let open = self.sim.links_of(|link| !link.is_broken);
        if !open.is_empty() {
            let session = open[self.sim.dice.index(open.len())];
            self.sim.break_link(session);
        }
    }

    /// An agent that has nothing more to do ends, and another process begins.
    pub fn end_if_drained(&mut self, index: usize) {
        if self.agents[index].is_drained && self.agents[index].process.is_up {
            let node = Node::Agent(index);
            self.sim.note(node, "drained", String::new);
            self.end(node);
            let delay = self.sim.between(100, 3_000);
            self.sim.after(delay, Happening::FaultEnds(Relief::Starts(node)));
        }
    }

    pub fn relieve(&mut self, relief: Relief) {
        match relief {
            Relief::Starts(node) => {
                if let Node::Agent(index) = node
                    && let Some(left) = self.agents[index].stays_down_until.checked_sub(self.sim.now + 1)
                {
                    self.sim.after(left + 1, Happening::FaultEnds(Relief::Starts(node)));
                } else if self.process(node).is_some_and(|process| !process.is_up) {
                    self.begin(node);
                }
            }
            Relief::Resumes(node) => self.resume(node),
            Relief::Opens(ways) => {
                if let Some((from, to)) = ways.first() {
                    let (from, to) = (*from, *to);
                    self.sim.note(from, "opens", || format!("to {to}"));
                }
                self.sim.network.open(&ways);
            }
        }
    }

    /// A paused process goes on where it was, with all that came meanwhile.
    pub fn resume(&mut self, node: Node) {
        let Some(process) = self.process_mut(node).filter(|it| it.is_up && it.is_paused) else { return };
        process.is_paused = false;
        let held = std::mem::take(&mut process.held);
        self.sim.note(node, "resumes", || format!("{} things happened", held.len()));
        for happening in held {
            self.sim.after(0, happening);
        }
    }

    /// Nothing fails any more, and everybody is there.
    pub fn heal(&mut self) {
        self.sim.is_healed = true;
        self.sim.note(Node::User, "heals", String::new);
        self.sim.network.open_all();
        let nodes = (0..REPLICAS).map(Node::Replica).chain((0..self.agents.len()).map(Node::Agent));
        for node in nodes.collect::<Vec<_>>() {
            self.resume(node);
            if self.process(node).is_some_and(|process| !process.is_up) {
                self.begin(node);
            }
        }
        self.finish_source();
        self.healed_at = self.sim.now;
        if self.is_judged_in_the_end {
            self.sim.after(1_000, Happening::Looks);
        } else {
            self.is_done = true;
        }
    }
}
