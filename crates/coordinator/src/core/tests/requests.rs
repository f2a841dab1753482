//! What users ask: what it changes, when it is answered, and what a repetition gets.

use super::*;

#[test]
fn a_name_is_taken_once_and_an_invalid_config_is_said_first() {
    let mut world = World::with_agent();
    world.create("c", &[]);
    let again = world.ask(1, create("c", &[]));
    assert_eq!(again, Some(Err(Failure::AlreadyExists("Connector c already exists".to_owned()))));
    let spaced = world.ask(3, create(" c ", &[]));
    assert!(matches!(spaced, Some(Err(Failure::AlreadyExists(_)))), "{spaced:?}");
    let invalid = world.ask(2, create("c", &[("tasks.max", "0")]));
    assert!(matches!(invalid, Some(Err(Failure::Invalid(_)))), "{invalid:?}");
}

#[test]
fn a_change_that_tasks_can_take_reaches_them_as_a_revision() {
    let mut world = running();
    world.ask(1, put("c", &[("topic.poll.interval.ms", "5000")]));
    let runs = world.runs();
    assert_eq!(runs.len(), 3, "survey and both tasks");
    assert!(runs.iter().all(|run| run.spec.poll_interval.as_millis() == 5000));
    assert_eq!(world.core.view.connectors[&connector("c")].generation.0, 1);
}

#[test]
fn a_config_that_is_put_where_no_connector_is_makes_one_that_runs() {
    let mut world = World::with_agent();
    let reply = world.ask(1, put("c", &[("topic.blacklist", "x"), ("topic.whitelist", "x")]));
    assert!(matches!(reply, Some(Ok(Answer::Info { created: true, .. }))), "{reply:?}");
    let stored = |world: &World| world.core.view.connectors[&connector("c")].clone();
    assert_eq!((stored(&world).target, stored(&world).warnings.len()), (TargetState::Running, 1));
    world.ask(2, put("c", &[]));
    assert_eq!(stored(&world).warnings, Vec::<String>::new());
}

#[test]
fn a_config_that_means_the_same_touches_no_task() {
    let mut world = running();
    world.ask(1, put("c", &[("whatever", "1")]));
    assert_eq!(world.runs().len(), 1, "only the survey is told");
    assert_eq!(world.core.view.connectors[&connector("c")].config["whatever"], "1");
}

#[test]
fn pausing_keeps_the_tasks_and_their_epochs() {
    let mut world = running();
    assert_eq!(world.ask(1, target("c", TargetState::Paused)), Some(Ok(Answer::Done)));
    let runs = world.runs();
    assert_eq!(runs.len(), 3);
    assert!(runs.iter().all(|run| run.paused));
    world.ask(2, target("c", TargetState::Running));
    let resumed = world.runs();
    assert!(resumed.iter().all(|run| !run.paused));
    assert_eq!(resumed[0].epoch, runs[0].epoch);
}

#[test]
fn a_connector_created_paused_has_no_tasks_until_it_is_resumed() {
    let mut world = World::with_agent();
    let command = Command::Create {
        request: String::new(),
        name: "c".to_owned(),
        config: config(&[]),
        initial: TargetState::Paused,
    };
    world.ask(1, command);
    world.survey("c", ("S", "D"), &[("t", 2)]);
    assert_eq!(world.tasks("c"), []);
    world.ask(2, target("c", TargetState::Running));
    assert_eq!(world.tasks("c").len(), 2);
}

#[test]
fn a_stop_is_answered_once_every_part_is_released_and_then_there_are_no_tasks() {
    let mut world = running();
    assert_eq!(world.ask(1, target("c", TargetState::Stopped)), None);
    assert_eq!(world.tasks("c").len(), 2);
    world.confirm_releases();
    assert_eq!(world.reply(1), Some(Ok(Answer::Done)));
    assert_eq!(world.tasks("c"), []);
    assert_eq!(world.connector_state("c").0, InstanceState::Stopped);
    let commits = world.commits.len();
    assert_eq!(world.ask(2, target("c", TargetState::Stopped)), Some(Ok(Answer::Done)), "stopped already");
    assert_eq!(world.commits.len(), commits);

    world.ask(3, target("c", TargetState::Running));
    world.survey("c", ("S", "D"), &[("t", 2)]);
    assert_eq!(world.tasks("c").len(), 2);
}

