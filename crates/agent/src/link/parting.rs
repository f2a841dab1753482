//! The last words of an agent that ends: what it released, so that nobody waits for it. They are said again until a
//! leader has heard them, for a while: the session may break, or there may be none, just then.

use crate::core::Saying;

/// The words since the agent began to drain.
#[derive(Debug, Default)]
pub struct Parting {
    was_welcome: bool,
    is_draining: bool,
    words: Vec<Saying>,
}

impl Parting {
    /// A leader has taken the agent in, and may give it something.
    pub fn welcome(&mut self) {
        self.was_welcome = true;
    }

    /// A word that is about to be said.
    pub fn note(&mut self, saying: &Saying) {
        match saying {
            Saying::Draining => self.is_draining = true,
            Saying::Released { .. } | Saying::Drained if self.is_draining => self.words.push(saying.clone()),
            Saying::Released { .. }
            | Saying::Drained
            | Saying::Report(_)
            | Saying::Surveyed { .. }
            | Saying::Propose { .. } => {}
        }
    }

    /// What is to be said again to a leader that may not have heard it: nothing, where nothing can have been held.
    pub fn again(&self) -> Vec<Saying> {
        let held = self.was_welcome || self.words.iter().any(|word| matches!(word, Saying::Released { .. }));
        if !held || self.words.is_empty() {
            return Vec::new();
        }
        std::iter::once(Saying::Draining).chain(self.words.iter().cloned()).collect()
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
        parting.note(&Saying::Drained);
        assert_eq!(parting.again(), [], "nothing was given to it");
        parting.welcome();
        assert_eq!(parting.again(), [Saying::Draining, Saying::Drained], "something may have been");
        let mut parting = Parting::default();
        parting.note(&Saying::Draining);
        parting.welcome();
        assert_eq!(parting.again(), [], "it has not come to an end");
        parting.note(&released(1));
        parting.note(&released(2));
        assert_eq!(parting.again(), [Saying::Draining, released(1), released(2)]);
        parting.note(&Saying::Drained);
        assert_eq!(parting.again(), [Saying::Draining, released(1), released(2), Saying::Drained]);
    }
}
