//! The positions of one agent: reads the whole topic, then follows it, and writes to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use copyist_model::{ClientProperties, ClusterId, ConnectorName, LaneId};
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::format::{self, Entry, Stored};
use super::known::{self, Known, Place};
use super::writer::{self, PUTS_MAX, Put, Written};
use crate::client::limit::Limiter;
use crate::client::voice::Voice;
use crate::client::{self, Role};
use crate::error::{Error, chain};
use crate::worker::Worker;

/// Time until the cluster must have acknowledged a position.
const PUT_DEADLINE: Duration = Duration::from_secs(30);
/// Time for one question to the cluster.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(15);
/// Questions of lanes that may wait for an answer.
const COMMANDS_MAX: usize = 256;

/// A handle to the positions of the worker's cluster; one store per agent. Cheap to clone.
#[derive(Clone)]
pub struct Positions {
    topic: Arc<str>,
    puts: mpsc::Sender<Put>,
    commands: mpsc::Sender<Command>,
    loading: watch::Receiver<Option<String>>,
}

enum Command {
    Stored { lane: LaneId, answer: oneshot::Sender<Option<Stored>> },
    All { connector: ConnectorName, answer: oneshot::Sender<Vec<(LaneId, Stored)>> },
    Written { records: Vec<(Place, Entry)>, done: oneshot::Sender<()> },
}

impl fmt::Debug for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Positions").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Positions {
    /// Starts to read the topic once `ready` says in which cluster it is, until `stop`. The caller joins the task.
    ///
    /// # Errors
    /// [`Error::Stuck`]: the worker's client properties are wrong.
    pub fn start(
        worker: &Arc<Worker>,
        ready: watch::Receiver<Option<ClusterId>>,
        stop: CancellationToken,
    ) -> Result<(Self, JoinHandle<()>), Error> {
        let consumer = consumer_config(&worker.cluster)?;
        let producer = producer_config(&worker.cluster)?;
        let topic: Arc<str> = worker.offset_storage.name.as_str().into();
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let waits_for = format!("the positions in topic {topic} of {}", worker.cluster.bootstrap_servers());
        let (told, loading) = watch::channel(Some(waits_for.clone()));
        let store = Store {
            topic: topic.to_string(),
            config: consumer,
            inbox,
            told,
            waits_for,
            known: Known::default(),
            warned: false,
        };
        let (puts, asked) = mpsc::channel(PUTS_MAX);
        let writer = writer::run(producer, Arc::clone(&topic), asked, stop.clone());
        let task = tokio::spawn(async move {
            tokio::join!(store.run(ready, stop), writer);
        });
        Ok((Self { topic, puts, commands, loading }, task))
    }

    /// What is still waited for before positions are known; nothing once they are.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        self.loading.borrow().clone()
    }

    /// What is stored of a lane; waits until the topic has been read to its end.
    ///
    /// # Errors
    /// [`Error::Retry`]: the store has stopped.
    pub async fn stored(&self, lane: &LaneId) -> Result<Option<Stored>, Error> {
        self.ask(|answer| Command::Stored { lane: lane.clone(), answer }).await
    }

    /// Every position of a connector; waits as [`Positions::stored`] does.
    ///
    /// # Errors
    /// [`Error::Retry`]: the store has stopped.
    pub async fn all(&self, connector: &ConnectorName) -> Result<Vec<(LaneId, Stored)>, Error> {
        self.ask(|answer| Command::All { connector: connector.clone(), answer }).await
    }

    /// Stores positions (of a lane named twice, the one that counts); done once all are acknowledged.
    ///
    /// # Errors
    /// [`Error::Retry`]: at least one was not acknowledged in time; each may or may not be stored.
    pub async fn put(&self, positions: Vec<(LaneId, Stored)>) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let put = Put { positions: known::last_word(positions), done };
        self.puts.send(put).await.map_err(|_| gone())?;
        let Written { records, failed } = answer.await.map_err(|_| gone())?;
        self.ask(|done| Command::Written { records, done }).await?;
        failed.map_or(Ok(()), Err)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

fn consumer_config(cluster: &ClientProperties) -> Result<ClientConfig, Error> {
    let (mut config, _) = client::config(cluster, Role::Consumer)?;
    // Compaction may outrun the reader; what is left is what counts.
    config.set("auto.offset.reset", "earliest").set("queued.max.messages.kbytes", "4096");
    Ok(config)
}

fn producer_config(cluster: &ClientProperties) -> Result<ClientConfig, Error> {
    let (mut config, _) = client::config(cluster, Role::Producer)?;
    config
        // Java's default for keys, so that Connect's own tools write to the same partitions.
        .set("partitioner", "murmur2_random")
        .set("message.timeout.ms", PUT_DEADLINE.as_millis().to_string())
        // Positions do not build on each other: one that fails is written again by its lane.
        .set("enable.gapless.guarantee", "false")
        .set("linger.ms", "1");
    Ok(config)
}

fn gone() -> Error {
    Error::Retry { what: "the store of positions has stopped".into(), source: None }
}

/// The owner of what is known.
struct Store {
    topic: String,
    config: ClientConfig,
    inbox: mpsc::Receiver<Command>,
    told: watch::Sender<Option<String>>,
    waits_for: String,
    known: Known,
    /// A record that is not a position was met and told of.
    warned: bool,
}

