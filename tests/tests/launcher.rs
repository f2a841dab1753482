//! The launcher itself, on real Kafka: what it starts works, what it reads is what was written, what it kills is gone.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use copyist_tests::process::find_program;
use copyist_tests::{
    Cluster, ClusterOptions, Error, Jars, Kafka, Lifetime, Process, Progress, Rec, ScramUser, Scratch, Side,
    Spec, Step, interrupt, suite, wait_until,
};

const LIMIT: Duration = Duration::from_secs(60);
/// 2024-01-02, so that a clock of today is seen as a difference.
const THEN: i64 = 1_704_153_600_000;

fn source() -> Kafka<'static> {
    suite::tool().at(&suite::pair().0.bootstrap())
}

fn destination() -> Kafka<'static> {
    suite::tool().at(&suite::pair().1.bootstrap())
}

/// Records with everything that a copy can get wrong, all in partition 1.
fn odd_records(topic: &str) -> Vec<Rec> {
    let rec = |age: i64| Rec::new(topic, 1).timestamp(THEN + age);
    vec![
        rec(0),
        rec(1).key("").value(""),
        rec(2).key("tombstone"),
        rec(3).value("without a key"),
        rec(4).key(vec![7; 300_000]).value(vec![0; 600_000]),
        rec(5).key([0, 255, 10]).value([128, 0]).header("twice", Some(b"1")).header("twice", Some(b"2")),
        rec(6).value("v").header("null", None).header("empty", Some(b"")).header("", Some(b"no name")),
        rec(-1_000).value("older than the one before"),
        Rec::new(topic, 1).timestamp(0).value("1970"),
    ]
}

#[test]
fn odd_records_come_back_as_they_were_in_each_codec() {
    let kafka = source();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("odd-{codec}");
        kafka.create_topic(&topic, 3).expect("created");
        let records = odd_records(&topic);
        let positions = kafka.produce_with(&[("compression.type", codec)], &records).expect("produced");
        let expected: Vec<(i32, i64)> = (0..9).map(|offset| (1, offset)).collect();
        assert_eq!(positions, expected, "{codec}");
        let dumped = kafka.dump(&topic).expect("dumped");
        let offsets: Vec<i64> = dumped.iter().map(|rec| rec.offset).collect();
        assert_eq!(offsets, (0..9).collect::<Vec<i64>>(), "{codec}");
        for (read, written) in dumped.iter().zip(&records) {
            assert_eq!(read.content(), written.content(), "{codec}");
        }
        assert_eq!(kafka.end_offsets(&topic).expect("offsets"), BTreeMap::from([(0, 0), (1, 9), (2, 0)]));
    }
}

#[test]
fn aborted_records_show_only_uncommitted() {
    let kafka = source();
    kafka.create_topic("transactions", 1).expect("created");
    let record = |value: &str| Step::Record(Rec::new("transactions", 0).value(value));
    let steps =
        [record("a"), record("b"), Step::Commit, record("lost"), Step::Abort, record("c"), Step::Commit];
    let positions = kafka.transact("launcher", &[], &steps).expect("produced");
    // Each end of a transaction takes an offset.
    assert_eq!(positions, [(0, 0), (0, 1), (0, 3), (0, 5)]);
    let steps = [record("lost at the end"), Step::Abort];
    kafka.transact("launcher", &[], &steps).expect("produced");
    let values = |records: Vec<Rec>| records.into_iter().filter_map(|rec| rec.value).collect::<Vec<_>>();
    let committed = kafka.dump("transactions").expect("dumped");
    assert_eq!(values(committed), [b"a", b"b", b"c"]);
    let uncommitted = [("isolation.level", "read_uncommitted")];
    let all = kafka.dump_with(&uncommitted, &["transactions"]).expect("dumped");
    assert_eq!(values(all), [&b"a"[..], b"b", b"lost", b"c", b"lost at the end"]);
    let open = kafka.transact("launcher", &[], &[record("open")]).expect_err("open");
    assert_eq!(open.kafka_class(), Some("IllegalStateException"));
}

#[test]
fn topics_are_created_grown_configured_and_deleted() {
    let kafka = source();
    kafka
        .create_topic_with("managed", 2, 1, &[("retention.ms", "1234567"), ("cleanup.policy", "compact")])
        .expect("ok");
    kafka.create_partitions("managed", 5).expect("grown");
    let topic = kafka.describe_topic("managed").expect("described");
    assert_eq!((topic.partitions.len(), topic.partitions[4].replicas.as_slice()), (5, &[1][..]));
    kafka
        .alter_topic_configs("managed", &[("segment.bytes", "2000000")], &["retention.ms"])
        .expect("altered");
    let expected = [("cleanup.policy", "compact"), ("segment.bytes", "2000000")];
    let expected: BTreeMap<_, _> = expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    assert_eq!(kafka.topic_configs("managed").expect("configs"), expected);
    assert!(kafka.list_topics().expect("listed").contains(&"managed".to_owned()));
    let twice = kafka.create_topic("managed", 1).expect_err("there already");
    assert_eq!(twice.kafka_class(), Some("TopicExistsException"));
    kafka.delete_topic("managed").expect("deleted");
    assert!(!kafka.list_topics().expect("listed").contains(&"managed".to_owned()));
    let gone = kafka.dump("managed").expect_err("gone");
    assert_eq!(gone.kafka_class(), Some("UnknownTopicOrPartitionException"));
}

