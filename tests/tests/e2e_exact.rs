//! Exactly once, by the raw engine on real brokers, whatever is killed: Copyist at random and at chosen places, its
//! store lost, either broker; with records of now, and with records so old that brokers forget who wrote them. Nothing
//! is missing, nothing is there twice, order is kept. Each run tells what happened, and fails when it did not.
#![expect(clippy::panic, reason = "a test whose step fails has failed, and says why")]

use std::collections::BTreeMap;
use std::sync::OnceLock;

use copyist_tests::exact::{
    Age, Copies, Dice, Feed, Gate, Lives, Place, Tally, at, dice, finish, live, lives, while_written,
};
use copyist_tests::scenario::{LIMIT, records_in};
use copyist_tests::{Cluster, ClusterOptions, Deadline, Progress, suite, wait_until};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

const PARTITIONS: u32 = 2;
/// A destination that looks every second whom it may forget, 600 times as often as usual.
fn forgetful(name: &str) -> ClusterOptions {
    let mut options = ClusterOptions::named(name);
    options.properties.insert("producer.id.expiration.check.interval.ms".to_owned(), "1000".to_owned());
    options
}

/// A source, and a forgetful destination, for tests that kill Copyist alone.
fn pair() -> &'static (Cluster, Cluster) {
    static PAIR: OnceLock<(Cluster, Cluster)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let (source, destination) = (ClusterOptions::named("exact-source"), forgetful("exact-destination"));
        suite::must("two clusters", Cluster::start_two(suite::jars(), source, destination))
    })
}

/// A place, and how often it is passed before it kills, at most.
type Among = (&'static str, u64);

/// A kill at each place, and as many at random moments in between; the first places in this order, as a lane is born
/// once. More kills are more of the same.
fn plan(dice: &mut Dice, births: &[Among], places: &[Among]) -> Vec<Option<Place>> {
    let least = 2 * (births.len() + places.len()) as u64;
    let kills = suite::count("COPYIST_TEST_KILLS", least).max(least);
    let by_place = usize::try_from(kills / 2).unwrap_or_default();
    let mut draw = |(name, most): &Among| Place { name, count: dice.between(1, *most) };
    let born: Vec<Option<Place>> = births.iter().map(|place| Some(draw(place))).collect();
    let others = by_place.saturating_sub(born.len());
    let mut rest: Vec<Option<Place>> =
        places.iter().cycle().take(others).map(|place| Some(draw(place))).collect();
    rest.extend((by_place as u64..kills).map(|_| None));
    dice.shuffle(&mut rest);
    [born, rest].concat()
}

/// What must have come about.
fn require(tally: &Tally, what: &[(&str, u64)]) {
    for (name, times) in what {
        assert!(*times > 0, "{name} never happened:\n{tally}");
    }
}

fn require_places(tally: &Tally, places: &[Among]) {
    for (name, _) in places {
        assert!(tally.place_kills.contains_key(name), "no kill at {name}:\n{tally}");
    }
}

/// The store is lost before one life in so many.
const STORE_LOST_EVERY: usize = 6;
/// And all that the destination holds is deleted before one in so many, where a test does that.
const DELETED_EVERY: usize = 5;

/// Whether it is the turn of what happens once in so many lives.
fn is_due(life: usize, every: usize) -> bool {
    life % every == every - 1
}

#[test]
fn killed_at_random_and_at_every_place_with_records_of_now() {
    const TOPIC: &str = "exact-now";
    const BIRTHS: [Among; 4] = [("Propose", 1), ("Proposed", 2), ("OwnOpened", 1), ("OwnProduced", 1)];
    const PLACES: [Among; 7] = [
        ("Connected", 2),
        ("Read", 2),
        ("Fetched", 20),
        ("Send", 20),
        ("ProducerOpened", 1),
        ("Produced", 20),
        ("WakeAt", 3),
    ];
    let mut dice = dice(TOPIC);
    let (source, destination) = pair();
    let mut lives = lives(TOPIC, PARTITIONS, (source, destination));
    let copies = Copies { at: at(destination), topic: TOPIC, deleted: BTreeMap::new() };
    let feed = Feed { most: 200, ..feed(source, TOPIC, Age::Fresh, true) };
    let plan = plan(&mut dice, &BIRTHS, &PLACES);
    let written = while_written(&feed, dice.clone(), || {
        for (number, place) in plan.into_iter().enumerate() {
            if is_due(number, STORE_LOST_EVERY) {
                lives.lose_store();
            }
            live(&mut lives, place, 3_500, &mut dice);
        }
    });
    lives.begin(None);
    assert_eq!(finish(&mut lives, &feed.at, &copies, written), written);
    let tally = &lives.tally;
    require_places(tally, &BIRTHS);
    require_places(tally, &PLACES);
    require(
        tally,
        &[
            ("a kill at random", tally.random_kills),
            ("a lost store", tally.lost_stores),
            ("a takeover", tally.takeovers),
            ("a resume by DescribeProducers", tally.resumed_by("DescribeProducers")),
        ],
    );
}

fn feed<'a>(source: &Cluster, topic: &'a str, age: Age, transactions: bool) -> Feed<'a> {
    let partitions = PARTITIONS.cast_signed();
    Feed { at: at(source), topic, partitions, age, transactions, most: 60 }
}

