use std::collections::BTreeMap;

use copyist_model::{ClusterId, InstanceState, LaneStart, StoreRevision, TargetState};

use super::*;

/// What a coordinator has by default: 1.5 s; and 10 s, 10 min and a minute, a fiftieth of that, and 7 s.
const PATIENCE: Patience = Patience { suspect_ms: 1_500, released_after_ms: 690_400 };

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
        is_settled: true,
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

/// Connector `c` with a survey on b:1 and two tasks, one of them on a:1; nobody has anything to be told.
fn two_agents() -> World {
    let mut world = World::with_agent();
    world.hello("b:1", "one");
    world.create("c", &[]);
    world.survey("c", ("S", "D"), &[("t", 3)]);
    world.feed(Event::Tick);
    world.statements.clear();
    world
}

fn held_by(world: &World, agent: &str) -> Vec<(AssignmentId, AssignmentEpoch)> {
    let held = world.core.view.assignments.iter().filter(|(_, it)| it.holder.agent.as_str() == agent);
    held.map(|(id, it)| (id.clone(), it.epoch)).collect()
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

    let mut world = running();
    world.feed(Event::Tick);
    world.hello("b:1", "one");
    world.feed(Event::LeaseEnded(holder("a:1", "one")));
    world.lead_anew();
    assert_eq!(shown(&world), InstanceState::Unassigned, "b:1 has not reported");
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

mod commits;
mod figures;
mod lane_records;
mod moves;
mod offsets;
mod placing;
mod releases;
mod requests;
mod scribe;
mod scripts;
mod surveys;
