//! Offsets by REST, with effect: where a lane goes on, what it writes again by intent, what it leaves out; a reader that
//! is not ours counts.
#![expect(clippy::single_range_in_vec_init, reason = "parts of a partition, of which there may be one")]
#![expect(clippy::expect_used, reason = "a test whose step fails has failed, and says why")]

use std::collections::BTreeMap;

use copyist_tests::grpc::Grpc;
use copyist_tests::parts::{self, Parts};
use copyist_tests::scenario::{self, LIMIT, connector_state, destination, numbered, source};
use copyist_tests::{Progress, Scenario, Side, suite, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

const PARTITIONS: i32 = 3;
/// Of each partition, in each of the rounds in which they are produced.
const ROUND: usize = 60;

/// A source topic, and a connector that copies it into one of the same name.
struct Copy<'s> {
    scenario: &'s mut Scenario,
    topic: &'s str,
    rounds: usize,
}

impl<'s> Copy<'s> {
    fn create(scenario: &'s mut Scenario, topic: &'s str, pairs: &[(&str, &str)]) -> Self {
        source().create_topic(topic, PARTITIONS.unsigned_abs()).expect("created");
        let pairs: Vec<_> = pairs.iter().copied().chain([("topic.whitelist", topic)]).collect();
        scenario.create(topic, &scenario::config(&pairs));
        Self { scenario, topic, rounds: 0 }
    }

    /// The next records of each partition.
    fn produce(&mut self) {
        let tag = format!("round {}", self.rounds);
        let count = ROUND * PARTITIONS.unsigned_abs() as usize;
        source().produce(&numbered(self.topic, PARTITIONS, &tag, count)).expect("produced");
        self.rounds += 1;
    }

    fn put(&self, action: &str, status: u16) {
        let path = format!("/connectors/{}/{action}", self.topic);
        let answer = self.scenario.copyist.rest().call(Method::PUT, &path, None);
        self.scenario.expect(status, answer);
    }

    fn path(&self) -> String {
        format!("/connectors/{}/offsets", self.topic)
    }

    /// By partition, as they are shown.
    fn offsets(&self) -> BTreeMap<i64, Value> {
        let shown = self.scenario.get(&self.path());
        let entries = shown["offsets"].as_array().expect("an array").iter();
        entries
            .map(|entry| {
                assert_eq!(entry["partition"]["topic"], self.topic, "{entry}");
                (entry["partition"]["partition"].as_i64().expect("a number"), entry["offset"].clone())
            })
            .collect()
    }

    /// The last offset copied of each partition, as they are shown once they are `wanted`.
    fn wait_offsets(&self, wanted: &[i64]) {
        let mut shown = Vec::new();
        let found = wait_until("the offsets", LIMIT, Progress::Silent, || {
            shown = self.offsets().values().filter_map(|offset| offset["offset"].as_i64()).collect();
            Ok((shown == wanted).then_some(()))
        });
        self.scenario.must(&format!("offsets {wanted:?}, shown are {shown:?}"), found);
    }

    fn partition(&self, number: i64) -> Value {
        parts::partition_of(suite::pair().0.cluster_id(), self.topic, number)
    }

    /// `last`: the last offset copied; nothing: none.
    fn alter(&self, offsets: &[(i64, Option<i64>)]) -> String {
        let body = parts::offsets(suite::pair().0.cluster_id(), self.topic, offsets);
        let answer = self.scenario.copyist.rest().call(Method::PATCH, &self.path(), Some(&body));
        self.scenario.expect(200, answer)["message"].as_str().expect("a message").to_owned()
    }

