//! What a change concerns: in a fleet of many parts nobody looks at all of them because of one.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{AgentId, AssignmentId, ConnectorName, TaskId};

use super::view::{Holder, View, Write};

/// Whose statement or status a write may change, seen from the view before it.
pub(super) fn concerned(view: &View, by_process: &ByProcess, write: &Write) -> Vec<AssignmentId> {
    match write {
        Write::Connector(name, _) => parts_of(view, name).collect(),
        Write::Task(TaskId { connector, number }, _) => vec![AssignmentId::task(connector, *number)],
        // A connector has stopped when none of its parts is held any more.
        Write::Assignment(id, _) | Write::Released(id, _) => {
            vec![id.clone(), AssignmentId::survey(&id.connector)]
        }
        // A process without a key is told nothing; it is told what changed meanwhile once it has one again.
        Write::Agent(agent, _) => by_process.of_agent(agent).cloned().collect(),
        Write::Meta(_)
        | Write::Request(..)
        | Write::Lane(..)
        | Write::TopicMarks(..)
        | Write::Deletion(..)
        | Write::Status(..) => Vec::new(),
    }
}

/// A connector's survey, and its tasks.
pub(super) fn parts_of(view: &View, name: &ConnectorName) -> impl Iterator<Item = AssignmentId> {
    let tasks = view.tasks_of(name).map(|(number, _)| AssignmentId::task(name, number));
    std::iter::once(AssignmentId::survey(name)).chain(tasks)
}

/// Which parts each process holds or held, by the view.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ByProcess(BTreeMap<Holder, BTreeSet<AssignmentId>>);

impl ByProcess {
    pub(super) fn of_view(view: &View) -> Self {
        let mut by_process = Self::default();
        view.assignments.keys().for_each(|id| by_process.add(view, id));
        by_process
    }

    pub(super) fn add(&mut self, view: &View, id: &AssignmentId) {
        for (holder, _) in view.assignments.get(id).into_iter().flat_map(|held| held.holdings()) {
            self.0.entry(holder).or_default().insert(id.clone());
        }
    }

    pub(super) fn remove(&mut self, view: &View, id: &AssignmentId) {
        for (holder, _) in view.assignments.get(id).into_iter().flat_map(|held| held.holdings()) {
            if let Some(ids) = self.0.get_mut(&holder) {
                ids.remove(id);
                if ids.is_empty() {
                    self.0.remove(&holder);
                }
            }
        }
    }

    pub(super) fn of(&self, holder: &Holder) -> impl Iterator<Item = &AssignmentId> {
        self.0.get(holder).into_iter().flatten()
    }

    /// What any process of an agent holds or held.
    fn of_agent(&self, agent: &AgentId) -> impl Iterator<Item = &AssignmentId> {
        let first = Holder { agent: agent.clone(), incarnation: String::new() };
        self.0.range(first..).take_while(|(holder, _)| holder.agent == *agent).flat_map(|(_, ids)| ids)
    }

    pub(super) fn processes(&self) -> impl Iterator<Item = &Holder> {
        self.0.keys()
    }
}
