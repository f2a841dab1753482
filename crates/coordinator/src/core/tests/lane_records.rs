use std::collections::BTreeSet;

use copyist_model::{Engine, LaneEnd, LaneGeneration, LaneHeld, LaneId, LaneRecord, TopicId};

use super::*;
use crate::store::keys;

fn end(cluster: &str, topic: &str, partition: i32) -> LaneEnd {
    LaneEnd {
        cluster: cluster.parse().unwrap(),
        topic: topic.parse().unwrap(),
        topic_id: TopicId(7),
        partition,
    }
}

/// Of the lane that copies `t` of S into `t.copy` of D, as `World::survey` finds them.
fn record(name: &str, partition: i32, generation: u64) -> Box<LaneRecord> {
    let source = end("S", "t", partition);
    let lane = LaneId {
        connector: connector(name),
        source_cluster: source.cluster.clone(),
        topic: source.topic.clone(),
        partition,
    };
    Box::new(LaneRecord {
        lane,
        generation: LaneGeneration(generation),
        engine: Engine::Raw,
        source,
        destination: end("D", "t.copy", partition),
        producer_id: 4_000 + i64::from(partition),
        base_n: 0,
        base_offset: 0,
        base_source_offset: 0,
        shared: false,
    })
}

fn is_committed(verdict: &LaneVerdict) -> bool {
    verdict.refusal.is_none()
}

/// What is told without a commit, or with one.
fn verdicts(sends: &[Send]) -> Vec<LaneVerdict> {
    let verdict = |send: &Send| match send {
        Send::Statement(_, Statement::Verdict(verdict)) => Some(*verdict.clone()),
        Send::Statement(_, Statement::Run(_) | Statement::Release { .. } | Statement::SetComplete)
        | Send::Reply(..) => None,
    };
    sends.iter().filter_map(verdict).collect()
}

impl World {
    /// By the holder of the task that has the lane.
    pub(super) fn proposal(&self, name: &str, partition: i32, replaces: u64, generation: u64) -> Proposal {
        let record = record(name, partition, generation);
        let name = connector(name);
        let mut tasks = self.core.view.tasks_of(&name);
        let has_it = |task: &view::Task| task.lanes.contains(&record.lane.topic, partition);
        let (number, _) = tasks.find(|(_, task)| has_it(task)).unwrap();
        let id = AssignmentId::task(&name, number);
        let Assignment { holder, epoch, .. } = self.core.view.assignments[&id].clone();
        Proposal { holder, id, epoch, replaces: LaneGeneration(replaces), record }
    }

    fn propose(&mut self, proposals: Vec<Proposal>) -> Vec<LaneVerdict> {
        self.feed(Event::Proposed(proposals));
        let told: Vec<Send> = self
            .statements
            .drain(..)
            .map(|(agent, statement)| Send::Statement(holder(&agent, "told"), statement))
            .collect();
        verdicts(&told)
    }

    /// The commit in flight is stored, and those after it; what is told of lane records until nothing is left.
    fn store_all(&mut self) -> Vec<LaneVerdict> {
        let mut told = Vec::new();
        loop {
            let decision = self.stored();
            told.extend(decision.commits.iter().flat_map(|commit| verdicts(&commit.sends)));
            if written(&decision).is_empty() {
                return told;
            }
        }
    }

    /// A commit is in flight that has nothing to do with lanes.
    fn busy(&mut self) {
        let decision = self.step(Event::Command(Ticket(1), create("other", &[])));
        assert_eq!(written(&decision).len(), 1);
    }

    fn generations(&self, name: &str) -> Vec<(i32, u64)> {
        let lanes = self.core.view.lanes.iter().filter(|(lane, _)| lane.connector.as_str() == name);
        lanes.map(|(lane, held)| (lane.partition, held.generation().0)).collect()
    }
}

/// The commits of a decision that write lane records, each with its verdicts.
fn written(decision: &Decision) -> Vec<&Commit> {
    decision.commits.iter().filter(|commit| !commit.writes.is_empty()).collect()
}

