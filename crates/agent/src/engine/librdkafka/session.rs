//! The two clients of a task, for as long as nothing breaks them.
//!
//! Each lane has a queue of its own in the consumer, so that one without room holds up no other. A thread serves
//! the producer's events; what it learns goes to the task through bounded channels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use rdkafka::{ClientConfig, ClientContext, Offset, Statistics, TopicPartitionList};
use tokio::sync::{Notify, mpsc};

use super::lanes::LaneNumber;
use crate::client::poller::Poller;
use crate::client::voice::{Said, Voice};
use crate::engine::name::LaneName;

/// Time for closing both clients.
const CLOSE_DEADLINE: Duration = Duration::from_secs(15);
/// Deliveries on their way to the task.
const DELIVERIES_MAX: usize = 8_192;
/// Errors and statistics on their way to the task; newer ones follow those that find it full.
const SAID_MAX: usize = 64;
/// Bits of a delivery's number that count the lane's records; the rest number the lane.
const SEQUENCE_BITS: u32 = 44;

/// A record's fate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    pub lane: LaneNumber,
    pub sequence: u64,
    pub failed: Option<RDKafkaErrorCode>,
}

/// What a delivery carries through librdkafka.
pub(super) fn tag(lane: LaneNumber, sequence: u64) -> usize {
    ((lane.0 as usize) << SEQUENCE_BITS) | (sequence as usize & ((1 << SEQUENCE_BITS) - 1))
}

fn untag(tag: usize) -> (LaneNumber, u64) {
    let sequence = tag & ((1 << SEQUENCE_BITS) - 1);
    (LaneNumber((tag >> SEQUENCE_BITS) as u32), sequence as u64)
}

/// The producer's context.
pub(super) struct Deliverer {
    voice: Voice,
    deliveries: mpsc::Sender<Delivery>,
}

impl ClientContext for Deliverer {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.voice.log(level, facility, line);
    }

    fn stats(&self, statistics: Statistics) {
        self.voice.stats(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.voice.error(error, reason);
    }
}

impl ProducerContext for Deliverer {
    type DeliveryOpaque = usize;

    /// Waits when the task is behind; when it is gone, nobody wants to know.
    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let (lane, sequence) = untag(tag);
        let code = |error: &KafkaError| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let failed = result.as_ref().err().map(|(error, _)| code(error));
        let _ = self.deliveries.blocking_send(Delivery { lane, sequence, failed });
    }
}

/// Both clients, for calls that block.
#[derive(Clone)]
pub(super) struct Clients {
    pub consumer: Arc<BaseConsumer<Voice>>,
    pub producer: Arc<BaseProducer<Deliverer>>,
    wake: Arc<Notify>,
}

impl Clients {
    /// Begins to read lanes, each from its offset, into a queue of its own. Blocks for a moment.
    pub fn assign(&self, lanes: &[(LaneNumber, LaneName, i64)]) -> KafkaResult<Vec<(LaneNumber, LaneQueue)>> {
        let mut list = TopicPartitionList::new();
        let mut queues = Vec::with_capacity(lanes.len());
        for (number, name, next) in lanes {
            list.add_partition_offset(name.source.as_str(), name.partition, Offset::Offset(*next))?;
            // Before the assignment: else its first records would go to the common queue.
            let queue = self.consumer.split_partition_queue(name.source.as_str(), name.partition);
            let queue = queue.ok_or(KafkaError::Subscription(name.to_string()))?;
            queues.push((*number, LaneQueue::new(name.clone(), queue, Arc::clone(&self.wake))));
        }
        self.consumer.incremental_assign(&list)?;
        Ok(queues)
    }

    /// Reads lanes no longer. Blocks for a moment.
    pub fn unassign(&self, lanes: &[LaneName]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for name in lanes {
            list.add_partition(name.source.as_str(), name.partition);
        }
        self.consumer.incremental_unassign(&list)
    }
}

/// A lane's records as they come in.
pub(super) struct LaneQueue {
    /// The lane may be forgotten before its reader is.
    pub name: LaneName,
    pub queue: PartitionQueue<Voice>,
    /// There may be something to read.
    pub readable: Arc<AtomicBool>,
}

