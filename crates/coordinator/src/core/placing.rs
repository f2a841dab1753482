//! Placement of what is stored. Parts without a living holder are assigned as soon as they are seen; for balance parts
//! move on a tick, a few at a time: the holder is told to release, confirms, and only then another one is assigned.

use std::collections::BTreeSet;

use copyist_model::{AgentId, AssignmentEpoch, AssignmentId, Part, TaskId};

use super::Core;
use super::event::Commit;
use super::placement::{Candidate, Fleet, Hold, Labels, Move, Placed, Standing, place};
use super::statements::should_run;
use super::view::{Assignment, Holder, Write};

/// Of all parts at most one in so many moves at the same time, as its lanes stand still meanwhile.
const MOVING_SHARE: usize = 10;

/// A part that its holder was told to release for another agent.
///
/// A new leader does not know of it: it states the part to its holder, which goes on releasing what it was told to
/// release, and confirms.
#[derive(Debug)]
pub(super) struct Moving {
    epoch: AssignmentEpoch,
    to: AgentId,
}

impl Core {
    pub(super) fn place_parts(&mut self, tick: bool) -> Vec<Commit> {
        if !tick && !self.parts().any(|id| self.held(&id).is_none()) {
            return Vec::new();
        }
        let fleet = self.fleet();
        let plan = place(&fleet);
        if tick {
            self.begin_moves(fleet.parts.len(), plan.moves);
        }
        let given: Vec<(Holder, Write)> =
            plan.taken.into_iter().filter_map(|(id, agent)| self.assignment(id, agent)).collect();
        given.chunks(Commit::WRITES_MAX).map(assigning).collect()
    }

    /// Whether a part's holder is to release it for another one.
    pub(super) fn is_leaving(&self, id: &AssignmentId, epoch: AssignmentEpoch) -> bool {
        self.moving.get(id).is_some_and(|moving| moving.epoch == epoch)
    }

    pub(super) fn forget_ended_moves(&mut self) {
        let view = &self.view;
        self.moving.retain(|id, moving| {
            view.assignments.get(id).is_some_and(|assignment| assignment.epoch == moving.epoch)
                && view.connectors.get(&id.connector).is_some_and(|connector| should_run(connector, id.part))
        });
    }

    fn begin_moves(&mut self, parts: usize, moves: Vec<Move>) {
        let most = (parts / MOVING_SHARE).max(1);
        for Move { id, to, .. } in moves {
            if self.moving.len() < most
                && let Some(assignment) = self.view.assignments.get(&id)
            {
                // What moves already is placed afresh once it is released.
                self.moving.entry(id).or_insert(Moving { epoch: assignment.epoch, to });
            }
        }
    }

    /// A part's next assignment. Former holders stay known until they confirm, through any number of hands.
    fn assignment(&self, id: AssignmentId, agent: AgentId) -> Option<(Holder, Write)> {
        let incarnation = self.view.agents.get(&agent)?.incarnation.clone();
        let holder = Holder { agent, incarnation };
        let mut former = Vec::new();
        if let Some(current) = self.view.assignments.get(&id) {
            former.clone_from(&current.former);
            if self.released.get(&id) != Some(&current.epoch) {
                former.push((current.holder.clone(), current.epoch));
            }
        }
        let assignment = Assignment { holder: holder.clone(), epoch: AssignmentEpoch::default(), former };
        Some((holder, Write::Assignment(id, Some(assignment))))
    }

    fn fleet(&self) -> Fleet {
        let agents = self.view.agents.iter().map(|(id, agent)| {
            let standing = match self.sessions.get(id) {
                Some(session) if session.draining => Standing::Drains,
                Some(_) => Standing::Takes,
                None => Standing::Keeps,
            };
            (id.clone(), Candidate { standing, rack: agent.rack.clone(), labels: agent.labels.clone() })
        });
        let parts = self.parts().map(|id| {
            let (weight, hold) = (self.weight(&id), self.hold(&id));
            (id, Placed { weight, hold, wants: Labels::new(), prefers: Vec::new() })
        });
        Fleet { agents: agents.collect(), parts: parts.collect() }
    }

    /// All that should be with an agent.
    fn parts(&self) -> impl Iterator<Item = AssignmentId> {
        self.view.connectors.iter().flat_map(|(name, connector)| {
            let tasks = self.view.tasks_of(name).map(|(number, _)| AssignmentId::task(name, number));
            let all = std::iter::once(AssignmentId::survey(name)).chain(tasks);
            all.filter(|id| should_run(connector, id.part))
        })
    }

    fn hold(&self, id: &AssignmentId) -> Hold {
        let Some(assignment) = self.held(id) else { return Hold::Nobody };
        let from = assignment.holder.agent.clone();
        match self.moving.get(id) {
            Some(moving) => Hold::Moving { from, to: moving.to.clone() },
            None => Hold::Agent(from),
        }
    }

    /// A part's assignment, if the holder lives and has not released it.
    fn held(&self, id: &AssignmentId) -> Option<&Assignment> {
        let assignment = self.view.assignments.get(id)?;
        let is_released = self.released.get(id) == Some(&assignment.epoch);
        (!is_released && self.is_alive(&assignment.holder)).then_some(assignment)
    }

    fn weight(&self, id: &AssignmentId) -> usize {
        match id.part {
            Part::Survey => 1,
            Part::Task(number) => {
                let task = self.view.tasks.get(&TaskId { connector: id.connector.clone(), number });
                task.map_or(0, |task| task.lanes.len())
            }
        }
    }
}

/// Valid only as long as every new holder lives.
fn assigning(given: &[(Holder, Write)]) -> Commit {
    let alive: BTreeSet<&Holder> = given.iter().map(|(holder, _)| holder).collect();
    Commit {
        alive: alive.into_iter().cloned().collect(),
        writes: given.iter().map(|(_, write)| write.clone()).collect(),
        sends: Vec::new(),
    }
}
