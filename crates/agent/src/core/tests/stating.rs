//! What the leader states.

use super::*;

#[test]
fn a_release_ends_what_runs_and_confirms_what_does_not() {
    let mut core = running();
    assert_eq!(core.step(1, release(5)), [stop()]);
    assert_eq!(core.step(1, release(5)), [], "it is stopping already");
    assert_eq!(core.step(2, ended(5)), [released(5)]);
    assert_eq!(core.step(3, release(5)), [released(5)], "said again");
    assert_eq!(Core::default().step(1, release(5)), [released(5)], "it never ran");
    for mut core in [waiting(), broken()] {
        assert_eq!(core.step(2, release(5)), [released(5)]);
        assert_eq!(core.reports(), []);
    }
}

#[test]
fn a_release_of_a_newer_epoch_is_confirmed_when_the_older_job_has_ended() {
    let mut core = running();
    assert_eq!(core.step(1, release(7)), [stop()]);
    assert_eq!(core.step(2, ended(5)), [released(7)]);

    let mut stopping = stopping();
    assert_eq!(stopping.step(2, release(8)), []);
    assert_eq!(stopping.step(2, release(7)), [], "the newest counts");
    assert_eq!(stopping.step(3, ended(5)), [released(8)]);

    for mut core in [waiting(), broken()] {
        assert_eq!(core.step(2, release(7)), [released(7)], "nothing runs");
        assert_eq!(core.reports(), []);
    }
}

#[test]
fn a_release_of_an_older_epoch_is_confirmed_at_once_and_stops_nothing() {
    for (label, mut core) in
        [("running", running()), ("stopping", stopping()), ("waiting", waiting()), ("broken", broken())]
    {
        assert_eq!(core.step(2, release(4)), [released(4)], "{label}");
        assert_eq!(core.reports().len(), 1, "{label}");
    }
    assert_eq!(followed().step(2, release(4)), [released(4)]);
}

#[test]
fn what_comes_next_does_not_end_with_what_it_follows() {
    let mut core = followed();
    assert_eq!(core.step(2, release(5)), [], "it still runs");
    assert_eq!(core.step(2, release(7)), [], "nothing older than what comes next does after it");
    assert_eq!(core.step(3, ended(5)), [released(7), Effect::Renew]);
    assert_eq!(core.step(4, renewed(4, &[9])), [start(run(9, 1), 4)]);
    assert_eq!(core.step(5, release(7)), [released(7)]);
}

#[test]
fn what_comes_next_may_be_released_before_it_started() {
    for revision in [9, 10] {
        let mut core = followed();
        assert_eq!(core.step(2, release(revision)), []);
        assert_eq!(core.step(2, stated(run(9, 1))), [], "it is released");
        assert_eq!(core.step(3, ended(5)), [released(revision)], "and nothing starts");
    }
    let mut unnamed = followed();
    unnamed.step(2, welcome());
    assert_eq!(unnamed.step(2, Event::SetComplete), []);
    assert_eq!(unnamed.step(3, ended(5)), [released(9)], "nor does what was not named");
    let mut draining = followed();
    draining.step(2, Event::Drain);
    assert_eq!(draining.step(3, ended(5)), [released(9), drained(), Effect::Drained]);
}

#[test]
fn an_older_statement_does_not_act() {
    assert_eq!(running().step(1, stated(run(4, 9))), []);
    for mut core in [waiting(), broken()] {
        assert_eq!(core.step(2, stated(run(4, 9))), []);
        assert_eq!(core.reports().first().map(|report| report.epoch), Some(epoch(5)));
    }
    let mut followed = followed();
    assert_eq!(followed.step(2, stated(run(7, 9))), [], "what comes next is newer");
    followed.step(3, ended(5));
    assert_eq!(followed.step(4, renewed(4, &[9])), [start(run(9, 1), 4)]);
    for revision in [6, 7] {
        let mut released_7 = running();
        released_7.step(1, release(7));
        released_7.step(2, stated(run(revision, 1)));
        assert_eq!(released_7.step(3, ended(5)), [released(7)], "{revision} was told to end");
    }
}

#[test]
fn epochs_order_by_the_incarnation_of_the_store_first() {
    let later = AssignmentEpoch { incarnation: 2, revision: StoreRevision(1) };
    let of_later = || Event::Run(Box::new(Run { epoch: later, ..run(1, 1) }));
    let mut core = running();
    assert_eq!(core.step(1, of_later()), [stop()], "a restored store counts anew");
    assert_eq!(core.step(1, stated(run(9, 1))), []);
    core.step(2, ended(5));
    assert_eq!(core.step(3, stated(run(9, 1))), [], "older than what waits");
    let held = [(id(), later)].into();
    let effects = core.step(4, Event::Renewed { sent_ms: 4, ttl_ms: TTL_MS, held });
    assert!(matches!(effects.as_slice(), [Effect::Start { epoch, .. }] if *epoch == later), "{effects:?}");
    assert_eq!(core.step(5, release(9)), [released(9)], "and stops nothing");
    assert_eq!(core.step(5, Event::Release { id: id(), epoch: later }), [stop()]);
}

