//! What is copied: each record as it was, from where to where, and how REST calls change that while it goes on.

use std::sync::atomic::{AtomicBool, Ordering};

use copyist_tests::scenario::{
    LIMIT, THEN, config, connector_state, destination, numbered, odd_records, source, task_states,
};
use copyist_tests::{Kafka, Process, Progress, Rec, Scenario, Scratch, Step, suite, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

/// Kafka's own tools at both ends, and the `curl` line that people have, to the letter.
#[test]
fn the_usual_scenario_copies_ten_partitions() {
    const RECORDS: u64 = 20_000;
    let (from, to) = suite::pair();
    source().create_topic("connect", 10).expect("created");
    let scenario = Scenario::start("usual");
    let body = r#"{"name": "connect-test", "config": { "connector.class": "EMRReplicatorSourceConnector", "key.converter": "org.apache.kafka.connect.converters.ByteArrayConverter", "value.converter": "org.apache.kafka.connect.converters.ByteArrayConverter", "src.kafka.bootstrap.servers": "SOURCE", "src.zookeeper.connect": "ANY:2181", "dest.zookeeper.connect": "ANY:2181", "topic.whitelist": "connect", "topic.rename.format": "connect.replica", "src.kafka.max.poll.records": "300" } }"#;
    let body = body.replace("SOURCE", &from.bootstrap());
    let created = scenario.expect(201, scenario.copyist.rest().call_raw(Method::POST, "/connectors", &body));
    assert_eq!((&created["name"], &created["type"]), (&json!("connect-test"), &json!("source")));
    assert_eq!(scenario.get("/connectors"), json!(["connect-test"]));
    let status = scenario.wait_running("connect-test", 10);
    assert!(status["connector"]["worker_id"].as_str().is_some_and(|id| id.contains(':')), "{status}");
    let tasks = scenario.get("/connectors/connect-test/tasks");
    let ids: Vec<&Value> = tasks.as_array().expect("tasks").iter().map(|task| &task["id"]["task"]).collect();
    assert_eq!(ids, (0..10).map(|n| json!(n)).collect::<Vec<_>>().iter().collect::<Vec<_>>());

    let args =
        ["--topic", "connect", "--num-records", "20000", "--throughput", "-1", "--record-size", "1000"];
    kafkas_own("ProducerPerformance", &from.bootstrap(), &args);
    scenario.wait_copied("connect", "connect.replica", RECORDS);
    let args = ["--topic", "connect.replica", "--num-records", "20000", "--timeout", "60000"];
    let consumed = kafkas_own("ConsumerPerformance", &to.bootstrap(), &args);
    // The column data.consumed.in.nMsg.
    assert!(consumed.lines().any(|line| line.split(", ").nth(4) == Some("20000")), "{consumed}");
    let metrics = scenario.copyist.metrics().expect("metrics");
    assert_eq!(sum_of(&metrics, "copyist_lane_records_total{connector=\"connect-test\""), RECORDS);
}

/// One of Kafka's tools; what it printed.
fn kafkas_own(tool: &str, bootstrap: &str, args: &[&str]) -> String {
    let scratch = suite::must("a directory", Scratch::new("tools"));
    let log = scratch.path().join("log");
    let class = format!("org.apache.kafka.tools.{tool}");
    let spec = suite::must("java", suite::jars().java(tool, &class, &log));
    let spec = spec.args(args).args(["--bootstrap-server", bootstrap]);
    suite::must(tool, Process::run(&spec, LIMIT, Progress::Silent));
    std::fs::read_to_string(log).unwrap_or_default()
}

fn sum_of(metrics: &str, start: &str) -> u64 {
    let values = metrics.lines().filter(|line| line.starts_with(start));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn every_kind_of_record_arrives_as_it_was_in_each_codec() {
    let (from, to) = (source(), destination());
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    for codec in codecs {
        let topic = format!("odd-{codec}");
        from.create_topic(&topic, 2).expect("created");
        let records =
            [odd_records(&topic, 0), odd_records(&topic, 1), numbered(&topic, 2, codec, 500)].concat();
        from.produce_with(&[("compression.type", codec), ("linger.ms", "20")], &records).expect("produced");
    }
    let scenario = Scenario::start("odd");
    scenario
        .create("odd", &config(&[("topic.regex", "odd-(none|gzip|snappy|lz4|zstd)"), ("tasks.max", "2")]));
    for codec in codecs {
        let topic = format!("odd-{codec}");
        scenario.wait_copied(&topic, &topic, 522);
        // The comparison once more, by a reader that keeps null and empty apart in another way.
        let (written, copied) = (from.dump(&topic).expect("dumped"), to.dump(&topic).expect("dumped"));
        let contents =
            |records: &[Rec]| records.iter().map(|rec| format!("{:?}", rec.content())).collect::<Vec<_>>();
        assert!(contents(&written) == contents(&copied), "{codec}");
        assert!(copied.iter().any(|rec| rec.key.is_none() && rec.value.is_none()), "{codec}");
    }
}

#[test]
fn records_larger_than_the_default_limits_are_copied() {
    let (from, to) = (source(), destination());
    from.create_topic_with("large", 1, 1, &[("max.message.bytes", "8388608")]).expect("created");
    // Does not compress, and does.
    let noise: Vec<u8> = (0..5_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let records = [
        Rec::new("large", 0).value("small").timestamp(THEN),
        Rec::new("large", 0).value(noise).timestamp(THEN),
        Rec::new("large", 0).value("small again").timestamp(THEN),
        Rec::new("large", 0).key(vec![1; 3_000_000]).value(vec![2; 3_000_000]).timestamp(THEN),
    ];
    from.produce(&records).expect("produced");
    let scenario = Scenario::start("large");
    scenario.create("large", &config(&[("topic.whitelist", "large")]));
    scenario.wait_copied("large", "large", 4);
    assert_eq!(to.topic_configs("large").expect("configs")["max.message.bytes"], "8388608");
}

#[test]
fn a_record_that_fits_only_compressed_stays_compressed() {
    let from = source();
    from.create_topic("zipped", 1).expect("created");
    let records = [numbered("zipped", 1, "x", 10), vec![Rec::new("zipped", 0).value(vec![0; 3_000_000])]];
    from.produce_with(&[("compression.type", "gzip")], &records.concat()).expect("produced");
    let scenario = Scenario::start("zipped");
    scenario.create("zipped", &config(&[("topic.whitelist", "zipped")]));
    scenario.wait_copied("zipped", "zipped", 11);
}

#[test]
fn librdkafka_needs_a_producer_that_compresses_for_a_record_that_fits_only_compressed() {
    let from = source();
    from.create_topic("zeros", 1).expect("created");
    let records = [numbered("zeros", 1, "x", 10), vec![Rec::new("zeros", 0).value(vec![0; 3_000_000])]];
    from.produce_with(&[("compression.type", "gzip")], &records.concat()).expect("produced");
    let scenario = Scenario::start("zeros");
    let engine = ("engine", "librdkafka");
    scenario.create("zeros", &config(&[("topic.whitelist", "zeros"), engine]));
    let status = scenario.wait_status("zeros", "the refusal", |status| task_states(status) == ["FAILED"]);
    let trace = status["tasks"][0]["trace"].as_str().unwrap_or_default();
    assert!(trace.contains("zeros-0") && trace.contains("offset 10 (3000000 bytes"), "{trace}");
    let gzip = ("dest.kafka.compression.type", "gzip");
    let compressing = config(&[("topic.whitelist", "zeros"), gzip, engine]);
    scenario.expect(200, scenario.copyist.rest().put("/connectors/zeros/config", &compressing));
    scenario.wait_copied("zeros", "zeros", 11);
    scenario.wait_running("zeros", 1);
}

#[test]
fn aborted_transactions_do_not_arrive() {
    let (from, to) = (source(), destination());
    from.create_topic("transactions", 2).expect("created");
    let records = |value: &str, count: usize| {
        numbered("transactions", 2, value, count).into_iter().map(Step::Record).collect::<Vec<_>>()
    };
    let steps = [
        records("kept", 40),
        vec![Step::Commit],
        records("lost", 30),
        vec![Step::Abort],
        records("kept too", 2),
        vec![Step::Commit],
        records("lost at the end", 10),
        vec![Step::Abort],
    ];
    from.transact("copied", &[], &steps.concat()).expect("produced");
    let scenario = Scenario::start("transactions");
    scenario.create("transactions", &config(&[("topic.whitelist", "transactions")]));
    scenario.wait_copied("transactions", "transactions", 42);
    // Behind the aborted ones, so that they were passed.
    from.produce(&numbered("transactions", 2, "plain", 8)).expect("produced");
    scenario.wait_copied("transactions", "transactions", 50);
    let all = to.dump_with(&[("isolation.level", "read_uncommitted")], &["transactions"]).expect("dumped");
    let lost = |rec: &Rec| rec.value.as_ref().is_some_and(|value| value.starts_with(b"lost"));
    assert_eq!((all.len(), all.iter().filter(|rec| lost(rec)).count()), (50, 0));
}

#[test]
fn topics_and_partitions_that_come_later_are_copied_from_their_first_record() {
    let from = source();
    let filled = |topic: &str| {
        from.create_topic(topic, 2).expect("created");
        from.produce(&numbered(topic, 2, topic, 1_000)).expect("produced");
    };
    filled("later-first");
    let scenario = Scenario::start("later");
    // What is there at the start is left out, so that nothing else can hide a wrong start of what comes later.
    let pairs = [
        ("topic.regex", "later-.*"),
        ("topic.rename.format", "copy.${topic}"),
        ("src.consumer.auto.offset.reset", "latest"),
        ("topic.poll.interval.ms", "2000"),
    ];
    scenario.create("later", &config(&pairs));
    scenario.wait_running("later", 2);
    from.produce(&numbered("later-first", 2, "after the start", 10)).expect("produced");
    scenario.wait_records(&destination(), "copy.later-first", 10);
    let copied = destination().dump("copy.later-first").expect("dumped");
    let late = |rec: &Rec| rec.value.as_ref().is_some_and(|value| value.starts_with(b"after the start"));
    assert_eq!((copied.len(), copied.iter().filter(|rec| late(rec)).count()), (10, 10));

    // One of them has its 1,000 records before a survey finds it; the interval may end in between.
    let mut before = false;
    for n in 0..5 {
        let topic = format!("later-{n}");
        filled(&topic);
        let copy = format!("copy.{topic}");
        before = !destination().list_topics().expect("listed").contains(&copy);
        scenario.wait_copied(&topic, &copy, 1_000);
        if before {
            break;
        }
    }
    assert!(before, "each survey was quicker than 1,000 records");

    from.create_partitions("later-0", 5).expect("grown");
    let new: Vec<Rec> = (2..5)
        .flat_map(|partition| {
            (0..100).map(move |n| Rec::new("later-0", partition).value(format!("{partition} {n}")))
        })
        .collect();
    from.produce(&new).expect("produced");
    scenario.wait_copied("later-0", "copy.later-0", 1_300);
    assert_eq!(destination().describe_topic("copy.later-0").expect("described").partitions.len(), 5);
}

#[test]
fn topics_are_selected_and_renamed_as_written() {
    let (from, to) = (source(), destination());
    for topic in ["sel-orders", "sel-orders.eu", "sel-refunds", "sel-secret", "other-listed"] {
        from.create_topic(topic, 2).expect("created");
        from.produce(&numbered(topic, 2, topic, 20)).expect("produced");
    }
    let scenario = Scenario::start("selection");
    let select = [
        ("topic.whitelist", "other-listed, sel-orders"),
        ("topic.regex", "sel-(orders\\..*|refunds|secret)"),
        ("topic.blacklist", "sel-secret"),
    ];
    let forms = [("prefixed", "dc1.${topic}"), ("suffixed", "${topic}.dc1"), ("framed", "x-${topic}-y")];
    for (name, form) in forms {
        let rename = [("topic.rename.format", form), ("tasks.max", "1")];
        scenario.create(name, &config(&[&select[..], &rename].concat()));
    }
    for (_, form) in forms {
        for topic in ["other-listed", "sel-orders", "sel-orders.eu", "sel-refunds"] {
            scenario.wait_copied(topic, &form.replace("${topic}", topic), 20);
        }
    }
    let own = [("topic.whitelist", "sel-secret"), ("topic.rename.format", "sel-literal"), ("tasks.max", "1")];
    scenario.create("literal", &config(&own));
    scenario.wait_copied("sel-secret", "sel-literal", 20);
    // By itself topics keep their names.
    scenario.create("same", &config(&[("topic.whitelist", "sel-refunds"), ("tasks.max", "1")]));
    scenario.wait_copied("sel-refunds", "sel-refunds", 20);
    let topics = to.list_topics().expect("listed");
    let of_test: Vec<&String> =
        topics.iter().filter(|it| it.contains("sel-") || it.contains("listed")).collect();
    assert_eq!(of_test.len(), 4 * 3 + 2, "{of_test:?}");
    assert!(!of_test.iter().any(|topic| topic.contains("secret")), "{of_test:?}");
}

#[test]
fn records_from_1970_and_without_a_time_are_copied() {
    let from = source();
    from.create_topic("epoch", 2).expect("created");
    let old = |timestamp| Rec::new("epoch", 1).timestamp(timestamp).value("1970");
    let records =
        [numbered("epoch", 2, "before", 30), vec![old(0), old(1)], numbered("epoch", 2, "after", 60)];
    from.produce(&records.concat()).expect("produced");
    let scenario = Scenario::start("epoch");
    scenario.create("epoch", &config(&[("topic.whitelist", "epoch")]));
    scenario.wait_copied("epoch", "epoch", 92);
}

#[test]
fn a_record_stamped_0_stops_its_lane_alone_in_librdkafka() {
    let (from, to) = (source(), destination());
    from.create_topic("stamped", 3).expect("created");
    let zero = Rec::new("stamped", 1).timestamp(0).value("1970");
    let records = [numbered("stamped", 3, "before", 30), vec![zero], numbered("stamped", 3, "after", 60)];
    from.produce(&records.concat()).expect("produced");
    let scenario = Scenario::start("stamped");
    let engine = ("engine", "librdkafka");
    scenario.create("stamped", &config(&[("topic.whitelist", "stamped"), ("tasks.max", "1"), engine]));
    let failed = |status: &Value| task_states(status) == ["FAILED"];
    let stopped = |status: &Value| {
        assert_eq!(connector_state(status), "RUNNING", "{status}");
        let trace = status["tasks"][0]["trace"].as_str().unwrap_or_default();
        assert!(trace.contains("stamped-1: the record at offset 10 is stamped 0"), "{trace}");
        assert!(!trace.contains("stamped-0") && !trace.contains("stamped-2"), "{trace}");
    };
    stopped(&scenario.wait_status("stamped", "the stop of one lane", failed));
    // 30 in each of the others, and what came before in this one.
    scenario.wait_records(&to, "stamped", 70);
    from.produce(&numbered("stamped", 3, "later", 30)).expect("produced");
    scenario.wait_records(&to, "stamped", 90);
    let ends: Vec<i64> = to.end_offsets("stamped").expect("offsets").into_values().collect();
    assert_eq!(ends, [40, 10, 40]);
    // The record is still there.
    let restart = "/connectors/stamped/tasks/0/restart";
    scenario.expect(204, scenario.copyist.rest().call(Method::POST, restart, None));
    stopped(&scenario.wait_status("stamped", "the stop of one lane", failed));
}

#[test]
fn a_refused_record_stops_its_lane_until_a_restart() {
    let (from, to) = (source(), destination());
    from.create_topic("refusal", 2).expect("created");
    to.create_topic_with("refusal", 2, 1, &[("max.message.bytes", "20000")]).expect("created");
    let large = Rec::new("refusal", 0).value(vec![b'x'; 30_000]);
    let records = [numbered("refusal", 2, "before", 100), vec![large], numbered("refusal", 2, "after", 100)];
    from.produce(&records.concat()).expect("produced");
    let scenario = Scenario::start("refusal");
    scenario.create("refusal", &config(&[("topic.whitelist", "refusal"), ("tasks.max", "1")]));
    let status = scenario.wait_status("refusal", "the refusal", |status| task_states(status) == ["FAILED"]);
    let trace = status["tasks"][0]["trace"].as_str().unwrap_or_default();
    assert!(trace.contains("refusal-0: the record at offset 50 makes a batch of 30072 bytes"), "{trace}");
    assert!(!trace.contains("refusal-1"), "{trace}");
    scenario.wait_records(&to, "refusal", 150);
    to.alter_topic_configs("refusal", &[("max.message.bytes", "1000000")], &[]).expect("altered");
    let restart = "/connectors/refusal/restart?includeTasks=true&onlyFailed=true";
    let plan = scenario.expect(202, scenario.copyist.rest().call(Method::POST, restart, None));
    assert_eq!(task_states(&plan), ["RESTARTING"], "{plan}");
    scenario.wait_copied("refusal", "refusal", 201);
    scenario.wait_running("refusal", 1);
}

/// Ends the writer when the test does, however that comes about.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn records_in(kafka: &Kafka<'_>, topic: &str) -> u64 {
    let ends = suite::must("offsets", kafka.end_offsets(topic));
    ends.values().map(|end| end.unsigned_abs()).sum()
}

/// Writes batches to `topic` until done; how many records.
fn write_until(done: &AtomicBool, topic: &str, partitions: i32) -> u64 {
    const BATCH: usize = 1_000;
    let mut batches = 0;
    while !done.load(Ordering::SeqCst) {
        let records = numbered(topic, partitions, &format!("batch {batches}"), BATCH);
        suite::must("produced", source().produce(&records));
        batches += 1;
    }
    batches * BATCH as u64
}

#[test]
fn a_clean_stop_and_start_repeats_nothing() {
    const PARTITIONS: i32 = 4;
    let (from, to) = (source(), destination());
    from.create_topic("stopped", 4).expect("created");
    let mut scenario = Scenario::start("stopped");
    scenario.create("stopped", &config(&[("topic.whitelist", "stopped"), ("tasks.max", "2")]));
    scenario.wait_running("stopped", 2);
    let done = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let end = Done(&done);
        let writer = scope.spawn(|| write_until(&done, "stopped", PARTITIONS));
        for round in 1..=3 {
            let before = records_in(&to, "stopped");
            scenario.wait_records(&to, "stopped", before + 1_500);
            let status = scenario.copyist.stop().expect("it drains");
            assert!(status.success(), "{status}");
            let copied = records_in(&to, "stopped");
            let there = wait_until("more at the source", LIMIT, Progress::Silent, || {
                Ok(Some(records_in(&from, "stopped")).filter(|there| *there > copied))
            });
            println!("stop {round}: {copied} of {} records copied", there.expect("it goes on"));
            scenario.copyist.restart().expect("started again");
        }
        drop(end);
        writer.join().expect("no panic")
    });
    scenario.wait_copied("stopped", "stopped", written);
    println!("{written} records, none twice");
    // Nothing to copy, nothing to repeat.
    scenario.copyist.stop().expect("it ends");
    scenario.copyist.restart().expect("started again");
    scenario.wait_running("stopped", 2);
    from.produce(&numbered("stopped", PARTITIONS, "last", 40)).expect("produced");
    scenario.wait_copied("stopped", "stopped", written + 40);
}