    fn trace(&self) -> String {
        let status = self.scenario.get(&format!("/connectors/{}/status", self.topic));
        status["connector"]["trace"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until each partition of the destination holds these parts of the source's, and nothing else.
    fn wait_parts(&self, parts: &Parts<'_>) {
        let (from, to) = (source(), destination());
        self.scenario.wait_records(&to, self.topic, parts::records(parts));
        let side = |at| Side { at, topic: self.topic };
        parts::assert_holds(side(&to), side(&from), parts);
    }
}

#[test]
fn from_an_altered_offset_each_record_is_copied_once_whatever_happens() {
    let mut scenario = Scenario::start("offsets-altered");
    let mut copy = Copy::create(&mut scenario, "altered", &[]);
    copy.produce();
    copy.wait_parts(&[&[0..60], &[0..60], &[0..60]]);
    copy.put("stop", 204);
    copy.wait_offsets(&[59, 59, 59]);
    copy.produce();

    // Rewound, begun anew, and moved forward.
    let told = copy.alter(&[(0, Some(19)), (1, None), (2, Some(99))]);
    let expected = "offsets were changed: altered-0 writes offsets 20 to 59 again; altered-1 begins anew (it was \
                    copied up to offset 59); altered-2 leaves out offsets 60 to 99; in all 40 offsets are written again";
    assert_eq!(told, format!("The offsets for this connector have been altered successfully. {expected}"));
    assert_eq!(copy.trace(), expected, "before it has happened");
    let shown = copy.offsets();
    assert_eq!(shown.keys().copied().collect::<Vec<_>>(), [0, 2], "{shown:?}");
    assert_eq!(shown[&0], json!({"offset": 19}), "what made it exact is gone: a new generation begins");

    copy.scenario.copyist.kill_9();
    copy.scenario.copyist.restart().expect("restarted");
    copy.scenario.wait_status("altered", "STOPPED", |status| connector_state(status) == "STOPPED");
    assert_eq!(copy.trace(), expected);
    copy.put("resume", 202);
    copy.scenario.wait_running("altered", 3);
    copy.scenario.copyist.kill_9();
    copy.produce();
    copy.scenario.copyist.restart().expect("restarted");
    copy.wait_parts(&[&[0..60, 20..180], &[0..60, 0..180], &[0..60, 100..180]]);

    copy.scenario.wait_running("altered", 3);
    assert!(copy.trace().ends_with(expected), "after it has happened: {}", copy.trace());
    let restart = copy.scenario.copyist.rest().call(Method::POST, "/connectors/altered/restart", None);
    copy.scenario.expect(204, restart);
    assert!(!copy.trace().contains("offsets were changed"), "{}", copy.trace());
    copy.put("stop", 204);
    copy.wait_offsets(&[179, 179, 179]);
}

#[test]
fn a_change_that_is_sent_again_is_told_again_and_not_made_again() {
    let mut scenario = Scenario::start("offsets-repeated");
    let mut copy = Copy::create(&mut scenario, "repeated", &[]);
    copy.produce();
    copy.wait_parts(&[&[0..60], &[0..60], &[0..60]]);
    copy.put("stop", 204);
    copy.wait_offsets(&[59, 59, 59]);
    let partition = copy.partition(0).to_string();
    let offsets = json!([{"partition_json": partition, "offset_json": r#"{"offset": 39}"#}]);
    let request = json!({"name": "repeated", "offsets": offsets, "request_id": "the same"});
    let grpc = Grpc::at(&copy.scenario.copyist.grpc_address());
    let ask = || grpc.ask("ConnectorService/AlterOffsets", &request).expect("an answer");
    let told = ask();
    assert!(told["message"].as_str().is_some_and(|it| it.contains("offsets 40 to 59 again")), "{told}");
    assert_eq!(ask(), told);
    copy.put("resume", 202);
    copy.wait_parts(&[&[0..60, 40..60], &[0..60], &[0..60]]);
    assert_eq!(ask(), told, "though it runs");
    copy.put("stop", 204);
    copy.wait_offsets(&[59, 59, 59]);
}

#[test]
fn what_was_altered_before_a_connector_was_made_anew_is_copied_once() {
    let mut scenario = Scenario::start("offsets-anew");
    let mut copy = Copy::create(&mut scenario, "anew", &[]);
    copy.produce();
    copy.wait_parts(&[&[0..60], &[0..60], &[0..60]]);
    // A second generation.
    copy.put("stop", 204);
    copy.alter(&[(0, Some(29)), (1, Some(29)), (2, Some(29))]);
    copy.put("resume", 202);
    let twice = [0..60, 30..60];
    copy.wait_parts(&[&twice, &twice, &twice]);
    copy.put("stop", 204);
    let deleted = copy.scenario.copyist.rest().delete("/connectors/anew");
    copy.scenario.expect(204, deleted);
    // Its lane records are gone, its positions are not.
    let config = scenario::config(&[("topic.whitelist", "anew")]);
    let body = json!({"name": "anew", "config": config, "initial_state": "STOPPED"});
    let created = copy.scenario.copyist.rest().post("/connectors", &body);
    copy.scenario.expect(201, created);
    copy.wait_offsets(&[59, 59, 59]);
    copy.alter(&[(0, Some(49)), (1, Some(49)), (2, Some(49))]);
    copy.put("resume", 202);
    let thrice = [0..60, 30..60, 50..60];
    copy.wait_parts(&[&thrice, &thrice, &thrice]);
    copy.put("stop", 204);
    copy.wait_offsets(&[59, 59, 59]);
    copy.scenario.copyist.kill_9();
    copy.produce();
    copy.scenario.copyist.restart().expect("restarted");
    copy.put("resume", 202);
    let then = [0..60, 30..60, 50..60, 60..120];
    copy.wait_parts(&[&then, &then, &then]);
}

#[test]
fn a_reset_begins_anew_by_the_reset_key() {
    let mut scenario = Scenario::start("offsets-reset");
    let mut copy = Copy::create(&mut scenario, "reset", &[("tasks.max", "1")]);
    copy.produce();
    copy.wait_parts(&[&[0..60], &[0..60], &[0..60]]);
    copy.put("stop", 204);
    let reset = |copy: &Copy<'_>| {
        let answer = copy.scenario.copyist.rest().delete(&copy.path());
        copy.scenario.expect(200, answer)["message"].as_str().expect("a message").to_owned()
    };
    let told = reset(&copy);
    assert!(told.starts_with("The offsets for this connector have been reset successfully. "), "{told}");
    assert!(told.contains("reset-2 begins anew (it was copied up to offset 59)"), "{told}");
    assert_eq!(copy.offsets(), BTreeMap::new());
    assert_eq!(reset(&copy), "The offsets for this connector have been reset successfully");
    copy.put("resume", 202);
    copy.wait_parts(&[&[0..60, 0..60], &[0..60, 0..60], &[0..60, 0..60]]);

    // Now from the end: what came meanwhile is not copied.
    copy.put("stop", 204);
    reset(&copy);
    let path = "/connectors/reset/config";
    let latest = json!({"src.kafka.auto.offset.reset": "latest"});
    let patched = copy.scenario.copyist.rest().call(Method::PATCH, path, Some(&latest));
    copy.scenario.expect(200, patched);
    copy.produce();
    copy.put("resume", 202);
    copy.scenario.wait_running("reset", 1);
    copy.wait_offsets(&[119, 119, 119]);
    copy.produce();
    let twice = [0..60, 0..60, 120..180];
    copy.wait_parts(&[&twice, &twice, &twice]);
}

#[test]
fn the_compatibility_engine_goes_on_from_an_altered_offset_too() {
    let mut scenario = Scenario::start("offsets-librdkafka");
    let mut copy = Copy::create(&mut scenario, "by-librdkafka", &[("engine", "librdkafka")]);
    copy.produce();
    copy.wait_parts(&[&[0..60], &[0..60], &[0..60]]);
    copy.put("stop", 204);
    copy.wait_offsets(&[59, 59, 59]);
    copy.alter(&[(0, Some(-1)), (1, Some(29)), (2, None)]);
    copy.put("resume", 202);
    copy.wait_parts(&[&[0..60, 0..60], &[0..60, 30..60], &[0..60, 0..60]]);
}

#[test]
fn offsets_that_cannot_be_changed_are_refused_with_the_reason() {
    let mut scenario = Scenario::start("offsets-refused");
    let copy = Copy::create(&mut scenario, "refused", &[]);
    let (rest, path) = (copy.scenario.copyist.rest(), copy.path());
    copy.scenario.wait_running("refused", 3);
    let patch = |path: &str, body: &Value| rest.call(Method::PATCH, path, Some(body)).expect("an answer");
    let one = |partition: Value| json!({"offsets": [{"partition": partition, "offset": {"offset": 5}}]});
    let none = "Partitions / offsets need to be provided for an alter offsets request";
    let not_stopped = "Connectors must be in the STOPPED state before their offsets can be modified. This can be done \
                       for the specified connector by issuing a 'PUT' request to the '/connectors/refused/stop' endpoint";
    let refused = |answer: (u16, Value), status: u16, message: &str| {
        assert_eq!(answer.0, status, "{}", answer.1);
        assert_eq!(answer.1, json!({"error_code": status, "message": message}));
    };
    refused(patch("/connectors/nobody/offsets", &json!({"offsets": []})), 400, none);
    refused(patch("/connectors/nobody/offsets", &one(Value::Null)), 404, "Connector nobody not found");
    refused(rest.delete("/connectors/nobody/offsets").expect("an answer"), 404, "Connector nobody not found");
    refused(rest.get("/connectors/nobody/offsets").expect("an answer"), 404, "Connector nobody not found");
    refused(patch(&path, &one(Value::Null)), 400, not_stopped);
    refused(rest.delete(&path).expect("an answer"), 400, not_stopped);
    copy.put("pause", 202);
    copy.scenario.wait_all("refused", "PAUSED", 3);
    refused(patch(&path, &one(Value::Null)), 400, not_stopped);
    copy.put("stop", 204);
    refused(patch(&path, &one(Value::Null)), 400, "Partition objects cannot be null");
    let elsewhere = json!({"cluster": "x", "partition": 0, "topic": "refused"});
    let (status, body) = patch(&path, &one(elsewhere));
    let told = body["message"].as_str().unwrap_or_default();
    assert!(status == 400 && told.contains("copies from cluster"), "{status} {body}");
    let mut unselected = copy.partition(0);
    unselected["topic"] = json!("another");
    let (status, body) = patch(&path, &one(unselected));
    let told = body["message"].as_str().unwrap_or_default();
    assert!(status == 400 && told.contains("does not select topic another"), "{status} {body}");
}

#[test]
fn topics_are_active_once_something_was_copied_and_again_after_a_reset() {
    let mut scenario = Scenario::start_with(
        "offsets-topics",
        &suite::pair().1.bootstrap(),
        &[("offset.flush.interval.ms", "500")],
    );
    source().create_topic("idle", 1).expect("created");
    let pairs = [("topic.regex", "busy|idle"), ("topic.rename.format", "${topic}.active")];
    let mut copy = Copy::create(&mut scenario, "busy", &pairs);
    let topics = |copy: &Copy<'_>| copy.scenario.get("/connectors/busy/topics");
    let wait = |copy: &Copy<'_>, wanted: &Value| {
        let found = wait_until("active topics", LIMIT, Progress::Silent, || {
            Ok((topics(copy) == *wanted).then_some(()))
        });
        copy.scenario.must(&format!("{wanted}, not {}", topics(copy)), found);
    };
    copy.scenario.wait_running("busy", 4);
    let (none, busy) = (json!({"busy": {"topics": []}}), json!({"busy": {"topics": ["busy.active"]}}));
    assert_eq!(topics(&copy), none);
    copy.produce();
    wait(&copy, &busy);
    copy.put("topics/reset", 202);
    assert_eq!(topics(&copy), none);
    copy.scenario.copyist.kill_9();
    copy.scenario.copyist.restart().expect("restarted");
    copy.scenario.wait_running("busy", 4);
    assert_eq!(topics(&copy), none, "the reset is stored");
    copy.produce();
    wait(&copy, &busy);
    assert_eq!(copy.scenario.get("/connectors/nobody/topics"), json!({"nobody": {"topics": []}}));
    let reset = copy.scenario.copyist.rest().call(Method::PUT, "/connectors/nobody/topics/reset", None);
    copy.scenario.expect(202, reset);
    // They go with their connector, though its positions stay.
    copy.put("stop", 204);
    let deleted = copy.scenario.copyist.rest().delete("/connectors/busy");
    copy.scenario.expect(204, deleted);
    copy.scenario.create("busy", &scenario::config(&pairs));
    copy.scenario.wait_running("busy", 4);
    assert_eq!(topics(&copy), none);
    copy.produce();
    wait(&copy, &busy);
}
