//! Who may still be at work, and what waits for them.

use super::*;
use crate::core::view::Holding;

fn releases(world: &World, id: &AssignmentId) -> Vec<Holding> {
    world.core.view.releases.get(id).into_iter().flatten().cloned().collect()
}

fn forget(agent: &str) -> Command {
    Command::ForgetAgent { agent: agent.parse().unwrap() }
}

#[test]
fn a_silent_agents_parts_go_to_others_and_it_is_no_candidate_itself() {
    let mut world = two_agents();
    let of_b = held_by(&world, "b:1");
    world.silent.insert("b:1".into());
    world.feed(Event::Tick);
    assert_eq!(held_by(&world, "b:1"), of_b, "a second is not too long");
    world.feed(Event::Tick);
    assert_eq!(held_by(&world, "b:1"), []);
    for (id, epoch) in &of_b {
        assert_eq!(world.core.view.assignments[id].former, [(holder("b:1", "one"), *epoch)]);
    }
    let runs = world.runs();
    assert!(runs.len() == of_b.len() && runs.iter().all(|run| run.follows_unreleased));
    world.create("d", &[]);
    assert_eq!(held_by(&world, "b:1"), []);
}

#[test]
fn a_silent_agent_keeps_what_nobody_else_can_take_and_goes_on_with_it() {
    let mut world = two_agents();
    let before = world.core.view.assignments.clone();
    for agent in ["a:1", "b:1"] {
        world.silent.insert(agent.into());
    }
    (0..5).for_each(|_| world.feed(Event::Tick));
    assert_eq!(world.core.view.assignments, before);
    world.silent.clear();
    world.feed(Event::Tick);
    assert_eq!(world.core.view.assignments, before);
}

#[test]
fn a_session_that_is_back_in_time_moves_nothing_and_one_that_is_not_does() {
    let mut world = two_agents();
    let before = world.core.view.assignments.clone();
    world.feed(Event::SessionEnded(holder("b:1", "one")));
    world.feed(Event::Tick);
    world.hello("b:1", "one");
    (0..3).for_each(|_| world.feed(Event::Tick));
    assert_eq!(world.core.view.assignments, before);
    world.feed(Event::SessionEnded(holder("b:1", "one")));
    (0..2).for_each(|_| world.feed(Event::Tick));
    assert_eq!(held_by(&world, "b:1"), []);
}

#[test]
fn each_word_of_an_agent_shows_that_it_is_there() {
    let by = || holder("b:1", "one");
    let id = AssignmentId::survey(&connector("nothing"));
    let epoch = AssignmentEpoch::default();
    let findings = Findings {
        generation: copyist_model::ConnectorGeneration(1),
        source: "S".parse().unwrap(),
        destination: "D".parse().unwrap(),
        topics: Vec::new(),
    };
    let words = [
        Event::Heartbeat(by()),
        Event::Draining(by()),
        Event::Reported {
            holder: by(),
            id: id.clone(),
            epoch,
            state: InstanceState::Running,
            trace: String::new(),
        },
        Event::Released { holder: by(), id: id.clone(), epoch },
        Event::Surveyed { holder: by(), connector: connector("nothing"), epoch, findings },
        hello("b:1", "one", &[]),
        Event::Proposed(vec![Proposal { holder: by(), ..two_agents().proposal("c", 0, 0, 1) }]),
    ];
    for word in words {
        let mut world = two_agents();
        world.silent.insert("b:1".into());
        let of_b = held_by(&world, "b:1");
        world.feed(Event::Tick);
        world.feed(word.clone());
        world.feed(Event::Tick);
        assert_eq!(held_by(&world, "b:1"), of_b, "{word:?}");
        world.feed(Event::Tick);
        assert_eq!(held_by(&world, "b:1"), [], "{word:?}");
    }
}

#[test]
fn who_is_heard_again_gets_at_once_what_waits_for_anybody() {
    let mut world = two_agents();
    world.silent.insert("b:1".into());
    (0..2).for_each(|_| world.feed(Event::Tick));
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    assert_eq!(held_by(&world, "b:1"), []);
    world.feed(Event::Heartbeat(holder("b:1", "one")));
    assert_eq!(held_by(&world, "b:1").len(), 4);
}

#[test]
fn the_end_of_a_session_is_no_word() {
    let mut world = two_agents();
    world.silent.insert("b:1".into());
    world.feed(Event::Tick);
    world.feed(Event::SessionEnded(holder("b:1", "one")));
    world.feed(Event::Tick);
    assert_eq!(held_by(&world, "b:1"), []);
}

