//! What jobs tell: how they are, what they found, what they want fixed, and that they are over.

use copyist_model::{AssignmentEpoch, AssignmentId, InstanceState};

use super::job::{Job, Phase};
use super::proposals::{ProposalNumber, unanswered};
use super::{Core, Effect, Saying};
use crate::job::{JobEvent, Proposal};

impl Core {
    pub(super) fn job(&mut self, now_ms: u64, event: JobEvent) -> Vec<Effect> {
        let (JobEvent::Status { id, epoch, .. }
        | JobEvent::Surveyed { id, epoch, .. }
        | JobEvent::Ended { id, epoch }) = &event;
        let (id, epoch) = (id.clone(), *epoch);
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.epoch == epoch) else { return Vec::new() };
        match event {
            JobEvent::Ended { .. } => self.ended(now_ms, &id),
            // The leader would take it for what it assigned itself.
            JobEvent::Status { .. } | JobEvent::Surveyed { .. } if job.is_foreign => Vec::new(),
            JobEvent::Status { state, trace, .. } => {
                job.state = state;
                job.trace = trace;
                vec![Effect::Tell(Saying::Report(job.report(&id)))]
            }
            JobEvent::Surveyed { findings, .. } => {
                job.findings = Some(findings.clone());
                vec![Effect::Tell(Saying::Surveyed { id, epoch, findings })]
            }
        }
    }

    pub(super) fn proposed(
        &mut self,
        number: ProposalNumber,
        id: AssignmentId,
        epoch: AssignmentEpoch,
        proposal: Box<Proposal>,
    ) -> Vec<Effect> {
        if self.jobs.get(&id).is_some_and(|job| job.own_epoch() == Some(epoch) && job.is_at_work()) {
            self.proposals.propose(number, id, epoch, proposal)
        } else {
            vec![unanswered(number)]
        }
    }

    fn ended(&mut self, now_ms: u64, id: &AssignmentId) -> Vec<Effect> {
        let mut effects = self.proposals.drop_all_of(id);
        effects.extend(self.followed(now_ms, id));
        effects
    }

    /// What comes after a job that has ended.
    fn followed(&mut self, now_ms: u64, id: &AssignmentId) -> Vec<Effect> {
        let Some(job) = self.jobs.get_mut(id) else { return Vec::new() };
        match &mut job.phase {
            Phase::Stopping(after) => {
                let (next, released) = (after.next.take(), after.released);
                if let Some(next) = next {
                    *job = Job::waiting(now_ms, &next);
                    let told = released.map(|epoch| self.over(id, epoch));
                    told.into_iter().chain([Effect::Renew]).collect()
                } else {
                    // What was told to end is never older than the job.
                    let newest = released.or(job.own_epoch());
                    self.jobs.remove(id);
                    newest.map(|epoch| self.over(id, epoch)).into_iter().collect()
                }
            }
            Phase::Running | Phase::Waiting | Phase::Broken => {
                job.phase = Phase::Broken;
                job.state = InstanceState::Failed;
                job.trace = "it ended by a defect of copyist (the log has the panic); restart it".to_owned();
                vec![Effect::Tell(Saying::Report(job.report(id)))]
            }
        }
    }
}