/// What a decision tells without waiting for the store.
fn told_at_once(decision: &Decision) -> Vec<LaneVerdict> {
    let at_once = decision.commits.iter().filter(|commit| commit.writes.is_empty());
    at_once.flat_map(|commit| verdicts(&commit.sends)).collect()
}

/// `c` with one task of `partitions` lanes.
fn one_task(partitions: u32) -> World {
    let mut world = World::with_agent();
    world.create("c", &[("tasks.max", "1")]);
    world.survey("c", ("S", "D"), &[("t", partitions)]);
    world.statements.clear();
    world.commits.clear();
    world
}

#[test]
fn a_record_is_fixed_by_a_commit_and_replaced_by_a_later_generation() {
    let mut world = running();
    world.commits.clear();
    for (replaces, generation) in [(0, 1), (1, 2), (2, 9)] {
        let proposal = world.proposal("c", 1, replaces, generation);
        let told = world.propose(vec![proposal.clone()]);
        let lane = proposal.record.lane.clone();
        assert_eq!(
            told,
            [LaneVerdict { lane: lane.clone(), generation: LaneGeneration(generation), refusal: None }]
        );
        assert_eq!(world.core.view.lanes[&lane], LaneHeld::Record(proposal.record));
    }
    assert_eq!(world.commits, [1, 1, 1]);
    assert_eq!(world.generations("c"), [(1, 9)]);
}

#[test]
fn a_first_generation_may_be_any_above_zero() {
    let mut world = running();
    let proposal = world.proposal("c", 0, 0, 7);
    assert!(world.propose(vec![proposal]).iter().all(is_committed));
    assert_eq!(world.generations("c"), [(0, 7)]);
}

type Change = fn(&mut Proposal);

#[test]
fn a_proposal_that_is_not_current_or_not_of_the_task_is_refused_in_words() {
    let rows: [(&str, Change, &str); 15] = [
        ("another agent", |p| p.holder = holder("b:1", "one"), "agent b:1 does not hold c/1"),
        ("another process", |p| p.holder = holder("a:1", "zero"), "agent a:1 does not hold c/1"),
        ("older epoch", |p| p.epoch.revision.0 -= 1, "does not hold c/1 under epoch"),
        ("newer epoch", |p| p.epoch.revision.0 += 1, "does not hold c/1 under epoch"),
        ("another incarnation", |p| p.epoch.incarnation += 1, "does not hold c/1 under epoch"),
        (
            "another task",
            |p| p.id.part = copyist_model::Part::Task(0),
            "t-1 of connector c and cluster S is no lane of c/0",
        ),
        (
            "another connector",
            |p| p.record.lane.connector = connector("d"),
            "t-1 of connector d and cluster S is no lane of c/1",
        ),
        (
            "another cluster",
            |p| p.record.lane.source_cluster = "S2".parse().unwrap(),
            "cluster S2 is no lane of c/1",
        ),
        ("another topic", |p| p.record.lane.topic = "u".parse().unwrap(), "u-1 of connector c"),
        (
            "another task's lane",
            |p| p.record.lane.partition = 0,
            "t-0 of connector c and cluster S is no lane of c/1",
        ),
        (
            "another destination",
            |p| p.record.destination.topic = "u".parse().unwrap(),
            "t-1 is copied into t.copy-1, not into u-1",
        ),
        ("another partition there", |p| p.record.destination.partition = 0, "not into t.copy-0"),
        (
            "replaces an older one",
            |p| p.replaces = LaneGeneration(0),
            "it replaces generation 0, and 3 holds",
        ),
        ("replaces a newer one", |p| p.replaces = LaneGeneration(4), "it replaces generation 4, and 3 holds"),
        ("the same generation", |p| p.record.generation = LaneGeneration(3), "generation 3 is not above 3"),
    ];
    for (label, change, text) in rows {
        let mut world = running();
        let first = world.proposal("c", 1, 0, 3);
        world.propose(vec![first.clone()]);
        world.commits.clear();
        let mut proposal = world.proposal("c", 1, 3, 4);
        proposal.record.producer_id += 1;
        change(&mut proposal);
        let told = world.propose(vec![proposal.clone()]);
        let refusal = told[0].refusal.clone().unwrap();
        assert!(refusal.because.contains(text), "{label}: {}", refusal.because);
        let same_lane = proposal.record.lane == first.record.lane;
        assert_eq!(refusal.holds, same_lane.then(|| LaneHeld::Record(first.record.clone())), "{label}");
        assert_eq!((&told[0].lane, told[0].generation), (&proposal.record.lane, proposal.record.generation));
        assert!(world.commits.is_empty(), "{label}: nothing is stored");
        assert_eq!(world.generations("c"), [(1, 3)], "{label}");
    }
}

