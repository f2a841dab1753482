//! Placement of what is stored. Parts without a living holder are assigned as soon as they are seen; for balance parts
//! move on a tick, a few at a time: the holder is told to release, confirms, and only then another one is assigned.

use std::collections::BTreeSet;

use copyist_model::{AgentChoice, AgentId, AssignmentEpoch, AssignmentId, Part, TaskId};

use super::Core;
use super::changes::parts_of;
use super::event::Commit;
use super::placement::{Candidate, Fleet, Hold, Move, Placed, Standing, place};
use super::statements::should_run;
use super::view::{Agent, Assignment, Holder, Holding, Write};

/// Of all parts at most one in so many moves at the same time, as its lanes stand still meanwhile.
const MOVING_SHARE: usize = 10;

/// Each may need two writes, and a comparison beside the leader's.
const PARTS_PER_COMMIT: usize = Commit::WRITES_MAX / 2;

/// A part that its holder was told to release for another agent.
///
/// A new leader does not know of it: it states the part to its holder, which goes on releasing what it was told to
/// release, and confirms.
#[derive(Debug)]
pub(super) struct Moving {
    pub(super) epoch: AssignmentEpoch,
    pub(super) to: AgentId,
    /// Who wants it there, and not elsewhere.
    pub(super) by_operator: bool,
}

impl Core {
    pub(super) fn place_parts(&mut self, sweep: bool) -> Vec<Commit> {
        let balances = sweep && std::mem::take(&mut self.stale.balance);
        let places =
            std::mem::take(&mut self.stale.placement) && self.parts().any(|id| self.held(&id).is_none());
        if !balances && !places {
            return Vec::new();
        }
        let fleet = self.fleet();
        let plan = place(&fleet);
        if balances {
            self.begin_moves(fleet.parts.len(), plan.moves);
        }
        let given: Vec<(Holder, Vec<Write>)> =
            plan.taken.into_iter().filter_map(|(id, idlest)| self.assignment(id, idlest)).collect();
        given.chunks(PARTS_PER_COMMIT).map(assigning).collect()
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
                self.restate.insert(id.clone());
                self.moving.insert(id, Moving { epoch: assignment.epoch, to, by_operator: false });
                self.stale.statements = true;
            }
        }
    }

    /// A part's next assignment. Former holders stay known until they confirm, through any number of hands; a process
    /// that gets back what it held ends that before it begins anew.
    fn assignment(&self, id: AssignmentId, idlest: AgentId) -> Option<(Holder, Vec<Write>)> {
        let sent_to = self.sent_to(&id).cloned();
        let pinned = sent_to.is_some();
        let agent = sent_to.unwrap_or(idlest);
        let holder = self.view.agents.get(&agent)?.process_of(agent);
        let unreleased = self.unreleased(&id).into_iter().filter(|(former, _)| *former != holder);
        let former = unreleased.chain(self.lost_holding(&id)).collect();
        let epoch = AssignmentEpoch::default();
        let assignment = Assignment { holder: holder.clone(), epoch, former, pinned };
        Some((holder, self.reassigned(&id, Some(assignment))))
    }

    /// Who held a part by what a restored store has lost is not known: a process that is not there stands for it.
    fn lost_holding(&self, id: &AssignmentId) -> Option<Holding> {
        let current = self.view.assignments.get(id)?;
        let agent = current.holder.agent.clone();
        (current.epoch.incarnation < self.view.meta.incarnation)
            .then(|| (Holder { agent, incarnation: String::new() }, current.epoch))
    }

    fn fleet(&self) -> Fleet {
        let is_there = |(id, agent): &(&AgentId, &Agent)| self.is_there(&agent.process_of((*id).clone()));
        let agents = self.view.agents.iter().filter(is_there);
        let agents = agents.map(|(id, agent)| {
            let standing = match self.sessions.get(id) {
                Some(session) if self.doubted.contains(&session.holder) => Standing::Keeps,
                Some(session) if session.draining || agent.drained => Standing::Drains,
                Some(session) if !session.is_settled => Standing::Keeps,
                Some(_) => Standing::Takes,
                None => Standing::Keeps,
            };
            (id.clone(), Candidate { standing, rack: agent.rack.clone(), labels: agent.labels.clone() })
        });
        let parts = self.parts().map(|id| {
            let (weight, hold) = (self.weight(&id), self.hold(&id));
            let AgentChoice { labels: wants, racks: prefers } = self.choice(&id);
            let pinned = self.is_pinned(&id);
            (id, Placed { weight, hold, wants, prefers: prefers.into_iter().collect(), pinned })
        });
        Fleet { agents: agents.collect(), parts: parts.collect() }
    }

    /// All that should be with an agent.
    fn parts(&self) -> impl Iterator<Item = AssignmentId> {
        self.view.connectors.iter().flat_map(|(name, connector)| {
            parts_of(&self.view, name).filter(|id| should_run(connector, id.part))
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

    fn is_pinned(&self, id: &AssignmentId) -> bool {
        match self.moving.get(id) {
            Some(moving) => moving.by_operator,
            None => self.held(id).is_some_and(|assignment| assignment.pinned),
        }
    }

    /// A part's assignment, if the holder is there and has not released it, and the store was not restored since.
    pub(super) fn held(&self, id: &AssignmentId) -> Option<&Assignment> {
        let assignment = self.view.assignments.get(id)?;
        let is_held = assignment.epoch.incarnation == self.view.meta.incarnation
            && !self.is_released(id, &assignment.holder, assignment.epoch)
            && self.is_there(&assignment.holder);
        is_held.then_some(assignment)
    }

    /// Whether a process lives and is heard.
    pub(super) fn is_there(&self, holder: &Holder) -> bool {
        self.view.is_alive(holder) && !self.hearing.is_suspect(holder)
    }

    pub(super) fn choice(&self, id: &AssignmentId) -> AgentChoice {
        let connector = self.view.connectors.get(&id.connector);
        let spec = connector.and_then(|connector| connector.spec.as_ref().ok());
        spec.map(|spec| spec.agents.clone()).unwrap_or_default()
    }

    pub(super) fn weight(&self, id: &AssignmentId) -> usize {
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
fn assigning(given: &[(Holder, Vec<Write>)]) -> Commit {
    let alive: BTreeSet<&Holder> = given.iter().map(|(holder, _)| holder).collect();
    Commit {
        alive: alive.into_iter().cloned().collect(),
        writes: given.iter().flat_map(|(_, writes)| writes.iter().cloned()).collect(),
        sends: Vec::new(),
    }
}
