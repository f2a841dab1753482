//! Questions to agents that are not answered yet. Pure but for the channels to who asked.

use std::collections::BTreeMap;

use copyist_proto::control as wire;
use copyist_proto::control::answer::Answer as Found;
use tokio::sync::oneshot;

use crate::core::{Failure, Holder};
use crate::handle::Answers;

/// Questions that may wait at once.
const WAITING_MAX: usize = 64;

/// Questions of this many answers may be asked in a term without meeting those of the next one.
const NUMBERS_PER_REVISION: u64 = 1 << 16;

#[derive(Debug)]
pub(crate) struct Queries {
    last: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    holder: Holder,
    found: Vec<Found>,
    reply: oneshot::Sender<Answers>,
}

impl Queries {
    /// Of a term that begins at a revision: no other term has its numbers, so that a late answer meets no other question.
    pub(crate) fn of_term(revision: u64) -> Self {
        Self { last: revision.wrapping_mul(NUMBERS_PER_REVISION), waiting: BTreeMap::new() }
    }

    /// The number of a question to a process; nothing: too many wait.
    pub(crate) fn ask(&mut self, holder: &Holder, reply: oneshot::Sender<Answers>) -> Option<u64> {
        self.waiting.retain(|_, waiting| !waiting.reply.is_closed());
        if self.waiting.len() >= WAITING_MAX {
            let text = "agents are asked too much at once, try again".to_owned();
            // Who asked may have gone.
            drop(reply.send(Err(Failure::Unavailable(text))));
            return None;
        }
        self.last = self.last.wrapping_add(1);
        self.waiting.insert(self.last, Waiting { holder: holder.clone(), found: Vec::new(), reply });
        Some(self.last)
    }

    pub(crate) fn answered(&mut self, holder: &Holder, answer: wire::Answer) {
        let wire::Answer { query_id, error, answer, more } = answer;
        let Some(waiting) = self.waiting.get_mut(&query_id).filter(|it| it.holder == *holder) else { return };
        waiting.found.extend(answer);
        if more && error.is_empty() {
            return;
        }
        let Some(Waiting { found, reply, holder }) = self.waiting.remove(&query_id) else { return };
        let answers = if error.is_empty() { Ok(found) } else { Err(unanswered(&holder, &error)) };
        drop(reply.send(answers));
    }

    /// A process says nothing more.
    pub(crate) fn lose(&mut self, holder: &Holder) {
        let (lost, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(_, it)| it.holder == *holder);
        self.waiting = waiting;
        let lost: BTreeMap<u64, Waiting> = lost;
        for Waiting { holder, reply, .. } in lost.into_values() {
            drop(reply.send(Err(unanswered(&holder, "its session has ended"))));
        }
    }
}

fn unanswered(holder: &Holder, why: &str) -> Failure {
    Failure::Unavailable(format!("agent {}: {why}", holder.agent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(agent: &str) -> Holder {
        Holder { agent: agent.parse().unwrap(), incarnation: "i".into() }
    }

    fn part(query_id: u64, more: bool) -> wire::Answer {
        let found = Found::Offsets(wire::OffsetsAnswer::default());
        wire::Answer { query_id, error: String::new(), answer: Some(found), more }
    }

    #[test]
    fn the_parts_of_an_answer_are_gathered_for_who_asked() {
        let mut queries = Queries::of_term(7);
        let (reply, mut answer) = oneshot::channel();
        let id = queries.ask(&holder("a:1"), reply).unwrap();
        queries.answered(&holder("b:1"), part(id, false));
        queries.answered(&holder("a:1"), part(id + 1, false));
        queries.answered(&holder("a:1"), part(id, true));
        assert!(answer.try_recv().is_err(), "there is more to come");
        queries.answered(&holder("a:1"), part(id, false));
        assert_eq!(answer.try_recv().unwrap().unwrap().len(), 2);
        assert!(Queries::of_term(8).last > id, "a later term has later numbers");
    }

    #[test]
    fn who_asked_learns_that_there_is_no_answer() {
        let mut queries = Queries::of_term(7);
        let ask = |queries: &mut Queries| {
            let (reply, answer) = oneshot::channel();
            (queries.ask(&holder("a:1"), reply), answer)
        };
        let (id, mut failed) = ask(&mut queries);
        let answer = wire::Answer { query_id: id.unwrap(), error: "why".into(), answer: None, more: true };
        queries.answered(&holder("a:1"), answer);
        let told = failed.try_recv().unwrap().unwrap_err();
        assert_eq!(told, Failure::Unavailable("agent a:1: why".to_owned()));

        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| ask(&mut queries).1).collect();
        let (refused, mut told) = ask(&mut queries);
        assert!(refused.is_none() && matches!(told.try_recv().unwrap(), Err(Failure::Unavailable(_))));
        drop(waiting.pop());
        let (taken, mut last) = ask(&mut queries);
        assert!(taken.is_some(), "one that is waited for no more makes room");
        queries.lose(&holder("b:1"));
        assert!(last.try_recv().is_err());
        queries.lose(&holder("a:1"));
        assert!(matches!(last.try_recv().unwrap(), Err(Failure::Unavailable(_))));
    }
}
