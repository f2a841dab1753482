//! One task: its lanes through sessions, pauses and outages, until it is told to stop.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use copyist_kafka::Backoff;
use copyist_model::{ClusterId, ConnectorName, InstanceState, LaneId};
use rdkafka::Statistics;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lane::Moved;
use super::lanes::{LaneNumber, Lanes};
use super::prepare::{Outcome, Preparation};
use super::refusal::{BATCH_BYTES, is_of_a_topic};
use super::session::{Delivery, Session, Settings};
use super::settings;
use super::statistics::{connected, log_ends};
use super::status::{Side, View, status};
use crate::client::limit::Limiter;
use crate::client::resolve::{Clients, Resolver};
use crate::client::voice::Said;
use crate::driver::wall_ms;
use crate::engine::TaskContext;
use crate::error::{Error, chain};
use crate::job::{Order, Reporter};
use crate::metrics::LaneMetrics;
use crate::positions::Stored;

/// Time between two sessions, the second made because the first broke.
const SESSION_RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Positions on their way, with the lanes they are of.
pub(super) type Storing = Pin<Box<dyn Future<Output = (Vec<(LaneNumber, i64)>, Result<(), Error>)> + Send>>;

pub(super) struct Task {
    pub context: TaskContext,
    resolver: Resolver,
    clients: Clients,
    /// No session was made by them so far.
    are_clients_fresh: bool,
    pub order: Order,
    pub lanes: Lanes,
    /// The source's, once it told.
    pub cluster: Option<ClusterId>,
    pub storing: Option<Storing>,
    /// A lane may have something to store.
    pub moved: bool,
    /// A lane may wait to be made ready.
    pub unready: bool,
    /// Why the session is over.
    pub broken: Option<String>,
    /// The state or its trace may have changed.
    pub changed: bool,
    pub reporter: Reporter,
    source: Side,
    destination: Side,
    was_running: bool,
    right_ended: bool,
    told: Option<(InstanceState, String)>,
    metrics: BTreeMap<LaneNumber, LaneMetrics>,
    limiter: Limiter,
    began: Instant,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Stop,
    /// Paused, or nothing left to read.
    Idle,
    RightEnded,
    Broken(String),
}

/// Copies the lanes of a task until `stop` (or until nobody gives orders any more).
pub async fn run(
    context: TaskContext,
    clients: (Resolver, Clients),
    mut orders: watch::Receiver<Order>,
    reporter: Reporter,
    stop: CancellationToken,
) {
    // Nothing but the right keeps two writers of this engine apart.
    reporter.until_free(&stop).await;
    let order = orders.borrow_and_update().clone();
    let mut task = Task::new(context, clients, reporter, order);
    let mut retry = Backoff::new(SESSION_RETRY);
    while !stop.is_cancelled() {
        task.look_at_right();
        task.report().await;
        if task.is_idle() || task.right_ended {
            match stop.run_until_cancelled(task.rest(&mut orders)).await {
                Some(true) => continue,
                Some(false) | None => break,
            }
        }
        if stop.run_until_cancelled(task.make_ready()).await.is_none() {
            break;
        }
        let Some(mut session) = task.open().await else { continue };
        let opened = Instant::now();
        let end = task.serve(&mut session, &mut orders, &stop).await;
        let at_once = task.finish(session, &end).await;
        if opened.elapsed() > SESSION_RETRY.1 {
            retry.reset();
        }
        match end {
            End::Stop => break,
            End::Broken(why) if !at_once => {
                let wait = task.tell_of_retry(&why, &mut retry);
                tokio::select! {
                    () = stop.cancelled() => (),
                    () = tokio::time::sleep(wait) => (),
                    Ok(()) = orders.changed() => task.take(orders.borrow_and_update().clone()),
                }
            }
            End::Broken(_) | End::Idle | End::RightEnded => (),
        }
    }
    task.store_last().await;
}

impl Task {
    fn new(
        context: TaskContext,
        (resolver, clients): (Resolver, Clients),
        reporter: Reporter,
        order: Order,
    ) -> Self {
        let mut task = Self {
            source: Side::new("source", clients.source.bootstrap_servers()),
            destination: Side::new("destination", clients.destination.bootstrap_servers()),
            context,
            resolver,
            clients,
            are_clients_fresh: true,
            lanes: Lanes::default(),
            cluster: None,
            storing: None,
            moved: false,
            unready: true,
            broken: None,
            changed: true,
            reporter,
            was_running: false,
            right_ended: false,
            told: None,
            metrics: BTreeMap::new(),
            limiter: Limiter::default(),
            began: Instant::now(),
            order: order.clone(),
        };
        task.take(order);
        task
    }

    pub fn connector(&self) -> &ConnectorName {
        &self.reporter.id().connector
    }