/// Two connectors copy `topic`: `held`, which the test holds up, and `other`, whose copies show that time has passed
/// in which `held` could have copied as well.
struct Held {
    scenario: Scenario,
    topic: &'static str,
    written: u64,
}

impl Held {
    fn start(topic: &'static str) -> Held {
        suite::must("created", source().create_topic(topic, 2));
        let scenario = Scenario::start(topic);
        for name in ["held", "other"] {
            let rename = format!("{name}.${{topic}}");
            let pairs =
                [("topic.whitelist", topic), ("topic.rename.format", rename.as_str()), ("tasks.max", "2")];
            scenario.create(name, &config(&pairs));
        }
        scenario.wait_running("held", 2);
        let mut held = Held { scenario, topic, written: 0 };
        held.write();
        held.copied();
        held
    }

    fn write(&mut self) {
        suite::must(
            "produced",
            source().produce(&numbered(self.topic, 2, &format!("from {}", self.written), 100)),
        );
        self.written += 100;
        self.scenario.wait_copied(self.topic, &format!("other.{}", self.topic), self.written);
    }

    /// All is copied, once.
    fn copied(&self) {
        self.scenario.wait_copied(self.topic, &format!("held.{}", self.topic), self.written);
    }

    /// Writes, and insists that nothing of it is copied.
    fn not_copied(&mut self) {
        let before = records_in(&destination(), &format!("held.{}", self.topic));
        self.write();
        assert!(before > 0 && before < self.written);
        assert_eq!(records_in(&destination(), &format!("held.{}", self.topic)), before);
    }

