//! What is going to happen, in the order of true time. Of several things at one moment the one planned first comes first.

use std::collections::BTreeMap;

use copyist_lane::Question;
use copyist_model::{AssignmentEpoch, AssignmentId, LaneRecord, Position};

use crate::brokers::Request;
use crate::lanes::{LaneAt, Word};
use crate::network::Envelope;
use crate::node::Node;
use crate::store::LeaseId;

/// Something that happens at a moment.
#[derive(Debug, Clone)]
pub enum Happening {
    Arrives(Box<Envelope>),
    /// A session has something to deliver.
    Pumps {
        session: u64,
        towards: Towards,
    },
    /// A process wakes up, unless it died meanwhile.
    Wakes {
        node: Node,
        life: u64,
        timer: Timer,
    },
    /// A lease may be over.
    LeaseDue(LeaseId),
    /// The first request of a lane reaches the brokers.
    Produces(Box<LaneAt>),
    /// A request that nobody waits for does.
    ArrivesLate(Box<Request>),
    LaneAsks {
        at: Box<LaneAt>,
        question: u32,
        what: Question,
    },
    LaneStores {
        at: Box<LaneAt>,
        position: Position,
        record: Box<LaneRecord>,
    },
    /// A position that nobody waits for any more reaches its store.
    PositionLands {
        at: Box<LaneAt>,
        position: Position,
        record: Box<LaneRecord>,
    },
    BrokersTurn,
    RecordsCome,
    UserActs,
    /// An operator copies the store.
    Copies,
    /// The store is lost, and an operator brings the copy back.
    Restores,
    /// The user looks what is there.
    UserLooks,
    SourceGrows,
    FaultStrikes,
    FaultEnds(Relief),
    /// A process stands still from now on.
    Pauses(Node),
    Heals,
    /// Is everything as it should be by now?
    Looks,
}

/// The end of a session that something travels to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Towards {
    Agent,
    Replica,
}

/// Why a process wakes up.
#[derive(Debug, Clone)]
pub enum Timer {
    Campaign,
    KeepAlive,
    LeaderTick { term: u64 },
    StoreSilent { number: u64 },
    AgentTick,
    Heartbeat { session: u64 },
    Reconnect,
    OpenSilent { session: u64 },
    Renew { turn: u64 },
    RenewSilent { number: u64 },
    Job { id: AssignmentId, epoch: AssignmentEpoch, turn: Turn },
    Lane { at: Box<LaneAt>, word: Word },
    UserSilent { number: u64, turn: u64 },
}

/// What a job does when it wakes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Begin,
    Survey {
        look: u64,
    },
    End,
    /// It had its time to end.
    Abandon,
}

/// The end of a fault.
#[derive(Debug, Clone)]
pub enum Relief {
    Starts(Node),
    Resumes(Node),
    Opens(Vec<(Node, Node)>),
}

#[derive(Debug, Default)]
pub struct Queue {
    planned: BTreeMap<(u64, u64), Happening>,
    number: u64,
}

impl Queue {
    pub fn plan(&mut self, at: u64, happening: Happening) {
        self.number += 1;
        self.planned.insert((at, self.number), happening);
    }

    pub fn next(&mut self) -> Option<(u64, Happening)> {
        self.planned.pop_first().map(|((at, _), happening)| (at, happening))
    }
}
