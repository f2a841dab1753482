//! The right to write, and autonomy: how long a job goes on without one.

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_model::{AssignmentEpoch, AssignmentId};

use super::job::{Job, Phase};
use super::{Core, Effect};

impl Core {
    /// What an answer does not name is somebody else's, or is being released: that ends a job at once.
    pub(super) fn renewed(
        &mut self,
        now_ms: u64,
        sent_ms: u64,
        ttl_ms: u64,
        held: &BTreeMap<AssignmentId, AssignmentEpoch>,
    ) -> Vec<Effect> {
        if self.is_of_former_store(sent_ms) {
            return Vec::new();
        }
        let ends_at = Duration::from_millis(sent_ms.saturating_add(ttl_ms));
        let mut effects = Vec::new();
        for id in self.ids() {
            let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.is_foreign) else { continue };
            if held.get(&id) == Some(&job.epoch) {
                effects.extend(job.prolong(&id, ends_at));
            } else if job.stated_ms < sent_ms {
                effects.extend(self.withdraw(&id));
            }
        }
        effects.extend(self.start_what_may(now_ms));
        effects
    }

    /// Starts what waited for its right.
    fn start_what_may(&mut self, now_ms: u64) -> Vec<Effect> {
        let now = Duration::from_millis(now_ms);
        let may = |job: &Job| job.phase == Phase::Waiting && now < job.right.ends_at;
        let mut effects = Vec::new();
        for (id, job) in self.jobs.iter_mut().filter(|(_, job)| may(job)) {
            job.phase = Phase::Running;
            let (id, order) = (id.clone(), job.order.clone());
            effects.push(Effect::Start { id, epoch: job.epoch, order, right: job.right });
        }
        effects
    }

    /// A job without a right ends; one that ends already is followed by what was stated since.
    fn withdraw(&mut self, id: &AssignmentId) -> Vec<Effect> {
        let Some(job) = self.jobs.get_mut(id) else { return Vec::new() };
        let mut effects: Vec<Effect> = job.lose_right(id).into_iter().collect();
        if !matches!(job.phase, Phase::Stopping(_)) {
            effects.extend(self.stop(id));
        }
        effects
    }

    /// Nobody says that a job is somebody else's now: it goes on for lanes whose fence is intact.
    pub(super) fn lease_lost(&mut self) -> Vec<Effect> {
        let jobs = self.jobs.iter_mut();
        let mut effects: Vec<Effect> = jobs.filter_map(|(id, job)| job.lose_right(id)).collect();
        effects.push(Effect::Rejoin);
        effects
    }

    /// How many jobs go on without a right.
    #[must_use]
    pub fn without_right(&self, now_ms: u64) -> usize {
        let now = Duration::from_millis(now_ms);
        self.jobs.values().filter(|job| job.phase == Phase::Running && now >= job.right.ends_at).count()
    }

    /// Ends what nobody has renewed for so long that the leader no longer counts on it.
    pub(super) fn end_autonomy(&mut self, now_ms: u64) -> Vec<Effect> {
        let now = Duration::from_millis(now_ms);
        let autonomy = Duration::from_millis(self.autonomy_max_ms);
        let is_over = |job: &Job| match job.phase {
            Phase::Running | Phase::Broken => now >= job.held_until.saturating_add(autonomy),
            // It holds nothing so far, or ends already.
            Phase::Waiting | Phase::Stopping(_) => false,
        };
        let over: Vec<AssignmentId> =
            self.jobs.iter().filter(|(_, job)| is_over(job)).map(|(id, _)| id.clone()).collect();
        over.iter().flat_map(|id| self.stop(id)).collect()
    }
}
