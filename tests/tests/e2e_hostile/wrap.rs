//! Sequence numbers across 2^31: a position that is just below it, with its lane record, is what Copyist finds.

use std::time::Duration;

use copyist_tests::scenario::destination;
use copyist_tests::stub::Stub;
use copyist_tests::{Rec, Scenario, suite};

use crate::{Between, CONNECTOR, config, end, stub, tell, watch};

const TOPIC: &str = "wrap";
const STORAGE: &str = "wrap-offset";
const WRAP: i64 = 1 << 31;
const RECORDS_PER_BATCH: i64 = 64;
/// By partition: the next n, and `base_n`. Batches meet the wrap with their ends, and with their middles.
const BEGINS: [(i64, i64); 3] =
    [(WRAP - 16 * RECORDS_PER_BATCH, 0), (WRAP - RECORDS_PER_BATCH, 0), (WRAP - 999, 10)];
/// One past the last record, beyond the wrap of each partition.
const END: i64 = WRAP + 16 * RECORDS_PER_BATCH;

fn uuid_text(stub: &Stub) -> String {
    stub.topic_id(TOPIC).expect("it is there").to_string()
}

/// The position's record, in the bytes that Copyist writes.
fn position(source: &Stub, destination: &Stub, partition: i32, (n, base_n): (i64, i64)) -> Rec {
    let key =
        format!(r#"["{CONNECTOR}",{{"cluster":"stub-source","partition":{partition},"topic":"{TOPIC}"}}]"#);
    let value = serde_json::json!({
        "offset": n - 1,
        "copyist.generation": 1,
        "copyist.n": n,
        "copyist.leader.epoch": 0,
        "copyist.destination.offset": n,
        "copyist.engine": "raw",
        // Nobody has this one here.
        "copyist.producer.id": 77,
        "copyist.base.n": base_n,
        "copyist.base.offset": base_n,
        "copyist.base.source.offset": base_n,
        "copyist.shared": false,
        "copyist.source.topic.id": uuid_text(source),
        "copyist.destination.cluster": "stub-destination",
        "copyist.destination.topic": TOPIC,
        "copyist.destination.topic.id": uuid_text(destination),
        "copyist.destination.partition": partition,
    });
    Rec::new(STORAGE, 0).key(key).value(value.to_string())
}

#[test]
fn sequences_go_on_with_0_behind_2_to_the_31_over_kills_as_well() {
    let partitions = BEGINS.len();
    let source = stub("source", &[&format!("{TOPIC}:{partitions}:endless:{RECORDS_PER_BATCH}x500:none")]);
    let kept = stub("destination", &[&format!("{TOPIC}:{partitions}:kept")]);
    destination().create_topic_with(STORAGE, 1, 1, &[("cleanup.policy", "compact")]).expect("created");
    let records: Vec<Rec> =
        (0..).zip(BEGINS).map(|(partition, begin)| position(&source, &kept, partition, begin)).collect();
    destination().produce(&records).expect("produced");
    for (partition, (n, _)) in BEGINS.iter().enumerate() {
        tell(&source, &format!("end {TOPIC} {partition} {}", WRAP - RECORDS_PER_BATCH));
        tell(&source, &format!("delete-before {TOPIC} {partition} {n}"));
        tell(&kept, &format!("advance {TOPIC} {partition} {n}"));
    }
    let scenario = Scenario::start_with(TOPIC, &suite::pair().1.bootstrap(), &[]);
    scenario.create(CONNECTOR, &config(&source, &kept, &[("topic.whitelist", TOPIC), ("tasks.max", "1")]));
    let mut between = Between { scenario, source, destination: kept };
    between.scenario.wait_running(CONNECTOR, 1);

    let kills = kill_on_the_way(&mut between);
    between.wait_partitions(TOPIC, (0..).take(partitions));
    let copied = between.assert_equal(TOPIC);
    let expected: i64 = BEGINS.iter().map(|(n, _)| END - n).sum();
    assert_eq!(i64::try_from(copied), Ok(expected));
    between.assert_honest();
    between.assert_no_panic();
    let producers = tell(&between.destination, &format!("producers {TOPIC} 0"));
    let last = END - 1 - WRAP;
    assert_eq!(producers, format!("77:{last}"), "another producer id, so that nothing wrapped");
    let (within, at) = kills;
    println!(
        "{copied} records across 2^31 in {partitions} partitions; {at} kills, {within} of them amid a wave"
    );
}

/// The source grows by waves; some find Copyist killed while they are copied. How many kills were amid one, and all.
fn kill_on_the_way(between: &mut Between) -> (u32, u32) {
    let (mut within, mut kills) = (0, 0);
    let waves = (1..).map(|wave| WRAP + (wave * 4 - 4) * RECORDS_PER_BATCH);
    for (wave, to) in (0_u32..).zip(waves.take_while(|to| *to <= END)) {
        tell(&between.destination, "clear");
        tell(&between.destination, "inject produce stall 60 x20");
        for partition in 0..BEGINS.len() {
            tell(&between.source, &format!("end {TOPIC} {partition} {to}"));
        }
        if wave > 0 {
            watch(Duration::from_millis(u64::from(40 + 50 * wave)), || ());
        }
        let done =
            |between: &Between| (0..).zip(BEGINS).all(|(at, _)| end(&between.destination, TOPIC, at) == to);
        within += u32::from(!done(between));
        between.scenario.copyist.kill_9();
        kills += 1;
        suite::must("copyist again", between.scenario.copyist.restart());
        between.wait_partitions(TOPIC, (0..).take(BEGINS.len()));
    }
    assert!(within > 0, "each kill found everything copied");
    (within, kills)
}