impl Store {
    async fn run(mut self, mut ready: watch::Receiver<Option<ClusterId>>, stop: CancellationToken) {
        // Before, the topic may not be there. Nobody left to say so: the agent ends.
        match stop.run_until_cancelled(ready.wait_for(Option::is_some)).await {
            Some(Ok(_)) => (),
            Some(Err(_)) | None => return,
        }
        let (began, mut limiter) = (Instant::now(), Limiter::default());
        let mut wait = RETRY_FIRST;
        while !stop.is_cancelled() {
            let attempt = Instant::now();
            let Err(error) = self.follow(&stop).await else { return };
            let error = chain(&error);
            if let Some(left_out) = limiter.admit(began.elapsed(), "read") {
                tracing::warn!(topic = self.topic, error, left_out, "cannot read positions, trying again");
            }
            if !self.loaded() {
                self.told.send_replace(Some(format!("{}: {error}", self.waits_for)));
            }
            wait = if attempt.elapsed() > RETRY_MAX { RETRY_FIRST } else { (wait * 2).min(RETRY_MAX) };
            let pause = tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0)));
            let _ = stop.run_until_cancelled(pause).await;
        }
    }

    fn loaded(&self) -> bool {
        self.told.borrow().is_none()
    }

    /// One client's life: reads from the start to the end, then on, until `stop` or until every handle is gone.
    async fn follow(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let consumer = self.open().await?;
        let followed = self.read(&consumer, stop).await;
        // Closing a consumer blocks.
        let _ = tokio::task::spawn_blocking(move || drop(consumer)).await;
        followed
    }

    async fn read(
        &mut self,
        consumer: &Arc<StreamConsumer<Voice>>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut unread = self.assign(consumer).await?;
        loop {
            // Questions wait until everything was read once.
            let loaded = self.loaded();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                command = self.inbox.recv(), if loaded => match command {
                    Some(command) => self.answer(command),
                    None => return Ok(()),
                },
                message = consumer.recv() => match message {
                    Ok(message) => self.take(&message),
                    Err(KafkaError::PartitionEOF(partition)) => self.at_end(partition, &mut unread),
                    Err(error) => self.passing(error)?,
                },
            }
        }
    }

    fn at_end(&self, partition: i32, unread: &mut Vec<i32>) {
        unread.retain(|left| *left != partition);
        if unread.is_empty() && !self.loaded() {
            self.told.send_replace(None);
        }
    }

    async fn open(&self) -> Result<Arc<StreamConsumer<Voice>>, Error> {
        let config = self.config.clone();
        let made =
            tokio::task::spawn_blocking(move || config.create_with_context(Voice::new("positions"))).await;
        let made = made.map_err(|_| retry("the reader of positions could not be made", None))?;
        made.map(Arc::new).map_err(|error| retry("the reader of positions could not be made", Some(error)))
    }

    /// Assigns every partition from its beginning; returns their numbers.
    async fn assign(&self, consumer: &Arc<StreamConsumer<Voice>>) -> Result<Vec<i32>, Error> {
        let (client, topic) = (Arc::clone(consumer), self.topic.clone());
        let called = tokio::task::spawn_blocking(move || {
            let metadata = client.fetch_metadata(Some(&topic), CALL_DEADLINE)?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let partitions: Vec<i32> = found
                .map(|found| found.partitions().iter().map(|part| part.id()).collect())
                .unwrap_or_default();
            if partitions.is_empty() {
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
            }
            let mut list = TopicPartitionList::new();
            for partition in &partitions {
                list.add_partition_offset(&topic, *partition, Offset::Beginning)?;
            }
            client.assign(&list).map(|()| partitions)
        });
        let called = called.await.map_err(|_| retry("the reader of positions was interrupted", None))?;
        called.map_err(|error| retry("its metadata cannot be had", Some(error)))
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let place = Place { offset: message.offset() };
        let why = match format::read(message.key(), message.payload()) {
            Ok(entry) => return self.known.apply(place, entry),
            Err(why) => why,
        };
        let (topic, partition, offset) = (self.topic.as_str(), message.partition(), message.offset());
        if std::mem::replace(&mut self.warned, true) {
            tracing::debug!(topic, partition, offset, "ignored: not the position of a lane: {why}");
        } else {
            tracing::warn!(
                topic,
                partition,
                offset,
                "ignored, with others like it: not the position of a lane: {why}"
            );
        }
    }

    fn answer(&mut self, command: Command) {
        // Who asked may have gone; then nobody misses the answer.
        match command {
            Command::Stored { lane, answer } => drop(answer.send(self.known.stored(&lane).cloned())),
            Command::All { connector, answer } => drop(answer.send(self.known.all(&connector))),
            Command::Written { records, done } => {
                records.into_iter().for_each(|(place, entry)| self.known.apply(place, entry));
                let _ = done.send(());
            }
        }
    }

    /// librdkafka gets over most errors by itself; the others need a new client.
    fn passing(&self, error: KafkaError) -> Result<(), Error> {
        const PASSING: [RDKafkaErrorCode; 6] = [
            RDKafkaErrorCode::AllBrokersDown,
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::Resolve,
            RDKafkaErrorCode::OperationTimedOut,
            RDKafkaErrorCode::Authentication,
            RDKafkaErrorCode::GroupAuthorizationFailed,
        ];
        if !error.rdkafka_error_code().is_some_and(|code| PASSING.contains(&code)) {
            return Err(retry("its records cannot be read", Some(error)));
        }
        self.told.send_if_modified(|told| {
            told.is_some() && told.replace(format!("{}: {error}", self.waits_for)).is_some()
        });
        Ok(())
    }
}

fn retry(what: &str, source: Option<KafkaError>) -> Error {
    Error::Retry { what: what.to_owned(), source }
}
