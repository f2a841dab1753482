//! What can happen to the coordinator, and what it decides. Read these two enums first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use copyist_model::{
    AgentId, AssignmentEpoch, AssignmentId, ClusterId, ConnectorGeneration, ConnectorName, ConnectorSpec,
    InstanceState, LaneGeneration, LaneHeld, LaneId, LaneRecord, StoreRevision, TargetState, TaskLanes,
    TaskRevision, TopicName,
};

use super::offsets::Altered;
use super::view::{Destination, Holder, TopicMarks, Write};
use crate::store::keys;

/// Now, as two plain numbers: rights count on the first, calendars on the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since the machine started, suspended time included (CLOCK_BOOTTIME).
    pub boot_ms: u64,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
}

/// Names a request that waits for its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The commit in flight is stored.
    Committed(StoreRevision),
    /// The commit in flight was refused, because a key that it compared was not as expected. It left no trace.
    Refused,
    /// A management request.
    Command(Ticket, Command),
    /// An agent opened a session. Its lease was granted.
    Hello(Box<Hello>),
    /// An agent is there.
    Heartbeat(Holder),
    /// An agent turned out to copy to where the fleet does.
    Settled(Holder),
    /// Where the agents copy to, which the store does not say, or says otherwise.
    Destination(Destination),
    /// An agent's process stops: it releases what it runs, and is to be given nothing more.
    Draining(Holder),
    /// Nothing of an agent's process runs any more, whatever it was given, and nothing will.
    Drained(Holder),
    /// An agent's session ended.
    SessionEnded(Holder),
    /// An agent's lease ended.
    LeaseEnded(Holder),
    /// An agent states a part's state.
    Reported { holder: Holder, id: AssignmentId, epoch: AssignmentEpoch, state: InstanceState, trace: String },
    /// An agent runs a part no more, and will write nothing more for it.
    Released { holder: Holder, id: AssignmentId, epoch: AssignmentEpoch },
    /// A survey is complete.
    Surveyed { holder: Holder, connector: ConnectorName, epoch: AssignmentEpoch, findings: Findings },
    /// Agents want lane records fixed: as many as were heard by now, so that few commits fix them all.
    Proposed(Vec<Proposal>),
    /// Time went by.
    Tick,
}

impl Event {
    /// Who showed by it that they are there.
    pub(crate) fn speakers(&self) -> Vec<&Holder> {
        match self {
            Self::Hello(hello) => vec![&hello.holder],
            Self::Heartbeat(holder)
            | Self::Settled(holder)
            | Self::Draining(holder)
            | Self::Drained(holder)
            | Self::Reported { holder, .. }
            | Self::Released { holder, .. }
            | Self::Surveyed { holder, .. } => vec![holder],
            Self::Proposed(proposals) => proposals.iter().map(|proposal| &proposal.holder).collect(),
            Self::Committed(_)
            | Self::Refused
            | Self::Destination(_)
            | Self::Command(..)
            | Self::SessionEnded(_)
            | Self::LeaseEnded(_)
            | Self::Tick => Vec::new(),
        }
    }
}

/// Who opens a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub holder: Holder,
    pub rack: String,
    pub labels: BTreeMap<String, String>,
    /// What it runs, by a store that this one may be a copy of.
    pub running: Vec<(AssignmentId, AssignmentEpoch)>,
    /// The store that it worked by last; empty: none.
    pub store_id: String,
    /// Whether it is known to copy to where the fleet does; until it is, it is given nothing.
    pub is_settled: bool,
}

/// A lane record that an agent wants fixed before the lane's first batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub holder: Holder,
    /// The task that has the lane.
    pub id: AssignmentId,
    pub epoch: AssignmentEpoch,
    /// The generation that holds, as the agent knows it; 0: none.
    pub replaces: LaneGeneration,
    pub record: Box<LaneRecord>,
}

/// A management request. Names were parsed, configs were not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Create {
        request: RequestId,
        name: String,
        config: GivenConfig,
        initial: TargetState,
    },
    PutConfig {
        request: RequestId,
        name: ConnectorName,
        config: GivenConfig,
    },
    PatchConfig {
        request: RequestId,
        name: ConnectorName,
        changes: GivenConfig,
    },
    Delete {
        request: RequestId,
        name: ConnectorName,
    },
    SetTarget {
        request: RequestId,
        name: ConnectorName,
        target: TargetState,
    },
    Restart {
        name: ConnectorName,
        include_tasks: bool,
        only_failed: bool,
    },
    RestartTask {
        name: ConnectorName,
        task: i32,
    },
    /// None of the agent's processes runs any more: somebody says so.
    ForgetAgent {
        agent: AgentId,
    },
    /// Whether an agent's process is to have nothing to run.
    DrainAgent {
        agent: AgentId,
        drained: bool,
    },
    /// A part is to go to an agent, and to stay there.
    Move {
        id: AssignmentId,
        to: AgentId,
    },
    /// An agent is about to change the positions of a stopped connector.
    BeginAlteration {
        name: ConnectorName,
        /// Tells this change from others.
        by: RequestId,
    },
    /// It has done so.
    EndAlteration {
        name: ConnectorName,
        by: RequestId,
        altered: Altered,
    },
    /// What was copied so far is no sign of an active topic.
    ResetTopics {
        name: ConnectorName,
        marks: TopicMarks,
    },
}

/// Names a write, so that a repeated one gets its first answer; empty: not repeatable.
pub type RequestId = String;

