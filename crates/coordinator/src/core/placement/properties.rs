use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::{agent, id, labels, part, with};
use super::*;

/// Everything the plan says was done, or, where `half_way`, begun.
fn applied(fleet: &Fleet, plan: &Plan, half_way: bool) -> Fleet {
    let mut after = fleet.clone();
    for (id, to) in &plan.taken {
        after.parts.get_mut(id).unwrap().hold = Hold::Agent(to.clone());
    }
    for Move { id, from, to } in &plan.moves {
        let hold = &mut after.parts.get_mut(id).unwrap().hold;
        *hold = if half_way {
            Hold::Moving { from: from.clone(), to: to.clone() }
        } else {
            Hold::Agent(to.clone())
        };
    }
    after
}

/// The agent that a part counts with, if both that and its holder live.
fn at<'a>(agents: &BTreeMap<AgentId, Candidate>, hold: &'a Hold) -> Option<&'a AgentId> {
    let (holder, at) = match hold {
        Hold::Nobody => return None,
        Hold::Agent(agent) => (agent, agent),
        Hold::Moving { from, to } => (from, to),
    };
    (agents.contains_key(holder) && agents.contains_key(at)).then_some(at)
}

fn may_take(candidate: &Candidate, part: &Placed) -> bool {
    let has = |(key, value): (&String, &String)| candidate.labels.get(key) == Some(value);
    candidate.standing == Standing::Takes && part.wants.iter().all(has)
}

/// What each agent that takes parts has, in lanes.
fn loads(fleet: &Fleet) -> BTreeMap<&AgentId, usize> {
    let takes = fleet.agents.iter().filter(|(_, candidate)| candidate.standing == Standing::Takes);
    let mut loads: BTreeMap<&AgentId, usize> = takes.map(|(id, _)| (id, 0)).collect();
    for part in fleet.parts.values() {
        if let Some(lanes) = at(&fleet.agents, &part.hold).and_then(|agent| loads.get_mut(agent)) {
            *lanes += part.weight;
        }
    }
    loads
}

/// Of each agent and each wish that it has parts of: what it has on top of the idlest that could take these, and the
/// heaviest of them.
fn surpluses(fleet: &Fleet) -> Vec<(usize, usize)> {
    let loads = loads(fleet);
    let mut surpluses = Vec::new();
    let wishes: BTreeSet<&Labels> = fleet.parts.values().map(|part| &part.wants).collect();
    for (agent, lanes) in &loads {
        for wish in &wishes {
            let parts = fleet.parts.values().filter(|part| part.wants == **wish);
            let Some(heaviest) =
                parts.filter(|part| at(&fleet.agents, &part.hold) == Some(*agent)).max_by_key(|it| it.weight)
            else {
                continue;
            };
            let others = fleet.agents.iter().filter(|(_, candidate)| may_take(candidate, heaviest));
            let idlest = others.map(|(id, _)| loads[id]).min().unwrap_or(*lanes);
            surpluses.push((lanes.saturating_sub(idlest), heaviest.weight));
        }
    }
    surpluses
}

fn lanes_moved(fleet: &Fleet, plan: &Plan) -> usize {
    plan.moves.iter().map(|Move { id, .. }| fleet.parts[id].weight).sum()
}

fn name(number: usize) -> AgentId {
    format!("a{number}").parse().unwrap()
}

fn wish() -> impl Strategy<Value = Labels> {
    let some = |pairs: &[(&str, &str)]| Just(labels(pairs));
    prop_oneof![
        4 => some(&[]),
        1 => some(&[("zone", "x")]),
        1 => some(&[("zone", "y")]),
        1 => some(&[("zone", "x"), ("disk", "fast")]),
    ]
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let standing =
        prop_oneof![5 => Just(Standing::Takes), 1 => Just(Standing::Keeps), 1 => Just(Standing::Drains)];
    (standing, 0..3, wish()).prop_map(|(standing, rack, labels)| Candidate {
        standing,
        rack: format!("r{rack}"),
        labels,
    })
}

fn hold() -> impl Strategy<Value = Hold> {
    // Some of these agents do not live.
    let agent = || (0usize..8).prop_map(name);
    prop_oneof![
        2 => Just(Hold::Nobody),
        4 => agent().prop_map(Hold::Agent),
        1 => (agent(), agent()).prop_map(|(from, to)| Hold::Moving { from, to }),
    ]
}

fn weight() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(1usize), 3 => 2usize..12, 1 => Just(256)]
}

fn placed() -> impl Strategy<Value = Placed> {
    let racks = proptest::collection::vec((0..3).prop_map(|rack| format!("r{rack}")), 0..2);
    (weight(), hold(), wish(), racks).prop_map(|(weight, hold, wants, prefers)| Placed {
        weight,
        hold,
        wants,
        prefers,
        pinned: false,
    })
}

fn any_fleet() -> impl Strategy<Value = Fleet> {
    let agents = proptest::collection::vec(candidate(), 0..6);
    (agents, proptest::collection::vec(placed(), 0..40)).prop_map(|(agents, parts)| Fleet {
        agents: (0..).map(name).zip(agents).collect(),
        parts: (0..).map(id).zip(parts).collect(),
    })
}