#[test]
fn a_survey_has_no_lanes() {
    let mut world = running();
    let mut proposal = world.proposal("c", 0, 0, 1);
    proposal.id = AssignmentId::survey(&connector("c"));
    proposal.epoch = world.core.view.assignments[&proposal.id].epoch;
    let told = world.propose(vec![proposal]);
    assert!(told[0].refusal.clone().unwrap().because.contains("is no lane of c/survey"), "{told:?}");
}

#[test]
fn a_lane_without_a_record_says_so_when_one_is_to_be_replaced() {
    let mut world = running();
    let proposal = world.proposal("c", 0, 1, 2);
    let told = world.propose(vec![proposal]);
    let refusal = told[0].refusal.clone().unwrap();
    assert_eq!(refusal.because, "it replaces generation 1, and 0 holds (0: none)");
    assert_eq!(refusal.holds, None);
}

#[test]
fn a_record_said_again_gets_its_verdict_again_without_a_commit() {
    let mut world = running();
    let proposal = world.proposal("c", 0, 0, 1);
    world.propose(vec![proposal.clone()]);
    world.commits.clear();
    assert!(world.propose(vec![proposal.clone()]).iter().all(is_committed));
    assert!(world.commits.is_empty());

    let mut other = proposal.clone();
    other.record.producer_id += 1;
    assert!(world.propose(vec![other])[0].refusal.is_some(), "only the very record is a repetition");
    let by_another = Proposal { holder: holder("b:1", "one"), ..proposal };
    assert!(world.propose(vec![by_another])[0].refusal.is_some(), "and only of the current holder");
}

#[test]
fn a_verdict_is_told_once_its_commit_is_stored() {
    let mut world = running();
    let view = world.core.view.clone();
    let proposal = world.proposal("c", 0, 0, 1);
    let decision = world.step(Event::Proposed(vec![proposal.clone()]));
    assert_eq!(told_at_once(&decision), []);
    let commits = written(&decision);
    let record = LaneHeld::Record(proposal.record.clone());
    assert_eq!(commits[0].writes, [Write::Lane(proposal.record.lane.clone(), Some(record))]);
    assert!(verdicts(&commits[0].sends).iter().all(is_committed));
    assert_eq!(world.core.view, view, "nothing counts before it is stored");

    let again = world.step(Event::Proposed(vec![proposal]));
    assert_eq!(again, Decision::default(), "a repetition waits for the commit in flight");
    let decision = world.stored();
    assert_eq!(written(&decision), Vec::<&Commit>::new());
    assert_eq!(told_at_once(&decision).len(), 1);
}

#[test]
fn a_refused_commit_leaves_no_trace_and_its_proposals_are_planned_again() {
    let mut world = one_task(2);
    let proposals = vec![world.proposal("c", 0, 0, 1), world.proposal("c", 1, 0, 1)];
    world.step(Event::Proposed(proposals));
    let newer = world.proposal("c", 1, 0, 2);
    let mut late = world.proposal("c", 0, 0, 3);
    late.epoch.revision.0 -= 1;
    assert_eq!(world.step(Event::Proposed(vec![newer, late])), Decision::default());
    let decision = world.step(Event::Refused);
    assert_eq!(told_at_once(&decision), []);
    let told = verdicts(&written(&decision)[0].sends);
    assert_eq!(
        told.iter().map(|verdict| verdict.generation.0).collect::<Vec<_>>(),
        [1, 2],
        "the newer one wins"
    );
    assert_eq!(world.core.view.lanes, BTreeMap::new());
    world.stored();
    assert_eq!(world.generations("c"), [(0, 1), (1, 2)]);
    // What was stored is not kept for another refusal.
    world.busy();
    world.step(Event::Refused);
    assert_eq!(world.store_all(), [], "its verdict is not told again");
}

