//! Exactly once between brokers of now and brokers of years ago, in both directions, while Copyist is killed again and
//! again. The oldest version always; further ones as COPYIST_TEST_VERSIONS says how many.
#![expect(clippy::print_stdout, reason = "tells what really happened")]

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_tests::exact::{
    Age, CODECS, Copies, Feed, Lives, at, dice, finish, kill_brokers, live, lives, require, while_written,
};
use copyist_tests::scenario::{odd_records, records_in};
use copyist_tests::{Cluster, ClusterOptions, KafkaVersion, suite};

const PARTITIONS: u32 = 4;
/// From the oldest on, then those between which a protocol, or who keeps the metadata, has changed.
const VERSIONS: [KafkaVersion; 6] = [
    KafkaVersion::new(2, 4, 1),
    KafkaVersion::new(2, 8, 2),
    KafkaVersion::new(3, 3, 2),
    KafkaVersion::new(3, 9, 1),
    KafkaVersion::new(3, 6, 2),
    KafkaVersion::new(4, 1, 0),
];
/// The first that tells what it remembers of a producer.
const DESCRIBES_PRODUCERS_FROM: KafkaVersion = KafkaVersion::new(2, 8, 0);

fn versions(at_least: u64) -> impl Iterator<Item = KafkaVersion> {
    let count = suite::count("COPYIST_TEST_VERSIONS", at_least).max(at_least);
    VERSIONS.into_iter().take(usize::try_from(count).unwrap_or(usize::MAX))
}

#[test]
fn exact_from_and_to_brokers_of_former_versions() {
    for version in versions(1) {
        let mut old = ClusterOptions { version: Some(version), ..ClusterOptions::named("former") };
        // At its start a broker forgets who wrote records that are older than this; the second is the name before 3.4.
        for name in ["producer.id.expiration.ms", "transactional.id.expiration.ms"] {
            old.properties.insert(name.to_owned(), "3600000".to_owned());
        }
        let clusters = Cluster::start_two(suite::jars(), old, ClusterOptions::named("now"));
        let (mut former, now) = suite::must("two clusters", clusters);
        from_former(version, &former, &now);
        to_former(version, &now, &mut former);
    }
}

fn from_former(version: KafkaVersion, former: &Cluster, now: &Cluster) {
    let topic = format!("from-{version}");
    let mut lives = lives(&topic, PARTITIONS, (former, now));
    let feed = feed(former, &topic, Age::Fresh);
    let odd = write_odd(&feed);
    let written = die_again_and_again(&mut lives, &feed, |_| {});
    account(&mut lives, &feed, now, odd + written);
    assert!(lives.tally.resumed_by("DescribeProducers") > 0, "{}", lives.tally);
}

/// In between the broker forgets who wrote what it holds.
fn to_former(version: KafkaVersion, now: &Cluster, former: &mut Cluster) {
    let topic = format!("to-{version}");
    let mut lives = lives(&topic, PARTITIONS, (now, former));
    let feed = feed(now, &topic, Age::Both);
    let odd = write_odd(&feed);
    let written = die_again_and_again(&mut lives, &feed, |lives| {
        former.kill_9();
        suite::must("the broker again", former.restart());
        lives.tally.broker_kills[1] += 1;
    });
    account(&mut lives, &feed, former, odd + written);
    let describes = version >= DESCRIBES_PRODUCERS_FROM;
    let evidence = if describes { "DescribeProducers" } else { "Tail" };
    assert!(lives.tally.resumed_by(evidence) > 0, "{evidence}:\n{}", lives.tally);
}

fn kills() -> u64 {
    suite::count("COPYIST_TEST_KILLS", 4).max(4)
}

/// Lives that are killed while records are written, with what happens after the second; then the last one. Returns how
/// many records were written.
fn die_again_and_again(lives: &mut Lives, feed: &Feed<'_>, happen: impl FnOnce(&mut Lives)) -> u64 {
    let mut dice = dice(feed.topic);
    let written = while_written(feed, dice.clone(), || {
        live_to_copy(lives);
        live_to_copy(lives);
        happen(lives);
        for _ in 2..kills() {
            live(lives, None, 2_500, &mut dice);
        }
    });
    lives.begin(None);
    written
}

/// A life that is killed while records flow: the next has something to resume.
fn live_to_copy(lives: &mut Lives) {
    lives.begin(None);
    let there = lives.copied();
    lives.wait_copied(there + 100);
    lives.die_after(Duration::ZERO);
}

fn feed<'a>(source: &Cluster, topic: &'a str, age: Age) -> Feed<'a> {
    let partitions = PARTITIONS.cast_signed();
    Feed { at: at(source), topic, partitions, age, transactions: true, most: 300 }
}

/// Every kind of record in every codec; returns how many.
fn write_odd(feed: &Feed<'_>) -> u64 {
    let records: Vec<_> =
        (0..feed.partitions).flat_map(|partition| odd_records(feed.topic, partition)).collect();
    for codec in CODECS {
        suite::must("produced", feed.at.produce_with(&[("compression.type", codec)], &records));
    }
    (CODECS.len() * records.len()) as u64
}

fn account(lives: &mut Lives, feed: &Feed<'_>, destination: &Cluster, records: u64) {
    let copies = Copies { at: at(destination), topic: feed.topic, deleted: BTreeMap::new() };
    assert_eq!(finish(lives, &feed.at, &copies, records), records);
    let tally = &lives.tally;
    assert!(tally.random_kills >= 2 && tally.takeovers > 0, "{tally}");
    println!("{}: {records} records", feed.topic);
}

#[test]
fn brokers_of_former_versions_killed_in_the_middle() {
    for version in versions(0) {
        let tally = kill_brokers(&format!("killed-{version}"), Some(version));
        if version >= DESCRIBES_PRODUCERS_FROM {
            require(&tally, &[("an expired state", tally.expired)]);
        }
    }
}

/// 2.8 gives an id to topics that had none.
#[test]
fn lanes_go_on_while_their_brokers_are_upgraded() {
    const TOPIC: &str = "upgraded";
    let [before, after] = [VERSIONS[0], VERSIONS[1]];
    if versions(0).count() < 2 {
        println!("{TOPIC}: from {before} to {after} with COPYIST_TEST_VERSIONS=2");
        return;
    }
    let old = |name| ClusterOptions { version: Some(before), ..ClusterOptions::named(name) };
    let clusters = Cluster::start_two(suite::jars(), old("upgraded-source"), old("upgraded-destination"));
    let (mut source, mut destination) = suite::must("two clusters", clusters);
    let mut lives = lives(TOPIC, PARTITIONS, (&source, &destination));
    let feed = Feed { transactions: false, ..feed(&source, TOPIC, Age::Fresh) };
    let odd = write_odd(&feed);
    let mut dice = dice(TOPIC);
    lives.begin(None);
    let written = while_written(&feed, dice.clone(), || {
        lives.wait_copied(odd + 100);
        for cluster in [&mut source, &mut destination] {
            suite::must("the upgrade", cluster.upgrade(after));
            let there = suite::must("offsets", records_in(&feed.at, TOPIC));
            lives.wait_copied(there + 500);
        }
        lives.die();
        for _ in 0..2 {
            live(&mut lives, None, 2_500, &mut dice);
        }
    });
    lives.begin(None);
    account(&mut lives, &feed, &destination, odd + written);
}
