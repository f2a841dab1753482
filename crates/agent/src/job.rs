//! A job is one assignment at work: a survey or a task. It is told by a level (the newest order wins), and tells
//! what it is doing. It ends when its stop token says so, with everything it acknowledged stored, or when the
//! deadline of a stop passes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use copyist_model::{
    AssignmentEpoch, AssignmentId, ClusterId, ConnectorGeneration, ConnectorSpec, InstanceState,
    LaneGeneration, LaneHeld, LaneId, LaneRecord, TaskLanes, TaskRevision, TopicName,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::driver::boot;

/// The longest sleep before a right is looked at again: the sleep's clock stands while the machine is suspended.
const RIGHT_LOOK: Duration = Duration::from_secs(1);

/// What a job should do now. Within one epoch only the newest order counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Rises with every change of the order; a raised revision also retries what had stopped.
    pub revision: TaskRevision,
    pub generation: ConnectorGeneration,
    pub spec: Arc<ConnectorSpec>,
    /// Empty for a survey.
    pub lanes: TaskLanes,
    /// What the store held of these lanes when this was stated. A record that the job proposed itself since then is not
    /// among it.
    pub records: Arc<BTreeMap<LaneId, LaneHeld>>,
    /// Destination topics that others write into too.
    pub shared: BTreeSet<TopicName>,
    /// Hold what there is and copy nothing.
    pub paused: bool,
    /// The place in a trace of what led to this; empty: it is not traced.
    pub traceparent: String,
}

#[cfg(test)]
impl Order {
    /// From a cluster that nobody serves into the worker's, without lanes.
    pub(crate) fn from_nowhere(engine: &str) -> Self {
        let spec = copyist_proto::control::ConnectorSpec {
            rename_format: "${topic}".to_owned(),
            source: [("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned())].into(),
            destination_is_worker: true,
            offset_reset: copyist_proto::control::OffsetReset::Earliest.into(),
            poll_interval_ms: 1_000,
            engine: engine.to_owned(),
            loss_policy: "fail".to_owned(),
            ..Default::default()
        };
        Self {
            revision: TaskRevision(1),
            generation: ConnectorGeneration(1),
            spec: Arc::new(spec.try_into().unwrap()),
            lanes: TaskLanes::default(),
            records: Arc::default(),
            shared: BTreeSet::new(),
            paused: false,
            traceparent: String::new(),
        }
    }
}

/// What a job may write, as a level. Times since the machine started, suspended time included (CLOCK_BOOTTIME), to
/// be compared with [`boot`] immediately before a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Right {
    /// From then on the job has no right to write. Zero: it was withdrawn.
    pub ends_at: Duration,
    /// From then on no former holder writes any more. Zero: there is none to wait for.
    pub free_at: Duration,
}

/// A lane record that is to hold from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Of what the store holds so far; zero: nothing.
    pub replaces: LaneGeneration,
    pub record: LaneRecord,
}

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Committed,
    Refused {
        because: String,
        /// What the store holds instead, if it does.
        holds: Option<LaneHeld>,
    },
}

/// Nobody will answer the proposal any more: its job ended, or a newer one of the same lane replaced it. Its record may
/// hold or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proposed lane record was not answered")]
pub struct Unanswered;

/// What comes out of a job.
#[derive(Debug)]
pub enum JobMessage {
    Event(JobEvent),
    Proposed {
        id: AssignmentId,
        epoch: AssignmentEpoch,
        proposal: Box<Proposal>,
        answer: oneshot::Sender<Result<Verdict, Unanswered>>,
    },
}

/// What a job says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent {
    /// The state changed, or its trace did.
    Status { id: AssignmentId, epoch: AssignmentEpoch, state: InstanceState, trace: String },
    /// A full survey is done.
    Surveyed { id: AssignmentId, epoch: AssignmentEpoch, findings: Findings },
    /// The job is over and will write nothing more.
    Ended { id: AssignmentId, epoch: AssignmentEpoch },
}

/// What a full survey found and made ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    pub generation: ConnectorGeneration,
    pub source_cluster: ClusterId,
    pub destination_cluster: ClusterId,
    /// By source topic.
    pub topics: Vec<FoundTopic>,
}

/// A source topic whose destination is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTopic {
    pub source: TopicName,
    pub destination: TopicName,
    /// Lanes `0..partitions` are ready.
    pub partitions: u32,
    /// Whether the user's list names it.
    pub literal: bool,
}

