//! The fleet in a simulated world: the coordinator's core and the agent's core as they are, a store as etcd is, time,
//! network and faults drawn from a seed. Safety at every moment (`invariants`), then liveness after healing.
//!
//! `COPYIST_TEST_SEEDS` and `COPYIST_TEST_SEED` set how many runs there are and with which seed they begin.

#![expect(clippy::print_stdout, reason = "a run tells what really happened, and how to replay it")]
#![expect(clippy::expect_used, reason = "the numbers of a short test fit, and its names parse")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a model looks at what it models, and leaves the rest")]

mod agent;
mod breaks;
#[path = "../../../crates/lane/tests/schedules/broker.rs"]
#[expect(dead_code, reason = "not all of the model is needed here")]
mod broker;
mod brokers;
#[path = "../../../crates/lane/tests/schedules/dice.rs"]
mod dice;
mod faults;
mod invariants;
mod job;
mod lanes;
mod link;
mod liveness;
mod network;
mod node;
mod options;
mod proofs;
mod queue;
mod replica;
mod shipping;
mod sim;
mod store;
mod term;
mod trace;
mod user;
mod wishes;
mod world;

use breaks::Breaks;
use copyist_tests::suite;
use trace::Counts;
use world::{Outcome, options_of, run};

const SEEDS: u64 = 2_000;
const EVENTS_LEAST: u64 = 200;
const THREADS: u64 = 2;

/// What must have happened in a run of the full length, and at least how often.
const MUST_HAPPEN: [(&str, u64); 74] = [
    ("aborted writes", 100),
    ("agent leases ended", 1_000),
    ("agents cut off", 1_000),
    ("agents drained", 100),
    ("agents drained by the user", 100),
    ("agents forgotten", 100),
    ("answers of brokers lost or bad", 1_000),
    ("asked whether the epoch is current", 10),
    ("batches appended", 1_000),
    ("batches refused", 1_000),
    ("batches sent by fence", 1_000),
    ("batches sent by right", 1_000),
    ("changes of configs", 1_000),
    ("changes of offsets", 1_000),
    ("commands acknowledged", 1_000),
    ("commands asked again", 1_000),
    ("commands delivered twice", 1_000),
    ("commits", 1_000),
    ("commits applied after their sender gave up", 10),
    ("commits of deposed leaders refused", 100),
    ("commits of unknown outcome", 1_000),
    ("connections to brokers cut", 100),
    ("crashes of agents", 1_000),
    ("crashes of replicas", 1_000),
    ("creates", 1_000),
    ("deletes", 100),
    ("jobs started", 1_000),
    ("offsets changed", 100),
    ("parts moved by the user", 100),
    ("jobs that panicked", 10),
    ("lane records proposed", 1_000),
    ("lane records refused", 10),
    ("lanes born", 1_000),
    ("lanes born by old positions", 100),
    ("lanes overtaken", 10),
    ("lanes resumed", 1_000),
    ("lanes superseded", 1),
    ("lanes wait for a former holder", 1_000),
    ("lanes wait for the right", 100),
    ("leader keys put again", 1_000),
    ("leader leases ended", 1_000),
    ("leases lost, seen by the agent", 1_000),
    ("leases that end early", 1_000),
    ("leases that end late", 1_000),
    ("messages cut off", 1_000),
    ("messages delayed", 1_000),
    ("messages lost", 1_000),
    ("pauses of agents", 1_000),
    ("pauses of connectors", 100),
    ("pauses of replicas", 1_000),
    ("pauses with a question on its way", 100),
    ("positions read to their end", 100),
    ("positions stored", 1_000),
    ("positions that landed late", 100),
    ("producers forgotten", 1_000),
    ("questions unanswered", 1_000),
    ("renewals without an answer", 1_000),
    ("replicas cut off", 1_000),
    ("replicas without a store", 1_000),
    ("requests without anybody who waits", 100),
    ("resends recognised", 10),
    ("restarts of connectors", 1_000),
    ("resumes", 1_000),
    ("sessions", 1_000),
    ("sessions broken", 1_000),
    ("source topics grown", 1_000),
    ("stops", 1_000),
    ("stores restored", 10),
    ("surveys", 1_000),
    ("tasks that did not end in time", 10),
    ("terms ended by their own clock", 1_000),
    ("terms won", 1_000),
    ("ways cut", 1_000),
    ("words of a former session", 100),
];

/// What all runs of a thread came to.
#[derive(Default)]
struct Sum {
    counts: Counts,
    events: u64,
    fewest_events: Option<u64>,
    longest_recovery_ms: u64,
    failed: Option<u64>,
}

fn replay(seed: u64) -> String {
    format!(
        "COPYIST_TEST_SEED={seed} COPYIST_TEST_SEEDS=1 cargo test -p copyist-tests --test simulation seeds_ -- \
         --nocapture"
    )
}

fn run_all(first: u64, count: u64, thread: u64) -> Sum {
    let mut sum = Sum::default();
    for seed in (first..first + count).filter(|seed| seed % THREADS == thread) {
        let outcome = run(seed, options_of(seed), Breaks::default(), &[], false);
        for (what, times) in outcome.counts {
            *sum.counts.entry(what).or_default() += times;
        }
        sum.events += outcome.events;
        sum.fewest_events = Some(sum.fewest_events.unwrap_or(u64::MAX).min(outcome.events));
        sum.longest_recovery_ms = sum.longest_recovery_ms.max(outcome.recovery_ms);
        if outcome.violation.is_some() {
            sum.failed = Some(seed);
            return sum;
        }
    }
    sum
}

fn fail(seed: u64) -> ! {
    let Outcome { violation, lines, .. } = run(seed, options_of(seed), Breaks::default(), &[], true);
    lines.iter().for_each(|line| println!("{line}"));
    let violation = violation.expect("the same as before");
    panic!("{}: {}\n{:?}\nreplay: {}", violation.invariant, violation.text, options_of(seed), replay(seed));
}

#[test]
fn seeds_end_well() {
    let count = suite::count("COPYIST_TEST_SEEDS", SEEDS);
    let first = suite::count("COPYIST_TEST_SEED", 0);
    let sums: Vec<Sum> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || run_all(first, count, thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a run panicked")).collect()
    });
    if let Some(seed) = sums.iter().filter_map(|sum| sum.failed).min() {
        fail(seed);
    }
    let events: u64 = sums.iter().map(|sum| sum.events).sum();
    let fewest = sums.iter().filter_map(|sum| sum.fewest_events).min().unwrap_or(0);
    let longest = sums.iter().map(|sum| sum.longest_recovery_ms).max().unwrap_or(0);
    let mut counts = Counts::new();
    for (what, times) in sums.into_iter().flat_map(|sum| sum.counts) {
        *counts.entry(what).or_default() += times;
    }
    println!(
        "{count} runs from seed {first}: {events} events, at least {fewest} each; {longest} ms to be well at most"
    );
    counts.iter().for_each(|(what, times)| println!("  {times:>9} {what}"));
    assert!(fewest >= EVENTS_LEAST, "a run of {fewest} events");
    if count >= SEEDS {
        for (what, least) in MUST_HAPPEN {
            let times = counts.get(what).copied().unwrap_or(0);
            assert!(times >= least, "{what}: {times} times, at least {least} were expected");
        }
    }
}

#[test]
fn a_seed_gives_one_trace() {
    for seed in 0..5 {
        let [one, other] = [(); 2].map(|()| run(seed, options_of(seed), Breaks::default(), &[], true).digest);
        assert_eq!(one, other, "seed {seed}");
    }
}
