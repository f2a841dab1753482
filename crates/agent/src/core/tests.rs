use copyist_model::{ConnectorGeneration, Engine, LaneEnd, LaneRecord, StoreRevision, TopicId};

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
        engine: "auto".into(),
        loss_policy: "fail".into(),
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
            records: Default::default(),
            shared: Default::default(),
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

fn right(ends_ms: u64, free_ms: u64) -> Right {
    Right { ends_at: Duration::from_millis(ends_ms), free_at: Duration::from_millis(free_ms) }
}

/// With the right that a question of `sent_ms` brought.
fn start(of: Run, sent_ms: u64) -> Effect {
    Effect::Start { id: id(), epoch: of.epoch, order: of.order, right: right(sent_ms + TTL_MS, 0) }
}

fn right_until(ends_ms: u64) -> Effect {
    Effect::Right { id: id(), right: right(ends_ms, 0) }
}

fn withdrawn() -> Effect {
    right_until(0)
}

fn draining() -> Effect {
    Effect::Tell(Saying::Draining)
}

fn stop() -> Effect {
    Effect::Stop { id: id() }
}

/// A core that runs the part under epoch 5, with a right from 0 to the ttl.
fn running() -> Core {
    let mut core = Core::default();
    assert_eq!(core.step(0, stated(run(5, 1))), [Effect::Renew]);
    assert_eq!(core.step(0, renewed(0, &[5])), [start(run(5, 1), 0)]);
    core
}

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
    assert_eq!(core.step(11_989, Event::Tick), []);
    assert_eq!(core.step(11_990, Event::Tick), [withdrawn(), stop()]);
    assert_eq!(core.step(11_991, Event::Tick), [], "once");
}

