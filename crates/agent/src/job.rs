//! A job is one assignment at work: a survey or a task. It is told by a level (the newest order wins), and tells
//! what it is doing. It ends when its stop token says so, with everything it acknowledged stored, or when the
//! deadline of a stop passes.

use std::sync::Arc;

use copyist_model::{
    AssignmentEpoch, AssignmentId, ClusterId, ConnectorGeneration, ConnectorSpec, InstanceState, TaskLanes,
    TaskRevision, TopicName,
};
use tokio::sync::mpsc;

/// What a job should do now. Within one epoch only the newest order counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Rises with every change of the order; a raised revision also retries what had stopped.
    pub revision: TaskRevision,
    pub generation: ConnectorGeneration,
    pub spec: Arc<ConnectorSpec>,
    /// Empty for a survey.
    pub lanes: TaskLanes,
    /// Hold what there is and copy nothing.
    pub paused: bool,
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

/// Where a job's events go. Bounded; a job waits when the driver is behind.
#[derive(Debug, Clone)]
pub struct Reporter {
    id: AssignmentId,
    epoch: AssignmentEpoch,
    events: mpsc::Sender<JobEvent>,
}

impl Reporter {
    #[must_use]
    pub fn new(id: AssignmentId, epoch: AssignmentEpoch, events: mpsc::Sender<JobEvent>) -> Self {
        Self { id, epoch, events }
    }

    #[must_use]
    pub fn id(&self) -> &AssignmentId {
        &self.id
    }

    pub async fn status(&self, state: InstanceState, trace: String) {
        self.send(JobEvent::Status { id: self.id.clone(), epoch: self.epoch, state, trace }).await;
    }

    pub async fn surveyed(&self, findings: Findings) {
        self.send(JobEvent::Surveyed { id: self.id.clone(), epoch: self.epoch, findings }).await;
    }

    pub async fn ended(&self) {
        self.send(JobEvent::Ended { id: self.id.clone(), epoch: self.epoch }).await;
    }

    async fn send(&self, event: JobEvent) {
        // The driver outlives its jobs; when it is gone the process ends and nobody is left to be told.
        let _ = self.events.send(event).await;
    }
}