#[test]
fn the_beginning_moves_with_deleted_records() {
    let kafka = source();
    kafka.create_topic("beginning", 1).expect("created");
    let records = ["0", "1", "2", "3"].map(|value| Rec::new("beginning", 0).value(value));
    kafka.produce(&records).expect("produced");
    kafka.delete_records("beginning", 0, 3).expect("deleted");
    assert_eq!(kafka.beginning_offsets("beginning").expect("offsets"), BTreeMap::from([(0, 3)]));
    assert_eq!(kafka.dump("beginning").expect("dumped").len(), 1);
}

#[test]
fn a_comparison_finds_each_kind_of_difference() {
    let (left, right) = (source(), destination());
    left.create_topic("compared", 2).expect("created");
    right.create_topic("compared.replica", 3).expect("created");
    let same = odd_records("compared");
    let copied: Vec<Rec> =
        same.iter().map(|rec| Rec { topic: "compared.replica".to_owned(), ..rec.clone() }).collect();
    left.produce(&same).expect("produced");
    right.produce(&copied).expect("produced");
    let compare = || {
        let (one, other) =
            (Side { at: &left, topic: "compared" }, Side { at: &right, topic: "compared.replica" });
        suite::tool().compare(one, other, LIMIT, |_| ()).expect("compared")
    };
    let all_equal = compare();
    assert_eq!((all_equal.equal, all_equal.different, all_equal.left_records), (9, 0, 9));
    assert_eq!((all_equal.left_partitions, all_equal.right_partitions), (2, 3));

    // In partition 0, record by record: each differs in one way.
    let rec = |topic: &str| Rec::new(topic, 0).timestamp(THEN).key("k").value("v").header("h", Some(b"1"));
    let one = || rec("compared");
    let other = || rec("compared.replica");
    left.produce(&[one(), one(), one(), one(), one().value("")]).expect("produced");
    let changed = [
        other().key("K"),
        other().value("V"),
        other().timestamp(THEN + 1),
        other().header("h", None),
        Rec { value: None, ..other() },
        other(),
    ];
    right.produce(&changed).expect("produced");
    let result = compare();
    let found: Vec<_> =
        result.differences.iter().map(|found| (found.partition, found.what.as_str())).collect();
    let kinds = ["key", "value", "timestamp", "headers", "value", "only on the right"];
    assert_eq!(found, kinds.map(|kind| (0, kind)));
    assert_eq!((result.equal, result.different), (9, 6));
    assert_eq!((result.differences[5].left_offset, result.differences[5].right_offset), (None, Some(5)));
}

#[test]
fn many_records_are_compared_with_progress() {
    let kafka = source();
    kafka.create_topic("many", 4).expect("created");
    let records: Vec<Rec> =
        (0..20_000).map(|n| Rec::new("many", n % 4).timestamp(THEN).value(format!("{n}"))).collect();
    kafka.produce(&records).expect("produced");
    let side = Side { at: &kafka, topic: "many" };
    let mut told = Vec::new();
    let result = suite::tool().compare(side, side, LIMIT, |compared| told.push(compared)).expect("compared");
    assert_eq!((result.equal, result.different), (20_000, 0));
    assert_eq!(told, [5_000, 10_000, 15_000, 20_000]);
}

#[test]
fn kafkas_own_tools_run() {
    let kafka = source();
    kafka.create_topic("performance", 2).expect("created");
    let scratch = Scratch::new("tools").expect("made");
    let class = "org.apache.kafka.tools.ProducerPerformance";
    let spec =
        suite::jars().java("ProducerPerformance", class, &scratch.path().join("log")).expect("java is there");
    let spec = spec.args(["--topic", "performance", "--num-records", "1000", "--throughput", "-1"]);
    let spec = spec.args(["--record-size", "100", "--bootstrap-server", &suite::pair().0.bootstrap()]);
    Process::run(&spec, LIMIT, Progress::Silent).expect("ran");
    let sizes =
        kafka.dump("performance").expect("dumped").into_iter().map(|rec| rec.value.unwrap_or_default().len());
    assert_eq!(sizes.collect::<Vec<_>>(), vec![100; 1000]);
}

