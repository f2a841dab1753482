use std::collections::BTreeMap;

use copyist_model::{ClusterId, InstanceState, LaneStart, StoreRevision, TargetState};

use super::*;

/// What a coordinator has by default: 1.5 s; and 10 s and 10 min, a fiftieth of that, and 7 s.
const PATIENCE: Patience = Patience { suspect_ms: 1_500, released_after_ms: 629_200 };

/// A store that takes every commit, unless told to refuse the next one; and everybody who is told something.
struct World {
    core: Core,
    now: Now,
    silent: BTreeSet<String>,
    revision: u64,
    refuse_next: bool,
    commits: Vec<usize>,
    replies: Vec<(u64, Result<Answer, Failure>)>,
    statements: Vec<(String, Statement)>,
}

impl World {
    fn new() -> Self {
        Self {
            core: Core::new(View::default(), PATIENCE),
            now: Now::default(),
            silent: BTreeSet::new(),
            revision: 0,
            refuse_next: false,
            commits: Vec::new(),
            replies: Vec::new(),
            statements: Vec::new(),
        }
    }

    fn with_agent() -> Self {
        let mut world = Self::new();
        world.hello("a:1", "one");
        world
    }

    /// A tick is a second, in which who is connected and not silent says that it is there.
    fn feed(&mut self, event: Event) {
        if event == Event::Tick {
            for _ in 0..4 {
                self.pass(250);
                let connected = self.core.sessions.values().map(|session| session.holder.clone());
                let heard: Vec<Holder> =
                    connected.filter(|holder| !self.silent.contains(holder.agent.as_str())).collect();
                heard.into_iter().for_each(|holder| self.perform(Event::Heartbeat(holder)));
                self.perform(Event::Tick);
            }
        } else {
            self.perform(event);
        }
        assert_eq!(self.core.by_process, ByProcess::of_view(&self.core.view));
    }

    fn perform(&mut self, event: Event) {
        self.perform_all([event]);
    }

    /// The later ones happen while what the first one leads to is being stored.
    fn perform_all(&mut self, events: impl Into<VecDeque<Event>>) {
        let mut events = events.into();
        while let Some(event) = events.pop_front() {
            let decision = self.core.step(self.now, event);
            for commit in decision.commits {
                if !commit.writes.is_empty() {
                    if std::mem::take(&mut self.refuse_next) {
                        events.push_back(Event::Refused);
                        break;
                    }
                    let keys = commit.writes.iter().map(|write| crate::store::keys::encode(write, 0).0);
                    let distinct: BTreeSet<String> = keys.collect();
                    assert!(commit.writes.len() <= Commit::WRITES_MAX, "{}", commit.writes.len());
                    assert_eq!(distinct.len(), commit.writes.len(), "a key twice: {:?}", commit.writes);
                    self.revision += 1;
                    self.commits.push(commit.writes.len());
                    events.push_back(Event::Committed(StoreRevision(self.revision)));
                }
                for send in commit.sends {
                    match send {
                        Send::Reply(ticket, reply) => self.replies.push((ticket.0, reply)),
                        Send::Statement(holder, statement) => {
                            self.statements.push((holder.agent.to_string(), statement));
                        }
                    }
                }
            }
        }
    }

    /// What is decided is not performed.
    fn step(&mut self, event: Event) -> Decision {
        self.core.step(self.now, event)
    }

    /// The commit in flight is stored.
    fn stored(&mut self) -> Decision {
        self.revision += 1;
        self.step(Event::Committed(StoreRevision(self.revision)))
    }

    fn pass(&mut self, passed_ms: u64) {
        let Now { boot_ms, wall_ms } = self.now;
        self.now = Now { boot_ms: boot_ms + passed_ms, wall_ms: wall_ms + passed_ms };
    }

    fn hello(&mut self, agent: &str, incarnation: &str) {
        self.feed(hello(agent, incarnation, &[]));
    }

    fn ask(&mut self, ticket: u64, command: Command) -> Option<Result<Answer, Failure>> {
        self.feed(Event::Command(Ticket(ticket), command));
        self.reply(ticket)
    }

    fn reply(&self, ticket: u64) -> Option<Result<Answer, Failure>> {
        self.replies.iter().find(|(of, _)| *of == ticket).map(|(_, reply)| reply.clone())
    }

