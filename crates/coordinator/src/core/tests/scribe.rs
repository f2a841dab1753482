//! Whom the duty of the scribe goes to.

use super::*;

fn scribe(world: &World) -> Option<String> {
    world.core.scribe().map(|holder| format!("{} {}", holder.agent, holder.incarnation))
}

/// Three agents, of which a:1 would be the scribe, and that become able in the order c, b, a.
fn world() -> World {
    let mut world = World::new();
    for agent in ["c:1", "b:1", "a:1"] {
        world.hello(agent, "one");
    }
    assert_eq!(scribe(&world).as_deref(), Some("a:1 one"));
    world
}

#[test]
fn the_first_agent_that_comes_is_the_scribe_and_the_first_by_id_of_several() {
    let mut world = World::new();
    assert_eq!(scribe(&world), None);
    world.hello("b:1", "one");
    assert_eq!(scribe(&world).as_deref(), Some("b:1 one"));
    world.hello("c:1", "one");
    assert_eq!(scribe(&world).as_deref(), Some("b:1 one"));
    world.hello("a:1", "one");
    assert_eq!(scribe(&world).as_deref(), Some("a:1 one"));
}

#[test]
fn who_is_not_able_is_passed_over_until_it_is() {
    let a = || holder("a:1", "one");
    let drain = |drained| Command::DrainAgent { agent: a().agent, drained };
    let mut world = world();
    world.feed(Event::SessionEnded(a()));
    assert_eq!(scribe(&world).as_deref(), Some("b:1 one"), "without a session");
    world.hello("a:1", "one");
    assert_eq!(scribe(&world).as_deref(), Some("a:1 one"));
    world.ask(1, drain(true));
    assert_eq!(scribe(&world).as_deref(), Some("b:1 one"), "drained by an operator");
    world.ask(2, drain(false));
    assert_eq!(scribe(&world).as_deref(), Some("a:1 one"));
    world.silent.insert("a:1".to_owned());
    for _ in 0..3 {
        world.feed(Event::Tick);
    }
    assert_eq!(scribe(&world).as_deref(), Some("b:1 one"), "silent for too long");
    world.feed(Event::Heartbeat(a()));
    assert_eq!(scribe(&world).as_deref(), Some("a:1 one"));
    world.feed(Event::Draining(a()));
    assert_eq!(scribe(&world).as_deref(), Some("b:1 one"), "its process stops");
    world.feed(Event::LeaseEnded(a()));
    world.feed(Event::LeaseEnded(holder("b:1", "one")));
    world.feed(Event::LeaseEnded(holder("c:1", "one")));
    assert_eq!(scribe(&world), None);
}

#[test]
fn who_may_copy_elsewhere_is_not_the_scribe_before_it_is_known_to_be_of_this_fleet() {
    let mut world = World::new();
    world.hello("b:1", "one");
    let Event::Hello(mut said) = hello("a:1", "one", &[]) else { panic!("a hello") };
    said.is_settled = false;
    world.feed(Event::Hello(said));
    assert_eq!(scribe(&world).as_deref(), Some("b:1 one"));
    world.feed(Event::Settled(holder("a:1", "one")));
    assert_eq!(scribe(&world).as_deref(), Some("a:1 one"));
}

#[test]
fn records_are_marked_with_the_store_and_its_incarnation() {
    let mut world = World::new();
    let meta = view::Meta { store_id: "s".into(), incarnation: 3, destination: None };
    world.core.view.apply(StoreRevision(1), Write::Meta(meta));
    assert_eq!(world.core.scribes_mark(), "s/3");
}
