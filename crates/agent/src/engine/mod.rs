//! How a task copies: the raw engine ([`raw`]) where it can, else the compatibility engine; [`choice`] decides.
//!
//! The compatibility engine is a plain librdkafka consumer → idempotent producer, at least once.
//! A task has one of each, for all its lanes. A record goes from its lane's own queue straight to the producer,
//! to the same partition number; its acknowledgement moves the lane's position, which is stored every second.
//! Whatever breaks the producer ends the *session* (both clients); the next one reads again from the positions.
//!
//! Absent on purpose: creating topics (the survey does), and any memory besides the positions.
//!
//! Pure, and worth reading first: [`lane`] (one lane), [`start`], [`refusal`] (what an error means), [`status`]
//! (what the user is told). Shells: `task` (what a task knows), `serve` (its loop), `session` (the clients), `prepare`
//! (lanes made ready), `copy` (records).

pub mod choice;
pub mod lane;
pub mod raw;
pub mod refusal;
pub mod settings;
pub mod start;
pub mod statistics;
pub mod status;
pub mod trace;

mod copy;
mod lanes;
mod prepare;
mod serve;
mod session;
mod task;

use std::sync::Arc;

use copyist_model::InstanceState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

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

/// Copies the lanes of one task until `stop`, and reports that it ended.
pub async fn run(
    context: TaskContext,
    orders: watch::Receiver<Order>,
    reporter: Reporter,
    stop: CancellationToken,
) {
    let (choice, why) = {
        let order = orders.borrow();
        let destination = settings::destination(&context.worker, &order.spec);
        // Not the task's name: tasks between the same clusters share their connections.
        choice::choose(order.spec.engine, &order.spec.source, &destination, "copyist")
    };
    match choice {
        Choice::Raw(options) => {
            tracing::debug!(task = %reporter.id(), why, "copied by the raw engine");
            raw::run(context, orders, reporter, stop, *options).await;
        }
        Choice::Librdkafka => {
            tracing::info!(task = %reporter.id(), why, "copied by the librdkafka engine, at least once");
            task::run(context, orders, reporter, stop).await;
        }
        Choice::Impossible(why) => {
            reporter.status(InstanceState::Failed, why).await;
            stop.cancelled().await;
            reporter.ended().await;
        }
    }
}
