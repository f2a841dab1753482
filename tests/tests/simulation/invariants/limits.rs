//! No commit is larger than the store takes, and none writes a key twice.

use super::{Fact, Invariant, Truth};

pub struct Limits;

impl Invariant for Limits {
    fn name(&self) -> &'static str {
        "limits of the store"
    }

    fn observe(&mut self, _: &Truth, fact: &Fact) -> Option<String> {
        match fact {
            Fact::LimitBroken(what) => Some(what.clone()),
            _ => None,
        }
    }
}
