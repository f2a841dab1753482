//! Who has what when agents come and go: nothing is with two, and nobody waits for a leader's memory.

use super::*;

/// How many parts of any connector each agent has.
fn spread(world: &World) -> BTreeMap<String, usize> {
    let mut spread = BTreeMap::new();
    for assignment in world.core.view.assignments.values() {
        *spread.entry(assignment.holder.agent.to_string()).or_default() += 1;
    }
    spread
}

/// Who is told to release what, since the last call.
fn releases(world: &mut World) -> Vec<(String, AssignmentId, AssignmentEpoch)> {
    let told = world.statements.drain(..).filter_map(|(agent, statement)| match statement {
        Statement::Release { id, epoch } => Some((agent, id, epoch)),
        Statement::Run(_) | Statement::SetComplete | Statement::Verdict(_) => None,
    });
    told.collect()
}

/// A connector with a survey and tasks of one lane, all on a:1; then b:1 comes.
fn joined(tasks: u32) -> World {
    let mut world = World::with_agent();
    world.create("c", &[]);
    world.survey("c", ("S", "D"), &[("t", tasks)]);
    world.hello("b:1", "one");
    world.statements.clear();
    world
}

#[test]
fn who_comes_gets_its_share_a_few_at_a_time_and_only_what_is_released() {
    let mut world = joined(39);
    assert_eq!(spread(&world), BTreeMap::from([("a:1".to_owned(), 40)]), "not before a tick");
    let mut rounds = 0;
    loop {
        world.feed(Event::Tick);
        let told = releases(&mut world);
        let before = world.core.view.assignments.clone();
        world.feed(Event::Tick);
        assert_eq!(world.core.view.assignments, before, "nothing is assigned before it is released");
        assert_eq!(releases(&mut world), [], "nor is more begun");
        if told.is_empty() {
            break;
        }
        assert!(told.len() <= 4, "{told:?}");
        for (agent, id, epoch) in told {
            assert_eq!(agent, "a:1");
            world.feed(Event::Released { holder: holder("a:1", "one"), id: id.clone(), epoch });
            let assignment = &world.core.view.assignments[&id];
            assert_eq!((assignment.holder.agent.as_str(), assignment.former.len()), ("b:1", 0));
            assert!(assignment.epoch > epoch);
        }
        let runs = world.runs();
        assert!(!runs.is_empty() && runs.iter().all(|run| !run.follows_unreleased));
        rounds += 1;
    }
    assert_eq!(
        (rounds, spread(&world)),
        (5, BTreeMap::from([("a:1".to_owned(), 20), ("b:1".to_owned(), 20)]))
    );
}

#[test]
fn of_few_parts_one_moves_at_a_time() {
    let mut world = joined(3);
    world.feed(Event::Tick);
    assert_eq!(releases(&mut world).len(), 1);
}

#[test]
fn what_moves_goes_elsewhere_when_its_target_is_gone_and_to_its_target_when_its_holder_is() {
    let mut world = joined(3);
    world.feed(Event::Tick);
    let (_, id, epoch) = releases(&mut world).remove(0);
    let mut other = joined(3);
    other.feed(Event::Tick);

    world.feed(Event::LeaseEnded(holder("b:1", "one")));
    world.feed(Event::Released { holder: holder("a:1", "one"), id: id.clone(), epoch });
    let back = &world.core.view.assignments[&id];
    assert_eq!((back.holder.clone(), back.former.len()), (holder("a:1", "one"), 0));
    assert_eq!(world.runs().len(), 1);

    other.feed(Event::LeaseEnded(holder("a:1", "one")));
    let taken = &other.core.view.assignments[&id];
    assert_eq!(taken.holder, holder("b:1", "one"));
    assert_eq!(taken.former, [(holder("a:1", "one"), epoch)], "the release was not confirmed");
}