#[test]
fn data_survives_kill_9_and_stop_on_the_same_ports() {
    let scratch = Scratch::new("killed").expect("made");
    let options =
        ClusterOptions { dir: Some(scratch.path().join("data")), ..ClusterOptions::named("killed") };
    let mut cluster = Cluster::start(suite::jars(), options.clone()).expect("started");
    let bootstrap = cluster.bootstrap();
    let kafka = suite::tool().at(&bootstrap);
    assert_eq!(kafka.cluster_id().expect("asked"), cluster.cluster_id());
    kafka.create_topic("kept", 1).expect("created");
    kafka.produce(&[Rec::new("kept", 0).value("before")]).expect("produced");
    cluster.kill_9();
    let quick = [("default.api.timeout.ms", "1500"), ("request.timeout.ms", "1000")];
    let quick = quick.map(|(key, value)| (key.to_owned(), value.to_owned()));
    kafka.clone().with(quick).list_topics().expect_err("nobody answers");
    cluster.restart().expect("started again");
    kafka.produce(&[Rec::new("kept", 0).value("after kill -9")]).expect("produced");
    cluster.stop().expect("ended by itself");
    cluster.restart().expect("started again");
    let values: Vec<_> =
        kafka.dump("kept").expect("dumped").into_iter().filter_map(|rec| rec.value).collect();
    assert_eq!(values, [&b"before"[..], b"after kill -9"]);
    assert_eq!(cluster.bootstrap(), bootstrap);
}

#[test]
fn two_nodes_replicate() {
    let options = ClusterOptions { nodes: 2, ..ClusterOptions::named("two") };
    let cluster = Cluster::start(suite::jars(), options).expect("started");
    let kafka = suite::tool().at(&cluster.bootstrap());
    kafka.create_topic_with("replicated", 2, 2, &[]).expect("created");
    kafka.produce(&[Rec::new("replicated", 0).value("v")]).expect("produced");
    let topic = kafka.describe_topic("replicated").expect("described");
    assert!(topic.partitions.iter().all(|partition| partition.replicas.len() == 2), "{topic:?}");
}

#[test]
fn scram_lets_in_who_knows_the_password() {
    let user = ScramUser { name: "alice".to_owned(), password: "alice's secret".to_owned() };
    assert!(!format!("{user:?}").contains("secret"));
    let options = ClusterOptions { scram: Some(user.clone()), ..ClusterOptions::named("scram") };
    let cluster = Cluster::start(suite::jars(), options).expect("started");
    let kafka = suite::tool().at(&cluster.sasl_bootstrap());
    let alice = kafka.clone().with(user.client_properties());
    alice.create_topic("secured", 1).expect("the right password");
    let wrong = ScramUser { password: "guessed".to_owned(), ..user };
    let refused = kafka.with(wrong.client_properties()).list_topics().expect_err("the wrong password");
    assert_eq!(refused.kafka_class(), Some("SaslAuthenticationException"), "{refused}");
    let plain = suite::tool().at(&cluster.bootstrap());
    assert_eq!(plain.list_topics().expect("listed"), ["secured"]);
}

#[test]
fn a_broker_that_cannot_start_says_why() {
    let mut options = ClusterOptions::named("wrong");
    options.properties.insert("log.retention.ms".to_owned(), "soon".to_owned());
    let error = Cluster::start(suite::jars(), options).expect_err("refused").to_string();
    assert!(error.contains("the formatting of Kafka node 1 of wrong ended with exit status"), "{error}");
    assert!(error.contains("log.retention.ms"), "{error}");
}

