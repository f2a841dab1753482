use std::collections::BTreeSet;

use copyist_proto::connect as wire;
use copyist_proto::connect::watch_event::Event;

use super::*;
use crate::compacted::reading::Found;
use crate::storage_topics::records::Status;

const MARK: &str = "s/0";
const NOW_MS: i64 = 5_000;

/// Both topics, and what the fleet has.
#[derive(Default)]
struct World {
    fleet: Fleet,
    configs: Kept,
    statuses: Kept,
    offset: i64,
}

impl World {
    /// Somebody writes, in the topic of configs or of statuses.
    fn write(&mut self, key: &str, value: Option<&str>, mark: Option<&str>) {
        self.offset += 1;
        let bytes = |text: &str| text.as_bytes().to_vec();
        let (key_bytes, value, mark) = (Some(bytes(key)), value.map(bytes), mark.map(bytes));
        let found = Found { partition: 0, offset: self.offset, key: key_bytes, value, mark };
        if key.starts_with("status-") { self.statuses.apply(found) } else { self.configs.apply(found) }
    }

    fn has(&mut self, name: &str, target: &str, config: &str, tasks: &[&str]) {
        let properties = |text: &str| BTreeMap::from([("k".to_owned(), text.to_owned())]);
        let numbers: Vec<u32> = (0..).zip(tasks).map(|(number, _)| number).collect();
        let (name, target_state) = (name.to_owned(), target.to_owned());
        let told = wire::WatchedConnector { name: name.clone(), target_state, generation: 1, tasks: numbers };
        self.fleet.hear(Event::Connector(told));
        let tasks = (0..).zip(tasks).map(|(number, text)| (number, properties(text))).collect();
        self.fleet.see(&name, Some(Seen { config: properties(config), tasks, active_topics: None }));
    }

    fn is_in(&mut self, name: &str, task: Option<u32>, state: &str, worker_id: &str) {
        let (state, worker_id) = (state.to_owned(), worker_id.to_owned());
        let status = Some(wire::InstanceStatus { state, worker_id, ..Default::default() });
        let part = Some(wire::PartRef { connector: name.to_owned(), task });
        self.fleet.hear(Event::Part(wire::WatchedPart { part, status, agent_id: String::new() }));
    }

    fn seen(&mut self, name: &str) -> &mut Seen {
        self.fleet.connectors.get_mut(name).unwrap().seen.as_mut().unwrap()
    }

    /// What the scribe writes, which it does; after that there is nothing more to write.
    fn written(&mut self) -> Vec<(String, Option<String>)> {
        let mut all = Vec::new();
        for _ in 0..2 {
            let mut writes = configs(&self.fleet, &self.configs, MARK).concat();
            writes.extend(statuses(&self.fleet, &self.statuses, MARK, NOW_MS));
            for Write { key, value } in writes {
                self.write(&key, value.as_deref(), value.as_ref().map(|_| MARK));
                all.push((key, value));
            }
        }
        assert_eq!(configs(&self.fleet, &self.configs, MARK), Vec::<Vec<Write>>::new());
        assert_eq!(statuses(&self.fleet, &self.statuses, MARK, NOW_MS), []);
        all
    }
}

