//! The lane against a model of brokers: random schedules of faults, each healed in the end and checked for exactness;
//! and the proof that no rule can be left out.
//!
//! `COPYIST_TEST_SEEDS` and `COPYIST_TEST_SEED` set how many schedules run and with which seed they begin.

#![expect(clippy::print_stdout, reason = "a run tells what really happened, and how to replay it")]
#![expect(clippy::expect_used, reason = "the numbers of a short test fit, and its names parse")]

mod broker;
mod dice;
mod options;
mod owner;
mod schedule;
mod source;
mod world;

use copyist_lane::Rules;

use options::Options;
use schedule::{Outline, options_of, run, without_memory};
use world::Counts;

const SCHEDULES: u64 = 100_000;
const THREADS: u64 = 2;
/// A rule that is left out must do damage within that many schedules.
const TRIES: u64 = 40_000;

/// What must have happened in a run of the full length, and at least how often.
const MUST_HAPPEN: [(&str, u64); 32] = [
    ("aborted writes", 100),
    ("answers lost", 1_000),
    ("asked whether the epoch is current", 100),
    ("clean stops", 100),
    ("connections cut", 1_000),
    ("crashes", 1_000),
    ("damaged batches", 100),
    ("days gone by", 1_000),
    ("destination records deleted", 1_000),
    ("expired states", 1_000),
    ("foreign records", 100),
    ("generations begun", 1_000),
    ("late arrivals", 100),
    ("leader changes", 1_000),
    ("losses reported", 100),
    ("moves", 1_000),
    ("offsets out of range", 10),
    ("parked, overtaken", 100),
    ("parked, superseded", 10),
    ("producers unknown", 100),
    ("resends recognised", 10),
    ("resumes by DescribeProducers", 1_000),
    ("resumes by arithmetic", 1_000),
    ("resumes by tail", 1_000),
    ("resumes by contents", 1_000),
    ("sequences refused", 1_000),
    ("source compactions", 1_000),
    ("splits", 1_000),
    ("strays", 10),
    ("takeovers", 1_000),
    ("unreplicated records gone", 100),
    ("waits for a former holder", 100),
];

#[expect(clippy::disallowed_methods, reason = "long runs and replays are asked for from outside")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a whole number"))
}

fn replay(seed: u64) -> String {
    format!(
        "COPYIST_TEST_SEED={seed} COPYIST_TEST_SEEDS=1 cargo test -p copyist-lane --test schedules schedules_"
    )
}

/// The counts of all, and the first that failed.
fn run_all(first: u64, count: u64, thread: u64) -> (Counts, Option<u64>) {
    let mut counts = Counts::new();
    for seed in (first..first + count).filter(|seed| seed % THREADS == thread) {
        let outline = run(seed, options_of(seed), Rules::default(), false);
        for (what, times) in outline.counts {
            *counts.entry(what).or_default() += times;
        }
        if outline.violation.is_some() {
            return (counts, Some(seed));
        }
    }
    (counts, None)
}

#[test]
fn schedules_end_with_each_record_once_and_in_order() {
    let count = number("COPYIST_TEST_SEEDS").unwrap_or(SCHEDULES);
    let first = number("COPYIST_TEST_SEED").unwrap_or(0);
    let results: Vec<(Counts, Option<u64>)> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || run_all(first, count, thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a schedule panicked")).collect()
    });
    if let Some(seed) = results.iter().filter_map(|(_, failed)| *failed).min() {
        let Outline { violation, trace, .. } = run(seed, options_of(seed), Rules::default(), true);
        trace.iter().for_each(|line| println!("{line}"));
        panic!(
            "{}\n{:?}\nreplay: {}",
            violation.expect("the same as before"),
            options_of(seed),
            replay(seed)
        );
    }
    let mut counts = Counts::new();
    for (what, times) in results.into_iter().flat_map(|(counts, _)| counts) {
        *counts.entry(what).or_default() += times;
    }
    println!("{count} schedules from seed {first}:");
    counts.iter().for_each(|(what, times)| println!("  {times:>9} {what}"));
    if count >= SCHEDULES {
        for (what, least) in MUST_HAPPEN {
            let times = counts.get(what).copied().unwrap_or(0);
            assert!(times >= least, "{what}: {times} times, at least {least} were expected");
        }
    }
}

/// Runs schedules until one is violated, and the same with all rules on, which must hold.
fn prove_needed(name: &str, rules: Rules, shape: impl Fn(Options) -> Options) {
    for seed in 0..TRIES {
        let options = shape(options_of(seed));
        let Some(violation) = run(seed, options, rules, false).violation else { continue };
        println!("without \"{name}\", seed {seed}: {violation}");
        let with_all = run(seed, options, Rules::default(), true);
        if with_all.violation.is_some() {
            with_all.trace.iter().for_each(|line| println!("{line}"));
        }
        assert_eq!(with_all.violation, None, "{name}, seed {seed}: violated with all rules as well");
        return;
    }
    panic!("{TRIES} schedules are exact without the rule \"{name}\"");
}

/// Nothing but old records and faults that a lane survives.
fn plain(options: Options) -> Options {
    let quiet = Options {
        foreign: false,
        retention: false,
        unclean: false,
        recreates: false,
        strays: false,
        late_strays: false,
        shared: false,
        compacted: false,
        deletes_records: false,
        ..options
    };
    without_memory(quiet)
}

#[test]
fn asking_before_resending_is_needed() {
    let rules = Rules { ask_before_resending: false, ..Rules::default() };
    prove_needed("ask before resending", rules, |options| Options { owners: 1, ..plain(options) });
}

#[test]
fn sending_the_first_batch_alone_is_needed() {
    // A batch of a weak lane is alone for two reasons.
    let rules = Rules { first_batch_alone: false, weak_batches_alone: false, ..Rules::default() };
    prove_needed("first batch alone", rules, |options| Options { owners: 1, ..plain(options) });
}

#[test]
fn sending_weak_batches_alone_is_needed() {
    let rules = Rules { weak_batches_alone: false, ..Rules::default() };
    prove_needed("weak batches alone", rules, |options| Options { owners: 1, ..plain(options) });
}

#[test]
fn comparing_the_epoch_is_needed() {
    let rules = Rules { epoch_compared: false, ..Rules::default() };
    prove_needed("epoch compared", rules, |options| Options { owners: 2, ..plain(options) });
}

#[test]
fn never_rewinding_is_needed() {
    let rules = Rules { never_rewind: false, ..Rules::default() };
    let shape = |options| Options { shared: true, late_strays: true, ..plain(options) };
    prove_needed("never rewind below a stored position", rules, shape);
}

#[test]
fn checking_base_offsets_is_needed() {
    let rules = Rules { base_offset_checked: false, ..Rules::default() };
    prove_needed("base offset checked", rules, |options| Options { strays: true, ..plain(options) });
}

#[test]
fn the_margin_of_the_lease_is_needed() {
    let rules = Rules { lease_margin: false, ..Rules::default() };
    prove_needed("lease margin", rules, |options| Options { owners: 2, ..plain(options) });
}
