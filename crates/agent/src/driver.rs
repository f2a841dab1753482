//! Performs what the core decides: starts and stops jobs, speaks to the coordinator. One loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use copyist_model::{AssignmentEpoch, AssignmentId, ClusterId, Part};
use copyist_proto::{Coordinators, OwnLoggers};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::limit::Limiter;
use crate::core::{Core, Effect, Event, ProposalNumber, Saying};
use crate::engine::raw::{Budget, Plane, Shared};
use crate::engine::{self, TaskContext};
use crate::error::{Error, chain};
use crate::job::{JobEvent, JobMessage, Order, Reporter, Right, Unanswered, Verdict};
use crate::link::{self, Identity, Standing};
use crate::metrics::Metrics;
use crate::positions::Positions;
use crate::queries;
use crate::storage_topics::{self, scribe::Scribe};
use crate::survey::{self, SurveyContext};
use crate::worker::Worker;

/// Events that wait for the driver; beyond that, who has one waits.
const MAILBOX: usize = 1024;

const TICK: Duration = Duration::from_millis(250);

/// Beyond the jobs' own deadline, before a stop gives up on them.
const STOP_MARGIN: Duration = Duration::from_secs(6);

/// An agent, ready to run.
pub struct Agent {
    worker: Arc<Worker>,
    coordinators: Coordinators,
    metrics: Metrics,
    loggers: OwnLoggers,
    renew_interval: Duration,
}

impl Agent {
    /// An agent that speaks to `coordinators` and asks for its rights every `renew_interval`, a third of how long they
    /// last.
    #[must_use]
    pub fn new(
        worker: Worker,
        coordinators: Coordinators,
        metrics: Metrics,
        loggers: OwnLoggers,
        renew_interval: Duration,
    ) -> Self {
        Self { worker: Arc::new(worker), coordinators, metrics, loggers, renew_interval }
    }

    /// Runs until told to stop; then every job ends cleanly, or a deadline passes.
    ///
    /// # Errors
    /// [`Error::Stuck`] when the worker's cluster or its topics need a human.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let (events, mailbox) = mpsc::channel(MAILBOX);
        let (job_messages, job_mailbox) = mpsc::channel(MAILBOX);
        let (outbox, words) = mpsc::channel(link::OUTBOX);
        let (rejoin, rejoins) = mpsc::channel(1);
        let (renew, renewals) = mpsc::channel(1);
        let (queries, asked) = mpsc::channel(queries::QUERIES_MAX);
        let (answer, answers) = mpsc::channel(queries::QUERIES_MAX);
        let (standing, shown_standing) = watch::channel(Standing::default());
        let (cluster, known_cluster) = watch::channel(None);
        let (duty, shown_duty) = watch::channel(None);
        // Ends what serves the jobs, once they are over.
        let serving = CancellationToken::new();
        let (positions, positions_task) =
            Positions::start(&self.worker, known_cluster.clone(), serving.clone())?;
        let (plane, copying) = self.plane(&positions)?;
        let identity = Identity {
            worker: self.worker.clone(),
            incarnation: uuid::Uuid::new_v4().to_string(),
            cluster: known_cluster,
            standing: shown_standing,
            loggers: self.loggers.clone(),
        };
        let mut links = JoinSet::new();
        let ends = link::Ends {
            outbox: words,
            rejoin: rejoins,
            events: events.clone(),
            queries,
            answers,
            parting: link::Parting::default(),
            duty,
        };
        links.spawn(queries::serve(positions.clone(), asked, answer, serving.clone()));
        links.spawn(self.scribe(identity.cluster.clone(), shown_duty).run(serving.clone()));
        links.spawn(link::hold(self.coordinators.clone(), identity.clone(), ends, serving.clone()));
        let (coordinators, interval) = (self.coordinators, self.renew_interval);
        links.spawn(link::renew(coordinators, identity, interval, renewals, events, serving.clone()));
        let driver = Driver {
            context: TaskContext { worker: self.worker.clone(), positions, metrics: self.metrics, plane },
            core: Core::default(),
            running: BTreeMap::new(),
            jobs: JoinSet::new(),
            proposals: BTreeMap::new(),
            proposed: 0,
            job_messages,
            outbox,
            rejoin,
            renew,
            standing,
            drained: false,
            without_right: false,
        };
        let prepared = tokio::spawn(prepare(self.worker.clone(), cluster, serving.clone()));
        let result = driver.run(mailbox, job_mailbox, prepared, stop).await;
        serving.cancel();
        while links.join_next().await.is_some() {}
        // Its last handle went with the driver.
        let joined = tokio::task::spawn_blocking(move || copying.join());
        if !matches!(tokio::time::timeout(STOP_MARGIN, joined).await, Ok(Ok(Ok(())))) {
            tracing::warn!("the data plane did not end by itself");
        }
        if positions_task.await.is_err() {
            tracing::error!("the keeper of positions panicked");
        }
        result
    }
}

