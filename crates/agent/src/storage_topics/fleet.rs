//! What the fleet has, as the leader tells it to whoever watches. Pure.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::TargetState;
use copyist_proto::connect as wire;
use copyist_proto::connect::watch_event::Event;

use super::records::Status;

/// The connectors by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fleet {
    pub connectors: BTreeMap<String, Connector>,
    /// Connectors that were deleted: of others that are not there, nobody knows why.
    pub deleted: BTreeSet<String>,
    /// All that there is was told.
    pub is_whole: bool,
    /// Connectors that have changed since they were looked at.
    unseen: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Connector {
    /// Nothing: it is not known yet.
    pub target: Option<TargetState>,
    /// Nothing: they are not known yet.
    pub seen: Option<Seen>,
    pub status: Option<Status>,
    pub task_statuses: BTreeMap<u32, Status>,
}

/// What is asked for of a connector, as it is too much to be told with each change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    pub config: BTreeMap<String, String>,
    pub tasks: BTreeMap<u32, BTreeMap<String, String>>,
    /// Destination topics that it has written to; nothing: that is not known.
    pub active_topics: Option<BTreeSet<String>>,
}

impl Fleet {
    /// Takes in what a watcher is told.
    pub fn hear(&mut self, event: Event) {
        match event {
            Event::Connector(wire::WatchedConnector { name, target_state, generation: _, tasks }) => {
                let connector = self.connectors.entry(name.clone()).or_default();
                connector.target = target_state.parse().ok();
                connector.task_statuses.retain(|number, _| tasks.contains(number));
                self.deleted.remove(&name);
                self.unseen.insert(name);
            }
            Event::ConnectorGone(name) => {
                self.connectors.remove(&name);
                self.unseen.remove(&name);
                self.deleted.insert(name);
            }
            Event::Part(wire::WatchedPart { part: Some(part), status, .. }) => {
                // A part of what is gone is told of only before.
                if let Some(connector) = self.connectors.get_mut(&part.connector) {
                    connector.tell(part.task, status.map(shown));
                }
            }
            Event::PartGone(part) => {
                if let Some(connector) = self.connectors.get_mut(&part.connector) {
                    connector.tell(part.task, None);
                }
            }
            Event::Synced(_) => self.is_whole = true,
            Event::Part(wire::WatchedPart { part: None, .. }) | Event::Agent(_) | Event::AgentGone(_) => {}
        }
    }

    /// The next connector that is to be looked at.
    pub fn unseen(&mut self) -> Option<String> {
        self.unseen.pop_first()
    }

    pub fn has_unseen(&self) -> bool {
        !self.unseen.is_empty()
    }

    /// Takes in what was seen of one; nothing: it is not there (and a watcher is told so).
    pub fn see(&mut self, name: &str, seen: Option<Seen>) {
        if let (Some(connector), Some(seen)) = (self.connectors.get_mut(name), seen) {
            connector.seen = Some(seen);
        }
    }
}

impl Fleet {
    /// Takes in the active topics of a connector that was looked at; says whether they are others than before.
    pub fn see_topics(&mut self, name: &str, topics: BTreeSet<String>) -> bool {
        let seen = self.connectors.get_mut(name).and_then(|connector| connector.seen.as_mut());
        seen.is_some_and(|seen| {
            let before = seen.active_topics.replace(topics);
            before != seen.active_topics
        })
    }
}

impl Connector {
    fn tell(&mut self, task: Option<u32>, status: Option<Status>) {
        match (task, status) {
            (None, status) => self.status = status,
            (Some(number), Some(status)) => drop(self.task_statuses.insert(number, status)),
            (Some(number), None) => drop(self.task_statuses.remove(&number)),
        }
    }
}

