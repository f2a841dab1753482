//! What a change concerns: in a fleet of many parts nobody looks at all of them because of one.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{AssignmentId, ConnectorName, TaskId};

use super::view::{Holder, View, Write};

/// Parts to look at again.
#[derive(Debug, Default)]
pub(super) struct Again {
    pub(super) all: bool,
    pub(super) ids: BTreeSet<AssignmentId>,
}

impl Again {
    pub(super) fn all() -> Self {
        Self { all: true, ids: BTreeSet::new() }
    }

    /// What a write changes, seen from the view before it or after it.
    pub(super) fn note(&mut self, view: &View, write: &Write) {
        match write {
            Write::Connector(name, _) => self.ids.extend(parts(view, name)),
            Write::Task(TaskId { connector, number }, _) => {
                self.ids.extend([AssignmentId::task(connector, *number), AssignmentId::survey(connector)]);
            }
            // A connector has stopped when none of its parts is held any more.
            Write::Assignment(id, _) | Write::Released(id, _) => {
                self.ids.extend([id.clone(), AssignmentId::survey(&id.connector)]);
            }
            Write::Meta(_) | Write::Agent(..) | Write::Request(..) | Write::Lane(..) | Write::Status(..) => {}
        }
    }
}

fn parts<'a>(view: &'a View, name: &'a ConnectorName) -> impl Iterator<Item = AssignmentId> + 'a {
    let held = view.assignments_of(name).map(|(id, _)| id.clone());
    let tasks = view.tasks_of(name).map(|(number, _)| AssignmentId::task(name, number));
    held.chain(tasks).chain([AssignmentId::survey(name)])
}

/// Which parts each process holds or held, by the view.
#[derive(Debug, Default)]
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

    pub(super) fn processes(&self) -> impl Iterator<Item = &Holder> {
        self.0.keys()
    }
}
