//! What the store holds, typed. It changes only by [`View::apply`], on load and after a commit alike.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use copyist_connector::parse;
use copyist_model::{
    AgentId, AssignmentEpoch, AssignmentId, ClusterId, ConnectorGeneration, ConnectorName, ConnectorSpec,
    InstanceState, LaneHeld, LaneId, StoreRevision, TargetState, TaskId, TaskLanes, TaskRevision, TopicName,
};

/// Identity of the store, and how often it was restored from an older copy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    pub store_id: String,
    pub incarnation: u64,
    /// Where the fleet's agents copy to by their worker files; nothing before the first one said so.
    pub destination: Option<Destination>,
}

/// What the agents of one fleet have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The id of the cluster that the worker files name.
    pub cluster_id: String,
    pub offset_storage_topic: String,
}

/// A connector as stored, with its spec parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// As the user gave it, plus `name`.
    pub config: BTreeMap<String, String>,
    pub target: TargetState,
    pub generation: ConnectorGeneration,
    /// Rises with each config and each restart; what the survey is told.
    pub revision: TaskRevision,
    /// The generation that the tasks were made for.
    pub tasks_generation: ConnectorGeneration,
    pub deleting: bool,
    /// Whether a complete survey of this generation was committed.
    pub surveyed: bool,
    /// Source and destination cluster of the last committed survey.
    pub clusters: Option<(ClusterId, ClusterId)>,
    /// What the config says, or why it cannot be read (stored by a version that was less strict).
    pub spec: Result<Arc<ConnectorSpec>, String>,
    /// What the user should know about a config that was accepted.
    pub warnings: Vec<String>,
    /// What a change of its offsets makes it write again or leave out, until it is restarted; empty: nothing.
    pub altered: String,
    /// The change of its offsets that is under way, or whose end never came.
    pub altering: Option<Altering>,
}

/// A change of a connector's offsets that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Altering {
    /// Tells it from others.
    pub by: String,
    /// In wall time.
    pub until_ms: u64,
}

impl Connector {
    /// The typed meaning of a config, which stays beside it.
    pub fn read(
        name: &ConnectorName,
        config: &BTreeMap<String, String>,
    ) -> (Result<Arc<ConnectorSpec>, String>, Vec<String>) {
        let given = config.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        match parse(name.as_str(), &given) {
            Ok(parsed) => (Ok(Arc::new(parsed.spec)), parsed.warnings),
            Err(rejection) => (Err(rejection.to_string()), Vec::new()),
        }
    }

    /// Whether the tasks there are belong to the config there is.
    #[must_use]
    pub fn tasks_are_current(&self) -> bool {
        self.tasks_generation == self.generation
    }
}

/// A task: a stable set of lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub revision: TaskRevision,
    pub generation: ConnectorGeneration,
    pub lanes: TaskLanes,
}

/// A process of an agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    pub agent: AgentId,
    pub incarnation: String,
}

/// That a process holds or held a part, and under which epoch.
pub type Holding = (Holder, AssignmentEpoch);

/// Who holds a part, and under which epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub holder: Holder,
    pub epoch: AssignmentEpoch,
    /// Who held it before and had not confirmed the release when this was written, with the epoch of then.
    pub former: Vec<Holding>,
    /// Whether an operator put it there.
    pub pinned: bool,
}

impl Assignment {
    /// The current one first.
    pub fn holdings(&self) -> impl Iterator<Item = Holding> {
        std::iter::once((self.holder.clone(), self.epoch)).chain(self.former.iter().cloned())
    }
}

/// State, place and reason of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub state: InstanceState,
    pub agent: Option<AgentId>,
    /// At most [`Status::TRACE_BYTES_MAX`].
    pub trace: String,
}

impl Status {
    /// Longest trace: a value must stay far below what a store takes.
    pub const TRACE_BYTES_MAX: usize = 8 * 1024;

    #[must_use]
    pub fn new(state: InstanceState, agent: Option<AgentId>, mut trace: String) -> Self {
        if trace.len() > Self::TRACE_BYTES_MAX {
            let end = (0..=Self::TRACE_BYTES_MAX).rev().find(|&at| trace.is_char_boundary(at)).unwrap_or(0);
            trace.truncate(end);
        }
        Self { state, agent, trace }
    }
}

/// The answer to a write, for whoever repeats it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestAnswer {
    pub answer: Result<super::Answer, super::Failure>,
    pub expires_at_ms: u64,
}