#[test]
fn a_stop_waits_for_the_survey_alone_too_and_is_answered_by_a_delete() {
    let mut surveying = World::with_agent();
    surveying.create("c", &[]);
    for mut world in [surveying, running()] {
        assert_eq!(world.ask(1, target("c", TargetState::Stopped)), None);
        assert_eq!(world.ask(2, delete("c")), None);
        world.confirm_releases();
        assert_eq!((world.reply(1), world.reply(2)), (Some(Ok(Answer::Done)), Some(Ok(Answer::Done))));
    }
}

#[test]
fn a_delete_is_answered_once_the_name_is_free() {
    let mut world = running();
    assert_eq!(world.ask(1, delete("c")), None);
    assert!(matches!(world.ask(2, put("c", &[])), Some(Err(Failure::Conflict(_)))));
    assert!(matches!(world.ask(5, put("c", &[("tasks.max", "0")])), Some(Err(Failure::Invalid(_)))));
    let commits = world.commits.len();
    assert_eq!(world.ask(3, delete("c")), None, "a second delete waits as well");
    assert_eq!(world.commits.len(), commits, "and stores nothing");
    world.confirm_releases();
    assert_eq!(world.reply(1), Some(Ok(Answer::Done)));
    assert_eq!(world.reply(3), Some(Ok(Answer::Done)));
    let View { connectors, tasks, assignments, statuses, .. } = &world.core.view;
    assert!(connectors.is_empty() && tasks.is_empty() && assignments.is_empty() && statuses.is_empty());
    let gone = Some(Err(Failure::NotFound("Connector c not found".to_owned())));
    assert_eq!(world.ask(4, delete("c")), gone);
}

#[test]
fn a_repeated_write_gets_its_first_answer() {
    let mut world = World::with_agent();
    let named = || Command::Create {
        request: "r1".to_owned(),
        name: "c".to_owned(),
        config: config(&[]),
        initial: TargetState::Running,
    };
    let first = world.ask(1, named());
    assert_eq!(world.ask(2, named()), first);

    let delete = || Command::Delete { request: "r2".to_owned(), name: connector("c") };
    world.ask(3, delete());
    world.confirm_releases();
    assert_eq!(world.ask(4, delete()), Some(Ok(Answer::Done)));

    for request in ["r3", "r4"] {
        let failed = world.ask(5, Command::Delete { request: request.into(), name: connector("c") });
        assert_eq!(failed, Some(Err(Failure::NotFound("Connector c not found".to_owned()))));
        world.replies.clear();
    }
    world.create("c", &[]);
    let failed = world.ask(6, Command::Delete { request: "r3".into(), name: connector("c") });
    assert!(
        matches!(failed, Some(Err(Failure::NotFound(_)))),
        "a copy that comes late does nothing: {failed:?}"
    );
    let invalid = |request: &str| Command::PutConfig {
        request: request.into(),
        name: connector("c"),
        config: GivenConfig::new(),
    };
    assert!(matches!(world.ask(7, invalid("r5")), Some(Err(Failure::Invalid(_)))));
    assert!(!world.core.view.requests.contains_key("r5"), "it will be as wrong the next time");

    let later = Now { boot_ms: 0, wall_ms: 200_000 };
    let decision = world.core.step(later, Event::Tick);
    let expired = decision.commits.iter().flat_map(|commit| &commit.writes);
    assert_eq!(expired.filter(|write| matches!(write, Write::Request(_, None))).count(), 4);
}

