//! What is lost, and what `loss.policy` makes of it, on real Kafka: never a silent jump. `fail` says which offsets, and
//! says it again; `continue` and `restart` go on, and keep the loss in sight. The destination is compared exactly each time.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test whose step fails has failed, and says why; it tells what really happened"
)]

mod cut;

use copyist_tests::equality::plans::sum_of;
use copyist_tests::equality::{Times, content, wait_exactly};
use copyist_tests::scenario::{LIMIT, config, destination, source, task_states};
use copyist_tests::{Kafka, Progress, Rec, Scenario, suite, wait_until};
use reqwest::Method;
use serde_json::Value;

/// Records of before anything is lost, and how many of them come at once.
const BEFORE: usize = 50;
const AT_ONCE: usize = 10;
/// 2024-01-02: brokers forget who wrote it at their next look, so the fence is weak.
const OLD: i64 = 1_704_153_600_000;

/// What was done to a topic, and what must come of it.
struct Aftermath {
    /// What the stopped lane says.
    words: String,
    /// The destination while the lane stands still.
    unchanged: Vec<Rec>,
    /// The destination once the policy went past the loss.
    expected: Vec<Rec>,
    /// Where copying goes on; `None`: at the source's first offset.
    goes_on_at: Option<i64>,
    /// Others are among its records from then on.
    shared: bool,
}

impl Aftermath {
    /// What the trace says once the policy went past the loss.
    fn past(&self, topic: &str) -> String {
        let place = match self.goes_on_at {
            _ if self.shared => "copying went on, and offsets are compared no more".to_owned(),
            Some(offset) => format!("copying went on at source offset {offset}"),
            None => "copying began again at the source's first offset".to_owned(),
        };
        let text = format!("1 lane went past a loss:\n  {topic}-0: {}; {place}", self.words);
        if self.shared { format!("{text}; {}", shares(topic)) } else { text }
    }
}

/// One topic for each policy that goes on, copied by a connector of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Continue,
    Restart,
}

impl Policy {
    const ALL: [Policy; 2] = [Policy::Continue, Policy::Restart];

    fn name(self) -> &'static str {
        match self {
            Policy::Continue => "continue",
            Policy::Restart => "restart",
        }
    }
}

/// Keys and values with a number; with the producer's time, or an old one.
fn records(topic: &str, tag: &str, count: usize, old: bool) -> Vec<Rec> {
    let record = |n: usize| {
        let record = Rec::new(topic, 0).key(format!("key {n}")).value(format!("{tag} {n}"));
        if old { record.timestamp(OLD + i64::try_from(n).expect("few")) } else { record }
    };
    (0..count).map(record).collect()
}

/// Writes them, and returns them as they are there.
fn feed_at(at: &Kafka<'_>, topic: &str, tag: &str, count: usize, old: bool) -> Vec<Rec> {
    at.produce(&records(topic, tag, count, old)).expect("produced");
    let all = at.dump(topic).expect("read");
    all[all.len() - count..].to_vec()
}

fn feed(topic: &str, tag: &str, count: usize, old: bool) -> Vec<Rec> {
    feed_at(&source(), topic, tag, count, old)
}

fn recreate(at: &Kafka<'_>, topic: &str) {
    at.delete_topic(topic).expect("deleted");
    at.create_topic(topic, 1).expect("created again");
}

/// What a trace says of a lane among whose records are others.
fn shares(topic: &str) -> String {
    format!("1 lane shares the destination partition with another writer:\n  {topic}-0")
}

/// The clusters of a test.
#[derive(Clone)]
struct Ends {
    from: Kafka<'static>,
    to: Kafka<'static>,
    source_bootstrap: String,
    destination_bootstrap: String,
}

impl Ends {
    fn of_suite() -> Ends {
        let (from, to) = suite::pair();
        let (source_bootstrap, destination_bootstrap) = (from.bootstrap(), to.bootstrap());
        Ends { from: source(), to: destination(), source_bootstrap, destination_bootstrap }
    }
}