/// A config as sent: JSON null is a key without a value.
pub type GivenConfig = BTreeMap<String, Option<String>>;

/// What a survey found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    pub generation: ConnectorGeneration,
    pub source: ClusterId,
    pub destination: ClusterId,
    pub topics: Vec<FoundTopic>,
}

/// A source topic whose destination is ready for lanes `0..partitions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTopic {
    pub source: TopicName,
    pub destination: TopicName,
    pub partitions: u32,
    /// Whether the user's list names it.
    pub literal: bool,
}

/// What is to be done, in order. A commit is performed before the next one, and tells only once it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    pub commits: Vec<Commit>,
}

/// Writes that are stored together or not at all, then what is told because of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// Processes that must still hold their lease for this commit to be valid.
    pub alive: Vec<Holder>,
    /// Nothing to write: the sends go out at once.
    pub writes: Vec<Write>,
    pub sends: Vec<Send>,
}

impl Commit {
    /// Writes in one commit: etcd takes 128 operations, comparisons included.
    pub const WRITES_MAX: usize = 100;

    /// Keys and values in one commit: etcd takes 1.5 MiB.
    pub const BYTES_MAX: usize = 1024 * 1024;

    #[must_use]
    pub fn telling(send: Send) -> Self {
        Self { sends: vec![send], ..Self::default() }
    }

    /// A row of commits for any number of writes, each valid alone; what is told follows the last.
    #[must_use]
    pub fn row(writes: Vec<Write>, sends: Vec<Send>) -> Vec<Self> {
        let mut row: Vec<Self> = Vec::new();
        let mut batch = Batch::default();
        for write in writes {
            if let Some(write) = batch.push(write) {
                row.push(std::mem::take(&mut batch).into());
                // An empty batch takes any write.
                drop(batch.push(write));
            }
        }
        row.push(Self { sends, ..batch.into() });
        row
    }
}

/// The writes of one commit, up to its bounds.
#[derive(Debug, Default)]
pub(super) struct Batch {
    writes: Vec<Write>,
    bytes: usize,
}

impl Batch {
    /// Takes one more write, or gives it back if it does not fit. The first one is taken whatever its size.
    pub(super) fn push(&mut self, write: Write) -> Option<Write> {
        let bytes = self.bytes + keys::size(&write);
        let fits = self.writes.len() < Commit::WRITES_MAX && bytes <= Commit::BYTES_MAX;
        if !fits && !self.is_empty() {
            return Some(write);
        }
        self.bytes = bytes;
        self.writes.push(write);
        None
    }

    /// Adds what fits of `writes`; says whether all did.
    pub(super) fn extend(&mut self, writes: impl IntoIterator<Item = Write>) -> bool {
        writes.into_iter().all(|write| self.push(write).is_none())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.writes.len() < Commit::WRITES_MAX && self.bytes < Commit::BYTES_MAX
    }
}

impl From<Batch> for Commit {
    fn from(batch: Batch) -> Self {
        Self { writes: batch.writes, ..Self::default() }
    }
}

/// What somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Send {
    Reply(Ticket, Result<Answer, Failure>),
    Statement(Holder, Statement),
}

/// What the leader states to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    Run(Box<Run>),
    Release {
        id: AssignmentId,
        epoch: AssignmentEpoch,
    },
    SetComplete,
    /// What became of a proposal.
    Verdict(Box<LaneVerdict>),
}

/// What became of a proposed lane record: it holds, or it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneVerdict {
    pub lane: LaneId,
    /// The generation that was proposed.
    pub generation: LaneGeneration,
    /// Nothing: the record holds.
    pub refusal: Option<Refusal>,
}

/// Why a proposed lane record does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub because: String,
    /// What the store holds of the lane instead, if anything.
    pub holds: Option<LaneHeld>,
}

/// What an agent should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: AssignmentId,
    pub epoch: AssignmentEpoch,
    pub revision: TaskRevision,
    pub generation: ConnectorGeneration,
    pub spec: Arc<ConnectorSpec>,
    pub lanes: TaskLanes,
    /// What the store holds of these lanes.
    pub records: Vec<(LaneId, LaneHeld)>,
    /// Destination topics of these lanes that another source topic goes into as well.
    pub shared: BTreeSet<TopicName>,
    pub paused: bool,
    /// Whether former holders may still have a right.
    pub follows_unreleased: bool,
}

/// The answer to a request that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// Offsets were changed: what the user is to know of it; empty: nothing.
    Altered(String),
    /// The connector as it is now, with the tasks known before.
    Info {
        created: bool,
        info: Info,
    },
    /// The planned status of a restart.
    Status(StatusView),
}

/// Connect's ConnectorInfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub name: ConnectorName,
    pub config: BTreeMap<String, String>,
    pub tasks: Vec<u32>,
}

/// Connect's ConnectorStateInfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusView {
    pub name: ConnectorName,
    pub connector: super::view::Status,
    pub tasks: Vec<(u32, super::view::Status)>,
}

/// Why a request failed, by what the caller can do. The text is Connect's where Connect has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The name is taken.
    #[error("{0}")]
    AlreadyExists(String),
    /// The request is wrong; the text says how.
    #[error("{0}")]
    Invalid(String),
    /// Something else is under way; try again.
    #[error("{0}")]
    Conflict(String),
    /// The coordinator lost its store or stops; whether the write happened is not known.
    #[error("{0}")]
    Unavailable(String),
}
