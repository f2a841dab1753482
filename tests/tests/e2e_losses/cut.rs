//! Logs that lose their ends, as after an unclean election: brokers killed, and batches cut off on their disks. And what
//! brokers forget: who wrote.

use std::time::Duration;

use copyist_tests::equality::{Times, content, segments, wait_exactly};
use copyist_tests::scenario::LIMIT;
use copyist_tests::{Cluster, ClusterOptions, Deadline, Kafka, Progress, Rec, suite, wait_until};

use crate::{Aftermath, BEFORE, Before, Ends, Policy, feed_at, see_it_through};

/// Of the fifty records, the cut leaves so many.
const LEFT: usize = 30;
/// A broker looks each second for writers to be forgotten.
const FORGETS: (&str, &str) = ("producer.id.expiration.check.interval.ms", "1000");

fn clusters(name: &str) -> (Cluster, Cluster) {
    let options = |end: &str| {
        let mut options = ClusterOptions::named(&format!("{name}-{end}"));
        options.properties.insert(FORGETS.0.to_owned(), FORGETS.1.to_owned());
        options
    };
    let started = Cluster::start_two(suite::jars(), options("source"), options("destination"));
    suite::must("two clusters", started)
}

fn ends(from: &Cluster, to: &Cluster) -> Ends {
    let (source_bootstrap, destination_bootstrap) = (from.bootstrap(), to.bootstrap());
    let (at_source, at_destination) =
        (suite::tool().at(&source_bootstrap), suite::tool().at(&destination_bootstrap));
    Ends { from: at_source, to: at_destination, source_bootstrap, destination_bootstrap }
}

/// The ends of these topics are gone when this returns.
fn cut(cluster: &mut Cluster, topics: &[(String, &str)]) {
    cluster.kill_9();
    for (topic, _) in topics {
        segments::cut(cluster, topic, 0, i64::try_from(LEFT).expect("few")).expect("cut");
    }
    suite::must("the cluster again", cluster.restart());
}

fn wait_end(before: &Before, at: &Kafka<'_>, topic: &str, end: usize) {
    let mut seen = -1;
    let found = wait_until("a shorter log", LIMIT, Progress::Silent, || {
        seen = at.end_offsets(topic)?[&0];
        Ok((usize::try_from(seen) == Ok(end)).then_some(()))
    });
    before.scenario.must(&format!("{topic} to end at {end}, not {seen}"), found);
}

#[test]
fn a_source_that_was_truncated() {
    let (mut from, to) = clusters("shortened");
    let mut before = Before::copy(ends(&from, &to), "shortened", &Policy::ALL.map(Policy::name), &[], false);
    before.stop();
    cut(&mut from, &before.topics);
    let topics = Policy::ALL.into_iter().zip(before.topics.iter().zip(&before.copied));
    let made: Vec<Aftermath> = topics
        .map(|(policy, ((topic, _), copied))| {
            wait_end(&before, &before.ends.from, topic, LEFT);
            // With fewer than were cut, and with more: then only the leader epoch tells.
            let count = if policy == Policy::Continue { 40 } else { 5 };
            let other = before.feed(topic, "other", count, false);
            let again = if policy == Policy::Restart { &copied[..LEFT] } else { &[] };
            Aftermath {
                words: "the source was truncated to offset 30: its records 30 to 49 are copied already"
                    .to_owned(),
                unchanged: copied.clone(),
                expected: [copied, again, &other].concat(),
                goes_on_at: (policy == Policy::Continue).then_some(30),
                shared: false,
            }
        })
        .collect();
    see_it_through(&mut before, &made, false);
}

