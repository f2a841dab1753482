//! No instruction of an older epoch acts: a process never goes back to one, starts only what it was assigned, and not
//! longer than a right after somebody else was; what is stored as released is released.

use std::collections::{BTreeMap, BTreeSet};

use copyist_coordinator::core::view::Holding;
use copyist_coordinator::core::{Holder, Write};
use copyist_model::{AssignmentEpoch, AssignmentId, StoreRevision};

use super::{Fact, Invariant, Truth};
use crate::options::TTL_MS;

#[derive(Default)]
pub struct Epochs {
    /// Every assignment that was ever stored, and when.
    assigned: BTreeMap<AssignmentId, Vec<(AssignmentEpoch, Holder, u64)>>,
    /// Those that hold, with former holders.
    holds: BTreeMap<AssignmentId, Vec<Holding>>,
    stated: BTreeMap<(AssignmentId, Holder), AssignmentEpoch>,
    /// What a store that was restored knows nothing of.
    lost: BTreeSet<(AssignmentId, AssignmentEpoch, Holder)>,
    restored_at: Option<u64>,
}

impl Invariant for Epochs {
    fn name(&self) -> &'static str {
        "older epochs"
    }

    fn observe(&mut self, truth: &Truth, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Stored { revision, writes } => {
                writes.iter().find_map(|write| self.stored(truth, *revision, write))
            }
            Fact::Restored { revision } => {
                self.restored_at = Some(truth.now);
                for (id, all) in &mut self.assigned {
                    let kept = |(epoch, ..): &(AssignmentEpoch, Holder, u64)| epoch.revision.0 <= *revision;
                    let lost = all.extract_if(.., |it| !kept(it));
                    self.lost.extend(lost.map(|(epoch, holder, _)| (id.clone(), epoch, holder)));
                }
                let assignments = truth.store.view.assignments.iter();
                self.holds = assignments.map(|(id, it)| (id.clone(), it.holdings().collect())).collect();
                // What it was told by the store that was lost is no measure any more.
                self.stated.clear();
                None
            }
            Fact::Stated { holder, id, epoch } => {
                let newest = self.stated.entry((id.clone(), holder.clone())).or_default();
                *newest = (*newest).max(*epoch);
                None
            }
            Fact::OldOrder(text) => Some(text.clone()),
            Fact::Started { holder, id, epoch } => self.started(truth.now, holder, id, *epoch),
            _ => None,
        }
    }
}

impl Epochs {
    fn started(
        &self,
        now: u64,
        holder: &Holder,
        id: &AssignmentId,
        epoch: AssignmentEpoch,
    ) -> Option<String> {
        let by = &holder.incarnation;
        let newest = self.stated.get(&(id.clone(), holder.clone())).copied().unwrap_or_default();
        if newest > epoch {
            return Some(format!("{by} starts {id}@{epoch} and was told {newest}"));
        }
        let assigned = self.assigned.get(id).map(Vec::as_slice).unwrap_or_default();
        let may_last = self.restored_at.is_some_and(|at| now < at + TTL_MS + TTL_MS / 50);
        if may_last && self.lost.contains(&(id.clone(), epoch, holder.clone())) {
            return None;
        }
        if !assigned.iter().any(|(at, to, _)| *at == epoch && to == holder) {
            return Some(format!("{by} starts {id}@{epoch}, which it was never assigned"));
        }
        // A clock that is one per cent slow counts a right that much too long.
        let longest = TTL_MS + TTL_MS / 50;
        let newer = assigned.iter().find(|(at, ..)| *at > epoch)?;
        let late = now.checked_sub(newer.2 + longest)?;
        Some(format!("{by} starts {id}@{epoch}, {late} ms after every right of before {} ended", newer.0))
    }

    fn stored(&mut self, truth: &Truth, revision: u64, write: &Write) -> Option<String> {
        let Write::Assignment(id, assignment) = write else { return None };
        let epoch = AssignmentEpoch {
            incarnation: truth.store.view.meta.incarnation,
            revision: StoreRevision(revision),
        };
        let mut holds = Vec::new();
        if let Some(assignment) = assignment {
            holds.clone_from(&assignment.former);
            holds.push((assignment.holder.clone(), epoch));
            let all = self.assigned.entry(id.clone()).or_default();
            all.push((epoch, assignment.holder.clone(), truth.now));
        }
        let before = self.holds.insert(id.clone(), holds).unwrap_or_default();
        let kept = &self.holds[id];
        // A process confirms a newer epoch only once nothing runs under its older ones.
        let covers =
            |(by, since): &Holding| kept.iter().any(|(holder, epoch)| holder == by && epoch >= since);
        let gone = before.iter().filter(|former| !covers(former));
        gone.into_iter().find_map(|(holder, epoch)| {
            let runs = truth.running.get(&(id.clone(), holder.clone()))?;
            (runs.epoch == *epoch && truth.now < runs.counts_until).then(|| {
                format!("{id}@{epoch} is stored as released by {}, which runs it", holder.incarnation)
            })
        })
    }
}
