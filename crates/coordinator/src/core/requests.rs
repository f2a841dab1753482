//! What users ask, as writes and replies. Texts are Connect's (connect-rest.md).

use std::collections::BTreeMap;

use copyist_model::{
    AgentId, ConnectorGeneration, ConnectorName, InstanceState, TargetState, TaskId, TaskRevision,
};

use super::event::{Answer, Command, Commit, Failure, GivenConfig, Now, Send, Ticket};
use super::offsets::is_unaltered;
use super::view::{Agent, Connector, RequestAnswer, Status, Task, TopicMarks, Write};
use super::{Core, StatusView, Until, Waiting, is_failed};
use crate::store::keys;

/// How long the answer to a write is kept for whoever repeats it.
pub(super) const REQUEST_KEPT_MS: u64 = 120_000;

/// A commit has a connector's config twice, the second time in the answer that is kept.
const CONFIG_BYTES_MAX: usize = Commit::BYTES_MAX / 3;

type Planned = (Vec<Write>, Vec<Send>);

/// What a command writes and answers, or why it fails.
pub(super) type Outcome = Result<(Vec<Write>, Answer), Failure>;

impl Core {
    /// The writes that a command needs, and the replies that follow them. A command without writes is answered
    /// at once; one that waits for releases is answered by `Core::settle`.
    pub(super) fn plan(&mut self, now: Now, ticket: Ticket, command: &Command) -> Planned {
        let request = request_id(command);
        let (mut writes, answer) = match self.view.requests.get(request) {
            Some(kept) => (Vec::new(), kept.answer.clone()),
            None => match self.carried_out(now, command) {
                Ok((writes, answer)) => (writes, Ok(answer)),
                Err(failure) => (Vec::new(), Err(failure)),
            },
        };
        // Kept even if nothing was to be done: a copy of the request that comes late must not find something to do.
        if !self.view.requests.contains_key(request) {
            writes.extend(remember(now, request, &answer));
        }
        let is_there =
            answer.is_ok() && matches!(command, Command::Move { id, to } if !self.begin_move(id, to));
        match awaited(command).filter(|_| answer.is_ok() && !is_there) {
            Some((name, until)) => {
                let waiting = Waiting { name: name.clone(), request: request.to_owned(), until };
                self.waiting.insert(ticket, waiting);
                (writes, Vec::new())
            }
            None => (writes, vec![Send::Reply(ticket, answer)]),
        }
    }

    fn carried_out(&mut self, now: Now, command: &Command) -> Outcome {
        match command {
            Command::Create { name, config, initial, .. } => self.create(name.trim(), config, *initial),
            Command::PutConfig { name, config, .. } => self.put_config(name, config),
            Command::PatchConfig { name, changes, .. } => self.patch_config(name, changes),
            Command::Delete { name, .. } => self.delete(now, name),
            Command::SetTarget { name, target, .. } => self.set_target(now, name, *target),
            Command::Restart { name, include_tasks, only_failed } => {
                self.restart(name, *include_tasks, *only_failed)
            }
            Command::RestartTask { name, task } => self.restart_task(name, *task),
            Command::ForgetAgent { agent } => self.forget_agent(agent),
            Command::DrainAgent { agent, drained } => self.drain_agent(agent, *drained),
            Command::Move { id, to } => self.check_move(id, to),
            Command::BeginAlteration { name, by } => self.begin_alteration(now, name, by),
            Command::EndAlteration { name, by, altered } => self.end_alteration(now, name, by, altered),
            Command::ResetTopics { name, marks } => self.reset_topics(name, marks),
        }
    }

    fn create(&self, name: &str, given: &GivenConfig, initial: TargetState) -> Outcome {
        // The config is judged first: an invalid one for a name that is taken is 400, not 409.
        let config = accept(name, given)?;
        let name: ConnectorName = parse_name(name)?;
        if self.view.connectors.contains_key(&name) {
            return Err(Failure::AlreadyExists(format!("Connector {name} already exists")));
        }
        let connector = new_connector(&name, config, initial);
        let info = super::Info { name: name.clone(), config: connector.config.clone(), tasks: Vec::new() };
        let deletion = self.view.deletions.get(&name).map(|_| Write::Deletion(name.clone(), None));
        let create = Write::Connector(name, Some(Box::new(connector)));
        Ok((deletion.into_iter().chain([create]).collect(), Answer::Info { created: true, info }))
    }

    fn put_config(&self, name: &ConnectorName, given: &GivenConfig) -> Outcome {
        let config = accept(name.as_str(), given)?;
        let Some(before) = self.view.connectors.get(name) else {
            return self.create(name.as_str(), given, TargetState::Running);
        };
        if before.deleting {
            return Err(Failure::Conflict(format!("Connector {name} is being deleted")));
        }
        let tasks = self.view.tasks_of(name).map(|(number, _)| number).collect();
        let info = super::Info { name: name.clone(), config: config.clone(), tasks };
        Ok((self.change_config(name, before, config), Answer::Info { created: false, info }))
    }

