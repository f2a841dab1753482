//! What agents are told: always the difference between what should run and what was last stated to a session.

use std::collections::BTreeMap;

use copyist_model::{AssignmentEpoch, AssignmentId, Part, TargetState, TaskId, TaskRevision};

use super::Core;
use super::event::{Run, Send, Statement};
use super::view::{Connector, Holder};

/// An agent that is connected.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) holder: Holder,
    pub(super) rack: String,
    pub(super) labels: BTreeMap<String, String>,
    stated: BTreeMap<AssignmentId, Stated>,
    /// Whether the full set was stated.
    complete: bool,
}

impl Session {
    pub(super) fn new(holder: Holder, rack: String, labels: BTreeMap<String, String>) -> Self {
        Self { holder, rack, labels, stated: BTreeMap::new(), complete: false }
    }
}

/// What a statement was about, as far as a newer one can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stated {
    Run { epoch: AssignmentEpoch, revision: TaskRevision, paused: bool },
    Release { epoch: AssignmentEpoch },
}

impl Core {
    /// Everything that a session has not been told yet.
    pub(super) fn statements(&mut self) -> Vec<Send> {
        let mut sends = Vec::new();
        let mut sessions = std::mem::take(&mut self.sessions);
        for session in sessions.values_mut().filter(|session| self.is_alive(&session.holder)) {
            let mut stated = BTreeMap::new();
            for (id, assignment) in &self.view.assignments {
                if assignment.holder != session.holder {
                    continue;
                }
                let (now, statement) = match self.run(id) {
                    Some(run) => (
                        Stated::Run { epoch: run.epoch, revision: run.revision, paused: run.paused },
                        Statement::Run(Box::new(run)),
                    ),
                    None => {
                        let epoch = assignment.epoch;
                        (Stated::Release { epoch }, Statement::Release { id: id.clone(), epoch })
                    }
                };
                if session.stated.get(id) != Some(&now) {
                    sends.push(Send::Statement(session.holder.clone(), statement));
                }
                stated.insert(id.clone(), now);
            }
            session.stated = stated;
            if !session.complete {
                session.complete = true;
                sends.push(Send::Statement(session.holder.clone(), Statement::SetComplete));
            }
        }
        self.sessions = sessions;
        sends
    }

    /// Whether a holder's process has its lease.
    pub(super) fn is_alive(&self, holder: &Holder) -> bool {
        let agent = self.view.agents.get(&holder.agent);
        agent.is_some_and(|agent| agent.incarnation == holder.incarnation)
    }

    /// What the holder of a part should run; nothing: it should release it.
    fn run(&self, id: &AssignmentId) -> Option<Run> {
        let assignment = self.view.assignments.get(id)?;
        let connector = self.view.connectors.get(&id.connector)?;
        let spec = connector.spec.as_ref().ok()?;
        if !should_run(connector, id.part) {
            return None;
        }
        let (revision, lanes) = match id.part {
            Part::Survey => (connector.revision, Default::default()),
            Part::Task(number) => {
                let task = self.view.tasks.get(&TaskId { connector: id.connector.clone(), number })?;
                (task.revision, task.lanes.clone())
            }
        };
        Some(Run {
            id: id.clone(),
            epoch: assignment.epoch,
            revision,
            generation: connector.generation,
            spec: spec.clone(),
            lanes,
            paused: connector.target == TargetState::Paused,
            follows_unreleased: !assignment.former.is_empty(),
        })
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