#[test]
fn what_waits_for_a_commit_goes_into_few_commits() {
    let mut world = one_task(250);
    world.busy();
    for partition in 0..250 {
        let proposal = world.proposal("c", partition, 0, 1);
        assert_eq!(world.step(Event::Proposed(vec![proposal])), Decision::default(), "all wait");
    }
    let mut commits = Vec::new();
    let mut decision = world.stored();
    let is_lane = |write: &Write| matches!(write, Write::Lane(_, Some(_)));
    while let Some(commit) = written(&decision).first() {
        if commit.writes.iter().all(is_lane) {
            assert_eq!(verdicts(&commit.sends).len(), commit.writes.len(), "each tells of its own");
            commits.push(commit.writes.len());
        }
        decision = world.stored();
    }
    assert_eq!(commits, [100, 100, 50]);
    assert_eq!(world.generations("c").len(), 250);
}

#[test]
fn what_needs_no_commit_does_not_wait_for_the_commit_of_others() {
    let mut world = one_task(3);
    let repeated = world.proposal("c", 2, 0, 1);
    world.propose(vec![repeated.clone()]);
    let mut bad = world.proposal("c", 0, 0, 1);
    bad.record.destination.topic = "u".parse().unwrap();
    let good = world.proposal("c", 1, 0, 1);
    let decision = world.step(Event::Proposed(vec![bad, good, repeated]));
    let at_once: Vec<(i32, bool)> =
        told_at_once(&decision).iter().map(|told| (told.lane.partition, is_committed(told))).collect();
    assert_eq!(at_once, [(0, false), (2, true)]);
    assert_eq!(written(&decision)[0].writes.len(), 1);
}

#[test]
fn a_commit_has_a_bound_in_bytes() {
    let name = "n".repeat(110_000);
    let mut world = World::with_agent();
    world.create(&name, &[("tasks.max", "1")]);
    world.survey(&name, ("S", "D"), &[("t", 7)]);
    world.commits.clear();
    let proposals = (0..7).map(|partition| world.proposal(&name, partition, 0, 1)).collect();
    assert!(world.propose(proposals).iter().all(is_committed));
    assert_eq!(world.commits, [4, 3]);
}

#[test]
fn a_newer_proposal_of_a_process_replaces_the_one_that_waits() {
    let mut world = running();
    world.busy();
    for generation in [1, 2] {
        let proposal = world.proposal("c", 0, 0, generation);
        world.step(Event::Proposed(vec![proposal]));
    }
    let mut late = world.proposal("c", 0, 0, 3);
    late.epoch.revision.0 -= 1;
    world.step(Event::Proposed(vec![late]));
    let stale = Proposal { holder: holder("b:1", "one"), ..world.proposal("c", 0, 0, 4) };
    world.step(Event::Proposed(vec![stale]));
    let told = world.store_all();
    let told: Vec<(u64, bool)> = told.iter().map(|told| (told.generation.0, is_committed(told))).collect();
    assert_eq!(told, [(4, false), (2, true)], "one of another process displaces nothing");
    assert_eq!(world.generations("c"), [(0, 2)]);
}

#[test]
fn what_was_released_while_a_proposal_waited_is_not_fixed() {
    let mut world = running();
    let proposal = world.proposal("c", 0, 0, 1);
    world.busy();
    world.step(Event::Proposed(vec![proposal.clone()]));
    let Proposal { holder, id, epoch, record, .. } = proposal;
    world.step(Event::Released { holder, id, epoch });
    let told = world.store_all();
    assert_eq!(told.len(), 1);
    assert!(told[0].refusal.clone().unwrap().because.contains("does not hold c/0"), "{told:?}");
    assert!(!world.core.view.lanes.contains_key(&record.lane));
}