#[test]
fn every_former_holder_has_its_word_stored_beside_the_others() {
    let mut world = two_agents();
    let of_b = held_by(&world, "b:1");
    world.feed(Event::LeaseEnded(holder("b:1", "one")));
    let of_a = held_by(&world, "a:1");
    world.hello("d:1", "one");
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    let (id, by_b) = of_b[0].clone();
    let by_a = of_a.into_iter().find(|(of, _)| *of == id).unwrap().1;
    for (agent, epoch) in [("b:1", by_b), ("a:1", by_a)] {
        world.feed(Event::Released { holder: holder(agent, "one"), id: id.clone(), epoch });
    }
    assert_eq!(releases(&world, &id), [(holder("a:1", "one"), by_a), (holder("b:1", "one"), by_b)]);
}

#[test]
fn every_process_that_held_a_part_is_told_to_release_it() {
    let mut world = two_agents();
    world.hello("d:1", "one");
    let (id, _) = held_by(&world, "b:1").remove(0);
    let mut held = BTreeMap::new();
    for _ in 0..2 {
        let Assignment { holder, epoch, .. } = world.assignment(&id);
        world.silent.insert(holder.agent.to_string());
        held.insert(holder.agent.to_string(), Statement::Release { id: id.clone(), epoch });
        (0..2).for_each(|_| world.feed(Event::Tick));
    }
    assert_eq!(world.assignment(&id).former.len(), 2);
    assert!(held.into_iter().all(|told| world.statements.contains(&told)), "{:?}", world.statements);
}

#[test]
fn who_ended_holds_nothing_though_it_never_heard_of_some_of_it() {
    let mut world = two_agents();
    let of_b = held_by(&world, "b:1");
    assert!(of_b.len() > 1);
    world.feed(Event::Draining(holder("b:1", "one")));
    world.feed(Event::Drained(holder("b:1", "zero")));
    assert!(of_b.iter().all(|(id, _)| releases(&world, id).is_empty()), "another process of the agent");
    world.feed(Event::Drained(holder("b:1", "one")));
    assert!(world.core.is_without_parts(&holder("b:1", "one")));
    assert_eq!(held_by(&world, "b:1"), []);
    for (id, _) in of_b {
        let Assignment { holder: by, former, .. } = world.assignment(&id);
        assert_eq!((by, former), (holder("a:1", "one"), Vec::new()), "nobody is waited for");
    }
}

#[test]
fn what_is_being_given_to_who_ended_is_released_too() {
    let mut world = two_agents();
    world.step(Event::Command(Ticket(9), create("d", &[])));
    let given = |world: &World| {
        let mut writes = world.core.in_flight.iter().flat_map(|commit| &commit.writes);
        writes.find_map(|write| {
            let Write::Assignment(_, Some(given)) = write else { return None };
            Some(given.holder.clone())
        })
    };
    let holder = (0..20).find_map(|_| {
        let given = given(&world);
        if given.is_none() {
            world.stored();
        }
        given
    });
    let holder = holder.expect("somebody is given the new survey");
    world.step(Event::Draining(holder.clone()));
    world.step(Event::Drained(holder.clone()));
    while !world.core.in_flight.is_empty() {
        world.stored();
    }
    assert!(world.core.is_without_parts(&holder));
}

#[test]
fn who_keeps_a_connector_from_ending_is_named() {
    let mut world = two_agents();
    let unended = |world: &World| {
        let unended = world.core.unended(&connector("c"))?;
        Some(
            unended
                .into_iter()
                .map(|it| (it.agent.to_string(), it.is_gone, it.parts.len()))
                .collect::<Vec<_>>(),
        )
    };
    let row = |agent: &str, is_gone, parts| (agent.to_owned(), is_gone, parts);
    assert_eq!(unended(&world), None, "it is not to end");
    let (of_a, of_b) = (held_by(&world, "a:1"), held_by(&world, "b:1"));
    world.feed(Event::Command(Ticket(9), target("c", TargetState::Stopped)));
    assert_eq!(unended(&world), Some(vec![row("a:1", false, of_a.len()), row("b:1", false, of_b.len())]));
    let (id, epoch) = of_b[0].clone();
    world.feed(Event::Released { holder: holder("b:1", "one"), id, epoch });
    world.feed(Event::LeaseEnded(holder("b:1", "one")));
    assert_eq!(unended(&world), Some(vec![row("a:1", false, of_a.len()), row("b:1", true, of_b.len() - 1)]));
    assert_eq!(world.core.unended(&connector("nothing")), None);
}