    fn patch_config(&self, name: &ConnectorName, changes: &GivenConfig) -> Outcome {
        let before = self.connector(name, |name| format!("Connector {name} not found"))?;
        let mut config: GivenConfig =
            before.config.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        for (key, value) in changes {
            match value {
                Some(value) => drop(config.insert(key.clone(), Some(value.clone()))),
                None => drop(config.remove(key)),
            }
        }
        if !config.contains_key("name") {
            return Err(Failure::Invalid(
                "Connector configuration is invalid and contains the following 1 error(s):\nMissing required \
                 configuration \"name\" which has no default value.\nYou can also find the above list of errors \
                 at the endpoint `/connector-plugins/{connectorType}/config/validate`"
                    .to_owned(),
            ));
        }
        self.put_config(name, &config)
    }

    /// A new config: where it changes what the tasks are, a new generation (the tasks are released and made
    /// anew); else a new revision, which reaches the running tasks.
    fn change_config(
        &self,
        name: &ConnectorName,
        before: &Connector,
        config: BTreeMap<String, String>,
    ) -> Vec<Write> {
        let (spec, warnings) = Connector::read(name, &config);
        let new_generation = match (&before.spec, &spec) {
            (Ok(before), Ok(after)) => before.needs_new_generation(after),
            (Err(_), _) | (_, Err(_)) => true,
        };
        // The very same config may repeat one whose row of commits broke off: some tasks may not have it yet.
        let unchanged = before.spec == spec && before.config != config;
        let mut after = Connector { config, spec, warnings, ..before.clone() };
        after.revision = before.revision.next();
        if new_generation {
            after.generation = before.generation.next();
        }
        let mut writes = vec![Write::Connector(name.clone(), Some(Box::new(after)))];
        if !new_generation && !unchanged {
            writes.extend(self.view.tasks_of(name).map(|(number, task)| raised(name, number, task)));
        }
        writes
    }

    fn delete(&self, now: Now, name: &ConnectorName) -> Outcome {
        let connector = self.connector(name, |name| format!("Connector {name} not found"))?;
        is_unaltered(now, name, connector, None)?;
        let after = (!connector.deleting).then(|| Connector { deleting: true, ..connector.clone() });
        let write = after.map(|after| Write::Connector(name.clone(), Some(Box::new(after))));
        Ok((write.into_iter().collect(), Answer::Done))
    }

    fn set_target(&self, now: Now, name: &ConnectorName, target: TargetState) -> Outcome {
        let before = self.connector(name, |name| format!("Unknown connector {name}"))?;
        if before.target == target {
            return Ok((Vec::new(), Answer::Done));
        }
        is_unaltered(now, name, before, None)?;
        let after = Connector { target, ..before.clone() };
        Ok((vec![Write::Connector(name.clone(), Some(Box::new(after)))], Answer::Done))
    }

    /// A restart raises revisions: an agent that sees one retries what had stopped, and keeps what runs.
    fn restart(&self, name: &ConnectorName, include_tasks: bool, only_failed: bool) -> Outcome {
        let before = self.connector(name, |name| format!("Unknown connector: {name}"))?;
        let mut status = self.status(name).unwrap_or_else(|| unknown_status(name));
        let mut writes = Vec::new();
        if !only_failed || is_failed(&status.connector) {
            let (revision, altered) = (before.revision.next(), String::new());
            let after = Connector { revision, altered, ..before.clone() };
            writes.push(Write::Connector(name.clone(), Some(Box::new(after))));
            status.connector.state = InstanceState::Restarting;
        }
        for (number, shown) in status.tasks.iter_mut().filter(|_| include_tasks) {
            let id = TaskId { connector: name.clone(), number: *number };
            if let Some(task) = self.view.tasks.get(&id)
                && (!only_failed || is_failed(shown))
            {
                writes.push(raised(name, *number, task));
                shown.state = InstanceState::Restarting;
            }
        }
        let answer = if include_tasks || only_failed { Answer::Status(status) } else { Answer::Done };
        Ok((writes, answer))
    }

    fn restart_task(&self, name: &ConnectorName, task: i32) -> Outcome {
        self.connector(name, |name| format!("Unknown connector: {name}"))?;
        let number = u32::try_from(task).ok();
        let found = number.and_then(|number| {
            let id = TaskId { connector: name.clone(), number };
            self.view.tasks.get(&id).map(|task| (number, task))
        });
        let Some((number, found)) = found else {
            return Err(Failure::NotFound(format!("Unknown task: {name}-{task}")));
        };
        Ok((vec![raised(name, number, found)], Answer::Done))
    }

    fn drain_agent(&self, id: &AgentId, drained: bool) -> Outcome {
        // One whose lease has ended is in the view until that is stored.
        let Some(agent) = self.view.agents.get(id).filter(|_| !self.leases_ended.contains_key(id)) else {
            return Err(Failure::NotFound(format!("Unknown agent: {id}")));
        };
        let after = (agent.drained != drained).then(|| Agent { drained, ..agent.clone() });
        Ok((after.into_iter().map(|after| Write::Agent(id.clone(), Some(after))).collect(), Answer::Done))
    }

