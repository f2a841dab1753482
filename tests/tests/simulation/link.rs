//! A session between an agent and a replica: an ordered stream each way, reliable until it breaks. What is on its way
//! then is partly lost, and partly arrives late.

use std::collections::VecDeque;

use copyist_agent::core::Saying;
use copyist_coordinator::core::{Holder, Statement};

use crate::node::Node;
use crate::queue::{Happening, Towards};
use crate::sim::Sim;

#[derive(Debug, Clone)]
pub enum Said {
    Heartbeat,
    Saying(Box<Saying>),
    Closed,
}

#[derive(Debug, Clone)]
pub enum Stated {
    Welcome { store_id: String },
    Statement(Box<Statement>),
    Closed,
}

#[derive(Debug)]
pub struct Link {
    pub agent: usize,
    pub agent_life: u64,
    pub holder: Holder,
    pub replica: usize,
    pub term: u64,
    said: VecDeque<(u64, Said)>,
    stated: VecDeque<(u64, Stated)>,
    blocked_since: Option<u64>,
    /// How long its ends wait for each other before they give up.
    patience: u64,
    pub is_broken: bool,
}

/// What a session has to deliver at the moment.
pub enum Due {
    Said(Said),
    Stated(Stated),
    Nothing,
}

impl Sim {
    pub fn open_link(&mut self, session: u64, agent: (usize, u64), holder: Holder, replica: (usize, u64)) {
        let patience = 2_000 + self.dice.below(5_000);
        let link = Link {
            agent: agent.0,
            agent_life: agent.1,
            holder,
            replica: replica.0,
            term: replica.1,
            said: VecDeque::new(),
            stated: VecDeque::new(),
            blocked_since: None,
            patience,
            is_broken: false,
        };
        self.links.insert(session, link);
    }

    /// An agent says something.
    pub fn say(&mut self, session: u64, said: Said) {
        let delay = self.stream_delay();
        let Some(link) = self.links.get_mut(&session).filter(|link| !link.is_broken) else { return };
        let due = link.said.back().map_or(0, |(due, _)| *due).max(self.now + delay);
        link.said.push_back((due, said));
        self.queue.plan(due, Happening::Pumps { session, towards: Towards::Replica });
    }

    /// A leader states something.
    pub fn state(&mut self, session: u64, stated: Stated) {
        let delay = self.stream_delay();
        let Some(link) = self.links.get_mut(&session).filter(|link| !link.is_broken) else { return };
        let due = link.stated.back().map_or(0, |(due, _)| *due).max(self.now + delay);
        link.stated.push_back((due, stated));
        self.queue.plan(due, Happening::Pumps { session, towards: Towards::Agent });
    }

    fn stream_delay(&mut self) -> u64 {
        if self.chance(self.options.late) { 100 + self.dice.below(1_500) } else { 1 + self.dice.below(8) }
    }

    /// It ends for both: some of what is on its way arrives late, the rest never.
    pub fn break_link(&mut self, session: u64) {
        let Some(link) = self.links.get_mut(&session).filter(|link| !link.is_broken) else { return };
        link.is_broken = true;
        let kept = self.dice.index(link.said.len() + 1);
        let lost = link.said.len() - kept;
        link.said.truncate(kept);
        let heard = self.dice.index(link.stated.len() + 1);
        link.stated.truncate(heard);
        link.stated.push_back((0, Stated::Closed));
        link.said.iter_mut().for_each(|(due, _)| *due = 0);
        link.stated.iter_mut().for_each(|(due, _)| *due = 0);
        let agent = link.agent;
        let late = self.chance(self.options.late * 10) && kept > 0;
        let (soon, later) = (1 + self.dice.below(50), if late { 500 + self.dice.below(4_000) } else { 20 });
        let Some(link) = self.links.get_mut(&session) else { return };
        link.said.push_back((0, Said::Closed));
        for _ in 0..link.stated.len() {
            self.queue.plan(self.now + soon, Happening::Pumps { session, towards: Towards::Agent });
        }
        for _ in 0..link.said.len() {
            self.queue.plan(self.now + later, Happening::Pumps { session, towards: Towards::Replica });
        }
        self.trace.count("sessions broken");
        if late {
            self.trace.count("words of a former session");
        }
        self.note(Node::Agent(agent), "session off", || format!("{session}, {lost} words lost"));
    }

    /// The next thing that has arrived at one end.
    pub fn due(&mut self, session: u64, towards: Towards) -> Due {
        let now = self.now;
        let Some(link) = self.links.get_mut(&session) else { return Due::Nothing };
        let (agent, replica) = (Node::Agent(link.agent), Node::Replica(link.replica));
        let is_cut = match towards {
            Towards::Agent => self.network.is_cut(replica, agent),
            Towards::Replica => self.network.is_cut(agent, replica),
        };
        if is_cut && !link.is_broken {
            let since = *link.blocked_since.get_or_insert(now);
            if now - since > link.patience {
                self.break_link(session);
            } else {
                self.after(250, Happening::Pumps { session, towards });
            }
            return Due::Nothing;
        }
        link.blocked_since = None;
        let is_due = |due: Option<&u64>| due.is_some_and(|due| *due <= now);
        match towards {
            Towards::Agent if is_due(link.stated.front().map(|(due, _)| due)) => {
                link.stated.pop_front().map_or(Due::Nothing, |(_, stated)| Due::Stated(stated))
            }
            Towards::Replica if is_due(link.said.front().map(|(due, _)| due)) => {
                link.said.pop_front().map_or(Due::Nothing, |(_, said)| Due::Said(said))
            }
            Towards::Agent | Towards::Replica => Due::Nothing,
        }
    }

    pub fn links_of(&self, which: impl Fn(&Link) -> bool) -> Vec<u64> {
        self.links.iter().filter(|(_, link)| which(link)).map(|(session, _)| *session).collect()
    }
}
