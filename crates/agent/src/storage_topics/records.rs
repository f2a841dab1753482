//! Keys and values of `config.storage.topic` and `status.storage.topic`, as Kafka Connect 4.3 writes them: keys are plain
//! text, values its `JsonConverter`'s without schemas, in the order of its structs and without blanks. Pure.

use std::collections::BTreeMap;

use copyist_model::TargetState;
use serde_json::{Value, json};

/// What begins the keys of each kind of record. Others (`session-key`, `restart-connector-…`, `tasks-fencing-…`,
/// `logger-cluster-…`) are Connect's own business, and never touched.
pub(crate) const CONNECTOR: &str = "connector-";
pub(crate) const TARGET_STATE: &str = "target-state-";
pub(crate) const TASK: &str = "task-";
pub(crate) const COMMIT: &str = "commit-";
pub(crate) const CONNECTOR_STATUS: &str = "status-connector-";
pub(crate) const TASK_STATUS: &str = "status-task-";
pub(crate) const TOPIC_STATUS: &str = "status-topic-";
const TOPIC_STATUS_SEPARATOR: &str = ":connector-";

/// The state of a connector or a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    /// Connect's word.
    pub state: String,
    /// Empty: no agent ever had it.
    pub worker_id: String,
    /// Empty: there is nothing to say.
    pub trace: String,
    pub version: String,
}

/// The config of a connector or a task.
pub(crate) fn properties(config: &BTreeMap<String, String>) -> String {
    json!({"properties": config}).to_string()
}

/// Readers of before Connect 3.5 know no STOPPED: for them it is PAUSED.
pub(crate) fn target_state(target: TargetState) -> &'static str {
    match target {
        TargetState::Running => r#"{"state":"STARTED","state.v2":"STARTED"}"#,
        TargetState::Paused => r#"{"state":"PAUSED","state.v2":"PAUSED"}"#,
        TargetState::Stopped => r#"{"state":"PAUSED","state.v2":"STOPPED"}"#,
    }
}