/// In a process of its own, as the variables of this one are shared by all its tests.
#[test]
fn jars_that_are_there_need_neither_maven_nor_network() {
    if std::env::var_os("COPYIST_TESTS_NO_MAVEN").is_some() {
        find_program("mvn", "", "").expect_err("there is no Maven here");
        Jars::fetch(Progress::Silent).expect("they are there");
        let empty = Scratch::new("empty-cache").expect("made");
        let missing = Jars::fetch_into(empty.path(), Progress::Silent).expect_err("not without Maven");
        assert!(matches!(&missing, Error::ToolMissing { tool, .. } if tool == "mvn"), "{missing}");
        return;
    }
    suite::jars();
    let output = this_test("jars_that_are_there_need_neither_maven_nor_network")
        .env("COPYIST_TESTS_NO_MAVEN", "1")
        .env("PATH", "/nowhere")
        .output()
        .expect("it ran");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_child_dies_with_us_even_by_kill_9() {
    const LOG: &str = "COPYIST_TESTS_CHILD_LOG";
    if let Some(log) = std::env::var_os(LOG) {
        // A thread that has ended must not take its child along.
        let spec = Spec::new("a child", "/bin/sleep", &log).arg("600");
        let child =
            std::thread::spawn(move || Process::spawn(&spec)).join().expect("no panic").expect("started");
        std::fs::write(Path::new(&log).with_extension("pid"), child.pid().to_string()).expect("written");
        wait_until("our end by kill -9", LIMIT, Progress::Silent, || Ok(None::<()>))
            .expect_err("killed before");
        return;
    }
    let scratch = Scratch::new("child").expect("made");
    let log = scratch.path().join("child.log");
    let mut parent =
        this_test("a_child_dies_with_us_even_by_kill_9").env(LOG, &log).spawn().expect("started");
    let pid = wait_until("the child", LIMIT, Progress::Silent, || {
        let text = std::fs::read_to_string(log.with_extension("pid")).unwrap_or_default();
        Ok(text.parse::<u32>().ok())
    });
    let stat = format!("/proc/{}/stat", pid.expect("it started"));
    assert!(std::fs::read_to_string(&stat).expect("it runs").contains("(sleep)"), "after its thread ended");
    parent.kill().expect("killed");
    parent.wait().expect("gone");
    wait_until("the child's end", LIMIT, Progress::Silent, || {
        let state = std::fs::read_to_string(&stat).unwrap_or_default();
        Ok((!state.contains("(sleep) S")).then_some(()))
    })
    .expect("it ended too");
}

/// In a process of its own: nothing can be started after an interrupt.
#[test]
fn an_interrupt_ends_all_and_every_wait() {
    if std::env::var_os("COPYIST_TESTS_INTERRUPT").is_none() {
        let output =
            this_test("an_interrupt_ends_all_and_every_wait").env("COPYIST_TESTS_INTERRUPT", "1").output();
        let output = output.expect("it ran");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let scratch = Scratch::new("interrupted").expect("made");
    let spec = |name: &str| Spec::new(name, "/bin/sleep", scratch.path().join(name)).arg("600");
    let mut older = Process::spawn(&spec("older")).expect("started");
    let mut waiting = Process::spawn(&spec("waiting")).expect("started");
    std::thread::scope(|scope| {
        let wait =
            scope.spawn(move || waiting.wait_for("nothing", LIMIT, Progress::Silent, || Ok(None::<()>)));
        interrupt();
        let ended = wait.join().expect("no panic");
        assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    });
    assert!(older.exited().expect("asked").is_some(), "ended as well");
    let refused = Process::spawn(&spec("later"));
    assert!(matches!(refused, Err(Error::Interrupted)), "{refused:?}");
}

#[test]
fn processes_report_their_end_with_their_log() {
    let scratch = Scratch::new("ended").expect("made");
    let log = scratch.path().join("log");
    let spec = Spec::new("a script", "/bin/sh", &log)
        .args(["-c", "for n in $(seq 30); do echo line $n; done; exit 3"]);
    let error = Process::run(&spec, LIMIT, Progress::Silent).expect_err("exit 3").to_string();
    assert!(error.starts_with("a script ended with exit status: 3; the end of its log "), "{error}");
    assert!(
        error.contains("line 11\n") && error.ends_with("line 30") && !error.contains("line 10\n"),
        "{error}"
    );

    let spec = Spec::new("a stubborn script", "/bin/sh", &log);
    let spec = spec.args(["-c", "trap '' TERM; echo ready; while true; do sleep 0.1; done"]);
    let mut stubborn = Process::spawn(&spec).expect("started");
    let pid = stubborn.pid();
    let text = |process: &Process| process.log_text().expect("read");
    wait_until("its trap", LIMIT, Progress::Silent, || Ok((text(&stubborn) == "ready\n").then_some(())))
        .expect("ready, and nothing of the run before");
    let stopped = stubborn.stop(Duration::from_millis(300)).expect_err("it ignores SIGTERM");
    assert!(matches!(stopped, Error::Timeout { .. }), "{stopped}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "killed and waited for");
}

#[test]
fn a_process_may_be_left_running() {
    let scratch = Scratch::new("left").expect("made");
    let spec = Spec::new("a child", "/bin/sleep", scratch.path().join("log")).arg("600");
    let spec = Spec { lifetime: Lifetime::MayOutliveUs, ..spec };
    let pid = Process::spawn(&spec).expect("started").leave_running();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    assert!(stat.contains("(sleep) S") || stat.contains("(sleep) R"), "{stat}");
    let killed = Command::new("kill").arg("-9").arg(pid.to_string()).status().expect("ran");
    assert!(killed.success());
}

/// This test binary, to run one test of it.
#[expect(clippy::expect_used, reason = "a running process has a path")]
fn this_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.args(["--exact", name, "--nocapture"]);
    command
}
