//! A user behind a gateway: one thing at a time for each connector, asked again until it is answered. Remembers what was
//! acknowledged.

use std::collections::BTreeMap;

use copyist_coordinator::core::view::{Connector, View};
use copyist_coordinator::core::{Altered, Answer, Command, Failure, GivenConfig, RequestId};
use copyist_model::{AssignmentId, ConnectorName, TargetState};

use crate::brokers::SourceKey;
use crate::lanes::lane_id;
use crate::network::Message;
use crate::node::{Node, Process};
use crate::options::{IN_FLIGHT_MS, REPLICAS};
use crate::queue::Timer;
use crate::sim::Sim;

/// Later than any time of a run.
const NEVER: u64 = u64::MAX;

/// A connector as the user knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub config: BTreeMap<String, String>,
    pub target: TargetState,
}

/// What the user asked for and waits for.
#[derive(Debug, Clone)]
pub struct Pending {
    number: u64,
    command: Command,
    tries: u32,
    /// Of the times at which it is to be asked again only the last counts.
    turn: u64,
    /// What there is once it is done; nothing: no such connector.
    pub after: Option<Wanted>,
    /// The lane whose offset it changes.
    altered: Option<SourceKey>,
}

#[derive(Debug, Clone, Default)]
pub struct Known {
    pub acknowledged: Option<Wanted>,
    pub pending: Option<Pending>,
    /// The store was restored: what was acknowledged may be lost, and what was asked may still come.
    pub is_unsure: bool,
    /// When it was stopped, as far as the user knows.
    stopped_at: u64,
}

pub struct User {
    pub process: Process,
    pub connectors: BTreeMap<ConnectorName, Known>,
    last_number: u64,
    versions: u64,
    leader: Option<usize>,
    /// An answer that cannot be, by what was acknowledged.
    pub surprise: Option<String>,
}

impl User {
    pub fn new(mut process: Process, connectors: usize) -> Self {
        process.begin();
        let names = ["alpha", "beta", "gamma"].into_iter().take(connectors);
        let known = names.map(|name| (name.parse().expect("a name"), Known::default()));
        Self {
            process,
            connectors: known.collect(),
            last_number: 0,
            versions: 0,
            leader: None,
            surprise: None,
        }
    }

    /// The store was restored.
    pub fn lose_sight(&mut self) {
        for known in self.connectors.values_mut() {
            *known = Known { is_unsure: true, ..Known::default() };
        }
    }

    /// Takes what is there for what was asked, but for what is going. Says whether it should look again.
    pub fn look(&mut self, view: &View) -> bool {
        for (name, known) in self.connectors.iter_mut().filter(|(_, known)| known.is_unsure) {
            let there = view.connectors.get(name);
            if there.is_some_and(|connector| connector.deleting) {
                continue;
            }
            let acknowledged = there.map(|it| Wanted { config: it.config.clone(), target: it.target });
            // That it is to be stopped does not say that all of it has.
            *known = Known { acknowledged, stopped_at: NEVER, ..Known::default() };
        }
        self.connectors.values().any(|known| known.is_unsure)
    }

    /// Does something with one connector, unless it waits for an answer there.
    pub fn act(&mut self, sim: &mut Sim) {
        let names: Vec<ConnectorName> = self.connectors.keys().cloned().collect();
        let name = &names[sim.dice.index(names.len())];
        let known = self.connectors[name].clone();
        if known.pending.is_some() || known.is_unsure {
            return;
        }
        let (command, after) = match known.acknowledged {
            None => self.create(sim, name),
            Some(wanted) => {
                // What was on its way to the brokers has arrived by then.
                let is_quiet = sim.now > known.stopped_at.saturating_add(IN_FLIGHT_MS + 500);
                let is_stopped = wanted.target == TargetState::Stopped && is_quiet;
                if is_stopped && sim.dice.percent(70) {
                    let (name, by) = (name.clone(), self.request());
                    (Command::BeginAlteration { name, by }, Some(wanted))
                } else {
                    self.change(sim, name, wanted)
                }
            }
        };
        self.ask(sim, name, command, after, None);
    }

    fn ask(
        &mut self,
        sim: &mut Sim,
        name: &ConnectorName,
        command: Command,
        after: Option<Wanted>,
        altered: Option<SourceKey>,
    ) {
        self.last_number += 1;
        let number = self.last_number;
        sim.note(Node::User, "asks", || format!("{number}: {}", shown(&command)));
        sim.trace.count(kind(&command));
        let pending = Pending { number, command, tries: 0, turn: 0, after, altered };
        self.connectors.entry(name.clone()).or_default().pending = Some(pending);
        self.send(sim, number);
    }

