//! What operators are told of the fleet: who is there, which part is where, and why.

use std::collections::BTreeMap;

use copyist_model::{AgentChoice, AgentId, AssignmentEpoch, AssignmentId};

use super::Core;
use super::changes::parts_of;
use super::placement::Labels;
use super::view::{Agent, Holder};

/// A living agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentShown {
    pub process: Holder,
    pub rack: String,
    pub labels: BTreeMap<String, String>,
    /// Whether it has a session.
    pub connected: bool,
    /// Whether it was silent for too long.
    pub suspect: bool,
    /// Whether it is to have nothing to run.
    pub draining: bool,
    pub parts: usize,
    pub lanes: usize,
}

/// Where a part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// Who holds it, and since which epoch.
    pub holder: Option<(AgentId, AssignmentEpoch)>,
    /// Former holders that have not confirmed its release.
    pub former: Vec<AgentId>,
    pub moving_to: Option<AgentId>,
    pub pinned: bool,
    /// Why, in sentences.
    pub reason: String,
}

impl Core {
    /// All living agents, ordered by id.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentShown> {
        let loads = self.loads();
        let shown = self.view.agents.iter().map(|(id, agent)| self.agent_shown(id, agent, &loads));
        shown.collect()
    }

    /// One of them.
    #[must_use]
    pub fn agent(&self, id: &AgentId) -> Option<AgentShown> {
        let agent = self.view.agents.get(id)?;
        Some(self.agent_shown(id, agent, &self.loads()))
    }

    /// Whom to ask what every agent knows: the same one each time, so that who changes something sees that it is changed.
    /// One that goes is better than nobody.
    #[must_use]
    pub fn respondent(&self) -> Option<Holder> {
        let able = || self.sessions.values().find(|it| it.is_settled && self.is_there(&it.holder));
        self.scribe().or_else(|| able().map(|session| session.holder.clone()))
    }

    fn agent_shown(
        &self,
        id: &AgentId,
        agent: &Agent,
        loads: &BTreeMap<AgentId, (usize, usize)>,
    ) -> AgentShown {
        let process = agent.process_of(id.clone());
        let session = self.sessions.get(id).filter(|session| session.holder == process);
        let (parts, lanes) = loads.get(id).copied().unwrap_or_default();
        AgentShown {
            suspect: self.hearing.is_suspect(&process),
            process,
            rack: agent.rack.clone(),
            labels: agent.labels.clone(),
            connected: session.is_some(),
            draining: agent.drained || session.is_some_and(|session| session.draining),
            parts,
            lanes,
        }
    }

    /// Parts and lanes of each agent; a survey weighs as one lane, as in placement.
    fn loads(&self) -> BTreeMap<AgentId, (usize, usize)> {
        let mut loads: BTreeMap<AgentId, (usize, usize)> = BTreeMap::new();
        for (id, assignment) in &self.view.assignments {
            let (parts, lanes) = loads.entry(assignment.holder.agent.clone()).or_default();
            *parts += 1;
            *lanes += self.weight(id);
        }
        loads
    }

    /// Where a part is; nothing: there is no such part.
    #[must_use]
    pub fn whereabouts(&self, id: &AssignmentId) -> Option<Whereabouts> {
        parts_of(&self.view, &id.connector).find(|part| part == id)?;
        let assignment = self.view.assignments.get(id);
        let moving = self.moving.get(id);
        let current = assignment.map(|it| (it.holder.clone(), it.epoch));
        let former = self.view.unreleased(id).filter(|holding| Some(holding) != current.as_ref());
        Some(Whereabouts {
            former: former.map(|(holder, _)| holder.agent).collect(),
            moving_to: moving.map(|moving| moving.to.clone()),
            pinned: assignment.is_some_and(|assignment| assignment.pinned),
            reason: self.reason(id),
            holder: current.map(|(holder, epoch)| (holder.agent, epoch)),
        })
    }

    fn reason(&self, id: &AssignmentId) -> String {
        let Some(assignment) = self.view.assignments.get(id) else {
            return self.part_status(id).map(|status| status.trace).unwrap_or_default();
        };
        let AgentChoice { labels, racks } = self.choice(id);
        let (agents, holder) = (self.agents(), &assignment.holder.agent);
        let mut sentences = Vec::new();
        if !labels.is_empty() {
            sentences.push(format!("only agents with the labels {} may have it", listed(&labels)));
        }
        if !racks.is_empty() {
            let racks: Vec<String> = racks.into_iter().collect();
            sentences.push(format!("it is rather in {} than elsewhere", racks.join(", ")));
        }
        match agents.iter().find(|agent| agent.process == assignment.holder) {
            None => sentences.push(format!("the process of {holder} that has it is gone")),
            Some(agent) if agent.suspect => {
                sentences.push(format!("{holder} was silent for too long, and no other one can take over"));
            }
            Some(agent) => sentences.push(format!("{holder} has {} lanes", agent.lanes)),
        }
        let idlest = agents.iter().filter(|agent| may_take(agent, &labels)).min_by_key(|agent| agent.lanes);
        match idlest {
            Some(idlest) if idlest.process.agent != *holder => sentences.push(format!(
                "the idlest agent that may have it, {}, has {}",
                idlest.process.agent, idlest.lanes
            )),
            Some(_) => sentences.push("no agent that may have it has less".to_owned()),
            None => sentences.push("no agent may take it now".to_owned()),
        }
        match (self.moving.get(id), assignment.pinned) {
            (Some(moving), _) if moving.by_operator => {
                sentences.push(format!("an operator moves it to {}", moving.to));
            }
            (Some(moving), _) => sentences.push(format!("it moves to {} for balance", moving.to)),
            (None, true) => sentences.push("an operator put it there, so it stays".to_owned()),
            (None, false) => sentences.push(
                "it stays unless its agent has more lanes on top of the idlest than its heaviest part"
                    .to_owned(),
            ),
        }
        sentences.join("; ")
    }
}

fn may_take(agent: &AgentShown, labels: &Labels) -> bool {
    agent.connected
        && !agent.suspect
        && !agent.draining
        && labels.iter().all(|(key, value)| agent.labels.get(key) == Some(value))
}

fn listed(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
