use copyist_model::{ConnectorGeneration, StoreRevision};

use super::*;

const TTL_MS: u64 = 10_000;

fn id() -> AssignmentId {
    AssignmentId::task(&"c".parse().unwrap(), 0)
}

fn epoch(revision: u64) -> AssignmentEpoch {
    AssignmentEpoch { incarnation: 1, revision: StoreRevision(revision) }
}

fn run(epoch_revision: u64, revision: u64) -> Run {
    let spec = copyist_proto::control::ConnectorSpec {
        rename_format: "${topic}".into(),
        offset_reset: copyist_proto::control::OffsetReset::Earliest.into(),
        ..Default::default()
    };
    Run {
        id: id(),
        epoch: epoch(epoch_revision),
        order: Order {
            revision: TaskRevision(revision),
            generation: ConnectorGeneration(1),
            spec: std::sync::Arc::new(spec.try_into().unwrap()),
            lanes: Default::default(),
            paused: false,
        },
        previous_right_wait_ms: 0,
    }
}

fn stated(run: Run) -> Event {
    Event::Run(Box::new(run))
}

fn renewed(sent_ms: u64, held: &[u64]) -> Event {
    let held = held.iter().map(|revision| (id(), epoch(*revision))).collect();
    Event::Renewed { sent_ms, ttl_ms: TTL_MS, held }
}

fn ended(revision: u64) -> Event {
    Event::Job(JobEvent::Ended { id: id(), epoch: epoch(revision) })
}

fn status(revision: u64, state: InstanceState) -> Event {
    Event::Job(JobEvent::Status { id: id(), epoch: epoch(revision), state, trace: String::new() })
}

fn released(revision: u64) -> Effect {
    Effect::Tell(Saying::Released { id: id(), epoch: epoch(revision) })
}

fn start(of: Run) -> Effect {
    Effect::Start { id: id(), epoch: of.epoch, order: of.order }
}

fn stop() -> Effect {
    Effect::Stop { id: id() }
}

/// A core that runs the part under epoch 5, with a right from 0 to the ttl.
fn running() -> Core {
    let mut core = Core::default();
    assert_eq!(core.step(0, stated(run(5, 1))), [Effect::Renew]);
    assert_eq!(core.step(0, renewed(0, &[5])), [start(run(5, 1))]);
    core
}

#[test]
fn a_part_starts_once_it_is_stated_and_has_a_right() {
    let mut core = Core::default();
    core.step(10, renewed(10, &[5]));
    assert_eq!(core.step(20, stated(run(5, 1))), [Effect::Renew]);
    assert_eq!(core.step(21, Event::Tick), [], "the right that was asked for before does not name it");
    assert_eq!(core.step(22, renewed(15, &[])), [], "an answer to an older question says nothing of it");
    assert_eq!(core.step(23, renewed(22, &[5])), [start(run(5, 1))]);
    assert_eq!(core.step(24, renewed(23, &[5])), [], "once");
}

#[test]
fn a_right_under_another_epoch_is_none() {
    let mut core = Core::default();
    core.step(0, stated(run(5, 1)));
    assert_eq!(core.step(1, renewed(1, &[4])), [released(5)]);
    let mut core = running();
    assert_eq!(core.step(1, renewed(1, &[6])), [stop()]);
}

#[test]
fn a_former_holders_right_is_waited_out() {
    let mut core = Core::default();
    core.step(0, stated(Run { previous_right_wait_ms: 3_000, ..run(5, 1) }));
    assert_eq!(core.step(1, renewed(1, &[5])), []);
    assert_eq!(core.step(2_999, Event::Tick), []);
    assert_eq!(core.step(3_000, Event::Tick).len(), 1);
}

#[test]
fn what_loses_its_right_stops_and_is_released_when_it_has_ended() {
    let rows: [(&str, u64, Event, &[Effect]); 4] = [
        ("not in the answer", 1, renewed(1, &[]), &[stop()]),
        ("no answer for a ttl", TTL_MS, Event::Tick, &[stop()]),
        ("the lease is gone", 1, Event::LeaseLost, &[stop(), Effect::Rejoin]),
        ("the process stops", 1, Event::Drain, &[stop()]),
    ];
    for (label, now_ms, event, expected) in rows {
        let mut core = running();
        assert_eq!(core.step(now_ms, event), expected, "{label}");
        let effects = core.step(now_ms, ended(5));
        assert_eq!(effects.first(), Some(&released(5)), "{label}");
    }
    let mut core = running();
    assert_eq!(core.step(TTL_MS - 1, Event::Tick), [], "the right lasts a ttl from the question");
}

