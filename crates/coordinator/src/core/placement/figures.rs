//! What a plan costs at the sizes that are asked for. Run it alone, in release:
//! `cargo test -p copyist-coordinator --release placement_figures -- --ignored --nocapture`

use std::time::{Duration, Instant};

use super::tests::{agent, id, part};
use super::*;

fn name(number: usize) -> String {
    format!("agent-{number:04}.copyist.example:8083")
}

fn fleet(lanes: usize, per_task: usize, agents: usize) -> Fleet {
    let mut fleet = Fleet::default();
    (0..agents).for_each(|number| agent(&mut fleet, &name(number), Standing::Takes));
    let tasks = lanes.div_ceil(per_task);
    for (number, task) in (0..).zip(0..tasks) {
        let weight = per_task.min(lanes - task * per_task);
        fleet.parts.insert(id(number), part(weight, Hold::Nobody));
    }
    fleet
}

/// Carries a plan out; how many lanes moved, those of agents that are gone included, and how long the plan took.
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn carried_out(fleet: &mut Fleet) -> (usize, Duration) {
    let begin = Instant::now();
    let plan = place(fleet);
    let took = begin.elapsed();
    let moves = plan.moves.into_iter().map(|Move { id, to, .. }| (id, to));
    let mut lanes = 0;
    for (id, to) in plan.taken.into_iter().chain(moves) {
        let part = fleet.parts.get_mut(&id).unwrap();
        part.hold = Hold::Agent(to);
        lanes += part.weight;
    }
    (lanes, took)
}

#[test]
#[ignore = "measures; meant for a release build on an idle machine"]
fn placement_figures() {
    println!(
        "| lanes | lanes a task | agents | first, ms | one leaves: lanes | ms | one comes: lanes | ms | nothing, ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for per_task in [1, 256] {
        for lanes in [1_000, 10_000, 100_000] {
            for agents in [10, 100, 1_000] {
                let mut fleet = fleet(lanes, per_task, agents);
                let (_, first) = carried_out(&mut fleet);
                // The first by name has something even where there are fewer tasks than agents.
                fleet.agents.remove(&name(0).parse().unwrap());
                let (left, leaving) = carried_out(&mut fleet);
                agent(&mut fleet, &name(agents), Standing::Takes);
                let (came, coming) = carried_out(&mut fleet);
                let (none, nothing) = carried_out(&mut fleet);
                assert_eq!(none, 0);
                let [first, leaving, coming, nothing] =
                    [first, leaving, coming, nothing].map(|took| took.as_secs_f64() * 1e3);
                println!(
                    "| {lanes} | {per_task} | {agents} | {first:.2} | {left} | {leaving:.2} | {came} | {coming:.2} | {nothing:.2} |"
                );
                assert!(first < 1_000.0 || cfg!(debug_assertions), "a plan takes at most a second");
            }
        }
    }
}
