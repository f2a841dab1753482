//! Lane records that jobs propose.

use super::*;
use crate::core::proposals::TOLD_MAX;

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
    let judgement = Judgement { refused_because, holds: holds.map(LaneHeld::from) };
    Event::Verdict { lane: lane(0), generation: LaneGeneration(generation), judgement }
}

fn committed(generation: u64) -> Event {
    judged(generation, None, None)
}

#[test]
fn a_proposal_is_told_and_told_again_to_each_new_session_until_it_is_judged() {
    let mut core = running();
    assert_eq!(core.step(1, proposed(1, 5, 0, 3)), [told(0, 3)]);
    assert_eq!(core.step(2, welcome()), [told(0, 3), Effect::Renew]);
    assert_eq!(core.step(3, committed(3)), [answered(1, Ok(Verdict::Committed))]);
    assert_eq!(core.step(4, welcome()), [Effect::Renew]);
    assert_eq!(core.step(5, committed(3)), [], "answered once");
}

#[test]
fn a_verdict_answers_the_proposal_that_it_is_of() {
    let other = || LaneRecord { producer_id: 9, ..lane_record(0, 3) };
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
    core.step(2, release(5));
    assert_eq!(core.step(3, proposed(2, 5, 1, 1)), [told(1, 1)], "as long as the job is at work");
    let over = [answered(1, Err(Unanswered)), answered(2, Err(Unanswered)), released(5)];
    assert_eq!(core.step(4, ended(5)), over);
    assert_eq!(core.step(5, welcome()), [Effect::Renew]);
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

/// Of the lane and the generation of [`proposal`], by another producer.
fn other_proposed(number: u64, epoch_revision: u64) -> Event {
    let record = LaneRecord { producer_id: 9, ..lane_record(0, 3) };
    let proposal = Box::new(Proposal { replaces: LaneGeneration(2), record });
    Event::Proposed { number: ProposalNumber(number), id: id(), epoch: epoch(epoch_revision), proposal }
}

/// One that waits for a verdict on the proposal of another record of the same generation, under a newer epoch.
fn proposed_under_a_newer_epoch() -> Core {
    let mut core = running();
    core.step(1, proposed(1, 5, 0, 3));
    core.step(2, stated(run(7, 1)));
    core.step(3, ended(5));
    core.step(4, renewed(4, &[7]));
    assert_eq!(core.step(5, other_proposed(2, 7)).len(), 1, "told");
    core
}

/// The same, by the job that gave up the first one.
fn proposed_again() -> Core {
    let mut core = running();
    core.step(1, proposed(1, 5, 0, 3));
    assert_eq!(core.step(2, other_proposed(2, 5)).len(), 2, "told");
    core
}

fn refused(because: &str, holds: Option<LaneRecord>) -> Result<Verdict, Unanswered> {
    Ok(Verdict::Refused { because: because.to_owned(), holds: holds.map(LaneHeld::from) })
}

#[test]
fn a_commit_may_be_of_the_proposal_before_and_then_fixes_nothing() {
    for (mut core, revision) in [(proposed_under_a_newer_epoch(), 7), (proposed_again(), 5)] {
        assert_eq!(core.step(6, committed(3)), [answered(2, Err(Unanswered))]);
        core.step(7, proposed(3, revision, 0, 3));
        assert_eq!(core.step(8, committed(3)), [answered(3, Ok(Verdict::Committed))], "once");
    }
    let other = LaneRecord { producer_id: 9, ..lane_record(0, 3) };
    let said = judged(3, None, Some(other));
    assert_eq!(proposed_again().step(3, said), [answered(2, Ok(Verdict::Committed))], "it is said what was");

    let mut answered_before = proposed_under_a_newer_epoch();
    answered_before.step(6, proposed(3, 7, 0, 4));
    assert_eq!(answered_before.step(7, committed(3)), []);
    assert_eq!(answered_before.step(8, committed(4)), [answered(3, Ok(Verdict::Committed))]);

    let mut same = running();
    same.step(1, proposed(1, 5, 0, 3));
    assert_eq!(same.step(2, proposed(2, 5, 0, 3)), [answered(1, Err(Unanswered)), told(0, 3)]);
    assert_eq!(same.step(3, committed(3)), [answered(2, Ok(Verdict::Committed))], "both are the same");
}

#[test]
fn a_refusal_may_be_of_an_older_epoch_and_then_refuses_nothing() {
    let rows = [
        ("nothing holds", None, Err(Unanswered)),
        ("an older one holds", Some(lane_record(0, 2)), Err(Unanswered)),
        ("its generation is taken", Some(lane_record(0, 3)), refused("old", Some(lane_record(0, 3)))),
    ];
    for (label, holds, expected) in rows {
        let said = || judged(3, Some("old"), holds.clone());
        let mut core = proposed_under_a_newer_epoch();
        assert_eq!(core.step(6, said()), [answered(2, expected)], "{label}");
        core.step(7, other_proposed(3, 7));
        assert_eq!(core.step(8, said()), [answered(3, refused("old", holds.clone()))], "{label}: once");
        let same_epoch = proposed_again().step(6, said());
        assert_eq!(
            same_epoch,
            [answered(2, refused("old", holds.clone()))],
            "{label}: the same holds for it"
        );
    }
    let mut of_another = proposed_under_a_newer_epoch();
    of_another.step(6, proposed(3, 7, 0, 4));
    let said = judged(4, Some("old"), None);
    assert_eq!(of_another.step(7, said), [answered(3, refused("old", None))], "none of its generation");

    let mut oldest = proposed_under_a_newer_epoch();
    oldest.step(6, proposed(3, 7, 0, 3));
    let said = judged(3, Some("old"), None);
    assert_eq!(oldest.step(7, said), [answered(3, Err(Unanswered))], "the oldest one's verdict comes first");
}

#[test]
fn a_commit_settles_what_was_given_up_of_older_generations() {
    let mut core = running();
    core.step(1, proposed(1, 5, 0, 3));
    core.step(2, proposed(2, 5, 0, 4));
    assert_eq!(core.step(3, committed(4)), [answered(2, Ok(Verdict::Committed))]);
    core.step(4, proposed(3, 5, 0, 3));
    assert_eq!(core.step(5, committed(3)), [answered(3, Ok(Verdict::Committed))]);
}

#[test]
fn proposals_end_with_their_store() {
    let mut core = running();
    core.step(1, other_proposed(9, 5));
    core.step(1, proposed(1, 5, 0, 3));
    assert_eq!(core.step(2, welcome_to("t")), [stop(), answered(1, Err(Unanswered)), Effect::Renew]);
    assert_eq!(core.step(3, proposed(2, 5, 0, 3)), [answered(2, Err(Unanswered))]);
    assert_eq!(core.step(4, ended(5)), []);
    core.step(5, stated(run(5, 1)));
    core.step(6, renewed(6, &[5]));
    assert_eq!(core.step(7, proposed(3, 5, 0, 3)), [told(0, 3)]);
    assert_eq!(core.step(8, committed(3)), [answered(3, Ok(Verdict::Committed))], "it can be of no other");
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
    const MAX: u64 = TOLD_MAX as u64;
    let partition = |number: u64| i32::try_from(number).unwrap();
    let mut core = running();
    for number in 0..MAX {
        assert_eq!(core.step(1, proposed(number, 5, partition(number), 3)).len(), 1);
    }
    assert_eq!(core.step(1, proposed(MAX, 5, partition(MAX), 3)), []);
    assert_eq!(core.step(2, welcome()).len(), TOLD_MAX + 1, "and the question for rights");
    let next = [answered(0, Ok(Verdict::Committed)), told(partition(MAX), 3)];
    assert_eq!(core.step(3, committed(3)), next);
    assert_eq!(core.step(4, proposed(MAX + 1, 5, partition(MAX + 1), 3)), []);
    let effects = core.step(5, ended(5));
    let answers = effects.iter().filter(|effect| matches!(effect, Effect::Answer { .. })).count();
    assert_eq!(answers, TOLD_MAX + 1, "each is answered");
    assert_eq!(effects.len(), answers + 1, "and none is told that goes: {:?}", effects.last());
}
