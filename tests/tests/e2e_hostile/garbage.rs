//! A source that talks nonsense: noise instead of frames, lengths that are none, parts, answers to nobody's question,
//! batches with damaged headers and payloads. Memory stays bounded, the errors say what is wrong, other tasks go on,
//! and once the source is sane again all is copied.

use std::time::Duration;

use copyist_tests::scenario::{LIMIT, task_states};
use copyist_tests::stub::Stub;
use copyist_tests::{Progress, suite, wait_until};
use serde_json::json;

use crate::{Between, config, end, peak_mib, stub, tell, trace_of, watch};

const TOPIC: &str = "garbage";
const PARTITIONS: i32 = 6;
const RECORDS_PER_BATCH: i64 = 16;
/// Batches that come to each partition with each turn.
const TURN: i64 = 6;
const TURNS: u64 = 6;
const CALM_TOPIC: &str = "calm";
/// What Copyist may hold of records, and what it may use in all.
const BUDGET_MIB: u64 = 32;
const PEAK_MIB: u64 = 64 + BUDGET_MIB + 64;

/// What a turn's answers are, in their order.
fn derange(source: &Stub, seed: u64) {
    for step in 0..4 {
        let seed = seed * 100 + step * 10;
        for line in [
            format!("inject fetch damage {seed} x4"),
            format!("inject any garbage {seed} x3"),
            format!("inject fetch cut {}", 20 + step * 997),
            format!("inject fetch length {}", -1 - i64::from(u8::try_from(step).unwrap_or(0))),
            "inject fetch length 2147483647".to_owned(),
        ] {
            tell(source, &line);
        }
    }
}

fn extend(source: &Stub, topic: &str, partitions: i32, batches: i64) {
    for partition in 0..partitions {
        let to = end(source, topic, partition) + batches * RECORDS_PER_BATCH;
        tell(source, &format!("end {topic} {partition} {to}"));
    }
}

fn start(name: &str, topic: &str, partitions: i32) -> Stub {
    let source = stub(name, &[&format!("{topic}:{partitions}:endless:{RECORDS_PER_BATCH}x1000:none:160000")]);
    for partition in 0..partitions {
        tell(&source, &format!("end {topic} {partition} 0"));
    }
    extend(&source, topic, partitions, 2);
    source
}

#[test]
fn a_source_that_sends_garbage_harms_nobody_and_is_copied_once_it_is_sane() {
    let source = start("source", TOPIC, PARTITIONS);
    let calm = start("calm", CALM_TOPIC, 1);
    let budget = (BUDGET_MIB << 20).to_string();
    let worker = [("agent.memory.bytes", budget.as_str())];
    let pairs = [("tasks.max", "3"), ("src.kafka.request.timeout.ms", "500")];
    let between = Between::start_worker(TOPIC, source, stub("destination", &[]), &worker, &pairs);
    let beside = config(&calm, &between.destination, &[("topic.whitelist", CALM_TOPIC), ("tasks.max", "1")]);
    between.scenario.create("beside", &beside);
    between.wait_partitions(TOPIC, 0..PARTITIONS);
    between.scenario.wait_running("c", 3);

    let seed = suite::count("COPYIST_TEST_SEED", 1);
    let turns = TURNS * suite::count("COPYIST_TEST_SEEDS", 1);
    let mut longest = Duration::ZERO;
    for turn in 0..turns {
        derange(&between.source, seed * 1_000 + turn);
        extend(&between.source, TOPIC, PARTITIONS, TURN);
        longest = longest.max(copied_beside(&between, &calm));
        watch(Duration::from_millis(1_200), || ());
        tell(&between.source, "clear");
        tell_trace(&between, &format!("turn {turn}"));
        restart_failed(&between);
    }
    let met = between.source.injections_met();
    println!(
        "seed {seed}: {met} answers were nonsense; the task beside took {longest:?} at most for its records"
    );
    assert!(met as u64 >= turns * 4, "hardly any nonsense was met");
    extend(&between.source, TOPIC, PARTITIONS, TURN);
    between.wait_partitions(TOPIC, 0..PARTITIONS);
    restart_failed(&between);
    between.scenario.wait_running("c", 3);
    let copied = between.assert_equal(TOPIC);
    assert_honest_but_for_the_source(&between);
    between.assert_no_panic();
    let peak = peak_mib(&between.scenario);
    println!(
        "{copied} records, each once and in order; peak memory {peak} MiB with {BUDGET_MIB} MiB for records"
    );
    assert!(peak <= PEAK_MIB, "{peak} MiB");
}