/// One change of the store: a key's new value, or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Meta(Meta),
    Connector(ConnectorName, Option<Box<Connector>>),
    Request(String, Option<Box<RequestAnswer>>),
    Task(TaskId, Option<Task>),
    Lane(LaneId, Option<LaneHeld>),
    TopicMarks(ConnectorName, Option<TopicMarks>),
    /// When a connector was deleted, in wall time.
    Deletion(ConnectorName, Option<u64>),
    Agent(AgentId, Option<Agent>),
    /// The epoch of an assignment is the revision of the commit that writes it: the one given here is ignored.
    Assignment(AssignmentId, Option<Assignment>),
    /// All of a part's holdings that are confirmed to be over; none: the key goes.
    Released(AssignmentId, BTreeSet<Holding>),
    Status(AssignmentId, Option<Status>),
}

impl Write {
    /// Whether who runs what, or what it is told, may follow from it.
    pub(super) fn is_of_placement(&self) -> bool {
        match self {
            Self::Meta(_)
            | Self::Connector(..)
            | Self::Task(..)
            | Self::Agent(..)
            | Self::Assignment(..)
            | Self::Released(..) => true,
            Self::Request(..)
            | Self::Lane(..)
            | Self::TopicMarks(..)
            | Self::Deletion(..)
            | Self::Status(..) => false,
        }
    }
}

/// How far each destination topic was copied when the record of active topics was reset.
pub type TopicMarks = BTreeMap<TopicName, u64>;

/// A living agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub incarnation: String,
    pub rack: String,
    pub labels: BTreeMap<String, String>,
    /// An operator wants it to have nothing to run.
    pub drained: bool,
}

impl Agent {
    /// The process that this key of an agent stands for.
    pub(crate) fn process_of(&self, agent: AgentId) -> Holder {
        Holder { agent, incarnation: self.incarnation.clone() }
    }
}

/// Everything the store holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    pub revision: StoreRevision,
    pub meta: Meta,
    pub connectors: BTreeMap<ConnectorName, Connector>,
    pub requests: BTreeMap<String, RequestAnswer>,
    pub tasks: BTreeMap<TaskId, Task>,
    /// The lane records that hold, and what changes of offsets left of others. They outlive tasks, and go with their
    /// connector.
    pub lanes: BTreeMap<LaneId, LaneHeld>,
    /// Of connectors whose record of active topics was reset.
    pub topic_marks: BTreeMap<ConnectorName, TopicMarks>,
    /// Which connectors were deleted lately, and when, in wall time.
    pub deletions: BTreeMap<ConnectorName, u64>,
    pub agents: BTreeMap<AgentId, Agent>,
    pub assignments: BTreeMap<AssignmentId, Assignment>,
    /// Which holdings of an assignment are confirmed to be over.
    pub releases: BTreeMap<AssignmentId, BTreeSet<Holding>>,
    pub statuses: BTreeMap<AssignmentId, Status>,
}

impl View {
    /// Applies one write of the commit that has `revision`.
    pub fn apply(&mut self, revision: StoreRevision, write: Write) {
        self.revision = self.revision.max(revision);
        match write {
            Write::Meta(meta) => self.meta = meta,
            Write::Connector(name, value) => set(&mut self.connectors, name, value.map(|value| *value)),
            Write::Request(id, value) => set(&mut self.requests, id, value.map(|value| *value)),
            Write::Task(id, value) => set(&mut self.tasks, id, value),
            Write::Lane(id, value) => set(&mut self.lanes, id, value),
            Write::TopicMarks(name, value) => set(&mut self.topic_marks, name, value),
            Write::Deletion(name, value) => set(&mut self.deletions, name, value),
            Write::Agent(id, value) => set(&mut self.agents, id, value),
            Write::Assignment(id, value) => {
                let incarnation = self.meta.incarnation;
                let value = value.map(|mut assignment| {
                    assignment.epoch = AssignmentEpoch { incarnation, revision };
                    assignment
                });
                set(&mut self.assignments, id, value);
            }
            Write::Released(id, holdings) => {
                set(&mut self.releases, id, Some(holdings).filter(|holdings| !holdings.is_empty()));
            }
            Write::Status(id, value) => set(&mut self.statuses, id, value),
        }
    }

    /// Whether a holder's process has its lease.
    #[must_use]
    pub fn is_alive(&self, holder: &Holder) -> bool {
        let agent = self.agents.get(&holder.agent);
        agent.is_some_and(|agent| agent.incarnation == holder.incarnation)
    }

    /// The holdings of a part that may still be at work.
    pub fn unreleased(&self, id: &AssignmentId) -> impl Iterator<Item = Holding> {
        let holdings = self.assignments.get(id).into_iter().flat_map(Assignment::holdings);
        holdings.filter(|holding| !self.is_released(id, holding))
    }