    /// For a connector that is not there, there is nothing to reset, as in Connect.
    fn reset_topics(&self, name: &ConnectorName, marks: &TopicMarks) -> Outcome {
        if !self.view.connectors.contains_key(name) || self.view.topic_marks.get(name) == Some(marks) {
            return Ok((Vec::new(), Answer::Done));
        }
        let write = Write::TopicMarks(name.clone(), Some(marks.clone()));
        if keys::size(&write) > Commit::BYTES_MAX {
            let count = marks.len();
            return Err(Failure::Invalid(format!(
                "the marks of {count} topics are more than can be stored at once"
            )));
        }
        Ok((vec![write], Answer::Done))
    }

    fn connector(
        &self,
        name: &ConnectorName,
        unknown: impl Fn(&ConnectorName) -> String,
    ) -> Result<&Connector, Failure> {
        self.view.connectors.get(name).ok_or_else(|| Failure::NotFound(unknown(name)))
    }
}

fn request_id(command: &Command) -> &str {
    match command {
        Command::Create { request, .. }
        | Command::PutConfig { request, .. }
        | Command::PatchConfig { request, .. }
        | Command::Delete { request, .. }
        | Command::SetTarget { request, .. }
        | Command::EndAlteration { by: request, .. } => request,
        Command::Restart { .. }
        | Command::RestartTask { .. }
        | Command::ForgetAgent { .. }
        | Command::DrainAgent { .. }
        | Command::Move { .. }
        | Command::BeginAlteration { .. }
        | Command::ResetTopics { .. } => "",
    }
}

/// What a command waits for after its writes.
fn awaited(command: &Command) -> Option<(&ConnectorName, Until)> {
    match command {
        Command::Delete { name, .. } => Some((name, Until::Deleted)),
        Command::SetTarget { name, target: TargetState::Stopped, .. } => Some((name, Until::Stopped)),
        Command::SetTarget { target: TargetState::Running | TargetState::Paused, .. }
        | Command::Create { .. }
        | Command::PutConfig { .. }
        | Command::PatchConfig { .. }
        | Command::Restart { .. }
        | Command::RestartTask { .. }
        | Command::ForgetAgent { .. }
        | Command::DrainAgent { .. }
        | Command::BeginAlteration { .. }
        | Command::EndAlteration { .. }
        | Command::ResetTopics { .. } => None,
        Command::Move { id, to } => Some((&id.connector, Until::Moved(id.clone(), to.clone()))),
    }
}

/// The write that keeps an answer for a repeated request, where the request has an id, and the answer could be another
/// one later.
pub(super) fn remember(now: Now, request: &str, answer: &Result<Answer, Failure>) -> Option<Write> {
    let may_change = match answer {
        Ok(_) | Err(Failure::NotFound(_) | Failure::AlreadyExists(_) | Failure::Conflict(_)) => true,
        Err(Failure::Invalid(_) | Failure::Unavailable(_)) => false,
    };
    let kept = RequestAnswer { answer: answer.clone(), expires_at_ms: now.wall_ms + REQUEST_KEPT_MS };
    (!request.is_empty() && may_change).then(|| Write::Request(request.to_owned(), Some(Box::new(kept))))
}

fn raised(name: &ConnectorName, number: u32, task: &Task) -> Write {
    let id = TaskId { connector: name.clone(), number };
    Write::Task(id, Some(Task { revision: task.revision.next(), ..task.clone() }))
}

/// The config to store, if it is one: as given, plus `name`.
fn accept(name: &str, given: &GivenConfig) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |(key, value): (&String, &Option<String>)| key.len() + value.as_ref().map_or(0, String::len);
    // In a key of the store each byte of a name may become three.
    let bytes = 3 * name.len() + given.iter().map(pair).sum::<usize>();
    if bytes > CONFIG_BYTES_MAX {
        return Err(Failure::Invalid(format!(
            "the config takes {bytes} bytes, and at most {CONFIG_BYTES_MAX} can be stored: select topics by a pattern \
             instead of naming each"
        )));
    }
    copyist_connector::parse(name, given).map_err(|rejection| Failure::Invalid(rejection.to_string()))?;
    let mut config: BTreeMap<String, String> =
        given.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
    config.entry("name".to_owned()).or_insert_with(|| name.to_owned());
    Ok(config)
}

fn parse_name(name: &str) -> Result<ConnectorName, Failure> {
    name.parse().map_err(|error: copyist_model::InvalidName| Failure::Invalid(error.to_string()))
}

fn new_connector(name: &ConnectorName, config: BTreeMap<String, String>, target: TargetState) -> Connector {
    let (spec, warnings) = Connector::read(name, &config);
    Connector {
        config,
        target,
        generation: ConnectorGeneration(1),
        revision: TaskRevision(1),
        tasks_generation: ConnectorGeneration(1),
        deleting: false,
        surveyed: false,
        clusters: None,
        spec,
        warnings,
        altered: String::new(),
        altering: None,
    }
}

fn unknown_status(name: &ConnectorName) -> StatusView {
    StatusView {
        name: name.clone(),
        connector: Status::new(InstanceState::Unassigned, None, String::new()),
        tasks: Vec::new(),
    }
}
