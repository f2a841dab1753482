//! Brokers found in ZooKeeper: the usual scenario from and to clusters of years ago, of which the connector knows the
//! ZooKeeper alone.
#![expect(clippy::print_stdout, reason = "tells what really happened")]

use std::path::Path;

use copyist_tests::scenario::{LIMIT, config, connector_state, numbered};
use copyist_tests::{
    Cluster, ClusterOptions, Kafka, KafkaVersion, Process, Progress, Scenario, Scratch, Side, Spec,
    free_port, suite,
};
use reqwest::Method;
use serde_json::{Value, json};

const PARTITIONS: usize = 10;

/// The body of the documented request, without `src.kafka.bootstrap.servers`.
const BODY: &str = r#"{"name": "connect-test", "config": { "connector.class": "EMRReplicatorSourceConnector", "key.converter": "org.apache.kafka.connect.converters.ByteArrayConverter", "value.converter": "org.apache.kafka.connect.converters.ByteArrayConverter", "src.zookeeper.connect": "SOURCE", "dest.zookeeper.connect": "DESTINATION", "topic.whitelist": "connect", "topic.rename.format": "connect.replica", "src.kafka.max.poll.records": "300" } }"#;

fn records() -> u64 {
    suite::count("COPYIST_TEST_RECORDS", 2_000)
}

fn at(cluster: &Cluster) -> Kafka<'static> {
    suite::tool().at(&cluster.bootstrap())
}

/// A cluster on ZooKeeper; below a path of it where one is given.
fn old(name: &str, version: KafkaVersion, chroot: &str) -> ClusterOptions {
    let chroot = chroot.to_owned();
    ClusterOptions { version: Some(version), on_zookeeper: true, chroot, ..ClusterOptions::named(name) }
}

fn zookeeper(cluster: &Cluster) -> String {
    cluster.zookeeper().unwrap_or_default()
}

/// One of the cluster's own tools; what it printed.
fn run(cluster: &Cluster, what: &str, class: &str, args: &[&str]) -> String {
    let scratch = suite::must("a directory", Scratch::new("tools"));
    let log = scratch.path().join("log");
    let spec = suite::must("java", cluster.command(what, class, &log)).args(args);
    suite::must(what, Process::run(&spec, LIMIT, Progress::Silent));
    std::fs::read_to_string(Path::new(&log)).unwrap_or_default()
}

/// As people do on clusters of then.
fn create_by_zookeeper(cluster: &Cluster, topic: &str, partitions: usize) {
    let (zookeeper, partitions) = (zookeeper(cluster), partitions.to_string());
    let args = ["--create", "--zookeeper", &zookeeper, "--topic", topic, "--partitions", &partitions];
    let printed = run(
        cluster,
        "TopicCommand",
        "kafka.admin.TopicCommand",
        &[&args[..], &["--replication-factor", "1"]].concat(),
    );
    assert!(printed.contains("Created topic"), "{printed}");
}

/// From ZooKeeper's cluster, of which the connector is told nothing else, into the worker's.
fn copied_from(from: &Cluster, to: &Cluster, name: &str) {
    suite::must("records", at(from).produce(&numbered("connect", 10, name, records() as usize)));
    let scenario = Scenario::start_with(name, &to.bootstrap(), &[]);
    let body = BODY.replace("SOURCE", &zookeeper(from)).replace("DESTINATION", "127.0.0.1:1");
    scenario.expect(201, scenario.copyist.rest().call_raw(Method::POST, "/connectors", &body));
    let status = scenario.wait_running("connect-test", PARTITIONS);
    let trace = status["connector"]["trace"].as_str().unwrap_or_default();
    assert!(trace.contains("exactly once by the raw engine") && !trace.contains("ZooKeeper"), "{trace}");
    let (left, right) = (at(from), at(to));
    scenario.wait_equal(
        Side { at: &left, topic: "connect" },
        Side { at: &right, topic: "connect.replica" },
        records(),
    );
    println!("{name}: {} records, the source found in ZooKeeper {}", records(), zookeeper(from));
}