    fn create(&mut self, name: &str, extra: &[(&str, &str)]) {
        let reply = self.ask(900, create(name, extra));
        assert!(matches!(reply, Some(Ok(Answer::Info { created: true, .. }))), "{reply:?}");
        self.replies.clear();
    }

    /// The survey of `name` finds topics, each with its partitions, and keeps their names.
    fn survey(&mut self, name: &str, clusters: (&str, &str), topics: &[(&str, u32)]) {
        let found = |(topic, partitions): &(&str, u32)| FoundTopic {
            source: topic.parse().unwrap(),
            destination: format!("{topic}.copy").parse().unwrap(),
            partitions: *partitions,
            literal: false,
        };
        self.finds(name, clusters, topics.iter().map(found).collect());
    }

    fn finds(&mut self, name: &str, (source, destination): (&str, &str), topics: Vec<FoundTopic>) {
        let connector = connector(name);
        let Assignment { holder, epoch, .. } = self.assignment(&AssignmentId::survey(&connector));
        let findings = Findings {
            generation: self.core.view.connectors[&connector].generation,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            topics,
        };
        self.feed(Event::Surveyed { holder, connector, epoch, findings });
    }

    fn report(&mut self, id: &AssignmentId, state: InstanceState, trace: &str) {
        let Assignment { holder, epoch, .. } = self.core.view.assignments[id].clone();
        self.feed(Event::Reported { holder, id: id.clone(), epoch, state, trace: trace.to_owned() });
    }

    /// Every part of `name` that was told to go confirms it.
    fn confirm_releases(&mut self) {
        let releases: Vec<_> = self
            .statements
            .drain(..)
            .filter_map(|(_, statement)| match statement {
                Statement::Release { id, epoch } => Some((id, epoch)),
                Statement::Run(_) | Statement::SetComplete | Statement::Verdict(_) => None,
            })
            .collect();
        for (id, epoch) in releases {
            let Some(assignment) = self.core.view.assignments.get(&id).cloned() else { continue };
            self.feed(Event::Released { holder: assignment.holder, id, epoch });
        }
    }

    fn tasks(&self, name: &str) -> Vec<(u32, usize)> {
        self.core.view.tasks_of(&connector(name)).map(|(number, task)| (number, task.lanes.len())).collect()
    }

    fn runs(&mut self) -> Vec<Run> {
        let drained = self.statements.drain(..);
        drained
            .filter_map(|(_, statement)| match statement {
                Statement::Run(run) => Some(*run),
                Statement::Release { .. } | Statement::SetComplete | Statement::Verdict(_) => None,
            })
            .collect()
    }

    fn assignment(&self, id: &AssignmentId) -> Assignment {
        self.core.view.assignments[id].clone()
    }

    /// Another leader over the same store, which knows nothing else.
    fn lead_anew(&mut self) {
        self.core = Core::new(self.core.view.clone(), PATIENCE);
    }

    fn connector_state(&self, name: &str) -> (InstanceState, String) {
        let shown = self.core.status(&connector(name)).unwrap().connector;
        (shown.state, shown.trace)
    }
}

use super::view::Assignment;

fn connector(name: &str) -> ConnectorName {
    name.parse().unwrap()
}

fn holder(agent: &str, incarnation: &str) -> Holder {
    Holder { agent: agent.parse().unwrap(), incarnation: incarnation.to_owned() }
}

fn hello(agent: &str, incarnation: &str, running: &[(AssignmentId, AssignmentEpoch)]) -> Event {
    Event::Hello(Box::new(Hello {
        holder: holder(agent, incarnation),
        rack: String::new(),
        labels: BTreeMap::new(),
        running: running.to_vec(),
        store_id: String::new(),
    }))
}

/// The word of a part's holder.
fn released(id: &AssignmentId, held: &Assignment) -> Event {
    Event::Released { holder: held.holder.clone(), id: id.clone(), epoch: held.epoch }
}