impl Agent {
    fn plane(&self, positions: &Positions) -> Result<(Plane, std::thread::JoinHandle<()>), Error> {
        let plane = Plane::start(Shared {
            positions: positions.clone(),
            metrics: self.metrics.clone(),
            budget: Budget::new(self.worker.memory_bytes),
            flush_interval: self.worker.flush_interval,
        });
        plane.map_err(|error| Error::Stuck(format!("the data plane cannot start: {error}")))
    }

    fn scribe(
        &self,
        cluster: watch::Receiver<Option<ClusterId>>,
        duty: watch::Receiver<link::Duty>,
    ) -> Scribe {
        let (worker, coordinators) = (self.worker.clone(), self.coordinators.clone());
        Scribe { worker, coordinators, cluster, duty, behind: self.metrics.storage_topics_behind.clone() }
    }
}

/// Makes the worker's topics, however long it takes to reach the cluster; fails only where a human is needed.
async fn prepare(
    worker: Arc<Worker>,
    cluster: watch::Sender<Option<ClusterId>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let (began, mut limiter) = (tokio::time::Instant::now(), Limiter::default());
    let mut wait = Duration::from_millis(200);
    loop {
        match storage_topics::ensure(&worker).await {
            Ok(id) => {
                cluster.send_replace(Some(id));
                return Ok(());
            }
            Err(error @ Error::Stuck(_)) => return Err(error),
            Err(error @ Error::Retry { .. }) => {
                if let Some(left_out) = limiter.admit(began.elapsed(), "prepare") {
                    let error = chain(&error);
                    tracing::warn!(error, left_out, "the worker's cluster cannot be used yet");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(Duration::from_secs(5));
    }
}

struct Driver {
    context: TaskContext,
    core: Core,
    running: BTreeMap<AssignmentId, Running>,
    jobs: JoinSet<(AssignmentId, AssignmentEpoch)>,
    /// Who waits for an answer to which proposal.
    proposals: BTreeMap<ProposalNumber, oneshot::Sender<Result<Verdict, Unanswered>>>,
    proposed: u64,
    job_messages: mpsc::Sender<JobMessage>,
    outbox: mpsc::Sender<Saying>,
    rejoin: mpsc::Sender<()>,
    renew: mpsc::Sender<()>,
    standing: watch::Sender<Standing>,
    drained: bool,
    /// Something went on without a right at the last tick.
    without_right: bool,
}

struct Running {
    orders: watch::Sender<Order>,
    right: watch::Sender<Right>,
    stop: CancellationToken,
    task: tokio::task::Id,
    epoch: AssignmentEpoch,
}

impl Driver {
    async fn run(
        mut self,
        mut mailbox: mpsc::Receiver<Event>,
        mut job_mailbox: mpsc::Receiver<JobMessage>,
        mut prepared: tokio::task::JoinHandle<Result<(), Error>>,
        stop: CancellationToken,
    ) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut preparing = true;
        let mut result = Ok(());
        let deadline = tokio::time::sleep(Duration::MAX);
        tokio::pin!(deadline);
        let mut draining = false;
        while !self.drained {
            let event = tokio::select! {
                () = stop.cancelled(), if !draining => None,
                () = &mut deadline, if draining => {
                    tracing::warn!("jobs did not end in time; what they had in flight may be sent again");
                    break;
                }
                outcome = &mut prepared, if preparing => {
                    preparing = false;
                    result = outcome.unwrap_or_else(|_| Err(Error::Stuck("the preparation panicked".into())));
                    if result.is_ok() { continue }
                    None
                }
                Some(event) = mailbox.recv() => Some(event),
                Some(message) = job_mailbox.recv() => Some(self.heard(message)),
                Some(ended) = self.jobs.join_next_with_id() => match self.joined(ended) {
                    Some(event) => Some(event),
                    None => continue,
                },
                _ = ticks.tick() => Some(Event::Tick),
            };
            let event = event.unwrap_or_else(|| {
                draining = true;
                let patience = self.context.worker.stop_timeout + STOP_MARGIN;
                deadline.as_mut().reset(tokio::time::Instant::now() + patience);
                Event::Drain
            });
            self.step(event);
        }
        prepared.abort();
        result
    }

    /// A job's task is over. It said so itself, unless it panicked.
    fn joined(
        &mut self,
        ended: Result<(tokio::task::Id, (AssignmentId, AssignmentEpoch)), tokio::task::JoinError>,
    ) -> Option<Event> {
        let task = match ended {
            Ok(_) => return None,
            Err(error) => error.id(),
        };
        let found = self.running.iter().find(|(_, running)| running.task == task);
        let (id, running) = found?;
        Some(Event::Job(JobEvent::Ended { id: id.clone(), epoch: running.epoch }))
    }

    fn heard(&mut self, message: JobMessage) -> Event {
        match message {
            JobMessage::Event(event) => Event::Job(event),
            JobMessage::Proposed { id, epoch, proposal, answer } => {
                self.proposed += 1;
                let number = ProposalNumber(self.proposed);
                self.proposals.insert(number, answer);
                Event::Proposed { number, id, epoch, proposal }
            }
        }
    }

    fn step(&mut self, event: Event) {
        let by_time = event == Event::Tick;
        if by_time {
            self.tell_of_rights();
        }
        let is_welcome = matches!(event, Event::Welcome { .. });
        for effect in self.core.step(boot_ms(), event) {
            if let Effect::Stop { id } = &effect
                && by_time
            {
                tracing::warn!(part = %id, "its autonomy is over: it stops");
            }
            self.perform(effect);
        }
        if is_welcome {
            self.show_standing();
        }
    }

    /// One line when the rights of what runs have ended, and one when they are back.
    fn tell_of_rights(&mut self) {
        let parts = self.core.without_right(boot_ms());
        match (self.without_right, parts > 0) {
            (false, true) => tracing::warn!(
                parts,
                "no coordinator renews the rights of what runs here: where the destination remembers the producer, \
                 copying goes on until autonomy is over"
            ),
            (true, false) => tracing::info!("nothing runs here without a right any more"),
            (false, false) | (true, true) => (),
        }
        self.without_right = parts > 0;
    }

    /// The store and what runs by it together: a leader of another store must not take old epochs for its own.
    fn show_standing(&self) {
        let (store_id, reports) = (self.core.store_id().to_owned(), self.core.reports());
        self.standing.send_replace(Standing { store_id, reports });
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Start { id, epoch, order, right } => self.start(id, epoch, order, right),
            Effect::Order { id, order } => {
                if let Some(running) = self.running.get(&id) {
                    running.orders.send_replace(order);
                }
            }
            Effect::Right { id, right } => {
                if let Some(running) = self.running.get(&id) {
                    running.right.send_replace(right);
                }
            }
            Effect::Answer { number, answer } => {
                // Who asked may have given up.
                let _ = self.proposals.remove(&number).map(|asked| asked.send(answer));
            }
            Effect::Stop { id } => {
                if let Some(running) = self.running.get(&id) {
                    running.stop.cancel();
                }
            }
            Effect::Tell(saying) => {
                if matches!(saying, Saying::Report(_) | Saying::Released { .. }) {
                    self.show_standing();
                }
                link::say(&self.outbox, &self.rejoin, saying);
            }
            // One that is queued already does for both.
            Effect::Renew => {
                let _ = self.renew.try_send(());
            }
            Effect::Rejoin => {
                let _ = self.rejoin.try_send(());
            }
            Effect::Drained => self.drained = true,
        }
    }

    fn start(&mut self, id: AssignmentId, epoch: AssignmentEpoch, order: Order, right: Right) {
        let (orders, receiver) = watch::channel(order);
        let (right, shown_right) = watch::channel(right);
        let stop = CancellationToken::new();
        let reporter = Reporter::new(id.clone(), epoch, self.job_messages.clone(), shown_right);
        let task = match id.part {
            Part::Survey => {
                let context = SurveyContext { worker: self.context.worker.clone() };
                let job = survey_alone(context, receiver, reporter, stop.clone());
                self.jobs.spawn(named(id.clone(), epoch, job)).id()
            }
            Part::Task(_) => {
                let job = engine::run(self.context.clone(), receiver, reporter, stop.clone());
                self.jobs.spawn(named(id.clone(), epoch, job)).id()
            }
        };
        self.running.insert(id, Running { orders, right, stop, task, epoch });
    }
}

async fn named(
    id: AssignmentId,
    epoch: AssignmentEpoch,
    job: impl Future<Output = ()>,
) -> (AssignmentId, AssignmentEpoch) {
    job.await;
    (id, epoch)
}

/// Two surveys of one connector must not create topics at the same time.
async fn survey_alone(
    context: SurveyContext,
    orders: watch::Receiver<Order>,
    reporter: Reporter,
    stop: CancellationToken,
) {
    reporter.until_free(&stop).await;
    survey::run(context, orders, reporter, stop).await;
}

/// Time since the machine started, suspended time included: rights are counted on it.
#[must_use]
pub fn boot() -> Duration {
    // Linux has this clock since 2.6.39; a kernel without it cannot run tokio either.
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// Milliseconds since 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "what is stamped or stored is as old as the wall clock says")]
pub fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// [`boot`] in milliseconds.
#[must_use]
pub fn boot_ms() -> u64 {
    u64::try_from(boot().as_millis()).unwrap_or(u64::MAX)
}
