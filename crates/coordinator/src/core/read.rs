//! What is shown of the view and of what agents said last.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{AgentId, AssignmentId, ConnectorName, InstanceState, Part, TargetState, TaskId};

use super::Core;
use super::event::{Info, StatusView};
use super::statements::should_run;
use super::view::{Connector, Holder, Status};

/// Whom a connector's end waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unended {
    pub agent: AgentId,
    /// It has no lease: it may be at work by itself.
    pub is_gone: bool,
    pub parts: BTreeSet<Part>,
}

impl Core {
    /// Connect's ConnectorInfo.
    #[must_use]
    pub fn info(&self, name: &ConnectorName) -> Option<Info> {
        let connector = self.view.connectors.get(name)?;
        let tasks = self.view.tasks_of(name).map(|(number, _)| number).collect();
        Some(Info { name: name.clone(), config: connector.config.clone(), tasks })
    }

    /// Connect's ConnectorStateInfo.
    #[must_use]
    pub fn status(&self, name: &ConnectorName) -> Option<StatusView> {
        let connector = self.view.connectors.get(name)?;
        let tasks = self.view.tasks_of(name).map(|(number, _)| {
            let id = AssignmentId::task(name, number);
            (number, self.task_shown(&id))
        });
        let survey = AssignmentId::survey(name);
        Some(StatusView {
            name: name.clone(),
            connector: self.connector_status(&survey, connector),
            tasks: tasks.collect(),
        })
    }

    /// Of a connector that is to be stopped or deleted: which processes have not confirmed the end of which parts.
    #[must_use]
    pub fn unended(&self, name: &ConnectorName) -> Option<Vec<Unended>> {
        let connector = self.view.connectors.get(name)?;
        let is_to_end = connector.deleting || connector.target == TargetState::Stopped;
        let mut parts: BTreeMap<Holder, BTreeSet<Part>> = BTreeMap::new();
        for (id, _) in self.view.assignments_of(name) {
            for (holder, _) in self.unreleased(id) {
                parts.entry(holder).or_default().insert(id.part);
            }
        }
        let unended = |(holder, parts): (Holder, BTreeSet<Part>)| Unended {
            is_gone: !self.view.is_alive(&holder),
            agent: holder.agent,
            parts,
        };
        is_to_end.then(|| parts.into_iter().map(unended).collect())
    }

    /// The status of one task.
    #[must_use]
    pub fn task_status(&self, name: &ConnectorName, task: i32) -> Option<Status> {
        let number = u32::try_from(task).ok()?;
        self.view.tasks.get(&TaskId { connector: name.clone(), number })?;
        let id = AssignmentId::task(name, number);
        Some(self.task_shown(&id))
    }

    /// What is shown of a part that exists; nothing for one that does not.
    #[must_use]
    pub fn part_status(&self, id: &AssignmentId) -> Option<Status> {
        let connector = self.view.connectors.get(&id.connector)?;
        match id.part {
            Part::Survey => Some(self.connector_status(id, connector)),
            Part::Task(number) => {
                let task = TaskId { connector: id.connector.clone(), number };
                self.view.tasks.get(&task)?;
                Some(self.task_shown(id))
            }
        }
    }

    fn task_shown(&self, id: &AssignmentId) -> Status {
        let status = self.gone(id).or_else(|| self.shown(id)).or_else(|| self.inherited(id));
        status.unwrap_or_else(|| self.unassigned(id))
    }

    /// A part whose holder has no lease any more, or that cannot end because of one. It may be at work by itself, but
    /// nobody can tell.
    fn gone(&self, id: &AssignmentId) -> Option<Status> {
        let assignment = self.view.assignments.get(id)?;
        let connector = self.view.connectors.get(&id.connector)?;
        let agent = assignment.holder.agent.clone();
        let trace = if should_run(connector, id.part) {
            (!self.view.is_alive(&assignment.holder))
                .then(|| format!("agent {agent} is gone, and there is no other one to take over"))?
        } else {
            let gone = self.view.unreleased(id).filter(|(holder, _)| !self.view.is_alive(holder));
            let gone: BTreeSet<String> = gone.map(|(holder, _)| holder.agent.to_string()).collect();
            let names: Vec<String> = gone.into_iter().collect();
            (!names.is_empty()).then(|| {
                format!(
                    "cannot end yet: {} went away without a word, and may copy by itself until its autonomy is over; \
                     ends then, when it comes back, or when it is declared dead (ForgetAgent)",
                    names.join(", ")
                )
            })?
        };
        Some(Status::new(InstanceState::Unassigned, Some(agent), trace))
    }

