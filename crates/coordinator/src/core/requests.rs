//! What users ask, as writes and replies. Texts are Connect's (connect-rest.md).

use std::collections::BTreeMap;

use copyist_model::{
    AgentId, ConnectorGeneration, ConnectorName, InstanceState, TargetState, TaskId, TaskRevision,
};

use super::event::{Answer, Command, Commit, Failure, GivenConfig, Now, Send, Ticket};
use super::view::{Agent, Connector, RequestAnswer, Status, Task, Write};
use super::{Core, StatusView, Until, Waiting, is_failed};

/// How long the answer to a write is kept for whoever repeats it.
const REQUEST_KEPT_MS: u64 = 120_000;

/// A commit has a connector's config twice, the second time in the answer that is kept.
const CONFIG_BYTES_MAX: usize = Commit::BYTES_MAX / 3;

type Planned = (Vec<Write>, Vec<Send>);

impl Core {
    /// The writes that a command needs, and the replies that follow them. A command without writes is answered
    /// at once; one that waits for releases is answered by `Core::settle`.
    pub(super) fn plan(&mut self, now: Now, ticket: Ticket, command: &Command) -> Planned {
        let planned = match command {
            Command::Create { request, name, config, initial } => {
                self.repeated(request).unwrap_or_else(|| self.create(name, config, *initial))
            }
            Command::PutConfig { request, name, config } => {
                self.repeated(request).unwrap_or_else(|| self.put_config(name, config))
            }
            Command::PatchConfig { request, name, changes } => {
                self.repeated(request).unwrap_or_else(|| self.patch_config(name, changes))
            }
            Command::Delete { request, name } => match self.repeated(request) {
                Some(answered) => answered,
                None => return self.delete(ticket, request, name),
            },
            Command::SetTarget { request, name, target } => match self.repeated(request) {
                Some(answered) => answered,
                None if *target == TargetState::Stopped => return self.stop(ticket, request, name),
                None => self.set_target(name, *target),
            },
            Command::Restart { name, include_tasks, only_failed } => {
                self.restart(name, *include_tasks, *only_failed)
            }
            Command::RestartTask { name, task } => self.restart_task(name, *task),
            Command::ForgetAgent { agent } => self.forget_agent(agent),
            Command::DrainAgent { agent, drained } => self.drain_agent(agent, *drained),
        };
        match planned {
            Ok((mut writes, answer)) => {
                if !writes.is_empty() {
                    writes.extend(remember(now, request_id(command), &answer));
                }
                (writes, vec![Send::Reply(ticket, Ok(answer))])
            }
            Err(failure) => (Vec::new(), vec![Send::Reply(ticket, Err(failure))]),
        }
    }

    fn repeated(&self, request: &str) -> Option<Result<(Vec<Write>, Answer), Failure>> {
        let stored = self.view.requests.get(request)?;
        Some(Ok((Vec::new(), stored.answer.clone())))
    }

    fn create(
        &self,
        name: &str,
        given: &GivenConfig,
        initial: TargetState,
    ) -> Result<(Vec<Write>, Answer), Failure> {
        let name = name.trim();
        // The config is judged first: an invalid one for a name that is taken is 400, not 409.
        let config = accept(name, given)?;
        let name: ConnectorName = parse_name(name)?;
        if self.view.connectors.contains_key(&name) {
            return Err(Failure::AlreadyExists(format!("Connector {name} already exists")));
        }
        let connector = new_connector(&name, config, initial);
        let info = super::Info { name: name.clone(), config: connector.config.clone(), tasks: Vec::new() };
        Ok((vec![Write::Connector(name, Some(Box::new(connector)))], Answer::Info { created: true, info }))
    }

