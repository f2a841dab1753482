//! Changes of offsets: when they may be, and what they are shielded from. The marks of active topics.

use super::*;

fn begin(removed: Removed) -> Command {
    begin_by("one", removed)
}

fn begin_by(by: &str, removed: Removed) -> Command {
    Command::BeginAlteration { name: connector("c"), by: by.to_owned(), removed }
}

fn end(altered: &str) -> Command {
    Command::EndAlteration { name: connector("c"), by: "one".to_owned(), altered: altered.to_owned() }
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

fn surveyed(world: &World) -> bool {
    world.core.view.connectors[&connector("c")].surveyed
}

#[test]
fn what_is_not_stopped_keeps_its_offsets() {
    let refused = |world: &mut World| match world.ask(7, begin(Removed::All)) {
        Some(Err(Failure::Invalid(text))) => text,
        other => panic!("{other:?}"),
    };
    let mut world = copying();
    let told = refused(&mut world);
    assert!(told.contains("STOPPED") && told.contains("'/connectors/c/stop'"), "{told}");
    world.replies.clear();
    world.ask(1, target("c", TargetState::Paused));
    refused(&mut world);
    world.replies.clear();
    world.ask(2, target("c", TargetState::Stopped));
    refused(&mut world);
    assert_eq!(lanes(&world).len(), 2);
    world.confirm_releases();
    world.replies.clear();
    assert_eq!(world.ask(8, begin(Removed::All)), Some(Ok(Answer::Done)));
    let unknown =
        Command::BeginAlteration { name: connector("d"), by: "one".to_owned(), removed: Removed::All };
    let told = Failure::NotFound("Connector d not found".to_owned());
    assert_eq!(world.ask(9, unknown), Some(Err(told)));
}

#[test]
fn a_removed_position_takes_the_lane_record_with_it() {
    let mut world = stopped();
    assert_eq!(world.ask(1, begin(Removed::Lanes([lane(1), lane(9)].into()))), Some(Ok(Answer::Done)));
    assert_eq!((lanes(&world), surveyed(&world)), (vec![lane(0)], true));
    world.ask(2, end(""));
    assert_eq!(world.ask(3, begin(Removed::All)), Some(Ok(Answer::Done)));
    assert_eq!((lanes(&world), surveyed(&world)), (vec![], false), "it starts by its reset key again");
}

#[test]
fn nothing_runs_and_nothing_else_changes_while_offsets_are_changed() {
    let mut world = stopped();
    world.ask(1, begin(Removed::Lanes(BTreeSet::new())));
    let others = [
        target("c", TargetState::Running),
        target("c", TargetState::Paused),
        delete("c"),
        begin_by("two", Removed::All),
        Command::EndAlteration { name: connector("c"), by: "two".to_owned(), altered: String::new() },
    ];
    for (ticket, command) in (10..).zip(&others) {
        let reply = world.ask(ticket, command.clone());
        assert!(matches!(reply, Some(Err(Failure::Conflict(_)))), "{command:?}: {reply:?}");
    }
    assert_eq!(world.ask(20, target("c", TargetState::Stopped)), Some(Ok(Answer::Done)), "it is");
    world.ask(2, end("what it does"));
    assert_eq!(world.connector_state("c"), (InstanceState::Stopped, "what it does".to_owned()));
    assert_eq!(world.ask(30, target("c", TargetState::Running)), Some(Ok(Answer::Done)));
    assert_eq!(world.runs().len(), 1);
}

#[test]
fn an_end_that_does_not_come_is_waited_for_two_minutes() {
    let mut world = stopped();
    world.ask(1, begin(Removed::Lanes(BTreeSet::new())));
    world.pass(119_999);
    assert!(matches!(world.ask(2, target("c", TargetState::Running)), Some(Err(Failure::Conflict(_)))));
    world.pass(1);
    assert_eq!(world.ask(3, target("c", TargetState::Running)), Some(Ok(Answer::Done)));
}

#[test]
fn a_begin_that_is_planned_again_is_not_in_its_own_way() {
    let mut world = stopped();
    world.refuse_next = true;
    assert_eq!(world.ask(1, begin(Removed::All)), Some(Ok(Answer::Done)));
    assert_eq!(lanes(&world), []);
}

#[test]
fn what_a_change_does_is_shown_until_the_connector_is_restarted() {
    let mut world = stopped();
    world.ask(1, begin(Removed::Lanes(BTreeSet::new())));
    world.ask(2, end("it does this"));
    world.ask(3, end(""));
    world.ask(4, target("c", TargetState::Running));
    let survey = AssignmentId::survey(&connector("c"));
    world.report(&survey, InstanceState::Running, "raw");
    assert_eq!(world.connector_state("c"), (InstanceState::Running, "raw\nit does this".to_owned()));
    let restart = Command::Restart { name: connector("c"), include_tasks: false, only_failed: true };
    world.ask(5, restart);
    assert_eq!(world.connector_state("c").1, "raw\nit does this", "it has not failed");
    let restart = Command::Restart { name: connector("c"), include_tasks: false, only_failed: false };
    world.ask(6, restart);
    assert_eq!(world.connector_state("c").1, "raw");
    let unknown =
        Command::EndAlteration { name: connector("d"), by: "one".to_owned(), altered: String::new() };
    assert!(matches!(world.ask(7, unknown), Some(Err(Failure::NotFound(_)))));
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