    fn call(&self, status: u16, method: Method, path: &str) -> Value {
        let path = format!("/connectors/held{path}");
        self.scenario.expect(status, self.scenario.copyist.rest().call(method, &path, None))
    }
}

#[test]
fn pause_stop_and_delete_hold_copying_up_and_it_goes_on_where_it_was() {
    let mut held = Held::start("holdup");
    held.call(202, Method::PUT, "/pause");
    held.scenario.wait_all("held", "PAUSED", 2);
    held.not_copied();
    held.call(202, Method::PUT, "/resume");
    held.scenario.wait_running("held", 2);
    held.copied();

    held.call(204, Method::PUT, "/stop");
    held.scenario.wait_all("held", "STOPPED", 0);
    assert_eq!(held.scenario.get("/connectors/held/tasks"), json!([]));
    held.not_copied();
    held.call(202, Method::PUT, "/resume");
    held.scenario.wait_running("held", 2);
    held.copied();

    let config = held.scenario.get("/connectors/held/config");
    held.call(204, Method::DELETE, "");
    held.call(404, Method::GET, "/status");
    assert_eq!(held.scenario.get("/connectors"), json!(["other"]));
    let gone = wait_until("the end of its lanes", LIMIT, Progress::Silent, || {
        Ok((!held.scenario.copyist.metrics()?.contains("connector=\"held\"")).then_some(()))
    });
    gone.expect("they go");
    held.not_copied();
    // As with Connect, positions outlive the connector.
    let created = wait_until("the name to be free", LIMIT, Progress::Silent, || {
        let body = json!({"name": "held", "config": config});
        Ok(Some(held.scenario.copyist.rest().post("/connectors", &body)?.0).filter(|status| *status == 201))
    });
    created.expect("created again");
    held.scenario.wait_running("held", 2);
    held.copied();
}

