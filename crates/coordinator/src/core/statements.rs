//! What agents are told: always the difference between what should run and what was last stated to a session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use copyist_model::{
    AgentId, AssignmentEpoch, AssignmentId, ClusterId, ConnectorSpec, LaneHeld, LaneId, Part, TargetState,
    TaskId, TaskRevision, TopicName,
};

use super::Core;
use super::event::{Run, Send, Statement};
use super::view::{Assignment, Connector, Holder, Task};

/// An agent that is connected.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) holder: Holder,
    pub(super) rack: String,
    pub(super) labels: BTreeMap<String, String>,
    /// Its process stops.
    pub(super) draining: bool,
    /// It is known to copy to where the fleet does.
    pub(super) is_settled: bool,
    stated: BTreeMap<AssignmentId, Stated>,
    /// Whether the full set was stated.
    complete: bool,
}

impl Session {
    pub(super) fn new(holder: Holder, rack: String, labels: BTreeMap<String, String>) -> Self {
        Self {
            holder,
            rack,
            labels,
            draining: false,
            is_settled: true,
            stated: BTreeMap::new(),
            complete: false,
        }
    }
}

/// What a statement was about, as far as a newer one can differ. Not in its lane records: whoever proposed one
/// knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stated {
    Run { epoch: AssignmentEpoch, revision: TaskRevision, paused: bool },
    Release { epoch: AssignmentEpoch },
}

/// What a part's holder should run, where the view has it: cheap to look at, unlike the [`Run`] made of it.
struct Due<'a> {
    assignment: &'a Assignment,
    connector: &'a Connector,
    spec: &'a Arc<ConnectorSpec>,
    revision: TaskRevision,
    /// Nothing: it is a survey.
    task: Option<&'a Task>,
}

impl Due<'_> {
    fn stated(&self) -> Stated {
        Stated::Run { epoch: self.assignment.epoch, revision: self.revision, paused: self.is_paused() }
    }

    fn is_paused(&self) -> bool {
        self.connector.target == TargetState::Paused
    }
}

impl Core {
    /// Everything that a session has not been told yet.
    pub(super) fn statements(&mut self) -> Vec<Send> {
        let mut sessions = std::mem::take(&mut self.sessions);
        let concerned = self.concerned(&sessions);
        let mut sends = Vec::new();
        for session in sessions.values_mut().filter(|session| self.view.is_alive(&session.holder)) {
            for id in concerned.get(&session.holder).into_iter().flatten() {
                sends.extend(self.statement(session, id));
            }
            if !session.complete {
                session.complete = true;
                sends.push(Send::Statement(session.holder.clone(), Statement::SetComplete));
            }
        }
        self.sessions = sessions;
        self.restate.clear();
        sends
    }

    /// What may have to be stated to whom: all that it holds to one that was told nothing so far, and what changed to
    /// the others.
    fn concerned(&self, sessions: &BTreeMap<AgentId, Session>) -> BTreeMap<Holder, BTreeSet<AssignmentId>> {
        let mut concerned: BTreeMap<Holder, BTreeSet<AssignmentId>> = BTreeMap::new();
        for session in sessions.values().filter(|session| !session.complete) {
            let held = self.by_process.of(&session.holder).cloned().collect();
            concerned.insert(session.holder.clone(), held);
        }
        for id in &self.restate {
            for (holder, _) in self.unreleased(id) {
                concerned.entry(holder).or_default().insert(id.clone());
            }
        }
        concerned
    }