#[test]
fn killed_at_random_and_at_every_place_with_records_that_brokers_forget() {
    const TOPIC: &str = "exact-old";
    const PLACES: [Among; 11] = [
        ("Facts", 1),
        ("Looked", 2),
        ("Ask", 6),
        ("Answered", 6),
        ("FetcherOpened", 1),
        ("Report", 4),
        ("OwnOpened", 2),
        ("Send", 20),
        ("OwnProduced", 20),
        ("StorePosition", 4),
        ("PositionPut", 4),
    ];
    let mut dice = dice(TOPIC);
    let (source, destination) = pair();
    let mut lives = lives(TOPIC, PARTITIONS, (source, destination));
    let mut copies = Copies { at: at(destination), topic: TOPIC, deleted: BTreeMap::new() };
    let feed = feed(source, TOPIC, Age::TwoDays, true);
    let plan = plan(&mut dice, &[], &PLACES);
    let written = while_written(&feed, dice.clone(), || {
        // There is something to resume.
        lives.begin(None);
        lives.wait_copied(100);
        lives.die();
        for (number, place) in plan.into_iter().enumerate() {
            if is_due(number, STORE_LOST_EVERY) {
                lives.lose_store();
            }
            if is_due(number, DELETED_EVERY) {
                println!("{TOPIC}: {} records deleted from the destination", copies.delete_all());
            }
            // A lane that is not remembered begins after its former holder's right.
            live(&mut lives, place, 6_000, &mut dice);
        }
    });
    lives.begin(None);
    assert_eq!(finish(&mut lives, &feed.at, &copies, written), written);
    let tally = &lives.tally;
    require_places(tally, &PLACES);
    require(
        tally,
        &[
            ("a kill at random", tally.random_kills),
            ("a lost store", tally.lost_stores),
            ("a takeover", tally.takeovers),
            ("a resume from the tail", tally.resumed_by("Tail")),
            ("a resume by arithmetic", tally.resumed_by("Arithmetic")),
            ("an expired state", tally.expired),
        ],
    );
}

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
    fn start() -> Killed {
        let gate = suite::must("a gate", Gate::open());
        let (source, mut destination) =
            (ClusterOptions::named("killed-source"), forgetful("killed-destination"));
        let advertised = format!("PLAINTEXT://{}", gate.address());
        destination.properties.insert("advertised.listeners".to_owned(), advertised);
        let clusters = Cluster::start_two(suite::jars(), source, destination);
        let (source, destination) = suite::must("two clusters", clusters);
        let port = destination.bootstrap().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        gate.lead_to(port.unwrap_or_else(|| panic!("no port in {}", destination.bootstrap())));
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

#[test]
fn brokers_killed_in_the_middle() {
    const TOPIC: &str = "exact-brokers";
    let mut dice = dice(TOPIC);
    let kills = (suite::count("COPYIST_TEST_KILLS", 20) / 5).max(WAYS.len() as u64);
    let mut killed = Killed::start();
    let mut lives = lives(TOPIC, PARTITIONS, (&killed.source, &killed.destination));
    let copies = Copies { at: at(&killed.destination), topic: TOPIC, deleted: BTreeMap::new() };
    let feed = Feed { most: 300, ..feed(&killed.source, TOPIC, Age::Both, false) };
    lives.begin(None);
    let written = while_written(&feed, dice.clone(), || {
        for (number, way) in (1..=kills).zip(WAYS.into_iter().cycle()) {
            killed.kill(End::Source, way, &mut lives, &feed, &mut dice);
            killed.kill(End::Destination, way, &mut lives, &feed, &mut dice);
            println!("{TOPIC}: {number} of {kills} kills of each broker, {way:?}");
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
            ("an expired state", tally.expired),
        ],
    );
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
