//! Another store than before: its epochs do not compare with those known.

use super::*;

/// One that ran under epoch 5 of another store, and was welcomed to a new one.
fn moved(mut core: Core) -> Core {
    core.step(100, welcome_to("t"));
    core
}

#[test]
fn everything_of_the_former_store_is_stopped() {
    assert_eq!(running().step(100, welcome_to("t")), [stop(), Effect::Renew]);
    assert_eq!(stopping().step(100, welcome_to("t")), [Effect::Renew], "it stops already");
    for (label, mut core) in [("waiting", waiting()), ("broken", broken())] {
        assert_eq!(core.step(100, welcome_to("t")), [Effect::Renew], "{label}");
        assert_eq!(core.step(100, release(3)), [released(3)], "{label}: nothing runs");
    }
    assert_eq!(running().step(100, welcome()), [Effect::Renew], "the same store again");
}

#[test]
fn the_last_store_is_known() {
    let mut core = Core::default();
    assert_eq!(core.store_id(), "");
    core.step(0, welcome());
    assert_eq!(core.store_id(), "s");
    core.step(1, welcome_to("t"));
    assert_eq!(core.store_id(), "t");
}

#[test]
fn any_epoch_of_the_new_store_follows_once_the_old_job_has_ended() {
    for revision in [3, 5, 7] {
        let mut core = moved(running());
        assert_eq!(core.step(100, stated(run(revision, 1))), []);
        assert_eq!(core.step(100, Event::SetComplete), []);
        assert_eq!(core.step(101, renewed(101, &[revision])), [], "the old job has not ended");
        assert_eq!(core.step(102, ended(5)), [Effect::Renew], "the new store knows nothing of the old epoch");
        assert_eq!(core.step(103, renewed(103, &[revision])), [start(run(revision, 1), 103)]);
    }
    let mut core = moved(running());
    core.step(100, stated(run(3, 1)));
    assert_eq!(core.step(100, stated(run(2, 1))), [], "older than what comes next");
    core.step(102, ended(5));
    assert_eq!(core.step(103, renewed(103, &[3])), [start(run(3, 1), 103)]);
}

#[test]
fn a_release_of_the_new_store_is_confirmed_after_the_old_job_has_ended() {
    for revision in [3, 5, 7] {
        let mut core = moved(running());
        assert_eq!(core.step(101, release(revision)), []);
        assert_eq!(core.step(102, ended(5)), [released(revision)]);
    }
    let mut followed = moved(running());
    followed.step(100, stated(run(3, 1)));
    assert_eq!(followed.step(101, release(3)), []);
    assert_eq!(followed.step(102, ended(5)), [released(3)], "and nothing starts");
    assert_eq!(moved(running()).step(102, ended(5)), [], "who did not ask is told nothing");
}

#[test]
fn what_the_former_store_stated_next_or_released_is_forgotten() {
    let mut next = moved(followed());
    assert_eq!(next.step(102, ended(5)), []);
    let mut told = moved(stopping());
    assert_eq!(told.step(101, stated(run(3, 1))), []);
    assert_eq!(told.step(102, ended(5)), [Effect::Renew]);
    assert_eq!(moved(stopping()).step(102, ended(5)), []);
}

#[test]
fn what_the_former_store_assigned_is_not_told_to_the_new_one() {
    let mut core = moved(running());
    assert_eq!(core.reports(), []);
    assert_eq!(core.step(101, status(5, InstanceState::Failed)), []);
    let findings = Event::Job(JobEvent::Surveyed { id: id(), epoch: epoch(5), findings: findings() });
    assert_eq!(core.step(101, findings.clone()), []);
    let mut surveyed = running();
    surveyed.step(1, findings);
    assert_eq!(surveyed.step(100, welcome_to("t")), [stop(), Effect::Renew]);
}

#[test]
fn rights_are_not_those_of_the_other_store() {
    let mut core = moved(running());
    assert_eq!(core.step(101, renewed(101, &[5])), [], "an equal epoch of the new store is another");
    assert_eq!(core.step(101, renewed(102, &[])), [], "it finishes under the right that it had");
    core.step(103, ended(5));
    core.step(103, stated(run(5, 1)));
    assert_eq!(core.step(104, renewed(100, &[5])), [], "the former store may have answered");
    assert_eq!(core.step(104, renewed(104, &[5])), [start(run(5, 1), 104)]);
    let mut lost = moved(running());
    assert_eq!(lost.step(101, Event::LeaseLost), [withdrawn(), Effect::Rejoin]);
}

#[test]
fn another_store_may_follow_while_the_first_ones_job_still_ends() {
    let mut core = moved(running());
    core.step(100, stated(run(3, 1)));
    assert_eq!(core.step(101, welcome_to("u")), [Effect::Renew]);
    assert_eq!(core.step(102, ended(5)), [], "that was the second one's statement");
    let mut back = moved(running());
    back.step(101, welcome());
    back.step(101, stated(run(2, 1)));
    assert_eq!(back.step(102, ended(5)), [Effect::Renew], "the first one has moved on as well");
}

#[test]
fn a_draining_agent_tells_the_new_store_and_ends_when_nothing_runs() {
    let mut core = running();
    core.step(1, Event::Drain);
    assert_eq!(core.step(100, welcome_to("t")), [draining(), Effect::Renew]);
    assert_eq!(core.step(101, ended(5)), [drained(), Effect::Drained]);
}
