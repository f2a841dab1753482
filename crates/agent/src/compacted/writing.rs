//! Writes records to a compacted topic, by the client that its cluster needs.

mod librdkafka;
mod outbox;
mod own;

use std::sync::Arc;
use std::time::Duration;

use copyist_kafka::ClientOptions;
use copyist_model::TopicName;
use rdkafka::ClientConfig;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// Time until the cluster must have acknowledged a record.
pub(crate) const PUT_DEADLINE: Duration = Duration::from_secs(30);
/// Puts that may be on their way at once: of as many tasks.
pub(crate) const PUTS_MAX: usize = 256;

/// A record to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub key: String,
    /// Nothing: a tombstone.
    pub value: Option<String>,
    /// The value of its header [`MARK`](super::MARK), if it is to have one.
    pub mark: Option<Arc<str>>,
}

/// Records to write, in their order within each partition, and who waits for it.
#[derive(Debug)]
pub(crate) struct Put {
    pub records: Vec<Outgoing>,
    /// What comes behind a record that is refused is not written either.
    pub stops_at_refusal: bool,
    pub done: oneshot::Sender<Written>,
}

/// What is written, and what went wrong if not all is.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Which of the records, by its number in the put, lies at which offset of its partition.
    pub offsets: Vec<(usize, i64)>,
    /// [`Error::Stuck`]: all that is not written was refused, and would be again.
    pub failed: Option<Error>,
}

impl Written {
    /// Of several failures the first is told, and one that may pass before others: then not all that is not written was
    /// refused.
    fn fail(&mut self, error: Error) {
        let (Some(Error::Stuck(_)), Error::Retry { .. }) = (&self.failed, &error) else {
            self.failed.get_or_insert(error);
            return;
        };
        self.failed = Some(error);
    }
}

/// How the topic is written to.
pub(crate) struct Writer {
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
                    tracing::info!(topic = %self.topic, "librdkafka writes to this topic: {why}")
                }
                Some(None) | None => return,
            }
        }
        librdkafka::run(self.config, self.topic.as_str().into(), puts, stop).await;
    }
}