#[test]
fn a_release_ends_what_runs_and_confirms_what_does_not() {
    let mut core = running();
    assert_eq!(core.step(1, Event::Release { id: id(), epoch: epoch(4) }), [], "of an older epoch");
    assert_eq!(core.step(1, Event::Release { id: id(), epoch: epoch(5) }), [stop()]);
    assert_eq!(core.step(1, Event::Release { id: id(), epoch: epoch(5) }), [], "it is stopping already");
    assert_eq!(core.step(2, ended(5)), [released(5)]);
    assert_eq!(core.step(3, Event::Release { id: id(), epoch: epoch(5) }), [released(5)], "said again");

    let mut waiting = Core::default();
    waiting.step(0, stated(run(5, 1)));
    assert_eq!(waiting.step(0, Event::Release { id: id(), epoch: epoch(5) }), [released(5)]);
}

#[test]
fn within_an_epoch_a_newer_order_reaches_the_running_job() {
    let mut core = running();
    let order = run(5, 2).order;
    assert_eq!(core.step(1, stated(run(5, 2))), [Effect::Order { id: id(), order }]);
    assert_eq!(core.step(1, stated(run(4, 9))), [], "an older epoch is refused");
}

#[test]
fn a_newer_epoch_ends_the_old_job_before_it_starts_the_new_one() {
    let mut core = running();
    assert_eq!(core.step(1, stated(run(7, 1))), [stop()]);
    assert_eq!(core.step(2, ended(5)), [Effect::Renew]);
    assert_eq!(core.step(3, renewed(3, &[7])), [start(run(7, 1))]);

    let mut stopping = running();
    stopping.step(1, Event::Release { id: id(), epoch: epoch(5) });
    assert_eq!(stopping.step(1, stated(run(5, 2))), [], "it is being released");
    assert_eq!(stopping.step(1, stated(run(7, 1))), []);
    assert_eq!(stopping.step(2, ended(5)), [Effect::Renew], "and taken up anew");

    let mut waiting = Core::default();
    waiting.step(0, stated(run(5, 1)));
    assert_eq!(waiting.step(1, stated(run(7, 1))), [Effect::Renew]);
    assert_eq!(waiting.step(2, renewed(2, &[7])), [start(run(7, 1))]);
}

#[test]
fn what_a_new_session_does_not_name_is_released_once_the_set_is_complete() {
    let mut core = running();
    assert_eq!(core.step(1, Event::Welcome), [Effect::Renew]);
    assert_eq!(core.step(1, Event::SetComplete), [stop()]);

    let mut named = running();
    named.step(1, Event::Welcome);
    named.step(1, stated(run(5, 1)));
    assert_eq!(named.step(1, Event::SetComplete), []);
}

#[test]
fn states_are_told_as_they_change_and_all_at_once_to_a_new_session() {
    let mut core = running();
    let effects = core.step(1, status(5, InstanceState::Running));
    let [Effect::Tell(Saying::Report(report))] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((report.state, report.epoch), (InstanceState::Running, epoch(5)));
    assert_eq!(core.reports(), std::slice::from_ref(report));
    assert_eq!(core.step(1, status(4, InstanceState::Failed)), [], "of an older epoch");
}

#[test]
fn a_survey_is_told_again_to_a_new_session() {
    let mut core = running();
    let findings = Findings {
        generation: ConnectorGeneration(1),
        source_cluster: "s".parse().unwrap(),
        destination_cluster: "d".parse().unwrap(),
        topics: Vec::new(),
    };
    let surveyed = Saying::Surveyed { id: id(), epoch: epoch(5), findings: findings.clone() };
    let event = Event::Job(JobEvent::Surveyed { id: id(), epoch: epoch(5), findings });
    assert_eq!(core.step(1, event), [Effect::Tell(surveyed.clone())]);
    assert_eq!(core.step(2, Event::Welcome), [Effect::Tell(surveyed), Effect::Renew]);
}

#[test]
fn a_job_that_breaks_is_failed_until_a_restart_raises_its_revision() {
    let mut core = running();
    let effects = core.step(1, ended(5));
    let [Effect::Tell(Saying::Report(report))] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(report.state, InstanceState::Failed);
    assert_eq!(core.step(2, stated(run(5, 1))), [], "nobody asked for a restart");
    assert_eq!(core.step(3, stated(run(5, 2))), [Effect::Renew]);
    assert_eq!(core.step(4, renewed(4, &[5])), [start(run(5, 2))]);
}

#[test]
fn a_drain_is_over_when_nothing_runs_and_nothing_starts_meanwhile() {
    let mut core = running();
    core.step(1, Event::Drain);
    assert_eq!(core.step(1, stated(run(7, 1))), []);
    assert_eq!(core.step(2, ended(5)), [released(5), Effect::Drained]);
    assert_eq!(Core::default().step(0, Event::Drain), [Effect::Drained]);
}