    fn put_config(&self, name: &ConnectorName, given: &GivenConfig) -> Result<(Vec<Write>, Answer), Failure> {
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

    fn patch_config(
        &self,
        name: &ConnectorName,
        changes: &GivenConfig,
    ) -> Result<(Vec<Write>, Answer), Failure> {
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
        let unchanged = before.spec == spec;
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

    fn delete(&mut self, ticket: Ticket, request: &str, name: &ConnectorName) -> Planned {
        let connector = match self.connector(name, |name| format!("Connector {name} not found")) {
            Ok(connector) => connector,
            Err(failure) => return (Vec::new(), vec![Send::Reply(ticket, Err(failure))]),
        };
        let deleting = Connector { deleting: true, ..connector.clone() };
        let already = connector.deleting;
        self.wait(ticket, request, name, Until::Deleted);
        let writes =
            if already { vec![] } else { vec![Write::Connector(name.clone(), Some(Box::new(deleting)))] };
        (writes, Vec::new())
    }

    fn stop(&mut self, ticket: Ticket, request: &str, name: &ConnectorName) -> Planned {
        match self.set_target(name, TargetState::Stopped) {
            Ok((writes, _)) => {
                self.wait(ticket, request, name, Until::Stopped);
                (writes, Vec::new())
            }
            Err(failure) => (Vec::new(), vec![Send::Reply(ticket, Err(failure))]),
        }
    }

    fn wait(&mut self, ticket: Ticket, request: &str, name: &ConnectorName, until: Until) {
        self.waiting.insert(ticket, Waiting { name: name.clone(), request: request.to_owned(), until });
    }

    fn set_target(&self, name: &ConnectorName, target: TargetState) -> Result<(Vec<Write>, Answer), Failure> {
        let before = self.connector(name, |name| format!("Unknown connector {name}"))?;
        if before.target == target {
            return Ok((Vec::new(), Answer::Done));
        }
        let after = Connector { target, ..before.clone() };
        Ok((vec![Write::Connector(name.clone(), Some(Box::new(after)))], Answer::Done))
    }

    /// A restart raises revisions: an agent that sees one retries what had stopped, and keeps what runs.
    fn restart(
        &self,
        name: &ConnectorName,
        include_tasks: bool,
        only_failed: bool,
    ) -> Result<(Vec<Write>, Answer), Failure> {
        let before = self.connector(name, |name| format!("Unknown connector: {name}"))?;
        let mut status = self.status(name).unwrap_or_else(|| unknown_status(name));
        let mut writes = Vec::new();
        if !only_failed || is_failed(&status.connector) {
            let after = Connector { revision: before.revision.next(), ..before.clone() };
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

    fn restart_task(&self, name: &ConnectorName, task: i32) -> Result<(Vec<Write>, Answer), Failure> {
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

    fn drain_agent(&self, id: &AgentId, drained: bool) -> Result<(Vec<Write>, Answer), Failure> {
        let Some(agent) = self.view.agents.get(id) else {
            return Err(Failure::NotFound(format!("Unknown agent: {id}")));
        };
        let after = (agent.drained != drained).then(|| Agent { drained, ..agent.clone() });
        Ok((after.into_iter().map(|after| Write::Agent(id.clone(), Some(after))).collect(), Answer::Done))
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
        | Command::SetTarget { request, .. } => request,
        Command::Restart { .. }
        | Command::RestartTask { .. }
        | Command::ForgetAgent { .. }
        | Command::DrainAgent { .. } => "",
    }
}

/// The write that keeps an answer for a repeated request, where the request has an id.
pub(super) fn remember(now: Now, request: &str, answer: &Answer) -> Option<Write> {
    let kept = RequestAnswer { answer: answer.clone(), expires_at_ms: now.wall_ms + REQUEST_KEPT_MS };
    (!request.is_empty()).then(|| Write::Request(request.to_owned(), Some(Box::new(kept))))
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
    }
}

fn unknown_status(name: &ConnectorName) -> StatusView {
    StatusView {
        name: name.clone(),
        connector: Status::new(InstanceState::Unassigned, None, String::new()),
        tasks: Vec::new(),
    }
}
