//! Messages between nodes: late, lost, twice, out of order, and not at all where the network is cut.

use std::collections::BTreeMap;

use copyist_agent::core::Report;
use copyist_coordinator::core::{Answer as Reply, Command, Failure, Holder};
use copyist_model::{AssignmentEpoch, AssignmentId};

use crate::node::Node;
use crate::queue::Happening;
use crate::sim::Sim;
use crate::store::{Answer, Question};

#[derive(Debug, Clone)]
pub struct Envelope {
    pub from: Node,
    pub to: Node,
    /// The process that waits for it; nothing: whoever serves there.
    pub to_life: Option<u64>,
    pub sent: u64,
    /// Sent again until it arrives.
    pub is_repeated: bool,
    pub message: Message,
}

#[derive(Debug, Clone)]
pub enum Message {
    /// To the store.
    Ask {
        life: u64,
        number: u64,
        question: Box<Question>,
    },
    Told {
        number: u64,
        answer: Box<Answer>,
    },
    /// The key of an agent vanished with its lease, at a revision.
    Vanished {
        holder: Holder,
        revision: u64,
    },
    /// The leader's key is gone.
    NobodyLeads,
    Open(Box<Opening>),
    OpenRefused {
        session: u64,
        leader: Option<usize>,
    },
    Renew {
        agent: usize,
        life: u64,
        number: u64,
        holder: Holder,
    },
    Renewed {
        number: u64,
        renewal: Renewal,
    },
    Command {
        number: u64,
        command: Box<Command>,
    },
    /// Nothing: another replica may lead.
    Replied {
        number: u64,
        reply: Option<Result<Reply, Failure>>,
        leader: Option<usize>,
    },
}

/// What a `Renew` is answered.
#[derive(Debug, Clone)]
pub enum Renewal {
    Held(BTreeMap<AssignmentId, AssignmentEpoch>),
    /// Its lease is there, and its key is not yet: no right.
    NotYet,
    LeaseGone,
}

/// An agent opens a session.
#[derive(Debug, Clone)]
pub struct Opening {
    pub session: u64,
    pub agent: usize,
    pub life: u64,
    pub holder: Holder,
    pub running: Vec<Report>,
    /// The store that it worked by last.
    pub store_id: String,
}

/// Which ways are cut.
#[derive(Debug, Default)]
pub struct Network {
    cut: BTreeMap<(Node, Node), u32>,
}

impl Network {
    pub fn is_cut(&self, from: Node, to: Node) -> bool {
        self.cut.contains_key(&(from, to))
    }

    pub fn cut(&mut self, ways: &[(Node, Node)]) {
        ways.iter().for_each(|way| *self.cut.entry(*way).or_default() += 1);
    }

    pub fn open(&mut self, ways: &[(Node, Node)]) {
        for way in ways {
            if let Some(times) = self.cut.get_mut(way) {
                *times -= 1;
                if *times == 0 {
                    self.cut.remove(way);
                }
            }
        }
    }

    pub fn open_all(&mut self) {
        self.cut.clear();
    }
}

impl Sim {
    pub fn send(&mut self, from: Node, to: Node, to_life: Option<u64>, message: Message) {
        // What follows a lease without its key is seldom seen else.
        let is_grant = matches!(&message, Message::Told { answer, .. } if matches!(**answer, Answer::Done));
        let loss = if is_grant { self.options.lost_grants } else { self.options.loss };
        if self.chance(loss) {
            self.trace.count("messages lost");
            self.note(from, "loses", || format!("to {to}: {}", message.name()));
            return;
        }
        let copies = match &message {
            Message::Command { .. } if self.chance(self.options.duplicates) => 2,
            _ => 1,
        };
        for copy in 0..copies {
            if copy > 0 {
                self.trace.count("commands delivered twice");
            }
            let late = copy > 0 || self.chance(self.options.late);
            let delay = if late { 200 + self.dice.below(6_000) } else { 1 + self.dice.below(12) };
            if late && copy == 0 {
                self.trace.count("messages delayed");
            }
            let message = message.clone();
            let sent = self.now;
            let envelope = Envelope { from, to, to_life, sent, is_repeated: false, message };
            self.after(delay, Happening::Arrives(Box::new(envelope)));
        }
    }

    /// Sent again and again, so that it arrives once its way is open.
    pub fn send_until_heard(&mut self, from: Node, to: Node, to_life: Option<u64>, message: Message) {
        let late = self.chance(self.options.late * 3);
        let delay = if late { 200 + self.dice.below(3_000) } else { 1 + self.dice.below(12) };
        let envelope = Envelope { from, to, to_life, sent: self.now, is_repeated: true, message };
        self.after(delay, Happening::Arrives(Box::new(envelope)));
    }

    /// Whether something gets through; if it must, it is tried again later.
    pub fn gets_through(&mut self, envelope: &Envelope) -> bool {
        let Envelope { from, to, .. } = *envelope;
        if !self.network.is_cut(from, to) {
            return true;
        }
        if envelope.is_repeated {
            self.after(300, Happening::Arrives(Box::new(envelope.clone())));
        } else {
            self.trace.count("messages cut off");
            self.note(from, "cut off", || format!("to {to}: {}", envelope.message.name()));
        }
        false
    }
}

impl Message {
    pub fn name(&self) -> String {
        match self {
            Self::Ask { number, question, .. } => format!("#{number} {}", question.name()),
            Self::Told { number, answer } => format!("#{number} {}", answer.name()),
            Self::Vanished { holder, revision, .. } => {
                format!("{} vanished at {revision}", holder.incarnation)
            }
            Self::NobodyLeads => "nobody leads".to_owned(),
            Self::Open(opening) => format!("session {} of {}", opening.session, opening.holder.incarnation),
            Self::OpenRefused { session, leader } => format!("session {session} refused, leader {leader:?}"),
            Self::Renew { number, holder, .. } => format!("renew {} ({number})", holder.incarnation),
            Self::Renewed { number, renewal } => match renewal {
                Renewal::Held(held) => {
                    let held: Vec<String> = held.iter().map(|(id, epoch)| format!("{id}@{epoch}")).collect();
                    format!("renewed ({number}): {}", held.join(" "))
                }
                Renewal::NotYet => format!("not yet ({number})"),
                Renewal::LeaseGone => format!("no lease ({number})"),
            },
            Self::Command { number, command } => format!("command {number}: {}", crate::user::shown(command)),
            Self::Replied { number, reply, .. } => match reply {
                Some(Ok(_)) => format!("reply {number}: done"),
                Some(Err(failure)) => format!("reply {number}: {failure}"),
                None => format!("reply {number}: not the leader"),
            },
        }
    }
}
