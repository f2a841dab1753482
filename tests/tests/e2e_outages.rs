//! Clusters that are away: at the start, in the middle, for long. Copyist waits, says for what, and goes on by itself;
//! no record goes missing, and order is kept.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test whose step fails has failed, and says why; it tells what really happened"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_tests::scenario::{LIMIT, connector_state, numbered, records_in, task_states};
use copyist_tests::{
    Cluster, ClusterOptions, Deadline, Kafka, Progress, Rec, Rest, Scenario, suite, wait_until,
};
use reqwest::Method;
use serde_json::json;

/// The state of the one task and the connector's, and the task's trace.
fn states(scenario: &Scenario) -> (String, String, String) {
    let status = scenario.get("/connectors/c/status");
    let task = task_states(&status).into_iter().next().unwrap_or_default();
    let trace = status["tasks"][0]["trace"].as_str().unwrap_or_default().to_owned();
    (connector_state(&status).to_owned(), task, trace)
}

/// Clusters of its own, which come and go.
struct Outage {
    source: Cluster,
    destination: Cluster,
    scenario: Scenario,
    records: u64,
}

impl Outage {
    const TOPIC: &'static str = "outage";
    const PARTITIONS: i32 = 4;
    /// One burst: enough to be in the middle of it when a cluster dies.
    const BURST: u64 = 60_000;

    fn start() -> Outage {
        let (source, destination) = Cluster::start_two(
            suite::jars(),
            ClusterOptions::named("outage-source"),
            ClusterOptions::named("outage-destination"),
        )
        .expect("started");
        let scenario = Scenario::start_with("outage", &destination.bootstrap(), &[]);
        Outage { source, destination, scenario, records: 0 }
    }

    fn at_source(&self) -> Kafka<'static> {
        suite::tool().at(&self.source.bootstrap())
    }

    fn at_destination(&self) -> Kafka<'static> {
        suite::tool().at(&self.destination.bootstrap())
    }

    fn copied(&self) -> u64 {
        records_in(&self.at_destination(), Self::TOPIC).expect("offsets")
    }

    fn produce(&mut self, records: u64) {
        let tag = format!("from {} {}", self.records, "x".repeat(900));
        let count = usize::try_from(records).expect("few");
        self.at_source().produce(&numbered(Self::TOPIC, Self::PARTITIONS, &tag, count)).expect("produced");
        self.records += records;
    }

    /// While paused a burst comes in; resumed, it is copied until a part of it is there.
    fn copy_into_the_middle(&mut self) {
        let put =
            |rest: &Rest, action: &str| rest.call(Method::PUT, &format!("/connectors/c/{action}"), None);
        let before = self.records;
        self.scenario.expect(202, put(self.scenario.copyist.rest(), "pause"));
        self.scenario.wait_all("c", "PAUSED", 1);
        self.produce(Self::BURST);
        self.scenario.expect(202, put(self.scenario.copyist.rest(), "resume"));
        let reached = wait_until("a part of the burst", LIMIT, Progress::Silent, || {
            Ok((self.copied() >= before + Self::BURST / 20).then_some(()))
        });
        self.scenario.must("a part of the burst", reached);
    }

    /// Waits until all is there; tells how many are there twice.
    fn wait_complete(&self, what: &str) {
        let (left, right) = (self.at_source(), self.at_destination());
        self.scenario.wait_records(&right, Self::TOPIC, self.records);
        let complete = wait_until("every record", LIMIT, Progress::Silent, || {
            let (sent, copied) = (left.dump(Self::TOPIC)?, right.dump(Self::TOPIC)?);
            Ok(repeated(&sent, &copied))
        });
        let twice = self.scenario.must("every record, in order", complete);
        println!("{what}: {} records, 0 missing, {twice} twice", self.records);
    }
}

fn lane(records: &[Rec], partition: i32) -> Vec<&Rec> {
    records.iter().filter(|record| record.partition == Some(partition)).collect()
}

/// How many copies are repetitions, once every record is there: each lane's copies are runs of the source's records, one
/// after the other, that never skip one.
fn repeated(sent: &[Rec], copied: &[Rec]) -> Option<usize> {
    for partition in 0..Outage::PARTITIONS {
        let (sent, copied) = (lane(sent, partition), lane(copied, partition));
        let places: BTreeMap<_, _> =
            sent.iter().enumerate().map(|(place, record)| (record.content(), place)).collect();
        assert_eq!(places.len(), sent.len(), "the source's records differ from each other");
        let mut next = 0;
        for record in copied {
            let place = *places.get(&record.content()).expect("a copy of a record of the source");
            assert!(place <= next, "lane {partition}: {place} follows {next}: records are missing between");
            next = place + 1;
        }
        if next < sent.len() {
            return None;
        }
    }
    Some(copied.len() - sent.len())
}

