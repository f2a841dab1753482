//! What is to be written so that the topics tell what the fleet has, in Connect's order. Pure.
//!
//! Three rules keep what is not the fleet's:
//! - Records of connectors that the fleet does not have are ended only if it says that it has deleted them, and they bear
//!   its mark. All others stay: they were there before the fleet, or are what is left of a connector that a store which was
//!   restored from an older copy has lost.
//! - Connect never ends `task-…` and `commit-…` records, so they stay, too: without a connector's record they say nothing.
//! - Keys of other kinds are not looked at.
//!
//! A reader takes tasks for complete when each of them was written after the commit before, and takes no commit that
//! lies before its connector's record. So tasks go all together, behind the connector's record and before their commit.

use std::collections::BTreeMap;

use copyist_model::TargetState;

use super::fleet::{Connector, Fleet, Seen};
use super::kept::{Kept, Record};
use super::records::{self, COMMIT, CONNECTOR, CONNECTOR_STATUS, Subject, TARGET_STATE, TASK, TASK_STATUS};

/// A record to write.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Write {
    pub key: String,
    /// Nothing: a tombstone.
    pub value: Option<String>,
}

impl Write {
    fn new(key: String, value: impl Into<String>) -> Self {
        Self { key, value: Some(value.into()) }
    }

    fn tombstone(key: String) -> Self {
        Self { key, value: None }
    }
}

/// What the config topic lacks: of each connector what belongs together, in its order.
pub(crate) fn configs(fleet: &Fleet, kept: &Kept, mark: &str) -> Vec<Vec<Write>> {
    let there = fleet.connectors.iter();
    let groups = there.map(|(name, connector)| of_connector(name, connector, kept, mark));
    let gone = gone(fleet, kept, mark).map(|name| {
        [CONNECTOR, TARGET_STATE].map(|prefix| Write::tombstone(format!("{prefix}{name}"))).to_vec()
    });
    gone.chain(groups).filter(|group| !group.is_empty()).collect()
}

/// Connectors that the fleet had: with a record of its own, or what is left of them where only that was ended.
fn gone<'a>(fleet: &'a Fleet, kept: &'a Kept, mark: &'a str) -> impl Iterator<Item = &'a str> {
    let is_left = move |name: &str| kept.present(&format!("{CONNECTOR}{name}")).is_none();
    let of_targets = kept.all(TARGET_STATE).filter(move |(name, _)| is_left(name));
    let all = kept.all(CONNECTOR).chain(of_targets);
    let is_ours = move |record: &Record| record.mark.as_deref() == Some(mark);
    all.filter(move |(name, record)| fleet.deleted.contains(*name) && is_ours(record)).map(|(name, _)| name)
}

fn of_connector(name: &str, connector: &Connector, kept: &Kept, mark: &str) -> Vec<Write> {
    let (Some(target), Some(seen)) = (connector.target, &connector.seen) else { return Vec::new() };
    let key = |prefix: &str| format!("{prefix}{name}");
    let differs = |key: &str, value: &str| kept.present(key).is_none_or(|record| !record.is(value, mark));
    let config = Write::new(key(CONNECTOR), records::properties(&seen.config));
    let config = config.value.as_deref().is_some_and(|value| differs(&config.key, value)).then_some(config);
    let state = records::target_state(target);
    // Absent, it is STARTED.
    let is_told = target != TargetState::Running || kept.present(&key(TARGET_STATE)).is_some();
    let state = (is_told && differs(&key(TARGET_STATE), state)).then(|| Write::new(key(TARGET_STATE), state));
    let none = BTreeMap::new();
    // What has not ended yet is none of its tasks any more.
    let tasks = if target == TargetState::Stopped { &none } else { &seen.tasks };
    let tasks = tasks_of(name, tasks, config.is_some(), kept, mark);
    if target == TargetState::Stopped {
        tasks.into_iter().chain(state).chain(config).collect()
    } else {
        state.into_iter().chain(config).chain(tasks).collect()
    }
}