/// Answers that are whole, but for a few bytes: counts, offsets, ids, ports are others. What a lane makes of it depends
/// (an offset that lies is believed); but it costs no memory, no panic, and nobody else anything. One source for each
/// seed: to be asked to wait for a minute is believed as well.
#[test]
fn answers_with_changed_bytes_cost_neither_memory_nor_a_panic() {
    const MUTATED: &str = "mutated";
    const SOURCES: u64 = 8;
    let calm = start("calm", CALM_TOPIC, 1);
    let budget = (BUDGET_MIB << 20).to_string();
    let worker = [("agent.memory.bytes", budget.as_str())];
    let beside = [("tasks.max", "1")];
    let between = Between::start_worker(CALM_TOPIC, calm, stub("destination", &[]), &worker, &beside);
    let first = suite::count("COPYIST_TEST_SEED", 1) * 1_000;
    let sources: Vec<Stub> = (0..SOURCES).map(|at| start(&format!("source-{at}"), MUTATED, 2)).collect();
    for (at, source) in sources.iter().enumerate() {
        let rename = format!("m{at}.${{topic}}");
        let pairs =
            [("topic.whitelist", MUTATED), ("topic.rename.format", rename.as_str()), ("tasks.max", "1")];
        let impatient = [("src.kafka.request.timeout.ms", "500")];
        between.scenario.create(
            &format!("m{at}"),
            &config(source, &between.destination, &[&pairs[..], &impatient].concat()),
        );
    }
    for at in 0..SOURCES {
        between.scenario.wait_running(&format!("m{at}"), 1);
    }
    let (pid, mut longest) = (between.scenario.copyist.pid(), Duration::ZERO);
    for (seed, source) in (first..).zip(&sources) {
        tell(source, &format!("inject any mutate {} x1000", seed * 1_000));
    }
    for _ in 0..TURNS * suite::count("COPYIST_TEST_SEEDS", 1) {
        sources.iter().for_each(|source| extend(source, MUTATED, 2, TURN));
        longest = longest.max(copied_beside(&between, &between.source));
        watch(Duration::from_millis(800), || ());
    }
    let met: usize = sources.iter().map(Stub::injections_met).sum();
    let peak = peak_mib(&between.scenario);
    println!(
        "seed {first}: {met} answers had other bytes; peak memory {peak} MiB; beside it took {longest:?} at most"
    );
    assert!(met as u64 >= SOURCES * 2 && peak <= PEAK_MIB, "{met} answers, {peak} MiB");
    between.assert_no_panic();
    assert_eq!(between.scenario.copyist.pid(), pid);

    // Another connector finds a source sane.
    let Some(source) = sources.first() else { return };
    sources.iter().for_each(|source| drop(tell(source, "clear")));
    let rename = [("topic.whitelist", MUTATED), ("topic.rename.format", "sane.${topic}"), ("tasks.max", "1")];
    between.scenario.create("sane", &config(source, &between.destination, &rename));
    let copied = wait_until("the copy of a sane source", LIMIT, Progress::Silent, || {
        let mut both =
            (0..2).map(|at| (end(source, MUTATED, at), end(&between.destination, "sane.mutated", at)));
        Ok(both.all(|(from, to)| from == to).then_some(()))
    });
    between.scenario.must("the copy of a sane source", copied);
    between.assert_no_panic();
}

/// What a turn's answers of a destination are, in their order: batches are appended, and nobody learns of it.
fn confuse(destination: &Stub, seed: u64) {
    for step in 0..5 {
        let seed = seed * 100 + step * 10;
        for line in [
            "inject produce drop after".to_owned(),
            format!("inject produce garbage {seed} x2"),
            "inject produce drop".to_owned(),
            format!("inject describe-producers garbage {} x2", seed + 3),
            format!("inject produce cut {}", 3 + step * 7),
            format!("inject list-offsets cut {}", 9 + step),
            format!("inject offset-for-leader-epoch length {}", i32::MAX - 1),
        ] {
            tell(destination, &line);
        }
    }
    tell(destination, "inject any length -1");
}

