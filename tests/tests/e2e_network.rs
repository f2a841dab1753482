//! A network that cuts, truncates, delays and stalls, between Copyist and real Kafka clusters: before the source,
//! before the destination, before both; with records of now, and with old ones, whose producers the destination forgets
//! each second. Nothing is missing, nothing comes twice, order is kept.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test whose step fails has failed, and says why; it tells what really happened"
)]

use std::time::Duration;

use copyist_tests::proxy::{Fault, Faults, Proxy};
use copyist_tests::scenario::{LIMIT, numbered};
use copyist_tests::{
    Cluster, ClusterOptions, Copyist, CopyistOptions, Deadline, Kafka, Progress, Rec, Scenario, Side,
    free_port, suite, wait_until,
};
use serde_json::json;

const PARTITIONS: u32 = 6;
/// At once, again and again while the network rages. What waits stays small, so that many answers are.
const RECORDS: usize = 60;
const EVERY: Duration = Duration::from_millis(120);
/// The network rages so long at least, and until each of its faults has happened so often.
const RAGE_AT_LEAST: Duration = Duration::from_secs(7);
const EACH_AT_LEAST: u64 = 2;
/// 2024-01-02: older than what a broker remembers a producer for.
const THEN: i64 = 1_704_153_600_000;

/// A cluster that is reached through a proxy.
struct Far {
    cluster: Cluster,
    proxy: Proxy,
}

impl Far {
    /// A source and a destination.
    fn pair(seed: u64) -> (Far, Far) {
        let proxies = [seed, seed + 1].map(|seed| {
            let port = suite::must("a port", free_port());
            suite::must("a proxy", Proxy::start(port, seed))
        });
        let options = |name: &str, proxy: &Proxy| {
            let mut options = ClusterOptions::named(name);
            let advertised = format!("PLAINTEXT://{}", proxy.address());
            options.properties.insert("advertised.listeners".to_owned(), advertised);
            let tick = "producer.id.expiration.check.interval.ms".to_owned();
            options.properties.insert(tick, "1000".to_owned());
            options
        };
        let [before_source, before_destination] = proxies;
        let source = options("far-source", &before_source);
        let destination = options("far-destination", &before_destination);
        let started = Cluster::start_two(suite::jars(), source, destination);
        let (source, destination) = suite::must("two clusters", started);
        let far = |cluster: Cluster, proxy: Proxy| {
            let port = cluster.bootstrap().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            proxy.forward_to(port.expect("host:port"));
            Far { cluster, proxy }
        };
        (far(source, before_source), far(destination, before_destination))
    }

    /// As Kafka's clients see it: the proxy spares them.
    fn kafka(&self) -> Kafka<'static> {
        suite::tool().at(&self.cluster.bootstrap())
    }
}

/// How often each fault happened since `before`.
fn since(before: &Faults, now: &Faults) -> Faults {
    let happened =
        |fault: &Fault| now.get(fault).copied().unwrap_or(0) - before.get(fault).copied().unwrap_or(0);
    Fault::ALL.iter().map(|fault| (*fault, happened(fault))).collect()
}

/// How old the records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    New,
    Old,
}

fn records(topic: &str, age: Age, fed: u64) -> Vec<Rec> {
    let new = numbered(topic, PARTITIONS.cast_signed(), &format!("{fed}"), RECORDS);
    match age {
        Age::New => new,
        Age::Old => new.into_iter().map(|record| record.timestamp(THEN + fed.cast_signed())).collect(),
    }
}

/// Feeds the source while the network rages at `raging`, until all has happened there; the records that were fed.
fn rage(topic: &str, age: Age, from: &Kafka<'_>, raging: &[&Far]) -> u64 {
    let before: Vec<Faults> = raging.iter().map(|far| far.proxy.faults()).collect();
    raging.iter().for_each(|far| far.proxy.rage(true));
    let minimum = RAGE_AT_LEAST.max(Duration::from_secs(20 * suite::count("COPYIST_TEST_MINUTES", 0)));
    let (clock, mut fed) = (Deadline::after(minimum), 0);
    let mut pace = Deadline::after(EVERY);
    let raged = wait_until("each fault", minimum + LIMIT, Progress::Silent, || {
        if pace.passed() {
            pace = Deadline::after(EVERY);
            from.produce(&records(topic, age, fed))?;
            fed += RECORDS as u64;
        }
        let all = raging.iter().zip(&before).all(|(far, before)| {
            since(before, &far.proxy.faults()).values().all(|times| *times >= EACH_AT_LEAST)
        });
        Ok((clock.passed() && all).then_some(()))
    });
    raging.iter().for_each(|far| far.proxy.rage(false));
    for (far, before) in raging.iter().zip(&before) {
        println!("{topic}: {} records; {:?}", fed, since(before, &far.proxy.faults()));
    }
    suite::must("each fault of the network", raged);
    fed
}

/// Batches without an answer, and resumes by what the broker remembered, or by what lies in its log.
#[derive(Clone, Copy, Debug)]
struct Doubts {
    lost: usize,
    state: usize,
    tail: usize,
}

