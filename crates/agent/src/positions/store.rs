//! The positions of one agent: reads the whole topic, then follows it, and writes to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use copyist_model::{ClusterId, ConnectorName, LaneHeld, LaneId, TopicName};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::format::{self, Entry, Stored};
use super::known::{self, Generations, Known, Place, Remembered};
use crate::client::limit::Limiter;
use crate::compacted;
use crate::compacted::reading::{Found, READS_MAX, Read, Reader};
use crate::compacted::writing::{Outgoing, PUTS_MAX, Put, Written};
use crate::error::Error;
use crate::worker::Worker;

/// Questions of lanes that may wait for an answer.
const COMMANDS_MAX: usize = 256;

/// Longer than it takes to read the whole topic twice: librdkafka's reader does that for whoever asks.
const READ_TO_END: Duration = Duration::from_secs(600);

/// A handle to the positions of the worker's cluster; one store per agent. Cheap to clone.
#[derive(Clone)]
pub struct Positions {
    topic: Arc<str>,
    puts: mpsc::Sender<Put>,
    commands: mpsc::Sender<Command>,
    loading: watch::Receiver<Option<String>>,
    trouble: watch::Receiver<Option<String>>,
}

enum Command {
    Stored {
        lane: LaneId,
        held: Option<LaneHeld>,
        answer: oneshot::Sender<Remembered>,
    },
    All {
        connector: ConnectorName,
        altered: Generations,
        answer: oneshot::Sender<Vec<(LaneId, Remembered)>>,
    },
    /// Tells when all that was there by now is known.
    ReadToEnd {
        done: oneshot::Sender<()>,
    },
    Written {
        records: Vec<(Place, Entry)>,
        done: oneshot::Sender<()>,
    },
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
        let topic = &worker.offset_storage.name;
        let (ask, asks) = watch::channel(0);
        let (reader, writer) = compacted::open(&worker.cluster, topic, asks)?;
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let waits_for = format!("the positions in topic {topic} of {}", worker.cluster.bootstrap_servers());
        let (told, loading) = watch::channel(Some(waits_for.clone()));
        let (tell_trouble, trouble) = watch::channel(None);
        let store = Store {
            topic: topic.clone(),
            inbox,
            told,
            waits_for,
            known: Known::default(),
            ask,
            waiting: Vec::new(),
            trouble: tell_trouble,
            warned: false,
            began: Instant::now(),
            limiter: Limiter::default(),
        };
        let (puts, asked) = mpsc::channel(PUTS_MAX);
        let topic = topic.as_str().into();
        let task = tokio::spawn(async move {
            tokio::join!(store.run(reader, ready, stop.clone()), writer.run(asked, stop));
        });
        Ok((Self { topic, puts, commands, loading, trouble }, task))
    }

    /// What is still waited for before positions are known; nothing once they are.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        self.loading.borrow().clone()
    }

    /// What keeps the topic from being read to its end, for whoever waits for that.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// What a lane begins by, of which the coordinator's store holds this. Waits until the topic was read to its end,
    /// and where that may be too long ago, to its present end. `is_takeover`: the former holder may still be at work.
    ///
    /// # Errors
    /// [`Error::Retry`]: the store has stopped, or the topic cannot be read.
    pub async fn found(
        &self,
        lane: &LaneId,
        held: Option<&LaneHeld>,
        is_takeover: bool,
    ) -> Result<Remembered, Error> {
        let found = self.known(lane, held).await?;
        if found.may_be_old(held, is_takeover) {
            return Ok(found);
        }
        self.read_to_end().await?;
        self.known(lane, held).await
    }

    /// As [`Positions::found`], as far as the topic was read.
    ///
    /// # Errors
    /// [`Error::Retry`]: the store has stopped.
    pub async fn known(&self, lane: &LaneId, held: Option<&LaneHeld>) -> Result<Remembered, Error> {
        self.ask(|answer| Command::stored(lane, held, answer)).await
    }

    /// What is known of every lane of a connector, as far as the topic was read; generations up to those of `altered` do
    /// not count.
    ///
    /// # Errors
    /// [`Error::Retry`]: the store has stopped.
    pub async fn all(
        &self,
        connector: &ConnectorName,
        altered: Generations,
    ) -> Result<Vec<(LaneId, Remembered)>, Error> {
        self.ask(|answer| Command::All { connector: connector.clone(), altered, answer }).await
    }

    /// As [`Positions::all`], to the topic's present end.
    ///
    /// # Errors
    /// As [`Positions::found`].
    pub async fn all_now(
        &self,
        connector: &ConnectorName,
        altered: Generations,
    ) -> Result<Vec<(LaneId, Remembered)>, Error> {
        self.read_to_end().await?;
        self.all(connector, altered).await
    }

    /// Waits until everything that was stored before is known here, whoever stored it.
    ///
    /// # Errors
    /// [`Error::Retry`]: the store has stopped, or the topic cannot be read.
    pub async fn read_to_end(&self) -> Result<(), Error> {
        let read = self.ask(|done| Command::ReadToEnd { done });
        timeout(READ_TO_END, read).await.unwrap_or_else(|_| {
            let (topic, seconds) = (&self.topic, READ_TO_END.as_secs());
            let why = self.trouble().map(|why| format!(": {why}")).unwrap_or_default();
            let what =
                format!("the positions in topic {topic} were not read to their end within {seconds} s{why}");
            Err(Error::Retry { what, source: None })
        })
    }

    /// Stores positions (of a lane named twice, the one that counts); done once all are acknowledged.
    ///
    /// # Errors
    /// [`Error::Retry`]: at least one was not acknowledged in time; each may or may not be stored.
    pub async fn put(&self, positions: Vec<(LaneId, Stored)>) -> Result<(), Error> {
        self.write(positions.into_iter().map(|(lane, stored)| (lane, Some(stored))).collect()).await
    }

    /// As [`Positions::put`]; where nothing is given the stored position goes.
    ///
    /// # Errors
    /// As [`Positions::put`].
    pub async fn write(&self, positions: Vec<(LaneId, Option<Stored>)>) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let positions = known::last_word(positions);
        let records = positions.iter().map(|(lane, stored)| outgoing(lane, stored.as_ref())).collect();
        self.puts.send(Put { records, stops_at_refusal: false, done }).await.map_err(|_| gone())?;
        let Written { offsets, failed } = answer.await.map_err(|_| gone())?;
        let stored = |(index, offset): (usize, i64)| {
            let (lane, stored) = positions.get(index)?.clone();
            Some((Place { offset }, Entry { lane, stored }))
        };
        let records = offsets.into_iter().filter_map(stored).collect();
        self.ask(|done| Command::Written { records, done }).await?;
        failed.map_or(Ok(()), Err)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

