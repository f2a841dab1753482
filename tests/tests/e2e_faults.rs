//! What breaks: Copyist killed at any moment, clusters that are away. Nothing acknowledged is lost, no record goes
//! missing, order is kept; what is copied twice is counted, and bounded.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test whose step fails has failed, and says why; it tells what really happened"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_tests::scenario::{self, LIMIT, connector_state, destination, numbered, source};
use copyist_tests::{
    Deadline, Kafka, Process, Progress, Rec, Rest, Scenario, Scratch, Spec, suite, wait_until,
};
use reqwest::Method;
use serde_json::{Value, json};

/// By partition.
type Offsets = BTreeMap<i32, i64>;

/// Of the engine: how often a moving lane's position is stored, and what a lane may have unacknowledged.
const POSITION_INTERVAL: Duration = Duration::from_secs(1);
const IN_FLIGHT_RECORDS: i64 = 20_000;
const IN_FLIGHT_BYTES: i64 = 4 << 20;
/// Of the records that Kafka's ProducerPerformance sends here, and how fast.
const RECORD_BYTES: i64 = 1_000;
const RECORDS_PER_SECOND: u64 = 5_000;

/// Kafka's own ProducerPerformance: `records` of 1,000 bytes, spread over the partitions, at a steady rate.
struct Feed {
    process: Process,
    _scratch: Scratch,
}

impl Feed {
    fn start(topic: &str, records: u64, per_second: u64) -> Feed {
        let scratch = Scratch::new("feed").expect("made");
        let class = "org.apache.kafka.tools.ProducerPerformance";
        let log = scratch.path().join("log");
        let spec: Spec = suite::jars().java("ProducerPerformance", class, &log).expect("java is there");
        // -1: as fast as it can.
        let per_second = i64::try_from(per_second).unwrap_or(-1);
        let (records, per_second) = (records.to_string(), per_second.to_string());
        let spec = spec.args(["--topic", topic, "--num-records", &records, "--throughput", &per_second]);
        let spec = spec.args(["--record-size", &RECORD_BYTES.to_string()]);
        let spec = spec.args(["--bootstrap-server", &suite::pair().0.bootstrap()]);
        Feed { process: Process::spawn(&spec).expect("started"), _scratch: scratch }
    }

    fn wait_end(&mut self) {
        let status = self.process.wait_exit(LIMIT, Progress::Silent).expect("it ends");
        assert!(status.success(), "{status}: {}", self.process.log_text().unwrap_or_default());
    }
}

fn sum(offsets: &Offsets) -> u64 {
    offsets.values().map(|offset| offset.unsigned_abs()).sum()
}

/// Empty while the topic is not there.
fn ends(at: &Kafka<'_>, topic: &str) -> Offsets {
    match at.end_offsets(topic) {
        Ok(ends) => ends,
        Err(error) if error.kafka_class() == Some("UnknownTopicOrPartitionException") => Offsets::new(),
        Err(error) => panic!("offsets of {topic}: {error}"),
    }
}

/// A record of the topic of positions, as Connect's tools read it.
#[derive(Debug)]
struct Position {
    partition: i32,
    /// The last source offset copied.
    offset: i64,
    stored_at_ms: i64,
}

