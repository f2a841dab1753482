//! Changes of offsets: when they may be, and what they are shielded from. The marks of active topics.

use copyist_model::{LaneGeneration, LaneHeld};

use super::*;

fn begin(by: &str) -> Command {
    Command::BeginAlteration { name: connector("c"), by: by.to_owned() }
}

fn end(told: &str) -> Command {
    end_by("one", altered(told))
}

fn end_by(by: &str, altered: Altered) -> Command {
    Command::EndAlteration { name: connector("c"), by: by.to_owned(), altered }
}

fn altered(told: &str) -> Altered {
    Altered { lanes: BTreeMap::new(), is_reset: false, told: told.to_owned() }
}

fn lane(partition: i32) -> LaneId {
    LaneId {
        connector: connector("c"),
        source_cluster: "S".parse().unwrap(),
        topic: "t".parse().unwrap(),
        partition,
    }
}

/// Connector c with two lanes that have a record.
fn copying() -> World {
    let mut world = running();
    for partition in 0..2 {
        let proposal = world.proposal("c", partition, 0, 1);
        world.feed(Event::Proposed(vec![proposal]));
    }
    assert_eq!(lanes(&world), [lane(0), lane(1)]);
    world.statements.clear();
    world
}

fn stopped() -> World {
    let mut world = copying();
    assert_eq!(world.ask(1, target("c", TargetState::Stopped)), None, "its parts are to be released");
    world.confirm_releases();
    assert_eq!(world.reply(1), Some(Ok(Answer::Done)));
    world.replies.clear();
    world.statements.clear();
    world
}

fn lanes(world: &World) -> Vec<LaneId> {
    world.core.view.lanes.keys().cloned().collect()
}

/// By partition, the generation that holds, or the one that is over.
fn held(world: &World) -> Vec<(i32, Result<u64, u64>)> {
    let shown = |held: &LaneHeld| match held {
        LaneHeld::Record(record) => Ok(record.generation.0),
        LaneHeld::Altered(generation) => Err(generation.0),
    };
    world.core.view.lanes.iter().map(|(lane, held)| (lane.partition, shown(held))).collect()
}

fn is_conflict(reply: &Option<Result<Answer, Failure>>) -> bool {
    matches!(reply, Some(Err(Failure::Conflict(_))))
}

fn surveyed(world: &World) -> bool {
    world.core.view.connectors[&connector("c")].surveyed
}

#[test]
fn what_is_not_stopped_keeps_its_offsets() {
    let refused = |world: &mut World| {
        for command in [begin("one"), end("")] {
            let told = match world.ask(7, command) {
                Some(Err(Failure::Invalid(text))) => text,
                other => panic!("{other:?}"),
            };
            assert!(told.contains("STOPPED") && told.contains("'/connectors/c/stop'"), "{told}");
            world.replies.clear();
        }
    };
    let mut world = copying();
    refused(&mut world);
    world.ask(1, target("c", TargetState::Paused));
    refused(&mut world);
    world.ask(2, target("c", TargetState::Stopped));
    refused(&mut world);
    assert_eq!(held(&world), [(0, Ok(1)), (1, Ok(1))]);
    world.confirm_releases();
    world.replies.clear();
    assert_eq!(world.ask(8, begin("one")), Some(Ok(Answer::Done)));
    for (ticket, unknown) in [
        (9, Command::BeginAlteration { name: connector("d"), by: "one".to_owned() }),
        (10, Command::EndAlteration { name: connector("d"), by: "one".to_owned(), altered: altered("") }),
    ] {
        let told = Failure::NotFound("Connector d not found".to_owned());
        assert_eq!(world.ask(ticket, unknown), Some(Err(told)));
    }
}

#[test]
fn the_end_leaves_of_each_record_which_generation_is_over() {
    let mut world = stopped();
    world.ask(1, begin("one"));
    assert_eq!(held(&world), [(0, Ok(1)), (1, Ok(1))], "nothing is over before positions are written");
    // An agent knows of a newer one of lane 1, of one of lane 2 that the store has lost, and of none of lane 9.
    let newest =
        [(1, 4), (2, 3), (9, 0)].map(|(partition, newest)| (lane(partition), LaneGeneration(newest)));
    let altered = Altered { lanes: newest.into(), ..altered("") };
    assert_eq!(world.ask(2, end_by("one", altered)), Some(Ok(Answer::Altered(String::new()))));
    assert_eq!(held(&world), [(0, Ok(1)), (1, Err(4)), (2, Err(3))]);
    assert!(surveyed(&world));

    // It goes on above what is over, and not otherwise.
    world.ask(3, target("c", TargetState::Running));
    world.survey("c", ("S", "D"), &[("t", 2)]);
    let told: BTreeMap<LaneId, LaneHeld> = world.runs().into_iter().flat_map(|run| run.records).collect();
    assert_eq!(told.get(&lane(1)), Some(&LaneHeld::Altered(LaneGeneration(4))), "{told:?}");
    for (replaces, generation, fixed) in [(0, 5, false), (4, 4, false), (4, 5, true)] {
        let proposal = world.proposal("c", 1, replaces, generation);
        world.feed(Event::Proposed(vec![proposal]));
        let expected = if fixed { Ok(5) } else { Err(4) };
        assert_eq!(held(&world)[1], (1, expected), "{replaces} -> {generation}");
    }
}