    /// Time since the task began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn look_at_right(&mut self) {
        let ended = !self.reporter.holds_right();
        if ended != self.right_ended {
            (self.right_ended, self.changed) = (ended, true);
            let task = self.reporter.id();
            match ended {
                true => {
                    tracing::warn!(%task, "its right to write has ended: it copies nothing until that is renewed")
                }
                false => tracing::info!(%task, "its right to write was renewed"),
            }
        }
    }

    /// Waits for a new order, or for its right when that has ended; false: nobody gives orders any more.
    async fn rest(&mut self, orders: &mut watch::Receiver<Order>) -> bool {
        tokio::select! {
            changed = orders.changed() => {
                let order = changed.is_ok().then(|| orders.borrow_and_update().clone());
                order.map(|order| self.take(order)).is_some()
            }
            () = self.reporter.right_held(), if self.right_ended => true,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.order.paused || !self.lanes.any_to_read()
    }

    /// Takes a new order.
    pub fn take(&mut self, order: Order) {
        let now = self.now();
        self.lanes.order(order.revision, &order.lanes, now);
        self.order = order;
        let connector = &self.reporter.id().connector;
        for (number, lane) in &self.lanes.all {
            let (topic, partition) = (&lane.name.source, lane.name.partition);
            let made = || self.context.metrics.lane(connector, topic, partition);
            let metrics = self.metrics.entry(*number).or_insert_with(made);
            if self.order.paused {
                metrics.lag_seconds.set(0.0);
                metrics.stall_age.set(0.0);
            }
        }
        (self.unready, self.changed) = (true, true);
        self.sweep();
    }

    /// Resolves the clients anew for a further session: a password may have broken the one before. What cannot be resolved
    /// now was before, and the session says what is wrong with it.
    async fn make_ready(&mut self) {
        if std::mem::take(&mut self.are_clients_fresh) {
            return;
        }
        match self.resolver.resolve(&self.context.worker, &self.order.spec).await {
            Ok(clients) => self.clients = clients,
            Err(error) => {
                if let Some(left_out) = self.limiter.admit(self.now(), "resolve") {
                    let (task, error) = (self.reporter.id(), chain(&error));
                    tracing::warn!(%task, error, left_out, "the clients stay as they were");
                }
            }
        }
    }

    /// Makes the clients. Wrong settings stop every lane: they need a human.
    async fn open(&mut self) -> Option<Session> {
        let made = match self.settings() {
            Ok(settings) => Session::open(settings).await.map_err(|error| error.to_string()),
            Err(error) => Err(chain(&error)),
        };
        match made {
            Ok(session) => {
                self.unready = true;
                Some(session)
            }
            Err(why) => {
                self.stop_all(&format!("the clients cannot be made: {why}"));
                None
            }
        }
    }

    fn settings(&self) -> Result<Settings, Error> {
        let id = self.reporter.id();
        let client_id = format!("copyist-{}-{}", id.connector, id.part);
        let Clients { source, destination, .. } = &self.clients;
        let batch_bytes = self.lanes.batch_bytes().unwrap_or(BATCH_BYTES);
        Ok(Settings {
            name: id.to_string(),
            consumer: settings::consumer(source, &client_id, self.lanes.ordered().count())?,
            producer: settings::producer(destination, &client_id, batch_bytes)?,
        })
    }

    fn stop_all(&mut self, why: &str) {
        self.changed = true;
        self.lanes.all.values_mut().for_each(|lane| lane.stop(why.to_owned()));
    }

    /// How long to wait before the next session.
    fn tell_of_retry(&mut self, why: &str, retry: &mut Backoff) -> Duration {
        let wait = retry.wait(rand::random());
        if let Some(left_out) = self.limiter.admit(self.now(), "broken") {
            let task = self.reporter.id();
            let wait_ms = wait.as_millis();
            tracing::warn!(%task, why, left_out, wait_ms, "copying starts over from the positions");
        }
        wait
    }

    /// A refusal was narrowed down, or stopped a lane.
    pub fn tell_of_refusal(&mut self, end: &End) {
        if let Some(left_out) = self.limiter.admit(self.now(), "refused") {
            let task = self.reporter.id();
            let batch_bytes = self.lanes.batch_bytes().unwrap_or(BATCH_BYTES);
            tracing::info!(%task, ?end, batch_bytes, left_out, "the destination refused records");
        }
    }

    /// Tells the state when it or its trace changed.
    pub async fn report(&mut self) {
        if !std::mem::take(&mut self.changed) && self.was_running {
            return;
        }
        let positions = self.context.positions.waits_for();
        let view = View {
            paused: self.order.paused,
            was_running: self.was_running,
            right_ended: self.right_ended,
            source: &self.source,
            destination: &self.destination,
            positions: positions.as_deref(),
            now: self.now(),
        };
        let told = status(&view, self.lanes.ordered());
        self.was_running |= told.0 == InstanceState::Running;
        if self.told.as_ref() != Some(&told) {
            self.reporter.status(told.0, told.1.clone()).await;
            self.told = Some(told);
        }
    }

    /// What became of records that were sent.
    pub fn deliver(&mut self, deliveries: &mut Vec<Delivery>) {
        let now = self.now();
        for Delivery { lane: number, sequence, failed } in deliveries.drain(..) {
            let Some(lane) = self.lanes.all.get_mut(&number) else { continue };
            if let Some(code) = failed {
                lane.fail(sequence, code);
                self.broken.get_or_insert_with(|| format!("{} was not delivered: {code}", lane.name));
                continue;
            }
            let Moved { records, bytes } = lane.acknowledge(sequence, now);
            self.moved |= records > 0;
            if let Some(metrics) = self.metrics.get(&number) {
                metrics.records.inc_by(records);
                metrics.bytes.inc_by(bytes);
            }
        }
    }

    /// What the client at one side said.
    pub fn hear(&mut self, said: Said, of_source: bool, session: &Session) {
        self.changed = true;
        let now = self.now();
        let side = if of_source { &mut self.source } else { &mut self.destination };
        match said {
            Said::Statistics(statistics) => {
                side.see(connected(&statistics), now);
                if of_source {
                    self.measure(&statistics);
                }
            }
            Said::Error { code: Some(RDKafkaErrorCode::Fatal), reason } => self.end(session, reason),
            Said::Error { code, reason } => {
                if code.is_some_and(super::statistics::is_about_connections) {
                    side.complain(super::statistics::essence(&reason));
                }
            }
        }
    }

    /// The producer is over. When that is for what it may do, every lane needs a human.
    fn end(&mut self, session: &Session, reason: String) {
        if session.fatal().is_some_and(|(code, _)| is_of_a_topic(code)) {
            self.stop_all(&format!("the destination refuses the producer: {reason}"));
        }
        self.broken.get_or_insert(reason);
    }

    fn measure(&self, statistics: &Statistics) {
        let (now, ends) = (self.now(), log_ends(statistics));
        let wall_ms = wall_ms();
        for (number, metrics) in &self.metrics {
            let Some(lane) = self.lanes.all.get(number) else { continue };
            let end = ends.get(&(lane.name.source.as_str(), lane.name.partition)).copied().unwrap_or(-1);
            let lag = lane.lag_records(end);
            let newest = lane.newest_timestamp().filter(|timestamp| lag > 0 && *timestamp > 0);
            let age_ms = newest.map_or(0, |timestamp| wall_ms.saturating_sub(timestamp).max(0));
            metrics.lag_records.set(lag);
            metrics.lag_seconds.set(age_ms as f64 / 1e3);
            metrics.stall_age.set(lane.stall_age(now).as_secs_f64());
        }
    }

    /// What a preparation came to. Lanes that left or stopped meanwhile are not begun.
    pub fn prepared(&mut self, preparation: Preparation, session: &mut Session) {
        let now = self.now();
        self.cluster = preparation.cluster;
        if !preparation.led.is_empty() {
            self.destination.see(true, now);
        }
        if !preparation.queues.is_empty() {
            self.source.see(true, now);
        }
        for number in preparation.led {
            self.lanes.all.get_mut(&number).into_iter().for_each(super::lane::Lane::reach_destination);
        }
        for (number, outcome) in preparation.outcomes {
            let Some(lane) = self.lanes.all.get_mut(&number) else { continue };
            match outcome {
                Outcome::Begin(next) => lane.begin(next, now),
                Outcome::Wait(why) => lane.wait(why),
                Outcome::Stop(why) => lane.stop(why),
            }
        }
        session.queues.extend(preparation.queues);
        (self.unready, self.changed) = (true, true);
    }

    /// Begins to store what is acknowledged. Without a right somebody else may have stored more by now.
    pub fn store(&mut self) {
        if !self.reporter.holds_right() {
            return;
        }
        self.moved = false;
        let (connector, cluster) = (&self.reporter.id().connector, self.cluster.clone());
        let Some(source_cluster) = cluster else { return };
        let unstored = self.lanes.unstored();
        let id = |number: &LaneNumber| {
            let name = &self.lanes.all.get(number)?.name;
            let (topic, source_cluster) = (name.source.clone(), source_cluster.clone());
            Some(LaneId { connector: connector.clone(), source_cluster, topic, partition: name.partition })
        };
        let positions: Vec<_> =
            unstored.iter().filter_map(|(number, next)| Some((id(number)?, Stored::plain(*next)))).collect();
        if positions.is_empty() {
            return;
        }
        let store = self.context.positions.clone();
        self.storing = Some(Box::pin(async move { (unstored, store.put(positions).await) }));
    }

    /// Positions were stored, or not: then they are tried again.
    pub fn stored(&mut self, (lanes, outcome): (Vec<(LaneNumber, i64)>, Result<(), Error>)) {
        self.storing = None;
        match outcome {
            Ok(()) => {
                for (number, next) in lanes {
                    if let Some(lane) = self.lanes.all.get_mut(&number) {
                        lane.store(next);
                    }
                }
                self.sweep();
            }
            Err(error) => {
                self.moved = true;
                if let Some(left_out) = self.limiter.admit(self.now(), "store") {
                    let (task, error) = (self.reporter.id(), chain(&error));
                    tracing::warn!(%task, error, left_out, "positions were not stored, trying again");
                }
            }
        }
    }

    fn sweep(&mut self) {
        for number in self.lanes.sweep() {
            self.metrics.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests;
