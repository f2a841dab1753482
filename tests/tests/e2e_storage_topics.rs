//! `config.storage.topic` and `status.storage.topic`: the same life on Copyist and on a worker of Kafka Connect beside it,
//! told by both topics in the same records; then Connect goes on where Copyist left.
//!
//! Intended differences:
//! - each record of Copyist's but tombstones has a header, `copyist.store`, by which it knows its own;
//! - a task's config has the lanes (`task.lanes`) and a class of ours;
//! - `session-key` and `restart-connector-…` are how Connect's workers talk to each other: there are none;
//! - a new config that changes the tasks shows the moment without tasks (`{"tasks":0}`);
//! - `generation` counts the changes of hands of its key;
//! - a topic is told as active once a position behind a copied record is stored, for task 0 (Connect's class here writes
//!   nothing, so that there is none);
//! - a state other than FAILED may have a `trace`, too, as in our REST.
#![expect(clippy::expect_used, clippy::panic, reason = "a test whose step fails has failed, and says why")]

use std::collections::BTreeMap;

use copyist_tests::scenario::{self, LIMIT, destination, numbered, source};
use copyist_tests::{
    ConnectWorker, Etcd, EtcdOptions, Fleet, FleetOptions, LogTail, Progress, Rec, Rest, Scenario, suite,
    wait_until,
};
use reqwest::Method;
use serde_json::{Value, json};

const OURS: &str = "scribe-ours";
const THEIRS: &str = "scribe-theirs";

/// What a real Connect that used the topics before has left there.
const FOREIGN: [(&str, &str, &str); 5] = [
    (
        "config",
        "connector-foreign",
        r#"{"properties":{"connector.class":"EMRReplicatorSourceConnector","name":"foreign"}}"#,
    ),
    ("config", "target-state-foreign", r#"{"state":"PAUSED","state.v2":"STOPPED"}"#),
    ("config", "logger-cluster-org.example", r#"{"level":"ERROR"}"#),
    (
        "status",
        "status-connector-foreign",
        r#"{"state":"STOPPED","trace":null,"worker_id":"w:1","generation":9}"#,
    ),
    (
        "status",
        "status-topic-t:connector-foreign",
        r#"{"topic":{"name":"t","connector":"foreign","task":0,"discoverTimestamp":1}}"#,
    ),
];

/// One of the two, by its REST and its topics.
struct Life<'a> {
    group: &'static str,
    rest: &'a Rest,
    /// Records of the config topic that were looked at.
    looked_at: usize,
}

/// The last value of each key, with its partition.
type Last = BTreeMap<String, (Option<i32>, Value)>;

fn text(bytes: Option<&Vec<u8>>) -> String {
    String::from_utf8(bytes.cloned().unwrap_or_default()).expect("UTF-8")
}

/// Keys and values in the order of the topic, without what only one of the two writes.
fn records(group: &str, topic: &str) -> Vec<Rec> {
    let mut records = destination().dump(&format!("{group}-{topic}")).expect("read");
    let is_of_workers =
        |key: &str| ["session-key", "restart-connector-"].iter().any(|it| key.starts_with(it));
    let is_foreign = |key: &str| FOREIGN.iter().any(|(_, foreign, _)| key == *foreign);
    records.retain(|record| {
        let key = text(record.key.as_ref());
        !is_of_workers(&key) && !is_foreign(&key)
    });
    records
}

/// What must be the same: the text of the value, but for who wrote it, and for the order of a config's keys.
fn comparable(record: &Rec) -> Value {
    let Some(value) = &record.value else { return Value::Null };
    let mut value: Value = serde_json::from_slice(value).expect("JSON");
    if let Some(properties) = value.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove("task.lanes");
        if let Some(class) = properties.get_mut("task.class") {
            *class = "of a task".into();
        }
        properties.sort_keys();
    }
    if value.get("generation").is_some() {
        assert!(value["generation"].as_i64().is_some_and(|number| (1..1_000).contains(&number)), "{value}");
        assert!(value["worker_id"].as_str().is_some_and(|worker| worker.contains(':')), "{value}");
        assert!(
            ["version", "trace"].iter().all(|it| value[it].is_null() || value[it].is_string()),
            "{value}"
        );
        for field in ["generation", "worker_id", "version", "trace"] {
            value[field] = field.into();
        }
    }
    // As text: the order of fields counts.
    value.to_string().into()
}

