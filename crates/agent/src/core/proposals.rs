//! Lane records that jobs proposed, until the coordinator has judged them.

use std::collections::BTreeMap;

use copyist_model::{AssignmentEpoch, AssignmentId, LaneGeneration, LaneHeld, LaneId, LaneRecord};

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
    /// What the store holds now, where the coordinator says it.
    pub holds: Option<LaneHeld>,
}

impl Judgement {
    /// Two proposals of one generation, the first given up by its lane, look the same in a verdict but for what holds.
    fn of(self, proposed: &LaneRecord) -> Verdict {
        let because = match (&self.holds, self.refused_because) {
            (Some(LaneHeld::Record(holds)), _) if **holds == *proposed => return Verdict::Committed,
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
    /// Of which generations nobody waits for a verdict any more, though one may still come; with the epoch under which
    /// each was proposed.
    given_up: BTreeMap<LaneId, BTreeMap<LaneGeneration, AssignmentEpoch>>,
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

    /// A verdict on another generation is one on an earlier proposal; one on the same may be.
    pub fn judge(&mut self, lane: &LaneId, generation: LaneGeneration, judgement: Judgement) -> Vec<Effect> {
        let is_open = match judgement.refused_because {
            None => self.settle_given_up(lane, generation) && judgement.holds.is_none(),
            Some(_) => self.is_of_older_epoch(lane, generation, judgement.holds.as_ref()),
        };
        let record = |pending: &Pending| pending.proposal.record.clone();
        let record = self.pending.get(lane).map(record).filter(|record| record.generation == generation);
        let Some((number, record)) = record.and_then(|record| Some((self.remove(lane)?, record))) else {
            return Vec::new();
        };
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

    /// Something of this generation was committed: nothing else of it will be, nor of an older one. It may be what was
    /// given up: then nobody knows whether it is what is proposed now.
    fn settle_given_up(&mut self, lane: &LaneId, generation: LaneGeneration) -> bool {
        let Some(generations) = self.given_up.get_mut(lane) else { return false };
        let was_given_up = generations.contains_key(&generation);
        generations.retain(|other, _| *other > generation);
        if generations.is_empty() {
            self.given_up.remove(lane);
        }
        was_given_up
    }

    /// What was given up under an older epoch is refused for that epoch, which says nothing of what is proposed now; but
    /// for the record that has its generation. Once: the next refusal is of the present epoch.
    fn is_of_older_epoch(
        &mut self,
        lane: &LaneId,
        generation: LaneGeneration,
        holds: Option<&LaneHeld>,
    ) -> bool {
        let Some(pending) = self.pending.get(lane) else { return false };
        let given_up = self.given_up.get_mut(lane).and_then(|generations| generations.get_mut(&generation));
        let Some(epoch) = given_up.filter(|epoch| **epoch < pending.epoch) else { return false };
        *epoch = pending.epoch;
        holds.is_none_or(|held| held.generation() < generation)
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
        let Pending { epoch, proposal, .. } = self.pending.get(lane)?;
        let of_lane = self.given_up.entry(lane.clone()).or_default();
        // The oldest counts: its verdict comes first.
        of_lane.entry(proposal.record.generation).or_insert(*epoch);
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
