//! What the log tells of a commit: a change of state is one line. Pure, but for the telling itself.

use copyist_model::{AssignmentId, ConnectorName, InstanceState, Part, TargetState};

use crate::core::view::{Connector, Status, View, Write};

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Whether a human is needed.
    pub is_warning: bool,
    pub connector: ConnectorName,
    pub text: String,
}

/// Logs a line.
pub fn tell(line: &Line) {
    let Line { is_warning, connector, text } = line;
    if *is_warning {
        tracing::warn!(%connector, "{text}");
    } else {
        tracing::info!(%connector, "{text}");
    }
}

/// What is told of writes that are about to change `view`.
#[must_use]
pub fn lines(view: &View, writes: &[Write]) -> Vec<Line> {
    writes.iter().filter_map(|write| line(view, write)).collect()
}

fn line(view: &View, write: &Write) -> Option<Line> {
    let (connector, text, is_warning) = match write {
        Write::Connector(name, after) => {
            let text = of_connector(view.connectors.get(name), after.as_deref())?;
            (name, text.to_owned(), false)
        }
        Write::Status(id, Some(after)) => {
            let text = of_status(id, view.statuses.get(id), after)?;
            (&id.connector, text, after.state == InstanceState::Failed)
        }
        Write::Meta(_)
        | Write::Request(..)
        | Write::Task(..)
        | Write::Lane(..)
        | Write::TopicMarks(..)
        | Write::Deletion(..)
        | Write::Agent(..)
        | Write::Assignment(..)
        | Write::Released(..)
        | Write::Status(_, None) => return None,
    };
    Some(Line { is_warning, connector: connector.clone(), text })
}

fn of_connector(before: Option<&Connector>, after: Option<&Connector>) -> Option<&'static str> {
    match (before, after) {
        (None, Some(_)) => Some("created"),
        (Some(_), None) => Some("deleted"),
        (Some(before), Some(after)) if before.config != after.config => Some("configured"),
        (Some(before), Some(after)) if before.target != after.target => Some(match after.target {
            TargetState::Running => "to be resumed",
            TargetState::Paused => "to be paused",
            TargetState::Stopped => "to be stopped",
        }),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// The trace may move while the state holds: it is for the status, except where the state needs its reason.
fn of_status(id: &AssignmentId, before: Option<&Status>, after: &Status) -> Option<String> {
    let failed = after.state == InstanceState::Failed;
    let same_state = before.is_some_and(|before| before.state == after.state);
    if same_state && !(failed && before.is_some_and(|before| before.trace != after.trace)) {
        return None;
    }
    let part = named(id.part);
    let trace: Vec<&str> = after.trace.lines().map(str::trim).collect();
    let separator = if trace.is_empty() { "" } else { ": " };
    Some(format!("{part} {}{separator}{}", after.state.as_str(), trace.join(" | ")))
}

/// A part as people are told of it.
pub(crate) fn named(part: Part) -> String {
    match part {
        Part::Survey => "survey".to_owned(),
        Part::Task(number) => format!("task {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copyist_model::{ConnectorGeneration, StoreRevision, TaskRevision};
    use std::collections::BTreeMap;

    fn connector(value: &str, target: TargetState) -> Write {
        let config = BTreeMap::from([("k".to_owned(), value.to_owned())]);
        let connector = Connector {
            config,
            target,
            generation: ConnectorGeneration(1),
            revision: TaskRevision(1),
            tasks_generation: ConnectorGeneration(1),
            deleting: false,
            surveyed: false,
            clusters: None,
            spec: Err(String::new()),
            warnings: Vec::new(),
            altered: String::new(),
            altering: None,
        };
        Write::Connector("c".parse().unwrap(), Some(Box::new(connector)))
    }

    fn status(id: &AssignmentId, state: InstanceState, trace: &str) -> Write {
        Write::Status(id.clone(), Some(Status::new(state, None, trace.to_owned())))
    }

    /// The lines of commits in a row.
    fn told(writes: Vec<Write>) -> Vec<Option<String>> {
        let mut view = View::default();
        let mut told = Vec::new();
        for write in writes {
            told.push(line(&view, &write).map(|line| line.text));
            view.apply(StoreRevision(1), write);
        }
        told
    }

    #[test]
    fn each_change_of_a_connector_is_one_line() {
        let writes = vec![
            connector("a", TargetState::Running),
            connector("a", TargetState::Running),
            connector("b", TargetState::Running),
            connector("b", TargetState::Paused),
            connector("b", TargetState::Stopped),
            connector("b", TargetState::Running),
            Write::Connector("c".parse().unwrap(), None),
        ];
        let expected = [
            Some("created"),
            None,
            Some("configured"),
            Some("to be paused"),
            Some("to be stopped"),
            Some("to be resumed"),
            Some("deleted"),
        ];
        assert_eq!(told(writes), expected.map(|text| text.map(str::to_owned)));
    }

    #[test]
    fn each_change_of_a_state_is_one_line_and_a_failure_has_its_reason() {
        let id = AssignmentId::task(&"c".parse().unwrap(), 3);
        let writes = vec![
            status(&id, InstanceState::Unassigned, "waits"),
            status(&id, InstanceState::Unassigned, "waits still"),
            status(&id, InstanceState::Running, ""),
            status(&id, InstanceState::Running, "an outage"),
            status(&id, InstanceState::Failed, "one lane"),
            status(&id, InstanceState::Failed, "two lanes:\n  one\n  two"),
            status(&id, InstanceState::Failed, "two lanes:\n  one\n  two"),
            Write::Status(id.clone(), None),
        ];
        let expected = [
            Some("task 3 UNASSIGNED: waits"),
            None,
            Some("task 3 RUNNING"),
            None,
            Some("task 3 FAILED: one lane"),
            Some("task 3 FAILED: two lanes: | one | two"),
            None,
            None,
        ];
        assert_eq!(told(writes), expected.map(|text| text.map(str::to_owned)));
        let failed = line(&View::default(), &status(&id, InstanceState::Failed, "x")).unwrap();
        assert!(failed.is_warning);
    }
}