    /// A change of offsets has begun: an agent writes the position, and says what it knew.
    fn alter(&mut self, sim: &mut Sim, name: &ConnectorName, by: RequestId, after: Option<Wanted>) {
        let prefix = format!("{name}-");
        let keys: Vec<SourceKey> = sim
            .brokers
            .pairs
            .keys()
            .filter(|(topic, _)| topic.as_str().starts_with(&prefix))
            .cloned()
            .collect();
        let key = (!keys.is_empty()).then(|| keys[sim.dice.index(keys.len())].clone());
        let lanes = key.iter().map(|key| {
            let lane = lane_id(&AssignmentId::survey(name), key);
            let end = sim.brokers.source_end(key).unsigned_abs();
            let next_offset = i64::try_from(sim.dice.below(end + 1)).expect("a short log");
            let next_offset = (!sim.dice.percent(30)).then_some(next_offset);
            sim.note(Node::User, "alters", || format!("{lane} to {next_offset:?}"));
            let newest = sim.brokers.alter(&lane, next_offset);
            (lane, newest)
        });
        let altered = Altered { lanes: lanes.collect(), is_reset: false, told: String::new() };
        let command = Command::EndAlteration { name: name.clone(), by, altered };
        self.ask(sim, name, command, after, key);
    }

    /// Says something once; nothing depends on the answer.
    pub fn tell(&mut self, sim: &mut Sim, command: Command) {
        self.last_number += 1;
        let number = self.last_number;
        sim.note(Node::User, "says", || format!("{number}: {}", shown(&command)));
        sim.trace.count(kind(&command));
        let replica = self.leader.unwrap_or_else(|| sim.dice.index(REPLICAS));
        let command = Box::new(command);
        sim.send(Node::User, Node::Replica(replica), None, Message::Command { number, command });
    }

    fn create(&mut self, sim: &mut Sim, name: &ConnectorName) -> (Command, Option<Wanted>) {
        let given = self.config(sim, name);
        let initial = if sim.dice.percent(80) { TargetState::Running } else { TargetState::Paused };
        let wanted = Wanted { config: stored(&given, name), target: initial };
        let command =
            Command::Create { request: self.request(), name: name.to_string(), config: given, initial };
        (command, Some(wanted))
    }

    fn change(&mut self, sim: &mut Sim, name: &ConnectorName, wanted: Wanted) -> (Command, Option<Wanted>) {
        let request = self.request();
        let name = name.clone();
        match sim.dice.below(100) {
            0..25 => {
                let given = self.config(sim, &name);
                let after = Wanted { config: stored(&given, &name), ..wanted };
                (Command::PutConfig { request, name, config: given }, Some(after))
            }
            25..40 if wanted.target != TargetState::Stopped => {
                target(request, name, wanted, TargetState::Stopped)
            }
            40..48 if wanted.target != TargetState::Paused => {
                target(request, name, wanted, TargetState::Paused)
            }
            48..58 => (Command::Delete { request, name }, None),
            58..66 => {
                let command = Command::Restart { name, include_tasks: true, only_failed: false };
                (command, Some(wanted))
            }
            66..72 => (Command::RestartTask { name, task: 0 }, Some(wanted)),
            _ => target(request, name, wanted, TargetState::Running),
        }
    }

    fn request(&self) -> String {
        format!("request-{}", self.last_number + 1)
    }

    fn config(&mut self, sim: &mut Sim, name: &ConnectorName) -> GivenConfig {
        self.versions += 1;
        // Names, and no pattern: to make those ready takes more time than all the rest.
        let topics = format!("{name}-0,{name}-1,{name}-2");
        let tasks_max = (1 + sim.dice.below(4)).to_string();
        let policy = ["fail", "continue", "restart"][sim.dice.index(3)];
        let pairs = [
            ("connector.class", "EMRReplicatorSourceConnector"),
            ("src.kafka.bootstrap.servers", "source:9092"),
            ("topic.whitelist", topics.as_str()),
            ("topic.rename.format", "${topic}.copy"),
            ("tasks.max", tasks_max.as_str()),
            ("loss.policy", policy),
        ];
        pairs.map(|(key, value)| (key.to_owned(), Some(value.to_owned()))).into()
    }