#[test]
fn a_destination_that_lost_what_it_acknowledged() {
    let (from, mut to) = clusters("forgot");
    let mut before = Before::copy(ends(&from, &to), "forgot", &Policy::ALL.map(Policy::name), &[], false);
    before.stop();
    cut(&mut to, &before.topics);
    let topics = Policy::ALL.into_iter().zip(before.topics.iter().zip(&before.copied));
    let made: Vec<Aftermath> = topics
        .map(|(policy, ((topic, _), copied))| {
            wait_end(&before, &before.ends.to, topic, LEFT);
            let mut unchanged = copied[..LEFT].to_vec();
            // Others took the places of what was lost.
            if policy == Policy::Restart {
                unchanged.extend(feed_at(&before.ends.to, topic, "foreign", BEFORE - LEFT, false));
            }
            let after = before.feed(topic, "after", 20, false);
            let again = if policy == Policy::Restart { &copied[..] } else { &[] };
            Aftermath {
                words: "the destination lost 20 records that it had acknowledged: it holds 30 of 50; they lay before \
                        source offset 50 and destination offset 50"
                    .to_owned(),
                expected: [&unchanged, again, &after].concat(),
                unchanged,
                goes_on_at: (policy == Policy::Continue).then_some(50),
                shared: false,
            }
        })
        .collect();
    see_it_through(&mut before, &made, false);
}

/// While it copies: the destination gets again what it lost behind the position; what the source lost is told.
#[test]
fn logs_that_lose_their_ends_while_they_are_copied() {
    let (mut from, mut to) = clusters("running");
    let never = ("offset.flush.interval.ms", "3600000");
    let before = Before::copy(ends(&from, &to), "running", &["destination", "source"], &[never], false);
    let [(healed, _), (told, _)] = &before.topics[..] else { unreachable!("two") };
    let [mut expected, copied] = [0, 1].map(|at: usize| before.copied[at].clone());
    cut(&mut to, &before.topics[..1]);
    wait_end_or_more(&before, &before.ends.to, healed);
    expected.extend(before.feed(healed, "after", 10, false));
    wait_exactly(&before.scenario, &expected, &before.ends.to, healed, Times::Kept);
    before.insist_no_gap("destination", "");
    println!(
        "{healed}: {} of {BEFORE} records were lost by the destination, and are there again",
        BEFORE - LEFT
    );

    let changed = before.config(told, &[("loss.policy", "continue")]);
    before.scenario.expect(200, before.scenario.copyist.rest().put("/connectors/source/config", &changed));
    before.wait_task_running("source", "");
    cut(&mut from, &before.topics[1..]);
    let other = before.feed(told, "other", 40, false);
    wait_exactly(&before.scenario, &[copied, other].concat(), &before.ends.to, told, Times::Kept);
    let trace =
        before.wait_task_running("source", "the source was truncated to offset 30: its records 30 to 49");
    println!("{told}: {trace}");
}

/// The lane may be quicker than we look.
fn wait_end_or_more(before: &Before, at: &Kafka<'_>, topic: &str) {
    let found = wait_until("a log that serves", LIMIT, Progress::Silent, || {
        Ok((usize::try_from(at.end_offsets(topic)?[&0]).is_ok_and(|end| end >= LEFT)).then_some(()))
    });
    before.scenario.must(topic, found);
}

/// The broker has forgotten us, our records are deleted there, and what lies behind them is somebody else's: its length
/// says nothing of how many of ours came.
#[test]
fn foreign_records_are_never_taken_for_ours() {
    let (from, to) = clusters("mistaken");
    let never = ("offset.flush.interval.ms", "3600000");
    let mut before = Before::copy(ends(&from, &to), "mistaken", &["c"], &[never], true);
    let topic = before.topics[0].0.clone();
    before.scenario.copyist.kill_9();
    let forgotten = Deadline::after(Duration::from_secs(4));
    let over = || Ok(forgotten.passed().then_some(()));
    wait_until("the broker to forget", LIMIT, Progress::Silent, over).expect("time passes");
    let there: Vec<Rec> = feed_at(&before.ends.to, &topic, "foreign", 3, false);
    before.ends.to.delete_records(&topic, 0, i64::try_from(BEFORE).expect("few")).expect("deleted");
    before.feed(&topic, "after", 20, true);
    before.start_again();
    let trace = before.wait_task_failed("c");
    println!("{topic}: {trace}");
    let found = content::exactly(&there, &before.ends.to, &topic, Times::Kept);
    assert_eq!(found, Ok(()), "{topic}");
}