impl Command {
    fn stored(lane: &LaneId, held: Option<&LaneHeld>, answer: oneshot::Sender<Remembered>) -> Self {
        Self::Stored { lane: lane.clone(), held: held.cloned(), answer }
    }
}

fn outgoing(lane: &LaneId, stored: Option<&Stored>) -> Outgoing {
    Outgoing { key: format::key(lane), value: stored.map(format::value), mark: None }
}

fn gone() -> Error {
    Error::Retry { what: "the store of positions has stopped".into(), source: None }
}

/// The owner of what is known.
struct Store {
    topic: TopicName,
    inbox: mpsc::Receiver<Command>,
    told: watch::Sender<Option<String>>,
    waits_for: String,
    known: Known,
    /// The number of the last question for the topic's end.
    ask: watch::Sender<u64>,
    /// Who waits for which.
    waiting: Vec<(u64, oneshot::Sender<()>)>,
    /// What keeps them waiting.
    trouble: watch::Sender<Option<String>>,
    /// A record that is not a position was met and told of.
    warned: bool,
    began: Instant,
    limiter: Limiter,
}

impl Store {
    async fn run(
        mut self,
        reader: Reader,
        mut ready: watch::Receiver<Option<ClusterId>>,
        stop: CancellationToken,
    ) {
        // Before, the topic may not be there. Nobody left to say so: the agent ends.
        match stop.run_until_cancelled(ready.wait_for(Option::is_some)).await {
            Some(Ok(_)) => (),
            Some(Err(_)) | None => return,
        }
        let (tell, reads) = mpsc::channel(READS_MAX);
        let ending = stop.child_token();
        let reading = reader.run(tell, ending.clone());
        let serving = async {
            self.serve(reads, &stop).await;
            ending.cancel();
        };
        tokio::join!(reading, serving);
    }

    fn loaded(&self) -> bool {
        self.told.borrow().is_none()
    }

    /// Until `stop` or until every handle is gone.
    async fn serve(&mut self, mut reads: mpsc::Receiver<Read>, stop: &CancellationToken) {
        loop {
            // Questions wait until everything was read once.
            let loaded = self.loaded();
            tokio::select! {
                () = stop.cancelled() => return,
                command = self.inbox.recv(), if loaded => match command {
                    Some(command) => self.answer(command),
                    None => return,
                },
                read = reads.recv() => match read {
                    Some(read) => self.hear(read),
                    None => return,
                },
            }
        }
    }

    fn hear(&mut self, read: Read) {
        match read {
            Read::Records(found) => found.into_iter().for_each(|found| self.take(found)),
            Read::Loaded { partitions: _ } => {
                self.told.send_if_modified(|told| told.take().is_some());
            }
            Read::ToEnd(number) => {
                for (_, done) in self.waiting.extract_if(.., |(asked, _)| *asked <= number) {
                    // Who asked may have given up.
                    let _ = done.send(());
                }
                self.trouble.send_if_modified(|trouble| trouble.take().is_some());
            }
            Read::Trouble(why) => self.wait_for(&why),
            Read::Failed(why) => {
                if let Some(left_out) = self.limiter.admit(self.began.elapsed(), "read") {
                    tracing::warn!(
                        topic = %self.topic,
                        error = why,
                        left_out,
                        "cannot read positions, trying again"
                    );
                }
                self.wait_for(&why);
            }
        }
    }

    /// Says what keeps the topic from being read, as long as somebody waits for it.
    fn wait_for(&mut self, why: &str) {
        if !self.loaded() {
            self.told.send_replace(Some(format!("{}: {why}", self.waits_for)));
            return;
        }
        self.waiting.retain(|(_, done)| !done.is_closed());
        if !self.waiting.is_empty() {
            self.trouble.send_replace(Some(why.to_owned()));
        }
    }

    fn take(&mut self, found: Found) {
        let Found { partition, offset, key, value, mark: _ } = found;
        let why = match format::read(key.as_deref(), value.as_deref()) {
            Ok(entry) => return self.known.apply(Place { offset }, entry),
            Err(why) => why,
        };
        let topic = self.topic.as_str();
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
            Command::Stored { lane, held, answer } => {
                let altered = held.and_then(|held| held.altered()).unwrap_or_default();
                drop(answer.send(self.known.remembered(&lane, altered)));
            }
            Command::ReadToEnd { done } => {
                self.ask.send_modify(|number| *number += 1);
                self.waiting.push((*self.ask.borrow(), done));
            }
            Command::All { connector, altered, answer } => {
                drop(answer.send(self.known.all(&connector, &altered)));
            }
            Command::Written { records, done } => {
                records.into_iter().for_each(|(place, entry)| self.known.apply(place, entry));
                let _ = done.send(());
            }
        }
    }
}
