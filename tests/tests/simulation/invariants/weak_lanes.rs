//! What a right alone allowed to write does not arrive after what was written under a newer one.

use std::collections::BTreeMap;

use copyist_coordinator::core::Holder;
use copyist_model::AssignmentEpoch;

use super::{Fact, Invariant, Truth};
use crate::brokers::SourceKey;
use crate::options::{IN_FLIGHT_MS, TTL_MS};

#[derive(Default)]
pub struct WeakLanes {
    newest: BTreeMap<SourceKey, (AssignmentEpoch, Holder)>,
    /// Until then what a store that was lost allowed may arrive; its epochs may be above those of the copy.
    counts_from: u64,
}

impl Invariant for WeakLanes {
    fn name(&self) -> &'static str {
        "order of weak writes"
    }

    fn observe(&mut self, truth: &Truth, fact: &Fact) -> Option<String> {
        if let Fact::Restored { .. } = fact {
            self.counts_from = truth.now + TTL_MS + TTL_MS / 50 + IN_FLIGHT_MS;
            self.newest.clear();
        }
        if truth.now < self.counts_from {
            return None;
        }
        let Fact::Appended { lane, by, epoch, is_weak: true, .. } = fact else { return None };
        let newest = self.newest.entry(lane.clone()).or_insert((*epoch, by.clone()));
        if newest.0 > *epoch {
            let (topic, partition) = lane;
            return Some(format!(
                "{topic}-{partition}: a write of {}@{epoch} arrived after one of {}@{}",
                by.incarnation, newest.1.incarnation, newest.0
            ));
        }
        *newest = (*epoch, by.clone());
        None
    }
}
