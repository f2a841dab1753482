//! Reads a compacted topic from its start and follows it, by the client that its cluster needs.

mod leaders;
mod librdkafka;
mod own;
mod progress;
mod records;

use std::time::Duration;

use copyist_kafka::{Backoff, ClientOptions};
use copyist_model::TopicName;
use rdkafka::ClientConfig;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use self::librdkafka::Followed;
use self::own::Own;
use crate::error::chain;

/// The first and the longest pause after a failure.
pub(crate) const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// What is read and not yet taken.
pub(crate) const READS_MAX: usize = 16;

/// What a reader tells.
#[derive(Debug)]
pub(crate) enum Read {
    Records(Vec<Found>),
    /// All that was there when the reading began was told, of so many partitions.
    Loaded {
        partitions: usize,
    },
    /// All that was there when the question of this number, or an earlier one, was put was told.
    ToEnd(u64),
    /// Why it does not go on, for whoever waits; it may pass soon.
    Trouble(String),
    /// The same, and worth a line in the log.
    Failed(String),
}

/// A record, and where it lies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// The value of its header [`MARK`](super::MARK).
    pub mark: Option<Vec<u8>>,
}

/// Why our own client reads no longer.
#[derive(Debug)]
enum Ended {
    /// It may go on later, where it stopped.
    Failed(String),
    /// It does not speak to this cluster, or cannot read what lies there: librdkafka can.
    Foreign(String),
}

/// How the topic is read.
pub(crate) struct Reader {
    pub topic: TopicName,
    /// Of our own client, where it can speak to the cluster.
    pub options: Option<ClientOptions>,
    pub config: ClientConfig,
    /// The number of the last question for the topic's end.
    pub asks: watch::Receiver<u64>,
}

impl Reader {
    /// Reads until `stop`, or until nobody hears it.
    pub async fn run(self, reads: mpsc::Sender<Read>, stop: CancellationToken) {
        let asks = self.asks.clone();
        let own = self.options.map(|options| Own::new(self.topic.clone(), options, asks, reads.clone()));
        if let Some(own) = own {
            match stop.run_until_cancelled(follow_own(&own, &reads)).await {
                Some(Some(why)) => {
                    tracing::info!(topic = %self.topic, "librdkafka reads this topic: {why}")
                }
                Some(None) | None => return,
            }
        }
        let (mut backoff, mut asks) = (Backoff::new(RETRY), self.asks);
        while !stop.is_cancelled() {
            let began = Instant::now();
            let followed = librdkafka::follow(&self.config, &self.topic, &reads, &mut asks, &stop).await;
            let error = match followed {
                Ok(Followed::Asked) => continue,
                Ok(Followed::Unheard) => return,
                Err(error) => error,
            };
            if reads.send(Read::Failed(chain(&error))).await.is_err() {
                return;
            }
            let _ = stop.run_until_cancelled(pause(&mut backoff, began)).await;
        }
    }
}

/// Why librdkafka has to go on; nothing when nobody hears any more.
async fn follow_own(own: &Own, reads: &mpsc::Sender<Read>) -> Option<String> {
    let mut backoff = Backoff::new(RETRY);
    loop {
        let began = Instant::now();
        match own.follow().await {
            Ended::Foreign(why) => return Some(why),
            Ended::Failed(why) => reads.send(Read::Failed(why)).await.ok()?,
        }
        pause(&mut backoff, began).await;
    }
}

/// After what went well for some time the first pause is short again.
async fn pause(backoff: &mut Backoff, began: Instant) {
    if began.elapsed() > RETRY.1 {
        backoff.reset();
    }
    sleep(backoff.wait(rand::random())).await;
}
