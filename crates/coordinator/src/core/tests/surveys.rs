//! What surveys find: what becomes tasks of it, and what is in the way of others.

use super::*;

#[test]
fn a_survey_said_twice_changes_nothing_and_growth_only_adds() {
    let mut world = running();
    let commits = world.commits.len();
    world.survey("c", ("S", "D"), &[("t", 2)]);
    assert_eq!(world.commits.len(), commits, "the same findings were stored again");
    assert!(world.core.findings.is_empty(), "they are kept no longer than they are of use");

    world.survey("c", ("S", "D"), &[("t", 3), ("u", 1)]);
    assert_eq!(world.tasks("c"), [(0, 1), (1, 1), (2, 1), (3, 1)]);
    let starts: Vec<LaneStart> = world
        .runs()
        .iter()
        .flat_map(|run| run.lanes.iter().map(|(_, _, _, start)| start).collect::<Vec<_>>())
        .collect();
    assert_eq!(starts, [LaneStart::Earliest, LaneStart::Earliest], "found later starts at the earliest");

    world.survey("c", ("S", "D"), &[]);
    assert_eq!(world.tasks("c").len(), 4, "absence removes no lane");
}

#[test]
fn many_tasks_are_a_row_of_small_commits_and_all_lanes_of_the_first_survey_start_alike() {
    let mut world = World::with_agent();
    world.create("c", &[]);
    world.survey("c", ("S", "D"), &[("t", 600)]);
    assert_eq!(world.tasks("c").len(), 256);
    assert_eq!(world.tasks("c").iter().map(|(_, lanes)| lanes).sum::<usize>(), 600);
    assert!(world.commits.iter().all(|writes| *writes <= Commit::WRITES_MAX), "{:?}", world.commits);
    let lanes = world.core.view.tasks.values().flat_map(|task| task.lanes.iter());
    assert!(lanes.into_iter().all(|(_, _, _, start)| start == LaneStart::Reset));
    assert_eq!(world.core.view.assignments.len(), 257);
}

#[test]
fn tasks_max_bounds_and_a_task_that_grows_keeps_its_epoch() {
    let mut world = World::with_agent();
    world.create("c", &[("tasks.max", "1")]);
    world.survey("c", ("S", "D"), &[("t", 2)]);
    let before = world.runs().pop().unwrap();
    world.survey("c", ("S", "D"), &[("t", 3)]);
    let after = world.runs().pop().unwrap();
    assert_eq!(world.tasks("c"), [(0, 3)]);
    assert_eq!(after.epoch, before.epoch);
    assert!(after.revision > before.revision);
}

#[test]
fn what_the_fleet_makes_on_one_cluster_is_left_out_and_said() {
    let mut world = running();
    world.create("d", &[("topic.blacklist", "x"), ("topic.whitelist", "x")]);
    world.report(&AssignmentId::survey(&connector("d")), InstanceState::Running, "");
    world.survey("d", ("D", "D"), &[("t.copy", 1), ("u", 1)]);
    assert_eq!(world.tasks("d"), [(0, 1)]);
    let (_, trace) = world.connector_state("d");
    assert!(trace.starts_with("warning: ") && trace.contains("topic.blacklist wins"), "{trace}");
    assert!(trace.contains("copy into them: t.copy;"), "{trace}");
}

#[test]
fn findings_of_an_older_generation_or_of_another_holder_are_dropped() {
    let mut world = running();
    let generation = |world: &World| world.core.view.connectors[&connector("c")].generation;
    let old = generation(&world);
    world.ask(1, put("c", &[("topic.regex", "u")]));
    world.confirm_releases();
    world.create("o", &[]);
    world.survey("o", ("S", "D"), &[("t", 1)]);
    let Assignment { holder: by, epoch, .. } = world.assignment(&AssignmentId::survey(&connector("c")));
    let findings = |generation| Findings {
        generation,
        source: "S".parse().unwrap(),
        destination: "D".parse().unwrap(),
        topics: vec![FoundTopic {
            source: "t".parse().unwrap(),
            destination: "t.copy".parse().unwrap(),
            partitions: 1,
            literal: false,
        }],
    };
    let rows = [
        (by.clone(), epoch, old),
        (holder("a:1", "zero"), epoch, generation(&world)),
        (by, AssignmentEpoch::default(), generation(&world)),
    ];
    for (holder, epoch, of) in rows {
        world.feed(Event::Surveyed { holder, connector: connector("c"), epoch, findings: findings(of) });
        assert_eq!((world.tasks("c"), &world.core.conflicts), (vec![], &BTreeMap::new()));
    }
}

