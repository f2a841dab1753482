//! How a task copies: by the engine [`raw`] where it can, exactly once; else by [`librdkafka`], at least once.
//! [`choice`] decides; [`trace`] has the words for the user.

pub mod choice;
pub mod librdkafka;
pub mod name;
pub mod raw;
pub mod trace;

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
        let destination = choice::destination(&context.worker, &order.spec);
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
            librdkafka::run(context, orders, reporter, stop).await;
        }
        Choice::Impossible(why) => {
            reporter.status(InstanceState::Failed, why).await;
            stop.cancelled().await;
            reporter.ended().await;
        }
    }
}
