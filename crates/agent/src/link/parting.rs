//! The last words of an agent that ends: what it released, so that nobody waits for it. They are said again until a
//! leader has heard them, for a while: the session may break, or there may be none, just then.

use crate::core::Saying;

/// The words since the agent began to drain.
#[derive(Debug, Default)]
pub struct Parting {
    is_draining: bool,
    released: Vec<Saying>,
}

impl Parting {
    /// A word that is about to be said.
    pub fn note(&mut self, saying: &Saying) {
        match saying {
            Saying::Draining => self.is_draining = true,
            Saying::Released { .. } if self.is_draining => self.released.push(saying.clone()),
            Saying::Released { .. }
            | Saying::Report(_)
            | Saying::Surveyed { .. }
            | Saying::Propose { .. } => {}
        }
    }

    /// What is to be said again to a leader that may not have heard it: nothing, where nothing was released.
    pub fn again(&self) -> Vec<Saying> {
        if self.released.is_empty() {
            return Vec::new();
        }
        std::iter::once(Saying::Draining).chain(self.released.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use copyist_model::{AssignmentEpoch, AssignmentId};

    use super::*;

    #[test]
    fn what_is_released_at_the_end_is_said_again_and_nothing_else() {
        let released = |task: u32| Saying::Released {
            id: AssignmentId::task(&"c".parse().unwrap(), task),
            epoch: AssignmentEpoch::default(),
        };
        let mut parting = Parting::default();
        parting.note(&released(0));
        assert_eq!(parting.again(), [], "that was in the middle of its life");
        parting.note(&Saying::Draining);
        assert_eq!(parting.again(), [], "it had nothing");
        parting.note(&released(1));
        parting.note(&released(2));
        assert_eq!(parting.again(), [Saying::Draining, released(1), released(2)]);
    }
}