    /// What a session is to be told of a part that its process holds or held, unless it knows.
    fn statement(&self, session: &mut Session, id: &AssignmentId) -> Option<Send> {
        let assignment = self.view.assignments.get(id)?;
        let mut holdings = assignment.holdings().filter(|(holder, _)| *holder == session.holder);
        let (holder, epoch) = holdings.next()?;
        if self.is_released(id, &holder, epoch) {
            return None;
        }
        let due = if epoch == assignment.epoch { self.due(id, assignment) } else { None };
        let now = due.as_ref().map_or(Stated::Release { epoch }, Due::stated);
        if session.stated.insert(id.clone(), now) == Some(now) {
            return None;
        }
        let statement = match due {
            Some(due) => Statement::Run(Box::new(self.run(id, &due))),
            None => Statement::Release { id: id.clone(), epoch },
        };
        Some(Send::Statement(holder, statement))
    }

    /// Nothing: the holder should release the part.
    fn due<'a>(&'a self, id: &AssignmentId, assignment: &'a Assignment) -> Option<Due<'a>> {
        let connector = self.view.connectors.get(&id.connector)?;
        let spec = connector.spec.as_ref().ok()?;
        if !should_run(connector, id.part) || self.is_leaving(id, assignment.epoch) {
            return None;
        }
        let (revision, task) = match id.part {
            Part::Survey => (connector.revision, None),
            Part::Task(number) => {
                let task = self.view.tasks.get(&TaskId { connector: id.connector.clone(), number })?;
                (task.revision, Some(task))
            }
        };
        Some(Due { assignment, connector, spec, revision, task })
    }

    fn run(&self, id: &AssignmentId, due: &Due) -> Run {
        Run {
            id: id.clone(),
            epoch: due.assignment.epoch,
            revision: due.revision,
            generation: due.connector.generation,
            spec: due.spec.clone(),
            lanes: due.task.map(|task| task.lanes.clone()).unwrap_or_default(),
            records: self.records(id, due),
            shared: self.shared(due),
            paused: due.is_paused(),
            follows_unreleased: self.unreleased(id).iter().any(|(_, epoch)| *epoch != due.assignment.epoch),
        }
    }

    /// Where lanes of different source topics meet, whichever connectors they belong to.
    fn shared(&self, due: &Due) -> BTreeSet<TopicName> {
        let (Some(task), Some((_, destination))) = (due.task, &due.connector.clusters) else {
            return BTreeSet::new();
        };
        let mut sources: BTreeMap<&TopicName, BTreeSet<(&ClusterId, &TopicName)>> = BTreeMap::new();
        for lanes in task.lanes.0.values() {
            sources.entry(&lanes.destination).or_default();
        }
        for (id, other) in &self.view.tasks {
            let clusters = self.view.connectors.get(&id.connector).and_then(|it| it.clusters.as_ref());
            let Some((from, _)) = clusters.filter(|(_, to)| to == destination) else { continue };
            for (topic, lanes) in &other.lanes.0 {
                if let Some(sources) = sources.get_mut(&lanes.destination) {
                    sources.insert((from, topic));
                }
            }
        }
        let shared = sources.into_iter().filter(|(_, sources)| sources.len() > 1);
        shared.map(|(destination, _)| destination.clone()).collect()
    }

    fn records(&self, id: &AssignmentId, due: &Due) -> Vec<(LaneId, LaneHeld)> {
        let (Some(task), Some((source, _))) = (due.task, &due.connector.clusters) else { return Vec::new() };
        let lane = |topic: &TopicName, partition| LaneId {
            connector: id.connector.clone(),
            source_cluster: source.clone(),
            topic: topic.clone(),
            partition,
        };
        let lanes = task.lanes.iter().map(|(topic, partition, _, _)| lane(topic, partition));
        lanes
            .filter_map(|lane| self.view.lanes.get_key_value(&lane))
            .map(|(lane, held)| (lane.clone(), held.clone()))
            .collect()
    }
}

/// Whether a part of a connector should be with an agent.
pub(super) fn should_run(connector: &Connector, part: Part) -> bool {
    let wanted = !connector.deleting && connector.spec.is_ok() && connector.target != TargetState::Stopped;
    match part {
        Part::Survey => wanted,
        Part::Task(_) => wanted && connector.tasks_are_current(),
    }
}
