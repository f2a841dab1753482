//! How a task copies: by the engine [`raw`] where it can, exactly once; else by [`librdkafka`], at least once.
//! [`choice`] decides; [`trace`] has the words for the user.

pub mod choice;
pub mod librdkafka;
pub mod name;
pub mod raw;
pub mod trace;

use std::sync::Arc;
use std::time::Duration;

use copyist_kafka::Backoff;
use copyist_model::InstanceState;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::client::limit::Limiter;
use crate::client::resolve::{Clients, Resolver};
use crate::error::{Error, chain};
use crate::job::{Order, Reporter};
use crate::metrics::Metrics;
use crate::positions::Positions;
use crate::worker::Worker;
use choice::Choice;

/// What a task needs besides its order.
#[derive(Debug, Clone)]
pub struct TaskContext {
    pub worker: Arc<Worker>,
    pub positions: Positions,
    pub metrics: Metrics,
    pub plane: raw::Plane,
}

/// Between two attempts to make a task's clients ready.
const READY_RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Copies the lanes of one task until `stop`, and reports that it ended.
pub async fn run(
    context: TaskContext,
    mut orders: watch::Receiver<Order>,
    reporter: Reporter,
    stop: CancellationToken,
) {
    let mut resolver = Resolver::default();
    loop {
        let ready = make_ready(&context, &mut resolver, &mut orders, &reporter);
        let Some(Some(clients)) = stop.run_until_cancelled(ready).await else { break };
        let ending = stop.child_token();
        let copying = copy(&context, (resolver.clone(), clients.clone()), &orders, &reporter, &ending);
        tokio::pin!(copying);
        tokio::select! {
            () = &mut copying => break,
            () = changed(&context, &mut resolver, &clients, orders.clone()) => {
                tracing::info!(task = %reporter.id(), "what its clients need has changed: they are made anew");
                ending.cancel();
                copying.await;
            }
        }
    }
    reporter.ended().await;
}

/// However long it takes. `None`: nobody gives orders any more.
async fn make_ready(
    context: &TaskContext,
    resolver: &mut Resolver,
    orders: &mut watch::Receiver<Order>,
    reporter: &Reporter,
) -> Option<Clients> {
    let mut retry = Backoff::new(READY_RETRY);
    let (began, mut limiter) = (Instant::now(), Limiter::default());
    loop {
        let order = orders.borrow_and_update().clone();
        let error = match resolver.resolve(&context.worker, &order.spec).await {
            Ok(clients) => return Some(clients),
            Err(error) => error,
        };
        let why = chain(&error);
        if let Some(left_out) = limiter.admit(began.elapsed(), "ready") {
            tracing::warn!(task = %reporter.id(), why, left_out, "its clients are not ready");
        }
        let (state, trace) = match (order.paused, error) {
            (true, _) => (InstanceState::Paused, String::new()),
            (false, Error::Retry { .. }) => (InstanceState::Unassigned, format!("waiting for {why}")),
            (false, Error::Stuck(_)) => (InstanceState::Failed, why),
        };
        reporter.status(state, trace).await;
        tokio::select! {
            () = sleep(retry.wait(rand::random())) => {}
            changed = orders.changed() => {
                changed.ok()?;
                retry.reset();
            }
        }
    }
}

/// Returns when the user asked for a restart, and what was resolved before is not what holds now.
async fn changed(
    context: &TaskContext,
    resolver: &mut Resolver,
    clients: &Clients,
    mut orders: watch::Receiver<Order>,
) {
    let mut revision = orders.borrow().revision;
    while orders.changed().await.is_ok() {
        let order = orders.borrow_and_update().clone();
        if order.revision <= revision {
            continue;
        }
        revision = order.revision;
        // What cannot be resolved now is told by the survey; the task goes on with what it has.
        if resolver.resolve(&context.worker, &order.spec).await.is_ok_and(|now| now != *clients) {
            return;
        }
    }
    std::future::pending().await
}

async fn copy(
    context: &TaskContext,
    (resolver, clients): (Resolver, Clients),
    orders: &watch::Receiver<Order>,
    reporter: &Reporter,
    stop: &CancellationToken,
) {
    let engine = orders.borrow().spec.engine;
    // Not the task's name: tasks between the same clusters share their connections.
    let (choice, why) = choice::choose(engine, &clients.source, &clients.destination, "copyist");
    let (context, orders) = (context.clone(), orders.clone());
    let (reporter, stop) = (reporter.clone(), stop.clone());
    match choice {
        Choice::Raw(options) => {
            tracing::debug!(task = %reporter.id(), why, "copied by the raw engine");
            raw::run(context, clients, orders, reporter, stop, *options).await;
        }
        Choice::Librdkafka => {
            tracing::info!(task = %reporter.id(), why, "copied by the librdkafka engine, at least once");
            librdkafka::run(context, (resolver, clients), orders, reporter, stop).await;
        }
        Choice::Impossible(why) => {
            reporter.status(InstanceState::Failed, why).await;
            stop.cancelled().await;
        }
    }
}