#[test]
fn a_reset_begins_anew_by_the_reset_key() {
    let mut world = stopped();
    let marks = [("t.copy".parse().unwrap(), 5)].into();
    world.ask(1, Command::ResetTopics { name: connector("c"), marks });
    world.ask(2, begin("one"));
    let lanes = [lane(0), lane(1)].map(|lane| (lane, LaneGeneration(0)));
    let reset = Altered { lanes: lanes.into(), is_reset: true, ..altered("") };
    world.ask(3, end_by("one", reset));
    assert_eq!((held(&world), surveyed(&world)), (vec![(0, Err(1)), (1, Err(1))], false));
    assert!(world.core.view.topic_marks.is_empty(), "what is copied is counted anew");
    // And once more: there is nothing left to end.
    world.ask(4, begin("two"));
    world.commits.clear();
    let reset = Altered { lanes: [(lane(0), LaneGeneration(0))].into(), is_reset: true, ..altered("") };
    world.ask(5, end_by("two", reset));
    assert_eq!(world.commits, [2], "the connector, and the answer");
    world.ask(6, delete("c"));
    world.confirm_releases();
    assert_eq!(held(&world), [], "they go with their connector");
}

#[test]
fn nothing_runs_and_nothing_else_changes_while_offsets_are_changed() {
    let mut world = stopped();
    world.ask(1, begin("one"));
    let others = [
        target("c", TargetState::Running),
        target("c", TargetState::Paused),
        delete("c"),
        begin("two"),
        end_by("two", altered("")),
    ];
    for (term, anew) in (1..).zip([false, true]) {
        if anew {
            world.lead_anew();
            world.hello("a:1", "one");
        }
        for (ticket, command) in (100 * term..).zip(&others) {
            let reply = world.ask(ticket, command.clone());
            assert!(is_conflict(&reply), "term {term}: {command:?}: {reply:?}");
        }
    }
    assert_eq!(world.ask(20, target("c", TargetState::Stopped)), Some(Ok(Answer::Done)), "it is");
    assert_eq!(world.ask(21, begin("one")), Some(Ok(Answer::Done)), "a repetition goes on");
    world.ask(2, end("what it does"));
    assert_eq!(world.connector_state("c"), (InstanceState::Stopped, "what it does".to_owned()));
    assert_eq!(world.ask(30, target("c", TargetState::Running)), Some(Ok(Answer::Done)));
    assert_eq!(world.runs().len(), 1);
}

#[test]
fn a_repetition_of_the_end_gets_the_first_ones_answer() {
    let mut world = stopped();
    world.ask(1, begin("one"));
    let told = Some(Ok(Answer::Altered("how".to_owned())));
    assert_eq!(world.ask(2, end("how")), told);
    world.ask(3, target("c", TargetState::Running));
    world.lead_anew();
    assert_eq!(world.ask(4, end("otherwise")), told);
    assert_eq!(world.core.view.connectors[&connector("c")].altered, "how");
}

#[test]
fn an_end_that_does_not_come_is_waited_for_two_minutes() {
    let mut world = stopped();
    world.ask(1, begin("one"));
    world.pass(119_999);
    assert!(is_conflict(&world.ask(2, target("c", TargetState::Running))));
    world.pass(1);
    assert_eq!(world.ask(3, target("c", TargetState::Running)), Some(Ok(Answer::Done)));
    assert!(matches!(world.ask(4, end("late")), Some(Err(Failure::Invalid(_)))), "it runs");
}