impl Life<'_> {
    fn last(&self) -> Last {
        let mut last = Last::new();
        for topic in ["config", "status"] {
            for record in records(self.group, topic) {
                last.insert(text(record.key.as_ref()), (record.partition, comparable(&record)));
            }
        }
        last.retain(|key, _| !key.starts_with("status-topic-"));
        last
    }

    /// Waits until the topic that the connector writes to is told as active, or as no more so.
    fn wait_topic(&self, scenario: &Scenario, is_active: bool) {
        let key = "status-topic-scribed:connector-c";
        let mut last = None;
        let found = wait_until("the active topic", LIMIT, Progress::Silent, || {
            let records = records(self.group, "status");
            last = records.into_iter().rfind(|record| text(record.key.as_ref()) == key);
            let value = last.as_ref().and_then(|record| record.value.as_ref());
            let told = value.map(|value| serde_json::from_slice::<Value>(value).expect("JSON"));
            let is_told = told.as_ref().is_some_and(|told| {
                let topic = &told["topic"];
                assert!(topic["discoverTimestamp"].as_i64().is_some_and(|at| at > scenario::THEN), "{told}");
                (&topic["name"], &topic["connector"]) == (&json!("scribed"), &json!("c"))
                    && topic["task"].is_u64()
            });
            Ok((last.is_some() && is_told == is_active).then_some(()))
        });
        scenario.must(&format!("{key}: {last:?}"), found);
    }

    /// What was written to the config topic since the last call, in its order.
    fn written(&mut self) -> Vec<(String, Value)> {
        let records = records(self.group, "config");
        let new = records[self.looked_at..].iter();
        let new = new.map(|record| (text(record.key.as_ref()), comparable(record))).collect();
        self.looked_at = records.len();
        new
    }

    fn call(&self, method: Method, path: &str, body: Option<&Value>) {
        let (status, answer) = self.rest.call(method.clone(), path, body).expect("an answer");
        assert!((200..300).contains(&status), "{} {method} {path}: {status} {answer}", self.group);
    }
}

/// Waits until both topics end in the same, which is as wanted, and returns what both have written on the way there.
fn wait_same(
    scenario: &Scenario,
    ours: &mut Life<'_>,
    theirs: &mut Life<'_>,
    step: &str,
    wanted: impl Fn(&Last) -> bool,
) -> [Vec<(String, Value)>; 2] {
    let mut seen = [Last::new(), Last::new()];
    let found = wait_until(step, LIMIT, Progress::Silent, || {
        seen = [ours.last(), theirs.last()];
        Ok((seen[0] == seen[1] && wanted(&seen[0])).then_some(()))
    });
    scenario.must(&format!("{step}: {:#?}\n{:#?}", seen[0], seen[1]), found);
    [ours.written(), theirs.written()]
}