#[test]
fn within_an_epoch_a_newer_order_reaches_the_running_job() {
    let mut core = running();
    let order = run(5, 2).order;
    assert_eq!(core.step(1, stated(run(5, 2))), [Effect::Order { id: id(), order }]);
}

#[test]
fn a_newer_epoch_ends_the_old_job_before_it_starts_the_new_one() {
    let mut core = running();
    assert_eq!(core.step(1, stated(run(7, 1))), [stop()]);
    assert_eq!(core.step(2, ended(5)), [Effect::Renew]);
    assert_eq!(core.step(3, renewed(3, &[7])), [start(run(7, 1), 3)]);

    let mut ending = running();
    ending.step(1, stated(run(7, 1)));
    assert_eq!(ending.step(2, renewed(2, &[7])), [withdrawn()], "the old one is not named any more");
    assert_eq!(ending.step(3, ended(5)), [Effect::Renew], "and the new one is not forgotten");

    let mut stopping = running();
    stopping.step(1, release(5));
    assert_eq!(stopping.step(1, stated(run(5, 2))), [], "it is being released");
    assert_eq!(stopping.step(1, stated(run(7, 1))), []);
    assert_eq!(stopping.step(1, stated(run(7, 2))), [], "the newest order of it counts");
    assert_eq!(stopping.step(2, ended(5)), [released(5), Effect::Renew], "and taken up anew");
    assert_eq!(stopping.step(3, renewed(3, &[7])), [start(run(7, 2), 3)]);

    let mut waiting = Core::default();
    waiting.step(0, stated(run(5, 1)));
    assert_eq!(waiting.step(1, stated(run(7, 1))), [Effect::Renew]);
    assert_eq!(waiting.step(2, renewed(2, &[7])), [start(run(7, 1), 2)]);
}

#[test]
fn what_a_new_session_does_not_name_is_released_once_the_set_is_complete() {
    let mut core = running();
    assert_eq!(core.step(1, welcome()), [Effect::Renew]);
    assert_eq!(core.step(1, Event::SetComplete), [stop()]);

    let mut named = running();
    named.step(1, welcome());
    named.step(1, stated(run(5, 1)));
    assert_eq!(named.step(1, Event::SetComplete), []);
}

#[test]
fn a_drain_is_over_when_nothing_runs_and_nothing_starts_meanwhile() {
    let mut core = running();
    core.step(1, Event::Drain);
    assert_eq!(core.step(1, stated(run(7, 1))), []);
    assert_eq!(core.step(1, welcome()), [draining(), Effect::Renew], "another leader has not heard it");
    assert_eq!(core.step(2, ended(5)), [released(5), drained(), Effect::Drained]);
    // Something may be on its way to it.
    assert_eq!(Core::default().step(0, Event::Drain), [draining(), drained(), Effect::Drained]);
}

#[test]
fn what_is_over_does_not_run_again_under_its_epoch_and_says_so_again() {
    let mut core = running();
    core.step(1, release(5));
    core.step(2, ended(5));
    for late in [run(4, 1), run(5, 1), run(5, 2)] {
        let epoch = late.epoch.revision.0;
        assert_eq!(core.step(3, stated(late)), [released(epoch)]);
    }
    assert_eq!(core.step(4, renewed(4, &[5])), [], "not even with a right to it");
    assert_eq!(core.step(5, welcome()), [Effect::Renew]);
    assert_eq!(core.step(5, stated(run(5, 1))), [released(5)], "nor by the next leader");
    assert_eq!(core.step(6, release(4)), [released(4)]);
    assert_eq!(core.step(6, stated(run(5, 1))), [released(5)], "the newest counts");
    assert_eq!(core.step(7, stated(run(6, 1))), [Effect::Renew]);

    let mut core = Core::default();
    core.step(1, release(7));
    assert_eq!(core.step(2, stated(run(7, 1))), [released(7)], "it never ran, and may not begin");

    let mut core = waiting();
    core.step(1, Event::SetComplete);
    core.step(1, welcome());
    assert_eq!(core.step(1, Event::SetComplete), [released(5)]);
    assert_eq!(core.step(2, stated(run(5, 1))), [released(5)]);

    let mut core = followed();
    core.step(2, release(7));
    core.step(3, ended(5));
    core.step(4, release(9));
    assert_eq!(core.step(5, stated(run(9, 1))), [released(9)]);
}

#[test]
fn epochs_of_another_store_are_not_over() {
    let mut core = running();
    core.step(1, release(5));
    core.step(2, ended(5));
    core.step(3, welcome_to("another"));
    assert_eq!(core.step(4, stated(run(5, 1))), [Effect::Renew]);
}