#[test]
fn who_may_still_write_stays_known_through_a_move() {
    let mut world = joined(3);
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    world.hello("a:1", "two");
    world.statements.clear();
    world.feed(Event::Tick);
    let (agent, id, epoch) = releases(&mut world).remove(0);
    assert_eq!(agent, "b:1");
    world.feed(Event::Released { holder: holder("b:1", "one"), id: id.clone(), epoch });
    let assignment = &world.core.view.assignments[&id];
    let former: Vec<_> = assignment.former.iter().map(|(holder, _)| holder.clone()).collect();
    assert_eq!((assignment.holder.clone(), former), (holder("a:1", "two"), vec![holder("a:1", "one")]));
    assert!(world.runs().iter().all(|run| run.follows_unreleased));
}

#[test]
fn a_session_that_comes_back_is_told_again_what_it_is_to_release() {
    let mut world = joined(3);
    world.feed(Event::Tick);
    let told = releases(&mut world);
    world.hello("a:1", "one");
    assert_eq!(releases(&mut world), told);
}

#[test]
fn a_new_leader_carries_a_move_through_that_it_does_not_know_of() {
    let mut world = joined(3);
    world.feed(Event::Tick);
    let (_, id, epoch) = releases(&mut world).remove(0);
    world.lead_anew();
    world.hello("a:1", "one");
    world.hello("b:1", "one");
    assert_eq!(releases(&mut world), [], "it states what is stored");
    world.feed(Event::Released { holder: holder("a:1", "one"), id: id.clone(), epoch });
    assert_eq!(world.core.view.assignments[&id].holder, holder("b:1", "one"));
}

#[test]
fn agents_that_are_not_connected_neither_give_nor_take() {
    let mut world = joined(3);
    world.feed(Event::SessionEnded(holder("b:1", "one")));
    world.feed(Event::Tick);
    assert_eq!(releases(&mut world), []);
    world.hello("b:1", "one");
    world.feed(Event::SessionEnded(holder("a:1", "one")));
    world.feed(Event::Tick);
    world.hello("a:1", "one");
    assert_eq!(releases(&mut world), []);
}

#[test]
fn what_moves_is_stopped_as_anything_else_and_then_is_nowhere() {
    let mut world = joined(3);
    world.feed(Event::Tick);
    assert_eq!(world.ask(1, target("c", TargetState::Stopped)), None);
    let told = releases(&mut world);
    assert_eq!(told.len(), 4, "each is told once");
    for (_, id, epoch) in told {
        world.feed(Event::Released { holder: holder("a:1", "one"), id, epoch });
    }
    assert_eq!((world.reply(1), spread(&world)), (Some(Ok(Answer::Done)), BTreeMap::new()));
}

#[test]
fn what_was_released_is_not_stated_again_before_it_is_assigned_anew() {
    let mut world = joined(3);
    world.feed(Event::Tick);
    let (_, moved, epoch) = releases(&mut world).remove(0);
    for agent in ["a:1", "b:1"] {
        world.feed(Event::SessionEnded(holder(agent, "one")));
    }
    world.feed(Event::Released { holder: holder("a:1", "one"), id: moved.clone(), epoch });
    assert_eq!(world.core.view.assignments[&moved].epoch, epoch, "there is nobody to take it");
    world.refuse_next = true;
    world.hello("a:1", "one");
    assert_eq!(world.runs().iter().filter(|run| run.id == moved).count(), 0, "whether it lives is in doubt");
    world.feed(Event::Tick);
    let runs = world.runs();
    let of_moved: Vec<_> = runs.iter().filter(|run| run.id == moved).collect();
    assert_eq!(of_moved.len(), 1, "{runs:?}");
    assert!(of_moved[0].epoch > epoch && !of_moved[0].follows_unreleased);

    // Nor by a leader that does not know why it was released.
    let mut world = joined(3);
    let Assignment { holder: by, epoch, .. } = world.assignment(&moved);
    world.lead_anew();
    world.feed(Event::Released { holder: by, id: moved.clone(), epoch });
    world.hello("a:1", "one");
    let runs = world.runs();
    assert!(runs.iter().filter(|run| run.id == moved).all(|run| run.epoch > epoch), "{runs:?}");
}

#[test]
fn what_moves_and_loses_its_holder_is_stated_to_the_next_one_at_once() {
    let mut world = joined(250);
    world.feed(Event::Tick);
    assert_eq!(releases(&mut world).len(), 25);
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    assert_eq!(releases(&mut world), [], "nothing is to be released under its new epoch");
    assert_eq!(spread(&world), BTreeMap::from([("b:1".to_owned(), 251)]));
}