fn config(extra: &[(&str, &str)]) -> GivenConfig {
    let base = [
        ("connector.class", "EMRReplicatorSourceConnector"),
        ("src.kafka.bootstrap.servers", "s:9092"),
        ("topic.regex", ".*"),
        ("topic.rename.format", "${topic}.copy"),
    ];
    let all = base.iter().chain(extra);
    all.map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect()
}

fn create(name: &str, extra: &[(&str, &str)]) -> Command {
    Command::Create {
        request: String::new(),
        name: name.to_owned(),
        config: config(extra),
        initial: TargetState::Running,
    }
}

fn put(name: &str, extra: &[(&str, &str)]) -> Command {
    Command::PutConfig { request: String::new(), name: connector(name), config: config(extra) }
}

fn target(name: &str, target: TargetState) -> Command {
    Command::SetTarget { request: String::new(), name: connector(name), target }
}

fn delete(name: &str) -> Command {
    Command::Delete { request: String::new(), name: connector(name) }
}

/// A connector `c` with two running tasks on one agent.
fn running() -> World {
    let mut world = World::with_agent();
    world.create("c", &[]);
    world.survey("c", ("S", "D"), &[("t", 2)]);
    for number in 0..2 {
        world.report(&AssignmentId::task(&connector("c"), number), InstanceState::Running, "");
    }
    world.report(&AssignmentId::survey(&connector("c")), InstanceState::Running, "");
    world.statements.clear();
    world
}

#[test]
fn a_connector_becomes_a_survey_then_tasks_each_with_an_epoch_of_its_own() {
    let mut world = World::with_agent();
    world.create("c", &[]);
    let runs = world.runs();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].id, AssignmentId::survey(&connector("c")));

    world.survey("c", ("S", "D"), &[("t", 3)]);
    assert_eq!(world.tasks("c"), [(0, 1), (1, 1), (2, 1)]);
    let runs = world.runs();
    let ids: Vec<_> = runs.iter().map(|run| run.id.to_string()).collect();
    assert_eq!(ids, ["c/0", "c/1", "c/2"]);
    for run in &runs {
        assert_eq!(world.core.view.assignments[&run.id].epoch, run.epoch);
        assert!(run.lanes.iter().all(|(_, _, _, start)| start == LaneStart::Reset));
        assert!(!run.follows_unreleased);
    }
}

#[test]
fn without_an_agent_the_connector_waits_and_says_so() {
    let mut world = World::new();
    world.create("c", &[]);
    assert_eq!(world.connector_state("c"), (InstanceState::Unassigned, "waits for an agent".to_owned()));
    world.hello("a:1", "one");
    assert_eq!(world.runs().len(), 1);
}

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
fn a_survey_said_twice_changes_nothing_and_growth_only_adds() {
    let mut world = running();
    let commits = world.commits.len();
    world.survey("c", ("S", "D"), &[("t", 2)]);
    assert_eq!(world.commits.len(), commits, "the same findings were stored again");

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
fn a_new_generation_releases_all_tasks_before_it_makes_new_ones() {
    let mut world = running();
    world.ask(1, put("c", &[("tasks.max", "1")]));
    let told: Vec<_> = world.statements.iter().map(|(_, statement)| statement.clone()).collect();
    let releases = told.iter().filter(|statement| matches!(statement, Statement::Release { .. })).count();
    assert_eq!(releases, 2, "{told:?}");
    world.survey("c", ("S", "D"), &[("t", 2)]);
    assert_eq!(world.tasks("c").len(), 2, "the old tasks are shown until they are released");

    world.confirm_releases();
    assert_eq!(world.tasks("c"), [(0, 2)]);
    let runs = world.runs();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].generation.0, 2);
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
    let mut world = World::with_agent();
    world.create("c", &[]);
    assert_eq!(world.ask(1, target("c", TargetState::Stopped)), None);
    assert_eq!(world.ask(2, delete("c")), None);
    world.confirm_releases();
    assert_eq!((world.reply(1), world.reply(2)), (Some(Ok(Answer::Done)), Some(Ok(Answer::Done))));
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
fn no_commit_has_a_key_twice() {
    let mut world = running();
    let id = AssignmentId::task(&connector("c"), 1);
    world.report(&id, InstanceState::Running, "");
    world.feed(Event::Tick);
    world.ask(1, put("c", &[("tasks.max", "1")]));
    world.report(&id, InstanceState::Failed, "");
    let told = std::mem::take(&mut world.statements);
    for (_, statement) in told {
        if let Statement::Release { id, epoch } = statement {
            world.core.releases.hear(id, (holder("a:1", "one"), epoch));
        }
    }
    world.pass(1_000);
    world.perform(Event::Tick);
    assert_eq!(world.tasks("c"), []);
}