#[test]
fn what_moved_while_a_proposal_waited_is_fixed_for_the_new_holder_alone() {
    let mut world = running();
    world.hello("b:1", "two");
    let old = world.proposal("c", 0, 0, 1);
    world.step(Event::LeaseEnded(holder("a:1", "one")));
    world.step(Event::Proposed(vec![old.clone()]));
    let told = world.store_all();
    assert_eq!(told.len(), 1);
    assert!(!is_committed(&told[0]));
    let new = world.proposal("c", 0, 0, 1);
    assert_eq!(new.holder, holder("b:1", "two"));
    assert!(world.propose(vec![new]).iter().all(is_committed));
    assert!(!is_committed(&world.propose(vec![old])[0]));
}

#[test]
fn a_process_without_a_lease_fixes_nothing_even_while_nobody_else_can_take_its_work() {
    let mut world = running();
    let proposal = world.proposal("c", 0, 0, 1);
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    assert_eq!(world.core.view.assignments[&proposal.id].holder, proposal.holder);
    assert!(!is_committed(&world.propose(vec![proposal.clone()])[0]));
    world.hello("a:1", "one");
    assert!(world.propose(vec![proposal]).iter().any(is_committed));
}

#[test]
fn statements_carry_the_records_that_hold_and_a_record_alone_is_no_statement() {
    let mut world = one_task(2);
    world.create("d", &[("topic.rename.format", "d-${topic}"), ("tasks.max", "1")]);
    world.survey("d", ("S", "D"), &[("other", 1)]);
    world.statements.clear();
    let proposals = vec![world.proposal("c", 0, 0, 1), world.proposal("c", 1, 0, 1)];
    world.feed(Event::Proposed(proposals));
    assert_eq!(world.runs(), [], "the agent that proposed it knows it");

    let carried = |world: &mut World| -> Vec<(String, Vec<(i32, u64)>)> {
        let shown = |run: Run| {
            let records = run.records.iter().map(|(lane, held)| (lane.partition, held.generation().0));
            (run.id.to_string(), records.collect())
        };
        world.runs().into_iter().map(shown).collect()
    };
    world.hello("a:1", "one");
    let expected = |rows: &[(&str, &[(i32, u64)])]| -> Vec<(String, Vec<(i32, u64)>)> {
        rows.iter().map(|(id, records)| ((*id).to_owned(), records.to_vec())).collect()
    };
    assert_eq!(
        carried(&mut world),
        expected(&[("c/survey", &[]), ("c/0", &[(0, 1), (1, 1)]), ("d/survey", &[]), ("d/0", &[])])
    );

    let newer = world.proposal("c", 1, 1, 2);
    world.feed(Event::Proposed(vec![newer]));
    world.ask(1, Command::RestartTask { name: connector("c"), task: 0 });
    assert_eq!(carried(&mut world), expected(&[("c/0", &[(0, 1), (1, 2)])]));

    world.hello("b:1", "two");
    world.statements.clear();
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    let moved = carried(&mut world);
    assert!(moved.contains(&("c/0".to_owned(), vec![(0, 1), (1, 2)])), "{moved:?}");
}