/// Whether the connector's and all tasks' states are this one, and there are so many tasks.
fn all(state: &'static str, tasks: usize) -> impl Fn(&Last) -> bool {
    move |last| {
        let states = last.iter().filter(|(key, (_, value))| key.starts_with("status-") && !value.is_null());
        let states: Vec<&Value> = states.map(|(_, (_, value))| value).collect();
        let is_it = |value: &&Value| {
            value.as_str().is_some_and(|it| it.starts_with(&format!(r#"{{"state":"{state}""#)))
        };
        states.len() == tasks + 1 && states.iter().all(is_it)
    }
}

/// Waits until nothing is left to write.
fn wait_in_step(scenario: &Scenario) {
    let found = wait_until("the topics to be in step", LIMIT, Progress::Silent, || {
        let metrics = scenario.copyist.metrics()?;
        Ok(metrics.lines().any(|line| line == "copyist_storage_topics_behind 0").then_some(()))
    });
    scenario.must("behind 0", found);
}

fn config(tasks_max: &str) -> Value {
    scenario::config(&[("topic.whitelist", "scribed"), ("tasks.max", tasks_max), ("name", "c")])
}

#[test]
fn both_topics_tell_a_connectors_life_as_connect_does_and_connect_goes_on_from_there() {
    source().create_topic("scribed", 2).expect("created");
    source().produce(&numbered("scribed", 2, "s", 10)).expect("produced");
    let bootstrap = suite::pair().1.bootstrap();
    let mut connect = suite::must("Connect", ConnectWorker::launch(suite::jars(), &bootstrap, THEIRS, &[]));
    let compact = [("cleanup.policy", "compact")];
    for (topic, partitions) in [("config", 1), ("status", 5)] {
        let created = destination().create_topic_with(&format!("{OURS}-{topic}"), partitions, 1, &compact);
        created.expect("created");
    }
    let foreign = FOREIGN.map(|(topic, key, value)| Rec {
        partition: None,
        ..Rec::new(&format!("{OURS}-{topic}"), 0).key(key).value(value)
    });
    destination().produce(&foreign).expect("produced");
    let mut scenario = Scenario::start(OURS);
    suite::must("Connect", connect.wait_started());
    live(&mut scenario, &connect);
    drop(connect);
    for (topic, key, value) in FOREIGN {
        let records = destination().dump(&format!("{OURS}-{topic}")).expect("read");
        let of_key = records.iter().filter(|record| text(record.key.as_ref()) == key);
        let values: Vec<String> = of_key.map(|record| text(record.value.as_ref())).collect();
        assert_eq!(values, [value], "{key}");
    }
    leave(scenario, &bootstrap);
}

/// Something that is done on both, and what it leads to.
struct Step {
    call: (Method, &'static str),
    /// Of the connector and of so many tasks.
    state: &'static str,
    tasks: usize,
    /// What is written to the config topic, in this order.
    keys: &'static [&'static str],
}

const ALL_TASKS: [&str; 4] = ["target-state-c", "task-c-0", "task-c-1", "commit-c"];

fn steps() -> [Step; 4] {
    let step = |path, state, tasks, keys| Step { call: (Method::PUT, path), state, tasks, keys };
    [
        step("/connectors/c/pause", "PAUSED", 2, &["target-state-c"]),
        step("/connectors/c/resume", "RUNNING", 2, &["target-state-c"]),
        step("/connectors/c/stop", "STOPPED", 0, &["commit-c", "target-state-c"]),
        step("/connectors/c/resume", "RUNNING", 2, &ALL_TASKS),
    ]
}

fn keys(written: &[(String, Value)]) -> Vec<&str> {
    written.iter().map(|(key, _)| key.as_str()).collect()
}

/// Waits until the process that came up last is the scribe; from then on it knows how far behind the topics are.
fn kill_and_restart(scenario: &mut Scenario) {
    let duties = |log: &str| log.matches("this agent is the scribe: ").count();
    scenario.copyist.kill_9();
    let before = duties(&scenario.must("a log", scenario.copyist.log_text()));
    let restarted = scenario.copyist.restart();
    scenario.must("started", restarted);
    let begun = wait_until("a scribe", LIMIT, Progress::Silent, || {
        Ok((duties(&scenario.copyist.log_text()?) > before).then_some(()))
    });
    scenario.must("a scribe", begun);
}

/// What happens to a connector, on both.
fn live(scenario: &mut Scenario, connect: &ConnectWorker) {
    let rest = scenario.copyist.rest().clone();
    let mut ours = Life { group: OURS, rest: &rest, looked_at: 0 };
    let mut theirs = Life { group: THEIRS, rest: connect.rest(), looked_at: 0 };
    let both = |ours: &Life<'_>, theirs: &Life<'_>, method: Method, path: &str, body: Option<&Value>| {
        for life in [ours, theirs] {
            life.call(method.clone(), path, body);
        }
    };
    let body = json!({"name": "c", "config": config("2")});
    both(&ours, &theirs, Method::POST, "/connectors", Some(&body));
    let [by_us, by_them] = wait_same(scenario, &mut ours, &mut theirs, "a create", all("RUNNING", 2));
    assert_eq!(by_us, by_them, "a create");
    assert_eq!(keys(&by_us), ["connector-c", "task-c-0", "task-c-1", "commit-c"]);
    for Step { call: (method, path), state, tasks, keys: expected } in steps() {
        both(&ours, &theirs, method, path, None);
        let [by_us, by_them] = wait_same(scenario, &mut ours, &mut theirs, path, all(state, tasks));
        assert_eq!(by_us, by_them, "{path}");
        assert_eq!(keys(&by_us), expected, "{path}");
        if state == "PAUSED" {
            // It finds all as it was, and writes nothing.
            kill_and_restart(scenario);
            scenario.wait_all("c", state, tasks);
            wait_in_step(scenario);
            let written = wait_same(scenario, &mut ours, &mut theirs, "kill -9", all(state, tasks));
            assert_eq!(written, [vec![], vec![]]);
        }
    }
    ours.wait_topic(scenario, true);
    // Killed before it could write what it has answered: the next one does.
    both(&ours, &theirs, Method::PUT, "/connectors/c/config", Some(&config("1")));
    kill_and_restart(scenario);
    let [mut by_us, by_them] = wait_same(scenario, &mut ours, &mut theirs, "a config", all("RUNNING", 1));
    by_us.retain(|(_, value)| value != r#"{"tasks":0}"#);
    assert_eq!(by_us, by_them, "a config");
    both(&ours, &theirs, Method::POST, "/connectors/c/restart?includeTasks=true&onlyFailed=false", None);
    let [by_us, by_them] = wait_same(scenario, &mut ours, &mut theirs, "a restart", all("RUNNING", 1));
    assert_eq!((by_us.len(), by_them.len()), (0, 0), "a restart");
    both(&ours, &theirs, Method::DELETE, "/connectors/c", None);
    kill_and_restart(scenario);
    let stays = |key: &str| key.starts_with("task-c-") || key == "commit-c";
    let is_over = |last: &Last| last.iter().all(|(key, (_, value))| value.is_null() || stays(key));
    let [by_us, by_them] = wait_same(scenario, &mut ours, &mut theirs, "a delete", is_over);
    assert_eq!(by_us, by_them, "a delete");
    assert_eq!(by_us, ["connector-c", "target-state-c"].map(|key| (key.to_owned(), Value::Null)));
    ours.wait_topic(scenario, false);
    for record in records(OURS, "config") {
        assert_eq!(record.headers.len(), usize::from(record.value.is_some()), "{record:?}");
    }
}

/// Copyist ends, and Connect goes on with its topics.
fn leave(mut scenario: Scenario, bootstrap: &str) {
    scenario.create("c", &config("2"));
    scenario.wait_running("c", 2);
    let config = scenario.get("/connectors/c/config");
    wait_in_step(&scenario);
    let stopped = scenario.copyist.stop();
    scenario.must("stopped", stopped);
    let mut connect = suite::must("Connect", ConnectWorker::launch(suite::jars(), bootstrap, OURS, &[]));
    suite::must("Connect", connect.wait_started());
    let rest = connect.rest();
    let get = |path: &str| rest.get(path).expect("an answer").1;
    let mut names = get("/connectors");
    names.as_array_mut().expect("names").sort_by_key(ToString::to_string);
    assert_eq!(names, json!(["c", "foreign"]));
    assert_eq!(get("/connectors/c/config"), config);
    let mut status = Value::Null;
    let found = wait_until("Connect to run the connector", LIMIT, Progress::Silent, || {
        status = rest.get("/connectors/c/status")?.1;
        let states = scenario::task_states(&status);
        let all_run = scenario::connector_state(&status) == "RUNNING" && states == ["RUNNING", "RUNNING"];
        Ok(all_run.then_some(()))
    });
    suite::must(&format!("{status:#}{}", LogTail::read(&connect.log_path())), found);
    let log = connect.log_text().expect("a log");
    let complaints = log.lines().filter(|line| {
        line.contains("BackingStore") && (line.contains(" ERROR ") || line.contains(" WARN "))
    });
    assert_eq!(complaints.collect::<Vec<_>>(), Vec::<&str>::new());
}

const FLEET: &str = "scribe-fleet";

/// The agents that have said, as their last word on it, that they are the scribe.
fn scribes(fleet: &Fleet) -> Vec<usize> {
    let is_it = |log: &str| {
        let words = log.lines().rev().filter_map(|line| line.split_once("this agent is the scribe"));
        words.map(|(_, rest)| !rest.starts_with(" no more")).next().unwrap_or_default()
    };
    let logs = fleet.agents.iter().map(|agent| agent.log_text().unwrap_or_default());
    logs.enumerate().filter(|(_, log)| is_it(log)).map(|(number, _)| number).collect()
}

/// The last values of the connectors' records, by name.
fn connectors() -> BTreeMap<String, bool> {
    let records = destination().dump(&format!("{FLEET}-configs")).expect("read");
    let named = records.iter().filter_map(|record| {
        let key = text(record.key.as_ref());
        Some((key.strip_prefix("connector-")?.to_owned(), record.value.is_some()))
    });
    named.collect()
}

#[test]
fn another_agent_goes_on_where_the_scribe_died_and_another_leader_names_one() {
    let etcd = suite::must("etcd", Etcd::start(EtcdOptions::named(&format!("{FLEET}-etcd"))));
    let options = FleetOptions { coordinators: 2, agents: 2, gateways: 1, ..FleetOptions::named(FLEET) };
    let mut fleet = suite::must("a fleet", Fleet::start(&etcd, &suite::pair().1.bootstrap(), &options));
    for name in ["a", "b", "c"] {
        let config = scenario::config(&[("topic.whitelist", "scribed")]);
        let body = json!({"name": name, "config": config, "initial_state": "STOPPED"});
        let (status, answer) = suite::must("an answer", fleet.rest(0).post("/connectors", &body));
        assert_eq!(status, 201, "{answer}");
    }
    let wait = |fleet: &Fleet, wanted: [(&str, bool); 3]| {
        let wanted = wanted.map(|(name, is_there)| (name.to_owned(), is_there)).into();
        let what = format!("the records {wanted:?}");
        let found = fleet.wait(&what, || Ok((connectors() == wanted).then_some(())));
        suite::must(&format!("{what}{}", fleet.tails()), found);
    };
    wait(&fleet, [("a", true), ("b", true), ("c", true)]);
    let of_first = scribes(&fleet);
    let [scribe] = of_first[..] else { panic!("scribes {of_first:?}{}", fleet.tails()) };
    // In the moment of a delete there is none.
    fleet.agents[scribe].kill_9();
    let delete = |fleet: &Fleet, name: &str| {
        let (status, answer) = suite::must("an answer", fleet.rest(0).delete(&format!("/connectors/{name}")));
        assert_eq!(status, 204, "{answer}");
    };
    delete(&fleet, "a");
    wait(&fleet, [("a", false), ("b", true), ("c", true)]);
    assert!(scribes(&fleet).contains(&(1 - scribe)), "{}", fleet.tails());
    let leader = suite::must("a leader", fleet.wait_leader());
    delete(&fleet, "b");
    fleet.coordinators[leader].kill_9();
    wait(&fleet, [("a", false), ("b", false), ("c", true)]);
}

const LOST: &str = "scribe-lost";

#[test]
fn a_topic_that_is_lost_disturbs_no_copy_and_is_filled_again_once_it_is_back() {
    source().create_topic("unscribed", 1).expect("created");
    let mut scenario = Scenario::start(LOST);
    let config = scenario::config(&[("topic.whitelist", "unscribed")]);
    scenario.create("c", &config);
    scenario.wait_running("c", 1);
    wait_in_step(&scenario);
    let topic = format!("{LOST}-config");
    destination().delete_topic(&topic).expect("deleted");
    let put = |what: &str| scenario.copyist.rest().call(Method::PUT, &format!("/connectors/c/{what}"), None);
    scenario.expect(202, put("pause"));
    scenario.wait_all("c", "PAUSED", 1);
    let line = scenario.wait_logged(&["WARN", "the storage topics may be behind the store", &topic]);
    println!("{line}");
    let metrics = scenario.must("metrics", scenario.copyist.metrics());
    assert!(!metrics.contains("copyist_storage_topics_behind 0"), "{metrics}");
    scenario.expect(202, put("resume"));
    source().produce(&numbered("unscribed", 1, "u", 100)).expect("produced");
    scenario.wait_copied("unscribed", "unscribed", 100);
    destination().create_topic_with(&topic, 1, 1, &[("cleanup.policy", "compact")]).expect("created");
    let mut seen = Vec::new();
    let filled = wait_until("the topic to be filled", LIMIT, Progress::Silent, || {
        seen = destination().dump(&topic)?;
        Ok((seen.len() >= 3).then_some(()))
    });
    scenario.must(&format!("{seen:?}"), filled);
    let keys: Vec<String> = seen.iter().map(|record| text(record.key.as_ref())).collect();
    assert_eq!(keys, ["connector-c", "task-c-0", "commit-c"]);
    wait_in_step(&scenario);
    let stopped = scenario.copyist.stop();
    assert!(scenario.must("stopped", stopped).success());
}

const RESTORED: &str = "scribe-restored";

/// The last values of a topic's records, by key.
fn last_values(topic: &str) -> BTreeMap<String, bool> {
    let records = destination().dump(topic).expect("read");
    records.iter().map(|record| (text(record.key.as_ref()), record.value.is_some())).collect()
}

/// Waits until the last values under these keys are there, or are tombstones. (In step is a scribe also when it has not
/// heard of the latest change.)
fn wait_last(scenario: &Scenario, topic: &str, wanted: &[(&str, bool)]) -> BTreeMap<String, bool> {
    let mut last = BTreeMap::new();
    let found = wait_until("the records", LIMIT, Progress::Silent, || {
        last = last_values(topic);
        Ok(wanted.iter().all(|(key, is_there)| last.get(*key) == Some(is_there)).then_some(()))
    });
    scenario.must(&format!("{wanted:?}: {last:?}"), found);
    last
}

#[test]
fn what_a_restored_store_has_lost_stays_in_the_topics() {
    let mut scenario = Scenario::start(RESTORED);
    let topic = format!("{RESTORED}-config");
    let create = |scenario: &Scenario, name: &str| {
        let config = scenario::config(&[("topic.whitelist", "scribed")]);
        let body = json!({"name": name, "config": config, "initial_state": "STOPPED"});
        scenario.expect(201, scenario.copyist.rest().post("/connectors", &body));
    };
    create(&scenario, "kept");
    wait_last(&scenario, &topic, &[("connector-kept", true)]);
    scenario.copyist.kill_9();
    let store = scenario.copyist.store_path();
    let copy = store.with_extension("copy");
    std::fs::copy(&store, &copy).expect("copied");
    let restarted = scenario.copyist.restart();
    scenario.must("started", restarted);
    create(&scenario, "lost");
    create(&scenario, "deleted");
    let delete = |scenario: &Scenario, name: &str| {
        scenario.expect(204, scenario.copyist.rest().delete(&format!("/connectors/{name}")));
    };
    delete(&scenario, "deleted");
    wait_last(&scenario, &topic, &[("target-state-lost", true), ("connector-lost", true)]);

    // No agent shows that there was a newer store: what is stopped runs nowhere.
    scenario.copyist.kill_9();
    std::fs::rename(&copy, &store).expect("restored");
    let restarted = scenario.copyist.restart();
    scenario.must("started", restarted);
    assert_eq!(scenario.get("/connectors"), json!(["kept"]));
    delete(&scenario, "kept");
    create(&scenario, "new");
    let last = wait_last(&scenario, &topic, &[("connector-kept", false), ("connector-new", true)]);
    assert!(last["connector-lost"] && last["target-state-lost"], "{last:?}");
    wait_in_step(&scenario);
}

#[test]
fn a_topic_of_configs_with_several_partitions_is_refused_and_disturbs_no_copy() {
    let name = "scribe-partitions";
    source().create_topic("partitioned", 1).expect("created");
    let topic = format!("{name}-config");
    destination().create_topic_with(&topic, 3, 1, &[("cleanup.policy", "compact")]).expect("created");
    let scenario = Scenario::start(name);
    scenario.create("c", &scenario::config(&[("topic.whitelist", "partitioned")]));
    scenario.wait_running("c", 1);
    source().produce(&numbered("partitioned", 1, "p", 100)).expect("produced");
    scenario.wait_copied("partitioned", "partitioned", 100);
    let line = scenario.wait_logged(&["WARN", &topic, "must have a single partition", "has 3"]);
    println!("{line}");
    assert_eq!(last_values(&topic), BTreeMap::new());
}

#[test]
fn a_record_that_is_refused_keeps_nothing_else_away() {
    let name = "scribe-refused";
    source().create_topic("refused", 1).expect("created");
    let topic = format!("{name}-config");
    let configs = [("cleanup.policy", "compact"), ("max.message.bytes", "20000")];
    destination().create_topic_with(&topic, 1, 1, &configs).expect("created");
    let scenario = Scenario::start(name);
    let long = "x".repeat(30_000);
    scenario.create("a-large-one", &scenario::config(&[("topic.whitelist", "refused"), ("note", &long)]));
    scenario.create(
        "small",
        &scenario::config(&[("topic.whitelist", "refused"), ("topic.rename.format", "${topic}.2")]),
    );
    scenario.wait_running("a-large-one", 1);
    scenario.wait_running("small", 1);
    let line = scenario.wait_logged(&["WARN", "left out", "connector-a-large-one", "MessageTooLarge"]);
    println!("{line}");
    let mut last = [BTreeMap::new(), BTreeMap::new()];
    let found = wait_until("the other records", LIMIT, Progress::Silent, || {
        last = [last_values(&topic), last_values(&format!("{name}-status"))];
        let states = ["status-connector-a-large-one", "status-connector-small", "status-task-small-0"];
        let is_there =
            last[0].contains_key("commit-small") && states.iter().all(|key| last[1].contains_key(*key));
        Ok(is_there.then_some(()))
    });
    scenario.must(&format!("{last:?}"), found);
    assert!(!last[0].contains_key("connector-a-large-one"), "{last:?}");
    let metrics = scenario.must("metrics", scenario.copyist.metrics());
    assert!(!metrics.contains("copyist_storage_topics_behind 0"), "it is behind: {metrics}");
}
