//! Writes through librdkafka: one producer, made anew when an error was its last.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future;
use futures::stream::FuturesUnordered;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Outgoing, PUTS_MAX, Put, Written};
use crate::client::poller::{Poller, Waker};
use crate::client::voice::Voice;
use crate::compacted::MARK;
use crate::error::Error;

/// Shortest time between two producers.
const RENEW_WAIT: Duration = Duration::from_secs(1);

/// Would be the answer to the same record again.
const REFUSALS: [RDKafkaErrorCode; 3] = [
    RDKafkaErrorCode::MessageSizeTooLarge,
    RDKafkaErrorCode::MessageBatchTooLarge,
    RDKafkaErrorCode::InvalidRecord,
];

type Fate = Result<i64, RDKafkaErrorCode>;

struct Deliverer(Voice);

impl ClientContext for Deliverer {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext for Deliverer {
    type DeliveryOpaque = Box<oneshot::Sender<Fate>>;

    fn delivery(&self, result: &DeliveryResult<'_>, fate: Box<oneshot::Sender<Fate>>) {
        let code = |error: &KafkaError| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let told = result.as_ref().map(Message::offset).map_err(|(error, _)| code(error));
        let _ = fate.send(told);
    }
}

struct Connection {
    producer: Arc<BaseProducer<Deliverer>>,
    poller: Poller,
    waker: Waker,
}

impl Connection {
    async fn open(config: &ClientConfig, topic: &str) -> KafkaResult<Self> {
        let (config, voice) = (config.clone(), Voice::new(topic));
        let make = move || {
            let made: BaseProducer<Deliverer> = config.create_with_context(Deliverer(voice))?;
            let producer = Arc::new(made);
            let poller = Poller::start(Arc::clone(&producer))?;
            let waker = poller.waker();
            Ok(Self { producer, poller, waker })
        };
        tokio::task::spawn_blocking(make).await.unwrap_or(Err(KafkaError::Canceled))
    }

    async fn close(self) {
        let close = move || {
            self.poller.stop();
            drop(self.producer);
        };
        let _ = tokio::task::spawn_blocking(close).await;
    }

    /// Hands one record over; its fate comes later, unless it is refused at once.
    fn send(&self, topic: &str, record: &Outgoing) -> oneshot::Receiver<Fate> {
        let (tell, fate) = oneshot::channel();
        let mut sent = BaseRecord::with_opaque_to(topic, Box::new(tell)).key(&record.key);
        if let Some(value) = &record.value {
            sent = sent.payload(value);
        }
        if let Some(mark) = &record.mark {
            sent = sent.headers(OwnedHeaders::new().insert(Header { key: MARK, value: Some(mark.as_ref()) }));
        }
        if let Err((error, refused)) = self.producer.send(sent) {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            let _ = refused.delivery_opaque.send(Err(code));
        }
        fate
    }
}

type Writing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves puts until `stop`, or until nobody can ask any more.
pub(super) async fn run(
    config: ClientConfig,
    topic: Arc<str>,
    mut puts: mpsc::Receiver<Put>,
    stop: CancellationToken,
) {
    let mut writing: FuturesUnordered<Writing> = FuturesUnordered::new();
    while !stop.is_cancelled() {
        let connection = match Connection::open(&config, &topic).await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::error!(%topic, %error, "the writer to this topic cannot be made, trying again");
                let _ = stop.run_until_cancelled(tokio::time::sleep(RENEW_WAIT)).await;
                continue;
            }
        };
        while connection.producer.client().fatal_error().is_none() {
            let room = writing.len() < PUTS_MAX;
            tokio::select! {
                () = stop.cancelled() => break,
                Some(()) = writing.next() => (),
                put = puts.recv(), if room => match put {
                    Some(put) => writing.push(start(&connection, &topic, put)),
                    None => return connection.close().await,
                },
            }
        }
        if !stop.is_cancelled() {
            tracing::warn!(%topic, "the writer to this topic starts anew");
            let _ = stop.run_until_cancelled(tokio::time::sleep(RENEW_WAIT)).await;
        }
        connection.close().await;
    }
}

/// Sends the records of a put; what comes of it answers who waits.
fn start(connection: &Connection, topic: &Arc<str>, put: Put) -> Writing {
    // It writes all at once, so that nothing stops at a refusal.
    let Put { records, stops_at_refusal: _, done } = put;
    let is_one = records.len() == 1;
    let fates: Vec<_> = records.iter().map(|record| connection.send(topic, record)).collect();
    connection.waker.wake();
    let topic = Arc::clone(topic);
    Box::pin(async move {
        let mut written = Written::default();
        for (index, (record, fate)) in records.into_iter().zip(future::join_all(fates).await).enumerate() {
            match fate.unwrap_or(Err(RDKafkaErrorCode::PurgeQueue)) {
                Ok(offset) => written.offsets.push((index, offset)),
                Err(code) => {
                    let what = format!("the record {} was not stored in topic {topic}", record.key);
                    // With others in a batch it may be because of them.
                    written.fail(if is_one && REFUSALS.contains(&code) {
                        Error::Stuck(format!("{what}: {code}"))
                    } else {
                        Error::Retry { what, source: Some(KafkaError::MessageProduction(code)) }
                    });
                }
            }
        }
        let _ = done.send(written);
    })
}
