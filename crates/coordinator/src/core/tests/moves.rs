//! What operators move, and what they are told of where things are.

use copyist_model::Part;

use super::*;

fn task(number: u32) -> AssignmentId {
    AssignmentId::task(&connector("c"), number)
}

fn to(id: &AssignmentId, agent: &str) -> Command {
    Command::Move { id: id.clone(), to: agent.parse().unwrap() }
}

/// Connector c, its survey and three tasks of one lane, in balance on a:1 and b:1.
fn balanced() -> World {
    let mut world = World::with_agent();
    world.hello("b:1", "one");
    world.create("c", &[]);
    world.survey("c", ("S", "D"), &[("t", 3)]);
    world.feed(Event::Tick);
    world.statements.clear();
    assert_eq!((on(&world, "a:1"), on(&world, "b:1")), (2, 2));
    world
}

fn on(world: &World, agent: &str) -> usize {
    world.core.view.assignments.values().filter(|it| it.holder.agent.as_str() == agent).count()
}

/// A task of a:1.
fn one_of_a(world: &World) -> AssignmentId {
    let mut of_a = world.core.view.assignments.iter().filter(|(_, it)| it.holder.agent.as_str() == "a:1");
    of_a.find(|(id, _)| id.part != Part::Survey).unwrap().0.clone()
}

#[test]
fn a_part_is_moved_once_it_is_released_and_stays_where_it_was_put() {
    let mut world = balanced();
    let id = one_of_a(&world);
    assert_eq!(world.ask(1, to(&id, "b:1")), None, "it is not there yet");
    assert_eq!(world.core.whereabouts(&id).unwrap().moving_to, Some("b:1".parse().unwrap()));
    assert!(world.core.whereabouts(&id).unwrap().reason.ends_with("; an operator moves it to b:1"));
    world.confirm_releases();
    assert_eq!(world.reply(1), Some(Ok(Answer::Done)));
    let moved = world.assignment(&id);
    assert_eq!((moved.holder.agent.as_str(), moved.pinned, moved.former.len()), ("b:1", true, 0));
    for _ in 0..5 {
        world.feed(Event::Tick);
        world.confirm_releases();
    }
    assert_eq!(world.assignment(&id), moved, "balance leaves it alone");
    let shown = world.core.whereabouts(&id).unwrap();
    assert!(shown.pinned && shown.reason.ends_with("; an operator put it there, so it stays"), "{shown:?}");
    world.lead_anew();
    world.hello("a:1", "one");
    world.hello("b:1", "one");
    world.feed(Event::Tick);
    assert_eq!(world.assignment(&id), moved, "whoever leads");
}

#[test]
fn what_is_pinned_goes_with_its_agent_and_is_not_pinned_elsewhere() {
    let mut world = balanced();
    let id = one_of_a(&world);
    world.ask(1, to(&id, "b:1"));
    world.confirm_releases();
    world.ask(2, Command::DrainAgent { agent: "b:1".parse().unwrap(), drained: true });
    for _ in 0..5 {
        world.feed(Event::Tick);
        world.confirm_releases();
    }
    let moved = world.assignment(&id);
    assert_eq!((moved.holder.agent.as_str(), moved.pinned), ("a:1", false));
}

#[test]
fn a_move_that_does_not_get_there_says_where_the_part_is() {
    let mut world = balanced();
    let id = one_of_a(&world);
    assert_eq!(world.ask(1, to(&id, "b:1")), None);
    world.feed(Event::LeaseEnded(holder("b:1", "one")));
    world.confirm_releases();
    let text = format!("{id} did not get to b:1: it is with a:1");
    assert_eq!(world.reply(1), Some(Err(Failure::Conflict(text))));

    let mut world = balanced();
    assert_eq!(world.ask(1, to(&id, "b:1")), None);
    world.ask(2, Command::Delete { request: String::new(), name: connector("c") });
    world.confirm_releases();
    world.feed(Event::Tick);
    let text = format!("{id} did not get to b:1: it is not to run any more");
    assert_eq!(world.reply(1), Some(Err(Failure::Conflict(text))));
}

