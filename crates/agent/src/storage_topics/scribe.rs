//! The fleet's scribe: while this agent is told that it is the one, it keeps `config.storage.topic` and
//! `status.storage.topic` in step with what the leader tells watchers.
//!
//! It writes what differs between the two, so it may begin, end and fail at any time, and two of them for a moment do no
//! harm: the one that goes on reads what the other has written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use copyist_kafka::Backoff;
use copyist_model::{ClusterId, TopicName};
use copyist_proto::Coordinators;
use copyist_proto::connect as wire;
use copyist_proto::connect::connector_service_client::ConnectorServiceClient;
use copyist_proto::connect::fleet_service_client::FleetServiceClient;
use prometheus::IntGauge;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::fleet::{Fleet, Seen};
use super::kept::Kept;
use super::plan::{self, Write};
use crate::client::limit::Limiter;
use crate::compacted::reading::{READS_MAX, Read};
use crate::compacted::writing::{Outgoing, Put, Written};
use crate::compacted::{self};
use crate::driver::wall_ms;
use crate::error::{Error, chain};
use crate::link::Duty;
use crate::worker::Worker;

/// The first and the longest pause after a failure.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// From a change to its being written: what belongs together comes together.
const SETTLE: Duration = Duration::from_millis(100);
/// What was written must be read by then.
const READ_BACK: Duration = Duration::from_secs(30);
/// The topics are read anew that often, in case that somebody has made them anew.
const REREAD: Duration = Duration::from_secs(900);
/// Nobody tells that a topic has become active: it is asked for when its connector changes, and that often.
const TOPICS_LOOK: Duration = Duration::from_secs(10);
/// They are the least of what it tells: what else there is does not wait for them.
const TOPICS_DEADLINE: Duration = Duration::from_millis(500);
/// In a large fleet less often: each question looks through the connector's positions.
const TOPICS_LOOK_PER_CONNECTOR: Duration = Duration::from_millis(20);
/// Connectors looked at between two looks at what else is told: who falls too far behind begins anew.
const LOOKS_AT_ONCE: usize = 20;
/// Records written at once, or as many as belong to one connector.
const RECORDS_AT_ONCE: usize = 500;
/// An answer of the coordinator: the tasks of one connector.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What the scribe needs.
pub(crate) struct Scribe {
    pub worker: Arc<Worker>,
    pub coordinators: Coordinators,
    /// The worker's cluster, once its topics are there.
    pub cluster: watch::Receiver<Option<ClusterId>>,
    pub duty: watch::Receiver<Duty>,
    /// Records that the topics lack.
    pub behind: IntGauge,
}

/// Why it began anew.
enum Interruption {
    /// No coordinator told, or not any more.
    Coordinators(String),
    Topics(Error),
}

impl From<Error> for Interruption {
    fn from(error: Error) -> Self {
        Self::Topics(error)
    }
}

impl From<Status> for Interruption {
    fn from(status: Status) -> Self {
        Self::Coordinators(chain(&status))
    }
}

impl Scribe {
    /// Until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        // Nobody left to say so: the agent ends.
        if !matches!(stop.run_until_cancelled(self.cluster.wait_for(Option::is_some)).await, Some(Ok(_))) {
            return;
        }
        let (began, mut limiter) = (Instant::now(), Limiter::default());
        let (mut backoff, mut failures) = (Backoff::new(RETRY), 0_u32);
        let mut was_told = None;
        while let Some(Ok(mark)) = stop.run_until_cancelled(self.told(&mut was_told)).await {
            let attempted = Instant::now();
            let Err(interruption) = self.attempt(&mark, &stop).await else { continue };
            self.behind.set(self.behind.get().max(1));
            if attempted.elapsed() > RETRY.1 {
                backoff.reset();
                failures = 0;
            }
            failures += 1;
            let error = match interruption {
                Interruption::Topics(error) => Some(chain(&error)),
                // A leader that changes is no failure.
                Interruption::Coordinators(error) => (failures > 1).then_some(error),
            };
            if let Some(error) = error
                && let Some(left_out) = limiter.admit(began.elapsed(), "scribe")
            {
                tracing::warn!(error, left_out, "the storage topics may be behind the store, trying again");
            }
            let wait = backoff.wait(rand::random());
            let _ = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
    }