    /// What a former leader stored of a part that was placed before this term: its holder goes on, whoever leads. It
    /// stands until the holder reports.
    fn inherited(&self, id: &AssignmentId) -> Option<Status> {
        let assignment = self.view.assignments.get(id)?;
        if assignment.epoch > self.term_began {
            return None;
        }
        let stored = self.view.statuses.get(id)?;
        (stored.agent.as_ref() == Some(&assignment.holder.agent)).then(|| stored.clone())
    }

    fn connector_status(&self, survey: &AssignmentId, connector: &Connector) -> Status {
        let name = &survey.connector;
        let stored_agent = || {
            let reported = self.reported.get(survey).map(|(_, status)| status);
            self.view.statuses.get(survey).or(reported).and_then(|status| status.agent.clone())
        };
        if let Err(why) = &connector.spec {
            let trace = format!("the stored config is not valid for this version: {why}");
            return Status::new(InstanceState::Failed, stored_agent(), trace);
        }
        if connector.target == TargetState::Stopped && self.view.assignments_of(name).next().is_none() {
            // What never ran was nowhere; clients want some worker there.
            let agent = stored_agent().or_else(|| self.respondent().map(|holder| holder.agent));
            return Status::new(InstanceState::Stopped, agent, connector.altered.clone());
        }
        let shown = self.gone(survey).or_else(|| self.shown(survey));
        if shown.is_none()
            && let Some(inherited) = self.inherited(survey)
        {
            return inherited;
        }
        let mut status = shown.unwrap_or_else(|| self.unassigned(survey));
        if let Some(conflict) = self.conflicts.get(name)
            && status.state == InstanceState::Running
        {
            return Status::new(InstanceState::Failed, status.agent, conflict.clone());
        }
        let of_survey = self.notes.get(name).into_iter().flatten();
        let notes = connector.warnings.iter().chain(of_survey).map(|note| format!("warning: {note}"));
        let lines: Vec<String> = [status.trace, connector.altered.clone()]
            .into_iter()
            .filter(|trace| !trace.is_empty())
            .chain(notes)
            .collect();
        status.trace = lines.join("\n");
        Status::new(status.state, status.agent, status.trace)
    }

    /// What the holder of a part said last under the assignment that is current.
    fn shown(&self, id: &AssignmentId) -> Option<Status> {
        let epoch = self.view.assignments.get(id)?.epoch;
        let (said_under, status) = self.reported.get(id)?;
        (*said_under == epoch).then(|| status.clone())
    }

    fn unassigned(&self, id: &AssignmentId) -> Status {
        match self.view.assignments.get(id) {
            Some(assignment) => {
                let agent = assignment.holder.agent.clone();
                let trace = format!("assigned to {agent}, which has not reported yet");
                Status::new(InstanceState::Unassigned, Some(agent), trace)
            }
            None => {
                let last = self.view.statuses.get(id).and_then(|status| status.agent.clone());
                let connector = self.view.connectors.get(&id.connector);
                let labels = self.choice(id).labels;
                let labels: Vec<String> =
                    labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let trace = match connector.is_some_and(|connector| should_run(connector, id.part)) {
                    true if labels.is_empty() => "waits for an agent".to_owned(),
                    true => format!("waits for an agent with the labels {}", labels.join(",")),
                    false => "has ended, and waits until every part of the connector has".to_owned(),
                };
                Status::new(InstanceState::Unassigned, last, trace)
            }
        }
    }
}
