//! What users get wrong: each ends in one clear message that names what is wrong, where, and what would be right.
#![expect(clippy::expect_used, clippy::panic, reason = "a test whose step fails has failed, and says why")]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use copyist_tests::scenario::{self, connector_state, source};
use copyist_tests::{Copyist, CopyistOptions, Rec, Scenario, Scratch, free_port};
use reqwest::Method;
use serde_json::{Value, json};

/// Nobody listens there: nothing of a test waits for it.
const NOWHERE: &str = "127.0.0.1:1";

fn assert_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

fn error_of(answer: &Value) -> (u64, &str) {
    let message = answer["message"].as_str().unwrap_or_default();
    (answer["error_code"].as_u64().unwrap_or_default(), message)
}

fn trace_of(status: &Value) -> &str {
    status["connector"]["trace"].as_str().unwrap_or_default()
}

#[test]
fn requests_are_refused_with_all_that_is_wrong_and_leave_nothing() {
    let scenario = Scenario::start_with("refused", NOWHERE, &[]);
    let rest = scenario.copyist.rest();
    let class = "EMRReplicatorSourceConnector";
    let whole =
        json!({"connector.class": class, "src.kafka.bootstrap.servers": NOWHERE, "topic.whitelist": "t"});
    let with = |pairs: &[(&str, &str)]| {
        let mut config = whole.clone();
        pairs.iter().for_each(|(key, value)| config[*key] = json!(value));
        json!({"name": "c", "config": config}).to_string()
    };
    let many = with(&[
        ("tasks.max", "zero"),
        ("key.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("src.kafka.bootstrap.servers", "broker"),
        ("topic.whitelist", "good,two words,sl/ash"),
        ("topic.rename.format", "${tpoic}"),
        ("src.kafka.sasl.jaas.config", "hunter2"),
    ]);
    let rows: &[(&str, &[&str])] = &[
        ("{\"name\": \"c\",\n \"config\": {", &["not valid JSON", "line 2 column"]),
        ("[1]", &["JSON"]),
        (r#"{"name": "c", "config": {"connector.class": "NoSuchClass"}}"#, &["matches NoSuchClass", class]),
        (r#"{"name": "c", "config": {"topic.whitelist": "t"}}"#, &["contains no connector type"]),
        (
            &json!({"name": "c", "config": {"connector.class": class}}).to_string(),
            &["2 error(s)", "\"src.kafka.bootstrap.servers\"", "topic.whitelist", "topic.regex"],
        ),
        (
            &many,
            &[
                "Invalid value zero for configuration tasks.max",
                "key.converter: records are copied byte by byte",
                "entry \"broker\" has no port; write host:port",
                "topic name \"two words\" is not valid: only ASCII letters",
                "topic name \"sl/ash\" is not valid",
                "topic.rename.format: the only placeholder is ${topic}",
            ],
        ),
        (&with(&[("topic.regex", "a(b")]), &["1 error(s)", "topic.regex"]),
        (&with(&[("topic.rename.format", "re/plica")]), &["1 error(s)", "re/plica", "topic.rename.format"]),
        (&with(&[("topic.whitelist", &"x".repeat(250))]), &["1 error(s)", "249"]),
        (&with(&[("name", "d")]), &["(d) doesn't match connector name in the URL (c)"]),
    ];
    for (body, parts) in rows {
        let answer = scenario.expect(400, rest.call_raw(Method::POST, "/connectors", body));
        let (code, message) = error_of(&answer);
        assert_eq!(code, 400, "{body}: {answer}");
        assert_parts(message, parts);
        assert!(!message.contains("hunter2"), "{message}");
    }
    assert_eq!(scenario.get("/connectors"), json!([]));
    for path in ["/connectors/c", "/connectors/c/status", "/connectors/c/tasks"] {
        let answer = scenario.expect(404, rest.get(path));
        let (code, message) = error_of(&answer);
        assert!(code == 404 && message.contains('c'), "{path}: {answer}");
    }
    assert!(!scenario.must("the log", scenario.copyist.log_text()).contains("hunter2"));
}

#[test]
fn clusters_that_cannot_be_reached_are_named_with_the_reason() {
    // Bound and never accepted: connections get through and no answer comes.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mute = mute.local_addr().expect("bound").to_string();
    let scenario = Scenario::start_with("unreachable", NOWHERE, &[]);
    let http = scenario.copyist.rest().base().replace("http://", "");
    let rows = [
        ("closed", "127.0.0.1:2", "Connection refused"),
        ("http", &http, "does not speak Kafka's protocol"),
        ("mute", &mute, "no answer within"),
        ("unknown", "no-such-host.invalid:9092", "Failed to resolve"),
    ];
    for (name, servers, _) in rows {
        scenario.create(name, &with_source(servers));
    }
    for (name, servers, reason) in rows {
        let source = format!("the source cluster at {servers}");
        let status = scenario.wait_status(name, reason, |status| trace_of(status).contains(reason));
        assert_eq!(connector_state(&status), "UNASSIGNED", "{status}");
        // The destination is as unreachable, and named as well.
        assert_parts(trace_of(&status), &["waits for", &source, "the destination cluster at 127.0.0.1:1"]);
    }
    scenario.wait_logged(&["WARN", "the worker's cluster at 127.0.0.1:1", "Connection refused"]);
}

fn with_source(servers: &str) -> Value {
    json!({
        "connector.class": "EMRReplicatorSourceConnector",
        "src.kafka.bootstrap.servers": servers,
        "topic.whitelist": "t",
    })
}

#[test]
fn a_topic_name_that_kafka_refuses_fails_the_survey_with_kafkas_reason() {
    let (at_source, at_destination) = (source(), scenario::destination());
    let long = "l".repeat(240);
    for topic in ["col.lide", "goes.on", &long] {
        at_source.create_topic(topic, 1).expect("created");
    }
    at_destination.create_topic("col_lide", 1).expect("created");
    at_source.produce(&scenario::numbered("goes.on", 1, "on", 10)).expect("produced");
    let scenario = Scenario::start("names");
    // Kafka takes '.' and '_' for the same in metrics: it refuses a name that differs only there.
    scenario.create("collides", &scenario::config(&[("topic.whitelist", "col.lide")]));
    let refusal = ["the destination refuses to create col.lide", "differs only in '.' and '_'"];
    assert_parts(&scenario.wait_failed("collides"), &refusal);
    let format = [("topic.whitelist", long.as_str()), ("topic.rename.format", "${topic}.a-long-suffix")];
    scenario.create("too-long", &scenario::config(&format));
    assert_parts(&scenario.wait_failed("too-long"), &[&long, "249"]);
    // What is wrong with one topic holds no other up.
    scenario.create("both", &scenario::config(&[("topic.whitelist", "col.lide,goes.on")]));
    scenario.wait_copied("goes.on", "goes.on", 10);
    let named = |status: &Value| trace_of(status).contains(refusal[0]);
    scenario.wait_status("both", "the refused topic in its trace", named);
}

#[test]
fn a_record_too_large_for_the_destination_stops_its_lane_alone() {
    let (at_source, at_destination) = (source(), scenario::destination());
    let wide = [("max.message.bytes", "4000000")];
    at_source.create_topic_with("too-large", 2, 1, &wide).expect("created");
    // Kafka's own default: 1 MiB.
    at_destination.create_topic("too-large", 2).expect("created");
    let rec = |partition, value: Vec<u8>| Rec::new("too-large", partition).value(value);
    let large = vec![b'x'; 2_000_000];
    let records = [rec(0, vec![1]), rec(0, vec![2]), rec(0, large), rec(0, vec![3])];
    at_source.produce(&records).expect("produced");
    at_source.produce(&(0..50).map(|n| rec(1, vec![n])).collect::<Vec<_>>()).expect("produced");
    let scenario = Scenario::start("too-large");
    scenario.create("c", &scenario::config(&[("topic.whitelist", "too-large"), ("tasks.max", "1")]));
    let failed = |status: &Value| status["tasks"][0]["state"] == "FAILED";
    let status = scenario.wait_status("c", "a FAILED task", failed);
    let trace = status["tasks"][0]["trace"].as_str().unwrap_or_default();
    assert_parts(trace, &["too-large-0", "offset 2", "batch of 2000074 bytes", "destination"]);
    assert_eq!(connector_state(&status), "RUNNING", "{status}");
    scenario.wait_logged(&["WARN", "FAILED", "offset 2"]);
    // The other lane goes on, and what came before the record is there.
    at_source.produce(&(50..100).map(|n| rec(1, vec![n])).collect::<Vec<_>>()).expect("produced");
    scenario.wait_records(&at_destination, "too-large", 102);
    let ends = at_destination.end_offsets("too-large").expect("offsets");
    assert_eq!(ends, BTreeMap::from([(0, 2), (1, 100)]));
    // A human makes room, and restarts what has failed.
    at_destination.alter_topic_configs("too-large", &wide, &[]).expect("altered");
    let restarted = scenario.copyist.rest().call(Method::POST, "/connectors/c/tasks/0/restart", None);
    scenario.expect(204, restarted);
    scenario.wait_running("c", 1);
    scenario.wait_copied("too-large", "too-large", 104);
}

/// Starts what must end by itself; its exit status and what it printed.
fn refused(copyist: &mut Copyist) -> (i32, String) {
    copyist.launch().expect("launched");
    let (status, printed) = copyist.wait_exit().expect("it ends by itself");
    (status.code().unwrap_or_default(), printed)
}

fn prepare(properties: &[(&str, &str)], connectors: Vec<std::path::PathBuf>) -> Copyist {
    let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let options =
        CopyistOptions { properties: properties.collect(), connectors, ..CopyistOptions::default() };
    Copyist::prepare(NOWHERE, options).expect("prepared")
}

/// No line is a backtrace, and there are few.
fn assert_short(printed: &str) {
    assert!(printed.lines().count() <= 12, "{printed}");
    assert!(!printed.contains("panic") && !printed.contains("backtrace"), "{printed}");
}

#[test]
fn a_worker_file_is_refused_with_every_line_that_is_wrong() {
    let mut copyist = prepare(
        &[
            ("bootstrap.servers", "broker"),
            ("listeners", "https://:8443"),
            ("agent.lease.ttl.ms", "soon"),
            ("offset.storage.topic", "two words"),
            ("sasl.jaas.config", "hunter2"),
            ("metric.listen", "127.0.0.1:0"),
        ],
        Vec::new(),
    );
    let file = fs::read_to_string(copyist.worker_file()).expect("written");
    let line_of = |key: &str| {
        let line = file.lines().position(|line| line.starts_with(&format!("{key}="))).expect("in the file");
        format!("worker.properties:{}: ", line + 1)
    };
    let (code, printed) = refused(&mut copyist);
    assert_eq!(code, 2, "{printed}");
    assert_short(&printed);
    for (key, part) in [
        ("bootstrap.servers", "entry \"broker\" has no port; write host:port"),
        ("listeners", "https"),
        ("agent.lease.ttl.ms", "soon"),
        ("offset.storage.topic", "two words"),
    ] {
        let line = printed.lines().find(|line| line.contains(&line_of(key)) && line.contains("error: "));
        assert_parts(line.unwrap_or_else(|| panic!("{key} is not named: {printed}")), &[key, part]);
    }
    let typo = format!("warning: {}", copyist.dir().join("worker.properties").display());
    assert_parts(&printed, &[&typo, "unknown key metric.listen; did you mean metrics.listen?"]);
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn files_that_are_not_there_or_broken_end_the_start() {
    let scratch = Scratch::new("connector-files").expect("made");
    let (broken, missing) = (scratch.path().join("broken.json"), scratch.path().join("missing.json"));
    let refused_later = scratch.path().join("refused.json");
    fs::write(&broken, "{\"name\": \"c\",\n\"config\": [").expect("written");
    let (code, printed) = refused(&mut prepare(&[], vec![broken, missing]));
    assert_eq!(code, 2, "{printed}");
    assert_short(&printed);
    assert_parts(&printed, &["broken.json", "missing.json: cannot be read: No such file"]);

    fs::write(&refused_later, r#"{"name": "c", "config": {"connector.class": "NoSuchClass"}}"#)
        .expect("written");
    let (code, printed) = refused(&mut prepare(&[], vec![refused_later]));
    assert_eq!(code, 2, "{printed}");
    assert_parts(&printed, &["refused.json", "NoSuchClass"]);

    let mut no_worker_file = prepare(&[], Vec::new());
    fs::remove_file(no_worker_file.worker_file()).expect("removed");
    let (code, printed) = refused(&mut no_worker_file);
    assert_eq!(code, 2, "{printed}");
    assert_parts(&printed, &["worker.properties: cannot be read: No such file"]);
}

#[test]
fn a_typo_in_a_worker_file_that_works_is_a_warning_with_the_nearest_key() {
    let properties = [("ofset.flush.interval.ms", "1000"), ("quite.unknown", "x")];
    let scenario = Scenario::start_with("typo", NOWHERE, &properties);
    let nearest = "unknown key ofset.flush.interval.ms; did you mean offset.flush.interval.ms?";
    scenario.wait_logged(&["WARN", "worker.properties:", nearest]);
    scenario.wait_logged(&["WARN", "unknown keys, without effect: quite.unknown"]);
}

#[test]
fn ports_in_use_are_named_with_key_address_and_holder() {
    let ours = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let held = ours.local_addr().expect("bound").to_string();
    let other = Scenario::start_with("holder", NOWHERE, &[]);
    let (grpc, pid) = (other.copyist.grpc_address(), other.copyist.pid().expect("it runs"));
    let listeners = format!("http://{held}");
    let mut copyist = prepare(
        &[("listeners", &listeners), ("coordinator.listen", &grpc), ("metrics.listen", &grpc)],
        Vec::new(),
    );
    let (code, printed) = refused(&mut copyist);
    assert_eq!(code, 1, "{printed}");
    assert_short(&printed);
    let us = format!("process {} (", std::process::id());
    let it = format!("process {pid} (copyist)");
    for (key, address, holder) in
        [("listeners", &held, &us), ("coordinator.listen", &grpc, &it), ("metrics.listen", &grpc, &it)]
    {
        let text = format!("{key}: cannot listen on {address}: the port is in use by {holder}");
        assert_parts(&printed, &[&text, &format!("choose another address by {key}")]);
    }
}

#[test]
fn a_store_file_that_cannot_be_used_ends_the_start_and_stays_as_it_is() {
    let mut scenario = Scenario::start_with("store", NOWHERE, &[]);
    scenario.create("c", &with_source(NOWHERE));
    let store = scenario.copyist.store_path();
    // Another process has it.
    let shown = store.display().to_string();
    let mut second = prepare(&[("store.path", &shown)], Vec::new());
    let (code, printed) = refused(&mut second);
    assert_eq!(code, 1, "{printed}");
    assert_short(&printed);
    assert_parts(&printed, &[&shown, "in use by another process", "store.path"]);
    // The first one did not notice.
    assert_eq!(scenario.get("/connectors"), json!(["c"]));

    scenario.copyist.stop().expect("stopped");
    let whole = fs::read(&store).expect("read");
    let another_version = {
        let mut bytes = whole.clone();
        // The format's version, at the beginning of both commit slots of redb's header.
        [64, 192].into_iter().for_each(|at| bytes[at] = 99);
        bytes
    };
    let foreign = b"bootstrap.servers=localhost:9092\n".repeat(500);
    for (what, bytes) in [
        ("another version's", another_version),
        ("cut short", whole[..whole.len() / 2].to_vec()),
        ("cut to a page", whole[..4096].to_vec()),
        ("foreign", foreign),
    ] {
        assert_unusable(&mut scenario.copyist, &store, what, &bytes);
    }
    // Restored from a copy, it works again.
    fs::write(&store, &whole).expect("written");
    scenario.copyist.restart().expect("started");
    assert_eq!(scenario.get("/connectors"), json!(["c"]));
}

fn assert_unusable(copyist: &mut Copyist, store: &Path, what: &str, bytes: &[u8]) {
    fs::write(store, bytes).expect("written");
    let (code, printed) = refused(copyist);
    assert_eq!(code, 1, "{what}: {printed}");
    let errors: Vec<&str> = printed.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{what}: {printed}");
    assert_parts(errors[0], &[&store.display().to_string(), "cannot be used", "restore it from a copy"]);
    assert_eq!(fs::read(store).expect("read"), bytes, "{what}: the file was changed");
}

#[test]
fn one_port_for_two_listeners_of_one_process_is_named() {
    let port = free_port().expect("a free port");
    let address = format!("127.0.0.1:{port}");
    let mut copyist = prepare(&[("coordinator.listen", &address), ("metrics.listen", &address)], Vec::new());
    let (code, printed) = refused(&mut copyist);
    assert_ne!(code, 0, "{printed}");
    assert_parts(&printed, &["metrics.listen", &address]);
}
