//! What is stored together, what a refusal leaves, and what needs no commit at all.

use super::*;

#[test]
fn a_heartbeat_that_changes_nothing_is_no_work() {
    let mut world = two_agents();
    world.core.stale = Stale::ALL;
    assert_eq!(world.step(Event::Heartbeat(holder("a:1", "one"))), Decision::default());
    assert_eq!(world.core.stale, Stale::ALL, "not even a look at what may be to do");
}

#[test]
fn what_says_nothing_of_who_runs_what_makes_no_work() {
    let nothing = Stale { statements: false, placement: false, balance: false };
    let mut world = two_agents();
    (0..2).for_each(|_| world.feed(Event::Tick));
    assert_eq!(world.core.stale, nothing);
    world.report(&AssignmentId::survey(&connector("c")), InstanceState::Running, "");
    assert_eq!(world.core.stale, nothing, "a report");
    world.perform(Event::Proposed(Vec::new()));
    assert_eq!(world.core.stale, nothing, "proposals");
    let commits = world.commits.len();
    world.pass(250);
    world.perform(Event::Tick);
    assert_eq!((world.commits.len(), world.core.stale), (commits + 1, nothing), "a status that is stored");
    world.pass(250);
    world.perform(Event::Tick);
    assert_eq!((world.core.stale, &world.core.restate), (nothing, &BTreeSet::new()), "time");
    assert_eq!(world.step(Event::Tick), Decision::default());
}

#[test]
fn who_is_in_doubt_gets_its_part_at_the_next_tick() {
    let mut world = World::with_agent();
    world.create("c", &[]);
    world.pass(250);
    world.perform(Event::Tick);
    let (survey, epoch) = held_by(&world, "a:1").remove(0);
    world.refuse_next = true;
    world.feed(Event::Released { holder: holder("a:1", "one"), id: survey.clone(), epoch });
    assert_eq!(world.assignment(&survey).epoch, epoch);
    world.pass(250);
    world.perform(Event::Tick);
    assert!(world.assignment(&survey).epoch > epoch);
}

#[test]
fn of_a_row_of_assignments_the_refused_one_alone_puts_agents_in_doubt() {
    let mut world = World::new();
    for (name, agent) in [("c", "a:1"), ("d", "b:1")] {
        let Event::Hello(mut hello) = hello(agent, "one", &[]) else { unreachable!() };
        hello.labels = BTreeMap::from([("of".to_owned(), name.to_owned())]);
        world.feed(Event::Hello(hello));
        world.create(name, &[("agent.labels", &format!("of={name}"))]);
        world.survey(name, ("S", name), &[("t", 79)]);
    }
    world.core.view.assignments.clear();
    world.lead_anew();
    world.step(Event::Command(Ticket(1), create("e", &[("agent.labels", "of=nobody")])));
    for agent in ["a:1", "b:1"] {
        world.step(hello(agent, "one", &[]));
    }
    let alive = |decision: &Decision| {
        let writing = decision.commits.iter().filter(|commit| !commit.writes.is_empty());
        let agents = |commit: &Commit| commit.alive.iter().map(|it| it.agent.to_string()).collect::<Vec<_>>();
        writing.map(agents).collect::<Vec<_>>()
    };
    assert_eq!(alive(&world.stored()), [vec!["a:1"], vec!["a:1", "b:1"], vec!["b:1"], vec!["b:1"]]);
    assert_eq!(alive(&world.step(Event::Refused)), [["b:1"], ["b:1"]]);
}

#[test]
fn a_holder_that_a_store_refused_is_given_nothing_until_time_went_by() {
    let mut world = World::with_agent();
    world.refuse_next = true;
    world.ask(1, create("c", &[]));
    assert_eq!(held_by(&world, "a:1").len(), 1, "a command is no matter of leases");
    world.hello("b:1", "one");
    world.feed(Event::SessionEnded(holder("a:1", "one")));
    world.refuse_next = true;
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    world.refuse_next = false;
    let before = world.commits.len();
    world.feed(Event::Heartbeat(holder("b:1", "one")));
    assert_eq!(world.commits.len(), before, "it is not tried again and again");
    world.feed(Event::Tick);
    assert_eq!(held_by(&world, "b:1").len(), 1);
}

