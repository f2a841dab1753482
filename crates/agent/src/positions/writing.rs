//! Writes positions, by the client that their cluster needs.

mod librdkafka;
mod outbox;
mod own;

use std::time::Duration;

use copyist_kafka::ClientOptions;
use copyist_model::{LaneId, TopicName};
use rdkafka::ClientConfig;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::format::{Entry, Stored};
use super::known::Place;
use crate::error::Error;

/// Time until the cluster must have acknowledged a position.
pub(super) const PUT_DEADLINE: Duration = Duration::from_secs(30);
/// Puts that may be on their way at once: of as many tasks.
pub(super) const PUTS_MAX: usize = 256;

/// Positions to store, and who waits for it.
#[derive(Debug)]
pub(super) struct Put {
    /// Of each lane the position to store; nothing: the stored one goes.
    pub positions: Vec<(LaneId, Option<Stored>)>,
    pub done: oneshot::Sender<Written>,
}

/// What is stored, and what went wrong if not all is.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub records: Vec<(Place, Entry)>,
    pub failed: Option<Error>,
}

/// How positions are written.
pub(super) struct Writer {
    pub topic: TopicName,
    /// Of our own client, where it can speak to the cluster.
    pub options: Option<ClientOptions>,
    pub config: ClientConfig,
}

impl Writer {
    /// Serves puts until `stop`, or until nobody can ask any more.
    pub async fn run(self, mut puts: mpsc::Receiver<Put>, stop: CancellationToken) {
        if let Some(options) = self.options {
            let own = own::run(options, self.topic.clone(), &mut puts);
            match stop.run_until_cancelled(own).await {
                Some(Some(why)) => {
                    tracing::info!(topic = %self.topic, "librdkafka writes the positions: {why}")
                }
                Some(None) | None => return,
            }
        }
        librdkafka::run(self.config, self.topic.as_str().into(), puts, stop).await;
    }
}