#[test]
fn findings_of_a_paused_connector_are_worth_nothing_after_a_new_generation() {
    let mut world = World::with_agent();
    world.create("c", &[]);
    world.ask(1, target("c", TargetState::Paused));
    world.survey("c", ("S", "D"), &[("t", 2)]);
    world.ask(2, put("c", &[("topic.regex", "u")]));
    world.create("d", &[]);
    world.survey("d", ("S", "D"), &[("t", 2)]);
    assert_eq!(world.tasks("d").len(), 2, "nor do they claim anything");
    world.ask(3, target("c", TargetState::Running));
    assert_eq!(world.tasks("c"), []);
}

#[test]
fn the_clusters_are_those_of_the_last_survey() {
    let mut world = running();
    world.survey("c", ("S2", "D"), &[("t", 2)]);
    let clusters = world.core.view.connectors[&connector("c")].clusters.clone();
    assert_eq!(clusters, Some(("S2".parse().unwrap(), "D".parse().unwrap())));
}

#[test]
fn a_connector_gets_nothing_from_the_one_that_had_its_name() {
    let mut world = running();
    world.create("d", &[]);
    world.survey("d", ("S", "D"), &[("t", 2)]);
    let failed = world.connector_state("d");
    world.statements.clear();
    world.ask(1, delete("d"));
    world.confirm_releases();
    world.create("d", &[]);
    world.report(&AssignmentId::survey(&connector("d")), InstanceState::Running, "");
    assert_eq!(world.connector_state("d"), (InstanceState::Running, String::new()), "it was {failed:?}");

    world.survey("d", ("S2", "D"), &[("t", 1)]);
    world.ask(2, target("d", TargetState::Paused));
    world.survey("d", ("S2", "D"), &[("t", 2)]);
    assert!(world.connector_state("d").1.contains("is shared with"));
    world.statements.clear();
    world.ask(3, delete("d"));
    let d = connector("d");
    let ends: Vec<Event> = world.core.view.assignments_of(&d).map(|(id, held)| released(id, held)).collect();
    for event in ends {
        world.step(event);
    }
    let goes = [Write::Connector(d.clone(), None)];
    while !world.stored().commits.iter().any(|commit| commit.writes.ends_with(&goes)) {}
    world.step(Event::Command(Ticket(4), create("d", &[])));
    while !world.core.in_flight.is_empty() {
        world.stored();
    }
    assert_eq!((world.core.view.connectors[&d].revision.0, world.tasks("d")), (1, vec![]));
    world.report(&AssignmentId::survey(&d), InstanceState::Running, "");
    assert_eq!(world.connector_state("d"), (InstanceState::Running, String::new()));
}

#[test]
fn what_is_found_first_is_claimed_before_it_has_tasks() {
    let mut world = World::with_agent();
    for name in ["c", "d"] {
        world.create(name, &[]);
        world.report(&AssignmentId::survey(&connector(name)), InstanceState::Running, "");
    }
    world.ask(1, target("c", TargetState::Paused));
    for name in ["c", "d"] {
        world.survey(name, ("S", "D"), &[("t", 2)]);
    }
    assert_eq!((world.tasks("d"), world.connector_state("d").0), (vec![], InstanceState::Failed));
    world.statements.clear();
    world.ask(2, target("c", TargetState::Stopped));
    world.confirm_releases();
    world.survey("d", ("S", "D"), &[("t", 2)]);
    assert_eq!(world.tasks("d").len(), 2, "a stopped one claims nothing");
}

#[test]
fn what_a_paused_connector_will_make_is_no_source_either() {
    let mut world = World::with_agent();
    world.create("c", &[]);
    world.ask(1, target("c", TargetState::Paused));
    world.survey("c", ("S", "S"), &[("t", 1)]);
    world.create("d", &[]);
    world.survey("d", ("S", "S"), &[("t.copy", 1)]);
    assert_eq!(world.tasks("d"), []);
}