#[test]
fn a_copy_of_what_was_refused_is_refused_though_it_would_do_by_now() {
    let mut world = running();
    let create = || Command::Create {
        request: "create".to_owned(),
        name: "c".to_owned(),
        config: config(&[]),
        initial: TargetState::Running,
    };
    let taken = world.ask(1, create());
    assert!(matches!(taken, Some(Err(Failure::AlreadyExists(_)))), "{taken:?}");
    world.ask(2, delete("c"));
    let put = || Command::PutConfig { request: "put".to_owned(), name: connector("c"), config: config(&[]) };
    let goes = world.ask(3, put());
    assert!(matches!(goes, Some(Err(Failure::Conflict(_)))), "{goes:?}");
    world.confirm_releases();
    assert_eq!((world.ask(4, create()), world.ask(5, put())), (taken, goes));
    assert!(world.core.view.connectors.is_empty());
}

#[test]
fn a_copy_that_comes_late_undoes_nothing() {
    let to =
        |request: &str, target| Command::SetTarget { request: request.into(), name: connector("c"), target };
    let (stop, resume) = (to("stop", TargetState::Stopped), to("resume", TargetState::Running));
    let delete = || Command::Delete { request: "delete".into(), name: connector("c") };
    let mut world = running();
    assert_eq!(world.ask(1, resume.clone()), Some(Ok(Answer::Done)), "it runs already");
    assert_eq!(world.ask(2, stop.clone()), None);
    assert_eq!((world.ask(3, resume), world.ask(4, stop.clone())), (Some(Ok(Answer::Done)), None));
    world.confirm_releases();
    assert_eq!((world.reply(2), world.reply(4)), (Some(Ok(Answer::Done)), Some(Ok(Answer::Done))));
    assert_eq!(world.connector_state("c").0, InstanceState::Stopped);

    world.ask(5, target("c", TargetState::Running));
    assert_eq!(world.ask(6, stop), Some(Ok(Answer::Done)));
    assert_eq!(world.core.view.connectors[&connector("c")].target, TargetState::Running);

    assert_eq!((world.ask(7, delete()), world.ask(10, delete())), (None, None));
    let waits_twice = world.core.view.clone();
    world.confirm_releases();
    assert!(world.core.view.connectors.is_empty());
    world.core = Core::new(waits_twice, PATIENCE);
    world.hello("a:1", "one");
    world.confirm_releases();
    assert_eq!(world.ask(8, delete()), Some(Ok(Answer::Done)), "whoever leads");
    world.create("c", &[]);
    assert_eq!(world.ask(9, delete()), Some(Ok(Answer::Done)));
    assert!(!world.core.view.connectors[&connector("c")].deleting);
}

#[test]
fn any_number_of_deletes_may_wait_for_the_same_end() {
    let mut world = running();
    let request = |number: u64| format!("r{number}");
    for number in 1..=250 {
        let delete = Command::Delete { request: request(number), name: connector("c") };
        assert_eq!(world.ask(number, delete), None);
    }
    world.pass(100_000);
    world.confirm_releases();
    assert!(world.core.view.connectors.is_empty());
    let kept = |number| world.core.view.requests[&request(number)].expires_at_ms;
    assert!((1..=250).all(|number| world.reply(number) == Some(Ok(Answer::Done)) && kept(number) == 220_000));
}

#[test]
fn a_delete_renews_no_answer_of_another_ones() {
    let mut world = running();
    world.create("d", &[]);
    world.statements.clear();
    for (ticket, name) in [(1, "c"), (2, "d")] {
        let delete = Command::Delete { request: name.to_owned(), name: connector(name) };
        assert_eq!(world.ask(ticket, delete), None);
    }
    world
        .statements
        .retain(|(_, told)| matches!(told, Statement::Release { id, .. } if id.connector.as_str() == "c"));
    world.pass(70_000);
    world.confirm_releases();
    assert_eq!((world.reply(1), world.reply(2)), (Some(Ok(Answer::Done)), None));
    let kept = |name: &str| world.core.view.requests[name].expires_at_ms;
    assert_eq!((kept("c"), kept("d")), (190_000, 120_000));
}