#[test]
fn what_loses_its_right_knows_it_before_it_stops_and_is_released_when_it_has_ended() {
    let rows: [(&str, u64, Event, &[Effect]); 4] = [
        ("not in the answer", 1, renewed(1, &[]), &[withdrawn(), stop()]),
        ("no answer for a ttl", TTL_MS, Event::Tick, &[withdrawn(), stop()]),
        ("the lease is gone", 1, Event::LeaseLost, &[withdrawn(), stop(), Effect::Rejoin]),
        ("the process stops, and may write until all is stored", 1, Event::Drain, &[draining(), stop()]),
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
fn what_stops_keeps_its_right_as_long_as_it_has_one() {
    let released_part = || {
        let mut core = running();
        core.step(1, Event::Release { id: id(), epoch: epoch(5) });
        core
    };
    let rows: [(&str, u64, Event, &[Effect]); 4] = [
        ("named", 2, renewed(2, &[5]), &[right_until(2 + TTL_MS)]),
        ("not named", 2, renewed(2, &[]), &[withdrawn()]),
        ("no answer for a ttl", TTL_MS, Event::Tick, &[withdrawn()]),
        ("the lease is gone", 2, Event::LeaseLost, &[withdrawn(), Effect::Rejoin]),
    ];
    for (label, now_ms, event, expected) in rows {
        assert_eq!(released_part().step(now_ms, event), expected, "{label}");
    }
}

#[test]
fn what_waits_for_its_first_right_is_not_released_for_want_of_one() {
    let mut core = Core::default();
    core.step(0, stated(run(5, 1)));
    assert_eq!(core.step(TTL_MS, Event::Tick), []);
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
    assert_eq!(core.step(3, renewed(3, &[7])), [start(run(7, 1), 3)]);

    let mut ending = running();
    ending.step(1, stated(run(7, 1)));
    assert_eq!(ending.step(2, renewed(2, &[7])), [withdrawn()], "the old one is not named any more");
    assert_eq!(ending.step(3, ended(5)), [Effect::Renew], "and the new one is not forgotten");

    let mut stopping = running();
    stopping.step(1, Event::Release { id: id(), epoch: epoch(5) });
    assert_eq!(stopping.step(1, stated(run(5, 2))), [], "it is being released");
    assert_eq!(stopping.step(1, stated(run(7, 1))), []);
    assert_eq!(stopping.step(2, ended(5)), [Effect::Renew], "and taken up anew");

    let mut waiting = Core::default();
    waiting.step(0, stated(run(5, 1)));
    assert_eq!(waiting.step(1, stated(run(7, 1))), [Effect::Renew]);
    assert_eq!(waiting.step(2, renewed(2, &[7])), [start(run(7, 1), 2)]);
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
    assert_eq!(core.step(4, renewed(4, &[5])), [start(run(5, 2), 4)]);
}

#[test]
fn a_drain_is_over_when_nothing_runs_and_nothing_starts_meanwhile() {
    let mut core = running();
    core.step(1, Event::Drain);
    assert_eq!(core.step(1, stated(run(7, 1))), []);
    assert_eq!(core.step(1, Event::Welcome), [draining(), Effect::Renew], "another leader has not heard it");
    assert_eq!(core.step(2, ended(5)), [released(5), Effect::Drained]);
    assert_eq!(Core::default().step(0, Event::Drain), [draining(), Effect::Drained]);
}

fn lane(partition: i32) -> LaneId {
    LaneId {
        connector: "c".parse().unwrap(),
        source_cluster: "s".parse().unwrap(),
        topic: "t".parse().unwrap(),
        partition,
    }
}

fn lane_record(partition: i32, generation: u64) -> LaneRecord {
    let end = |cluster: &str| LaneEnd {
        cluster: cluster.parse().unwrap(),
        topic: "t".parse().unwrap(),
        topic_id: TopicId::NONE,
        partition,
    };
    LaneRecord {
        lane: lane(partition),
        generation: LaneGeneration(generation),
        engine: Engine::Raw,
        source: end("s"),
        destination: end("d"),
        producer_id: 4_000,
        base_n: 0,
        base_offset: 0,
        base_source_offset: 0,
        shared: false,
    }
}

fn proposal(partition: i32, generation: u64) -> Box<Proposal> {
    let record = lane_record(partition, generation);
    Box::new(Proposal { replaces: LaneGeneration(generation - 1), record })
}

fn proposed(number: u64, epoch_revision: u64, partition: i32, generation: u64) -> Event {
    let (number, epoch) = (ProposalNumber(number), epoch(epoch_revision));
    Event::Proposed { number, id: id(), epoch, proposal: proposal(partition, generation) }
}

fn told(partition: i32, generation: u64) -> Effect {
    let proposal = proposal(partition, generation);
    Effect::Tell(Saying::Propose { id: id(), epoch: epoch(5), proposal })
}

fn answered(number: u64, answer: Result<Verdict, Unanswered>) -> Effect {
    Effect::Answer { number: ProposalNumber(number), answer }
}

fn judged(generation: u64, refused_because: Option<&str>, holds: Option<LaneRecord>) -> Event {
    let refused_because = refused_because.map(str::to_owned);
    let judgement = Judgement { refused_because, holds: holds.map(Box::new) };
    Event::Verdict { lane: lane(0), generation: LaneGeneration(generation), judgement }
}

fn committed(generation: u64) -> Event {
    judged(generation, None, None)
}

#[test]
fn a_proposal_is_told_and_told_again_to_each_new_session_until_it_is_judged() {
    let mut core = running();
    assert_eq!(core.step(1, proposed(1, 5, 0, 3)), [told(0, 3)]);
    assert_eq!(core.step(2, Event::Welcome), [told(0, 3), Effect::Renew]);
    assert_eq!(core.step(3, committed(3)), [answered(1, Ok(Verdict::Committed))]);
    assert_eq!(core.step(4, Event::Welcome), [Effect::Renew]);
    assert_eq!(core.step(5, committed(3)), [], "answered once");
}

#[test]
fn a_verdict_answers_the_proposal_that_it_is_of() {
    let other = || LaneRecord { producer_id: 9, ..lane_record(0, 3) };
    let refused = |because: &str, holds: Option<LaneRecord>| {
        Ok(Verdict::Refused { because: because.to_owned(), holds: holds.map(Box::new) })
    };
    let rows = [
        ("committed", None, None, Ok(Verdict::Committed)),
        ("committed, and it is said what", None, Some(lane_record(0, 3)), Ok(Verdict::Committed)),
        ("refused", Some("old"), None, refused("old", None)),
        (
            "refused for another",
            Some("old"),
            Some(lane_record(0, 4)),
            refused("old", Some(lane_record(0, 4))),
        ),
        ("refused, for it holds", Some("old"), Some(lane_record(0, 3)), Ok(Verdict::Committed)),
        (
            "another of its generation was committed",
            None,
            Some(other()),
            refused("another record of the same generation holds", Some(other())),
        ),
    ];
    for (label, because, holds, expected) in rows {
        let mut core = running();
        core.step(1, proposed(1, 5, 0, 3));
        assert_eq!(core.step(2, judged(3, because, holds)), [answered(1, expected)], "{label}");
    }
}

#[test]
fn a_verdict_on_another_generation_or_lane_is_ignored() {
    let mut core = running();
    core.step(1, proposed(1, 5, 0, 3));
    core.step(1, proposed(2, 5, 1, 2));
    assert_eq!(core.step(2, committed(2)), []);
    assert_eq!(core.step(2, committed(4)), []);
    assert_eq!(core.step(3, committed(3)), [answered(1, Ok(Verdict::Committed))]);
}

#[test]
fn a_newer_proposal_of_a_lane_replaces_the_one_before() {
    let mut core = running();
    core.step(1, proposed(1, 5, 0, 3));
    assert_eq!(core.step(2, proposed(2, 5, 0, 4)), [answered(1, Err(Unanswered)), told(0, 4)]);
    assert_eq!(core.step(3, proposed(3, 5, 1, 1)), [told(1, 1)], "another lane's does not");
    assert_eq!(core.step(4, committed(3)), []);
    assert_eq!(core.step(5, committed(4)), [answered(2, Ok(Verdict::Committed))]);
}

#[test]
fn proposals_go_with_their_job() {
    let mut core = running();
    core.step(1, proposed(1, 5, 0, 3));
    core.step(2, Event::Release { id: id(), epoch: epoch(5) });
    assert_eq!(core.step(3, proposed(2, 5, 1, 1)), [told(1, 1)], "as long as the job is at work");
    let over = [answered(1, Err(Unanswered)), answered(2, Err(Unanswered)), released(5)];
    assert_eq!(core.step(4, ended(5)), over);
    assert_eq!(core.step(5, Event::Welcome), [Effect::Renew]);
    assert_eq!(core.step(6, committed(3)), []);

    let other = AssignmentId::task(&"d".parse().unwrap(), 0);
    let mut two = running();
    two.step(1, stated(Run { id: other.clone(), ..run(5, 1) }));
    let both = [(id(), epoch(5)), (other.clone(), epoch(5))].into();
    two.step(2, Event::Renewed { sent_ms: 2, ttl_ms: TTL_MS, held: both });
    two.step(3, proposed(1, 5, 0, 3));
    two.step(4, Event::Job(JobEvent::Ended { id: other, epoch: epoch(5) }));
    assert_eq!(two.step(5, committed(3)), [answered(1, Ok(Verdict::Committed))], "not with another's");

    let mut replaced = running();
    replaced.step(1, proposed(1, 5, 0, 3));
    replaced.step(2, stated(run(7, 1)));
    assert_eq!(replaced.step(3, ended(5)), [answered(1, Err(Unanswered)), Effect::Renew], "a newer epoch");
}

#[test]
fn nobody_proposes_who_is_not_at_work_under_that_epoch() {
    let unanswered = [answered(1, Err(Unanswered))];
    assert_eq!(Core::default().step(0, proposed(1, 5, 0, 3)), unanswered);
    assert_eq!(running().step(1, proposed(1, 4, 0, 3)), unanswered);
    let mut waiting = Core::default();
    waiting.step(0, stated(run(5, 1)));
    assert_eq!(waiting.step(1, proposed(1, 5, 0, 3)), unanswered);
    let mut broken = running();
    broken.step(1, ended(5));
    assert_eq!(broken.step(2, proposed(1, 5, 0, 3)), unanswered);
}

#[test]
fn no_more_proposals_are_on_the_way_than_an_outbox_can_hold() {
    const MAX: u64 = proposals::TOLD_MAX as u64;
    let partition = |number: u64| i32::try_from(number).unwrap();
    let mut core = running();
    for number in 0..MAX {
        assert_eq!(core.step(1, proposed(number, 5, partition(number), 3)).len(), 1);
    }
    assert_eq!(core.step(1, proposed(MAX, 5, partition(MAX), 3)), []);
    assert_eq!(core.step(2, Event::Welcome).len(), proposals::TOLD_MAX + 1, "and the question for rights");
    let next = [answered(0, Ok(Verdict::Committed)), told(partition(MAX), 3)];
    assert_eq!(core.step(3, committed(3)), next);
    assert_eq!(core.step(4, proposed(MAX + 1, 5, partition(MAX + 1), 3)), []);
    let effects = core.step(5, ended(5));
    let answers = effects.iter().filter(|effect| matches!(effect, Effect::Answer { .. })).count();
    assert_eq!(answers, proposals::TOLD_MAX + 1, "each is answered");
    assert_eq!(effects.len(), answers + 1, "and none is told that goes: {:?}", effects.last());
}