#[test]
fn a_word_that_is_being_stored_is_believed_already() {
    let mut world = two_agents();
    let (id, epoch) = held_by(&world, "b:1").remove(0);
    world.silent.insert("b:1".into());
    (0..2).for_each(|_| world.feed(Event::Tick));
    world.step(Event::Command(Ticket(1), create("d", &[])));
    world.step(Event::Released { holder: holder("b:1", "one"), id: id.clone(), epoch });
    let told = world.step(hello("a:1", "one", &[])).commits.remove(0).sends;
    let follows = told.iter().find_map(|send| match send {
        Send::Statement(_, Statement::Run(run)) if run.id == id => Some(run.follows_unreleased),
        Send::Statement(..) | Send::Reply(..) => None,
    });
    assert_eq!(follows, Some(false));
}

#[test]
fn a_process_is_told_what_changed_while_it_had_no_key() {
    let mut world = two_agents();
    world.step(Event::Command(Ticket(1), create("d", &[])));
    world.step(Event::LeaseEnded(holder("b:1", "one")));
    world.step(hello("b:1", "one", &[]));
    world.stored();
    assert_eq!(world.core.view.agents.len(), 2);
    world.step(Event::Command(Ticket(2), target("c", TargetState::Paused)));
    world.stored();
    assert_eq!(world.core.view.agents.len(), 1);
    let mut told = Vec::new();
    while !world.core.in_flight.is_empty() {
        told.extend(world.stored().commits.into_iter().flat_map(|commit| commit.sends));
    }
    let paused = |send: &Send| match send {
        Send::Statement(to, Statement::Run(run)) => to.agent.as_str() == "b:1" && run.paused,
        Send::Statement(..) | Send::Reply(..) => false,
    };
    assert_eq!(told.iter().filter(|send| paused(send)).count(), 2, "{told:?}");
}

#[test]
fn what_a_later_process_of_an_agent_held_is_shown_as_gone_with_it_too() {
    let mut world = running();
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    world.hello("a:1", "two");
    world.create("d", &[]);
    (0..3).for_each(|_| world.feed(Event::Tick));
    world.feed(Event::LeaseEnded(holder("a:1", "two")));
    world.feed(Event::Tick);
    let survey = AssignmentId::survey(&connector("d"));
    assert!(world.core.view.statuses[&survey].trace.contains("is gone"));
}

#[test]
fn who_came_back_and_went_again_is_waited_for_anew() {
    let world = two_agents();
    let id = held_by(&world, "b:1").remove(0).0;
    let (alive, patience) = (world.core.view.clone(), PATIENCE);
    let mut gone = alive.clone();
    gone.agents.remove(&world.assignment(&id).holder.agent);
    let mut releases = Releases::default();
    let holding = (world.assignment(&id).holder, world.assignment(&id).epoch);
    let mut is_over = |view: &View, boot_ms| {
        releases.wait_for_the_gone(view, &ByProcess::of_view(view), Now { boot_ms, wall_ms: 0 }, patience);
        releases.is_heard(&id, &holding)
    };
    assert!(!is_over(&gone, 1_000) && !is_over(&alive, 2_000));
    assert!(!is_over(&gone, 3_000) && !is_over(&gone, 2_999 + patience.released_after_ms));
    assert!(is_over(&gone, 3_000 + patience.released_after_ms));
}

#[test]
fn what_is_over_of_the_gone_is_theirs_alone() {
    let mut world = two_agents();
    world.feed(Event::LeaseEnded(holder("b:1", "one")));
    let held = held_by(&world, "a:1");
    (0..695).for_each(|_| world.feed(Event::Tick));
    assert_eq!(held_by(&world, "a:1"), held, "a:1 goes on");
    let words: BTreeSet<String> =
        world.core.view.releases.values().flatten().map(|(holder, _)| holder.agent.to_string()).collect();
    assert_eq!(words, BTreeSet::from(["b:1".to_owned()]));
}