#[test]
fn a_change_that_broke_off_reaches_every_task_once_it_is_repeated() {
    let mut world = World::with_agent();
    world.create("c", &[]);
    world.survey("c", ("S", "D"), &[("t", 256)]);
    let change = put("c", &[("topic.poll.interval.ms", "5000")]);
    let row = world.step(Event::Command(Ticket(1), change.clone())).commits;
    assert_eq!(row.len(), 3);
    world.stored();
    world.lead_anew();
    world.hello("a:1", "one");
    world.ask(2, change);
    assert!(world.core.view.tasks.values().all(|task| task.revision.0 > 1));
}

#[test]
fn a_command_of_which_any_commit_is_refused_is_planned_again_before_the_next_one() {
    for stored in 0..3 {
        let mut world = World::with_agent();
        world.create("c", &[]);
        world.survey("c", ("S", "D"), &[("t", 256)]);
        world.step(Event::Command(Ticket(1), put("c", &[("topic.poll.interval.ms", "5000")])));
        world.step(Event::Command(Ticket(2), put("c", &[("topic.poll.interval.ms", "6000")])));
        (0..stored).for_each(|_| drop(world.stored()));
        world.step(Event::Refused);
        while !world.core.in_flight.is_empty() {
            world.stored();
        }
        assert_eq!(world.core.view.connectors[&connector("c")].config["topic.poll.interval.ms"], "6000");
        let revisions: BTreeSet<u64> = world.core.view.tasks.values().map(|task| task.revision.0).collect();
        assert!(revisions.into_iter().min() > Some(2), "{stored} stored");
    }
}

#[test]
fn what_is_asked_while_a_commit_is_in_flight_waits_for_it() {
    let mut core = Core::new(View::default(), PATIENCE);
    core.step(Now::default(), Event::Command(Ticket(1), create("c", &[])));
    let second = core.step(Now::default(), Event::Command(Ticket(2), create("c", &[])));
    assert_eq!(second, Decision::default());
    let answered = core.step(Now::default(), Event::Committed(StoreRevision(1)));
    let taken = Send::Reply(Ticket(2), Err(Failure::AlreadyExists("Connector c already exists".to_owned())));
    assert!(answered.commits.iter().any(|commit| commit.sends.contains(&taken)), "{answered:?}");
}

#[test]
fn restarts_raise_revisions_of_what_they_mean() {
    let restart =
        |include_tasks, only_failed| Command::Restart { name: connector("c"), include_tasks, only_failed };
    let (runs, failed) = (InstanceState::Running, InstanceState::Failed);
    let cases: [(InstanceState, bool, bool, &[&str]); 5] = [
        (runs, false, false, &["c/survey"]),
        (runs, true, false, &["c/survey", "c/0", "c/1"]),
        (runs, false, true, &[]),
        (failed, false, true, &["c/survey"]),
        (runs, true, true, &["c/1"]),
    ];
    for (state, include_tasks, only_failed, expected) in cases {
        let mut world = running();
        world.report(&AssignmentId::survey(&connector("c")), state, "");
        world.report(&AssignmentId::task(&connector("c"), 0), InstanceState::Paused, "");
        world.report(&AssignmentId::task(&connector("c"), 1), InstanceState::Failed, "why");
        let reply = world.ask(1, restart(include_tasks, only_failed)).unwrap().unwrap();
        let told: Vec<String> = world.runs().iter().map(|run| run.id.to_string()).collect();
        assert_eq!(told, expected, "includeTasks={include_tasks} onlyFailed={only_failed}");
        match reply {
            Answer::Done => assert!(!include_tasks && !only_failed),
            Answer::Status(shown) => {
                let restarting =
                    shown.tasks.iter().filter(|(_, task)| task.state == InstanceState::Restarting);
                assert_eq!(restarting.count(), expected.iter().filter(|id| !id.ends_with("survey")).count());
            }
            Answer::Info { .. } | Answer::Altered(_) => panic!("a restart answers no info"),
        }
    }
}