#[test]
fn a_destination_that_answers_with_garbage_is_asked_until_it_is_sane() {
    const ASKED: &str = "asked";
    let source = start("source", ASKED, PARTITIONS);
    let pairs = [("tasks.max", "2"), ("dest.kafka.request.timeout.ms", "500")];
    let between = Between::start(ASKED, source, stub("destination", &[]), &pairs);
    between.wait_partitions(ASKED, 0..PARTITIONS);
    between.scenario.wait_running("c", 2);
    let seed = suite::count("COPYIST_TEST_SEED", 1);
    let turns = TURNS * suite::count("COPYIST_TEST_SEEDS", 1);
    for turn in 0..turns {
        confuse(&between.destination, seed * 1_000 + turn);
        extend(&between.source, ASKED, PARTITIONS, TURN);
        watch(Duration::from_millis(1_000), || ());
        tell(&between.destination, "clear");
    }
    let met = between.destination.injections_met();
    extend(&between.source, ASKED, PARTITIONS, TURN);
    between.wait_partitions(ASKED, 0..PARTITIONS);
    let copied = between.assert_equal(ASKED);
    println!(
        "seed {seed}: {met} answers of the destination were nonsense; {copied} records, each once and in order"
    );
    assert!(met as u64 >= turns * 3, "hardly any nonsense was met");
    between.assert_honest();
    between.scenario.wait_running("c", 2);
    between.assert_no_panic();
    println!("{}", between.scenario.wait_logged(&["WARN", "an exchange failed"]));
}

/// By byte of a batch's header, and bits in it: what a reader may take for something else.
const FLIPS: [(usize, u8, &str); 12] = [
    (22, 0x20, "control bit"),
    (22, 0x10, "transactional bit"),
    (22, 0x08, "timestamp type"),
    (22, 0x01, "codec"),
    (60, 16, "count, which is 0 then"),
    (60, 1, "count"),
    (59, 1, "count, by 256"),
    (26, 1, "last offset delta"),
    (16, 3, "magic"),
    (20, 1, "CRC"),
    (42, 1, "latest timestamp"),
    (70, 0x55, "payload"),
];

#[test]
fn a_batch_with_a_flipped_bit_is_never_passed_over() {
    const FLIPPED: &str = "flipped";
    let partitions = i32::try_from(FLIPS.len()).expect("a few");
    let source = start("source", FLIPPED, partitions);
    let between = Between::start(FLIPPED, source, stub("destination", &[]), &[("tasks.max", "1")]);
    between.wait_partitions(FLIPPED, 0..partitions);
    between.scenario.wait_running("c", 1);
    let mut lost = Vec::new();
    for ((byte, mask, what), partition) in FLIPS.into_iter().zip(0..) {
        let met = between.source.injections_met();
        tell(&between.source, &format!("inject fetch flip {byte} {mask}"));
        // The fetch that waits already meets the first of these, the next one the others.
        for batches in [1, 3] {
            let to = end(&between.source, FLIPPED, partition) + batches * RECORDS_PER_BATCH;
            tell(&between.source, &format!("end {FLIPPED} {partition} {to}"));
            watch(Duration::from_millis(150), || ());
        }
        assert_eq!(between.source.injections_met(), met + 1, "{what} did not come about");
        tell_trace(&between, what);
        let wanted = end(&between.source, FLIPPED, partition);
        let copied = wait_until("all batches", LIMIT / 10, Progress::Silent, || {
            restart_failed(&between);
            Ok((end(&between.destination, FLIPPED, partition) == wanted).then_some(()))
        });
        lost.extend(copied.is_err().then_some(what));
    }
    assert!(lost.is_empty(), "records were lost, or their lane hangs: {lost:?}");
    let copied = between.assert_equal(FLIPPED);
    assert_honest_but_for_the_source(&between);
    between.assert_no_panic();
    println!("{copied} records, each once and in order");
}

/// How long it takes until records of the calm source have been copied.
fn copied_beside(between: &Between, calm: &Stub) -> Duration {
    extend(calm, CALM_TOPIC, 1, 1);
    let wanted = end(calm, CALM_TOPIC, 0);
    let clock = copyist_tests::Deadline::after(LIMIT);
    let copied = wait_until("the task beside", LIMIT, Progress::Silent, || {
        Ok((end(&between.destination, CALM_TOPIC, 0) == wanted).then_some(()))
    });
    between.scenario.must("the task beside", copied);
    clock.elapsed()
}

/// What comes damaged may be passed on so: the destination finds that its CRC is wrong.
fn assert_honest_but_for_the_source(between: &Between) {
    let counts = between.destination.counts();
    let damaged = counts.faults.get("a wrong CRC").copied().unwrap_or(0);
    assert_eq!((counts.fault_count(), counts.duplicates), (damaged, 0), "{counts}");
}

fn tell_trace(between: &Between, what: &str) {
    let trace = trace_of(&between.status());
    if !trace.is_empty() {
        println!("{what}: {}", trace.replace('\n', " |"));
    }
}

/// A human looks at each turn.
fn restart_failed(between: &Between) {
    let status = between.status();
    for (task, _) in task_states(&status).iter().enumerate().filter(|(_, state)| *state == "FAILED") {
        let path = format!("/connectors/c/tasks/{task}/restart");
        between.scenario.expect(204, between.scenario.copyist.rest().post(&path, &json!({})));
    }
}