#[test]
fn a_part_that_is_placed_begins_no_moves() {
    let mut world = joined(39);
    world.create("d", &[]);
    assert_eq!(spread(&world)["b:1"], 1);
    assert_eq!(releases(&mut world), []);
}

#[test]
fn an_operator_drains_an_agent_and_takes_it_back() {
    let drain = |drained| Command::DrainAgent { agent: "a:1".parse().unwrap(), drained };
    let mut world = joined(3);
    assert_eq!(world.ask(1, drain(true)), Some(Ok(Answer::Done)));
    let given_up = |world: &mut World| {
        world.feed(Event::Tick);
        let told = releases(world);
        for (agent, id, epoch) in &told {
            let (holder, id, epoch) = (holder(agent, "one"), id.clone(), *epoch);
            world.feed(Event::Released { holder, id, epoch });
        }
        told.into_iter().map(|(agent, ..)| agent).collect::<Vec<_>>()
    };
    for _ in 0..4 {
        assert_eq!(given_up(&mut world), ["a:1"], "one of few at a time");
    }
    assert_eq!((given_up(&mut world), spread(&world)), (vec![], BTreeMap::from([("b:1".to_owned(), 4)])));
    world.lead_anew();
    for agent in ["a:1", "b:1"] {
        world.hello(agent, "one");
    }
    assert_eq!(given_up(&mut world), Vec::<String>::new(), "the next leader knows");
    let commits = world.commits.len();
    assert_eq!(world.ask(2, drain(true)), Some(Ok(Answer::Done)));
    assert_eq!(world.commits.len(), commits, "it is drained already");
    assert_eq!(world.ask(3, drain(false)), Some(Ok(Answer::Done)));
    assert_eq!(given_up(&mut world), ["b:1"]);

    assert_eq!(world.ask(4, drain(true)), Some(Ok(Answer::Done)));
    let busy = world.core.step(world.now, Event::Command(Ticket(60), create("d", &[])));
    assert!(busy.commits.iter().any(|commit| !commit.writes.is_empty()), "a commit is in flight");
    world.core.step(world.now, Event::LeaseEnded(holder("a:1", "one")));
    world.core.step(world.now, Event::Command(Ticket(70), drain(false)));
    world.perform(Event::Refused);
    let gone = Some(Err(Failure::NotFound("Unknown agent: a:1".to_owned())));
    assert_eq!(world.reply(70), gone, "its end is known, if not stored");
    let unknown = world.ask(5, drain(true));
    assert_eq!(unknown, Some(Err(Failure::NotFound("Unknown agent: a:1".to_owned()))));
    world.hello("a:1", "two");
    let drained = |world: &World| world.core.view.agents.values().any(|agent| agent.drained);
    assert!(!drained(&world), "a new process takes its share");
    assert_eq!(world.ask(6, drain(true)), Some(Ok(Answer::Done)));
    world.hello("a:1", "three");
    assert!(!drained(&world), "whether or not the former is seen to go");
}

#[test]
fn a_connector_runs_where_its_config_says_and_moves_when_that_changes() {
    let mut world = World::with_agent();
    let Event::Hello(mut hello) = hello("b:1", "one", &[]) else { unreachable!() };
    hello.labels = BTreeMap::from([("zone".to_owned(), "z".to_owned())]);
    hello.rack = "r".into();
    world.feed(Event::Hello(hello));
    world.create("c", &[("agent.labels", "zone=z")]);
    world.survey("c", ("S", "D"), &[("t", 5)]);
    assert_eq!(spread(&world), BTreeMap::from([("b:1".to_owned(), 6)]));
    world.create("d", &[("agent.labels", "zone=y, x=1")]);
    assert_eq!(world.connector_state("d").1, "waits for an agent with the labels x=1,zone=y");
    world.create("e", &[("agent.racks", "r")]);
    assert_eq!(
        spread(&world),
        BTreeMap::from([("a:1".to_owned(), 1), ("b:1".to_owned(), 6)]),
        "up to a share"
    );

    let epochs = |world: &World| world.core.view.assignments.values().map(|it| it.epoch).max();
    let before = epochs(&world);
    world.ask(1, put("c", &[]));
    assert_eq!(epochs(&world), before, "nothing is made anew for it");
    world.statements.clear();
    world.feed(Event::Tick);
    assert!(releases(&mut world).iter().all(|(agent, ..)| agent == "b:1"));
}