/// All of a connector's tasks and their commit, unless they are there, behind the connector's record.
fn tasks_of(
    name: &str,
    tasks: &BTreeMap<u32, BTreeMap<String, String>>,
    config_is_new: bool,
    kept: &Kept,
    mark: &str,
) -> Vec<Write> {
    let commit = format!("{COMMIT}{name}");
    let config_offset = kept.present(&format!("{CONNECTOR}{name}")).map(|record| record.offset);
    let in_force = kept.present(&commit).filter(|record| Some(record.offset) > config_offset);
    let announced = in_force.and_then(|record| record.value.as_deref()).and_then(records::committed);
    if tasks.is_empty() {
        let is_told = config_offset.is_some() && announced.is_some_and(|tasks| tasks > 0);
        return if is_told { vec![Write::new(commit, records::commit(0))] } else { Vec::new() };
    }
    let written: Vec<Write> = tasks
        .iter()
        .map(|(number, config)| {
            Write::new(records::task_key(TASK, name, *number), records::properties(config))
        })
        .collect();
    let is_between = |write: &Write| {
        kept.present(&write.key).is_some_and(|record| {
            let offset = Some(record.offset);
            let is_behind = offset > config_offset && offset < in_force.map(|commit| commit.offset);
            is_behind && write.value.as_deref().is_some_and(|value| record.is(value, mark))
        })
    };
    let all = records::commit(tasks.len());
    let is_committed = in_force.is_some_and(|record| record.is(&all, mark));
    if !config_is_new && is_committed && written.iter().all(is_between) {
        return Vec::new();
    }
    written.into_iter().chain([Write::new(commit, all)]).collect()
}

/// What the status topic lacks. Active topics that are new are discovered at `now_ms`, in milliseconds since 1970.
pub(crate) fn statuses(fleet: &Fleet, kept: &Kept, mark: &str, now_ms: i64) -> Vec<Write> {
    let there = fleet.connectors.iter();
    let there = there.flat_map(|(name, connector)| statuses_of(name, connector, kept, mark, now_ms));
    let prefix = "status-";
    let gone = kept.all(prefix).filter_map(|(rest, record)| {
        let key = format!("{prefix}{rest}");
        let subject = records::subject(&key)?;
        let is_over = match fleet.connectors.get(connector_of(subject)) {
            Some(connector) => is_over(subject, connector),
            None => fleet.deleted.contains(connector_of(subject)) && record.mark.as_deref() == Some(mark),
        };
        is_over.then(|| Write::tombstone(key))
    });
    there.chain(gone).collect()
}

fn connector_of(subject: Subject<'_>) -> &str {
    match subject {
        Subject::Connector(name) | Subject::Task(name, _) | Subject::Topic(_, name) => name,
    }
}

/// Whether a connector that is there has no such task or topic. What is not known is not over.
fn is_over(subject: Subject<'_>, connector: &Connector) -> bool {
    let Some(seen) = &connector.seen else { return false };
    match subject {
        Subject::Connector(_) => false,
        Subject::Task(_, number) => !seen.tasks.contains_key(&number),
        Subject::Topic(topic, _) => seen.active_topics.as_ref().is_some_and(|topics| !topics.contains(topic)),
    }
}

fn statuses_of(name: &str, connector: &Connector, kept: &Kept, mark: &str, now_ms: i64) -> Vec<Write> {
    let Some(Seen { tasks, active_topics, .. }) = &connector.seen else { return Vec::new() };
    let of_survey = connector.status.iter().map(|status| (format!("{CONNECTOR_STATUS}{name}"), status));
    let of_tasks = connector.task_statuses.iter().filter(|(number, _)| tasks.contains_key(number));
    let of_tasks = of_tasks.map(|(number, status)| (records::task_key(TASK_STATUS, name, *number), status));
    let told = of_survey.chain(of_tasks).filter_map(|(key, status)| {
        let before = kept.present(&key);
        let is_marked = before.is_some_and(|record| record.mark.as_deref() == Some(mark));
        let before = before.and_then(|record| record.value.as_deref());
        let is_told = is_marked && before.is_some_and(|before| records::says(before, status));
        // As in Connect, there is no status before a worker had it.
        (!is_told && !status.worker_id.is_empty()).then(|| Write::new(key, records::status(status, before)))
    });
    let topics = active_topics.iter().flatten().filter_map(|topic| {
        let key = records::topic_status_key(topic, name);
        let is_told = kept.present(&key).is_some_and(|record| record.mark.as_deref() == Some(mark));
        (!is_told).then(|| Write::new(key, records::active_topic(topic, name, now_ms)))
    });
    told.chain(topics).collect()
}

#[cfg(test)]
mod tests;
