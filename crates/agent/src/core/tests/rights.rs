//! The right to write, and what happens without it.

use super::*;

#[test]
fn a_part_starts_once_it_is_stated_and_has_a_right() {
    let mut core = Core::default();
    core.step(10, renewed(10, &[5]));
    assert_eq!(core.step(20, stated(run(5, 1))), [Effect::Renew]);
    assert_eq!(core.step(21, Event::Tick), [], "the right that was asked for before does not name it");
    assert_eq!(core.step(22, renewed(15, &[])), [], "an answer to an older question says nothing of it");
    assert_eq!(core.step(22, renewed(20, &[])), [], "nor one that may be older");
    assert_eq!(core.step(23, renewed(22, &[5])), [start(run(5, 1), 22)]);
    assert_eq!(core.step(24, renewed(23, &[5])), [right_until(23 + TTL_MS)], "once");
}

#[test]
fn a_right_under_another_epoch_is_none() {
    let mut core = Core::default();
    core.step(0, stated(run(5, 1)));
    assert_eq!(core.step(1, renewed(1, &[4])), [released(5)]);
    let mut core = running();
    assert_eq!(core.step(1, renewed(1, &[6])), [withdrawn(), stop()]);
}

#[test]
fn a_right_that_is_over_before_its_answer_comes_starts_nothing() {
    let mut core = Core::default();
    core.step(0, stated(run(5, 1)));
    assert_eq!(core.step(TTL_MS, renewed(0, &[5])), []);
    assert_eq!(core.step(TTL_MS, renewed(1, &[5])), [start(run(5, 1), 1)]);
}

#[test]
fn a_part_starts_at_once_and_knows_when_no_former_holder_writes_any_more() {
    let mut core = Core::default();
    core.step(10, stated(Run { previous_right_wait_ms: 3_000, ..run(5, 1) }));
    let free = |ends_ms| right(ends_ms, 3_010);
    let start = Effect::Start { id: id(), epoch: epoch(5), order: run(5, 1).order, right: free(10_020) };
    assert_eq!(core.step(20, renewed(20, &[5])), [start]);
    let prolonged = Effect::Right { id: id(), right: free(10_500) };
    assert_eq!(core.step(501, renewed(500, &[5])), [prolonged], "when it is free does not change");
}

#[test]
fn each_answer_that_names_a_part_prolongs_its_right() {
    let mut core = running();
    assert_eq!(core.step(2_000, renewed(1_990, &[5])), [right_until(11_990)], "from the question on");
    assert_eq!(core.step(2_001, renewed(1_990, &[5])), [], "nothing new");
    assert_eq!(core.step(2_002, renewed(1_000, &[5])), [], "an older answer takes nothing away");
    assert_eq!(
        core.step(11_990, Event::Tick),
        [],
        "that it has run out needs no word: it is a level with an end"
    );
}

#[test]
fn what_nobody_renews_goes_on_until_its_autonomy_is_over() {
    let over_ms = TTL_MS + AUTONOMY_MS;
    let mut core = running();
    assert_eq!(core.step(over_ms - 1, Event::Tick), []);
    assert_eq!(core.step(over_ms, Event::Tick), [stop()]);
    assert_eq!(core.step(over_ms + 1, Event::Tick), [], "once");
    assert_eq!(core.step(over_ms + 2, ended(5)), [released(5)]);

    let mut renewed_later = running();
    renewed_later.step(2_000, renewed(1_990, &[5]));
    assert_eq!(renewed_later.step(over_ms + 1_989, Event::Tick), [], "it counts from the last end known");
    assert_eq!(renewed_later.step(over_ms + 1_990, Event::Tick), [stop()]);

    let mut older_answer = running();
    older_answer.step(2_000, renewed(1_990, &[5]));
    older_answer.step(2_001, renewed(1_000, &[5]));
    assert_eq!(older_answer.step(over_ms + 1_989, Event::Tick), [], "an older answer does not shorten it");

    let mut of_another = running();
    of_another.step(2_000, renewed(0, &[4]));
    assert_eq!(of_another.step(over_ms, Event::Tick), [stop()], "another epoch's is not its own");

    let mut followed = followed();
    assert_eq!(followed.step(over_ms, Event::Tick), [], "it stops already");
    assert_eq!(followed.step(over_ms, ended(5)), [Effect::Renew], "and what comes next is not forgotten");

    assert_eq!(broken().step(over_ms - 1, Event::Tick), []);
    assert_eq!(broken().step(over_ms, Event::Tick), [released(5)], "also what does not run");
}

#[test]
fn autonomy_lasts_as_long_as_the_last_leader_said() {
    let welcome = |autonomy_max_ms| Event::Welcome { store_id: "s".to_owned(), autonomy_max_ms };
    let mut core = running();
    core.step(1, welcome(500));
    assert_eq!(core.step(TTL_MS + 499, Event::Tick), []);
    assert_eq!(core.step(TTL_MS + 500, Event::Tick), [stop()]);
    let mut none = running();
    none.step(1, welcome(0));
    assert_eq!(none.step(TTL_MS, Event::Tick), [stop()]);
    let mut for_ever = running();
    for_ever.step(1, welcome(u64::MAX));
    assert_eq!(for_ever.step(u64::MAX - 1, Event::Tick), []);
}