#[test]
fn of_equal_agents_the_one_in_the_wanted_rack_takes_the_part() {
    let mut world = World::with_agent();
    let Event::Hello(mut hello) = hello("b:1", "one", &[]) else { unreachable!() };
    hello.rack = "r".into();
    world.feed(Event::Hello(hello));
    world.create("c", &[("agent.racks", "r")]);
    assert_eq!(spread(&world), BTreeMap::from([("b:1".to_owned(), 1)]));
}

#[test]
fn thousands_of_parts_are_a_row_of_commits_from_one_plan() {
    let mut world = World::with_agent();
    for name in ["c", "d", "e"] {
        world.create(name, &[]);
    }
    for name in ["c", "d", "e"] {
        world.survey(name, ("S", name), &[("t", 250)]);
    }
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    world.commits.clear();
    world.hello("b:1", "one");
    assert_eq!(spread(&world), BTreeMap::from([("b:1".to_owned(), 753)]));
    assert_eq!(world.commits.iter().filter(|writes| **writes == 50).count(), 15, "{:?}", world.commits);
}

#[test]
fn parts_on_which_words_are_stored_are_a_row_of_commits_too() {
    let mut world = joined(150);
    world.silent.insert("a:1".into());
    (0..2).for_each(|_| world.feed(Event::Tick));
    world.silent.clear();
    for (agent, id, epoch) in releases(&mut world) {
        world.feed(Event::Released { holder: holder(&agent, "one"), id, epoch });
    }
    assert_eq!(world.core.view.releases.len(), 151);
    world.feed(Event::LeaseEnded(holder("b:1", "one")));
    assert_eq!(
        (spread(&world), world.core.view.releases.len()),
        (BTreeMap::from([("a:1".to_owned(), 151)]), 0)
    );
}

#[test]
fn a_task_weighs_its_lanes() {
    let mut world = World::with_agent();
    world.hello("b:1", "one");
    world.create("c", &[("tasks.max", "1")]);
    world.survey("c", ("S", "D"), &[("t", 9)]);
    ["d", "e", "f"].into_iter().for_each(|name| world.create(name, &[]));
    assert_eq!(spread(&world), BTreeMap::from([("a:1".to_owned(), 4), ("b:1".to_owned(), 1)]));
}

#[test]
fn what_moves_counts_where_it_goes() {
    let mut world = joined(3);
    world.feed(Event::Tick);
    ["d", "e", "f"].into_iter().for_each(|name| world.create(name, &[]));
    assert_eq!(spread(&world), BTreeMap::from([("a:1".to_owned(), 5), ("b:1".to_owned(), 2)]));
}

#[test]
fn what_cannot_move_any_more_holds_up_no_other_move() {
    let mut world = joined(3);
    world.feed(Event::Tick);
    assert_eq!(releases(&mut world).len(), 1);
    world.create("d", &[]);
    world.survey("d", ("S", "E"), &[("t", 3)]);
    world.ask(1, target("c", TargetState::Stopped));
    world.create("e", &[]);
    world.survey("e", ("S", "F"), &[("t", 8)]);
    world.hello("d:1", "one");
    world.statements.clear();
    world.feed(Event::Tick);
    assert_eq!(releases(&mut world).len(), 1);
}

#[test]
fn an_agent_that_may_be_a_stranger_is_given_nothing_until_it_turns_out_to_be_none() {
    let mut world = World::new();
    let Event::Hello(mut unsettled) = hello("a:1", "one", &[]) else { panic!("a hello") };
    unsettled.is_settled = false;
    world.feed(Event::Hello(unsettled));
    world.create("c", &[]);
    world.feed(Event::Tick);
    let survey = AssignmentId::survey(&connector("c"));
    assert!(!world.core.view.assignments.contains_key(&survey));
    world.feed(Event::Settled(holder("a:1", "one")));
    assert_eq!(world.assignment(&survey).holder, holder("a:1", "one"));
}
