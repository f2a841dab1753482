//! An operator moves a part: as for balance its holder releases it first, and then it goes to the agent named, where
//! balance leaves it.

use copyist_model::{AgentId, AssignmentId, Part, TaskId};

use super::event::{Answer, Failure};
use super::placing::Moving;
use super::requests::Outcome;
use super::statements::should_run;
use super::{Core, Until, Waiting};

impl Core {
    /// Whether a part may go to an agent now.
    pub(super) fn check_move(&self, id: &AssignmentId, to: &AgentId) -> Outcome {
        let name = &id.connector;
        let Some(connector) = self.view.connectors.get(name) else {
            return Err(Failure::NotFound(format!("Unknown connector: {name}")));
        };
        if let Part::Task(number) = id.part
            && !self.view.tasks.contains_key(&TaskId { connector: name.clone(), number })
        {
            return Err(Failure::NotFound(format!("Unknown task: {name}-{number}")));
        }
        let Some(agent) = self.view.agents.get(to) else {
            return Err(Failure::NotFound(format!("Unknown agent: {to}")));
        };
        let wanted = self.choice(id).labels;
        let lacks = wanted.iter().find(|(key, value)| agent.labels.get(*key) != Some(*value));
        let process = agent.process_of(to.clone());
        let because = match self.sessions.get(to) {
            _ if !should_run(connector, id.part) => "it is not to run now".to_owned(),
            _ if self.held(id).is_none() => "nobody runs it now: try again".to_owned(),
            None => format!("agent {to} has no session with the leader: try again"),
            Some(_) if !self.is_there(&process) => format!("agent {to} was silent for too long"),
            Some(session) if session.draining || agent.drained => format!("agent {to} is being drained"),
            Some(_) => match lacks {
                Some((key, value)) => format!("agent {to} does not have the label {key}={value}"),
                None => return Ok((Vec::new(), Answer::Done)),
            },
        };
        Err(Failure::Conflict(format!("{id} cannot go to {to}: {because}")))
    }

    /// Begins a move that was checked; says whether there is anything to wait for.
    pub(super) fn begin_move(&mut self, id: &AssignmentId, to: &AgentId) -> bool {
        let Some(held) = self.held(id) else { return false };
        if held.holder.agent == *to && !self.moving.contains_key(id) {
            return false;
        }
        let moving = Moving { epoch: held.epoch, to: to.clone(), by_operator: true };
        self.restate.insert(id.clone());
        self.moving.insert(id.clone(), moving);
        self.stale.statements = true;
        true
    }

    /// What became of a move that was waited for.
    pub(super) fn moved(&self, waiting: &Waiting) -> Result<Answer, Failure> {
        let Until::Moved(id, to) = &waiting.until else { return Ok(Answer::Done) };
        let connector = self.view.connectors.get(&id.connector);
        let because = match self.view.assignments.get(id) {
            Some(assignment) if assignment.holder.agent == *to => return Ok(Answer::Done),
            Some(assignment) if connector.is_some_and(|it| should_run(it, id.part)) => {
                format!("it is with {}", assignment.holder.agent)
            }
            Some(_) | None => "it is not to run any more".to_owned(),
        };
        Err(Failure::Conflict(format!("{id} did not get to {to}: {because}")))
    }

    /// Where an operator sends a part that nobody has now.
    pub(super) fn sent_to(&self, id: &AssignmentId) -> Option<&AgentId> {
        let moving = self.moving.get(id).filter(|moving| moving.by_operator)?;
        self.check_taker(&moving.to).then_some(&moving.to)
    }

    fn check_taker(&self, agent: &AgentId) -> bool {
        let process = self.view.agents.get(agent).map(|it| (it.drained, it.process_of(agent.clone())));
        process.is_some_and(|(drained, process)| !drained && self.is_there(&process))
            && self.sessions.get(agent).is_some_and(|session| !session.draining)
    }
}
