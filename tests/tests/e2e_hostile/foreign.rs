//! Somebody else writes into a partition that is being copied into, on real clusters.

use std::time::Duration;

use copyist_tests::scenario::{self, LIMIT, destination, numbered, source, task_states};
use copyist_tests::{Deadline, Progress, Rec, Scenario, suite, wait_until};
use serde_json::Value;

use crate::{Between, CONNECTOR, stub, tell, trace_of};

const TOPIC: &str = "foreign";
const STORAGE: &str = "foreign-offset";
const PARTITIONS: i32 = 3;
/// Where the other one writes.
const SHARED: i32 = 1;
const AT_ONCE: usize = 30;
const ROUNDS: usize = 40;

#[test]
fn a_foreign_producer_makes_a_lane_shared_and_costs_no_record() {
    let (from, to) = (source(), destination());
    from.create_topic(TOPIC, PARTITIONS.unsigned_abs()).expect("created");
    let scenario = Scenario::start(TOPIC);
    scenario.create(CONNECTOR, &scenario::config(&[("topic.whitelist", TOPIC), ("tasks.max", "1")]));
    scenario.wait_running(CONNECTOR, 1);
    let mut foreign = 0;
    for round in 0..ROUNDS {
        from.produce(&numbered(TOPIC, PARTITIONS, &format!("own {round:04}"), AT_ONCE)).expect("produced");
        if round > 2 && round % 3 == 0 {
            let value = format!("foreign {round:04}");
            to.produce(&[Rec::new(TOPIC, SHARED).value(value)]).expect("produced");
            foreign += 1;
        }
    }
    let own = ROUNDS * AT_ONCE;
    scenario.wait_records(&to, TOPIC, (own + foreign) as u64);
    assert_eq!(scenario::records_in(&to, TOPIC).expect("offsets"), (own + foreign) as u64);
    assert_each_once_in_order(&from.dump(TOPIC).expect("dumped"), &to.dump(TOPIC).expect("dumped"), foreign);

    // Visible in the lane's record and in the log; and the connector goes on.
    let shared = wait_shared(&scenario);
    assert_eq!(shared, [false, true, false], "the lane records");
    let status = scenario.get("/connectors/c/status");
    assert_eq!(task_states(&status), ["RUNNING"], "{status}");
    println!("{own} own records and {foreign} foreign ones in one log; trace: {:?}", trace_of(&status));

    // As before, with the next start as well.
    let mut scenario = scenario;
    scenario.copyist.kill_9();
    to.produce(&[Rec::new(TOPIC, SHARED).value("foreign at night")]).expect("produced");
    from.produce(&numbered(TOPIC, PARTITIONS, "own at night", AT_ONCE)).expect("produced");
    suite::must("copyist again", scenario.copyist.restart());
    scenario.wait_records(&to, TOPIC, (own + foreign + AT_ONCE + 1) as u64);
    assert_each_once_in_order(
        &from.dump(TOPIC).expect("dumped"),
        &to.dump(TOPIC).expect("dumped"),
        foreign + 1,
    );
    println!("{}", scenario.wait_logged(&["WARN", &format!("{TOPIC}-{SHARED}")]));
}

#[test]
fn a_base_offset_that_is_not_the_expected_one_is_noticed() {
    const SHIFTED: &str = "shifted";
    let between = Between::start(
        SHIFTED,
        stub("source", &[&format!("{SHIFTED}:3:endless:64x1000:none:1280")]),
        stub("destination", &[&format!("{SHIFTED}:3:kept")]),
        &[("tasks.max", "1")],
    );
    between.wait_partitions(SHIFTED, 0..3);
    // Farther on: somebody else's records lie before it. Less far: records were lost that had been acknowledged.
    tell(&between.destination, &format!("inject produce {SHIFTED} 0 shift 7"));
    tell(&between.destination, &format!("inject produce {SHIFTED} 1 shift -7"));
    for partition in 0..3 {
        tell(&between.source, &format!("end {SHIFTED} {partition} 2560"));
    }
    let status =
        between.scenario.wait_status(CONNECTOR, "the loss", |status| task_states(status) == ["FAILED"]);
    between.wait_partitions(SHIFTED, [0, 2]);
    let trace = trace_of(&status);
    assert!(trace.contains("shifted-1: the destination lost") && !trace.contains("shifted-0: "), "{trace}");
    between.assert_honest();
    println!("{trace}");
}

fn is_foreign(record: &Rec) -> bool {
    record.value.as_ref().is_some_and(|value| value.starts_with(b"foreign"))
}

fn assert_each_once_in_order(from: &[Rec], to: &[Rec], foreign: usize) {
    assert_eq!(to.iter().filter(|record| is_foreign(record)).count(), foreign);
    for partition in 0..PARTITIONS {
        let values = |records: &[Rec]| {
            let own =
                records.iter().filter(|record| record.partition == Some(partition) && !is_foreign(record));
            own.map(|record| record.value.clone().unwrap_or_default()).collect::<Vec<_>>()
        };
        let (written, copied) = (values(from), values(to));
        assert!(!written.is_empty() && written == copied, "partition {partition}");
    }
}

/// What the newest position of each lane says of sharing, once that of the shared one does.
fn wait_shared(scenario: &Scenario) -> Vec<bool> {
    let mut all = Vec::new();
    let clock = Deadline::after(LIMIT);
    let found = wait_until("a position that says shared", LIMIT, Progress::Silent, || {
        let mut newest = vec![false; PARTITIONS.unsigned_abs() as usize];
        for record in destination().dump(STORAGE)? {
            let parse = |bytes: &Option<Vec<u8>>| {
                serde_json::from_slice::<Value>(bytes.as_deref().unwrap_or_default()).unwrap_or_default()
            };
            let (key, value) = (parse(&record.key), parse(&record.value));
            let at = key[1]["partition"].as_u64().and_then(|at| newest.get_mut(usize::try_from(at).ok()?));
            if let (Some(at), Some(shared)) = (at, value["copyist.shared"].as_bool()) {
                *at = shared;
            }
        }
        all = newest;
        Ok(all.contains(&true).then_some(()))
    });
    scenario.must("a position that says shared", found);
    assert!(clock.elapsed() < LIMIT - Duration::from_secs(1));
    all
}