    /// The mark, once this agent has the duty; `before` is what it was told last.
    async fn told(&mut self, before: &mut Duty) -> Result<Arc<str>, watch::error::RecvError> {
        if self.duty.borrow().is_none() && before.take().is_some() {
            self.behind.set(0);
            tracing::info!("this agent is the scribe no more");
        }
        let told = self.duty.wait_for(Option::is_some).await?.clone().unwrap_or_default();
        // Not known yet, so not in step.
        self.behind.set(self.behind.get().max(1));
        if before.replace(told.clone()) != Some(told.clone()) {
            tracing::info!(mark = &*told, "this agent is the scribe: it keeps the storage topics");
        }
        Ok(told)
    }

    /// Keeps the topics in step until this agent is told otherwise.
    async fn attempt(&self, mark: &Arc<str>, stop: &CancellationToken) -> Result<(), Interruption> {
        let (configs_reader, configs_writer) = self.open(&self.worker.config_storage.name)?;
        let (statuses_reader, statuses_writer) = self.open(&self.worker.status_storage.name)?;
        let (mut configs, tell_configs, put_configs) = Topic::new(&self.worker.config_storage.name, mark);
        configs.is_in_one_partition = true;
        let (statuses, tell_statuses, put_statuses) = Topic::new(&self.worker.status_storage.name, mark);
        let ending = stop.child_token();
        let keeping = async {
            let mut duty = self.duty.clone();
            let kept = tokio::select! {
                // Before each step of what follows, and so before each write.
                biased;
                () = stop.cancelled() => Ok(()),
                // Also if it has the same duty again: that is by another leader.
                _ = duty.changed() => Ok(()),
                kept = self.keep(configs, statuses) => kept,
            };
            ending.cancel();
            kept
        };
        let (kept, ..) = tokio::join!(
            keeping,
            configs_reader.run(tell_configs, ending.clone()),
            configs_writer.run(put_configs, ending.clone()),
            statuses_reader.run(tell_statuses, ending.clone()),
            statuses_writer.run(put_statuses, ending.clone()),
        );
        kept
    }

    fn open(
        &self,
        topic: &TopicName,
    ) -> Result<(compacted::reading::Reader, compacted::writing::Writer), Error> {
        // What is written is read back record by record: its end is not asked for.
        let (_, asks) = watch::channel(0);
        compacted::open(&self.worker.cluster, topic, asks)
    }

    async fn keep(&self, configs: Topic, statuses: Topic) -> Result<(), Interruption> {
        let mut watching = FleetServiceClient::new(self.coordinators.clone());
        let request = wire::WatchRequest { connector: String::new() };
        let events = watching.watch(request).await?.into_inner();
        let client = ConnectorServiceClient::new(self.coordinators.clone());
        let client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
        let fleet = Fleet::default();
        let keeper =
            Keeper { client, events, fleet, configs, statuses, behind: &self.behind, topics_untold: false };
        keeper.run().await
    }
}

/// One of the topics.
struct Topic {
    name: TopicName,
    mark: Arc<str>,
    kept: Kept,
    /// Read to its end.
    is_loaded: bool,
    /// Connect takes its order of records for that of all of them.
    is_in_one_partition: bool,
    /// What the brokers have refused, and would again: the rest does not wait for it.
    refused: BTreeSet<Write>,
    reads: mpsc::Receiver<Read>,
    puts: mpsc::Sender<Put>,
}

impl Topic {
    /// With the ends of its reader and of its writer.
    fn new(name: &TopicName, mark: &Arc<str>) -> (Self, mpsc::Sender<Read>, mpsc::Receiver<Put>) {
        let (tell, reads) = mpsc::channel(READS_MAX);
        let (puts, asked) = mpsc::channel(1);
        let topic = Self {
            name: name.clone(),
            mark: mark.clone(),
            kept: Kept::default(),
            is_loaded: false,
            is_in_one_partition: false,
            refused: BTreeSet::new(),
            reads,
            puts,
        };
        (topic, tell, asked)
    }