    #[must_use]
    pub fn is_released(&self, id: &AssignmentId, holding: &Holding) -> bool {
        self.releases.get(id).is_some_and(|released| released.contains(holding))
    }

    /// What a process holds: the answer to its `Renew`, if this is the newest view there is.
    #[must_use]
    pub fn held_by(&self, holder: &Holder) -> BTreeMap<AssignmentId, AssignmentEpoch> {
        let held = self.assignments.iter().filter(|(_, assignment)| assignment.holder == *holder);
        held.map(|(id, assignment)| (id.clone(), assignment.epoch)).collect()
    }

    /// The tasks of a connector, by number.
    pub fn tasks_of(&self, connector: &ConnectorName) -> impl Iterator<Item = (u32, &Task)> {
        let first = TaskId { connector: connector.clone(), number: 0 };
        let last = TaskId { connector: connector.clone(), number: u32::MAX };
        self.tasks.range(first..=last).map(|(id, task)| (id.number, task))
    }

    /// The lanes of a connector that have a record.
    pub fn lanes_of(&self, connector: &ConnectorName) -> impl Iterator<Item = &LaneId> {
        self.lanes.keys().filter(move |lane| lane.connector == *connector)
    }

    /// The assignments of a connector: its survey's, then its tasks'.
    pub fn assignments_of(
        &self,
        connector: &ConnectorName,
    ) -> impl Iterator<Item = (&AssignmentId, &Assignment)> {
        let first = AssignmentId::survey(connector);
        let last = AssignmentId::task(connector, u32::MAX);
        self.assignments.range(first..=last)
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignments_epoch_is_the_revision_of_its_commit() {
        let mut view = View::default();
        let id = AssignmentId::survey(&"c".parse().unwrap());
        let holder = Holder { agent: "a:1".parse().unwrap(), incarnation: "i".into() };
        let assignment =
            Assignment { holder, epoch: AssignmentEpoch::default(), former: Vec::new(), pinned: false };
        view.apply(
            StoreRevision(1),
            Write::Meta(Meta { store_id: "s".into(), incarnation: 3, destination: None }),
        );
        view.apply(StoreRevision(7), Write::Assignment(id.clone(), Some(assignment)));
        let epoch = AssignmentEpoch { incarnation: 3, revision: StoreRevision(7) };
        assert_eq!(view.assignments[&id].epoch, epoch);
        view.apply(StoreRevision(8), Write::Assignment(id.clone(), None));
        assert!(view.assignments.is_empty());
        view.apply(StoreRevision(2), Write::Status(id, None));
        assert_eq!(view.revision, StoreRevision(8), "keys are loaded in any order");
    }

    #[test]
    fn a_process_holds_nothing_of_another_one_of_its_agent() {
        let mut view = View::default();
        let holder =
            |incarnation: &str| Holder { agent: "a:1".parse().unwrap(), incarnation: incarnation.into() };
        let id = AssignmentId::survey(&"c".parse().unwrap());
        let assignment = Assignment {
            holder: holder("two"),
            epoch: AssignmentEpoch::default(),
            former: Vec::new(),
            pinned: false,
        };
        view.apply(StoreRevision(7), Write::Assignment(id, Some(assignment)));
        assert_eq!((view.held_by(&holder("one")).len(), view.held_by(&holder("two")).len()), (0, 1));
    }

    #[test]
    fn tasks_and_assignments_of_a_connector_are_only_its_own() {
        let mut view = View::default();
        let task = Task {
            revision: TaskRevision(1),
            generation: ConnectorGeneration(1),
            lanes: TaskLanes::default(),
        };
        for name in ["a", "a-1", "b"] {
            let id = TaskId { connector: name.parse().unwrap(), number: 2 };
            view.apply(StoreRevision(1), Write::Task(id, Some(task.clone())));
        }
        let numbers: Vec<u32> = view.tasks_of(&"a".parse().unwrap()).map(|(number, _)| number).collect();
        assert_eq!(numbers, [2]);
    }

    #[test]
    fn long_traces_are_cut_between_characters() {
        let status = Status::new(InstanceState::Failed, None, "ñ".repeat(Status::TRACE_BYTES_MAX));
        assert_eq!(status.trace.len(), Status::TRACE_BYTES_MAX);
        let odd = Status::new(InstanceState::Failed, None, format!("x{}", "ñ".repeat(5000)));
        assert_eq!(odd.trace.len(), Status::TRACE_BYTES_MAX - 1);
    }
}