/// Topics, each copied by a connector of one Copyist, in which nothing is lost yet.
struct Before {
    ends: Ends,
    scenario: Scenario,
    topics: Vec<(String, &'static str)>,
    /// In the order of the topics.
    copied: Vec<Vec<Rec>>,
}

impl Before {
    /// `BEFORE` records are copied from each topic, some at a time: they are several batches at both ends.
    fn copy(
        ends: Ends,
        name: &str,
        connectors: &[&'static str],
        worker: &[(&str, &str)],
        old: bool,
    ) -> Before {
        let scenario = Scenario::start_with(name, &ends.destination_bootstrap, worker);
        let topics: Vec<(String, &str)> = connectors.iter().map(|it| (format!("{name}-{it}"), *it)).collect();
        let copied = vec![Vec::new(); topics.len()];
        let mut before = Before { ends, scenario, topics, copied };
        for (topic, connector) in &before.topics {
            before.ends.from.create_topic(topic, 1).expect("created");
            before.scenario.create(connector, &before.config(topic, &[]));
        }
        for round in 0..BEFORE / AT_ONCE {
            for ((topic, _), copied) in before.topics.iter().zip(&mut before.copied) {
                let tag = format!("before {round}");
                copied.extend(feed_at(&before.ends.from, topic, &tag, AT_ONCE, old));
            }
            for ((topic, _), copied) in before.topics.iter().zip(&before.copied) {
                wait_exactly(&before.scenario, copied, &before.ends.to, topic, Times::Kept);
            }
        }
        before
    }

    fn config(&self, topic: &str, pairs: &[(&str, &str)]) -> Value {
        let own = [("topic.whitelist", topic), ("src.kafka.bootstrap.servers", &self.ends.source_bootstrap)];
        config(&[&own[..], pairs].concat())
    }

    fn feed(&self, topic: &str, tag: &str, count: usize, old: bool) -> Vec<Rec> {
        feed_at(&self.ends.from, topic, tag, count, old)
    }

    fn stop(&mut self) {
        let stopped = self.scenario.copyist.stop();
        assert!(self.scenario.must("a clean stop", stopped).success());
    }

    fn start_again(&mut self) {
        let started = self.scenario.copyist.restart();
        self.scenario.must("copyist again", started);
    }

    /// The trace of a task that failed.
    fn wait_task_failed(&self, connector: &str) -> String {
        let failed = |status: &Value| task_states(status) == ["FAILED"];
        let status = self.scenario.wait_status(connector, "the task FAILED", failed);
        status["tasks"][0]["trace"].as_str().unwrap_or_default().to_owned()
    }

    /// The trace of a task that runs.
    fn wait_task_running(&self, connector: &str, says: &str) -> String {
        let runs = |status: &Value| {
            let trace = status["tasks"][0]["trace"].as_str().unwrap_or_default();
            task_states(status) == ["RUNNING"] && trace.contains(says)
        };
        let status =
            self.scenario.wait_status(connector, &format!("a task that runs and says {says:?}"), runs);
        status["tasks"][0]["trace"].as_str().unwrap_or_default().to_owned()
    }

    fn gaps(&self, connector: &str) -> f64 {
        sum_of(&self.scenario.copyist.metrics().expect("metrics"), "copyist_lane_gaps_total", connector)
    }

    /// Nothing was lost: it runs, and says no more than this.
    fn insist_no_gap(&self, connector: &str, trace: &str) {
        assert_eq!(self.wait_task_running(connector, trace), trace);
        assert_eq!(self.gaps(connector).to_string(), "0");
    }
}

/// Copies, stops, lets `happen` do its damage to each topic, and looks what each policy makes of it.
fn lose(name: &str, old: bool, happen: impl Fn(&str, Policy, &[Rec]) -> Aftermath) {
    let mut before = Before::copy(Ends::of_suite(), name, &Policy::ALL.map(Policy::name), &[], old);
    before.stop();
    let topics = before.topics.iter().zip(&before.copied);
    let damage = |(policy, ((topic, _), copied)): (Policy, (&(String, &str), &Vec<Rec>))| {
        happen(topic, policy, copied)
    };
    let made: Vec<Aftermath> = Policy::ALL.into_iter().zip(topics).map(damage).collect();
    see_it_through(&mut before, &made, old);
}

/// What was lost is told, and told again; then each policy goes past it, once.
fn see_it_through(before: &mut Before, made: &[Aftermath], old: bool) {
    before.start_again();
    insist_failure(before, made);
    for (_, connector) in &before.topics {
        let path = format!("/connectors/{connector}/restart?includeTasks=true&onlyFailed=true");
        before.scenario.expect(202, before.scenario.copyist.rest().call(Method::POST, &path, None));
    }
    insist_failure(before, made);
    before.scenario.copyist.kill_9();
    before.start_again();
    insist_failure(before, made);
    for (policy, ((topic, connector), made)) in Policy::ALL.into_iter().zip(before.topics.iter().zip(made)) {
        let changed = before.config(topic, &[("loss.policy", policy.name())]);
        let path = format!("/connectors/{connector}/config");
        before.scenario.expect(200, before.scenario.copyist.rest().put(&path, &changed));
        go_on(before, topic, connector, made);
    }
    // What a loss was, is none any more.
    before.scenario.copyist.kill_9();
    let later: Vec<Vec<Rec>> =
        before.topics.iter().map(|(topic, _)| before.feed(topic, "later", 10, old)).collect();
    before.start_again();
    for (((topic, connector), made), later) in before.topics.iter().zip(made).zip(&later) {
        let all = [&made.expected[..], later].concat();
        wait_exactly(&before.scenario, &all, &before.ends.to, topic, Times::Kept);
        // It is still told, though this process went past nothing.
        let text = made.past(topic);
        assert_eq!(before.wait_task_running(connector, &text), text);
        assert_eq!(before.gaps(connector).to_string(), "0");
    }
}

/// Each task has failed, with these words and no others; and nothing was written.
fn insist_failure(before: &Before, made: &[Aftermath]) {
    for ((topic, connector), made) in before.topics.iter().zip(made) {
        let trace = before.wait_task_failed(connector);
        let text = format!("1 lane needs help:\n  {topic}-0: {} (loss.policy=fail)", made.words);
        assert_eq!(trace, text, "{topic}");
        let found = content::exactly(&made.unchanged, &before.ends.to, topic, Times::Kept);
        assert_eq!(found, Ok(()), "{topic}");
        println!("{topic}: {trace}");
    }
}

fn go_on(before: &Before, topic: &str, connector: &str, made: &Aftermath) {
    let text = made.past(topic);
    let trace = before.wait_task_running(connector, &text);
    assert_eq!(trace, text, "{topic}");
    wait_exactly(&before.scenario, &made.expected, &before.ends.to, topic, Times::Kept);
    assert_eq!(before.gaps(connector).to_string(), "1", "{topic}");
    println!("{topic}: {trace}");
}

/// A topic's id as a UUID is written.
fn uuid(at: &Kafka<'_>, topic: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let id = at.describe_topic(topic).expect("described").topic_id;
    let digit = |byte: u8| ALPHABET.iter().position(|it| *it == byte).expect("base64url") as u128;
    // 21 letters of six bits, and two bits.
    let (last, most) = id.as_bytes().split_last().expect("22 letters");
    let bits = most.iter().fold(0, |bits: u128, byte| bits << 6 | digit(*byte)) << 2 | digit(*last) >> 4;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[test]
fn a_source_topic_that_was_created_anew() {
    lose("anew", false, |topic, policy, copied| {
        recreate(&source(), topic);
        // Fewer than were copied, and more: with a name alone copying would wait, or begin in the middle.
        let count = if policy == Policy::Continue { 30 } else { 80 };
        let new = feed(topic, "new", count, false);
        let id = uuid(&source(), topic);
        Aftermath {
            words: format!(
                "the source topic was created anew (id {id}); it was copied up to offset 49 at least"
            ),
            unchanged: copied.to_vec(),
            expected: [copied, &new].concat(),
            goes_on_at: None,
            shared: false,
        }
    });
}

#[test]
fn records_that_retention_took_before_they_were_copied() {
    lose("retention", false, |topic, policy, copied| {
        let missed = feed(topic, "missed", 50, false);
        source().delete_records(topic, 0, 80).expect("deleted");
        Aftermath {
            words: "the source deleted offsets 50 to 79 before they were copied".to_owned(),
            unchanged: copied.to_vec(),
            expected: [copied, &missed[30..]].concat(),
            goes_on_at: (policy == Policy::Continue).then_some(80),
            shared: false,
        }
    });
}

#[test]
fn a_destination_topic_that_was_created_anew() {
    lose("emptied", false, |topic, policy, copied| {
        recreate(&destination(), topic);
        let after = feed(topic, "after", 20, false);
        let id = uuid(&destination(), topic);
        Aftermath {
            words: format!(
                "the destination topic was created anew (id {id}); it held the source up to offset 49 at least"
            ),
            unchanged: Vec::new(),
            expected: match policy {
                Policy::Continue => after,
                Policy::Restart => [copied, &after].concat(),
            },
            goes_on_at: (policy == Policy::Continue).then_some(50),
            shared: false,
        }
    });
}

#[test]
fn foreign_records_while_the_fence_is_weak() {
    lose("foreign", true, |topic, policy, copied| {
        destination().produce(&records(topic, "foreign", 3, true)).expect("produced");
        let there = destination().dump(topic).expect("read");
        let after = feed(topic, "after", 20, true);
        let again = if policy == Policy::Restart { copied } else { &[] };
        Aftermath {
            words: "somebody else writes into the destination partition while the fence is weak: record 50 is at \
                    offset 53, not 50"
                .to_owned(),
            expected: [&there, again, &after].concat(),
            unchanged: there,
            goes_on_at: (policy == Policy::Continue).then_some(50),
            shared: policy == Policy::Continue,
        }
    });
}

#[test]
fn foreign_records_while_the_fence_is_intact_are_no_loss() {
    let mut before = Before::copy(Ends::of_suite(), "among", &["c"], &[], false);
    let topic = before.topics[0].0.clone();
    before.stop();
    destination().produce(&records(&topic, "foreign", 3, false)).expect("produced");
    let there = destination().dump(&topic).expect("read");
    let after = feed(&topic, "after", 20, false);
    before.start_again();
    let mut expected = [there, after].concat();
    wait_exactly(&before.scenario, &expected, &destination(), &topic, Times::Kept);
    // And while it copies.
    destination().produce(&records(&topic, "more", 2, false)).expect("produced");
    expected.extend(destination().dump(&topic).expect("read").into_iter().rev().take(2).rev());
    expected.extend(feed(&topic, "last", 20, false));
    wait_exactly(&before.scenario, &expected, &destination(), &topic, Times::Kept);
    before.insist_no_gap("c", &shares(&topic));
    println!("{topic}: 5 foreign records among {}", expected.len());
}

#[test]
fn what_the_destination_deletes_by_its_own_retention_is_no_loss() {
    for (name, deleted) in [("shorter", 40_usize), ("gone", BEFORE)] {
        let mut before = Before::copy(Ends::of_suite(), name, &["c"], &[], false);
        let topic = before.topics[0].0.clone();
        before.stop();
        destination().delete_records(&topic, 0, i64::try_from(deleted).expect("few")).expect("deleted");
        let after = feed(&topic, "after", 20, false);
        before.start_again();
        let expected = [&before.copied[0][deleted..], &after].concat();
        wait_exactly(&before.scenario, &expected, &destination(), &topic, Times::Kept);
        before.insist_no_gap("c", "");
        println!("{topic}: {deleted} of {BEFORE} deleted at the destination, {} follow", after.len());
    }
}

/// No position is stored but the first: the records are at the destination, though, and its tail proves it.
#[test]
fn what_the_source_deletes_after_it_was_copied_is_no_loss() {
    for (name, deleted, after) in [
        ("overlap", 30_i64, 20_usize),
        ("all-copied", 50, 20),
        ("all-copied-and-idle", 50, 0),
        ("overlap-idle", 30, 0),
    ] {
        let never = ("offset.flush.interval.ms", "3600000");
        let mut before = Before::copy(Ends::of_suite(), name, &["c"], &[never], false);
        let topic = before.topics[0].0.clone();
        before.scenario.copyist.kill_9();
        let positions = destination().dump(&format!("{name}-offset")).expect("positions");
        let last = positions.last().and_then(|record| record.value.clone()).unwrap_or_default();
        assert!(last.starts_with(b"{\"offset\":-1,"), "{}", String::from_utf8_lossy(&last));
        let mut expected = before.copied[0].clone();
        if after > 0 {
            expected.extend(feed(&topic, "after", after, false));
        }
        source().delete_records(&topic, 0, deleted).expect("deleted");
        before.start_again();
        wait_exactly(&before.scenario, &expected, &destination(), &topic, Times::Kept);
        before.wait_task_running("c", "");
        expected.extend(feed(&topic, "later", 10, false));
        wait_exactly(&before.scenario, &expected, &destination(), &topic, Times::Kept);
        before.insist_no_gap("c", "");
        println!(
            "{topic}: the source begins at {deleted}, no position but the first is stored; {} are there",
            expected.len()
        );
    }
}

/// Killed before any position but the first was stored: the content is exact all the same.
#[test]
fn losses_that_are_found_without_a_recent_position() {
    let names = ["source", "destination", "retention", "foreign"];
    let never = ("offset.flush.interval.ms", "3600000");
    let mut before = Before::copy(Ends::of_suite(), "stale", &names, &[never], true);
    before.scenario.copyist.kill_9();
    let mut expected = Vec::new();
    for ((topic, name), copied) in before.topics.iter().zip(&before.copied) {
        let mut there = if *name == "destination" { Vec::new() } else { copied.clone() };
        match *name {
            "source" => recreate(&source(), topic),
            "destination" => recreate(&destination(), topic),
            "foreign" => drop(destination().produce(&records(topic, "foreign", 3, true)).expect("produced")),
            _ => {}
        }
        if *name == "foreign" {
            there = destination().dump(topic).expect("read");
        }
        let mut after = feed(topic, "after", 50, true);
        if *name == "retention" {
            source().delete_records(topic, 0, 80).expect("deleted");
            after.drain(..30);
        }
        // What the position does not cover is not at the new destination.
        let again = if *name == "destination" { &copied[..] } else { &[] };
        expected.push((there.clone(), [&there, again, &after].concat()));
    }
    before.start_again();
    for ((topic, connector), (unchanged, all)) in before.topics.iter().zip(&expected) {
        let trace = before.wait_task_failed(connector);
        println!("{trace}");
        let words = match *connector {
            "retention" => {
                "the source deleted offsets 0 to 79, of which only the first 50 records were copied"
            }
            "source" | "destination" => "up to where is not known",
            _ => "",
        };
        assert!(trace.contains(words), "{trace}");
        assert_eq!(content::exactly(unchanged, &destination(), topic, Times::Kept), Ok(()), "{topic}");
        let changed = before.config(topic, &[("loss.policy", "continue")]);
        let path = format!("/connectors/{connector}/config");
        before.scenario.expect(200, before.scenario.copyist.rest().put(&path, &changed));
        wait_exactly(&before.scenario, all, &destination(), topic, Times::Kept);
        println!("{}", before.wait_task_running(connector, "went past"));
        assert_eq!(before.gaps(connector).to_string(), "1", "{topic}");
    }
}

/// With the policy set beforehand, and while it runs.
#[test]
fn topics_that_are_created_anew_while_they_are_copied() {
    let scenario = Scenario::start("alive");
    let rows = [
        (
            "alive-source",
            "continue",
            "the source topic was created anew",
            "it was copied up to offset 49 at least",
        ),
        (
            "alive-continue",
            "continue",
            "the destination topic was created anew",
            "copying went on at source offset 50",
        ),
        ("alive-restart", "restart", "the destination topic was created anew", "up to offset 49"),
    ];
    for (topic, policy, what, place) in rows {
        source().create_topic(topic, 1).expect("created");
        let before = feed(topic, "before", BEFORE, false);
        let pairs =
            [("topic.whitelist", topic), ("loss.policy", policy), ("topic.poll.interval.ms", "600000")];
        scenario.create(topic, &config(&pairs));
        wait_exactly(&scenario, &before, &destination(), topic, Times::Kept);
        let of_source = topic == "alive-source";
        recreate(&if of_source { source() } else { destination() }, topic);
        let new = feed(topic, "new", 80, false);
        let again = if policy == "restart" || of_source { &before[..] } else { &[] };
        wait_exactly(&scenario, &[again, &new].concat(), &destination(), topic, Times::Kept);
        let mut trace = String::new();
        let seen = wait_until("the loss in the trace", LIMIT, Progress::Silent, || {
            let (_, status) = scenario.copyist.rest().get(&format!("/connectors/{topic}/status"))?;
            trace = status["tasks"][0]["trace"].as_str().unwrap_or_default().to_owned();
            Ok((trace.contains(what) && trace.contains(place)).then_some(()))
        });
        scenario.must(&format!("a loss in sight, not {trace:?}"), seen);
        println!("{topic}: {trace}");
    }
}