    /// Whether a group of records can be written as a whole.
    fn takes(&self, group: &[Write]) -> bool {
        !group.iter().any(|write| self.refused.contains(write))
    }

    /// Waits for what the reader tells, and takes it in.
    async fn read(&mut self) -> Result<(), Error> {
        match self.reads.recv().await {
            Some(Read::Records(found)) => found.into_iter().for_each(|found| self.kept.apply(found)),
            Some(Read::Loaded { partitions }) if self.is_in_one_partition && partitions != 1 => {
                let why = format!("must have a single partition, as Connect demands, and has {partitions}");
                return Err(self.failed(&why));
            }
            Some(Read::Loaded { .. }) => self.is_loaded = true,
            // Nobody asks for that here.
            Some(Read::ToEnd(_)) => {}
            // It goes on by itself.
            Some(Read::Trouble(_)) => {}
            Some(Read::Failed(why)) => return Err(self.failed(&format!("cannot be read: {why}"))),
            None => return Err(self.failed("has no reader any more")),
        }
        Ok(())
    }

    /// Writes groups of records, and reads them. Of a group nothing is written behind what is refused.
    async fn write(&mut self, groups: Vec<Vec<Write>>) -> Result<(), Error> {
        let mut answers = Vec::with_capacity(groups.len());
        for group in groups {
            let (done, answer) = oneshot::channel();
            let records = group.iter().map(|write| self.outgoing(write)).collect();
            let put = Put { records, stops_at_refusal: true, done };
            self.puts.send(put).await.map_err(|_| self.unwritable())?;
            answers.push((group, answer));
        }
        let mut written = Vec::new();
        for (group, answer) in answers {
            let Written { offsets, failed } = answer.await.map_err(|_| self.unwritable())?;
            match failed {
                Some(error @ Error::Retry { .. }) => return Err(error),
                Some(Error::Stuck(why)) => {
                    tracing::warn!(topic = %self.name, "left out, and what belongs behind it: {why}");
                    self.refused.extend(group.get(offsets.len()).cloned());
                }
                None => {}
            }
            let key = |index: usize| group.get(index).map(|write| write.key.clone());
            written.extend(offsets.into_iter().filter_map(|(index, offset)| Some((key(index)?, offset))));
        }
        timeout(READ_BACK, self.read_back(&written))
            .await
            .unwrap_or_else(|_| Err(self.failed("does not show what was written to it")))
    }

    fn outgoing(&self, Write { key, value }: &Write) -> Outgoing {
        let mark = value.is_some().then(|| self.mark.clone());
        Outgoing { key: key.clone(), value: value.clone(), mark }
    }

    async fn read_back(&mut self, written: &[(String, i64)]) -> Result<(), Error> {
        while !written.iter().all(|(key, offset)| self.kept.has(key, *offset)) {
            self.read().await?;
        }
        Ok(())
    }

    fn unwritable(&self) -> Error {
        self.failed("has no writer any more")
    }

    fn failed(&self, why: &str) -> Error {
        Error::Retry { what: format!("topic {} {why}", self.name), source: None }
    }
}

/// One watch of the fleet, and both topics.
struct Keeper<'a> {
    client: ConnectorServiceClient<Coordinators>,
    events: Streaming<wire::WatchEvent>,
    fleet: Fleet,
    configs: Topic,
    statuses: Topic,
    behind: &'a IntGauge,
    /// Active topics could not be told: they are not asked for again before the next look.
    topics_untold: bool,
}