impl LaneQueue {
    fn new(name: LaneName, mut queue: PartitionQueue<Voice>, wake: Arc<Notify>) -> Self {
        let readable = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&readable);
        queue.set_nonempty_callback(move || {
            flag.store(true, Ordering::Release);
            wake.notify_one();
        });
        Self { name, queue, readable }
    }
}

/// The clients' settings.
pub(super) struct Settings {
    /// Shown in log lines.
    pub name: String,
    pub consumer: ClientConfig,
    pub producer: ClientConfig,
}

/// The clients, and what comes from them.
pub(super) struct Session {
    pub clients: Clients,
    pub queues: BTreeMap<LaneNumber, LaneQueue>,
    /// Records that found the producer's queue full, at most one a lane.
    pub parked: BTreeMap<LaneNumber, (u64, OwnedMessage)>,
    pub deliveries: mpsc::Receiver<Delivery>,
    pub source_said: mpsc::Receiver<Said>,
    pub destination_said: mpsc::Receiver<Said>,
    pub wake: Arc<Notify>,
    poller: Poller,
}

impl Session {
    /// Makes both clients. Reads files for TLS; waits for no cluster.
    pub async fn open(settings: Settings) -> KafkaResult<Self> {
        let made = tokio::task::spawn_blocking(move || Self::make(&settings)).await;
        made.unwrap_or(Err(KafkaError::Canceled))
    }

    fn make(settings: &Settings) -> KafkaResult<Self> {
        let (source_speaks, source_said) = mpsc::channel(SAID_MAX);
        let (destination_speaks, destination_said) = mpsc::channel(SAID_MAX);
        let (deliver, deliveries) = mpsc::channel(DELIVERIES_MAX);
        let wake = Arc::new(Notify::new());
        let voice = Voice::told_to(format!("{} source", settings.name), source_speaks);
        let mut consumer: BaseConsumer<Voice> = settings.consumer.create_with_context(voice)?;
        let waker = Arc::clone(&wake);
        consumer.set_nonempty_callback(move || waker.notify_one());
        let voice = Voice::told_to(format!("{} destination", settings.name), destination_speaks);
        let context = Deliverer { voice, deliveries: deliver };
        let producer: Arc<BaseProducer<Deliverer>> =
            Arc::new(settings.producer.create_with_context(context)?);
        let poller = Poller::start(Arc::clone(&producer))?;
        wake.notify_one();
        let clients = Clients { consumer: Arc::new(consumer), producer, wake: Arc::clone(&wake) };
        let (queues, parked) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { clients, queues, parked, deliveries, source_said, destination_said, wake, poller })
    }

    /// Serves what is not a lane's: log lines, errors, statistics.
    pub fn serve_events(&self) {
        let consumer = &self.clients.consumer;
        loop {
            let heard = consumer.client().context().heard();
            let polled = consumer.poll(Duration::ZERO);
            if polled.is_none() && heard == consumer.client().context().heard() {
                return;
            }
        }
    }

    /// Records were handed to the producer.
    pub fn sent(&self) {
        self.poller.waker().wake();
    }

    /// The error that ended the producer, if one did.
    pub fn fatal(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.clients.producer.client().fatal_error()
    }

    /// Gives up what was not sent yet; with `in_flight`, also what was sent and not answered.
    pub async fn purge(&self, in_flight: bool) {
        let producer = Arc::clone(&self.clients.producer);
        let flags = PurgeConfig::default().queue();
        let flags = if in_flight { flags.inflight() } else { flags };
        let _ = tokio::task::spawn_blocking(move || producer.purge(flags)).await;
    }

    /// Ends both clients; when it returns in time nothing is written any more.
    pub async fn close(self) {
        let Self { clients, queues, poller, deliveries, .. } = self;
        drop((queues, deliveries));
        let closing = tokio::task::spawn_blocking(move || {
            poller.stop();
            drop(clients);
        });
        if tokio::time::timeout(CLOSE_DEADLINE, closing).await.is_err() {
            tracing::warn!("the clients of a task did not close in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_carries_lane_and_sequence() {
        for lane in [0, 1, 77, (1 << 20) - 1] {
            for sequence in [0, 1, 12_345_678_901, (1 << SEQUENCE_BITS) - 1] {
                assert_eq!(untag(tag(LaneNumber(lane), sequence)), (LaneNumber(lane), sequence));
            }
        }
    }
}