#[test]
fn words_on_what_is_not_there_any_more_go() {
    let mut world = two_agents();
    let (id, word) =
        (AssignmentId::task(&connector("gone"), 1), (holder("b:1", "one"), AssignmentEpoch::default()));
    world.core.view.releases.insert(id, BTreeSet::from([word]));
    world.feed(Event::Tick);
    assert_eq!(world.core.view.releases, BTreeMap::new());
}

#[test]
fn a_former_holders_word_is_stored_for_the_next_leader() {
    let mut world = two_agents();
    let of_b = held_by(&world, "b:1");
    world.silent.insert("b:1".into());
    (0..2).for_each(|_| world.feed(Event::Tick));
    world.silent.clear();
    let (id, epoch) = of_b[0].clone();
    let released = |world: &mut World, epoch| {
        world.feed(Event::Released { holder: holder("b:1", "one"), id: id.clone(), epoch });
    };
    released(&mut world, AssignmentEpoch::default());
    assert_eq!(releases(&world, &id), [], "not what it never held");
    released(&mut world, epoch);
    assert_eq!(releases(&world, &id), [(holder("b:1", "one"), epoch)]);

    world.lead_anew();
    world.statements.clear();
    world.hello("a:1", "one");
    world.hello("b:1", "one");
    let asked = world.statements.iter().filter_map(|(agent, statement)| match statement {
        Statement::Release { id, .. } => Some((agent.as_str(), id)),
        Statement::Run(_) | Statement::SetComplete | Statement::Verdict(_) => None,
    });
    assert_eq!(asked.collect::<Vec<_>>(), [("b:1", &of_b[1].0)], "it is asked for the other one alone");
    let runs = world.runs();
    let follows = |of: &AssignmentId| runs.iter().find(|run| run.id == *of).unwrap().follows_unreleased;
    assert!(!follows(&id) && follows(&of_b[1].0));
    let former = |world: &World| world.core.view.assignments[&id].former.clone();
    assert_eq!(former(&world), [(holder("b:1", "one"), epoch)]);
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    let next: Vec<_> = former(&world).into_iter().map(|(holder, _)| holder).collect();
    assert_eq!(
        (next, releases(&world, &id)),
        (vec![holder("a:1", "one")], vec![]),
        "and the word has done its part"
    );
}

#[test]
fn a_process_that_gets_back_what_it_held_is_no_former_holder_of_it() {
    let mut world = two_agents();
    let (id, _) = held_by(&world, "b:1").remove(0);
    world.silent.insert("b:1".into());
    (0..2).for_each(|_| world.feed(Event::Tick));
    world.silent.clear();
    world.feed(Event::Tick);
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    let assignment = &world.core.view.assignments[&id];
    let former: Vec<_> = assignment.former.iter().map(|(holder, _)| holder.agent.as_str()).collect();
    assert_eq!((assignment.holder.agent.as_str(), former), ("b:1", vec!["a:1"]));
}

#[test]
fn nothing_ends_before_every_holder_has_released_it_or_cannot_be_at_work_any_more() {
    let asked = [target("c", TargetState::Stopped), delete("c")];
    for command in asked {
        for ending in ["word", "time", "operator"] {
            let mut world = two_agents();
            let of_b = held_by(&world, "b:1");
            world.silent.insert("b:1".into());
            (0..2).for_each(|_| world.feed(Event::Tick));
            world.statements.clear();
            assert_eq!(world.ask(1, command.clone()), None);
            world.confirm_releases();
            assert_eq!((world.reply(1), world.tasks("c").len()), (None, 3), "b:1 has not spoken");
            let (mut left, mut steps) = (of_b, 0);
            match ending {
                "word" => {
                    for (id, epoch) in left.drain(..) {
                        assert_eq!(world.reply(1), None);
                        world.feed(Event::Released { holder: holder("b:1", "one"), id, epoch });
                    }
                }
                "time" => {
                    world.feed(Event::Tick);
                    world.feed(Event::LeaseEnded(holder("b:1", "one")));
                    while world.reply(1).is_none() {
                        world.feed(Event::Tick);
                        steps += 1;
                    }
                    assert_eq!(steps, 1 + 691, "counted from when it was seen to be gone");
                }
                _ => {
                    let refused = world.ask(2, forget("b:1"));
                    assert!(matches!(refused, Some(Err(Failure::Conflict(_)))), "{refused:?}");
                    world.feed(Event::LeaseEnded(holder("b:1", "one")));
                    assert_eq!((world.reply(1), world.ask(3, forget("z:1"))), (None, Some(Ok(Answer::Done))));
                    assert_eq!((world.reply(1), world.ask(4, forget("b:1"))), (None, Some(Ok(Answer::Done))));
                }
            }
            assert_eq!(world.reply(1), Some(Ok(Answer::Done)), "{ending}");
            assert_eq!(world.core.view.releases, BTreeMap::new());
        }
    }
}