#[test]
fn what_moves_goes_to_nobody_who_may_not_have_it_by_then() {
    type Happens<'a> = (&'a str, &'a dyn Fn(&mut World));
    let drained = |world: &mut World| {
        world.ask(5, Command::DrainAgent { agent: "b:1".parse().unwrap(), drained: true });
    };
    let stops = |world: &mut World| world.feed(Event::Draining(holder("b:1", "one")));
    let leaves = |world: &mut World| world.feed(Event::SessionEnded(holder("b:1", "one")));
    let silent = |world: &mut World| {
        world.silent.insert("b:1".to_owned());
        (0..3).for_each(|_| world.feed(Event::Tick));
    };
    let rows: [Happens; 4] =
        [("drained", &drained), ("stops", &stops), ("leaves", &leaves), ("silent", &silent)];
    for (what, happens) in rows {
        let mut world = balanced();
        let id = one_of_a(&world);
        assert_eq!(world.ask(1, to(&id, "b:1")), None, "{what}");
        happens(&mut world);
        world.confirm_releases();
        let text = format!("{id} did not get to b:1: it is with a:1");
        assert_eq!(world.reply(1), Some(Err(Failure::Conflict(text))), "{what}");
        assert!(!world.assignment(&id).pinned, "{what}");
    }
}

#[test]
fn what_moves_away_may_be_called_back() {
    let mut world = balanced();
    let id = one_of_a(&world);
    assert_eq!(world.ask(1, to(&id, "b:1")), None);
    assert_eq!(world.ask(2, to(&id, "a:1")), None, "it is about to leave");
    world.confirm_releases();
    let text = format!("{id} did not get to b:1: it is with a:1");
    assert_eq!(world.reply(1), Some(Err(Failure::Conflict(text))));
    assert_eq!(world.reply(2), Some(Ok(Answer::Done)));
    assert!(world.assignment(&id).pinned);
}

#[test]
fn what_nobody_runs_is_not_moved_nor_to_an_agent_without_the_labels() {
    let mut world = World::with_agent();
    world.create("c", &[("agent.labels", "zone=x")]);
    let survey = AssignmentId::survey(&connector("c"));
    let refusal =
        |because: &str| Some(Err(Failure::Conflict(format!("{survey} cannot go to a:1: {because}"))));
    assert_eq!(world.ask(1, to(&survey, "a:1")), refusal("nobody runs it now: try again"));
    world.feed(Event::Hello(Box::new(Hello {
        holder: holder("b:1", "one"),
        rack: String::new(),
        labels: [("zone".to_owned(), "x".to_owned())].into(),
        running: Vec::new(),
        store_id: String::new(),
        is_settled: true,
    })));
    assert_eq!(world.assignment(&survey).holder, holder("b:1", "one"));
    assert_eq!(world.ask(2, to(&survey, "a:1")), refusal("agent a:1 does not have the label zone=x"));
}

#[test]
fn what_is_there_already_is_answered_at_once() {
    let mut world = balanced();
    let id = one_of_a(&world);
    assert_eq!(world.ask(1, to(&id, "a:1")), Some(Ok(Answer::Done)));
    assert!(!world.assignment(&id).pinned);
}

