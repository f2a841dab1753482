//! What has changed since the last look, in words.

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_tests::{Cut, Deadline, Kafka, Result};
use serde_json::Value;

use crate::stage::{CONNECTOR, FLEET, REPLICA, Stage, TOPIC};

/// How often records are counted.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// What was seen last.
#[derive(Default)]
pub struct Changes {
    leader: String,
    tasks: BTreeMap<String, Tasks>,
    counted: Option<Deadline>,
}

/// Of an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tasks {
    running: usize,
    others: usize,
}

impl Changes {
    /// One line for each change.
    pub fn look(&mut self, stage: &Stage) -> Vec<String> {
        let mut lines = Vec::new();
        if let Ok(leader) = leader(stage)
            && leader != self.leader
        {
            lines.push(format!("{leader} leads"));
            self.leader = leader;
        }
        if let Some(tasks) = status(stage).map(|status| tasks(&status))
            && tasks != self.tasks
        {
            lines.push(shown(&tasks));
            self.tasks = tasks;
        }
        if self.counted.as_ref().is_none_or(Deadline::passed) {
            lines.extend(count(stage));
            self.counted = Some(Deadline::after(COUNT_EVERY));
        }
        lines
    }
}

/// As etcd has it.
fn leader(stage: &Stage) -> Result<String> {
    let key = format!("/copyist/{FLEET}/leader");
    let value = stage.etcd.etcdctl(&["get", "--print-value-only", &key])?;
    let named = |way: &Cut| value.contains(&way.address());
    let at = stage.fleet.ways.iter().position(named);
    Ok(at.map_or_else(|| "nobody".to_owned(), |at| stage.fleet.coordinators[at].name.clone()))
}

/// By whichever gateway answers.
fn status(stage: &Stage) -> Option<Value> {
    let path = format!("/connectors/{CONNECTOR}/status");
    let gateways = 0..stage.fleet.gateways.len();
    let mut answers = gateways.filter_map(|gateway| stage.fleet.rest(gateway).get(&path).ok());
    answers.find(|(code, _)| *code == 200).map(|(_, status)| status)
}

fn tasks(status: &Value) -> BTreeMap<String, Tasks> {
    let mut agents: BTreeMap<String, Tasks> = BTreeMap::new();
    for task in status["tasks"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let agent = agents.entry(task["worker_id"].as_str().unwrap_or("nobody").to_owned()).or_default();
        if task["state"] == "RUNNING" {
            agent.running += 1;
        } else {
            agent.others += 1;
        }
    }
    agents
}

fn shown(tasks: &BTreeMap<String, Tasks>) -> String {
    let agents = tasks.iter().map(|(agent, tasks)| match tasks {
        Tasks { running, others: 0 } => format!("{agent} {running}"),
        Tasks { running, others } => format!("{agent} {running} (and {others} that do not copy yet)"),
    });
    format!("tasks that copy: {}", agents.collect::<Vec<_>>().join(", "))
}

/// Nothing, when a cluster does not answer.
fn count(stage: &Stage) -> Option<String> {
    let records = |at: Kafka<'_>, topic| -> Result<i64> { Ok(at.end_offsets(topic)?.values().sum()) };
    // In this order the destination never seems to have more.
    let destination = records(stage.tool.at(&stage.destination.bootstrap()), REPLICA).ok()?;
    let source = records(stage.tool.at(&stage.source.bootstrap()), TOPIC).ok()?;
    Some(format!("{source} records at the source, {destination} at the destination"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tasks_are_counted_by_agent() {
        let task = |agent: &str, state: &str| json!({"worker_id": agent, "state": state});
        let status = json!({"tasks": [task("b", "RUNNING"), task("a", "RUNNING"), task("b", "UNASSIGNED")]});
        assert_eq!(shown(&tasks(&status)), "tasks that copy: a 1, b 1 (and 1 that do not copy yet)");
        assert_eq!(tasks(&json!({})), BTreeMap::new());
    }
}