#[test]
fn a_new_generation_waits_for_former_holders_too() {
    let mut world = two_agents();
    let of_b = held_by(&world, "b:1");
    world.silent.insert("b:1".into());
    (0..2).for_each(|_| world.feed(Event::Tick));
    world.statements.clear();
    world.ask(1, put("c", &[("tasks.max", "1")]));
    world.confirm_releases();
    assert_eq!(world.tasks("c").len(), 3);
    for (id, epoch) in of_b {
        world.feed(Event::Released { holder: holder("b:1", "one"), id, epoch });
    }
    assert_eq!(world.tasks("c").len(), 0);
}

#[test]
fn what_waits_for_the_gone_says_so() {
    let mut world = two_agents();
    world.feed(Event::LeaseEnded(holder("b:1", "one")));
    world.statements.clear();
    world.ask(1, target("c", TargetState::Stopped));
    world.confirm_releases();
    let shown = world.core.status(&connector("c")).unwrap();
    let waits =
        |status: &Status| status.trace.contains("b:1 went away") && status.trace.contains("ForgetAgent");
    assert!(shown.tasks.iter().any(|(_, status)| waits(status)), "{shown:?}");

    world.ask(2, forget("b:1"));
    world.ask(3, target("c", TargetState::Running));
    for agent in ["d:1", "e:1"] {
        world.hello(agent, "one");
    }
    world.survey("c", ("S", "D"), &[("t", 3)]);
    for agent in ["e:1", "d:1"] {
        world.feed(Event::LeaseEnded(holder(agent, "one")));
    }
    world.statements.clear();
    world.ask(4, target("c", TargetState::Stopped));
    (0..3).for_each(|_| world.feed(Event::Tick));
    let shown = |world: &World| format!("{:?}", world.core.view.statuses);
    assert!(shown(&world).contains("d:1, e:1 went"), "{}", shown(&world));
    world.ask(5, forget("d:1"));
    world.feed(Event::Tick);
    let shown = shown(&world);
    assert!(shown.contains("e:1 went") && !shown.contains("d:1, e:1"), "d:1 was forgotten: {shown}");

    let mut world = two_agents();
    let ids: Vec<AssignmentId> = world.core.view.assignments.keys().cloned().collect();
    for id in &ids {
        world.report(id, InstanceState::Running, "");
    }
    for agent in ["b:1", "a:1"] {
        world.feed(Event::LeaseEnded(holder(agent, "one")));
    }
    world.feed(Event::Tick);
    let stored = world.core.view.statuses.values().filter(|status| status.trace.contains("is gone"));
    assert_eq!(stored.count(), 4);
    ids.iter().for_each(|id| world.report(id, InstanceState::Running, ""));
    let StatusView { connector, tasks, .. } = world.core.status(&connector("c")).unwrap();
    for status in tasks.iter().map(|(_, status)| status).chain([&connector]) {
        assert_eq!(status.state, InstanceState::Unassigned);
        assert!(status.trace.contains("is gone, and there is no other one"), "{}", status.trace);
    }
}

#[test]
fn the_end_of_a_former_lease_may_be_heard_after_the_next_process() {
    let mut world = two_agents();
    world.refuse_next = true;
    let hello = hello("b:1", "two", &[]);
    let planned = world.step(hello);
    assert_eq!(planned.commits.iter().map(|commit| commit.writes.len()).sum::<usize>(), 1);
    world.perform(Event::LeaseEnded(holder("b:1", "one")));
    world.perform(Event::Refused);
    world.feed(Event::Tick);
    assert_eq!(world.core.view.agents[&"b:1".parse().unwrap()].incarnation, "two");
    let former = |it: &Assignment| it.former.iter().any(|(former, _)| *former == holder("b:1", "one"));
    assert!(world.core.view.assignments.values().any(former));
}