#[test]
fn a_lane_that_is_found_twice_is_one_lane() {
    let mut world = World::with_agent();
    world.create("c", &[]);
    world.survey("c", ("S", "D"), &[("t", 2), ("t", 3)]);
    assert_eq!(world.tasks("c"), [(0, 1), (1, 1), (2, 1)]);
}

#[test]
fn the_later_of_two_connectors_in_each_others_way_fails_and_copies_nothing() {
    let mut world = running();
    world.create("d", &[]);
    world.report(&AssignmentId::survey(&connector("d")), InstanceState::Running, "");
    (0..3).for_each(|_| world.feed(Event::Tick));
    world.survey("d", ("S", "D"), &[("t", 2)]);
    let (state, trace) = world.connector_state("d");
    assert_eq!(state, InstanceState::Failed);
    assert!(trace.contains("connector d") && trace.contains("connector c"), "{trace}");
    assert_eq!(world.tasks("d"), []);
    assert_eq!(world.connector_state("c").0, InstanceState::Running);

    world.feed(Event::Tick);
    assert_eq!(world.core.view.statuses[&AssignmentId::survey(&connector("d"))].trace, trace);
    world.report(&AssignmentId::survey(&connector("d")), InstanceState::Failed, "no broker");
    assert_eq!(world.connector_state("d"), (InstanceState::Failed, "no broker".to_owned()), "what is so now");
    world.report(&AssignmentId::survey(&connector("d")), InstanceState::Running, "");
    world.survey("d", ("S2", "D"), &[("t", 2)]);
    let (state, trace) = world.connector_state("d");
    assert_eq!(state, InstanceState::Running);
    assert!(trace.contains("topic t.copy is shared with connector c"), "{trace}");
    let shared = BTreeSet::from(["t.copy".parse().unwrap()]);
    let runs = world.runs();
    let of = |name: &str| runs.iter().rfind(|run| run.id == AssignmentId::task(&connector(name), 0));
    assert_eq!(of("d").map(|run| &run.shared), Some(&shared), "its lanes know from the first batch on");
}

#[test]
fn a_destination_is_shared_where_different_sources_meet() {
    let mut world = World::with_agent();
    for (name, clusters) in [("c", ("S", "D")), ("d", ("S2", "D")), ("e", ("S", "E"))] {
        world.create(name, &[]);
        world.survey(name, clusters, &[("t", 1), (name, 1)]);
    }
    let shared: BTreeMap<String, usize> =
        world.runs().into_iter().map(|run| (run.id.to_string(), run.shared.len())).collect();
    let shared: Vec<&str> =
        shared.iter().filter(|(_, topics)| **topics > 0).map(|(id, _)| id.as_str()).collect();
    assert_eq!(shared, ["d/0"]);
}

#[test]
fn copies_are_sources_where_they_go_to_another_cluster_or_are_named() {
    let mut world = running();
    world.create("d", &[]);
    world.survey("d", ("D", "E"), &[("t.copy", 1)]);
    world.create("e", &[]);
    let (source, destination) = ("t.copy".parse().unwrap(), "named".parse().unwrap());
    world.finds("e", ("D", "D"), vec![FoundTopic { source, destination, partitions: 1, literal: true }]);
    assert_eq!((world.tasks("d"), world.tasks("e")), (vec![(0, 1)], vec![(0, 1)]));
}

#[test]
fn on_one_cluster_copies_are_no_sources() {
    let mut world = World::with_agent();
    world.create("c", &[]);
    world.survey("c", ("S", "S"), &[("t", 1)]);
    world.create("d", &[]);
    world.survey("d", ("S", "S"), &[("t.copy", 1), ("u", 1)]);
    let topics: Vec<String> = world
        .core
        .view
        .tasks_of(&connector("d"))
        .flat_map(|(_, task)| task.lanes.0.keys().map(ToString::to_string).collect::<Vec<_>>())
        .collect();
    assert_eq!(topics, ["u"]);
}

#[test]
fn edges_between_clusters_are_told_apart_by_cluster() {
    let mut world = World::with_agent();
    world.create("c", &[]);
    world.survey("c", ("A", "B"), &[("t", 1)]);
    let edges = world.core.edges_of(&connector("c"));
    let cluster = |id: &str| id.parse::<ClusterId>().unwrap();
    let expected = ((cluster("A"), "t".parse().unwrap()), (cluster("B"), "t.copy".parse().unwrap()));
    assert_eq!(edges, rules::Edges::from([expected]));
}
