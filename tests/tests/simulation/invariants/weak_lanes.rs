//! What a right alone allowed to write does not arrive after what was written under a newer one.

use std::collections::BTreeMap;

use copyist_coordinator::core::Holder;
use copyist_model::AssignmentEpoch;

use super::{Fact, Invariant, Truth};
use crate::brokers::SourceKey;

#[derive(Default)]
pub struct WeakLanes {
    newest: BTreeMap<SourceKey, (AssignmentEpoch, Holder)>,
}

impl Invariant for WeakLanes {
    fn name(&self) -> &'static str {
        "order of weak writes"
    }

    fn observe(&mut self, _: &Truth, fact: &Fact) -> Option<String> {
        if let Fact::Restored { .. } = fact {
            self.newest.clear();
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