    fn send(&mut self, sim: &mut Sim, number: u64) {
        let pending = self.connectors.values_mut().filter_map(|known| known.pending.as_mut());
        let Some(pending) = pending.into_iter().find(|pending| pending.number == number) else { return };
        pending.tries += 1;
        if pending.tries > 1 {
            sim.trace.count("commands asked again");
        }
        let command = Box::new(pending.command.clone());
        let waits_for_releases = is_slow(&command);
        let replica = self.leader.take().unwrap_or_else(|| sim.dice.index(REPLICAS));
        sim.send(Node::User, Node::Replica(replica), None, Message::Command { number, command });
        let patience =
            if waits_for_releases { sim.between(6_000, 20_000) } else { sim.between(2_000, 6_000) };
        self.ask_again(sim, number, patience);
    }

    fn ask_again(&mut self, sim: &mut Sim, number: u64, delay: u64) {
        let pending = self.connectors.values_mut().filter_map(|known| known.pending.as_mut());
        if let Some(pending) = pending.into_iter().find(|pending| pending.number == number) {
            pending.turn += 1;
            sim.wake(&self.process, delay, Timer::UserSilent { number, turn: pending.turn });
        }
    }

    pub fn wake(&mut self, sim: &mut Sim, timer: &Timer) {
        let Timer::UserSilent { number, turn } = timer else { return };
        let is_due = |pending: &Pending| pending.number == *number && pending.turn == *turn;
        if self.connectors.values().filter_map(|known| known.pending.as_ref()).any(is_due) {
            self.send(sim, *number);
        }
    }

    pub fn hear(&mut self, sim: &mut Sim, message: Message) {
        let Message::Replied { number, reply, leader } = message else { return };
        let known = self
            .connectors
            .iter_mut()
            .find(|(_, known)| known.pending.as_ref().is_some_and(|pending| pending.number == number));
        let Some((name, known)) = known else { return };
        let Some(pending) = &known.pending else { return };
        let Some(reply) = reply else {
            self.leader = leader;
            let delay = sim.between(100, 500);
            return self.ask_again(sim, number, delay);
        };
        match judge(pending, reply) {
            Judged::Done => {
                sim.note(Node::User, "knows", || format!("{number} is done: {}", shown(&pending.command)));
                sim.trace.count("commands acknowledged");
                known.acknowledged = pending.after.clone();
                let done = known.pending.take();
                let name = name.clone();
                done.into_iter().for_each(|done| self.done(sim, &name, done));
            }
            Judged::Again => {
                let delay = sim.between(300, 1_500);
                self.ask_again(sim, number, delay);
            }
            Judged::Refused => known.pending = None,
            Judged::Surprise(text) => {
                self.surprise = Some(format!("{name}: {} was answered: {text}", shown(&pending.command)));
                known.pending = None;
            }
        }
    }
}

impl User {
    /// What follows from what was acknowledged.
    fn done(&mut self, sim: &mut Sim, name: &ConnectorName, done: Pending) {
        let prefix = format!("{name}-");
        match done.command {
            Command::BeginAlteration { by, .. } => self.alter(sim, name, by, done.after),
            Command::EndAlteration { .. } => {
                sim.trace.count("offsets changed");
                sim.brokers.make_sure(true, |key| Some(key) == done.altered.as_ref());
            }
            Command::SetTarget { target: TargetState::Stopped, .. } => {
                self.connectors.entry(name.clone()).or_default().stopped_at = sim.now;
            }
            // Its lane records go, and so does what they say of its positions.
            Command::Delete { .. } => {
                sim.brokers.make_sure(false, |(topic, _)| topic.as_str().starts_with(&prefix));
            }
            _ => {}
        }
    }
}

enum Judged {
    Done,
    Again,
    /// Refused, rightly.
    Refused,
    Surprise(String),
}

fn judge(pending: &Pending, reply: Result<Answer, Failure>) -> Judged {
    match reply {
        Ok(_) => Judged::Done,
        Err(Failure::Unavailable(_)) => Judged::Again,
        Err(Failure::Conflict(_)) => Judged::Refused,
        Err(Failure::NotFound(text)) => match &pending.command {
            // The leader that carried it out did not know who waited for it.
            Command::Delete { .. } if pending.tries > 1 => Judged::Done,
            Command::RestartTask { .. } if text.contains("Unknown task") => Judged::Refused,
            // Nothing is stored for these, so a leader whose lease ended early may answer by an old view.
            Command::Restart { .. } | Command::RestartTask { .. } => Judged::Again,
            _ => Judged::Surprise(text),
        },
        Err(Failure::AlreadyExists(text) | Failure::Invalid(text)) => Judged::Surprise(text),
    }
}