#[test]
fn a_task_of_several_carries_only_its_own_records() {
    let mut world = running();
    let proposals = vec![world.proposal("c", 0, 0, 1), world.proposal("c", 1, 0, 1)];
    world.propose(proposals);
    world.ask(1, Command::RestartTask { name: connector("c"), task: 1 });
    let run = world.runs().pop().unwrap();
    assert_eq!(run.records.iter().map(|(lane, _)| lane.partition).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_new_generation_of_tasks_finds_the_records_of_its_lanes() {
    let mut world = running();
    let proposals = vec![world.proposal("c", 0, 0, 1), world.proposal("c", 1, 0, 1)];
    world.propose(proposals);
    world.ask(1, put("c", &[("tasks.max", "1")]));
    world.confirm_releases();
    world.statements.clear();
    world.survey("c", ("S", "D"), &[("t", 2)]);
    let run = world.runs().pop().unwrap();
    assert_eq!(run.records.len(), 2);
}

#[test]
fn a_deleted_connector_takes_its_records_along_in_small_commits_and_alone() {
    let mut world = one_task(250);
    world.create("d", &[("topic.rename.format", "d-${topic}")]);
    world.survey("d", ("S2", "D"), &[("t", 1)]);
    let mut of_d = world.proposal("d", 0, 0, 1);
    of_d.record.lane.source_cluster = "S2".parse().unwrap();
    let proposals = (0..250).map(|partition| world.proposal("c", partition, 0, 1)).chain([of_d]).collect();
    world.propose(proposals);
    assert_eq!(world.generations("c").len(), 250);
    world.commits.clear();
    assert_eq!(world.ask(1, delete("c")), None);
    world.confirm_releases();
    assert_eq!(world.reply(1), Some(Ok(Answer::Done)));
    assert!(world.commits.iter().all(|writes| *writes <= Commit::WRITES_MAX), "{:?}", world.commits);
    assert_eq!(world.generations("c"), []);
    assert_eq!(world.generations("d"), [(0, 1)]);

    world.create("c", &[("tasks.max", "1")]);
    world.survey("c", ("S", "D"), &[("t", 250)]);
    assert!(world.runs().iter().all(|run| run.records.is_empty()));
    let first = world.proposal("c", 0, 0, 1);
    assert!(world.propose(vec![first]).iter().all(is_committed));
}

#[test]
fn a_delete_that_is_cut_short_keeps_the_connector_until_its_records_are_gone() {
    let mut world = one_task(250);
    let proposals = (0..250).map(|partition| world.proposal("c", partition, 0, 1)).collect();
    world.propose(proposals);
    world.statements.clear();
    world.ask(1, delete("c"));
    let held: Vec<_> =
        world.core.view.assignments.iter().map(|(id, held)| (id.clone(), held.clone())).collect();
    for (id, Assignment { holder, epoch, .. }) in &held[1..] {
        world.feed(Event::Released { holder: holder.clone(), id: id.clone(), epoch: *epoch });
    }
    let (id, Assignment { holder, epoch, .. }) = held[0].clone();
    world.step(Event::Released { holder, id, epoch });
    world.stored();
    world.stored();
    let left = world.core.view.lanes.len();
    assert!((1..250).contains(&left), "{left}");

    // The next leader goes on from what is stored.
    world.lead_anew();
    assert!(world.core.view.connectors.contains_key(&connector("c")));
    world.feed(Event::Tick);
    assert_eq!(world.core.view.lanes, BTreeMap::new());
    assert!(!world.core.view.connectors.contains_key(&connector("c")));
}

#[test]
fn the_next_leader_knows_the_records_and_the_holder_repeats_what_it_has_no_verdict_for() {
    let mut world = one_task(2);
    let (first, second) = (world.proposal("c", 0, 0, 1), world.proposal("c", 1, 0, 1));
    world.propose(vec![first.clone()]);
    world.step(Event::Proposed(vec![second.clone()]));
    // What the store holds, read back key by key.
    let mut view = View::default();
    let mut families = BTreeSet::new();
    let lanes =
        world.core.view.lanes.iter().map(|(lane, held)| Write::Lane(lane.clone(), Some(held.clone())));
    for write in lanes {
        let (key, value) = keys::encode(&write, 0);
        families.insert(key.split('/').next().unwrap().to_owned());
        keys::decode(&mut view, &key, &value.unwrap(), StoreRevision(world.revision)).unwrap();
    }
    assert_eq!(families, BTreeSet::from(["lanes".to_owned()]));
    assert_eq!(view.lanes, world.core.view.lanes);
    world.lead_anew();
    world.commits.clear();
    world.hello("a:1", "one");
    let told = world.propose(vec![first, second]);
    assert_eq!(told.iter().filter(|verdict| is_committed(verdict)).count(), 2);
    assert_eq!(world.commits, [1], "only the second was not stored");
}