#[test]
fn an_end_without_its_begin_ends_nothing() {
    let mut world = stopped();
    world.ask(1, begin("one"));
    world.pass(120_000);
    world.ask(2, begin("two"));
    world.ask(3, end_by("two", altered("")));
    let lanes = [(lane(0), LaneGeneration(9))].into();
    let reply = world.ask(4, end_by("one", Altered { lanes, ..altered("late") }));
    assert!(is_conflict(&reply), "{reply:?}");
    assert_eq!(held(&world), [(0, Ok(1)), (1, Ok(1))]);
}

#[test]
fn a_clock_that_was_set_back_holds_nothing_up() {
    let mut world = stopped();
    world.now.wall_ms += 3_600_000;
    world.ask(1, begin("one"));
    world.now.wall_ms -= 3_600_000;
    assert_eq!(world.ask(2, target("c", TargetState::Running)), Some(Ok(Answer::Done)));
}

#[test]
fn a_begin_that_is_planned_again_is_not_in_its_own_way() {
    let mut world = stopped();
    world.refuse_next = true;
    assert_eq!(world.ask(1, begin("one")), Some(Ok(Answer::Done)));
}

#[test]
fn what_a_change_does_is_shown_until_the_connector_is_restarted() {
    let mut world = stopped();
    world.ask(1, begin("one"));
    world.ask(2, end("it does this"));
    world.ask(3, begin("two"));
    world.ask(4, end_by("two", altered("")));
    world.ask(5, target("c", TargetState::Running));
    let survey = AssignmentId::survey(&connector("c"));
    world.report(&survey, InstanceState::Running, "raw");
    assert_eq!(world.connector_state("c"), (InstanceState::Running, "raw\nit does this".to_owned()));
    let restart = Command::Restart { name: connector("c"), include_tasks: false, only_failed: true };
    world.ask(6, restart);
    assert_eq!(world.connector_state("c").1, "raw\nit does this", "it has not failed");
    let restart = Command::Restart { name: connector("c"), include_tasks: false, only_failed: false };
    world.ask(7, restart);
    assert_eq!(world.connector_state("c").1, "raw");
}

#[test]
fn the_first_agent_that_can_is_asked() {
    let mut world = World::new();
    let asked = |world: &World| world.core.respondent().map(|holder| holder.agent.to_string());
    assert_eq!(asked(&world), None);
    world.hello("b:1", "one");
    world.hello("c:1", "one");
    assert_eq!(asked(&world).as_deref(), Some("b:1"));
    let Event::Hello(mut hello) = hello("a:1", "one", &[]) else { unreachable!() };
    hello.is_settled = false;
    world.feed(Event::Hello(hello));
    assert_eq!(asked(&world).as_deref(), Some("b:1"), "a:1 may copy elsewhere");
    world.feed(Event::Settled(holder("a:1", "one")));
    assert_eq!(asked(&world).as_deref(), Some("a:1"));
    world.feed(Event::Draining(holder("a:1", "one")));
    assert_eq!(asked(&world).as_deref(), Some("b:1"), "a:1 is about to go");
    world.silent.insert("b:1".to_owned());
    (0..3).for_each(|_| world.feed(Event::Tick));
    assert_eq!(asked(&world).as_deref(), Some("c:1"));
    world.feed(Event::LeaseEnded(holder("c:1", "one")));
    assert_eq!(asked(&world).as_deref(), Some("a:1"), "better than nobody");
}

#[test]
fn marks_of_topics_are_stored_once_and_go_with_their_connector() {
    let mut world = running();
    let reset = |name: &str, progress| {
        let marks = [("t.copy".parse().unwrap(), progress)].into();
        Command::ResetTopics { name: connector(name), marks }
    };
    assert_eq!(world.ask(1, reset("d", 5)), Some(Ok(Answer::Done)), "as in Connect");
    assert_eq!(world.core.view.topic_marks.len(), 0);
    world.ask(2, reset("c", 5));
    world.ask(3, reset("c", 7));
    let commits = world.commits.len();
    world.ask(4, reset("c", 7));
    assert_eq!(world.commits.len(), commits, "it is so already");
    let marks = world.core.view.topic_marks[&connector("c")].clone();
    assert_eq!(marks.into_values().collect::<Vec<_>>(), [7]);
    let topic = |number: u32| format!("{number:0>240}").parse().unwrap();
    let marks = (0..5_000).map(|number| (topic(number), 1)).collect();
    let too_many = world.ask(5, Command::ResetTopics { name: connector("c"), marks });
    assert!(matches!(too_many, Some(Err(Failure::Invalid(_)))), "{too_many:?}");
    world.ask(6, delete("c"));
    world.confirm_releases();
    assert_eq!(world.core.view.topic_marks.len(), 0);
}