/// Into the worker's cluster, an old one; its ZooKeeper is given, and once that of another cluster.
fn copied_to(from: &Cluster, to: &Cluster, name: &str, other: &Cluster) {
    let (left, right) = (at(from), at(to));
    suite::must("a topic", left.create_topic("back", 2));
    suite::must("records", left.produce(&numbered("back", 2, name, records() as usize)));
    let scenario = Scenario::start_with(name, &to.bootstrap(), &[]);
    let back = |zookeeper: &str| {
        let servers = from.bootstrap();
        config(&[
            ("src.kafka.bootstrap.servers", &*servers),
            ("dest.zookeeper.connect", zookeeper),
            ("topic.whitelist", "back"),
            ("topic.rename.format", "back.replica"),
        ])
    };
    scenario.create("back", &back(&zookeeper(to)));
    let status = scenario.wait_running("back", 2);
    assert!(!status.to_string().contains("ZooKeeper"), "{status}");
    scenario.wait_equal(
        Side { at: &left, topic: "back" },
        Side { at: &right, topic: "back.replica" },
        records(),
    );

    scenario.expect(200, scenario.copyist.rest().put("/connectors/back/config", &back(&zookeeper(other))));
    let warned = scenario.wait_status("back", "the warning", |status| {
        status["connector"]["trace"]
            .as_str()
            .is_some_and(|trace| trace.contains("what the brokers say holds"))
    });
    let trace = warned["connector"]["trace"].as_str().unwrap_or_default();
    let ids = [to, other].map(|cluster| suite::must("an id", at(cluster).cluster_id()));
    let expected = format!(
        "the destination's brokers are those of cluster {}, but its ZooKeeper {} is that of cluster {}: what the \
         brokers say holds",
        ids[0],
        zookeeper(other),
        ids[1]
    );
    assert!(trace.contains(&expected), "{trace}");
    scenario.wait_running("back", 2);
    println!("{name}: {} records back, and {expected}", records());
}

#[test]
fn the_usual_scenario_with_clusters_on_zookeeper() {
    let [first, last] = [KafkaVersion::new(2, 4, 1), KafkaVersion::new(3, 9, 1)];
    let two = Cluster::start_two(suite::jars(), old("zk-first", first, "/kafka/a"), old("zk-last", last, ""));
    let (mut first, last) = suite::must("two clusters on ZooKeeper", two);
    let now = suite::must("a cluster", Cluster::start(suite::jars(), ClusterOptions::named("zk-now")));
    create_by_zookeeper(&first, "connect", PARTITIONS);
    suite::must("a topic", at(&last).create_topic("connect", 10));
    copied_from(&first, &now, "from-first");
    suite::must("deleted", at(&now).delete_topic("connect.replica"));
    copied_from(&last, &now, "from-last");
    copied_to(&now, &first, "to-first", &last);
    suite::must("deleted", at(&now).delete_topic("back"));
    copied_to(&now, &last, "to-last", &first);
    what_is_not_there_is_named_and_waited_for(&first, &now);
    brokers_that_are_away_are_waited_for(&mut first, &now);
}

/// ZooKeeper forgets them when their sessions end, and learns of them when they are back.
fn brokers_that_are_away_are_waited_for(from: &mut Cluster, to: &Cluster) {
    let scenario = Scenario::start_with("away", &to.bootstrap(), &[]);
    from.kill_9();
    let zookeeper = zookeeper(from);
    let own = json!({
        "connector.class": "EMRReplicatorSourceConnector",
        "src.zookeeper.connect": zookeeper,
        "topic.whitelist": "connect",
        "topic.rename.format": "away",
    });
    scenario.create("away", &own);
    let told = scenario.wait_status("away", "the brokers' absence", |status| {
        trace_of(status).contains("/kafka/a/brokers/ids names no living broker")
    });
    assert_eq!(connector_state(&told), "UNASSIGNED", "{told}");
    println!("{}", trace_of(&told));
    suite::must("the broker again", from.restart());
    scenario.wait_running("away", PARTITIONS);
    let (left, right) = (at(from), at(to));
    scenario.wait_equal(Side { at: &left, topic: "connect" }, Side { at: &right, topic: "away" }, records());
}

/// Servers that do not answer, a path that is none, and brokers that are away: each is told, and copying begins when it
/// can.
fn what_is_not_there_is_named_and_waited_for(from: &Cluster, to: &Cluster) {
    let scenario = Scenario::start_with("absent", &to.bootstrap(), &[]);
    let connector = |zookeeper: &str| {
        json!({
            "connector.class": "EMRReplicatorSourceConnector",
            "src.zookeeper.connect": zookeeper,
            "src.zookeeper.session.timeout.ms": "1000",
            "topic.whitelist": "connect",
            "topic.rename.format": "absent",
            "topic.poll.interval.ms": "1000",
        })
    };
    let right = zookeeper(from);
    let (server, _) = right.split_once('/').unwrap_or_default();
    let nobody = suite::must("a port", free_port());
    let speaks_kafka = from.bootstrap();
    let rows = [
        (format!("127.0.0.1:{nobody},{speaks_kafka}/kafka"), "does not answer", "Connection refused"),
        (format!("{server}/nowhere"), "/nowhere/brokers/ids", "there is no such path"),
        (server.to_owned(), "/brokers/ids", "there is no such path"),
    ];
    for (zookeeper, what, why) in rows {
        let config = connector(&zookeeper);
        scenario.expect(
            if scenario.get("/connectors") == json!([]) { 201 } else { 200 },
            scenario.copyist.rest().put("/connectors/absent/config", &config),
        );
        let told = scenario.wait_status("absent", "what is not there", |status| {
            let named = [format!("ZooKeeper {zookeeper}:"), format!("ZooKeeper {zookeeper} ")];
            named.iter().any(|it| trace_of(status).contains(it)) && trace_of(status).contains(why)
        });
        let trace = trace_of(&told);
        assert!(
            trace.starts_with("waits for the source's brokers: ZooKeeper ") && trace.contains(what),
            "{trace}"
        );
        assert_eq!(connector_state(&told), "UNASSIGNED", "{told}");
        println!("{trace}");
    }
    scenario.expect(
        200,
        scenario
            .copyist
            .rest()
            .put("/connectors/absent/config", &connector(&format!("127.0.0.1:{nobody},{right}"))),
    );
    scenario.wait_running("absent", PARTITIONS);
    let (left, right) = (at(from), at(to));
    scenario.wait_equal(
        Side { at: &left, topic: "connect" },
        Side { at: &right, topic: "absent" },
        records(),
    );
}

