//! Runs terms: waits until this replica leads by its store, lets the term decide until it ends, and begins again.

use std::time::Duration;

use copyist_proto::coordinators::connection;
use copyist_proto::forward::Target;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::{Backoff, millis};
use crate::core::Patience;
use crate::error::{Error, chain};
use crate::handle::{Handle, Message};
use crate::metrics::Metrics;
use crate::reports::Reports;
use crate::store::Store;
use crate::store::etcd::{Leader, Replica};
use crate::term::Term;

/// Messages that wait for the driver; beyond that, who asks waits.
const MAILBOX: usize = 1024;

/// More than a job takes to end once its autonomy is over: a tick of its agent and a clean stop.
const STOP_MAX: Duration = Duration::from_secs(60);

/// A term that lasted this long was no failed attempt.
const TERM_WORTH: Duration = Duration::from_secs(10);

/// What the coordinator is told by its worker file.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the fleet: agents of another one take no part.
    pub group_id: String,
    /// How long an agent's right lasts.
    pub lease_ttl: Duration,
    /// What a lane with a weak fence waits beyond the former right.
    pub lease_margin: Duration,
    /// How long an agent may go on by itself.
    pub autonomy_max: Duration,
    /// How often an agent should say that it is there.
    pub heartbeat_interval: Duration,
    /// After which silence of an agent its parts go to others.
    pub suspect: Duration,
    /// Whether another cluster in the agents' worker file is another destination, and not a mistake.
    pub destination_may_change: bool,
}

impl Settings {
    /// How long a lane whose fence is not intact must wait after a holder that did not confirm its release.
    #[must_use]
    pub fn previous_right_wait(&self) -> Duration {
        self.lease_ttl + self.lease_margin
    }

    pub(crate) fn patience(&self) -> Patience {
        // Its lease may have ended early by a ttl, its clock may be slow by a hundredth, and its jobs end in their time.
        let by_itself = self.lease_ttl + self.autonomy_max + STOP_MAX;
        Patience {
            suspect_ms: millis(self.suspect),
            released_after_ms: millis(by_itself + by_itself / 50 + self.lease_margin),
        }
    }
}

/// The coordinator, ready to run.
pub struct Coordinator<S> {
    store: S,
    settings: Settings,
    metrics: Metrics,
    messages: mpsc::Receiver<Message>,
    handle: Handle,
    /// Nothing: there is no other coordinator.
    following: Option<Following>,
}

/// Keeps a connection to who leads.
struct Following {
    leader: watch::Receiver<Leader>,
    target: watch::Sender<Target>,
}

impl Following {
    async fn run(mut self) {
        loop {
            let leader = self.leader.borrow_and_update().clone();
            match &leader {
                Leader::Other(address) => tracing::info!(%address, "another coordinator leads"),
                Leader::Nobody => tracing::info!("no coordinator leads"),
                Leader::Unknown | Leader::Ours => {}
            }
            self.target.send_replace(target(&leader));
            if self.leader.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Between leaders this process answers, by what is stored.
fn target(leader: &Leader) -> Target {
    match leader {
        Leader::Unknown | Leader::Nobody | Leader::Ours => Target::Here,
        Leader::Other(address) => match connection(address) {
            Some(channel) => Target::There(channel),
            None => {
                tracing::error!(address, "the leader's coordinator.advertised.address is no host:port");
                Target::Nobody(format!("the leader's address {address:?} is no host:port"))
            }
        },
    }
}

impl<S: Store> Coordinator<S> {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(store: S, settings: Settings, metrics: Metrics) -> Self {
        let (sender, messages) = mpsc::channel(MAILBOX);
        Self { store, settings, metrics, messages, handle: Handle::new(sender), following: None }
    }

    /// Of a fleet: `replica` says who leads, and what there is while this process does not; it is reached at `address`.
    #[must_use]
    pub fn of_fleet(
        store: S,
        replica: Replica,
        address: String,
        settings: Settings,
        metrics: Metrics,
    ) -> Self {
        let (sender, messages) = mpsc::channel(MAILBOX);
        let (target, targets) = watch::channel(Target::Here);
        let handle = Handle::of_fleet(sender, replica.clone(), address, settings.patience(), targets);
        let following = Some(Following { leader: replica.leader(), target });
        Self { store, settings, metrics, messages, handle, following }
    }

    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until told to stop. A term that ends is followed by another, with backoff.
    pub async fn run(mut self, stop: CancellationToken) {
        let following =
            self.following.take().map(|following| AbortOnDropHandle::new(tokio::spawn(following.run())));
        self.lead_again_and_again(stop).await;
        drop(following);
    }

    async fn lead_again_and_again(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let mut failures = Reports::new();
        while !stop.is_cancelled() {
            let error = match refuse_until(self.store.lead(), &mut self.messages, &stop).await {
                None => break,
                Some(Ok(view)) => {
                    tracing::info!(store = %view.meta.store_id, revision = view.revision.0, "this coordinator leads");
                    let began = tokio::time::Instant::now();
                    let mut term = Term::begin(self.store, view, self.settings.clone(), self.metrics.clone());
                    let ended = term.lead(&mut self.messages, &stop).await;
                    self.store = term.end();
                    if began.elapsed() > TERM_WORTH {
                        backoff.reset();
                        failures = Reports::new();
                    }
                    match ended {
                        Ok(()) => break,
                        Err(error) => error,
                    }
                }
                Some(Err(error)) => error,
            };
            self.tell(&error, &mut failures).await;
            refuse_until(tokio::time::sleep(backoff.next()), &mut self.messages, &stop).await;
        }
        self.store.resign().await;
    }

    /// A store that goes on to fail is told of once in a while: every attempt meets it again.
    async fn tell(&mut self, error: &Error, failures: &mut Reports) {
        let text = chain(error);
        match error {
            Error::TermOver(_) => tracing::info!("this coordinator leads no more: {text}"),
            Error::Store { .. } => {
                if let Some(times) = failures.admit(tokio::time::Instant::now()) {
                    tracing::error!(error = %text, times, "the store failed; opening it again");
                }
            }
            Error::StoreUnreadable(_) | Error::Serve(_) => {
                if let Some(times) = failures.admit(tokio::time::Instant::now()) {
                    tracing::error!(error = %text, times, "this coordinator cannot lead");
                }
                self.store.resign().await;
            }
        }
    }
}

/// Waits, and answers nobody meanwhile; nothing: told to stop.
async fn refuse_until<T>(
    over: impl Future<Output = T>,
    messages: &mut mpsc::Receiver<Message>,
    stop: &CancellationToken,
) -> Option<T> {
    let mut over = std::pin::pin!(over);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            outcome = &mut over => return Some(outcome),
            // Dropping it tells who asked that nobody here can answer.
            Some(_) = messages.recv() => {}
        }
    }
}