#[test]
fn a_process_whose_lease_ended_gets_a_key_again_however_soon_it_is_back() {
    let mut world = two_agents();
    let command = Event::Command(Ticket(1), create("d", &[]));
    let planned = world.step(command);
    assert!(planned.commits.iter().any(|commit| !commit.writes.is_empty()), "a commit is in flight");
    world.step(Event::LeaseEnded(holder("b:1", "one")));
    world.step(hello("b:1", "one", &[]));
    let written =
        |decision: Decision| {
            let writes = decision.commits.into_iter().flat_map(|commit| commit.writes);
            let of_agents = writes.filter_map(|write| {
                if let Write::Agent(_, value) = write { Some(value.is_some()) } else { None }
            });
            of_agents.collect::<Vec<_>>()
        };
    let mut writes = Vec::new();
    for _ in 0..4 {
        writes.extend(written(world.stored()));
    }
    assert_eq!(writes, [false, true]);
}

#[test]
fn epochs_that_this_store_never_gave_raise_its_incarnation_and_all_is_assigned_anew() {
    let epoch = |incarnation, revision| AssignmentEpoch { incarnation, revision: StoreRevision(revision) };
    let survey = AssignmentId::survey(&connector("c"));
    let unknown = AssignmentId::survey(&connector("lost"));
    let newest = two_agents().core.view.revision.0;
    let held = two_agents().core.view.assignments[&survey].epoch.revision.0;
    let rows = [
        (survey.clone(), epoch(0, held), String::new(), 0),
        (survey.clone(), epoch(0, held + 1), String::new(), 1),
        (survey.clone(), epoch(4, 1), String::new(), 5),
        (unknown.clone(), epoch(0, newest), String::new(), 0),
        (unknown.clone(), epoch(0, newest + 1), "same".to_owned(), 1),
        (unknown, epoch(9, newest + 1), "another".to_owned(), 0),
    ];
    for (id, epoch, store_id, incarnation) in rows {
        let mut world = two_agents();
        world.core.view.meta.store_id = "same".into();
        let before = world.core.view.assignments.clone();
        let Event::Hello(mut hello) = hello("a:1", "one", &[(id.clone(), epoch)]) else { unreachable!() };
        hello.store_id.clone_from(&store_id);
        world.feed(Event::Hello(hello));
        assert_eq!(world.core.view.meta.incarnation, incarnation, "{id} {epoch} {store_id}");
        for (id, assignment) in &world.core.view.assignments {
            assert_eq!(assignment.epoch.incarnation, incarnation);
            let former: Vec<_> =
                assignment.former.iter().map(|(holder, _)| holder.incarnation.as_str()).collect();
            let someone = if incarnation == 0 { vec![] } else { vec![""] };
            assert!(former.ends_with(&someone), "who held {id} is not known: {former:?}");
            assert_eq!(assignment.epoch == before[id].epoch, incarnation == 0);
        }
    }
}

#[test]
fn the_highest_epoch_that_any_agent_holds_counts() {
    let held = |incarnation| {
        let epoch = AssignmentEpoch { incarnation, revision: StoreRevision(1) };
        [(AssignmentId::survey(&connector("c")), epoch)]
    };
    let mut world = two_agents();
    world.commits.clear();
    world.perform_all([
        Event::Command(Ticket(1), create("d", &[])),
        hello("a:1", "one", &held(2)),
        hello("b:1", "one", &held(4)),
        hello("a:1", "one", &held(3)),
        hello("a:1", "one", &[]),
    ]);
    assert_eq!((world.core.view.meta.incarnation, &world.commits), (5, &vec![1, 1, 5]), "at once");
}

#[test]
fn of_an_agent_that_runs_again_the_processes_before_are_forgotten() {
    let mut world = two_agents();
    let (id, epoch) = held_by(&world, "b:1")[0].clone();
    world.hello("b:1", "two");
    world.feed(Event::LeaseEnded(holder("b:1", "one")));
    (0..3).for_each(|_| world.feed(Event::Tick));
    let unreleased = |world: &World| world.core.view.unreleased(&id).map(|(by, _)| by).collect::<Vec<_>>();
    assert!(unreleased(&world).contains(&holder("b:1", "one")), "{:?}", unreleased(&world));
    let now = held_by(&world, "b:1");
    assert_eq!(world.ask(1, forget("b:1")), Some(Ok(Answer::Done)));
    assert!(releases(&world, &id).contains(&(holder("b:1", "one"), epoch)));
    assert_eq!(held_by(&world, "b:1"), now, "what runs runs on");
    assert!(
        matches!(world.ask(2, forget("b:1")), Some(Err(Failure::Conflict(_)))),
        "nobody is left to forget"
    );
}