#[test]
fn those_that_go_on_without_a_right_are_counted() {
    let mut core = running();
    assert_eq!([TTL_MS - 1, TTL_MS].map(|now_ms| core.without_right(now_ms)), [0, 1]);
    core.step(1, Event::LeaseLost);
    assert_eq!(core.without_right(2), 1);
    for core in [waiting(), broken(), stopping()] {
        assert_eq!(core.without_right(TTL_MS), 0, "{:?}", core.reports());
    }
}

#[test]
fn a_lost_lease_withdraws_every_right_and_stops_nothing() {
    let mut core = running();
    assert_eq!(core.step(2_000, renewed(1_990, &[5])), [right_until(11_990)]);
    assert_eq!(core.step(3_000, Event::LeaseLost), [withdrawn(), Effect::Rejoin]);
    assert_eq!(core.step(3_001, Event::LeaseLost), [Effect::Rejoin], "withdrawn once");
    assert_eq!(core.step(11_989 + AUTONOMY_MS, Event::Tick), []);
    assert_eq!(core.step(11_990 + AUTONOMY_MS, Event::Tick), [stop()], "from what was known before");

    let mut waiting = waiting();
    assert_eq!(waiting.step(1, Event::LeaseLost), [Effect::Rejoin]);
    assert_eq!(waiting.step(2, renewed(2, &[5])), [start(run(5, 1), 2)], "it waits on");
    let mut broken = broken();
    assert_eq!(broken.step(2, Event::LeaseLost), [Effect::Rejoin]);
    assert_eq!(broken.reports().len(), 1);
    let mut stopping = stopping();
    assert_eq!(stopping.step(2, Event::LeaseLost), [withdrawn(), Effect::Rejoin]);
    assert_eq!(stopping.step(3, ended(5)), [released(5)], "what was stopping goes on stopping");
    let mut followed = followed();
    followed.step(2, Event::LeaseLost);
    assert_eq!(followed.step(3, ended(5)), [Effect::Renew], "and what comes next is not forgotten");
}

#[test]
fn what_is_stated_again_under_its_epoch_goes_on_and_gets_its_right_back() {
    let mut core = running();
    core.step(1_000, Event::LeaseLost);
    let later = TTL_MS + 1_000;
    assert_eq!(core.step(later, welcome()), [Effect::Renew]);
    assert_eq!(core.step(later, stated(run(5, 1))), [Effect::Order { id: id(), order: run(5, 1).order }]);
    assert_eq!(core.step(later, Event::SetComplete), []);
    assert_eq!(core.step(later, renewed(later, &[5])), [right_until(later + TTL_MS)]);
    assert_eq!(core.step(later + TTL_MS + AUTONOMY_MS - 1, Event::Tick), []);
    assert_eq!(core.step(later + TTL_MS + AUTONOMY_MS, Event::Tick), [stop()]);
}

#[test]
fn autonomy_starts_nothing() {
    let mut late = waiting();
    assert_eq!(late.step(TTL_MS, renewed(0, &[5])), [], "the right is over already");
    assert_eq!(late.step(TTL_MS + 1, Event::Tick), []);
    assert_eq!(late.step(TTL_MS + AUTONOMY_MS, Event::Tick), [], "it holds nothing that could end");

    let mut restarted = broken();
    assert_eq!(restarted.step(2, stated(run(5, 2))), [Effect::Renew], "a right is not handed down");
    assert_eq!(restarted.step(3, Event::Tick), []);
}

#[test]
fn what_loses_its_right_to_another_knows_it_before_it_stops_and_is_released_when_it_has_ended() {
    let rows: [(&str, Event, &[Effect]); 3] = [
        ("not in the answer", renewed(1, &[]), &[withdrawn(), stop()]),
        ("under another epoch", renewed(1, &[6]), &[withdrawn(), stop()]),
        ("the process stops, and may write until all is stored", Event::Drain, &[draining(), stop()]),
    ];
    for (label, event, expected) in rows {
        let mut core = running();
        assert_eq!(core.step(1, event), expected, "{label}");
        let effects = core.step(1, ended(5));
        assert_eq!(effects.first(), Some(&released(5)), "{label}");
    }
    let mut autonomous = running();
    autonomous.step(1, Event::LeaseLost);
    assert_eq!(autonomous.step(2, renewed(2, &[])), [stop()], "in autonomy, too");
    assert_eq!(running().step(1, renewed(0, &[])), [], "an answer to a question that is as old says nothing");
}

#[test]
fn what_stops_keeps_its_right_as_long_as_it_has_one() {
    let rows: [(&str, u64, Event, &[Effect]); 4] = [
        ("named", 2, renewed(2, &[5]), &[right_until(2 + TTL_MS)]),
        ("not named", 2, renewed(2, &[]), &[withdrawn()]),
        ("autonomy is over", TTL_MS + AUTONOMY_MS, Event::Tick, &[]),
        ("the lease is gone", 2, Event::LeaseLost, &[withdrawn(), Effect::Rejoin]),
    ];
    for (label, now_ms, event, expected) in rows {
        assert_eq!(stopping().step(now_ms, event), expected, "{label}");
    }
}

#[test]
fn what_waits_for_its_first_right_is_not_released_for_want_of_one() {
    assert_eq!(waiting().step(TTL_MS + AUTONOMY_MS, Event::Tick), []);
}