fn shown(status: wire::InstanceStatus) -> Status {
    let wire::InstanceStatus { state, worker_id, trace, version } = status;
    Status { state, worker_id, trace, version }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connector(name: &str, target: &str, tasks: &[u32]) -> Event {
        let (name, target_state) = (name.to_owned(), target.to_owned());
        Event::Connector(wire::WatchedConnector { name, target_state, generation: 1, tasks: tasks.to_vec() })
    }

    fn part(name: &str, task: Option<u32>) -> wire::PartRef {
        wire::PartRef { connector: name.to_owned(), task }
    }

    fn told(name: &str, task: Option<u32>, state: &str) -> Event {
        let status = wire::InstanceStatus { state: state.to_owned(), ..Default::default() };
        let part = Some(part(name, task));
        Event::Part(wire::WatchedPart { part, status: Some(status), agent_id: String::new() })
    }

    /// States of the connector and of its tasks.
    fn states(fleet: &Fleet, name: &str) -> (Option<String>, Vec<(u32, String)>) {
        let connector = &fleet.connectors[name];
        let tasks = connector.task_statuses.iter().map(|(number, status)| (*number, status.state.clone()));
        (connector.status.as_ref().map(|status| status.state.clone()), tasks.collect())
    }

    #[test]
    fn a_connector_is_there_from_its_first_word_to_its_last_and_looked_at_after_each() {
        let mut fleet = Fleet::default();
        fleet.hear(told("c", None, "RUNNING"));
        assert!(fleet.connectors.is_empty(), "it is gone, or was not told of yet");
        fleet.hear(connector("c", "PAUSED", &[]));
        assert_eq!(fleet.connectors["c"].target, Some(TargetState::Paused));
        assert!(fleet.has_unseen());
        assert_eq!((fleet.unseen(), fleet.unseen()), (Some("c".to_owned()), None));
        assert!(!fleet.has_unseen());
        let seen = Seen { config: [("k".to_owned(), "v".to_owned())].into(), ..Seen::default() };
        fleet.see("c", Some(seen.clone()));
        fleet.see("c", Some(seen.clone()));
        let topics = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert!(fleet.see_topics("c", topics(&["t"])) && !fleet.see_topics("c", topics(&["t"])));
        assert!(fleet.see_topics("c", topics(&[])) && !fleet.see_topics("other", topics(&["t"])));
        fleet.see("c", Some(seen.clone()));
        fleet.see("other", Some(seen.clone()));
        fleet.see("c", None);
        assert_eq!(fleet.connectors["c"].seen, Some(seen.clone()));
        fleet.hear(connector("c", "STOPPED", &[]));
        assert_eq!(fleet.connectors["c"].target, Some(TargetState::Stopped));
        assert_eq!(fleet.connectors["c"].seen, Some(seen), "until it is looked at again");
        assert!(!fleet.is_whole);
        fleet.hear(Event::Synced(wire::WatchSynced {}));
        assert!(fleet.is_whole);
        fleet.hear(Event::ConnectorGone("c".to_owned()));
        assert_eq!((fleet.connectors.len(), fleet.unseen()), (0, None));
        assert!(fleet.deleted.contains("c"));
        fleet.hear(connector("c", "RUNNING", &[]));
        assert!(fleet.deleted.is_empty());
    }

    #[test]
    fn states_are_those_of_parts_that_are_there() {
        let mut fleet = Fleet::default();
        fleet.hear(connector("c", "RUNNING", &[0, 1, 2]));
        let events = [(None, "RUNNING"), (Some(0), "RUNNING"), (Some(1), "UNASSIGNED"), (Some(2), "FAILED")];
        for (task, state) in events {
            fleet.hear(told("c", task, state));
        }
        fleet.hear(told("c", Some(1), "RUNNING"));
        fleet.hear(Event::PartGone(part("c", Some(2))));
        let running = "RUNNING".to_owned();
        let tasks = vec![(0, running.clone()), (1, running.clone())];
        assert_eq!(states(&fleet, "c"), (Some(running.clone()), tasks));
        fleet.hear(connector("c", "RUNNING", &[0]));
        assert_eq!(states(&fleet, "c"), (Some(running.clone()), vec![(0, running)]));
        fleet.hear(Event::PartGone(part("c", None)));
        assert_eq!(states(&fleet, "c").0, None);
    }

    #[test]
    fn a_target_of_a_newer_version_is_not_known() {
        let mut fleet = Fleet::default();
        fleet.hear(connector("c", "DREAMING", &[]));
        assert_eq!(fleet.connectors["c"].target, None);
    }
}
