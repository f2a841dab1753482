//! Each record arrives once, in order.

use super::{Fact, Invariant, Truth};

pub struct Records;

impl Invariant for Records {
    fn name(&self) -> &'static str {
        "each record once"
    }

    fn observe(&mut self, _: &Truth, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Appended { lane, by, epoch, wrong: Some(wrong), .. } => {
                let (topic, partition) = lane;
                Some(format!("{topic}-{partition}, written by {}@{epoch}: {wrong}", by.incarnation))
            }
            Fact::LaneStopped(why) => Some(format!("a lane stopped for nothing: {why}")),
            _ => None,
        }
    }
}
