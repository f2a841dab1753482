//! What jobs tell.

use super::*;

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
    let surveyed = Saying::Surveyed { id: id(), epoch: epoch(5), findings: findings() };
    let event = Event::Job(JobEvent::Surveyed { id: id(), epoch: epoch(5), findings: findings() });
    assert_eq!(core.step(1, event), [Effect::Tell(surveyed.clone())]);
    assert_eq!(core.step(2, welcome()), [Effect::Tell(surveyed), Effect::Renew]);
}

#[test]
fn a_job_that_breaks_is_failed_until_a_restart_raises_its_revision() {
    let mut core = running();
    let effects = core.step(1, ended(5));
    let [Effect::Tell(Saying::Report(report))] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(report.state, InstanceState::Failed);
    assert_eq!(core.step(2, stated(run(5, 1))), [], "nobody asked for a restart");
    assert_eq!(core.step(3, stated(run(5, 2))), [Effect::Renew]);
    assert_eq!(core.step(4, renewed(4, &[5])), [start(run(5, 2), 4)]);
}
