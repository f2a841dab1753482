//! How long parts stood still when their agent was lost, in parts: noticed, assigned, resumed. Pure; the driver has the
//! clock.

use std::collections::BTreeMap;

use copyist_model::{AgentId, AssignmentEpoch, AssignmentId, InstanceState, StoreRevision};

use crate::core::{Event, Holder, View, Write};

/// How long the last failover of a part is told of in its status.
const TOLD_MS: u64 = 300_000;

/// How a part came from an agent that was lost to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    pub from: AgentId,
    pub to: AgentId,
    /// From the last word of the lost agent until it was missed; nothing: it said none in this term.
    pub noticed_ms: Option<u64>,
    /// From then until the new assignment was stored.
    pub assigned_ms: u64,
    /// From then until the part was reported RUNNING.
    pub resumed_ms: Option<u64>,
    epoch: AssignmentEpoch,
    stored_at_ms: u64,
}

/// The last failover of each part, in this term.
#[derive(Debug, Default, Clone)]
pub struct Failovers {
    heard_ms: BTreeMap<Holder, u64>,
    last: BTreeMap<AssignmentId, Failover>,
}

impl Failovers {
    /// Who speaks is not lost; who reports that it runs what was given to it has taken over. Returns that.
    pub fn hear(&mut self, event: &Event, now_ms: u64) -> Option<Failover> {
        for holder in event.speakers() {
            match self.heard_ms.get_mut(holder) {
                Some(heard_ms) => *heard_ms = now_ms,
                None => drop(self.heard_ms.insert(holder.clone(), now_ms)),
            }
        }
        let Event::Reported { id, epoch, state: InstanceState::Running, .. } = event else { return None };
        let failover = self.last.get_mut(id).filter(|it| it.epoch == *epoch && it.resumed_ms.is_none())?;
        failover.resumed_ms = Some(now_ms.saturating_sub(failover.stored_at_ms));
        Some(failover.clone())
    }

    /// A commit was decided at `decided_ms` and is stored now; `view` does not have it yet. Returns what was taken over
    /// by it.
    pub fn assign(
        &mut self,
        view: &View,
        writes: &[Write],
        revision: StoreRevision,
        decided_ms: u64,
        now_ms: u64,
    ) -> Vec<Failover> {
        let mut taken = Vec::new();
        for write in writes {
            let Write::Assignment(id, after) = write else { continue };
            let before = view.assignments.get(id).map(|before| (before.holder.clone(), before.epoch));
            self.last.remove(id);
            let (Some(before), Some(after)) = (before, after) else { continue };
            if after.holder == before.0 || !after.former.contains(&before) {
                continue;
            }
            let heard_ms = self.heard_ms.get(&before.0);
            let failover = Failover {
                from: before.0.agent,
                to: after.holder.agent.clone(),
                noticed_ms: heard_ms.map(|heard_ms| decided_ms.saturating_sub(*heard_ms)),
                assigned_ms: now_ms.saturating_sub(decided_ms),
                resumed_ms: None,
                epoch: AssignmentEpoch { incarnation: view.meta.incarnation, revision },
                stored_at_ms: now_ms,
            };
            self.last.insert(id.clone(), failover.clone());
            taken.push(failover);
        }
        taken
    }

    /// The last failover of a part.
    #[must_use]
    pub fn of(&self, id: &AssignmentId) -> Option<&Failover> {
        self.last.get(id)
    }

    /// What the status of a part says of it for a while.
    #[must_use]
    pub fn told(&self, id: &AssignmentId, now_ms: u64) -> Option<String> {
        let failover = self.last.get(id).filter(|it| now_ms < it.stored_at_ms + TOLD_MS)?;
        let seconds = |ms: u64| format!("{}.{:03} s", ms / 1000, ms % 1000);
        let noticed = failover.noticed_ms.map(|ms| format!("noticed after {}, ", seconds(ms)));
        let resumed = match failover.resumed_ms {
            Some(ms) => format!("resumed after {}", seconds(ms)),
            None => "not resumed yet".to_owned(),
        };
        Some(format!(
            "taken over from {}: {}assigned after {}, {resumed}",
            failover.from,
            noticed.unwrap_or_default(),
            seconds(failover.assigned_ms)
        ))
    }

