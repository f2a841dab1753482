//! Many partitions of which few have anything; brokers that throttle; a record of 20 MB.

use std::time::Duration;

use copyist_tests::scenario::{self, LIMIT, destination, source, task_states};
use copyist_tests::stub::{Snapshot, Stub};
use copyist_tests::{Deadline, Progress, Rec, Scenario, suite, wait_until};

use crate::{Between, cpu, end, peak_mib, stub, tell, watch};

const CROWD: &str = "crowd";
const PARTITIONS: i32 = 2_000;
/// Every so manieth has records.
const BUSY_EACH: usize = 40;
const BATCH: i64 = 64;
/// What an idle Copyist may use of one processor.
const IDLE_PERCENT: u128 = 25;
const CROWD_PEAK_MIB: u64 = 256;

#[test]
fn two_thousand_partitions_of_which_fifty_have_traffic() {
    let source = stub("source", &[&format!("{CROWD}:{PARTITIONS}:endless:{BATCH}x100:none:1280000")]);
    for partition in 0..PARTITIONS {
        tell(&source, &format!("end {CROWD} {partition} 0"));
    }
    let between = Between::start(CROWD, source, stub("destination", &[]), &[("tasks.max", "4")]);
    between.scenario.wait_running("c", 4);
    let ready = Deadline::after(LIMIT);
    let busy = || (0..PARTITIONS).step_by(BUSY_EACH);
    let mut slowest = Duration::ZERO;
    for turn in 1..=20 {
        for partition in busy() {
            tell(&between.source, &format!("end {CROWD} {partition} {}", turn * BATCH));
        }
        let clock = Deadline::after(LIMIT);
        between.wait_partitions(CROWD, busy());
        slowest = slowest.max(clock.elapsed());
    }
    let traffic = ready.elapsed();

    let (clock, used) = (Deadline::after(LIMIT), cpu(&between.scenario));
    watch(Duration::from_secs(5), || ());
    let (time, used) = (clock.elapsed(), cpu(&between.scenario) - used);
    let percent = used.as_millis() * 100 / time.as_millis();
    let peak = peak_mib(&between.scenario);
    println!(
        "{} of {PARTITIONS} partitions copied in {traffic:.1?}, the slowest turn in {slowest:.1?}; idle: {percent} % of a \
         processor; peak memory {peak} MiB",
        busy().count()
    );
    assert_eq!(busy().count(), 50);
    let total = (0..PARTITIONS).map(|partition| end(&between.destination, CROWD, partition)).sum::<i64>();
    assert_eq!(total, 50 * 20 * BATCH);
    between.assert_honest();
    between.assert_no_panic();
    assert!(percent <= IDLE_PERCENT && peak <= CROWD_PEAK_MIB, "idle {percent} %, {peak} MiB");
}

const THROTTLED: &str = "throttled";
const THROTTLE: Duration = Duration::from_millis(2_500);
/// What was on its way already may still come.
const UNDER_WAY: Duration = Duration::from_millis(100);

#[test]
fn a_broker_that_throttles_is_left_alone_for_as_long_as_it_says() {
    let source = stub("source", &[&format!("{THROTTLED}:1:endless:{BATCH}x1000:none")]);
    let between =
        Between::start(THROTTLED, source, stub("destination", &[(&format!("{THROTTLED}:1:dropped"))]), &[]);
    between.scenario.wait_running("c", 1);
    wait_moving(&between);
    for (side, api) in [(&between.source, "fetch"), (&between.destination, "produce")] {
        let requests = |counts: &Snapshot| {
            if api == "fetch" { counts.fetch_requests } else { counts.produce_requests }
        };
        let quiet = quiet_after(side, &format!("inject {api} throttle {}", THROTTLE.as_millis()), requests);
        println!("{api}: throttled for {THROTTLE:?}, the next request came {quiet:?} later");
        assert!(quiet >= THROTTLE - UNDER_WAY * 2, "{api}: {quiet:?}");
        assert!(quiet < THROTTLE + Duration::from_secs(5), "{api}: {quiet:?}");
        wait_moving(&between);
    }
    between.assert_honest();
    between.assert_no_panic();
}

fn wait_moving(between: &Between) {
    let before = between.destination.counts().produced_records;
    let moved = wait_until("records", LIMIT, Progress::Silent, || {
        Ok((between.destination.counts().produced_records > before + 10_000).then_some(()))
    });
    between.scenario.must("records", moved);
}

/// The time from the answer that throttles to the next request.
fn quiet_after(stub: &Stub, command: &str, requests: impl Fn(&Snapshot) -> u64) -> Duration {
    tell(stub, command);
    let waited = wait_until("the request that is throttled", LIMIT, Progress::Silent, || {
        Ok((stub.injections_waiting() == 0).then_some(()))
    });
    suite::must("a throttled request", waited);
    let clock = Deadline::after(LIMIT);
    watch(UNDER_WAY, || ());
    let before = requests(&stub.counts());
    let waited = wait_until("the next request", LIMIT, Progress::Silent, || {
        Ok((requests(&stub.counts()) > before).then_some(()))
    });
    suite::must("the next request", waited);
    clock.elapsed()
}

#[test]
fn a_record_of_20_mb_is_copied_beside_small_ones() {
    const TOPIC: &str = "huge";
    const BYTES: usize = 20_000_000;
    let from = source();
    from.create_topic_with(TOPIC, 1, 1, &[("max.message.bytes", "33554432")]).expect("created");
    let noise: Vec<u8> = (0..BYTES as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let small = |tag: &str| Rec::new(TOPIC, 0).value(tag.to_owned());
    let records = [small("before"), Rec::new(TOPIC, 0).value(noise), small("behind")];
    let wide = [("max.request.size", "33554432"), ("buffer.memory", "67108864")];
    from.produce_with(&wide, &records).expect("produced");
    let scenario =
        Scenario::start_with(TOPIC, &suite::pair().1.bootstrap(), &[("agent.memory.bytes", "16777216")]);
    scenario.create("c", &scenario::config(&[("topic.whitelist", TOPIC)]));
    scenario.wait_copied(TOPIC, TOPIC, 3);
    assert_eq!(destination().topic_configs(TOPIC).expect("configs")["max.message.bytes"], "33554432");
    from.produce(&[small("later")]).expect("produced");
    scenario.wait_copied(TOPIC, TOPIC, 4);
    assert_eq!(task_states(&scenario.get("/connectors/c/status")), ["RUNNING"]);
    println!("one record of {BYTES} bytes; peak memory {} MiB with 16 MiB for records", peak_mib(&scenario));
}
