//! Reads a topic through librdkafka: one client from the start to the end, then on.

use std::sync::Arc;
use std::time::Duration;

use copyist_model::TopicName;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::super::MARK;
use super::{Found, Read};
use crate::client::voice::Voice;
use crate::error::Error;

/// Time for one question to the cluster.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

type Client = Arc<StreamConsumer<Voice>>;

/// Why a client's life is over.
pub(super) enum Followed {
    /// Nobody hears it, or it was stopped.
    Unheard,
    /// Somebody asks for the topic's end. librdkafka does not tell whether it stands there now: the next client reads the
    /// topic from its start, and so to what is its end then.
    Asked,
}

/// One client's life, until `stop`, until nobody hears it, or until it is asked for the topic's end.
///
/// # Errors
/// What it does not get over: a new client begins anew.
pub(super) async fn follow(
    config: &ClientConfig,
    topic: &TopicName,
    reads: &mpsc::Sender<Read>,
    asks: &mut watch::Receiver<u64>,
    stop: &CancellationToken,
) -> Result<Followed, Error> {
    let asked = *asks.borrow_and_update();
    let consumer = open(config, topic).await?;
    let read = stop.run_until_cancelled(read(&consumer, topic, reads, asks, asked)).await;
    // Closing a consumer blocks.
    let _ = tokio::task::spawn_blocking(move || drop(consumer)).await;
    read.unwrap_or(Ok(Followed::Unheard))
}

async fn open(config: &ClientConfig, topic: &TopicName) -> Result<Client, Error> {
    let (config, voice) = (config.clone(), Voice::new(topic.as_str()));
    let made = tokio::task::spawn_blocking(move || config.create_with_context(voice)).await;
    let made = made.map_err(|_| retry("its reader could not be made", None))?;
    made.map(Arc::new).map_err(|error| retry("its reader could not be made", Some(error)))
}

async fn read(
    consumer: &Client,
    topic: &TopicName,
    reads: &mpsc::Sender<Read>,
    asks: &mut watch::Receiver<u64>,
    asked: u64,
) -> Result<Followed, Error> {
    let mut unread = assign(consumer, topic).await?;
    let partitions = unread.len();
    loop {
        let received = tokio::select! {
            received = consumer.recv() => received,
            Ok(()) = asks.changed(), if unread.is_empty() => return Ok(Followed::Asked),
        };
        let told = match received {
            Ok(message) => vec![Read::Records(vec![found(&message)])],
            Err(KafkaError::PartitionEOF(partition)) => {
                unread.retain(|left| *left != partition);
                if unread.is_empty() {
                    vec![Read::Loaded { partitions }, Read::ToEnd(asked)]
                } else {
                    Vec::new()
                }
            }
            Err(error) => vec![passing(error)?],
        };
        for told in told {
            if reads.send(told).await.is_err() {
                return Ok(Followed::Unheard);
            }
        }
    }
}

/// Assigns every partition from its beginning; returns their numbers.
async fn assign(consumer: &Client, topic: &TopicName) -> Result<Vec<i32>, Error> {
    let (client, topic) = (Arc::clone(consumer), topic.to_string());
    let called = tokio::task::spawn_blocking(move || {
        let metadata = client.fetch_metadata(Some(&topic), CALL_DEADLINE)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let partitions: Vec<i32> =
            found.map(|found| found.partitions().iter().map(|part| part.id()).collect()).unwrap_or_default();
        if partitions.is_empty() {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        let mut list = TopicPartitionList::new();
        for partition in &partitions {
            list.add_partition_offset(&topic, *partition, Offset::Beginning)?;
        }
        client.assign(&list).map(|()| partitions)
    });
    let called = called.await.map_err(|_| retry("its reader was interrupted", None))?;
    called.map_err(|error| retry("its metadata cannot be had", Some(error)))
}

fn found(message: &BorrowedMessage<'_>) -> Found {
    let headers = message.headers();
    let mark = headers.into_iter().flat_map(Headers::iter).find(|header| header.key == MARK);
    let (key, value) = (message.key().map(<[u8]>::to_vec), message.payload().map(<[u8]>::to_vec));
    let mark = mark.and_then(|header| header.value).map(<[u8]>::to_vec);
    Found { partition: message.partition(), offset: message.offset(), key, value, mark }
}

/// librdkafka gets over most errors by itself; the others need a new client.
fn passing(error: KafkaError) -> Result<Read, Error> {
    const PASSING: [RDKafkaErrorCode; 6] = [
        RDKafkaErrorCode::AllBrokersDown,
        RDKafkaErrorCode::BrokerTransportFailure,
        RDKafkaErrorCode::Resolve,
        RDKafkaErrorCode::OperationTimedOut,
        RDKafkaErrorCode::Authentication,
        RDKafkaErrorCode::GroupAuthorizationFailed,
    ];
    if error.rdkafka_error_code().is_some_and(|code| PASSING.contains(&code)) {
        return Ok(Read::Trouble(error.to_string()));
    }
    Err(retry("its records cannot be read", Some(error)))
}

fn retry(what: &str, source: Option<KafkaError>) -> Error {
    Error::Retry { what: what.to_owned(), source }
}