/// One Copyist and one connector, while the network rages on one side or on both.
fn round(topic: &str, age: Age, (source, destination): &(Far, Far), raging: &[&Far]) -> Doubts {
    let (from, to) = (source.kafka(), destination.kafka());
    from.create_topic(topic, PARTITIONS).expect("created");
    let scenario = talkative(topic, &destination.proxy.address());
    let config = json!({
        "connector.class": "EMRReplicatorSourceConnector",
        "src.kafka.bootstrap.servers": source.proxy.address(),
        "topic.whitelist": topic,
        "tasks.max": "2",
    });
    scenario.create("c", &config);
    scenario.wait_running("c", 2);
    let fed = rage(topic, age, &from, raging);
    let clock = Deadline::after(LIMIT);
    scenario.wait_equal(Side { at: &from, topic }, Side { at: &to, topic }, fed);
    println!(
        "{topic}: all there, once and in order, {:.1} s after the last fault",
        clock.elapsed().as_secs_f64()
    );
    scenario.wait_running("c", 2);
    let log = scenario.must("the log", scenario.copyist.log_text());
    assert_eq!(log.lines().find(|line| line.contains("panicked")), None);
    let told = |words: &str| log.matches(words).count();
    let [lost, state, tail, arithmetic] =
        ["outcome=Lost", "Copying(DescribeProducers)", "Copying(Tail)", "Copying(Arithmetic)"].map(told);
    println!(
        "{topic}: {lost} batches without an answer; resumes: {state} by DescribeProducers, {tail} by the tail, \
         {arithmetic} by arithmetic"
    );
    Doubts { lost, state, tail }
}

/// As [`Scenario::start_with`]; the log tells each answer that did not come, and how a lane knew where to go on.
fn talkative(name: &str, destination: &str) -> Scenario {
    let own = ["group.id", "offset.storage.topic", "config.storage.topic", "status.storage.topic"];
    let named = own.map(|key| (key.to_owned(), format!("{name}-{}", key.split('.').next().unwrap_or(key))));
    let filter = "info,copyist_agent::engine::raw=debug";
    let environment = [("RUST_LOG", filter), ("NO_COLOR", "1")];
    let options = CopyistOptions {
        properties: named.into(),
        environment: environment.map(|(name, value)| (name.into(), Some(value.into()))).into(),
        ..CopyistOptions::default()
    };
    Scenario { copyist: suite::must("a Copyist", Copyist::start(destination, options)) }
}

#[test]
fn whatever_the_network_does_each_record_arrives_once_and_in_order() {
    let seed = suite::count("COPYIST_TEST_SEED", 1);
    println!("seed {seed}");
    let pair = Far::pair(seed * 2);
    round("far-source", Age::New, &pair, &[&pair.0]);
    let doubts = [
        round("far-destination", Age::New, &pair, &[&pair.1]),
        round("far-old", Age::Old, &pair, &[&pair.1]),
        round("far-both", Age::Old, &pair, &[&pair.0, &pair.1]),
    ];
    assert!(doubts.iter().all(|round| round.lost > 0), "no batch was in doubt: {doubts:?}");
    assert!(doubts.iter().any(|round| round.state > 0), "no producer was remembered: {doubts:?}");
    assert!(doubts.iter().any(|round| round.tail > 0), "no producer was forgotten: {doubts:?}");
}

/// One fetch is under way at a time: what it brings bounds what a long way lets through.
#[test]
fn a_source_far_away_is_asked_for_more_at_once() {
    let (source, destination) = Far::pair(7);
    let topic = "far-away";
    let (from, to) = (source.kafka(), destination.kafka());
    from.create_topic(topic, PARTITIONS).expect("created");
    let value = "far away ".repeat(1_200);
    let mut fed = 0;
    for round in 0..40 {
        let record = |partition: i32| Rec::new(topic, partition).key(format!("{round}")).value(value.clone());
        let records: Vec<Rec> =
            (0..60).map(|number: i32| record(number % PARTITIONS.cast_signed())).collect();
        from.produce(&records).expect("produced");
        fed += records.len() as u64;
    }
    source.proxy.keep_away(Duration::from_millis(60));
    let scenario = talkative(topic, &destination.proxy.address());
    let config = json!({
        "connector.class": "EMRReplicatorSourceConnector",
        "src.kafka.bootstrap.servers": source.proxy.address(),
        "topic.whitelist": topic,
        "tasks.max": "1",
    });
    scenario.create("c", &config);
    let clock = Deadline::after(LIMIT);
    scenario.wait_equal(Side { at: &from, topic }, Side { at: &to, topic }, fed);
    let largest = source.proxy.largest_answer();
    println!(
        "{topic}: {} MB in {:.1} s at a distance of 60 ms, up to {largest} bytes at once",
        fed * value.len() as u64 / 1_000_000,
        clock.elapsed().as_secs_f64()
    );
    // A near source is asked for half of it.
    assert!(largest > 2 << 20, "{largest}");
}