fn properties(text: &str) -> String {
    format!(r#"{{"properties":{{"k":"{text}"}}}}"#)
}

fn state(state: &str, worker_id: &str, generation: i32) -> String {
    let version = "null";
    format!(
        r#"{{"state":"{state}","trace":null,"worker_id":"{worker_id}","generation":{generation},"version":{version}}}"#
    )
}

const PAUSED: &str = r#"{"state":"PAUSED","state.v2":"PAUSED"}"#;
const STARTED: &str = r#"{"state":"STARTED","state.v2":"STARTED"}"#;
const STOPPED: &str = r#"{"state":"PAUSED","state.v2":"STOPPED"}"#;

#[track_caller]
fn assert_written(world: &mut World, expected: &[(&str, Option<&str>)]) {
    let expected: Vec<_> =
        expected.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect();
    assert_eq!(world.written(), expected);
}

#[test]
fn a_connectors_life_is_written_in_connects_order() {
    let mut world = World::default();
    let (a, b, c, t) = (properties("a"), properties("b"), properties("c"), properties("t"));
    world.has("c", "RUNNING", "a", &[]);
    assert_written(&mut world, &[("connector-c", Some(&a))]);
    world.has("c", "RUNNING", "a", &["b", "c"]);
    let tasks = [("task-c-0", Some(&*b)), ("task-c-1", Some(&*c)), ("commit-c", Some(r#"{"tasks":2}"#))];
    assert_written(&mut world, &tasks);
    world.has("c", "PAUSED", "a", &["b", "c"]);
    assert_written(&mut world, &[("target-state-c", Some(PAUSED))]);
    world.has("c", "STOPPED", "a", &["b", "c"]);
    let stop = [("commit-c", Some(r#"{"tasks":0}"#)), ("target-state-c", Some(STOPPED))];
    assert_written(&mut world, &stop);
    world.has("c", "STOPPED", "a", &[]);
    assert_written(&mut world, &[]);
    world.has("c", "RUNNING", "a", &["b", "c"]);
    assert_written(&mut world, &[&[("target-state-c", Some(STARTED))], &tasks[..]].concat());
    world.has("c", "RUNNING", "t", &["t"]);
    let changed = [("connector-c", Some(&*t)), ("task-c-0", Some(&*t)), ("commit-c", Some(r#"{"tasks":1}"#))];
    assert_written(&mut world, &changed);
    world.fleet.hear(Event::ConnectorGone("c".to_owned()));
    assert_written(&mut world, &[("connector-c", None), ("target-state-c", None)]);
    world.has("c", "RUNNING", "t", &["t"]);
    assert_written(&mut world, &changed);
}

#[test]
fn a_target_state_stands_before_a_new_connector_and_only_where_it_is_another_one() {
    let a = properties("a");
    for (target, value) in [("PAUSED", PAUSED), ("STOPPED", STOPPED)] {
        let mut world = World::default();
        world.has("c", target, "a", &[]);
        assert_written(&mut world, &[("target-state-c", Some(value)), ("connector-c", Some(&a))]);
        world.has("c", target, "b", &[]);
        assert_written(&mut world, &[("connector-c", Some(&properties("b")))]);
    }
}

#[test]
fn all_tasks_are_written_whatever_one_of_them_lacks() {
    let mut world = World::default();
    world.has("c", "RUNNING", "a", &["b", "c"]);
    world.written();
    let (b, c, d) = (properties("b"), properties("c"), properties("d"));
    let tasks = [("task-c-0", Some(&*b)), ("task-c-1", Some(&*c)), ("commit-c", Some(r#"{"tasks":2}"#))];
    // What somebody else has written last.
    let rows: [(&str, &str, Option<&str>); 5] = [
        ("task-c-0", &d, Some(MARK)),
        ("task-c-1", &c, None),
        ("task-c-0", &b, Some(MARK)),
        ("commit-c", r#"{"tasks":1}"#, Some(MARK)),
        ("commit-c", r#"{"tasks":2}"#, None),
    ];
    for (key, value, mark) in rows {
        world.write(key, Some(value), mark);
        assert_written(&mut world, &tasks);
    }
    let a = properties("a");
    world.write("connector-c", Some(&a), Some(MARK));
    assert_written(&mut world, &tasks);
    world.has("c", "RUNNING", "a", &["b"]);
    assert_written(&mut world, &[("task-c-0", Some(&b)), ("commit-c", Some(r#"{"tasks":1}"#))]);
    world.has("c", "RUNNING", "a", &[]);
    assert_written(&mut world, &[("commit-c", Some(r#"{"tasks":0}"#))]);
}

#[test]
fn only_what_the_fleet_wrote_goes_and_only_with_a_connector_that_it_has_deleted() {
    let records = [
        ("connector-x", r#"{"properties":{"connector.class":"EMRReplicatorSourceConnector"}}"#),
        ("target-state-x", PAUSED),
        ("task-x-0", r#"{"properties":{}}"#),
        ("commit-x", r#"{"tasks":1}"#),
        ("session-key", r#"{"key":"x"}"#),
        ("restart-connector-x", r#"{"include-tasks":true,"only-failed":false}"#),
        ("tasks-fencing-x", r#"{"task-count":1}"#),
        ("status-connector-x", r#"{"state":"RUNNING","trace":null,"worker_id":"w:1","generation":9}"#),
        ("status-task-x-0", r#"{"state":"RUNNING","trace":null,"worker_id":"w:1","generation":9}"#),
        (
            "status-topic-t:connector-x",
            r#"{"topic":{"name":"t","connector":"x","task":0,"discoverTimestamp":1}}"#,
        ),
    ];
    let deleted = || Event::ConnectorGone("x".to_owned());
    // A fleet of before this store was restored is another one.
    for mark in [None, Some("other/0"), Some("s/1")] {
        let mut world = World::default();
        world.fleet.hear(deleted());
        records.iter().for_each(|(key, value)| world.write(key, Some(value), mark));
        assert_written(&mut world, &[]);
    }
    let mut world = World::default();
    records.iter().for_each(|(key, value)| world.write(key, Some(value), Some(MARK)));
    // The store may have lost it.
    assert_written(&mut world, &[]);
    world.fleet.hear(deleted());
    let gone = [
        "connector-x",
        "target-state-x",
        "status-connector-x",
        "status-task-x-0",
        "status-topic-t:connector-x",
    ];
    assert_written(&mut world, &gone.map(|key| (key, None)));
}

#[test]
fn a_target_state_that_is_left_alone_goes_unless_the_connector_is_somebody_elses() {
    let mut world = World::default();
    world.write("target-state-x", Some(PAUSED), Some(MARK));
    assert_written(&mut world, &[]);
    world.fleet.hear(Event::ConnectorGone("x".to_owned()));
    assert_written(&mut world, &[("connector-x", None), ("target-state-x", None)]);
    world.write("connector-x", Some(&properties("a")), None);
    world.write("target-state-x", Some(PAUSED), Some(MARK));
    assert_written(&mut world, &[]);
}

#[test]
fn a_connector_of_a_real_connect_that_the_fleet_has_as_well_becomes_the_fleets() {
    let mut world = World::default();
    let (a, t) = (properties("a"), properties("t"));
    world.write("connector-c", Some(&a), None);
    world.write("task-c-0", Some(&t), None);
    world.write("commit-c", Some(r#"{"tasks":1}"#), None);
    world.write("target-state-c", Some(STARTED), None);
    world.write("status-connector-c", Some(&state("RUNNING", "w:1", 97)), None);
    world.write("status-task-c-0", Some(&state("RUNNING", "w:1", 97)), None);
    world.write("status-task-c-1", Some(&state("RUNNING", "w:1", 97)), None);
    world.write("status-topic-t:connector-c", Some("x"), None);
    world.has("c", "RUNNING", "a", &["t"]);
    world.is_in("c", None, "RUNNING", "a:1");
    world.is_in("c", Some(0), "RUNNING", "w:1");
    let expected = [
        ("target-state-c", Some(STARTED)),
        ("connector-c", Some(&*a)),
        ("task-c-0", Some(&*t)),
        ("commit-c", Some(r#"{"tasks":1}"#)),
        ("status-connector-c", Some(&*state("RUNNING", "a:1", 98))),
        ("status-task-c-0", Some(&*state("RUNNING", "w:1", 97))),
        ("status-task-c-1", None),
    ];
    assert_written(&mut world, &expected);
}

#[test]
fn states_are_written_as_they_change_and_end_with_their_part() {
    let mut world = World::default();
    world.has("c", "RUNNING", "a", &["b", "b"]);
    world.written();
    world.is_in("c", None, "UNASSIGNED", "");
    assert_written(&mut world, &[]);
    world.is_in("c", None, "RUNNING", "a:1");
    world.is_in("c", Some(0), "RUNNING", "a:1");
    world.is_in("c", Some(1), "RUNNING", "b:1");
    let rows = [("status-connector-c", "a:1"), ("status-task-c-0", "a:1"), ("status-task-c-1", "b:1")];
    let running = rows.map(|(key, agent)| (key, state("RUNNING", agent, 1)));
    let running: Vec<_> = running.iter().map(|(key, value)| (*key, Some(value.as_str()))).collect();
    assert_written(&mut world, &running);
    world.is_in("c", Some(1), "UNASSIGNED", "b:1");
    assert_written(&mut world, &[("status-task-c-1", Some(&state("UNASSIGNED", "b:1", 2)))]);
    world.is_in("c", Some(1), "RUNNING", "a:1");
    assert_written(&mut world, &[("status-task-c-1", Some(&state("RUNNING", "a:1", 3)))]);
    world.is_in("c", Some(1), "RUNNING", "");
    assert_written(&mut world, &[]);
    world.has("c", "RUNNING", "a", &["b"]);
    let shrunk = [
        ("task-c-0", Some(&*properties("b"))),
        ("commit-c", Some(r#"{"tasks":1}"#)),
        ("status-task-c-1", None),
    ];
    assert_written(&mut world, &shrunk);
    world.fleet.hear(Event::ConnectorGone("c".to_owned()));
    let gone = ["connector-c", "target-state-c", "status-connector-c", "status-task-c-0"];
    assert_written(&mut world, &gone.map(|key| (key, None)));
}

#[test]
fn active_topics_are_written_once_and_end_when_they_are_reset() {
    let mut world = World::default();
    world.has("c", "RUNNING", "a", &[]);
    world.written();
    let topics = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
    let active = |topic: &str| records::active_topic(topic, "c", NOW_MS);
    world.write("status-topic-v:connector-c", Some("x"), None);
    assert_written(&mut world, &[]);
    world.seen("c").active_topics = topics(&["t", "u"]);
    let new = [
        ("status-topic-t:connector-c", Some(&*active("t"))),
        ("status-topic-u:connector-c", Some(&*active("u"))),
        ("status-topic-v:connector-c", None),
    ];
    assert_written(&mut world, &new);
    world.seen("c").active_topics = topics(&["u"]);
    assert_written(&mut world, &[("status-topic-t:connector-c", None)]);
}

#[test]
fn what_is_not_known_is_neither_written_nor_ended() {
    let mut world = World::default();
    world.has("c", "RUNNING", "a", &["b"]);
    world.is_in("c", Some(0), "RUNNING", "a:1");
    world.written();
    let known = world.fleet.connectors["c"].clone();
    let unknown = [
        Connector { seen: None, status: known.status.clone(), ..known.clone() },
        Connector { target: None, ..known.clone() },
        Connector { task_statuses: BTreeMap::new(), ..known },
    ];
    for connector in unknown {
        world.fleet.connectors.insert("c".to_owned(), connector);
        assert_written(&mut world, &[]);
    }
}

#[test]
fn a_status_of_a_task_that_is_not_seen_yet_waits_for_it() {
    let mut world = World::default();
    world.has("c", "RUNNING", "a", &[]);
    world.written();
    let status = Status {
        state: "RUNNING".to_owned(),
        worker_id: "a:1".to_owned(),
        trace: String::new(),
        version: String::new(),
    };
    world.fleet.connectors.get_mut("c").unwrap().task_statuses.insert(0, status);
    assert_written(&mut world, &[]);
}
