//! Exactly once, by the raw engine on real brokers, whatever is killed: Copyist at random and at chosen places, its
//! store lost, either broker; with records of now, and with records so old that brokers forget who wrote them. Nothing
//! is missing, nothing is there twice, order is kept. Each run tells what happened, and fails when it did not.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use copyist_tests::exact::{
    Age, Copies, Dice, Feed, Place, Tally, at, dice, finish, forgetful, kill_brokers, live, lives, require,
    while_written,
};
use copyist_tests::{Cluster, ClusterOptions, suite};

const PARTITIONS: u32 = 2;
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

#[test]
fn brokers_killed_in_the_middle() {
    let tally = kill_brokers("exact-brokers", None);
    require(&tally, &[("an expired state", tally.expired)]);
}
