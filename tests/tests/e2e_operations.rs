//! What operators see: gRPC by grpcurl, REST in the sequences that tools use, metrics by promtool, the log, idle cost.
#![expect(clippy::expect_used, clippy::panic, reason = "a test whose step fails has failed, and says why")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use copyist_tests::grpc::{Grpc, tool};
use copyist_tests::scenario::{self, LIMIT, connector_state, numbered, source, task_states};
use copyist_tests::{
    Copyist, CopyistOptions, Deadline, Etcd, EtcdOptions, Fleet, FleetOptions, Progress, Rest, Scenario,
    Scratch, copyist_binary, suite, wait_until,
};
use reqwest::Method;
use serde_json::{Value, json};

/// The v1alpha service as far as a listing takes, under the field numbers of its own proto file.
const V1ALPHA: &str = r#"syntax = "proto3";
package grpc.reflection.v1alpha;
service ServerReflection { rpc ServerReflectionInfo(stream Request) returns (stream Response); }
message Request { string list_services = 7; }
message Response { List list_services_response = 6; }
message List { repeated Service service = 1; }
message Service { string name = 1; }
"#;

#[test]
fn grpcurl_lists_the_services_by_both_reflections_and_asks_for_health() {
    let scenario = Scenario::start("grpc-services");
    let grpc = Grpc::at(&scenario.copyist.grpc_address());
    let services = grpc.run(&[], &["list"]).expect("listed");
    let ours = [
        "copyist.connect.v1.ConnectorService",
        "copyist.connect.v1.FleetService",
        "copyist.control.v1.AgentService",
    ];
    for service in ours.iter().chain(&["grpc.health.v1.Health"]) {
        assert!(services.lines().any(|line| line == *service), "{service} in {services}");
    }
    let described = grpc.run(&[], &["describe", ours[0]]).expect("described");
    for method in ["CreateConnector", "DeleteConnector", "GetConnectorStatus", "RestartTask"] {
        assert!(described.contains(&format!("rpc {method} ")), "{method} in {described}");
    }
    let scratch = Scratch::new("proto").expect("made");
    fs::write(scratch.path().join("v1alpha.proto"), V1ALPHA).expect("written");
    let folder = scratch.path().display().to_string();
    let flags = ["-import-path", &folder, "-proto", "v1alpha.proto", "-d", r#"{"list_services": "*"}"#];
    let method = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
    let older = grpc.run(&flags, &[method]).expect("the older reflection");
    assert!(ours.iter().all(|service| older.contains(service)), "{older}");
    for service in ours {
        let ask = json!({"service": service}).to_string();
        let health = grpc.run(&["-d", &ask], &["grpc.health.v1.Health/Check"]).expect("answered");
        assert!(health.contains("\"SERVING\""), "{service}: {health}");
    }
    let unknown = grpc.run(&["-d", r#"{"service": "no.such"}"#], &["grpc.health.v1.Health/Check"]);
    assert_eq!(unknown.expect_err("not there").code, "NotFound");
}

#[test]
fn grpcurl_creates_reads_restarts_and_deletes_as_rest_does() {
    source().create_topic("by-grpc", 3).expect("created");
    source().produce(&numbered("by-grpc", 3, "g", 30)).expect("produced");
    let scenario = Scenario::start("by-grpc");
    let (grpc, rest) = (Grpc::at(&scenario.copyist.grpc_address()), scenario.copyist.rest());
    let config = scenario::config(&[("topic.whitelist", "by-grpc"), ("tasks.max", "2")]);
    let entries = config.as_object().expect("a map").iter();
    let entries: Vec<Value> = entries.map(|(key, value)| json!({"key": key, "value": value})).collect();
    let request = json!({"name": "g", "config": entries, "requestId": "once"});
    let created = grpc.call("CreateConnector", &request).expect("created");
    // The same request again is the same answer; another one finds the name taken.
    assert_eq!(grpc.call("CreateConnector", &request).expect("repeated"), created);
    let other = json!({"name": "g", "config": request["config"], "requestId": "another"});
    let taken = grpc.call("CreateConnector", &other).expect_err("taken");
    let (status, by_rest) =
        rest.post("/connectors", &json!({"name": "g", "config": config})).expect("answered");
    assert_eq!((taken.code.as_str(), status), ("AlreadyExists", 409));
    assert_eq!(json!(taken.message), by_rest["message"]);

    scenario.wait_running("g", 2);
    scenario.wait_copied("by-grpc", "by-grpc", 30);
    let info = grpc.call("GetConnector", &json!({"name": "g"})).expect("read");
    let shown = scenario.get("/connectors/g");
    assert_eq!((&info["config"], &info["tasks"]), (&shown["config"], &json!([0, 1])));
    assert_eq!((&shown["type"], &shown["tasks"][1]), (&info["type"], &json!({"connector": "g", "task": 1})));
    assert_same_status(&grpc, &scenario, "g");

    let restart = json!({"name": "g", "includeTasks": true});
    let planned = grpc.call("RestartConnector", &restart).expect("restarted");
    assert_eq!(planned["status"]["tasks"][1]["status"]["state"], "RESTARTING", "{planned}");
    scenario.wait_running("g", 2);
    grpc.call("RestartTask", &json!({"name": "g", "id": 1})).expect("restarted");
    scenario.wait_running("g", 2);
    assert_same_errors(&grpc, rest);

    grpc.call("DeleteConnector", &json!({"name": "g"})).expect("deleted");
    assert_eq!(scenario.get("/connectors"), json!([]));
    let listed = grpc.call("ListConnectors", &json!({})).expect("listed");
    assert_eq!(listed["connectors"], json!([]));
}

/// States, ids and places, by gRPC and by REST.
fn assert_same_status(grpc: &Grpc, scenario: &Scenario, name: &str) {
    let by_grpc = grpc.call("GetConnectorStatus", &json!({"name": name})).expect("read");
    let by_rest = scenario.get(&format!("/connectors/{name}/status"));
    let instance = |status: &Value| json!([status["state"], status["workerId"], status["version"]]);
    let of_rest = |status: &Value| json!([status["state"], status["worker_id"], status["version"]]);
    assert_eq!(instance(&by_grpc["connector"]), of_rest(&by_rest["connector"]));
    let (left, right) = (by_grpc["tasks"].as_array(), by_rest["tasks"].as_array());
    let (left, right) = (left.expect("tasks"), right.expect("tasks"));
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        assert_eq!(left["id"], right["id"]);
        assert_eq!(instance(&left["status"]), of_rest(right));
    }
}

/// The message is one text, and the code fits the status.
fn assert_same_errors(grpc: &Grpc, rest: &Rest) {
    let bad = json!({"connector.class": "EMRReplicatorSourceConnector"});
    let entries = json!([{"key": "connector.class", "value": "EMRReplicatorSourceConnector"}]);
    let rows = [
        ("GetConnector", json!({"name": "x"}), 404, "NotFound", rest.get("/connectors/x")),
        ("GetConnectorStatus", json!({"name": "x"}), 404, "NotFound", rest.get("/connectors/x/status")),
        (
            "GetTaskStatus",
            json!({"name": "g", "id": 7}),
            404,
            "NotFound",
            rest.get("/connectors/g/tasks/7/status"),
        ),
        (
            "RestartTask",
            json!({"name": "g", "id": 7}),
            404,
            "NotFound",
            rest.call(Method::POST, "/connectors/g/tasks/7/restart", None),
        ),
        ("DeleteConnector", json!({"name": "x"}), 404, "NotFound", rest.delete("/connectors/x")),
        (
            "SetTargetState",
            json!({"name": "x", "state": "PAUSED"}),
            404,
            "NotFound",
            rest.call(Method::PUT, "/connectors/x/pause", None),
        ),
        (
            "CreateConnector",
            json!({"name": "bad", "config": entries}),
            400,
            "InvalidArgument",
            rest.post("/connectors", &json!({"name": "bad", "config": bad})),
        ),
    ];
    for (method, request, status, code, by_rest) in rows {
        let refused = grpc.call(method, &request).expect_err(method);
        let (got, body) = by_rest.expect("answered");
        assert_eq!((refused.code.as_str(), got), (code, status), "{method}: {refused:?} {body}");
        let message = body["message"].as_str().unwrap_or_default();
        // grpcurl prints a message of several lines as it is: its first line is what was read here.
        assert_eq!(message.lines().next(), Some(refused.message.as_str()), "{method}: {body}");
    }
}

/// What scripts, consoles and operators do with Connect, one after the other.
#[test]
fn rest_goes_through_a_connectors_life_as_connect_does() {
    source().create_topic("life", 4).expect("created");
    source().produce(&numbered("life", 4, "l", 40)).expect("produced");
    let scenario = Scenario::start("life");
    let rest = scenario.copyist.rest();
    let put = |path: &str| rest.call(Method::PUT, path, None);
    let post = |path: &str| rest.call(Method::POST, path, None);
    let root = scenario.get("/");
    assert!(root["version"].is_string() && root["commit"].is_string(), "{root}");
    let created = scenario.create("c", &scenario::config(&[("topic.whitelist", "life"), ("tasks.max", "2")]));
    assert_eq!(
        (&created["name"], &created["tasks"], &created["type"]),
        (&json!("c"), &json!([]), &json!("source"))
    );
    scenario.wait_running("c", 2);
    let known = wait_until("the worker's cluster id", LIMIT, Progress::Silent, || {
        Ok(rest.get("/")?.1["kafka_cluster_id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned))
    });
    assert_eq!(known.expect("known"), suite::pair().1.cluster_id());

    let expanded = scenario.get("/connectors?expand=status&expand=info");
    assert_eq!(expanded["c"]["info"], scenario.get("/connectors/c"));
    assert_eq!(expanded["c"]["status"], scenario.get("/connectors/c/status"));
    assert_eq!(scenario.get("/connectors?expand=info")["c"].as_object().expect("a map").len(), 1);
    let tasks = scenario.get("/connectors/c/tasks");
    assert_eq!(tasks[1]["id"], json!({"connector": "c", "task": 1}));
    assert_eq!(tasks[1]["config"]["topic.whitelist"], "life", "{tasks}");
    assert_eq!(scenario.get("/connectors/c/tasks/1/status")["id"], 1);
    let config = scenario.get("/connectors/c/config");
    assert_eq!(config, scenario.get("/connectors/c")["config"]);

    assert_eq!(scenario.expect(202, put("/connectors/c/pause")), Value::Null);
    scenario.wait_all("c", "PAUSED", 2);
    source().produce(&numbered("life", 4, "while paused", 40)).expect("produced");
    assert_eq!(scenario.expect(202, put("/connectors/c/resume")), Value::Null);
    scenario.wait_running("c", 2);
    scenario.wait_copied("life", "life", 80);
    scenario.expect(204, put("/connectors/c/stop"));
    let stopped = scenario.wait_status("c", "STOPPED without tasks", |status| {
        connector_state(status) == "STOPPED" && task_states(status).is_empty()
    });
    assert!(stopped["connector"]["worker_id"].is_string(), "{stopped}");
    scenario.expect(202, put("/connectors/c/resume"));
    scenario.wait_running("c", 2);

    scenario.expect(204, post("/connectors/c/restart"));
    let planned = scenario.expect(202, post("/connectors/c/restart?includeTasks=true"));
    assert_eq!(planned["tasks"][0]["state"], "RESTARTING", "{planned}");
    scenario.wait_running("c", 2);
    let mut one_task = config.clone();
    one_task["tasks.max"] = json!("1");
    let changed = scenario.expect(200, rest.put("/connectors/c/config", &one_task));
    assert_eq!(changed["config"]["tasks.max"], "1", "{changed}");
    scenario.wait_running("c", 1);
    // Nothing was copied twice in all of that.
    scenario.wait_copied("life", "life", 80);
    one_task["name"] = json!("d");
    scenario.expect(201, rest.put("/connectors/d/config", &one_task));
    scenario.expect(204, rest.delete("/connectors/d"));
    scenario.expect(204, rest.delete("/connectors/c"));
    scenario.expect(404, rest.get("/connectors/c"));
    assert_eq!(scenario.get("/connectors"), json!([]));
}

/// Prometheus text: value by name and labels, as they are written.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

fn promtool(text: &str) {
    let mut command = Command::new(tool("promtool", "COPYIST_PROMTOOL"));
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool runs");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.trim().is_empty(), "promtool: {said}\n{text}");
}

#[test]
fn metrics_pass_promtool_and_tell_what_happens() {
    source().create_topic("measured", 3).expect("created");
    // 9 bytes of key and value each.
    let rec = |n: i32| copyist_tests::Rec::new("measured", n % 3).key("key").value("value!");
    source().produce(&(0..600).map(rec).collect::<Vec<_>>()).expect("produced");
    let scenario = Scenario::start("measured");
    let config =
        [("topic.whitelist", "measured"), ("topic.rename.format", "measured.copy"), ("tasks.max", "2")];
    scenario.create("m", &scenario::config(&config));
    scenario.wait_running("m", 2);
    scenario.wait_copied("measured", "measured.copy", 600);
    let metrics = || scenario.must("metrics", scenario.copyist.metrics());
    let lane = |name: &str, partition: i32| {
        format!("copyist_lane_{name}{{connector=\"m\",partition=\"{partition}\",topic=\"measured\"}}")
    };
    let settled = wait_until("numbers of the lanes", LIMIT, Progress::Silent, || {
        let text = scenario.copyist.metrics()?;
        let shown = samples(&text);
        let done = |name: &str, value: f64| (0..3).all(|p| shown.get(&lane(name, p)) == Some(&value));
        Ok((done("records_total", 200.0) && done("lag_records", 0.0)).then_some(text))
    });
    let text = settled.unwrap_or_else(|error| panic!("{error}\n{}", metrics()));
    promtool(&text);
    let shown = samples(&text);
    for partition in 0..3 {
        // As batches: keys and values, and not much more.
        let bytes = shown[&lane("bytes_total", partition)];
        assert!((200.0 * 9.0..200.0 * 30.0).contains(&bytes), "{bytes}: {text}");
        for (name, value) in [("lag_seconds", 0.0), ("stall_age_seconds", 0.0)] {
            assert_eq!(shown.get(&lane(name, partition)), Some(&value), "{name} {partition}: {text}");
        }
    }
    let state = |state: &str| shown[&format!("copyist_connector_state{{connector=\"m\",state=\"{state}\"}}")];
    assert_eq!((state("RUNNING"), state("FAILED"), state("PAUSED")), (1.0, 0.0, 0.0), "{text}");
    assert_eq!(shown["copyist_connector_tasks{connector=\"m\",state=\"RUNNING\"}"], 2.0, "{text}");
    assert!(shown["copyist_store_commits_total"] > 0.0, "{text}");
    for process in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "start_time_seconds"] {
        assert!(shown.contains_key(&format!("process_{process}")), "{process}: {text}");
    }
    assert!(shown["process_resident_memory_bytes"] > 1e6, "{text}");

    scenario.expect(204, scenario.copyist.rest().delete("/connectors/m"));
    let gone = wait_until("the end of its numbers", LIMIT, Progress::Silent, || {
        Ok(Some(scenario.copyist.metrics()?).filter(|text| !text.contains("connector=\"m\"")))
    });
    promtool(&gone.unwrap_or_else(|error| panic!("{error}\n{}", metrics())));
}

fn log_of(scenario: &Scenario) -> Vec<String> {
    let text = scenario.must("the log", scenario.copyist.log_text());
    text.lines().map(str::to_owned).collect()
}

/// How many lines end in `text`.
/// Lines about connector `c`; a state may have its trace behind it.
fn count_of(lines: &[String], text: &str) -> usize {
    lines.iter().filter(|line| line.contains(text) && line.contains("connector=c")).count()
}

fn count(lines: &[String], text: &str) -> usize {
    lines.iter().filter(|line| line.contains(text)).count()
}

#[test]
fn the_log_is_silent_while_nothing_changes_and_has_one_line_per_change() {
    /// Longer than the timers of the process: renewals, surveys as set below, positions, statistics.
    const SILENCE: Duration = Duration::from_secs(12);
    source().create_topic("logged", 2).expect("created");
    source().produce(&numbered("logged", 2, "one", 100)).expect("produced");
    let scenario = Scenario::start("logged");
    let poll = ("topic.poll.interval.ms", "1000");
    scenario.create("c", &scenario::config(&[("topic.whitelist", "logged"), ("tasks.max", "1"), poll]));
    scenario.wait_running("c", 1);
    scenario.wait_copied("logged", "logged", 100);
    scenario.wait_logged(&["task 0 RUNNING"]);
    scenario.wait_logged(&["survey RUNNING"]);
    let before = log_of(&scenario);
    // Copying is no change either.
    let idle = Deadline::after(SILENCE);
    let mut sent = 100;
    while !idle.passed() {
        source().produce(&numbered("logged", 2, "more", 10)).expect("produced");
        sent += 10;
        scenario.wait_copied("logged", "logged", sent);
    }
    let after = log_of(&scenario);
    assert_eq!(after[before.len()..], [] as [String; 0], "{sent} records in {SILENCE:?}");
    println!(
        "{} lines until both were RUNNING, none in {SILENCE:?} with {} records",
        before.len(),
        sent - 100
    );

    for (path, state) in [("pause", "PAUSED"), ("resume", "RUNNING")] {
        let put = scenario.copyist.rest().call(Method::PUT, &format!("/connectors/c/{path}"), None);
        scenario.expect(202, put);
        scenario.wait_all("c", state, 1);
        // A state is stored, and told, once a second: one that lasts shorter is not.
        let told = wait_until("lines about it", LIMIT, Progress::Silent, || {
            let lines = log_of(&scenario);
            let since =
                lines.iter().position(|line| line.contains(&format!("to be {path}d"))).unwrap_or_default();
            let all = ["task 0", "survey"].map(|part| count_of(&lines[since..], &format!("{part} {state}")));
            Ok((all == [1, 1]).then_some(()))
        });
        scenario.must(state, told);
    }
    scenario.expect(204, scenario.copyist.rest().delete("/connectors/c"));
    scenario.wait_logged(&["connector=c", "deleted"]);
    let lines = log_of(&scenario);
    let states = [("created", 1), ("to be paused", 1), ("task 0 PAUSED", 1), ("survey PAUSED", 1)];
    let more = [("to be resumed", 1), ("task 0 RUNNING", 2), ("survey RUNNING", 2), ("deleted", 1)];
    for (text, times) in states.into_iter().chain(more) {
        let found = count_of(&lines, text);
        assert_eq!(found, times, "{text}: {lines:#?}");
    }
    for word in ["ERROR", "WARN"] {
        assert_eq!(count(&lines, word), 0, "{lines:#?}");
    }
}

#[test]
fn no_secret_is_in_the_log_even_when_it_tells_everything() {
    let environment = BTreeMap::from([(OsString::from("RUST_LOG"), Some(OsString::from("debug")))]);
    let properties = [("producer.sasl.jaas.config", jaas("worker-secret"))];
    let properties = properties.map(|(key, value)| (key.to_owned(), value)).into();
    let options = CopyistOptions { properties, environment, ..CopyistOptions::default() };
    let started = Copyist::start(&suite::pair().1.bootstrap(), options).expect("started");
    let scenario = Scenario { copyist: started };
    let own = [
        ("topic.whitelist", "secret"),
        ("src.kafka.sasl.jaas.config", &jaas("hunter2")),
        ("src.kafka.sasl.mechanism", "PLAIN"),
        ("src.kafka.security.protocol", "SASL_PLAINTEXT"),
        ("src.kafka.ssl.key.password", "hunter3"),
    ];
    scenario.create("c", &scenario::config(&own));
    // The source's listener knows no SASL: whatever is said about that tells no secret.
    let told = scenario.wait_status("c", "a trace", |status| {
        status["connector"]["trace"].as_str().is_some_and(|trace| trace.contains("source cluster at"))
    });
    scenario.expect(204, scenario.copyist.rest().delete("/connectors/c"));
    let log = log_of(&scenario);
    assert!(count(&log, "DEBUG") > 0, "debug lines are there");
    for secret in ["hunter2", "hunter3", "worker-secret"] {
        assert_eq!(count(&log, secret), 0, "{secret} in the log");
        assert!(!told.to_string().contains(secret), "{told}");
    }
}

fn jaas(password: &str) -> String {
    let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
    format!("{module} required username=\"alice\" password=\"{password}\";")
}

/// User and system time of a process so far, in the kernel's ticks.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("proc(5)");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // Fields 14 and 15 of proc(5); the first here is the third.
    [11, 12].map(|at: usize| fields[at].parse::<u64>().expect("a number")).iter().sum()
}

#[test]
fn an_idle_connector_costs_next_to_nothing() {
    const WINDOW: Duration = Duration::from_secs(15);
    /// `USER_HZ` of Linux on every machine that Rust supports.
    const TICKS_PER_SECOND: f64 = 100.0;
    source().create_topic("idle", 10).expect("created");
    source().produce(&numbered("idle", 10, "i", 1_000)).expect("produced");
    let scenario = Scenario::start("idle");
    scenario.create("c", &scenario::config(&[("topic.whitelist", "idle")]));
    scenario.wait_running("c", 10);
    scenario.wait_copied("idle", "idle", 1_000);
    let pid = scenario.copyist.pid().expect("it runs");
    let (idle, before) = (Deadline::after(WINDOW), cpu_ticks(pid));
    wait_until("the end of the window", LIMIT, Progress::Silent, || Ok(idle.passed().then_some(())))
        .expect("time passes");
    let used = (cpu_ticks(pid) - before) as f64 / TICKS_PER_SECOND;
    let percent = 100.0 * used / idle.elapsed().as_secs_f64();
    let binary = copyist_binary().expect("there is one");
    let is_release = binary.components().any(|part| part.as_os_str() == "release");
    let (build, bound) = if is_release { ("release", 1.0) } else { ("debug", 8.0) };
    println!("idle with 10 partitions: {percent:.2} % of a core ({used:.2} s in {WINDOW:?}, {build} build)");
    assert!(percent < bound, "{percent:.2} % of a core; {} is a {build} build", shown(&binary));
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_stop_that_takes_too_long_says_whom_it_waits_for_and_goes_on() {
    const AGENT_ID: &str = "agent-1:8083";
    let etcd = suite::must("etcd", Etcd::start(EtcdOptions::named("ending-etcd")));
    let options = FleetOptions { coordinators: 1, agents: 1, gateways: 1, ..FleetOptions::named("ending") };
    let mut fleet = suite::must("a fleet", Fleet::start(&etcd, &suite::pair().1.bootstrap(), &options));
    let body = json!({"name": "c", "config": scenario::config(&[("topic.whitelist", "ending")])});
    assert_eq!(suite::must("created", fleet.rest(0).post("/connectors", &body)).0, 201);
    let held = fleet.wait("the agent to have it", || {
        let (_, status) = fleet.rest(0).get("/connectors/c/status")?;
        Ok((status["connector"]["worker_id"] == AGENT_ID).then_some(()))
    });
    suite::must("held", held);
    fleet.agents[0].kill_9();

    let stop = |fleet: &Fleet| suite::must("an answer", fleet.rest(0).put("/connectors/c/stop", &json!({})));
    let (code, late) = stop(&fleet);
    let message = late["message"].as_str().unwrap_or_default();
    let begins = "Request timed out. The change is stored and goes on without this request; it waits for \
                  agent-1:8083 (survey), which went away without a word";
    assert!(code == 500 && message.starts_with(begins), "{code} {late}{}", fleet.tails());
    let (_, status) = suite::must("status", fleet.rest(0).get("/connectors/c/status"));
    assert_eq!(status["connector"]["state"], "UNASSIGNED", "{status}");

    let grpc = Grpc::at(&fleet.gateways[0].grpc_address());
    let dead = fleet.wait("the agent to be declared dead", || {
        Ok(grpc.ask("FleetService/ForgetAgent", &json!({"agent_id": AGENT_ID})).ok())
    });
    suite::must("declared dead", dead);
    let (code, answer) = stop(&fleet);
    assert_eq!(code, 204, "{answer}{}", fleet.tails());
    let (_, status) = suite::must("status", fleet.rest(0).get("/connectors/c/status"));
    assert_eq!(status["connector"]["state"], "STOPPED", "{status}");
}