#[test]
fn what_cannot_go_somewhere_is_refused_with_the_reason() {
    let conflict = |because: &str| Failure::Conflict(format!("c/1 cannot go to b:1: {because}"));
    let refusal = |prepare: &dyn Fn(&mut World), id: &AssignmentId, agent: &str| {
        let mut world = balanced();
        prepare(&mut world);
        world.ask(1, to(id, agent)).unwrap().unwrap_err()
    };
    let other = AssignmentId::survey(&connector("d"));
    let nothing = |_: &mut World| {};
    assert_eq!(refusal(&nothing, &other, "b:1"), Failure::NotFound("Unknown connector: d".into()));
    assert_eq!(refusal(&nothing, &task(7), "b:1"), Failure::NotFound("Unknown task: c-7".into()));
    assert_eq!(refusal(&nothing, &task(1), "x:1"), Failure::NotFound("Unknown agent: x:1".into()));
    type Prepare<'a> = &'a dyn Fn(&mut World);
    let drain = |world: &mut World| {
        world.ask(5, Command::DrainAgent { agent: "b:1".parse().unwrap(), drained: true });
    };
    let stop = |world: &mut World| {
        let (request, target) = (String::new(), TargetState::Stopped);
        world.ask(5, Command::SetTarget { request, name: connector("c"), target });
    };
    let leave = |world: &mut World| world.feed(Event::SessionEnded(holder("b:1", "one")));
    let silence = |world: &mut World| {
        world.silent.insert("b:1".to_owned());
        (0..3).for_each(|_| world.feed(Event::Tick));
    };
    let stops = |world: &mut World| world.feed(Event::Draining(holder("b:1", "one")));
    let rows: [(Prepare, &str); 5] = [
        (&drain, "agent b:1 is being drained"),
        (&stops, "agent b:1 is being drained"),
        (&stop, "it is not to run now"),
        (&leave, "agent b:1 has no session with the leader: try again"),
        (&silence, "agent b:1 was silent for too long"),
    ];
    for (prepare, because) in rows {
        assert_eq!(refusal(prepare, &task(1), "b:1"), conflict(because));
    }
}

#[test]
fn agents_are_shown_with_what_they_carry() {
    let mut world = balanced();
    world.silent.insert("b:1".to_owned());
    world.feed(Event::Tick);
    world.ask(5, Command::DrainAgent { agent: "a:1".parse().unwrap(), drained: true });
    let before: Vec<(String, bool, bool, bool, usize, usize)> = shown(&world);
    assert_eq!(
        before,
        [("a:1".to_owned(), true, false, true, 2, 2), ("b:1".to_owned(), true, false, false, 2, 2)]
    );
    (0..2).for_each(|_| world.feed(Event::Tick));
    assert!(shown(&world)[1].2, "b:1 is suspect");
    world.feed(Event::SessionEnded(holder("b:1", "one")));
    assert!(!shown(&world)[1].1, "b:1 has no session");
    assert_eq!(world.core.agent(&"x:1".parse().unwrap()), None);
}

fn shown(world: &World) -> Vec<(String, bool, bool, bool, usize, usize)> {
    let agents = world.core.agents().into_iter();
    agents
        .map(|it| (it.process.agent.to_string(), it.connected, it.suspect, it.draining, it.parts, it.lanes))
        .collect()
}

#[test]
fn where_a_part_is_comes_with_the_reason() {
    let mut world = World::with_agent();
    world.hello("b:1", "one");
    world.create("c", &[("agent.labels", "zone=x")]);
    let survey = AssignmentId::survey(&connector("c"));
    let nowhere = world.core.whereabouts(&survey).unwrap();
    assert_eq!(
        (nowhere.holder, nowhere.reason.as_str()),
        (None, "waits for an agent with the labels zone=x")
    );
    assert_eq!(world.core.whereabouts(&task(0)), None, "there is no such task");

    let mut world = balanced();
    let id = one_of_a(&world);
    let stays = "it stays unless its agent has more lanes on top of the idlest than its heaviest part";
    let reason = world.core.whereabouts(&id).unwrap().reason;
    assert_eq!(reason, format!("a:1 has 2 lanes; no agent that may have it has less; {stays}"));
    world.silent.insert("a:1".to_owned());
    (0..2).for_each(|_| world.feed(Event::Tick));
    let shown = world.core.whereabouts(&id).unwrap();
    assert_eq!(shown.former, ["a:1".parse().unwrap()], "it has not confirmed the release");
    assert!(
        shown.reason.starts_with("b:1 has 4 lanes; no agent that may have it has less"),
        "{}",
        shown.reason
    );
}

#[test]
fn a_silent_agent_keeps_what_no_other_one_may_have_and_that_is_said() {
    let mut world = balanced();
    let id = one_of_a(&world);
    world.ask(5, Command::DrainAgent { agent: "b:1".parse().unwrap(), drained: true });
    world.silent.insert("a:1".to_owned());
    (0..3).for_each(|_| world.feed(Event::Tick));
    let reason = world.core.whereabouts(&id).unwrap().reason;
    let expected = "a:1 was silent for too long, and no other one can take over; no agent may take it now; ";
    assert!(reason.starts_with(expected), "{reason}");
}
