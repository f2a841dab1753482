//! The raw engine: record batches from one cluster to the other as they are, exactly once.
//!
//! All tasks of an agent share one thread ([`plane`]); on it each pair of clusters has a [`route`], which owns the lanes
//! between them: the machine of `copyist-lane` for each, what it has read ([`reader`]), and the connections. A task's
//! shell (here) lives on the main runtime: it passes orders on, and tells what the route says.
//!
//! Absent on purpose: any decision about sequences (`copyist-lane` has them all), the bytes of batches (`copyist-wire`),
//! frames (`copyist-kafka`).
//!
//! Start with [`reader`] and [`lane`] (no I/O), then `stepping`.

pub mod appetite;
pub mod budget;
pub mod facts;
pub mod lane;
pub mod plane;
pub mod reader;
pub mod route;
pub mod sides;
pub mod task;

mod answers;
mod births;
mod check;
mod contents;
mod fetching;
mod firsts;
mod kill;
mod meeting;
mod producing;
mod stepping;
mod telling;

use std::sync::Arc;

use copyist_kafka::ClientOptions;
use copyist_model::InstanceState;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::plane::RouteKey;
use self::route::Command;
use self::task::{TaskNumber, Told};
use super::TaskContext;
use crate::client::resolve::Clients;
use crate::job::{Order, Reporter};

pub use self::budget::Budget;
pub use self::plane::Plane;
pub use self::route::Shared;

/// Copies the lanes of one task until `stop`.
pub async fn run(
    context: TaskContext,
    clients: Clients,
    mut orders: watch::Receiver<Order>,
    reporter: Reporter,
    stop: CancellationToken,
    options: [ClientOptions; 2],
) {
    let order = orders.borrow_and_update().clone();
    let key = RouteKey { source: clients.source, destination: clients.destination };
    let (told, telling) = watch::channel(Told::default());
    match context.plane.attach(key, options, reporter.clone(), Arc::new(order), told).await {
        Some((task, route)) => {
            let shell = Shell { task, route, reporter, telling };
            shell.serve(&context, orders, stop).await;
        }
        None => {
            let why = "the data plane has ended by a defect of copyist (the log has the panic)".to_owned();
            reporter.status(InstanceState::Failed, why).await;
            stop.cancelled().await;
        }
    }
}

/// A task's side on the main runtime.
struct Shell {
    task: TaskNumber,
    route: mpsc::Sender<Command>,
    reporter: Reporter,
    telling: watch::Receiver<Told>,
}

impl Shell {
    async fn serve(
        mut self,
        context: &TaskContext,
        mut orders: watch::Receiver<Order>,
        stop: CancellationToken,
    ) {
        let task = self.task;
        let mut right = self.reporter.right();
        loop {
            let command = tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = orders.changed() => {
                    Command::Order { task, order: Arc::new(orders.borrow_and_update().clone()) }
                }
                Ok(()) = right.changed() => {
                    right.borrow_and_update();
                    Command::Right { task }
                }
                changed = self.telling.changed() => {
                    if changed.is_err() {
                        // The route is gone: the driver sees a job that ended without having been told to.
                        return;
                    }
                    self.tell().await;
                    continue;
                }
            };
            if self.route.send(command).await.is_err() {
                return;
            }
        }
        self.stop(context).await;
    }

    async fn tell(&mut self) {
        let told = self.telling.borrow_and_update().status.clone();
        if let Some((state, trace)) = told {
            self.reporter.status(state, trace).await;
        }
    }

    /// Lets the lanes drain and store their positions, within the worker's time for it.
    async fn stop(&mut self, context: &TaskContext) {
        let _ = self.route.send(Command::Stop { task: self.task }).await;
        let ended = self.telling.wait_for(|told| told.ended);
        if timeout(context.worker.stop_timeout, ended).await.is_err() {
            tracing::warn!(task = %self.reporter.id(), "not everything was acknowledged in time; what it was is found out at the next start");
            let _ = self.route.send(Command::Abandon { task: self.task }).await;
            let _ = self.telling.wait_for(|told| told.ended).await;
        }
    }
}