#[test]
fn one_task_is_restarted_and_unknown_ones_are_named() {
    let mut world = running();
    assert_eq!(world.ask(1, Command::RestartTask { name: connector("c"), task: 1 }), Some(Ok(Answer::Done)));
    assert_eq!(world.runs().len(), 1);
    for task in [9, -1] {
        let reply = world.ask(2, Command::RestartTask { name: connector("c"), task });
        assert_eq!(reply, Some(Err(Failure::NotFound(format!("Unknown task: c-{task}")))));
        world.replies.clear();
    }
    let unknown = world.ask(3, Command::RestartTask { name: connector("x"), task: 0 });
    assert_eq!(unknown, Some(Err(Failure::NotFound("Unknown connector: x".to_owned()))));
}

#[test]
fn patching_sets_and_removes_keys_and_is_judged_as_a_whole() {
    let mut world = running();
    let patch = |changes: &[(&str, Option<&str>)]| Command::PatchConfig {
        request: String::new(),
        name: connector("c"),
        changes: changes.iter().map(|(key, value)| ((*key).into(), value.map(str::to_owned))).collect(),
    };
    world.ask(1, patch(&[("x", Some("1")), ("topic.regex", Some("t"))]));
    let stored = world.core.view.connectors[&connector("c")].config.clone();
    assert_eq!((stored["x"].as_str(), stored["topic.regex"].as_str()), ("1", "t"));
    world.ask(2, patch(&[("x", None)]));
    assert!(!world.core.view.connectors[&connector("c")].config.contains_key("x"));
    for (ticket, bad) in [(3, ("name", None)), (4, ("connector.class", None)), (5, ("name", Some("other")))] {
        let reply = world.ask(ticket, patch(&[bad]));
        assert!(matches!(reply, Some(Err(Failure::Invalid(_)))), "{bad:?}: {reply:?}");
    }
}

#[test]
fn unknown_connectors_are_named_in_connects_words() {
    let mut world = World::new();
    let rows: [(Command, &str); 4] = [
        (delete("x"), "Connector x not found"),
        (target("x", TargetState::Paused), "Unknown connector x"),
        (target("x", TargetState::Stopped), "Unknown connector x"),
        (
            Command::Restart { name: connector("x"), include_tasks: false, only_failed: false },
            "Unknown connector: x",
        ),
    ];
    for (ticket, (command, text)) in (1..).zip(rows) {
        assert_eq!(world.ask(ticket, command), Some(Err(Failure::NotFound(text.to_owned()))));
    }
    assert_eq!(world.core.status(&connector("x")), None);
}

#[test]
fn a_name_in_a_path_keeps_its_blanks_and_one_in_a_body_loses_them() {
    let mut world = World::with_agent();
    world.ask(1, put(" c", &[]));
    world.ask(2, create(" d ", &[]));
    let names: Vec<_> = world.core.view.connectors.keys().map(ToString::to_string).collect();
    assert_eq!(names, [" c", "d"]);
}

#[test]
fn what_never_ran_is_shown_with_an_agent_that_is_there() {
    let mut world = World::with_agent();
    let command = Command::Create {
        request: String::new(),
        name: "c".to_owned(),
        config: config(&[]),
        initial: TargetState::Stopped,
    };
    world.ask(1, command);
    let shown = world.core.status(&connector("c")).unwrap().connector;
    assert_eq!((shown.state, shown.agent), (InstanceState::Stopped, "a:1".parse().ok()));
}

#[test]
fn that_a_connector_was_deleted_is_known_for_a_week_or_until_it_is_there_again() {
    let mut world = World::with_agent();
    let deleted =
        |world: &World| world.core.view.deletions.keys().map(ToString::to_string).collect::<Vec<_>>();
    for name in ["c", "d"] {
        world.create(name, &[]);
        world.ask(1, delete(name));
        world.confirm_releases();
        world.replies.clear();
    }
    assert_eq!(deleted(&world), ["c", "d"]);
    world.create("c", &[]);
    assert_eq!(deleted(&world), ["d"]);
    world.pass(7 * 24 * 3_600_000 - 2_000);
    world.feed(Event::Tick);
    assert_eq!(deleted(&world), ["d"]);
    world.pass(2_000);
    (0..2).for_each(|_| world.feed(Event::Tick));
    assert_eq!(deleted(&world), Vec::<String>::new());
}