#[test]
fn restarts_neither_repeat_nor_lose() {
    let mut held = Held::start("restarts");
    held.call(204, Method::POST, "/restart");
    held.write();
    held.call(204, Method::POST, "/tasks/1/restart");
    held.write();
    let plan = held.call(202, Method::POST, "/restart?includeTasks=true");
    assert_eq!((connector_state(&plan), task_states(&plan).len()), ("RESTARTING", 2), "{plan}");
    held.write();
    held.call(404, Method::POST, "/tasks/7/restart");
    held.scenario.wait_running("held", 2);
    held.copied();
}

#[test]
fn a_changed_config_takes_effect_without_repeating() {
    let from = source();
    for topic in ["change-a", "change-b"] {
        from.create_topic(topic, 6).expect("created");
        from.produce(&numbered(topic, 6, topic, 60)).expect("produced");
    }
    let scenario = Scenario::start("change");
    let put = |status: u16, tasks: &str, topics: &str| {
        let config = config(&[("topic.whitelist", topics), ("tasks.max", tasks)]);
        scenario.expect(status, scenario.copyist.rest().put("/connectors/change/config", &config))
    };
    put(201, "2", "change-a");
    scenario.wait_running("change", 2);
    scenario.wait_copied("change-a", "change-a", 60);

    let answer = put(200, "5", "change-a");
    assert_eq!(answer["config"]["tasks.max"], "5");
    scenario.wait_running("change", 5);
    from.produce(&numbered("change-a", 6, "five", 60)).expect("produced");
    scenario.wait_copied("change-a", "change-a", 120);

    put(200, "5", "change-a,change-b");
    scenario.wait_copied("change-b", "change-b", 60);
    from.produce(&numbered("change-a", 6, "both", 60)).expect("produced");
    scenario.wait_copied("change-a", "change-a", 180);

    put(200, "1", "change-b");
    scenario.wait_running("change", 1);
    from.produce(&numbered("change-a", 6, "not for you", 60)).expect("produced");
    from.produce(&numbered("change-b", 6, "alone", 60)).expect("produced");
    scenario.wait_copied("change-b", "change-b", 120);
    assert_eq!(records_in(&destination(), "change-a"), 180);
    // And back: from where it was.
    put(200, "1", "change-a,change-b");
    scenario.wait_copied("change-a", "change-a", 240);
    scenario.wait_copied("change-b", "change-b", 120);
}
