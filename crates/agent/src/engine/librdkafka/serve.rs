//! A session at work: what happens is named here, and handed to who decides. Nothing ticks while nothing moves, but
//! for the look at the right: nothing else keeps two writers of this engine apart.

use std::pin::Pin;
use std::time::Duration;

use copyist_kafka::Backoff;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::copy::{Round, round};
use super::lane::{Lane, Phase};
use super::lanes::LaneNumber;
use super::prepare::{Preparation, Preparer};
use super::session::{Delivery, Session};
use super::task::{End, Storing, Task};
use crate::client::voice::Said;
use crate::job::{Order, Reporter};

/// Longest time between two stores of positions while records move: what a crash repeats.
const STORE_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two attempts to make lanes ready.
const PREPARE_RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// Shortest time between two preparations: one that fails at once must not spin.
const PREPARE_GAP: Duration = Duration::from_millis(200);
/// Deliveries taken at once.
const DELIVERIES_MAX: usize = 4_096;
/// Time for what is on the wire when a session broke.
const SETTLE_DEADLINE: Duration = Duration::from_secs(10);
/// Time for purged records to be reported.
const PURGE_DEADLINE: Duration = Duration::from_secs(2);
/// Time between two purges while answers are missing.
const PURGE_AGAIN: Duration = Duration::from_millis(100);
/// Time to store positions at a clean stop.
const LAST_STORE_DEADLINE: Duration = Duration::from_secs(5);

type Preparing = Pin<Box<dyn Future<Output = Preparation> + Send>>;

/// What is under way in a session besides records.
struct Work {
    preparing: Option<Preparing>,
    prepare_at: Instant,
    prepare_retry: Backoff,
    store_at: Option<Instant>,
    /// Tells a preparation that nobody waits for it.
    over: CancellationToken,
    delivered: Vec<Delivery>,
}

/// What happened.
enum Happened {
    Stopped,
    Ordered,
    Abandoned,
    Delivered,
    Readable,
    Source(Said),
    Destination(Said),
    Prepared(Preparation),
    Stored((Vec<(LaneNumber, i64)>, Result<(), crate::error::Error>)),
    Due,
    RightEnded,
}

impl Task {
    /// Copies until told otherwise, or until the session breaks.
    pub(super) async fn serve(
        &mut self,
        session: &mut Session,
        orders: &mut watch::Receiver<Order>,
        stop: &CancellationToken,
    ) -> End {
        let mut work = Work {
            preparing: None,
            prepare_at: Instant::now(),
            prepare_retry: Backoff::new(PREPARE_RETRY),
            store_at: None,
            over: CancellationToken::new(),
            delivered: Vec::with_capacity(DELIVERIES_MAX),
        };
        let end = loop {
            self.plan(session, &mut work);
            self.report().await;
            let happened = next(session, &mut work, &mut self.storing, orders, &self.reporter, stop).await;
            if let Some(end) = self.handle(happened, session, &mut work, orders) {
                break end;
            }
            // Once more, immediately before the write: the machine may have been suspended.
            if !self.reporter.holds_right() {
                break End::RightEnded;
            }
            if let Some(why) = self.copy(session).await {
                break End::Broken(why);
            }
        };
        work.over.cancel();
        if let Some(preparing) = work.preparing.take() {
            // Its calls hold the clients; each has a deadline.
            let preparation = preparing.await;
            self.prepared(preparation, session);
        }
        end
    }

    /// Starts what is due.
    fn plan(&mut self, session: &Session, work: &mut Work) {
        let now = Instant::now();
        if work.preparing.is_none() && self.unready && work.prepare_at <= now {
            self.unready = false;
            let wanted = self.lanes.wanted();
            if !wanted.is_empty() {
                let preparer = Preparer {
                    clients: session.clients.clone(),
                    positions: self.context.positions.clone(),
                    connector: self.connector().clone(),
                    cluster: self.cluster.clone(),
                    reset: self.order.spec.offset_reset,
                    records: self.order.records.clone(),
                    cancelled: work.over.clone(),
                };
                work.preparing = Some(Box::pin(preparer.prepare(wanted)));
            }
        }
        if self.storing.is_some() || !self.moved {
            return;
        }
        match work.store_at {
            None => work.store_at = Some(now + STORE_INTERVAL.min(self.context.worker.flush_interval)),
            Some(due) if due <= now => {
                work.store_at = None;
                self.store();
            }
            Some(_) => (),
        }
    }

