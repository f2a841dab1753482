//! What one step costs in a fleet of 100,000 tasks on 1,000 agents: what happens often must not look at everything.

use std::time::Instant;

use copyist_model::{ConnectorGeneration, TaskId, TaskRevision};

use super::*;
use crate::core::view::Task;

const CONNECTORS: u32 = 400;
const TASKS: u32 = 250;
const AGENTS: u32 = 1_000;

fn agent(number: u32) -> String {
    format!("agent-{:04}:8083", number % AGENTS)
}

/// All agents are connected, each with its share, and nothing is left to do.
fn fleet() -> World {
    let mut world = World::new();
    for number in 0..CONNECTORS {
        let name = format!("c{number:03}");
        let created = create(&name, &[("tasks.max", "250")]);
        world.ask(1, created);
        for task in 0..TASKS {
            let mut lanes = copyist_model::TaskLanes::default();
            let topic = format!("t{task}").parse().unwrap();
            lanes.insert(&topic, &topic, 0, LaneStart::Reset);
            let (revision, generation) = (TaskRevision(1), ConnectorGeneration(1));
            let id = TaskId { connector: connector(&name), number: task };
            let task = Task { revision, generation, lanes };
            world.core.view.apply(StoreRevision(world.revision), Write::Task(id, Some(task)));
        }
    }
    for number in 0..AGENTS {
        world.core.view.apply(
            StoreRevision(world.revision),
            Write::Agent(
                agent(number).parse().unwrap(),
                Some(view::Agent {
                    incarnation: "one".into(),
                    rack: String::new(),
                    labels: BTreeMap::new(),
                    drained: false,
                }),
            ),
        );
        world.core.sessions.insert(
            agent(number).parse().unwrap(),
            Session::new(holder(&agent(number), "one"), String::new(), BTreeMap::new()),
        );
    }
    world.core.stale = Stale::ALL;
    world.feed(Event::Tick);
    world.feed(Event::Tick);
    world.statements.clear();
    world
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it measures")]
#[ignore = "measures; meant for a release build on an idle machine"]
fn step_figures() {
    let mut world = fleet();
    assert_eq!(world.core.view.assignments.len(), (CONNECTORS * (TASKS + 1)) as usize);
    let mut figures = Vec::new();
    let mut measure = |what, world: &mut World, event: Event| {
        let began = Instant::now();
        world.perform(event);
        figures.push((what, began.elapsed()));
    };
    let id = AssignmentId::task(&connector("c000"), 0);
    let Assignment { holder: of, epoch, .. } = world.core.view.assignments[&id].clone();
    measure("a heartbeat", &mut world, Event::Heartbeat(of.clone()));
    let (state, trace) = (InstanceState::Running, String::new());
    measure("a report", &mut world, Event::Reported { holder: of, id, epoch, state, trace });
    world.pass(250);
    measure("a tick with a status to store", &mut world, Event::Tick);
    world.pass(1_000);
    measure("a tick with nothing to do", &mut world, Event::Tick);
    measure(
        "a connector is paused",
        &mut world,
        Event::Command(Ticket(1), target("c001", TargetState::Paused)),
    );
    measure("an agent's lease ends", &mut world, Event::LeaseEnded(holder(&agent(7), "one")));
    measure("its next process comes", &mut world, hello(&agent(7), "two", &[]));
    for (what, took) in figures {
        println!("{what:<30} {:>9.3} ms", took.as_secs_f64() * 1e3);
    }
}