#[test]
fn a_refused_assignment_takes_nothing_from_who_was_to_get_it() {
    let mut world = two_agents();
    let [(released, epoch), kept] = held_by(&world, "a:1").try_into().unwrap();
    world.refuse_next = true;
    world.feed(Event::Released { holder: holder("a:1", "one"), id: released.clone(), epoch });
    assert_eq!(world.assignment(&released).holder, holder("b:1", "one"), "a:1 was to have it again");
    assert_eq!(held_by(&world, "a:1"), [kept]);
}

#[test]
fn commits_are_bounded_in_bytes_as_well() {
    let status = |number| {
        let id = AssignmentId::task(&connector("c"), number);
        Write::Status(id, Some(Status::new(InstanceState::Failed, None, "x".repeat(8 * 1024))))
    };
    let row = Commit::row((0..300).map(status).collect(), Vec::new());
    assert!(row.len() == 3 && row.iter().all(|commit| commit.writes.len() <= Commit::WRITES_MAX));
    let mut many: Vec<Write> = (0..99).map(status).collect();
    let config = BTreeMap::from([("k".to_owned(), "v".repeat(300 * 1024))]);
    for name in ["d", "e"] {
        let info = Info { name: connector(name), config: config.clone(), tasks: Vec::new() };
        let answer = Ok(Answer::Info { created: true, info });
        many.push(Write::Request(
            name.into(),
            Some(Box::new(view::RequestAnswer { answer, expires_at_ms: 0 })),
        ));
    }
    let row = Commit::row(many.clone(), vec![Send::Reply(Ticket(1), Ok(Answer::Done))]);
    let bytes = |commit: &Commit| commit.writes.iter().map(crate::store::keys::size).sum::<usize>();
    assert!(
        row.iter().all(|commit| bytes(commit) <= Commit::BYTES_MAX),
        "{:?}",
        row.iter().map(bytes).collect::<Vec<_>>()
    );
    assert_eq!(row.iter().flat_map(|commit| commit.writes.clone()).collect::<Vec<_>>(), many);
    let told: Vec<usize> = row.iter().map(|commit| commit.sends.len()).collect();
    assert_eq!(told, [0, 1], "once the last is stored");
    let huge = || {
        Write::Status(
            AssignmentId::survey(&connector("c")),
            Some(Status {
                trace: "x".repeat(Commit::BYTES_MAX),
                ..Status::new(InstanceState::Failed, None, String::new())
            }),
        )
    };
    let row = Commit::row(vec![huge(), status(1)], Vec::new());
    let writes: Vec<usize> = row.iter().map(|commit| commit.writes.len()).collect();
    assert_eq!(writes, [1, 1], "what no commit can hold is for the store to refuse");
    let mut batch = event::Batch::default();
    assert!(!batch.extend([status(1), huge(), status(2)]), "in order");
    assert_eq!(Commit::from(batch).writes.len(), 1);
}

#[test]
fn a_task_that_no_commit_can_hold_fails_its_connector_and_says_what_to_do() {
    let mut world = World::with_agent();
    world.create("c", &[("tasks.max", "1")]);
    let names: Vec<String> = (0..4_000).map(|number| format!("{number:0>120}")).collect();
    let topics: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    world.survey("c", ("S", "D"), &topics[..2_000]);
    assert_eq!(world.tasks("c"), [(0, 2_000)]);
    world.report(&AssignmentId::survey(&connector("c")), InstanceState::Running, "");
    world.survey("c", ("S", "D"), &topics);
    let (state, trace) = world.connector_state("c");
    assert_eq!((state, world.tasks("c").len()), (InstanceState::Failed, 1), "the task that is there goes on");
    assert!(trace.contains("raise tasks.max"), "{trace}");
    world.ask(1, put("c", &[("tasks.max", "2")]));
    world.confirm_releases();
    world.report(&AssignmentId::survey(&connector("c")), InstanceState::Running, "");
    world.survey("c", ("S", "D"), &topics);
    assert_eq!(world.tasks("c"), [(0, 2_000), (1, 2_000)]);
}