/// Every position of a connector in the order of storing, insisting on Connect's exact bytes.
fn positions(at: &Kafka<'_>, storage: &str, connector: &str, cluster: &str, topic: &str) -> Vec<Position> {
    let text =
        |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    let records = at.dump(storage).expect("the topic of positions");
    let mut found = Vec::new();
    for record in records {
        let (key, value) = (text(&record.key), text(&record.value));
        let json: Value = serde_json::from_str(&key).unwrap_or_else(|error| panic!("{key}: {error}"));
        if json[0] != connector {
            continue;
        }
        let partition = json[1]["partition"].as_i64().and_then(|number| i32::try_from(number).ok());
        let partition = partition.unwrap_or_else(|| panic!("no partition in {key}"));
        let expected =
            format!(r#"["{connector}",{{"cluster":"{cluster}","partition":{partition},"topic":"{topic}"}}]"#);
        assert_eq!(key, expected);
        let offset = serde_json::from_str::<Value>(&value).ok().and_then(|json| json["offset"].as_i64());
        let offset = offset.unwrap_or_else(|| panic!("no offset in {value}"));
        // Ours follow Connect's, or nothing does.
        let whole = value == format!(r#"{{"offset":{offset}}}"#);
        assert!(whole || value.starts_with(&format!(r#"{{"offset":{offset},"copyist."#)), "{value}");
        found.push(Position { partition, offset, stored_at_ms: record.timestamp.unwrap_or_default() });
    }
    found
}

/// One connector between the suite's clusters, from `topic` to a topic of the same name.
struct Run {
    scenario: Scenario,
    topic: String,
}

impl Run {
    fn start(topic: &str, partitions: u32) -> Run {
        Self::start_with(topic, partitions, ("engine", "auto"))
    }

    fn start_with(topic: &str, partitions: u32, setting: (&str, &str)) -> Run {
        source().create_topic(topic, partitions).expect("created");
        let scenario = Scenario::start(topic);
        scenario.create("c", &scenario::config(&[("topic.whitelist", topic), setting]));
        Run { scenario, topic: topic.to_owned() }
    }

    fn stored_positions(&self) -> Vec<Position> {
        let storage = format!("{}-offset", self.topic);
        positions(&destination(), &storage, "c", suite::pair().0.cluster_id(), &self.topic)
    }

    /// The next source offset of each lane that has a position.
    fn stored(&self) -> Offsets {
        self.stored_positions().into_iter().map(|stored| (stored.partition, stored.offset + 1)).collect()
    }

    fn copied(&self) -> Offsets {
        ends(&destination(), &self.topic)
    }

    /// Waits until so many records were copied, and tells on the way what was seen when.
    fn wait_copied_to(&self, records: u64, mut see: impl FnMut(&Offsets)) {
        let reached = wait_until("records to be copied", LIMIT, Progress::Silent, || {
            let copied = self.copied();
            see(&copied);
            Ok((sum(&copied) >= records).then_some(()))
        });
        self.scenario.must(&format!("{records} records copied"), reached);
    }

    /// Waits until everything at the source has a stored position.
    fn wait_stored(&self) {
        let expected: Offsets =
            ends(&source(), &self.topic).into_iter().filter(|(_, end)| *end > 0).collect();
        let reached = wait_until("every position to be stored", LIMIT, Progress::Silent, || {
            Ok((self.stored() == expected).then_some(()))
        });
        self.scenario.must(&format!("positions {expected:?}, of which {:?}", self.stored()), reached);
    }
}

/// What was there after a kill: nothing of what the dead process had sent comes later.
struct Kill {
    copied: Offsets,
    stored: Offsets,
    /// What each lane copied in the last second, and in the last three, before it.
    last_second: Offsets,
    last_three: Offsets,
}

/// Ends of the destination over time.
#[derive(Default)]
struct Samples(Vec<(Duration, Offsets)>);

impl Samples {
    /// How far each lane came since `age` before `now`.
    fn growth(&self, now: Duration, age: Duration, copied: &Offsets) -> Offsets {
        let then = now.saturating_sub(age);
        let before = self.0.iter().rev().find(|(at, _)| *at <= then).map(|(_, seen)| seen);
        let at = |partition: &i32| before.and_then(|seen| seen.get(partition)).copied().unwrap_or_default();
        copied.iter().map(|(partition, end)| (*partition, end - at(partition))).collect()
    }
}

fn kill(run: &mut Run, samples: &Samples, now: Duration) -> Kill {
    run.scenario.copyist.kill_9();
    let mut last = None;
    let (copied, stored) = wait_until("requests of the dead to end", LIMIT, Progress::Silent, || {
        let seen = (run.copied(), run.stored());
        let same = last.as_ref() == Some(&seen);
        Ok(last.replace(seen).filter(|_| same))
    })
    .expect("they end");
    let last_second = samples.growth(now, POSITION_INTERVAL, &copied);
    let last_three = samples.growth(now, 3 * POSITION_INTERVAL, &copied);
    Kill { copied, stored, last_second, last_three }
}

#[test]
fn kill_9_of_librdkafka_in_the_middle_loses_nothing_and_repeats_no_more_than_an_interval() {
    let (kills, records) =
        (suite::count("COPYIST_TEST_KILLS", 3), suite::count("COPYIST_TEST_RECORDS", 100_000));
    let mut run = Run::start_with("killed", 10, ("engine", "librdkafka"));
    run.scenario.wait_running("c", 10);
    let (clock, mut samples) = (Deadline::after(Duration::MAX), Samples::default());
    let mut made = Vec::new();
    // Each kill comes in the middle of a part of the records; one part follows the last kill.
    let part = records / (kills + 1);
    for number in 1..=kills {
        let begin = sum(&run.copied());
        let mut feed = Feed::start("killed", part, RECORDS_PER_SECOND);
        run.wait_copied_to(begin + part / 2, |seen| samples.0.push((clock.elapsed(), seen.clone())));
        let kill = kill(&mut run, &samples, clock.elapsed());
        let (unique, fed) = (unique(&made, &kill.copied), number * part);
        assert!(unique < fed, "kill {number} came after all of {fed} records were copied");
        println!("kill {number} after {unique} of {records} records, before {fed} were copied");
        made.push(kill);
        let restarted = run.scenario.copyist.restart();
        run.scenario.must("copyist again", restarted);
        feed.wait_end();
        run.wait_stored();
    }
    Feed::start("killed", records - kills * part, u64::MAX).wait_end();
    run.wait_stored();
    let (sent, copied) =
        (source().dump("killed").expect("read"), destination().dump("killed").expect("read"));
    assert_eq!(sent.len() as u64, records);
    let mut duplicates = 0;
    for partition in 0..10 {
        duplicates += check_lane(partition, &lane(&sent, partition), &lane(&copied, partition), &made);
    }
    assert_eq!(copied.len() - sent.len(), usize::try_from(duplicates).expect("few"));
    let in_flight = IN_FLIGHT_RECORDS.min(IN_FLIGHT_BYTES / RECORD_BYTES);
    println!(
        "{records} records in 10 lanes, {kills} kills, {duplicates} duplicates (in flight per lane: {in_flight})"
    );
}

/// Records copied, each counted once: what an earlier kill repeated is taken off.
fn unique(kills: &[Kill], copied: &Offsets) -> u64 {
    let repeated: i64 = kills.iter().scan(Offsets::new(), |before, kill| Some(repeats(before, kill))).sum();
    sum(copied) - repeated.unsigned_abs()
}

/// What a kill makes the next run send again, over all lanes; `repeated` has what earlier ones did.
fn repeats(repeated: &mut Offsets, kill: &Kill) -> i64 {
    let mut all = 0;
    for (partition, end) in &kill.copied {
        let before = repeated.entry(*partition).or_default();
        let again = end - *before - kill.stored.get(partition).copied().unwrap_or_default();
        *before += again;
        all += again;
    }
    all
}

fn lane(records: &[Rec], partition: i32) -> Vec<&Rec> {
    records.iter().filter(|record| record.partition == Some(partition)).collect()
}

/// Follows a lane's copies: in source order without a gap from one kill to the next, each time from the position that
/// was stored. Returns how many were sent twice.
fn check_lane(partition: i32, sent: &[&Rec], copied: &[&Rec], kills: &[Kill]) -> i64 {
    let at = |offsets: &Offsets| offsets.get(&partition).copied().unwrap_or_default();
    let in_flight = IN_FLIGHT_RECORDS.min(IN_FLIGHT_BYTES / RECORD_BYTES);
    let (mut duplicates, mut next, mut from) = (0, 0, 0);
    for (number, kill) in kills.iter().enumerate() {
        next = follow(partition, sent, &copied[from..index(at(&kill.copied))], next);
        from = index(at(&kill.copied));
        let (stored, reached) = (at(&kill.stored), i64::try_from(next).expect("few"));
        let again = reached - stored;
        assert!(again >= 0, "lane {partition}: position {stored} is ahead of {reached} acknowledged records");
        let (one, three) = (at(&kill.last_second), at(&kill.last_three));
        let bound = one + in_flight;
        println!(
            "  kill {}, lane {partition}: {again} again (bound {bound}: {one} in 1 s, {in_flight} in flight)",
            number + 1
        );
        assert!(again <= bound, "lane {partition}: {again} sent again, more than {bound}");
        // Any position that is older would show: an interval, and two seconds for a slow machine.
        assert!(again <= three, "lane {partition}: {again} sent again, {three} copied in three seconds");
        duplicates += again;
        next = index(stored);
    }
    let end = follow(partition, sent, &copied[from..], next);
    assert_eq!(end, sent.len(), "lane {partition}: records are missing at the end");
    duplicates
}

fn index(offset: i64) -> usize {
    usize::try_from(offset).expect("not negative")
}

/// Copies must be the source's records from `next` on, one after the other; returns where they end.
fn follow(partition: i32, sent: &[&Rec], copied: &[&Rec], next: usize) -> usize {
    for (place, record) in copied.iter().enumerate() {
        let expected =
            sent.get(next + place).unwrap_or_else(|| panic!("lane {partition}: more than was sent"));
        let same = record.content() == expected.content();
        assert!(
            same,
            "lane {partition}: record {} is not the source's at {}",
            record.offset, expected.offset
        );
    }
    next + copied.len()
}

#[test]
fn kill_9_when_idle_repeats_nothing() {
    let mut run = Run::start("idle-kill", 5);
    source().produce(&numbered("idle-kill", 5, "before", 5_000)).expect("produced");
    run.scenario.wait_copied("idle-kill", "idle-kill", 5_000);
    for kills in 1..=3 {
        run.wait_stored();
        run.scenario.copyist.kill_9();
        source().produce(&numbered("idle-kill", 5, &format!("while dead {kills}"), 500)).expect("produced");
        let restarted = run.scenario.copyist.restart();
        run.scenario.must("copyist again", restarted);
        // Equal record by record, and not one more.
        run.scenario.wait_copied("idle-kill", "idle-kill", 5_000 + 500 * kills);
    }
    run.scenario.wait_running("c", 5);
    run.scenario.wait_copied("idle-kill", "idle-kill", 6_500);
    println!("3 kills when idle: 0 of 6500 records twice");
}

#[test]
fn a_clean_stop_in_the_middle_repeats_nothing_and_rewinds_nothing() {
    const PART: u64 = 20_000;
    let mut run = Run::start("stopped", 10);
    run.scenario.wait_running("c", 10);
    for number in 1..=2 {
        let mut feed = Feed::start("stopped", PART, RECORDS_PER_SECOND);
        run.wait_copied_to(PART * number - PART / 2, |_| ());
        let status = run.scenario.copyist.stop().expect("it ends");
        assert!(status.success(), "{status}");
        let (copied, stored) = (run.copied(), run.stored());
        assert!(sum(&copied) < PART * number, "stop {number} came after all records were copied");
        let moved: Offsets = copied.into_iter().filter(|(_, end)| *end > 0).collect();
        let stored: Offsets = stored.into_iter().filter(|(_, next)| *next > 0).collect();
        assert_eq!(stored, moved, "each lane's position is exactly what it copied");
        println!("stop {number} after {} records, before {}", sum(&moved), PART * number);
        let restarted = run.scenario.copyist.restart();
        run.scenario.must("copyist again", restarted);
        feed.wait_end();
        run.scenario.wait_copied("stopped", "stopped", PART * number);
    }
    run.wait_stored();
    run.scenario.wait_copied("stopped", "stopped", 2 * PART);
    // No position ever went back.
    let mut last = Offsets::new();
    for stored in run.stored_positions() {
        let before = last.insert(stored.partition, stored.offset);
        assert!(before.is_none_or(|before| before <= stored.offset), "{stored:?} after {before:?}");
    }
}

#[test]
fn positions_of_librdkafka_are_connects_own_and_follow_acknowledgements_each_second() {
    const PARTITIONS: i32 = 2;
    let mut run = Run::start_with("positions", 2, ("engine", "librdkafka"));
    run.scenario.wait_running("c", 2);
    let mut feed = Feed::start("positions", 12_000, 2_000);
    let (mut looks, mut last_look) = (0, Offsets::new());
    while sum(&run.copied()) < 12_000 {
        // In this order: a position that is stored only after the acknowledgement is never ahead.
        let (stored, copied) = (run.stored(), run.copied());
        for (partition, next) in &stored {
            assert!(*next <= copied[partition], "position {next} with {} copied", copied[partition]);
        }
        looks += usize::from(stored != last_look);
        last_look = stored;
        assert!(feed.process.exited().is_ok(), "the feed");
    }
    assert!(looks >= 3, "the positions were seen to move {looks} times only");
    feed.wait_end();
    run.wait_stored();
    let all = run.stored_positions();
    for partition in 0..PARTITIONS {
        let of_lane: Vec<&Position> = all.iter().filter(|stored| stored.partition == partition).collect();
        // A lane's first position is its start, stored before there is anything to copy.
        assert_eq!(of_lane[0].offset, -1, "before the first record");
        let moves = of_lane[1..].windows(2).filter(|pair| pair[0].offset != pair[1].offset);
        let gaps: Vec<i64> = moves.map(|pair| pair[1].stored_at_ms - pair[0].stored_at_ms).collect();
        println!("lane {partition}: {} positions, {gaps:?} ms apart", of_lane.len());
        assert!(of_lane.len() >= 5, "{} positions in 6 s", of_lane.len());
        // The last move may be a leftover that follows soon; no wait is much longer than a second.
        assert!(gaps.iter().all(|gap| *gap <= 2_500), "{gaps:?}");
        let long = gaps.iter().filter(|gap| **gap >= 700).count();
        assert!(2 * long >= gaps.len(), "about one a second: {gaps:?}");
    }
    // At a clean stop all that was copied is stored, however short ago.
    source().produce(&numbered("positions", PARTITIONS, "last", 1_000)).expect("produced");
    run.wait_copied_to(13_000, |_| ());
    let status = run.scenario.copyist.stop().expect("it ends");
    assert!(status.success(), "{status}");
    assert_eq!(run.stored(), run.copied());
}

fn no_cluster_config(tasks: usize) -> Value {
    json!({
        "connector.class": "EMRReplicatorSourceConnector",
        "src.kafka.bootstrap.servers": "127.0.0.1:1",
        "topic.whitelist": "t",
        "tasks.max": tasks.to_string(),
    })
}

/// `kill -9` right after an answer, then a start on the same store.
fn kill_and_restart(scenario: &mut Scenario) {
    scenario.copyist.kill_9();
    let restarted = scenario.copyist.restart();
    scenario.must("copyist again", restarted);
}

#[test]
fn what_was_acknowledged_survives_kill_9_right_after_the_answer() {
    let mut scenario = Scenario::start_with("acknowledged", "127.0.0.1:1", &[]);
    let put = |rest: &Rest, path: &str| rest.call(Method::PUT, path, None);
    for round in 0..3 {
        let (name, kept) = (format!("c{round}"), format!("kept{round}"));
        let path = format!("/connectors/{name}");
        scenario.create(&kept, &no_cluster_config(1));
        scenario.create(&name, &no_cluster_config(1));
        kill_and_restart(&mut scenario);
        assert_eq!(scenario.get(&format!("{path}/config"))["tasks.max"], "1");

        let config = format!("{path}/config");
        scenario.expect(200, scenario.copyist.rest().put(&config, &no_cluster_config(7)));
        kill_and_restart(&mut scenario);
        assert_eq!(scenario.get(&config)["tasks.max"], "7");

        for (action, status, state) in
            [("pause", 202, "PAUSED"), ("stop", 204, "STOPPED"), ("pause", 202, "PAUSED")]
        {
            scenario.expect(status, put(scenario.copyist.rest(), &format!("{path}/{action}")));
            kill_and_restart(&mut scenario);
            scenario.wait_status(&name, state, |status| connector_state(status) == state);
        }
        scenario.expect(202, put(scenario.copyist.rest(), &format!("{path}/resume")));
        kill_and_restart(&mut scenario);
        scenario.wait_status(&name, "the source again", |status| {
            let trace = status["connector"]["trace"].as_str().unwrap_or_default();
            connector_state(status) == "UNASSIGNED" && trace.contains("the source cluster at 127.0.0.1:1")
        });
        scenario.expect(204, scenario.copyist.rest().delete(&path));
        kill_and_restart(&mut scenario);
        scenario.expect(404, scenario.copyist.rest().get(&path));
        let expected: Vec<String> = (0..=round).map(|round| format!("kept{round}")).collect();
        assert_eq!(scenario.get("/connectors"), json!(expected));
    }
}

#[test]
fn kill_9_amid_a_burst_of_changes_keeps_every_one_that_was_acknowledged() {
    let mut scenario = Scenario::start_with("burst", "127.0.0.1:1", &[]);
    let mut expected = Vec::new();
    for kill in 1..=3_usize {
        let rest = scenario.copyist.rest().clone();
        let first = expected.len();
        let (told, heard) = std::sync::mpsc::sync_channel(16);
        let burst = std::thread::spawn(move || {
            let names = (0..).map(|number| format!("b{kill}-{number:05}"));
            let mut acknowledged = Vec::new();
            for name in names {
                let body = json!({"name": name, "config": no_cluster_config(1)});
                match rest.post("/connectors", &body) {
                    Ok((201, _)) => acknowledged.push(name),
                    Ok((status, body)) => panic!("{name}: {status} {body}"),
                    // Killed: this one may have been stored or not.
                    Err(_) => return (acknowledged, name),
                }
                // The receiver is gone once it has heard enough.
                let _enough = told.send(acknowledged.len());
            }
            unreachable!("names do not end")
        });
        // At another moment of a commit each time.
        while heard.recv().expect("the burst goes on") < 10 * kill + 1 {}
        scenario.copyist.kill_9();
        let (acknowledged, open) = burst.join().expect("no panic");
        let restarted = scenario.copyist.restart();
        scenario.must("copyist again", restarted);
        let listed: Vec<String> = serde_json::from_value(scenario.get("/connectors")).expect("names");
        expected.extend(acknowledged);
        let survived = listed.contains(&open);
        println!("kill {kill}: {} acknowledged, the open one is there: {survived}", expected.len() - first);
        expected.extend(survived.then_some(open));
        assert_eq!(listed, expected);
    }
}
