//! Lane records that jobs proposed, until the coordinator has judged them.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{AssignmentEpoch, AssignmentId, LaneGeneration, LaneId, LaneRecord};

use super::{Effect, Saying};
use crate::job::{Proposal, Unanswered, Verdict};

/// Told and not answered so far: a session's outbox has room for them several times.
pub(super) const TOLD_MAX: usize = 1_000;

/// Names a proposal to the driver, which holds the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProposalNumber(pub u64);

/// What the coordinator says of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Nothing: it was committed.
    pub refused_because: Option<String>,
    /// The record that holds now, where the coordinator says it.
    pub holds: Option<Box<LaneRecord>>,
}

impl Judgement {
    /// Two proposals of one generation, the first given up by its lane, look the same in a verdict but for what holds.
    fn of(self, proposed: &LaneRecord) -> Verdict {
        let because = match (&self.holds, self.refused_because) {
            (Some(holds), _) if **holds == *proposed => return Verdict::Committed,
            (_, Some(because)) => because,
            (Some(_), None) => "another record of the same generation holds".to_owned(),
            (None, None) => return Verdict::Committed,
        };
        Verdict::Refused { because, holds: self.holds }
    }
}

/// One of each lane: the newest.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    pending: BTreeMap<LaneId, Pending>,
    told: usize,
    /// Of which generations nobody waits for a verdict any more, though one may still come.
    given_up: BTreeMap<LaneId, BTreeSet<LaneGeneration>>,
}

#[derive(Debug)]
struct Pending {
    number: ProposalNumber,
    id: AssignmentId,
    epoch: AssignmentEpoch,
    proposal: Box<Proposal>,
    /// In this session.
    told: bool,
}

impl Proposals {
    pub fn propose(
        &mut self,
        number: ProposalNumber,
        id: AssignmentId,
        epoch: AssignmentEpoch,
        proposal: Box<Proposal>,
    ) -> Vec<Effect> {
        let lane = proposal.record.lane.clone();
        let is_repeated = self.pending.get(&lane).is_some_and(|it| it.proposal.record == proposal.record);
        let dropped = if is_repeated { self.remove(&lane).map(unanswered) } else { self.drop_of(&lane) };
        let mut effects: Vec<Effect> = dropped.into_iter().collect();
        self.pending.insert(lane, Pending { number, id, epoch, proposal, told: false });
        effects.extend(self.tell());
        effects
    }

    /// A verdict on another generation is one on an earlier proposal. One on the same generation may be as well: a
    /// refusal is the truth then, too, but that something was committed does not say what.
    pub fn judge(&mut self, lane: &LaneId, generation: LaneGeneration, judgement: Judgement) -> Vec<Effect> {
        let is_commit = judgement.refused_because.is_none();
        let may_be_of_another = is_commit && self.settle_given_up(lane, generation);
        let record = |pending: &Pending| pending.proposal.record.clone();
        let record = self.pending.get(lane).map(record).filter(|record| record.generation == generation);
        let Some((number, record)) = record.and_then(|record| Some((self.remove(lane)?, record))) else {
            return Vec::new();
        };
        let is_open = may_be_of_another && judgement.holds.is_none();
        let answer = if is_open { Err(Unanswered) } else { Ok(judgement.of(&record)) };
        let mut effects = vec![Effect::Answer { number, answer }];
        effects.extend(self.tell());
        effects
    }

    /// A new session knows of none.
    pub fn tell_again(&mut self) -> Vec<Effect> {
        self.told = 0;
        self.pending.values_mut().for_each(|pending| pending.told = false);
        self.tell()
    }

    /// Something of this generation was committed: nothing else of it will be, nor of an older one. Says whether a
    /// proposal of it was given up.
    fn settle_given_up(&mut self, lane: &LaneId, generation: LaneGeneration) -> bool {
        let Some(generations) = self.given_up.get_mut(lane) else { return false };
        let given_up = generations.contains(&generation);
        generations.retain(|other| *other > generation);
        if generations.is_empty() {
            self.given_up.remove(lane);
        }
        given_up
    }

    /// They were put to a store that is not there any more.
    pub fn drop_all(&mut self) -> Vec<Effect> {
        let dropped = std::mem::take(self);
        dropped.pending.into_values().map(|pending| unanswered(pending.number)).collect()
    }

    /// Their job is over.
    pub fn drop_all_of(&mut self, id: &AssignmentId) -> Vec<Effect> {
        let of_it = self.pending.iter().filter(|(_, pending)| pending.id == *id);
        let lanes: Vec<LaneId> = of_it.map(|(lane, _)| lane.clone()).collect();
        let mut effects: Vec<Effect> = lanes.iter().flat_map(|lane| self.drop_of(lane)).collect();
        effects.extend(self.tell());
        effects
    }

    fn drop_of(&mut self, lane: &LaneId) -> Option<Effect> {
        let generation = self.pending.get(lane)?.proposal.record.generation;
        self.given_up.entry(lane.clone()).or_default().insert(generation);
        self.remove(lane).map(unanswered)
    }

    fn remove(&mut self, lane: &LaneId) -> Option<ProposalNumber> {
        let pending = self.pending.remove(lane)?;
        self.told -= usize::from(pending.told);
        Some(pending.number)
    }

    fn tell(&mut self) -> Vec<Effect> {
        let room = TOLD_MAX.saturating_sub(self.told);
        let untold = self.pending.values_mut().filter(|pending| !pending.told).take(room);
        let effects: Vec<Effect> = untold.map(Pending::tell).collect();
        self.told += effects.len();
        effects
    }
}

impl Pending {
    fn tell(&mut self) -> Effect {
        self.told = true;
        let proposal = self.proposal.clone();
        Effect::Tell(Saying::Propose { id: self.id.clone(), epoch: self.epoch, proposal })
    }
}

pub(super) fn unanswered(number: ProposalNumber) -> Effect {
    Effect::Answer { number, answer: Err(Unanswered) }
}