/// Agents that may all take everything, with parts where a plan put them.
fn even_fleet(weight: impl Strategy<Value = usize>) -> impl Strategy<Value = Fleet> {
    let parts = proptest::collection::vec((weight, hold()), 0..60);
    (1usize..6, parts).prop_map(|(agents, parts)| {
        let mut fleet = Fleet::default();
        (0..agents).for_each(|number| agent(&mut fleet, name(number).as_str(), Standing::Takes));
        for (number, (weight, hold)) in (0..).zip(parts) {
            fleet.parts.insert(id(number), part(weight, hold));
        }
        let mut fleet = applied(&fleet, &place(&fleet), false);
        for part in fleet.parts.values_mut() {
            part.hold = at(&fleet.agents, &part.hold).cloned().map_or(Hold::Nobody, Hold::Agent);
        }
        fleet
    })
}

proptest! {
    #[test]
    fn every_part_is_with_an_agent_that_may_have_it_if_there_is_one(fleet in any_fleet()) {
        let after = applied(&fleet, &place(&fleet), false);
        for (id, part) in &after.parts {
            let fits = after.agents.values().any(|candidate| may_take(candidate, part));
            match at(&after.agents, &part.hold).map(|agent| &after.agents[agent]) {
                None => prop_assert!(!fits, "{id} was left"),
                Some(holder) => {
                    let stays = holder.standing == Standing::Keeps || !fits;
                    prop_assert!(may_take(holder, part) || (stays && part == &fleet.parts[id]), "{id}");
                }
            }
        }
    }

    #[test]
    fn nobody_has_more_than_the_heaviest_part_explains(fleet in any_fleet()) {
        let after = applied(&fleet, &place(&fleet), false);
        for (surplus, heaviest) in surpluses(&after) {
            prop_assert!(surplus <= heaviest, "{surplus} lanes with parts of at most {heaviest}");
        }
    }

    #[test]
    fn a_plan_that_is_done_or_begun_leaves_nothing_to_do_and_is_always_the_same(fleet in any_fleet()) {
        let plan = place(&fleet);
        prop_assert_eq!(&plan, &place(&fleet.clone()));
        let stays = |it: &Move| fleet.parts[&it.id].hold == Hold::Agent(it.to.clone());
        prop_assert!(!plan.moves.iter().any(stays), "{:?}", plan.moves);
        for half_way in [false, true] {
            prop_assert_eq!(place(&applied(&fleet, &plan, half_way)), Plan::default(), "half way: {}", half_way);
        }
    }

    #[test]
    fn who_leaves_moves_only_its_own_parts(fleet in even_fleet(weight()), leaver in 0usize..5, drains: bool) {
        let leaver = name(leaver % fleet.agents.len());
        let mut after = fleet.clone();
        if drains {
            after.agents.get_mut(&leaver).unwrap().standing = Standing::Drains;
        } else {
            after.agents.remove(&leaver);
        }
        let plan = place(&after);
        let touched: BTreeSet<&AssignmentId> =
            plan.taken.keys().chain(plan.moves.iter().map(|it| &it.id)).collect();
        let others = fleet.agents.len() > 1;
        let own = fleet.parts.iter().filter(|(_, part)| others && part.hold == Hold::Agent(leaver.clone()));
        prop_assert_eq!(touched, own.map(|(id, _)| id).collect());
        prop_assert!(plan.moves.is_empty() || drains);
    }

    #[test]
    fn who_comes_costs_its_share_and_one_part_at_most(fleet in even_fleet(weight())) {
        let mut after = fleet.clone();
        agent(&mut after, "new", Standing::Takes);
        let plan = place(&after);
        let total: usize = fleet.parts.values().map(|part| part.weight).sum();
        let heaviest = fleet.parts.values().map(|part| part.weight).max().unwrap_or(0);
        let most = total.div_ceil(after.agents.len()) + heaviest;
        prop_assert!(lanes_moved(&after, &plan) <= most, "{} > {most}", lanes_moved(&after, &plan));
        prop_assert!(plan.taken.is_empty());
    }

    #[test]
    fn of_equal_parts_who_comes_gets_exactly_its_share_all_at_once_or_one_by_one(fleet in even_fleet(Just(1))) {
        let mut after = fleet.clone();
        agent(&mut after, "new", Standing::Takes);
        let share = fleet.parts.len() / after.agents.len();
        let mut moved = 0;
        prop_assert_eq!(place(&after).moves.len(), share);
        while let Some(Move { id, to, .. }) = place(&after).moves.first().cloned() {
            prop_assert_eq!(to.as_str(), "new");
            after.parts.get_mut(&id).unwrap().hold = with("new");
            moved += 1;
        }
        prop_assert_eq!(moved, share);
    }

    #[test]
    fn of_equal_parts_as_few_move_as_can_balance(fleet in any_fleet()) {
        let mut fleet = fleet;
        for candidate in fleet.agents.values_mut() {
            *candidate = Candidate { standing: Standing::Takes, labels: Labels::new(), ..candidate.clone() };
        }
        for part in fleet.parts.values_mut() {
            *part = Placed { weight: 1, wants: Labels::new(), prefers: Vec::new(), ..part.clone() };
        }
        fleet.parts.retain(|_, part| matches!(&part.hold, Hold::Agent(agent) if fleet.agents.contains_key(agent)));
        prop_assume!(!fleet.agents.is_empty());
        let (share, loads) = (fleet.parts.len() / fleet.agents.len(), loads(&fleet));
        let above: usize = loads.values().map(|lanes| lanes.saturating_sub(share + 1)).sum();
        let below: usize = loads.values().map(|lanes| share.saturating_sub(*lanes)).sum();
        prop_assert_eq!(place(&fleet).moves.len(), above.max(below));
    }
}