#[test]
fn clusters_come_and_go_and_nothing_is_missing() {
    let mut outage = Outage::start();
    outage.at_source().create_topic(Outage::TOPIC, 4).expect("created");
    outage.produce(1_000);

    // The source is down when the connector is created.
    outage.source.kill_9();
    let servers = outage.source.bootstrap();
    let config = json!({
        "connector.class": "EMRReplicatorSourceConnector",
        "src.kafka.bootstrap.servers": servers,
        "topic.whitelist": Outage::TOPIC,
        "topic.poll.interval.ms": "1000",
        "tasks.max": "1",
    });
    let asked = Deadline::after(LIMIT);
    outage.scenario.create("c", &config);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(3), "POST took {took:?}");
    let waits = format!("waits for the source cluster at {servers}: ");
    let status = outage.scenario.wait_status("c", &waits, |status| {
        status["connector"]["trace"].as_str().is_some_and(|trace| trace.contains(&waits))
    });
    assert_eq!(connector_state(&status), "UNASSIGNED", "{status}");
    println!("source down: POST answered in {took:?}; {}", status["connector"]["trace"]);
    outage.source.restart().expect("started again");
    outage.scenario.wait_running("c", 1);
    outage.wait_complete("source up again");

    source_dies_in_the_middle(&mut outage);
    destination_dies_in_the_middle(&mut outage);
}

fn source_dies_in_the_middle(outage: &mut Outage) {
    outage.copy_into_the_middle();
    outage.source.kill_9();
    let copied = outage.copied();
    assert!(copied < outage.records, "the source died after all of {} records were copied", outage.records);
    println!("source killed after {copied} of {} records", outage.records);
    outage.source.restart().expect("started again");
    outage.wait_complete("source killed and restarted");
    assert_eq!(states(&outage.scenario).1, "RUNNING");
}

fn destination_dies_in_the_middle(outage: &mut Outage) {
    outage.copy_into_the_middle();
    let copied = outage.copied();
    outage.destination.kill_9();
    assert!(
        copied < outage.records,
        "the destination died after all of {} records were copied",
        outage.records
    );
    println!("destination killed after {copied} of {} records", outage.records);
    let before = outage.scenario.copyist.log_text().expect("the log").len();
    let expected = format!(
        "no connection for more than 30 s to the destination cluster at {}",
        outage.destination.bootstrap()
    );
    let away = Deadline::after(LIMIT);
    let told = wait_until("a trace of the outage", LIMIT, Progress::Silent, || {
        let (connector, task, trace) = states(&outage.scenario);
        // States are stored once a second: for a moment that of before the resume may show.
        if away.elapsed() > Duration::from_secs(3) {
            let states = (connector.as_str(), task.as_str());
            assert_eq!(states, ("RUNNING", "RUNNING"), "an outage is no failure: {trace}");
        }
        Ok(trace.contains(&expected).then_some(trace))
    });
    let trace = outage.scenario.must(&expected, told);
    let after = away.elapsed();
    assert!(after > Duration::from_secs(25), "told after {after:?}: {trace}");
    println!("after {after:?}: {trace}");
    check_repetitions(&outage.scenario.copyist.log_text().expect("the log")[before..], after);
    outage.destination.restart().expect("started again");
    outage.wait_complete("destination killed and restarted");
    outage.scenario.wait_status("c", "an empty trace", |status| {
        let trace = status["tasks"][0]["trace"].as_str().unwrap_or_default();
        task_states(status) == ["RUNNING"] && trace.is_empty()
    });
    outage.produce(100);
    outage.wait_complete("afterwards");
}

/// One failure again and again is at most one line in 30 s.
fn check_repetitions(log: &str, outage: Duration) {
    let allowed = 1 + usize::try_from(outage.as_secs() / 30).expect("few");
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")) {
        // Without the time and without any number.
        let (_, text) = line.split_once(' ').unwrap_or(("", line));
        let text: String = text.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        *kinds.entry(text).or_default() += 1;
    }
    println!("{} kinds of lines during an outage of {outage:?}:", kinds.len());
    for (text, times) in &kinds {
        println!("  {times} x {}", text.chars().take(200).collect::<String>());
        assert!(*times <= allowed, "{times} times in {outage:?}: {text}");
    }
    assert!(!kinds.is_empty(), "the outage is not in the log");
}

#[test]
fn a_missing_or_disordered_copy_would_be_seen() {
    let sent: Vec<Rec> = (0..4).map(|n| Rec::new("t", 0).timestamp(n).value(format!("{n}"))).collect();
    let pick = |places: &[usize]| places.iter().map(|place| sent[*place].clone()).collect::<Vec<_>>();
    assert_eq!(repeated(&sent, &pick(&[0, 1, 2, 3])), Some(0));
    assert_eq!(repeated(&sent, &pick(&[0, 1, 2, 1, 2, 3])), Some(2));
    assert_eq!(repeated(&sent, &pick(&[0, 1, 2])), None);
    let skipped = std::panic::catch_unwind(|| repeated(&sent, &pick(&[0, 2, 3])));
    assert!(skipped.is_err());
    let disordered = std::panic::catch_unwind(|| repeated(&sent, &pick(&[1, 0, 2, 3])));
    assert!(disordered.is_err());
}