pub(crate) fn commit(tasks: usize) -> String {
    format!(r#"{{"tasks":{tasks}}}"#)
}

/// How many tasks a commit announces; nothing: it is none.
pub(crate) fn committed(value: &str) -> Option<u64> {
    serde_json::from_str::<Value>(value).ok()?.get("tasks")?.as_u64()
}

/// A status in succession to what lies under its key.
///
/// `generation` is in Connect the number of the group's rebalance, a 32-bit number by which a reader and a writer tell an
/// older word from a newer one: an UNASSIGNED does not end the RUNNING of a task unless its number is higher, and a
/// FAILED is not written over a higher one of another worker. So here it counts the changes of hands of its key: it
/// rises with another worker and with each UNASSIGNED, from what was there or from 1, and stays small enough for a
/// Connect worker to succeed.
pub(crate) fn status(status: &Status, before: Option<&str>) -> String {
    let before = before.and_then(|before| serde_json::from_str::<Value>(before).ok());
    let generation = |before: &Value| {
        let number = before.get("generation")?.as_i64()?;
        let is_in_other_hands = before.get("worker_id")?.as_str()? != status.worker_id;
        let rises = is_in_other_hands || status.state == "UNASSIGNED";
        Some(number.saturating_add(rises.into()))
    };
    let generation = before.as_ref().and_then(generation).unwrap_or(1);
    with_generation(status, i32::try_from(generation).unwrap_or(i32::MAX))
}

/// Whether a stored status says the same.
pub(crate) fn says(value: &str, status: &Status) -> bool {
    let Ok(stored) = serde_json::from_str::<Value>(value) else { return false };
    let number = stored.get("generation").and_then(Value::as_i64);
    number
        .and_then(|number| i32::try_from(number).ok())
        .is_some_and(|number| value == with_generation(status, number))
}

fn with_generation(status: &Status, generation: i32) -> String {
    let Status { state, worker_id, trace, version } = status;
    let said = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    let (trace, version) = (said(trace), said(version));
    json!({"state": state, "trace": trace, "worker_id": worker_id, "generation": generation, "version": version})
        .to_string()
}

/// An active topic. The store does not say which task wrote to it first: 0.
pub(crate) fn active_topic(topic: &str, connector: &str, discovered_ms: i64) -> String {
    let topic = json!({"name": topic, "connector": connector, "task": 0, "discoverTimestamp": discovered_ms});
    json!({"topic": topic}).to_string()
}

pub(crate) fn task_key(prefix: &str, connector: &str, task: u32) -> String {
    format!("{prefix}{connector}-{task}")
}

pub(crate) fn topic_status_key(topic: &str, connector: &str) -> String {
    format!("{TOPIC_STATUS}{topic}{TOPIC_STATUS_SEPARATOR}{connector}")
}

/// Whose status a key of the status topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    Connector(&'a str),
    Task(&'a str, u32),
    Topic(&'a str, &'a str),
}

/// Nothing: the key is not one of Connect's.
pub(crate) fn subject(key: &str) -> Option<Subject<'_>> {
    if let Some(name) = key.strip_prefix(CONNECTOR_STATUS) {
        return Some(Subject::Connector(name));
    }
    if let Some(task) = key.strip_prefix(TASK_STATUS) {
        let (name, number) = task.rsplit_once('-')?;
        return Some(Subject::Task(name, number.parse().ok()?));
    }
    let (topic, name) = key.strip_prefix(TOPIC_STATUS)?.split_once(TOPIC_STATUS_SEPARATOR)?;
    Some(Subject::Topic(topic, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(worker_id: &str) -> Status {
        let text = str::to_owned;
        Status { state: text("RUNNING"), worker_id: text(worker_id), trace: text(""), version: text("1.2.3") }
    }

    fn unassigned(worker_id: &str) -> Status {
        Status { state: "UNASSIGNED".to_owned(), ..running(worker_id) }
    }

    #[test]
    fn values_are_the_bytes_that_connect_writes() {
        let config =
            BTreeMap::from([("name".to_owned(), "a".to_owned()), ("b".to_owned(), "\"é\n".to_owned())]);
        let failed = Status {
            state: "FAILED".to_owned(),
            trace: "x\n\ty".to_owned(),
            version: String::new(),
            ..running("w:1")
        };
        let rows = [
            (properties(&config), r#"{"properties":{"b":"\"é\n","name":"a"}}"#),
            (target_state(TargetState::Running).to_owned(), r#"{"state":"STARTED","state.v2":"STARTED"}"#),
            (target_state(TargetState::Paused).to_owned(), r#"{"state":"PAUSED","state.v2":"PAUSED"}"#),
            (target_state(TargetState::Stopped).to_owned(), r#"{"state":"PAUSED","state.v2":"STOPPED"}"#),
            (commit(12), r#"{"tasks":12}"#),
            (
                status(&running("w:1"), None),
                r#"{"state":"RUNNING","trace":null,"worker_id":"w:1","generation":1,"version":"1.2.3"}"#,
            ),
            (
                status(&failed, None),
                r#"{"state":"FAILED","trace":"x\n\ty","worker_id":"w:1","generation":1,"version":null}"#,
            ),
            (
                active_topic("t-x", "a", 1_795_394_592_895),
                r#"{"topic":{"name":"t-x","connector":"a","task":0,"discoverTimestamp":1795394592895}}"#,
            ),
        ];
        for (written, expected) in rows {
            assert_eq!(written, expected);
        }
    }

    #[test]
    fn a_generation_rises_with_each_change_of_hands_and_of_nothing_else() {
        let before = |worker: &str, generation: i64| {
            format!(r#"{{"state":"RUNNING","trace":null,"worker_id":"{worker}","generation":{generation}}}"#)
        };
        let max = i64::from(i32::MAX);
        let rows = [
            (running("w:1"), Some(before("w:1", 97)), 97),
            (running("w:2"), Some(before("w:1", 97)), 98),
            (unassigned("w:1"), Some(before("w:1", 97)), 98),
            (running("w:1"), Some("{".to_owned()), 1),
            (running("w:1"), Some("{}".to_owned()), 1),
            (running("w:2"), Some(before("w:1", max)), i32::MAX),
            (running("w:1"), None, 1),
        ];
        for (said, before, generation) in rows {
            assert_eq!(status(&said, before.as_deref()), with_generation(&said, generation), "{before:?}");
        }
    }

    #[test]
    fn a_status_says_the_same_whatever_its_generation_is() {
        let said = status(&running("w:1"), None);
        assert!(says(&said, &running("w:1")));
        assert!(says(&said.replace(r#""generation":1"#, r#""generation":7"#), &running("w:1")));
        let others = [running("w:2"), unassigned("w:1"), Status { trace: "x".to_owned(), ..running("w:1") }];
        for other in others {
            assert!(!says(&said, &other), "{other:?}");
        }
        for stored in ["", "{}", &said.replace(r#","version":"1.2.3""#, "")] {
            assert!(!says(stored, &running("w:1")), "{stored}");
        }
    }

    #[test]
    fn keys_name_what_they_are_for_and_back() {
        let rows = [
            ("status-connector-a-1", Some(Subject::Connector("a-1"))),
            ("status-task-a-1-20", Some(Subject::Task("a-1", 20))),
            ("status-topic-t-x:connector-a:b", Some(Subject::Topic("t-x", "a:b"))),
            ("status-task-a-x", None),
            ("status-task-a", None),
            ("status-topic-t", None),
            ("other", None),
        ];
        for (key, expected) in rows {
            assert_eq!(subject(key), expected, "{key}");
        }
        assert_eq!(task_key(TASK_STATUS, "a-1", 20), "status-task-a-1-20");
        assert_eq!(topic_status_key("t-x", "a:b"), "status-topic-t-x:connector-a:b");
    }

    #[test]
    fn a_commit_is_read_back() {
        let rows = [(r#"{"tasks":3}"#, Some(3)), (r#"{"tasks":"3"}"#, None), ("{}", None), ("", None)];
        for (value, expected) in rows {
            assert_eq!(committed(value), expected, "{value}");
        }
    }
}
