//! No rule of the drivers can be left out: each is broken on purpose, and an invariant shows it within so many seeds.

use copyist_tests::suite;

use crate::breaks::Breaks;
use crate::brokers::Times;
use crate::options::Options;
use crate::world::{options_of, run};

/// A rule that is left out must do damage within that many runs.
const TRIES: u64 = 4_000;

/// Runs seeds until one is violated as expected, and the same with all rules on, which must hold.
fn prove_needed(name: &str, breaks: Breaks, shape: impl Fn(Options) -> Options, expected: &str) {
    let first = suite::count("COPYIST_TEST_SEED", 0);
    for seed in first..first + TRIES {
        let options = shape(options_of(seed));
        let Some(violation) = run(seed, options, breaks, &[expected], false).violation else { continue };
        println!("without \"{name}\", seed {seed}: {}: {}", violation.invariant, violation.text);
        let with_all = run(seed, options, Breaks::default(), &[], true);
        if with_all.violation.is_some() {
            with_all.lines.iter().for_each(|line| println!("{line}"));
        }
        assert_eq!(with_all.violation, None, "{name}, seed {seed}: violated with all rules as well");
        return;
    }
    panic!("{TRIES} runs are safe without the rule \"{name}\"");
}

/// Many faults, and nothing copied: quick.
fn stormy(options: Options) -> Options {
    Options { fault_every_ms: 1_500, copies: false, ..options }
}

/// Faults that are not soon followed by others.
fn calm(options: Options) -> Options {
    Options { fault_every_ms: 8_000, storm_ms: 90_000, copies: false, ..options }
}

/// Records are copied, and their positions are often late.
fn copying(options: Options) -> Options {
    Options { copies: true, lost_positions: 40, storm_ms: 90_000, ..options }
}

/// Messages are often very late.
fn slow(options: Options) -> Options {
    Options { late: 15, odd_leases: true, ..stormy(options) }
}

/// Agents often stand still with a question on its way.
fn pausing(options: Options) -> Options {
    Options { pauses_after_asking: 70, fault_every_ms: 4_000, copies: false, ..calm(options) }
}

/// Leases are granted, and leaders seldom learn it.
fn without_keys(options: Options) -> Options {
    Options {
        lost_grants: 80,
        autonomy_ms: 0,
        storm_ms: 90_000,
        loss: 3,
        fault_every_ms: 8_000,
        ..stormy(options)
    }
}

#[test]
fn reading_after_keeping_alive_is_needed() {
    let breaks = Breaks { renew_without_read: true, ..Breaks::default() };
    prove_needed("Renew reads what holds", breaks, calm, "one writer of weak lanes");
}

#[test]
fn the_key_of_the_agent_is_needed_for_a_right() {
    let breaks = Breaks { renew_without_key: true, ..Breaks::default() };
    prove_needed("Renew reads the agent's key", breaks, without_keys, "older epochs");
}

#[test]
fn storing_before_telling_is_needed() {
    let breaks = Breaks { tell_before_storing: true, ..Breaks::default() };
    prove_needed("store before telling", breaks, stormy, "acknowledged changes");
}

#[test]
fn counting_the_right_from_the_question_is_needed() {
    let breaks = Breaks { right_from_answer: true, ..Breaks::default() };
    prove_needed("the right counts from the question", breaks, pausing, "one writer of weak lanes");
}

#[test]
fn comparing_the_leaders_key_is_needed() {
    let breaks = Breaks { leader_not_compared: true, ..Breaks::default() };
    prove_needed("commits compare the leader's key", breaks, slow, "acknowledged changes");
}

#[test]
fn putting_the_leaders_key_again_is_needed() {
    let breaks = Breaks { unknown_not_fenced: true, ..Breaks::default() };
    prove_needed("the leader's key is put again", breaks, slow, "acknowledged changes");
}

#[test]
fn the_margin_is_needed() {
    let breaks = Breaks { no_margin: true, ..Breaks::default() };
    prove_needed("the margin", breaks, stormy, "one writer of weak lanes");
}

/// Copies of old records: only rights keep writers apart.
fn weak(options: Options) -> Options {
    Options { copies: true, times: Times::Old, storm_ms: 60_000, ..stormy(options) }
}

#[test]
fn the_wait_for_a_former_holder_is_needed_for_exactness() {
    let breaks = Breaks { no_wait: true, ..Breaks::default() };
    prove_needed("the wait for a former holder", breaks, weak, "each record once");
}

#[test]
fn the_wait_for_a_former_holder_is_needed_for_the_order_of_writes() {
    let breaks = Breaks { no_wait: true, ..Breaks::default() };
    prove_needed("the wait for a former holder", breaks, weak, "order of weak writes");
}

#[test]
fn what_a_user_ended_must_not_count_when_it_lands_late() {
    let breaks = Breaks { late_positions_count: true, ..Breaks::default() };
    prove_needed("positions of an ended generation do not count", breaks, copying, "each record once");
}

#[test]
fn positions_must_be_read_to_their_end_where_they_decide() {
    let breaks = Breaks { old_positions_count: true, ..Breaks::default() };
    prove_needed("an offset to start from is not an old one", breaks, copying, "each record once");
}
