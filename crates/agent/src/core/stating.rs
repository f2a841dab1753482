//! What the leader states: what runs, what stops, and that all was said.

use copyist_model::{AssignmentEpoch, AssignmentId};

use super::job::{After, Job, Phase};
use super::{Core, Effect, Run, Saying};

impl Core {
    pub(super) fn welcome(&mut self, now_ms: u64, store_id: String, autonomy_max_ms: u64) -> Vec<Effect> {
        self.named.clear();
        self.autonomy_max_ms = autonomy_max_ms;
        let mut effects: Vec<Effect> =
            self.draining.then_some(Effect::Tell(Saying::Draining)).into_iter().collect();
        if self.store.as_ref().is_some_and(|store| *store != store_id) {
            effects.extend(self.leave_store(now_ms));
        }
        self.store = Some(store_id);
        effects.extend(self.own_jobs().filter_map(|(id, job)| {
            let findings = job.findings.clone()?;
            Some(Effect::Tell(Saying::Surveyed { id: id.clone(), epoch: job.epoch, findings }))
        }));
        effects.extend(self.proposals.tell_again());
        effects.push(Effect::Renew);
        effects
    }

    /// Another store knows nothing of what this one assigned, and may give the same epochs to others.
    fn leave_store(&mut self, now_ms: u64) -> Vec<Effect> {
        self.store_since_ms = Some(now_ms);
        self.ended.clear();
        self.jobs.retain(|_, job| job.is_at_work());
        let mut effects = Vec::new();
        for (id, job) in &mut self.jobs {
            job.is_foreign = true;
            if job.phase == Phase::Running {
                effects.push(Effect::Stop { id: id.clone() });
            }
            job.phase = Phase::Stopping(After::default());
        }
        effects.extend(self.proposals.drop_all());
        effects
    }

    /// Whether a question was asked before the present store was known: the former one may have answered it.
    pub(super) fn is_of_former_store(&self, sent_ms: u64) -> bool {
        self.store_since_ms.is_some_and(|since_ms| sent_ms <= since_ms)
    }

    pub(super) fn stated(&mut self, now_ms: u64, run: Run) -> Vec<Effect> {
        if self.draining {
            return Vec::new();
        }
        self.named.insert(run.id.clone());
        let Some(job) = self.jobs.get_mut(&run.id) else {
            if self.ended.get(&run.id) >= Some(&run.epoch) {
                // Stated before the leader heard of its end, or by one that never did.
                return vec![Effect::Tell(Saying::Released { id: run.id, epoch: run.epoch })];
            }
            self.jobs.insert(run.id.clone(), Job::waiting(now_ms, &run));
            return vec![Effect::Renew];
        };
        let own = job.own_epoch();
        if Some(run.epoch) < own {
            return Vec::new();
        }
        let newer = Some(run.epoch) > own;
        match &mut job.phase {
            Phase::Stopping(after) => {
                // What was told to end stays so: the leader will assign it anew.
                let newer = newer && Some(run.epoch) > after.released;
                if newer && after.next.as_ref().is_none_or(|next| next.epoch <= run.epoch) {
                    after.next = Some(Box::new(run));
                }
                Vec::new()
            }
            Phase::Running if newer => {
                let id = run.id.clone();
                job.phase = Phase::Stopping(After { next: Some(Box::new(run)), released: None });
                vec![Effect::Stop { id }]
            }
            Phase::Running => {
                job.order = run.order.clone();
                vec![Effect::Order { id: run.id, order: run.order }]
            }
            Phase::Broken if !newer && run.order.revision <= job.order.revision => Vec::new(),
            Phase::Waiting | Phase::Broken => {
                *job = Job::waiting(now_ms, &run);
                vec![Effect::Renew]
            }
        }
    }

    /// Confirms an epoch once nothing runs under it or an older one.
    pub(super) fn release(&mut self, id: AssignmentId, epoch: AssignmentEpoch) -> Vec<Effect> {
        if let Some(job) = self.jobs.get_mut(&id)
            // A job starts only after what ran under an older epoch has ended.
            && job.own_epoch() <= Some(epoch)
        {
            match &mut job.phase {
                Phase::Running => {
                    job.phase = Phase::Stopping(After { next: None, released: Some(epoch) });
                    return vec![Effect::Stop { id }];
                }
                Phase::Stopping(after) => {
                    after.release(epoch);
                    return Vec::new();
                }
                Phase::Waiting | Phase::Broken => drop(self.jobs.remove(&id)),
            }
        }
        vec![self.over(&id, epoch)]
    }

    /// A part's epoch is over for good, and the leader is told.
    pub(super) fn over(&mut self, id: &AssignmentId, epoch: AssignmentEpoch) -> Effect {
        let ended = self.ended.entry(id.clone()).or_insert(epoch);
        *ended = epoch.max(*ended);
        Effect::Tell(Saying::Released { id: id.clone(), epoch })
    }

    pub(super) fn set_complete(&mut self) -> Vec<Effect> {
        let unnamed: Vec<AssignmentId> =
            self.jobs.keys().filter(|id| !self.named.contains(id)).cloned().collect();
        unnamed.iter().flat_map(|id| self.stop(id)).collect()
    }

    pub(super) fn drain(&mut self) -> Vec<Effect> {
        self.draining = true;
        // First, or what is released comes back.
        let mut effects = vec![Effect::Tell(Saying::Draining)];
        effects.extend(self.ids().iter().flat_map(|id| self.stop(id)));
        effects
    }

    /// Ends a job; what does not run is released at once. The right is not touched: as long as it lasts the job reads
    /// the answers to what it has sent and stores its positions, so that who comes next need not wait.
    pub(super) fn stop(&mut self, id: &AssignmentId) -> Vec<Effect> {
        let Some(job) = self.jobs.get_mut(id) else { return Vec::new() };
        match &mut job.phase {
            Phase::Running => {
                job.phase = Phase::Stopping(After::default());
                vec![Effect::Stop { id: id.clone() }]
            }
            Phase::Stopping(after) => {
                after.give_up_next();
                Vec::new()
            }
            Phase::Waiting | Phase::Broken => {
                let epoch = job.epoch;
                self.jobs.remove(id);
                vec![self.over(id, epoch)]
            }
        }
    }
}