impl Keeper<'_> {
    /// Until it is time to begin anew.
    async fn run(mut self) -> Result<(), Interruption> {
        let until = Instant::now() + REREAD;
        let mut topics_at = Instant::now() + TOPICS_LOOK;
        let mut due_at = None;
        while Instant::now() < until {
            tokio::select! {
                // What is told comes first: it is not waited with for long.
                biased;
                told = self.events.message() => {
                    let ended = || Status::unavailable("the coordinator tells no more");
                    let wire::WatchEvent { revision: _, event } = told?.ok_or_else(ended)?;
                    event.into_iter().for_each(|event| self.fleet.hear(event));
                }
                read = self.configs.read() => read?,
                read = self.statuses.read() => read?,
                () = sleep_until(due_at.unwrap_or(until)) => {
                    due_at = self.write().await?.then(Instant::now);
                    continue;
                }
                () = sleep_until(topics_at) => {
                    let connectors = u32::try_from(self.fleet.connectors.len()).unwrap_or(u32::MAX);
                    let pause = TOPICS_LOOK_PER_CONNECTOR.saturating_mul(connectors);
                    topics_at = Instant::now() + TOPICS_LOOK + pause;
                    if !self.look_at_topics().await {
                        continue;
                    }
                }
            }
            due_at.get_or_insert_with(|| Instant::now() + SETTLE);
        }
        Ok(())
    }

    /// Does some of what is to be done so that the topics lack nothing; returns whether there may be more.
    async fn write(&mut self) -> Result<bool, Interruption> {
        if !(self.fleet.is_whole && self.configs.is_loaded && self.statuses.is_loaded) {
            return Ok(false);
        }
        for _ in 0..LOOKS_AT_ONCE {
            let Some(name) = self.fleet.unseen() else { break };
            let seen = self.look_at(&name).await?;
            self.fleet.see(&name, seen);
        }
        if self.fleet.has_unseen() {
            return Ok(true);
        }
        let configs = plan::configs(&self.fleet, &self.configs.kept, &self.configs.mark);
        let statuses = plan::statuses(&self.fleet, &self.statuses.kept, &self.statuses.mark, wall_ms());
        let behind = configs.iter().map(Vec::len).sum::<usize>() + statuses.len();
        self.behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        let configs = some_of(configs.into_iter().filter(|group| self.configs.takes(group)));
        let statuses = statuses.into_iter().map(|write| vec![write]);
        let statuses = some_of(statuses.filter(|group| self.statuses.takes(group)));
        let is_done = configs.is_empty() && statuses.is_empty();
        if !configs.is_empty() {
            self.configs.write(configs).await?;
        }
        if !statuses.is_empty() {
            self.statuses.write(statuses).await?;
        }
        Ok(!is_done)
    }

    /// Whether some connector has other active topics than before.
    async fn look_at_topics(&mut self) -> bool {
        let mut changed = false;
        self.topics_untold = false;
        let names: Vec<String> = self.fleet.connectors.keys().cloned().collect();
        for name in names {
            // Where one cannot be told, the others wait for the next time.
            let Some(topics) = self.active_topics(&name).await else { break };
            changed |= self.fleet.see_topics(&name, topics);
        }
        changed
    }

    /// Nothing: that cannot be told just now.
    async fn active_topics(&mut self, name: &str) -> Option<BTreeSet<String>> {
        if self.topics_untold {
            return None;
        }
        let request = wire::GetTopicsRequest { name: name.to_owned() };
        let found = timeout(TOPICS_DEADLINE, self.client.get_topics(request)).await;
        let found = found.ok().and_then(Result::ok);
        self.topics_untold = found.is_none();
        Some(found?.into_inner().topics.into_iter().collect())
    }

    /// Nothing: there is no such connector any more.
    async fn look_at(&mut self, name: &str) -> Result<Option<Seen>, Status> {
        let name = name.to_owned();
        let info = self.client.get_connector(wire::GetConnectorRequest { name: name.clone() }).await;
        let Some(info) = if_found(info)? else { return Ok(None) };
        let active_topics = self.active_topics(&name).await;
        let tasks = self.client.list_tasks(wire::ListTasksRequest { name }).await;
        let Some(tasks) = if_found(tasks)? else { return Ok(None) };
        let tasks = tasks.tasks.into_iter().map(|task| (task.id, task.config)).collect();
        let config = info.config;
        Ok(Some(Seen { config: config.into_iter().collect(), tasks, active_topics }))
    }
}

/// Whole groups, as long as there are few enough records.
fn some_of(groups: impl IntoIterator<Item = Vec<Write>>) -> Vec<Vec<Write>> {
    let mut records = 0;
    let take = |group: &Vec<Write>| {
        let is_taken = records < RECORDS_AT_ONCE;
        records += group.len();
        is_taken
    };
    groups.into_iter().take_while(take).collect()
}

fn if_found<T>(answer: Result<tonic::Response<T>, Status>) -> Result<Option<T>, Status> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}