/// A job's line to its driver. Bounded; a job waits when the driver is behind.
#[derive(Debug, Clone)]
pub struct Reporter {
    id: AssignmentId,
    epoch: AssignmentEpoch,
    messages: mpsc::Sender<JobMessage>,
    right: watch::Receiver<Right>,
}

impl Reporter {
    #[must_use]
    pub fn new(
        id: AssignmentId,
        epoch: AssignmentEpoch,
        messages: mpsc::Sender<JobMessage>,
        right: watch::Receiver<Right>,
    ) -> Self {
        Self { id, epoch, messages, right }
    }

    #[must_use]
    pub fn id(&self) -> &AssignmentId {
        &self.id
    }

    /// Under which the job runs, from its start to its end.
    #[must_use]
    pub fn epoch(&self) -> AssignmentEpoch {
        self.epoch
    }

    /// The job's right, as it is now and as it changes.
    #[must_use]
    pub fn right(&self) -> watch::Receiver<Right> {
        self.right.clone()
    }

    /// Whether the job may write at this moment.
    #[must_use]
    pub fn holds_right(&self) -> bool {
        boot() < self.right.borrow().ends_at
    }

    /// Waits until the right has ended, by time or because it was withdrawn.
    pub async fn right_ended(&self) {
        let mut right = self.right.clone();
        loop {
            let left = right.borrow_and_update().ends_at.saturating_sub(boot());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(RIGHT_LOOK)) => {}
                Ok(()) = right.changed() => {}
            }
        }
    }

    /// Waits until the job has a right.
    pub async fn right_held(&self) {
        let held = self.right.clone().wait_for(|right| boot() < right.ends_at).await.is_ok();
        if !held {
            // Nobody gives rights any more.
            std::future::pending().await
        }
    }

    /// Waits until no former holder writes any more, or until `stop`: for jobs that have nothing but the right to
    /// keep two writers apart.
    pub async fn until_free(&self, stop: &CancellationToken) {
        let free_at = self.right.borrow().free_at;
        // Again after each sleep: its clock does not count the time that the machine was suspended.
        loop {
            let wait = free_at.saturating_sub(boot());
            if wait.is_zero() || stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    pub async fn status(&self, state: InstanceState, trace: String) {
        self.send(JobEvent::Status { id: self.id.clone(), epoch: self.epoch, state, trace }).await;
    }

    pub async fn surveyed(&self, findings: Findings) {
        self.send(JobEvent::Surveyed { id: self.id.clone(), epoch: self.epoch, findings }).await;
    }

    /// Asks the coordinator to fix a lane record. Waits as long as there is no coordinator; the caller sets a deadline,
    /// and may ask the same again.
    ///
    /// # Errors
    /// [`Unanswered`]: nobody will answer any more.
    pub async fn propose(&self, replaces: LaneGeneration, record: LaneRecord) -> Result<Verdict, Unanswered> {
        let (answer, answered) = oneshot::channel();
        let proposal = Box::new(Proposal { replaces, record });
        let proposed = JobMessage::Proposed { id: self.id.clone(), epoch: self.epoch, proposal, answer };
        self.messages.send(proposed).await.map_err(|_| Unanswered)?;
        answered.await.unwrap_or(Err(Unanswered))
    }

    pub async fn ended(&self) {
        self.send(JobEvent::Ended { id: self.id.clone(), epoch: self.epoch }).await;
    }

    async fn send(&self, event: JobEvent) {
        // The driver outlives its jobs; when it is gone the process ends and nobody is left to be told.
        let _ = self.messages.send(JobMessage::Event(event)).await;
    }
}

#[cfg(test)]
mod tests {
    use copyist_model::{Engine, LaneEnd, TopicId};

    use super::*;

    fn reporter(free_at: Duration) -> (Reporter, mpsc::Receiver<JobMessage>) {
        let (messages, mailbox) = mpsc::channel(1);
        let (_, right) = watch::channel(Right { ends_at: Duration::MAX, free_at });
        let id = AssignmentId::task(&"c".parse().unwrap(), 0);
        (Reporter::new(id, AssignmentEpoch::default(), messages, right), mailbox)
    }

    /// With the end of the right in the tester's hand.
    fn held_until(ends_at: Duration) -> (Reporter, watch::Sender<Right>) {
        let (messages, _) = mpsc::channel(1);
        let (sender, right) = watch::channel(Right { ends_at, free_at: Duration::ZERO });
        let id = AssignmentId::task(&"c".parse().unwrap(), 0);
        (Reporter::new(id, AssignmentEpoch::default(), messages, right), sender)
    }

    fn record() -> LaneRecord {
        let end = |cluster: &str| LaneEnd {
            cluster: cluster.parse().unwrap(),
            topic: "t".parse().unwrap(),
            topic_id: TopicId::NONE,
            partition: 0,
        };
        let (source, destination) = (end("s"), end("d"));
        let lane = LaneId {
            connector: "c".parse().unwrap(),
            source_cluster: source.cluster.clone(),
            topic: source.topic.clone(),
            partition: 0,
        };
        LaneRecord {
            lane,
            generation: LaneGeneration(1),
            engine: Engine::Raw,
            source,
            destination,
            producer_id: 7,
            base_n: 0,
            base_offset: 0,
            base_source_offset: 0,
            shared: false,
        }
    }

    #[tokio::test]
    async fn a_proposal_waits_for_its_answer() {
        let (reporter, mut mailbox) = reporter(Duration::ZERO);
        let driver = async {
            let Some(JobMessage::Proposed { proposal, answer, .. }) = mailbox.recv().await else {
                return None;
            };
            answer.send(Ok(Verdict::Committed)).ok()?;
            Some(*proposal)
        };
        let (answered, heard) = tokio::join!(reporter.propose(LaneGeneration(0), record()), driver);
        assert_eq!(answered, Ok(Verdict::Committed));
        assert_eq!(heard, Some(Proposal { replaces: LaneGeneration(0), record: record() }));
    }

    #[tokio::test]
    async fn a_proposal_without_a_driver_is_unanswered() {
        let (asked, mut mailbox) = reporter(Duration::ZERO);
        let (answered, message) = tokio::join!(asked.propose(LaneGeneration(0), record()), async {
            mailbox.recv().await.map(drop)
        });
        assert_eq!((answered, message), (Err(Unanswered), Some(())), "dropped");
        drop(mailbox);
        assert_eq!(asked.propose(LaneGeneration(0), record()).await, Err(Unanswered), "gone");
    }

    #[tokio::test]
    async fn who_waits_for_a_former_holder_waits_as_long_as_it_may_write_or_until_told_to_stop() {
        let stop = CancellationToken::new();
        reporter(Duration::ZERO).0.until_free(&stop).await;
        let free_at = boot() + Duration::from_millis(30);
        reporter(free_at).0.until_free(&stop).await;
        assert!(boot() >= free_at);
        stop.cancel();
        reporter(Duration::MAX).0.until_free(&stop).await;
    }

    #[tokio::test]
    async fn a_right_ends_by_time_or_when_it_is_withdrawn() {
        let soon = boot() + Duration::from_millis(30);
        let (reporter, _right) = held_until(soon);
        assert!(reporter.holds_right());
        reporter.right_ended().await;
        assert!(boot() >= soon && !reporter.holds_right());

        let (reporter, right) = held_until(Duration::MAX);
        let ended = tokio::time::timeout(Duration::from_millis(30), reporter.right_ended());
        assert!(ended.await.is_err(), "not yet");
        let withdraw = async { right.send_replace(Right::default()) };
        tokio::join!(reporter.right_ended(), withdraw);
        assert!(!reporter.holds_right());

        let (reporter, right) = held_until(boot() + Duration::from_millis(30));
        right.send_replace(Right { ends_at: Duration::MAX, free_at: Duration::ZERO });
        let ended = tokio::time::timeout(Duration::from_millis(60), reporter.right_ended());
        assert!(ended.await.is_err(), "it was prolonged");
    }

    #[tokio::test]
    async fn who_has_no_right_waits_until_it_is_given() {
        held_until(Duration::MAX).0.right_held().await;
        let (reporter, right) = held_until(Duration::ZERO);
        let give = async {
            tokio::task::yield_now().await;
            right.send_replace(Right { ends_at: boot(), free_at: Duration::ZERO });
            tokio::task::yield_now().await;
            right.send_replace(Right { ends_at: Duration::MAX, free_at: Duration::ZERO });
        };
        tokio::join!(reporter.right_held(), give);
        assert!(reporter.holds_right());
        let (reporter, right) = held_until(Duration::ZERO);
        drop(right);
        assert!(tokio::time::timeout(Duration::from_millis(10), reporter.right_held()).await.is_err());
    }
}
