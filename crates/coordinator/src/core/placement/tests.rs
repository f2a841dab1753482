use super::*;

pub(super) fn agent(fleet: &mut Fleet, name: &str, standing: Standing) {
    let candidate = Candidate { standing, rack: String::new(), labels: Labels::new() };
    fleet.agents.insert(name.parse().unwrap(), candidate);
}

pub(super) fn id(number: u32) -> AssignmentId {
    AssignmentId::task(&"c".parse().unwrap(), number)
}

pub(super) fn part(weight: usize, hold: Hold) -> Placed {
    Placed { weight, hold, wants: Labels::new(), prefers: Vec::new(), pinned: false }
}

pub(super) fn with(agent: &str) -> Hold {
    Hold::Agent(agent.parse().unwrap())
}

fn moving(from: &str, to: &str) -> Hold {
    Hold::Moving { from: from.parse().unwrap(), to: to.parse().unwrap() }
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn fleet(agents: &[&str], parts: &[(usize, Hold)]) -> Fleet {
    let mut fleet = Fleet::default();
    agents.iter().for_each(|name| agent(&mut fleet, name, Standing::Takes));
    for (number, (weight, hold)) in (0..).zip(parts) {
        fleet.parts.insert(id(number), part(*weight, hold.clone()));
    }
    fleet
}

fn stands(fleet: &mut Fleet, name: &str, standing: Standing) {
    fleet.agents.get_mut(&name.parse().unwrap()).unwrap().standing = standing;
}

/// What is done about each part that something is done about: "0>a" is taken by a, "1:a>b" moves.
fn planned(fleet: &Fleet) -> Vec<String> {
    let plan = place(fleet);
    let number = |id: &AssignmentId| id.part;
    let taken = plan.taken.iter().map(|(id, to)| format!("{}>{to}", number(id)));
    let moves = plan.moves.iter().map(|Move { id, from, to }| format!("{}:{from}>{to}", number(id)));
    taken.chain(moves).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn a_part_goes_to_the_idlest_agent_the_heaviest_first() {
    let nobody = |weight| (weight, Hold::Nobody);
    for (label, fleet, expected) in [
        ("no agent", fleet(&[], &[nobody(1)]), vec![]),
        ("no part", fleet(&["a"], &[]), vec![]),
        ("first by name", fleet(&["b", "a"], &[nobody(1)]), vec!["0>a"]),
        ("idlest", fleet(&["a", "b"], &[(3, with("a")), (1, with("b")), nobody(1)]), vec!["2>b"]),
        ("heaviest first", fleet(&["a", "b"], &[nobody(1), nobody(1), nobody(2)]), vec!["0>b", "1>b", "2>a"]),
        ("lost", fleet(&["a"], &[(1, with("gone"))]), vec!["0>a"]),
        ("lost on its way", fleet(&["a"], &[(1, moving("gone", "a"))]), vec!["0>a"]),
        ("empty parts weigh", fleet(&["a", "b"], &[nobody(0), nobody(0)]), vec!["0>a", "1>b"]),
    ] {
        assert_eq!(planned(&fleet), expected, "{label}");
    }
}

#[test]
fn a_part_stays_with_a_holder_that_lives_as_long_as_its_heaviest_part_explains_the_difference() {
    let on = |agent: &str, weights: &[usize]| -> Vec<(usize, Hold)> {
        weights.iter().map(|weight| (*weight, with(agent))).collect()
    };
    for (weights, expected) in [
        (&[5][..], vec![]),
        (&[5, 5], vec!["0:a>b"]),
        (&[1, 1], vec!["0:a>b"]),
        (&[1, 1, 1], vec!["0:a>b"]),
        (&[1, 1, 1, 1], vec!["0:a>b", "1:a>b"]),
        // The lightest that is enough, so that the fewest lanes move; all that a light one leaves is below the heaviest.
        (&[9, 1, 2, 8], vec!["3:a>b"]),
        (&[9, 1, 2], vec!["2:a>b"]),
        (&[9, 1, 1], vec!["1:a>b"]),
    ] {
        assert_eq!(planned(&fleet(&["a", "b"], &on("a", weights))), expected, "{weights:?}");
    }
}

#[test]
fn who_comes_gets_what_balances_and_from_whoever_has_most() {
    let parts: Vec<(usize, Hold)> =
        [("a", 4), ("b", 5)].iter().flat_map(|(agent, many)| vec![(1, with(agent)); *many]).collect();
    assert_eq!(planned(&fleet(&["a", "b", "c"], &parts)), ["4:b>c", "0:a>c", "5:b>c"]);
}

#[test]
fn an_agent_that_drains_gives_all_away_and_counts_again_after() {
    let mut fleet = fleet(&["a", "b"], &[(1, with("a")), (1, with("a")), (1, with("b")), (1, Hold::Nobody)]);
    stands(&mut fleet, "a", Standing::Drains);
    assert_eq!(planned(&fleet), ["3>b", "0:a>b", "1:a>b"]);
    stands(&mut fleet, "b", Standing::Drains);
    assert_eq!(planned(&fleet), NONE, "to nowhere nothing goes");
    for part in fleet.parts.values_mut() {
        part.hold = with("b");
    }
    stands(&mut fleet, "a", Standing::Takes);
    stands(&mut fleet, "b", Standing::Takes);
    assert_eq!(planned(&fleet), ["0:b>a", "1:b>a"]);
}

#[test]
fn an_agent_that_cannot_be_told_keeps_what_it_has_and_gets_nothing() {
    let mut fleet = fleet(&["a", "b"], &[(1, with("a")), (1, with("a")), (1, with("a")), (1, Hold::Nobody)]);
    stands(&mut fleet, "a", Standing::Keeps);
    assert_eq!(planned(&fleet), ["3>b"]);
    stands(&mut fleet, "b", Standing::Keeps);
    assert_eq!(planned(&fleet), NONE);
}

#[test]
fn what_moves_counts_where_it_goes_and_goes_elsewhere_if_that_is_gone() {
    let parts = [(1, with("a")), (1, with("a")), (1, moving("a", "b")), (1, moving("a", "b"))];
    let mut fleet = fleet(&["a", "b", "c"], &parts);
    stands(&mut fleet, "c", Standing::Keeps);
    assert_eq!(planned(&fleet), NONE);
    stands(&mut fleet, "c", Standing::Takes);
    stands(&mut fleet, "b", Standing::Keeps);
    assert_eq!(planned(&fleet), ["2:a>c", "3:a>c"]);
    fleet.agents.remove(&"b".parse().unwrap());
    assert_eq!(planned(&fleet), ["2:a>c", "3:a>c"]);
}

#[test]
fn labels_are_all_wanted_and_bind_more_than_balance() {
    let mut fleet = fleet(&["a", "b", "c"], &[(1, Hold::Nobody), (1, Hold::Nobody), (1, Hold::Nobody)]);
    let zones = [("a", labels(&[("zone", "x"), ("disk", "fast")])), ("b", labels(&[("zone", "x")]))];
    for (name, labels) in zones {
        fleet.agents.get_mut(&name.parse().unwrap()).unwrap().labels = labels;
    }
    let wants = |fleet: &mut Fleet, wanted: &Labels| {
        fleet.parts.values_mut().for_each(|part| part.wants = wanted.clone());
    };
    wants(&mut fleet, &labels(&[("zone", "x")]));
    assert_eq!(planned(&fleet), ["0>a", "1>b", "2>a"]);
    wants(&mut fleet, &labels(&[("zone", "x"), ("disk", "fast")]));
    assert_eq!(planned(&fleet), ["0>a", "1>a", "2>a"]);
    wants(&mut fleet, &labels(&[("zone", "y")]));
    assert_eq!(planned(&fleet), NONE);

    fleet.parts.values_mut().for_each(|part| part.hold = with("c"));
    assert_eq!(planned(&fleet), NONE, "where no other may have it, it stays");
    wants(&mut fleet, &labels(&[("zone", "x")]));
    assert_eq!(planned(&fleet), ["0:c>a", "1:c>b", "2:c>a"]);
}

#[test]
fn what_any_agent_may_have_makes_room_for_what_only_some_may_have() {
    let mut fleet = fleet(&["a", "b"], &[(1, with("a")), (1, with("a")), (1, with("b")), (1, with("b"))]);
    fleet.agents.get_mut(&"a".parse().unwrap()).unwrap().labels = labels(&[("zone", "x")]);
    for number in 4..6 {
        let wants = labels(&[("zone", "x")]);
        fleet.parts.insert(id(number), Placed { wants, ..part(1, Hold::Nobody) });
    }
    assert_eq!(planned(&fleet), ["4>a", "5>a", "0:a>b"]);
}

#[test]
fn a_preferred_rack_is_taken_up_to_the_share_and_among_equals() {
    let racked = |parts: &[(usize, Hold)]| {
        let mut fleet = fleet(&["a", "b", "c"], parts);
        for (name, candidate) in &mut fleet.agents {
            candidate.rack = format!("of-{name}");
        }
        fleet
    };
    let prefers = |fleet: &mut Fleet, numbers: &[u32], racks: &[&str]| {
        for number in numbers {
            let part = fleet.parts.get_mut(&id(*number)).unwrap();
            part.prefers = racks.iter().map(|rack| (*rack).to_owned()).collect();
        }
    };
    let six: Vec<(usize, Hold)> = vec![(1, Hold::Nobody); 6];
    let mut fleet = racked(&six);
    prefers(&mut fleet, &[2, 3, 4, 5], &["of-c"]);
    assert_eq!(planned(&fleet), ["0>a", "1>b", "2>c", "3>c", "4>a", "5>b"], "a share of two, no more");
    prefers(&mut fleet, &[2, 3, 4, 5], &["of-b", "of-c"]);
    assert_eq!(planned(&fleet), ["0>a", "1>a", "2>b", "3>c", "4>b", "5>c"]);
    prefers(&mut fleet, &[2, 3, 4, 5], &["nowhere"]);
    assert_eq!(planned(&fleet), ["0>b", "1>c", "2>a", "3>b", "4>c", "5>a"], "placed first all the same");
}

#[test]
fn what_does_not_prefer_the_rack_is_given_first_and_goes_to_its_rack_among_equals() {
    let mut fleet = fleet(&["a", "b", "c"], &[(1, with("a")), (1, with("a")), (1, with("a"))]);
    for (name, candidate) in &mut fleet.agents {
        candidate.rack = format!("of-{name}");
    }
    for (number, rack) in [(0, "of-a"), (1, "of-c"), (2, "of-a")] {
        fleet.parts.get_mut(&id(number)).unwrap().prefers = vec![rack.to_owned()];
    }
    assert_eq!(planned(&fleet), ["1:a>c", "0:a>b"]);
}

#[test]
fn what_had_no_place_yet_makes_room_before_what_runs() {
    let nobody = (1, Hold::Nobody);
    let mut fleet =
        fleet(&["a", "b"], &[(1, with("a")), (1, with("b")), nobody.clone(), nobody.clone(), nobody]);
    fleet.agents.get_mut(&"a".parse().unwrap()).unwrap().labels = labels(&[("zone", "x")]);
    for number in 3..5 {
        fleet.parts.get_mut(&id(number)).unwrap().wants = labels(&[("zone", "x")]);
    }
    assert_eq!(planned(&fleet), ["2>b", "3>a", "4>a"]);
}

#[test]
fn what_an_operator_put_somewhere_counts_and_is_moved_for_no_balance() {
    let mut fleet = fleet(&["a", "b"], &[(1, with("a")), (1, with("a")), (1, with("a"))]);
    for number in 0..3 {
        fleet.parts.get_mut(&id(number)).unwrap().pinned = true;
    }
    assert_eq!(planned(&fleet), NONE);
    fleet.parts.get_mut(&id(1)).unwrap().pinned = false;
    assert_eq!(planned(&fleet), ["1:a>b"], "the others count");
    fleet.parts.insert(id(3), part(1, Hold::Nobody));
    fleet.parts.get_mut(&id(1)).unwrap().pinned = true;
    assert_eq!(planned(&fleet), ["3>b"]);
    stands(&mut fleet, "a", Standing::Drains);
    assert_eq!(planned(&fleet).len(), 4, "an agent that drains gives them away");
}
