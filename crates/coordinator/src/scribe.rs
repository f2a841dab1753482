//! Who was told last that it is the fleet's scribe. Pure.

use copyist_proto::control::CoordinatorMessage;

use crate::core::Holder;
use crate::grpc::agents;
use crate::handle::SessionNumber;

/// The scribe: a session, which begins without the duty, whoever had it before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scribe {
    pub(crate) holder: Holder,
    pub(crate) session: SessionNumber,
    /// What its records are marked with.
    pub(crate) mark: String,
}

/// What was stated.
#[derive(Debug, Default)]
pub(crate) struct Duty(Option<Scribe>);

impl Duty {
    /// What has to be said to whom, now that this one is to have the duty: who had it first, so that it stops.
    pub(crate) fn pass(&mut self, to: Option<Scribe>) -> Vec<(Scribe, CoordinatorMessage)> {
        if to == self.0 {
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.0, to.clone());
        // With another mark it goes on.
        let relieved = before.filter(|before| to.as_ref().is_none_or(|to| to.session != before.session));
        let message = |scribe: Scribe, is_scribe| {
            let message = agents::scribe(is_scribe, scribe.mark.clone());
            (scribe, message)
        };
        let relieved = relieved.map(|scribe| message(scribe, false));
        relieved.into_iter().chain(to.map(|scribe| message(scribe, true))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scribe(agent: &str, session: SessionNumber, mark: &str) -> Scribe {
        let holder = Holder { agent: agent.parse().unwrap(), incarnation: "one".into() };
        Scribe { holder, session, mark: mark.into() }
    }

    /// Who is to have it, and who is told what.
    type Row<'a> = (Option<&'a Scribe>, &'a [(&'a Scribe, bool)]);

    #[test]
    fn the_duty_is_stated_on_change_and_first_to_who_has_it_no_more() {
        let mut duty = Duty::default();
        let (a, again, marked, b) = (
            scribe("a:1", 1, "s/0"),
            scribe("a:1", 2, "s/0"),
            scribe("a:1", 2, "s/1"),
            scribe("b:1", 3, "s/1"),
        );
        let rows: [Row<'_>; 8] = [
            (None, &[]),
            (Some(&a), &[(&a, true)]),
            (Some(&a), &[]),
            (Some(&again), &[(&a, false), (&again, true)]),
            (Some(&marked), &[(&marked, true)]),
            (Some(&b), &[(&marked, false), (&b, true)]),
            (None, &[(&b, false)]),
            (Some(&b), &[(&b, true)]),
        ];
        for (step, (to, expected)) in rows.into_iter().enumerate() {
            let expected: Vec<_> = expected
                .iter()
                .map(|(scribe, is_scribe)| {
                    ((*scribe).clone(), agents::scribe(*is_scribe, scribe.mark.clone()))
                })
                .collect();
            assert_eq!(duty.pass(to.cloned()), expected, "step {step}");
        }
    }
}
