//! One run: two clusters, a topic that is written while Copyist dies, and the account in the end.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{Copies, Dice, Feed, Lives, Place, Tally, check, write_until};
use crate::cluster::{Cluster, ClusterOptions};
use crate::suite;
use crate::tool::Kafka;

/// A right is short here, as a lane that is not remembered waits out its former holder's with each kill.
const WORKER: [(&str, &str); 4] = [
    ("agent.lease.ttl.ms", "1500"),
    ("agent.suspect.ms", "500"),
    ("lease.margin.ms", "200"),
    ("offset.flush.interval.ms", "700"),
];

/// Begins a run that can be had again: says its seed.
#[expect(clippy::print_stdout, reason = "whoever reads what a test printed can have its run again")]
pub fn dice(test: &str) -> Dice {
    let seed = suite::count("COPYIST_TEST_SEED", 1);
    println!("{test}: COPYIST_TEST_SEED={seed}");
    Dice::new(seed)
}

/// A cluster, seen by Kafka's clients.
pub fn at(cluster: &Cluster) -> Kafka<'static> {
    suite::tool().at(&cluster.bootstrap())
}

/// Lives between two clusters, and a source topic that is there.
pub fn lives(topic: &str, partitions: u32, (source, destination): (&Cluster, &Cluster)) -> Lives {
    suite::must("created", at(source).create_topic(topic, partitions));
    let config = json!({
        "connector.class": "EMRReplicatorSourceConnector",
        "engine": "raw",
        "src.kafka.bootstrap.servers": source.bootstrap(),
        "topic.whitelist": topic,
    });
    Lives::prepare(topic, at(destination), &destination.bootstrap(), &WORKER, &config)
}

/// Ends the writer when the test does, however that comes about.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// While a producer writes on; returns how many records it wrote that are to be copied.
#[expect(clippy::panic, reason = "a test whose writer failed has failed")]
pub fn while_written(feed: &Feed<'_>, dice: Dice, body: impl FnOnce()) -> u64 {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let end = Done(&done);
        let writer = scope.spawn(|| write_until(feed, dice, &done));
        body();
        drop(end);
        writer.join().unwrap_or_else(|_| panic!("the writer failed"))
    })
}

/// All is copied, by a last life that ends then; and is it exact? Returns how many records are equal.
#[expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "a test of exactness tells what happened, or fails with it"
)]
pub fn finish(lives: &mut Lives, source: &Kafka<'_>, copies: &Copies<'_>, records: u64) -> u64 {
    lives.wait_copied(records);
    // Nothing comes later.
    lives.die();
    match check(source, copies.topic, copies) {
        Ok(equal) => {
            println!("{}: {equal} records, 0 missing, 0 twice, in order\n{}", copies.topic, lives.tally);
            equal
        }
        Err(wrong) => panic!("{}: not exact{wrong}\n{}{}", copies.topic, lives.tally, lives.tail()),
    }
}

/// One life, to its end.
pub fn live(lives: &mut Lives, place: Option<Place>, longest_ms: u64, dice: &mut Dice) {
    lives.begin(place);
    match place {
        Some(place) => lives.die_at(place),
        None => lives.die_after(dice.millis(200, longest_ms)),
    }
}

/// A destination that looks every second whom it may forget, 600 times as often as usual.
pub fn forgetful(name: &str) -> ClusterOptions {
    let mut options = ClusterOptions::named(name);
    options.properties.insert("producer.id.expiration.check.interval.ms".to_owned(), "1000".to_owned());
    // Before 3.4 a broker looks every ten minutes, and at its start; its limit has another name, and is a week.
    options.properties.insert("transactional.id.expiration.ms".to_owned(), "86400000".to_owned());
    options
}

/// What must have come about.
pub fn require(tally: &Tally, what: &[(&str, u64)]) {
    for (name, times) in what {
        assert!(*times > 0, "{name} never happened:\n{tally}");
    }
}