    /// Processes without a lease are told of no more.
    pub fn forget_the_gone(&mut self, view: &View) {
        self.heard_ms.retain(|holder, _| view.is_alive(holder));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::view::Assignment;

    fn holder(agent: &str) -> Holder {
        Holder { agent: agent.parse().unwrap(), incarnation: "one".into() }
    }

    fn part() -> AssignmentId {
        AssignmentId::task(&"c".parse().unwrap(), 0)
    }

    fn epoch(revision: u64) -> AssignmentEpoch {
        AssignmentEpoch { incarnation: 0, revision: StoreRevision(revision) }
    }

    fn given(to: &str, former: &[(&str, u64)]) -> Vec<Write> {
        let former = former.iter().map(|(agent, revision)| (holder(agent), epoch(*revision))).collect();
        let assignment =
            Assignment { holder: holder(to), epoch: AssignmentEpoch::default(), former, pinned: false };
        vec![Write::Assignment(part(), Some(assignment))]
    }

    fn running(agent: &str, revision: u64) -> Event {
        let (holder, id, epoch) = (holder(agent), part(), epoch(revision));
        Event::Reported { holder, id, epoch, state: InstanceState::Running, trace: String::new() }
    }

    /// Part of a:1 since revision 1, which spoke last at 1,000.
    fn world() -> (View, Failovers) {
        let mut view = View::default();
        for write in given("a:1", &[]) {
            view.apply(StoreRevision(1), write);
        }
        let mut failovers = Failovers::default();
        assert_eq!(failovers.hear(&Event::Heartbeat(holder("a:1")), 500), None);
        assert_eq!(failovers.hear(&Event::Heartbeat(holder("a:1")), 1_000), None);
        (view, failovers)
    }

    #[test]
    fn the_parts_of_a_failover_are_told_apart() {
        let (view, mut failovers) = world();
        let taken = failovers.assign(&view, &given("b:1", &[("a:1", 1)]), StoreRevision(2), 2_600, 2_612);
        assert_eq!((taken[0].noticed_ms, taken[0].assigned_ms), (Some(1_600), 12));
        let told = failovers.told(&part(), 2_700).unwrap();
        assert_eq!(
            told,
            "taken over from a:1: noticed after 1.600 s, assigned after 0.012 s, not resumed yet"
        );
        assert_eq!(failovers.hear(&running("b:1", 1), 2_700), None, "of another epoch");
        let resumed = failovers.hear(&running("b:1", 2), 3_000).unwrap();
        assert_eq!((resumed.resumed_ms, resumed.to), (Some(388), "b:1".parse().unwrap()));
        assert_eq!(failovers.hear(&running("b:1", 2), 3_100), None, "it counts once");
        assert!(failovers.told(&part(), 3_100).unwrap().ends_with(", resumed after 0.388 s"));
        assert_eq!(failovers.told(&part(), 2_612 + TOLD_MS), None);
    }

    #[test]
    fn what_was_released_first_or_stays_is_no_failover() {
        let (view, mut failovers) = world();
        for writes in [given("b:1", &[]), given("a:1", &[("a:1", 1)]), vec![Write::Assignment(part(), None)]]
        {
            assert_eq!(failovers.assign(&view, &writes, StoreRevision(2), 10, 10), []);
            assert_eq!(failovers.of(&part()), None);
        }
    }

    #[test]
    fn of_an_agent_that_was_never_heard_nobody_knows_when_it_was_lost() {
        let (view, _) = world();
        let mut failovers = Failovers::default();
        let taken = failovers.assign(&view, &given("b:1", &[("a:1", 1)]), StoreRevision(2), 10, 12);
        assert_eq!(taken[0].noticed_ms, None);
        assert_eq!(
            failovers.told(&part(), 12).unwrap(),
            "taken over from a:1: assigned after 0.002 s, not resumed yet"
        );
    }

    #[test]
    fn who_is_gone_is_forgotten_and_a_newer_assignment_ends_an_older_story() {
        let (view, mut failovers) = world();
        failovers.assign(&view, &given("b:1", &[("a:1", 1)]), StoreRevision(2), 10, 12);
        failovers.assign(&view, &given("b:1", &[]), StoreRevision(3), 10, 12);
        assert_eq!(failovers.of(&part()), None);
        failovers.forget_the_gone(&view);
        assert!(failovers.heard_ms.is_empty());
    }
}
