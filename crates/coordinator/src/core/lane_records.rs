//! Lane records: which proposals are fixed, and what their agents are told.
//!
//! A proposal waits while a commit is in flight, and is judged when its own commit is planned: by then its task may
//! have moved. No commit compares the assignment's key: the leader alone writes it, and plans on what is stored.

use std::collections::btree_map::Entry;

use copyist_model::{AssignmentId, LaneHeld, LaneId, LaneRecord, Part, TaskId, TopicName};

use super::Core;
use super::event::{Commit, LaneVerdict, Proposal, Refusal, Send, Statement};
use super::view::{Task, Write};
use crate::store::keys;

/// What becomes of a proposal.
enum Judgement {
    Fix,
    /// The very record holds: this is a repetition, whose verdict was lost.
    Holds,
    Refuse(String),
}

impl Core {
    /// A newer proposal of a process for a lane replaces the one that waits; one under an older epoch was
    /// overtaken on its way, and nobody waits for its verdict.
    pub(super) fn proposed(&mut self, proposal: Proposal) {
        match self.proposals.entry((proposal.record.lane.clone(), proposal.holder.clone())) {
            Entry::Vacant(entry) => drop(entry.insert(proposal)),
            Entry::Occupied(mut entry) if entry.get().epoch <= proposal.epoch => {
                entry.insert(proposal);
            }
            Entry::Occupied(_) => {}
        }
    }

    /// What was in a refused commit waits again, as if it had come before what has come meanwhile.
    pub(super) fn propose_again(&mut self) {
        for proposal in std::mem::take(&mut self.fixing) {
            let later = self.proposals.remove(&(proposal.record.lane.clone(), proposal.holder.clone()));
            self.proposed(proposal);
            later.into_iter().for_each(|later| self.proposed(later));
        }
    }

    /// As many of the waiting proposals as one commit takes, and before it what needs no commit to be told.
    pub(super) fn fix_lane_records(&mut self) -> Vec<Commit> {
        let (mut at_once, mut commit, mut bytes) = (Commit::default(), Commit::default(), 0);
        while commit.writes.len() < Commit::WRITES_MAX
            && let Some(entry) = self.proposals.first_entry()
        {
            let record = entry.get().record.clone();
            let lane = record.lane.clone();
            let write = Write::Lane(lane, Some(LaneHeld::Record(record)));
            let size = keys::size(&write);
            if bytes + size > Commit::BYTES_MAX && !commit.writes.is_empty() {
                break;
            }
            let proposal = entry.remove();
            match self.judge(&proposal) {
                Judgement::Fix => {
                    bytes += size;
                    commit.writes.push(write);
                    commit.sends.push(verdict(&proposal, None));
                    self.fixing.push(proposal);
                }
                Judgement::Holds => at_once.sends.push(verdict(&proposal, None)),
                Judgement::Refuse(because) => {
                    let holds = self.view.lanes.get(&proposal.record.lane).cloned();
                    at_once.sends.push(verdict(&proposal, Some(Refusal { because, holds })));
                }
            }
        }
        vec![at_once, commit]
    }

    fn judge(&self, proposal: &Proposal) -> Judgement {
        let Proposal { holder, id, epoch, replaces, record } = proposal;
        if !self.holds(holder, id, *epoch) || !self.view.is_alive(holder) {
            return Judgement::Refuse(format!(
                "agent {} does not hold {id} under epoch {epoch}",
                holder.agent
            ));
        }
        if let Err(because) = self.fits(proposal) {
            return Judgement::Refuse(because);
        }
        let current = self.view.lanes.get(&record.lane);
        if current.and_then(LaneHeld::record) == Some(record) {
            return Judgement::Holds;
        }
        let holds = current.map(LaneHeld::generation).unwrap_or_default();
        if holds != *replaces {
            let (replaces, holds) = (replaces.0, holds.0);
            return Judgement::Refuse(format!(
                "it replaces generation {replaces}, and {holds} holds (0: none)"
            ));
        }
        if record.generation <= *replaces {
            let (generation, replaces) = (record.generation.0, replaces.0);
            return Judgement::Refuse(format!(
                "generation {generation} is not above {replaces}, which it replaces"
            ));
        }
        Judgement::Fix
    }

    /// Whether the record is of a lane of the task's, and leads where the task leads.
    fn fits(&self, proposal: &Proposal) -> Result<(), String> {
        let Proposal { id, record, .. } = proposal;
        let LaneRecord { lane, destination, .. } = record.as_ref();
        let Some(topic) = self.destination_of(id, lane) else {
            let (connector, cluster) = (&lane.connector, &lane.source_cluster);
            return Err(format!("{lane} of connector {connector} and cluster {cluster} is no lane of {id}"));
        };
        if (topic, lane.partition) != (&destination.topic, destination.partition) {
            let (to, partition) = (&destination.topic, destination.partition);
            return Err(format!(
                "{lane} is copied into {topic}-{}, not into {to}-{partition}",
                lane.partition
            ));
        }
        Ok(())
    }

    /// The topic that a task copies a lane into; nothing: the lane is none of the task's.
    fn destination_of(&self, id: &AssignmentId, lane: &LaneId) -> Option<&TopicName> {
        let (source, _) = self.view.connectors.get(&id.connector)?.clusters.as_ref()?;
        let Part::Task(number) = id.part else { return None };
        let Task { lanes, .. } = self.view.tasks.get(&TaskId { connector: id.connector.clone(), number })?;
        let is_own = lane.connector == id.connector
            && lane.source_cluster == *source
            && lanes.contains(&lane.topic, lane.partition);
        lanes.0.get(&lane.topic).filter(|_| is_own).map(|topic| &topic.destination)
    }
}

fn verdict(proposal: &Proposal, refusal: Option<Refusal>) -> Send {
    let LaneRecord { lane, generation, .. } = proposal.record.as_ref();
    let verdict = LaneVerdict { lane: lane.clone(), generation: *generation, refusal };
    Send::Statement(proposal.holder.clone(), Statement::Verdict(Box::new(verdict)))
}