fn trace_of(status: &Value) -> &str {
    status["connector"]["trace"].as_str().unwrap_or_default()
}

/// Message format v1, and no protocol that the raw engine or Kafka's own clients of today speak.
#[test]
fn a_source_of_kafka_0_10_is_copied_by_librdkafka() {
    let old = old("zk-0-10", KafkaVersion::former(10, 2, 2), "/old");
    let clusters = Cluster::start_two(suite::jars(), old, ClusterOptions::named("zk-0-10-to"));
    let (from, to) = suite::must("two clusters", clusters);
    create_by_zookeeper(&from, "connect", PARTITIONS);
    write_lines(&from, records());
    let scenario = Scenario::start_with("former", &to.bootstrap(), &[]);
    let connector = |engine: &str| {
        json!({
            "connector.class": "EMRReplicatorSourceConnector",
            "src.zookeeper.connect": zookeeper(&from),
            "topic.whitelist": "connect",
            "topic.rename.format": "connect.replica",
            "topic.poll.interval.ms": "1000",
            "engine": engine,
        })
    };
    scenario.create("former", &connector("raw"));
    let status = scenario.wait_status("former", "what is wrong with raw", |status| {
        trace_of(status).contains("created without configs, which the source does not tell")
            && status["tasks"][0]["trace"].as_str().is_some_and(|trace| trace.contains("engine=librdkafka"))
    });
    let told = status["tasks"][0]["trace"].as_str().unwrap_or_default();
    assert!(told.contains("speaks Metadata in versions 0..2, needed is one of"), "{told}");
    println!("engine=raw: {told}");

    scenario.expect(200, scenario.copyist.rest().put("/connectors/former/config", &connector("librdkafka")));
    let status = scenario.wait_running("former", PARTITIONS);
    assert!(trace_of(&status).contains("at least once by the librdkafka engine"), "{status}");
    let right = at(&to);
    scenario.wait_records(&right, "connect.replica", records());
    let copied = suite::must("a dump", right.dump("connect.replica"));
    let mut values: Vec<String> = copied
        .iter()
        .filter_map(|record| Some(String::from_utf8_lossy(record.value.as_ref()?).into()))
        .collect();
    values.sort();
    let mut written: Vec<String> = (0..records()).map(|n| format!("value {n}")).collect();
    written.sort();
    assert!(values == written, "{} values, written were {}", values.len(), written.len());
    let ends = suite::must("offsets", right.end_offsets("connect.replica"));
    let ends: Vec<String> =
        ends.iter().map(|(partition, end)| format!("connect:{partition}:{end}")).collect();
    let args = ["--broker-list", &from.bootstrap(), "--topic", "connect", "--time", "-1"];
    let printed = run(&from, "GetOffsetShell", "kafka.tools.GetOffsetShell", &args);
    let mut there: Vec<&str> = printed.lines().filter(|line| line.starts_with("connect:")).collect();
    there.sort_unstable();
    assert_eq!(ends, there, "each record is in its partition");
    println!("Kafka 0.10.2.2: {} records", records());
}

/// `key n` and `value n`, by the console producer of then.
#[expect(clippy::expect_used, reason = "a test whose step fails has failed, and says why")]
fn write_lines(cluster: &Cluster, count: u64) {
    let scratch = suite::must("a directory", Scratch::new("lines"));
    let [lines, log] = ["lines", "log"].map(|name| scratch.path().join(name));
    let text: String = (0..count).map(|n| format!("key {}\tvalue {n}\n", n % 97)).collect();
    std::fs::write(&lines, text).expect("written");
    let java = suite::must("java", cluster.command("ConsoleProducer", "kafka.tools.ConsoleProducer", &log));
    let servers = cluster.bootstrap();
    let args = ["--broker-list", &servers, "--topic", "connect", "--property", "parse.key=true"];
    let redirect = "exec \"$0\" \"$@\" < \"$LINES_FILE\"";
    let mut spec = Spec::new("ConsoleProducer", "sh", &log).args(["-c", redirect]);
    spec = spec.arg(java.program).args(java.args).args(args);
    spec.environment = java.environment;
    spec.environment.insert("LINES_FILE".into(), Some(lines.into()));
    suite::must("ConsoleProducer", Process::run(&spec, LIMIT, Progress::Silent));
}