#[test]
fn a_process_that_replaces_another_while_something_is_stored_takes_its_key_over() {
    let mut world = World::with_agent();
    world.perform_all([
        Event::Command(Ticket(1), create("c", &[])),
        hello("a:1", "two", &[]),
        Event::LeaseEnded(holder("a:1", "one")),
    ]);
    assert_eq!(world.assignment(&AssignmentId::survey(&connector("c"))).holder, holder("a:1", "two"));
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
fn what_a_former_leader_stored_is_shown_until_the_holder_reports_and_only_of_the_holder() {
    let id = AssignmentId::task(&connector("c"), 0);
    let shown = |world: &World| world.core.task_status(&connector("c"), 0).unwrap().state;
    let mut world = running();
    world.feed(Event::Tick);
    world.lead_anew();
    assert_eq!(shown(&world), InstanceState::Running);
    assert_eq!(world.connector_state("c").0, InstanceState::Running);
    for id in [&id, &AssignmentId::survey(&connector("c"))] {
        world.report(id, InstanceState::Failed, "why");
    }
    assert_eq!((shown(&world), world.connector_state("c").0), (InstanceState::Failed, InstanceState::Failed));
    assert_eq!(world.core.task_status(&connector("c"), 2), None, "there is no such task");

    let mut world = running();
    world.lead_anew();
    world.feed(Event::Tick);
    assert_eq!(world.core.view.statuses.len(), 3, "what the former one did not come to");
    world.hello("b:1", "one");
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    world.lead_anew();
    assert_eq!(shown(&world), InstanceState::Unassigned, "b:1 has not reported");
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
fn a_refused_commit_leaves_no_trace_and_is_planned_again() {
    let mut world = World::with_agent();
    world.refuse_next = true;
    world.create("c", &[]);
    assert!(world.core.view.connectors.contains_key(&connector("c")));

    let mut world = running();
    let view = world.core.view.clone();
    let decision = world.step(Event::Command(Ticket(1), put("c", &[("tasks.max", "9")])));
    assert!(decision.commits.iter().any(|commit| !commit.writes.is_empty()));
    assert_eq!(world.core.view, view, "nothing counts before it is stored");
    let told_early =
        decision.commits.iter().any(|commit| commit.writes.is_empty() && !commit.sends.is_empty());
    assert!(!told_early, "{decision:?}");
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
            Answer::Info { .. } => panic!("a restart answers no info"),
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
fn what_is_said_under_an_older_epoch_or_by_another_process_is_not_heard() {
    let mut world = running();
    world.feed(Event::Draining(holder("a:1", "zero")));
    assert!(!world.core.sessions.values().any(|session| session.draining));
    let id = AssignmentId::task(&connector("c"), 0);
    let Assignment { holder: by, epoch, .. } = world.assignment(&id);
    let older = copyist_model::AssignmentEpoch { revision: StoreRevision(0), ..epoch };
    let other = holder("a:1", "zero");
    for (by, epoch) in [(by, older), (other, epoch)] {
        world.feed(Event::Released { holder: by.clone(), id: id.clone(), epoch });
        assert!(world.core.view.assignments.contains_key(&id));
        let state = InstanceState::Failed;
        world.feed(Event::Reported { holder: by, id: id.clone(), epoch, state, trace: String::new() });
        assert_eq!(world.core.task_status(&connector("c"), 0).unwrap().state, InstanceState::Running);
    }
}

#[test]
fn an_agent_that_returns_is_told_everything_once_and_keeps_its_work() {
    let mut world = running();
    let epochs = world.core.view.assignments.clone();
    world.feed(Event::SessionEnded(holder("a:1", "one")));
    assert_eq!(world.core.view.assignments, epochs, "a broken session alone moves nothing");
    world.hello("a:1", "one");
    assert_eq!(world.statements.last(), Some(&("a:1".to_owned(), Statement::SetComplete)));
    assert_eq!(world.runs().len(), 3);
    assert_eq!(world.core.view.assignments, epochs);
}

#[test]
fn the_work_of_a_lost_agent_goes_to_another_one_who_waits_for_the_former_right() {
    let mut world = running();
    world.hello("b:1", "two");
    world.statements.clear();
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    assert!(world.core.view.assignments.values().all(|held| held.holder == holder("b:1", "two")));
    let runs = world.runs();
    assert_eq!(runs.len(), 3);
    assert!(runs.iter().all(|run| run.follows_unreleased));
}

#[test]
fn a_newer_process_of_an_agent_takes_over_what_the_older_one_held() {
    let mut world = running();
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    world.hello("a:1", "two");
    assert!(world.core.view.assignments.values().all(|held| held.holder == holder("a:1", "two")));
    assert!(world.runs().iter().all(|run| run.follows_unreleased));
}

#[test]
fn work_is_spread_by_lanes() {
    let mut world = World::with_agent();
    world.hello("b:1", "one");
    world.create("c", &[]);
    world.survey("c", ("S", "D"), &[("t", 9)]);
    let mut load: BTreeMap<String, usize> = BTreeMap::new();
    for assignment in world.core.view.assignments.values() {
        *load.entry(assignment.holder.agent.to_string()).or_default() += 1;
    }
    assert_eq!(load, BTreeMap::from([("a:1".to_owned(), 5), ("b:1".to_owned(), 5)]));
}

#[test]
fn the_later_of_two_connectors_in_each_others_way_fails_and_copies_nothing() {
    let mut world = running();
    world.create("d", &[]);
    world.report(&AssignmentId::survey(&connector("d")), InstanceState::Running, "");
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
fn statuses_are_stored_when_time_goes_by_and_only_when_they_changed() {
    let mut world = running();
    world.feed(Event::Tick);
    assert_eq!(world.core.view.statuses.len(), 3);
    let commits = world.commits.len();
    world.feed(Event::Tick);
    assert_eq!(world.commits.len(), commits);
    world.report(&AssignmentId::task(&connector("c"), 1), InstanceState::Failed, "why");
    assert_eq!(world.commits.len(), commits, "a report alone is not stored");
    world.feed(Event::Tick);
    assert_eq!(world.core.view.statuses[&AssignmentId::task(&connector("c"), 1)].trace, "why");
}

#[test]
fn a_stored_config_that_this_version_refuses_fails_the_connector_and_can_be_mended_or_deleted() {
    let mut world = running();
    world.feed(Event::Tick);
    let name = connector("c");
    let broken =
        view::Connector { spec: Err("too strict".to_owned()), ..world.core.view.connectors[&name].clone() };
    world.core.view.connectors.insert(name.clone(), broken);
    let (state, trace) = world.connector_state("c");
    assert_eq!(state, InstanceState::Failed);
    assert!(trace.contains("too strict"), "{trace}");
    let agent = world.core.status(&name).unwrap().connector.agent;
    assert_eq!(agent, "a:1".parse().ok(), "as it was known last");
    world.hello("b:1", "one");
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    let held =
        |world: &World| world.core.view.assignments.values().any(|held| held.holder.agent.as_str() == "b:1");
    assert!(!held(&world), "nobody can be told what it is");
    world.ask(1, put("c", &[]));
    assert!(held(&world), "the survey; tasks wait for their holder");
    assert_eq!(world.core.view.connectors[&name].generation.0, 2, "what they were made for is not known");
    assert!(world.core.view.connectors[&name].spec.is_ok());
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
fn edges_between_clusters_are_told_apart_by_cluster() {
    let mut world = World::with_agent();
    world.create("c", &[]);
    world.survey("c", ("A", "B"), &[("t", 1)]);
    let edges = world.core.edges_of(&connector("c"));
    let cluster = |id: &str| id.parse::<ClusterId>().unwrap();
    let expected = ((cluster("A"), "t".parse().unwrap()), (cluster("B"), "t.copy".parse().unwrap()));
    assert_eq!(edges, rules::Edges::from([expected]));
}

mod figures;
mod lane_records;
mod placing;
mod releases;
mod scripts;