#[test]
fn tasks_of_which_few_fit_into_a_commit_are_all_of_the_first_survey() {
    let mut world = World::with_agent();
    world.create("c", &[("tasks.max", "3")]);
    let names: Vec<String> = (0..3_600).map(|number| format!("{number:0>240}")).collect();
    let topics: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    world.survey("c", ("S", "D"), &topics);
    let lanes = world.core.view.tasks.values().flat_map(|task| task.lanes.iter());
    let starts: Vec<LaneStart> = lanes.map(|(_, _, _, start)| start).collect();
    assert_eq!(starts, vec![LaneStart::Reset; 3_600]);
    let commits: Vec<usize> = world.commits.iter().skip(3).copied().collect();
    assert_eq!(commits, [1, 1, 2, 3]);
}

#[test]
fn a_config_that_no_commit_can_hold_is_refused() {
    let mut world = World::new();
    let reply = world.ask(1, create("c", &[("topic.regex", &"x".repeat(360 * 1024))]));
    let Some(Err(Failure::Invalid(text))) = reply else { panic!("{reply:?}") };
    assert!(text.contains("at most 349525 can be stored"), "{text}");
    let name = "n".repeat(90);
    let given = config(&[("filler", "")]);
    let taken: usize = given.iter().map(|(key, value)| key.len() + value.as_ref().unwrap().len()).sum();
    let most = "x".repeat(349_525 - taken - 3 * name.len());
    let reply = world.ask(2, create(&name, &[("filler", &format!("{most}x"))]));
    assert!(matches!(reply, Some(Err(Failure::Invalid(_)))));
    world.create(&name, &[("filler", &most)]);
}

#[test]
fn no_commit_has_a_key_twice() {
    let mut world = running();
    let id = AssignmentId::task(&connector("c"), 1);
    world.report(&id, InstanceState::Running, "");
    world.feed(Event::Tick);
    world.ask(1, put("c", &[("tasks.max", "1")]));
    world.report(&id, InstanceState::Failed, "");
    let told = std::mem::take(&mut world.statements);
    for (_, statement) in told {
        if let Statement::Release { id, epoch } = statement {
            world.core.releases.hear(id, (holder("a:1", "one"), epoch));
        }
    }
    world.pass(1_000);
    world.perform(Event::Tick);
    assert_eq!(world.tasks("c"), []);
}

#[test]
fn a_refused_commit_leaves_no_trace_and_is_planned_again() {
    let mut world = World::with_agent();
    world.refuse_next = true;
    world.create("c", &[]);
    assert!(world.core.view.connectors.contains_key(&connector("c")));

    let mut world = running();
    let view = world.core.view.clone();
    let decision = world.step(Event::Command(Ticket(1), put("c", &[("tasks.max", "9")])));
    assert!(decision.commits.iter().any(|commit| !commit.writes.is_empty()));
    assert_eq!(world.core.view, view, "nothing counts before it is stored");
    let told_early =
        decision.commits.iter().any(|commit| commit.writes.is_empty() && !commit.sends.is_empty());
    assert!(!told_early, "{decision:?}");
}

#[test]
fn statuses_are_stored_when_time_goes_by_and_only_when_they_changed() {
    let mut world = running();
    world.feed(Event::Tick);
    assert_eq!(world.core.view.statuses.len(), 3);
    let commits = world.commits.len();
    world.feed(Event::Tick);
    assert_eq!(world.commits.len(), commits);
    world.report(&AssignmentId::task(&connector("c"), 1), InstanceState::Failed, "why");
    assert_eq!(world.commits.len(), commits, "a report alone is not stored");
    world.feed(Event::Tick);
    assert_eq!(world.core.view.statuses[&AssignmentId::task(&connector("c"), 1)].trace, "why");
}

#[test]
fn many_statuses_are_stored_a_commit_with_each_tick() {
    let mut world = World::with_agent();
    world.create("c", &[]);
    world.survey("c", ("S", "D"), &[("t", 256)]);
    world.commits.clear();
    for _ in 0..4 {
        world.pass(250);
        world.perform(Event::Tick);
    }
    assert_eq!(world.commits, [100, 100, 57]);
}

#[test]
fn statuses_of_a_refused_commit_are_stored_with_the_next_one() {
    let mut world = running();
    world.refuse_next = true;
    (0..2).for_each(|_| world.feed(Event::Tick));
    assert_eq!(world.core.view.statuses.len(), 3);
}