impl Pending {
    pub fn command(&self) -> &Command {
        &self.command
    }
}

impl Known {
    /// Whether a connector may be stored like that, by what was acknowledged and what is under way.
    pub fn allows(&self, stored: Option<&Connector>) -> bool {
        let is = |wanted: Option<&Wanted>| match (wanted, stored) {
            (None, None) => true,
            (Some(wanted), Some(stored)) => {
                wanted.config == stored.config && wanted.target == stored.target && !stored.deleting
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        if self.is_unsure {
            return true;
        }
        let Some(pending) = &self.pending else { return is(self.acknowledged.as_ref()) };
        let is_going = pending.after.is_none() && stored.is_some_and(|stored| stored.deleting);
        is_going || is(self.acknowledged.as_ref()) || is(pending.after.as_ref())
    }

    /// Whether it is acknowledged that nothing of it runs, and nothing else is under way.
    pub fn is_acknowledged_idle(&self) -> bool {
        let is_idle = self.acknowledged.as_ref().is_none_or(|it| it.target == TargetState::Stopped);
        self.pending.is_none() && is_idle && !self.is_unsure
    }
}

fn target(
    request: String,
    name: ConnectorName,
    wanted: Wanted,
    target: TargetState,
) -> (Command, Option<Wanted>) {
    (Command::SetTarget { request, name, target }, Some(Wanted { target, ..wanted }))
}

fn is_slow(command: &Command) -> bool {
    matches!(command, Command::Delete { .. } | Command::SetTarget { target: TargetState::Stopped, .. })
}

/// As the store has it.
fn stored(given: &GivenConfig, name: &ConnectorName) -> BTreeMap<String, String> {
    let mut config: BTreeMap<String, String> =
        given.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
    config.insert("name".to_owned(), name.to_string());
    config
}

fn kind(command: &Command) -> &'static str {
    match command {
        Command::Create { .. } => "creates",
        Command::PutConfig { .. } | Command::PatchConfig { .. } => "changes of configs",
        Command::Delete { .. } => "deletes",
        Command::SetTarget { target: TargetState::Stopped, .. } => "stops",
        Command::SetTarget { target: TargetState::Paused, .. } => "pauses of connectors",
        Command::SetTarget { target: TargetState::Running, .. } => "resumes",
        Command::Restart { .. } | Command::RestartTask { .. } => "restarts of connectors",
        Command::ForgetAgent { .. } => "agents forgotten",
        Command::DrainAgent { .. } => "agents drained by the user",
        Command::Move { .. } => "parts moved by the user",
        Command::BeginAlteration { .. } | Command::EndAlteration { .. } => "changes of offsets",
        Command::ResetTopics { .. } => "resets of topics",
    }
}

/// A command in a few words.
pub fn shown(command: &Command) -> String {
    match command {
        Command::Create { name, config, .. } => format!("create {name} {}", config_shown(config)),
        Command::PutConfig { name, config, .. } => format!("put {name} {}", config_shown(config)),
        Command::PatchConfig { name, .. } => format!("patch {name}"),
        Command::Delete { name, .. } => format!("delete {name}"),
        Command::SetTarget { name, target, .. } => format!("set {name} {}", target.as_str()),
        Command::Restart { name, .. } => format!("restart {name}"),
        Command::RestartTask { name, task } => format!("restart {name}-{task}"),
        Command::ForgetAgent { agent } => format!("forget {agent}"),
        Command::DrainAgent { agent, drained } => format!("drain {agent}: {drained}"),
        Command::Move { id, to } => format!("move {id} to {to}"),
        Command::BeginAlteration { name, .. } => format!("begin to alter the offsets of {name}"),
        Command::EndAlteration { name, .. } => format!("end to alter the offsets of {name}"),
        Command::ResetTopics { name, .. } => format!("reset the topics of {name}"),
    }
}

fn config_shown(config: &GivenConfig) -> String {
    let value = |key: &str| config.get(key).cloned().flatten().unwrap_or_default();
    format!("tasks.max={} loss.policy={}", value("tasks.max"), value("loss.policy"))
}