    fn handle(
        &mut self,
        happened: Happened,
        session: &mut Session,
        work: &mut Work,
        orders: &mut watch::Receiver<Order>,
    ) -> Option<End> {
        match happened {
            Happened::Stopped | Happened::Abandoned => return Some(End::Stop),
            Happened::RightEnded => return Some(End::RightEnded),
            Happened::Ordered => {
                self.take(orders.borrow_and_update().clone());
                work.prepare_at = Instant::now();
            }
            Happened::Delivered => self.deliver(&mut work.delivered),
            Happened::Readable => session.serve_events(),
            Happened::Source(said) => self.hear(said, true, session),
            Happened::Destination(said) => self.hear(said, false, session),
            Happened::Prepared(preparation) => {
                work.preparing = None;
                self.prepared(preparation, session);
                let left = !self.lanes.wanted().is_empty();
                if !left {
                    work.prepare_retry.reset();
                }
                let wait = if left { work.prepare_retry.wait(rand::random()) } else { PREPARE_GAP };
                work.prepare_at = Instant::now() + wait;
            }
            Happened::Stored(stored) => self.stored(stored),
            Happened::Due => (),
        }
        self.is_idle().then_some(End::Idle)
    }

    /// One round over the lanes; says why the session is over, if it is.
    async fn copy(&mut self, session: &mut Session) -> Option<String> {
        if self.broken.is_some() {
            return self.broken.take();
        }
        let now = self.now();
        let Round { more, sent, broken } = round(session, &mut self.lanes.all, now);
        if sent {
            session.sent();
        }
        if more {
            session.wake.notify_one();
        }
        self.release(session).await;
        broken.or_else(|| self.broken.take())
    }

    /// Takes lanes that are not read any more out of the consumer.
    async fn release(&mut self, session: &mut Session) {
        let idle = |number: &LaneNumber| {
            let lane = self.lanes.all.get(number);
            let over = lane.is_none_or(|lane| lane.leaving || *lane.phase() != Phase::Reading);
            // A parked record counts as sent: it goes first.
            over && !session.parked.contains_key(number)
        };
        let numbers: Vec<LaneNumber> = session.queues.keys().copied().filter(idle).collect();
        if numbers.is_empty() {
            return;
        }
        let mut names = Vec::with_capacity(numbers.len());
        for number in numbers {
            names.extend(session.queues.remove(&number).map(|queue| queue.name));
            self.lanes.all.get_mut(&number).into_iter().for_each(Lane::let_go);
        }
        (self.unready, self.changed) = (true, true);
        let clients = session.clients.clone();
        let unassigned = tokio::task::spawn_blocking(move || clients.unassign(&names)).await;
        if let Ok(Err(error)) = unassigned {
            self.broken.get_or_insert_with(|| format!("lanes could not be let go: {error}"));
        }
    }

    /// Ends a session: what is under way is waited for, as long as there is time and a right; then positions are
    /// stored and both clients closed. Returns whether the next session may begin at once.
    pub(super) async fn finish(&mut self, mut session: Session, end: &End) -> bool {
        let broken = matches!(end, End::Broken(_));
        let patience = if broken { SETTLE_DEADLINE } else { self.context.worker.stop_timeout };
        if let End::Broken(why) = end {
            self.broken.get_or_insert_with(|| why.clone());
        }
        self.drain(&mut session, broken, Instant::now() + patience).await;
        if self.lanes.awaited() > 0 {
            self.give_up(&mut session).await;
        }
        let mut at_once = false;
        for lane in self.lanes.all.values_mut() {
            at_once |= lane.settle();
        }
        if at_once {
            self.tell_of_refusal(end);
        }
        (self.broken, self.unready, self.changed) = (None, true, true);
        if !broken {
            self.store_last().await;
        }
        session.close().await;
        at_once
    }

