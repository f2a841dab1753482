//! An acknowledged create, change or delete is never lost or undone.

use super::{Fact, Invariant, Truth};

pub struct Acknowledged;

impl Invariant for Acknowledged {
    fn name(&self) -> &'static str {
        "acknowledged changes"
    }

    fn observe(&mut self, truth: &Truth, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Stored { .. } | Fact::UserMoved => {}
            _ => return None,
        }
        if let Some(surprise) = &truth.user.surprise {
            return Some(surprise.clone());
        }
        truth.user.connectors.iter().find_map(|(name, known)| {
            let stored = truth.store.view.connectors.get(name);
            if known.allows(stored) {
                return None;
            }
            let stored = stored.map(|it| (it.target, it.deleting, it.config.get("tasks.max")));
            let wanted = known.acknowledged.as_ref().map(|it| (it.target, it.config.get("tasks.max")));
            Some(format!("{name}: acknowledged {wanted:?}, stored {stored:?}"))
        })
    }
}
