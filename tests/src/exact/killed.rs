//! Brokers that die in the middle, of whatever version.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{
    Age, Copies, Dice, Feed, Gate, Lives, Tally, at, dice, finish, forgetful, lives, require, while_written,
};
use crate::cluster::{Cluster, ClusterOptions};
use crate::ports::free_port;
use crate::progress::Progress;
use crate::scenario::{LIMIT, records_in};
use crate::suite;
use crate::version::KafkaVersion;
use crate::wait::{Deadline, wait_until};

const PARTITIONS: u32 = 2;

/// What dies in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Source,
    Destination,
}

/// What goes on when a broker is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Whatever a random moment finds.
    AtRandom,
    /// The destination has frozen before: requests are on their way to it.
    Frozen,
    /// Copyist catches up with many batches of this age, and the destination has stored some whose answers do not come.
    Unanswered(Age),
}

const WAYS: [Way; 4] =
    [Way::Unanswered(Age::TwoDays), Way::AtRandom, Way::Unanswered(Age::Fresh), Way::Frozen];

/// Two clusters that are killed; Copyist and all others reach the destination through the gate.
struct Killed {
    source: Cluster,
    destination: Cluster,
    gate: Gate,
}

impl Killed {
    fn start(version: Option<KafkaVersion>) -> Killed {
        let gate = suite::must("a gate", Gate::open());
        let port = suite::must("a port", free_port());
        gate.lead_to(port);
        let source = ClusterOptions { version, ..ClusterOptions::named("killed-source") };
        let mut destination = ClusterOptions { version, port: Some(port), ..forgetful("killed-destination") };
        let advertised = format!("PLAINTEXT://{}", gate.address());
        destination.properties.insert("advertised.listeners".to_owned(), advertised);
        let clusters = Cluster::start_two(suite::jars(), source, destination);
        let (source, destination) = suite::must("two clusters", clusters);
        Killed { source, destination, gate }
    }

    /// Once copying goes on; the broker is back on its data when this returns. Sometimes Copyist dies with it.
    fn kill(&mut self, end: End, way: Way, lives: &mut Lives, feed: &Feed<'_>, dice: &mut Dice) {
        let there = suite::must("offsets", records_in(&feed.at, feed.topic));
        lives.wait_copied(there + 200);
        match (way, end) {
            (Way::AtRandom, _) | (Way::Frozen, End::Source) => {
                let moment = Deadline::after(dice.millis(0, 1_500));
                let came = lives.wait("a moment", || Ok(moment.passed().then_some(())));
                lives.must("a moment", came);
            }
            (Way::Frozen, End::Destination) => {
                freeze(&self.destination);
                wait_written(feed, 1_000);
            }
            (Way::Unanswered(age), End::Source) => catch_up(lives, feed, age, dice),
            (Way::Unanswered(age), End::Destination) => {
                catch_up(lives, feed, age, dice);
                self.gate.withhold(true);
                // There is more to copy: each lane waits for the answers to batches that are stored.
                lives.wait_still();
                lives.tally.unanswered += 1;
            }
        }
        let cluster = if end == End::Source { &mut self.source } else { &mut self.destination };
        cluster.kill_9();
        lives.tally.broker_kills[usize::from(end == End::Destination)] += 1;
        let both = lives.tally.broker_kills.iter().sum::<u64>().is_multiple_of(3);
        if both {
            lives.die_after(dice.millis(0, 500));
        }
        suite::must("the broker again", cluster.restart());
        // It leads again when Copyist gets to it: one that says "not the leader" would save who resends without asking.
        lives.ends();
        self.gate.withhold(false);
        if both {
            lives.begin(None);
        }
    }
}

/// Copyist is held up while many batches come in, and has copied a few of them when this returns.
fn catch_up(lives: &mut Lives, feed: &Feed<'_>, age: Age, dice: &mut Dice) {
    lives.signal(Signal::SIGSTOP);
    feed.burst(dice, &format!("burst {:?}", lives.tally.broker_kills), age);
    let before = lives.copied();
    lives.signal(Signal::SIGCONT);
    lives.wait_copied(before + 50);
}

/// Kills both brokers of a version in turn, in each way, while records are copied from one to the other; all that must
/// have come about has, when it returns.
#[expect(clippy::print_stdout, reason = "a long run tells how far it is")]
pub fn kill_brokers(topic: &str, version: Option<KafkaVersion>) -> Tally {
    let mut dice = dice(topic);
    let kills = (suite::count("COPYIST_TEST_KILLS", 20) / 5).max(WAYS.len() as u64);
    let mut killed = Killed::start(version);
    let mut lives = lives(topic, PARTITIONS, (&killed.source, &killed.destination));
    let copies = Copies { at: at(&killed.destination), topic, deleted: BTreeMap::new() };
    let partitions = PARTITIONS.cast_signed();
    let feed =
        Feed { at: at(&killed.source), topic, partitions, age: Age::Both, transactions: false, most: 300 };
    lives.begin(None);
    let written = while_written(&feed, dice.clone(), || {
        for (number, way) in (1..=kills).zip(WAYS.into_iter().cycle()) {
            killed.kill(End::Source, way, &mut lives, &feed, &mut dice);
            killed.kill(End::Destination, way, &mut lives, &feed, &mut dice);
            println!("{topic}: {number} of {kills} kills of each broker, {way:?}");
        }
    });
    // A producer that repeats old records to a broker that died, and so forgot it, writes them twice: they are records.
    let there = suite::must("offsets", records_in(&feed.at, feed.topic));
    assert!(finish(&mut lives, &feed.at, &copies, there) >= written, "{written} were written");
    let tally = &lives.tally;
    let [of_source, of_destination] = tally.broker_kills;
    require(
        tally,
        &[
            ("a kill of the source", of_source),
            ("a kill of the destination", of_destination),
            ("a kill of the destination after batches without an answer", tally.unanswered),
            ("a kill of copyist while a broker was away", tally.random_kills),
            ("a lost answer", tally.lost_answers),
        ],
    );
    tally.clone()
}

/// Waits until so many more records are at the source.
fn wait_written(feed: &Feed<'_>, more: u64) {
    let there = suite::must("offsets", records_in(&feed.at, feed.topic));
    let written = wait_until("more at the source", LIMIT, Progress::Silent, || {
        Ok((records_in(&feed.at, feed.topic)? >= there + more).then_some(()))
    });
    suite::must("more at the source", written);
}

fn freeze(cluster: &Cluster) {
    for pid in cluster.pids() {
        let pid = Pid::from_raw(pid.cast_signed());
        assert!(nix::sys::signal::kill(pid, Signal::SIGSTOP).is_ok(), "a broker that runs");
    }
}