    /// Nothing more is sent, also not again.
    async fn give_up(&mut self, session: &mut Session) {
        let deadline = Instant::now() + PURGE_DEADLINE;
        let mut delivered = Vec::with_capacity(DELIVERIES_MAX);
        while self.lanes.awaited() > 0 && Instant::now() < deadline {
            session.purge(true).await;
            let until = deadline.min(Instant::now() + PURGE_AGAIN);
            let _ = timeout_at(until, session.deliveries.recv_many(&mut delivered, DELIVERIES_MAX)).await;
            self.deliver(&mut delivered);
        }
    }

    /// Takes deliveries until none is awaited, or the right ends. Once one failed, what was not sent yet never will be.
    async fn drain(&mut self, session: &mut Session, mut purged: bool, deadline: Instant) {
        if purged {
            session.purge(false).await;
        }
        let mut delivered = Vec::with_capacity(DELIVERIES_MAX);
        for (number, (sequence, _)) in std::mem::take(&mut session.parked) {
            let lane = self.lanes.all.get_mut(&number);
            lane.into_iter().for_each(|lane| lane.fail(sequence, RDKafkaErrorCode::PurgeQueue));
        }
        while self.lanes.awaited() > 0 && Instant::now() < deadline && self.reporter.holds_right() {
            let until = deadline.min(Instant::now() + PURGE_AGAIN);
            let received = session.deliveries.recv_many(&mut delivered, DELIVERIES_MAX);
            let silent = timeout_at(until, received).await.is_err();
            self.deliver(&mut delivered);
            // What was on the wire behind a refusal goes back to the queue.
            if self.broken.is_some() && (!purged || silent) {
                purged = true;
                session.purge(false).await;
            }
        }
    }

    /// Stores what is acknowledged, before nobody does any more.
    pub(super) async fn store_last(&mut self) {
        let deadline = Instant::now() + LAST_STORE_DEADLINE;
        if let Some(storing) = self.storing.take()
            && let Ok(stored) = timeout_at(deadline, storing).await
        {
            self.stored(stored);
        }
        self.store();
        if let Some(storing) = self.storing.take() {
            match timeout(LAST_STORE_DEADLINE, storing).await {
                Ok(stored) => self.stored(stored),
                Err(_) => {
                    tracing::warn!("the last positions were not stored in time: records will be sent again")
                }
            }
        }
    }
}

/// Waits for the next thing to happen.
async fn next(
    session: &mut Session,
    work: &mut Work,
    storing: &mut Option<Storing>,
    orders: &mut watch::Receiver<Order>,
    reporter: &Reporter,
    stop: &CancellationToken,
) -> Happened {
    let prepare_at = work.preparing.is_none().then_some(work.prepare_at);
    let due = [prepare_at, work.store_at].into_iter().flatten().filter(|due| *due > Instant::now()).min();
    tokio::select! {
        () = stop.cancelled() => Happened::Stopped,
        changed = orders.changed() => if changed.is_ok() { Happened::Ordered } else { Happened::Abandoned },
        _ = session.deliveries.recv_many(&mut work.delivered, DELIVERIES_MAX) => Happened::Delivered,
        () = session.wake.notified() => Happened::Readable,
        Some(said) = session.source_said.recv() => Happened::Source(said),
        Some(said) = session.destination_said.recv() => Happened::Destination(said),
        preparation = of(&mut work.preparing) => Happened::Prepared(preparation),
        stored = of(storing) => Happened::Stored(stored),
        () = at(due) => Happened::Due,
        () = reporter.right_ended() => Happened::RightEnded,
    }
}

async fn of<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
