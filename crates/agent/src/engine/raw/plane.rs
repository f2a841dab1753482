//! The data plane: one thread with a small runtime of its own, so that copying and the rest do not wait for each other.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use copyist_kafka::ClientOptions;
use copyist_model::ClientProperties;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::route::{Command, Route, Shared};
use super::task::{TaskNumber, Told};
use crate::job::{Order, Reporter};

/// Commands that wait for a route.
const MAILBOX: usize = 1024;

/// From where to where: tasks with the same clients share one route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteKey {
    pub source: ClientProperties,
    pub destination: ClientProperties,
}

/// A task that wants a route.
#[derive(Debug)]
pub struct Wanted {
    pub key: RouteKey,
    pub options: [ClientOptions; 2],
    pub reporter: Reporter,
    pub order: Arc<Order>,
    pub told: watch::Sender<Told>,
    /// Gets the task's number and the way to its route.
    pub attached: tokio::sync::oneshot::Sender<(TaskNumber, mpsc::Sender<Command>)>,
}

/// A handle to the thread. Cheap to clone; the thread ends when the last one is gone and its routes are.
#[derive(Debug, Clone)]
pub struct Plane {
    wanted: mpsc::Sender<Wanted>,
}

impl Plane {
    /// Starts the thread. The caller joins it, once every handle is gone.
    ///
    /// # Errors
    /// The system gives no thread, or no event queue.
    pub fn start(shared: Shared) -> io::Result<(Self, JoinHandle<()>)> {
        let (wanted, inbox) = mpsc::channel(MAILBOX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name("copy".to_owned())
            .spawn(move || runtime.block_on(serve(shared, inbox)))?;
        Ok((Self { wanted }, thread))
    }

    /// Gives a task its route. `None`: the thread has ended.
    pub async fn attach(
        &self,
        key: RouteKey,
        options: [ClientOptions; 2],
        reporter: Reporter,
        order: Arc<Order>,
        told: watch::Sender<Told>,
    ) -> Option<(TaskNumber, mpsc::Sender<Command>)> {
        let (attached, route) = tokio::sync::oneshot::channel();
        let wanted = Wanted { key, options, reporter, order, told, attached };
        self.wanted.send(wanted).await.ok()?;
        route.await.ok()
    }
}

async fn serve(shared: Shared, mut inbox: mpsc::Receiver<Wanted>) {
    let mut routes: BTreeMap<RouteKey, mpsc::WeakSender<Command>> = BTreeMap::new();
    let mut running = JoinSet::new();
    let mut number = 0;
    loop {
        let wanted = tokio::select! {
            wanted = inbox.recv() => wanted,
            Some(ended) = running.join_next() => {
                if ended.is_err() {
                    tracing::error!("a route panicked; its tasks end");
                }
                routes.retain(|_, route| route.strong_count() > 0);
                continue;
            }
        };
        let Some(wanted) = wanted else { break };
        let Wanted { key, options: [source, destination], reporter, order, told, attached } = wanted;
        let commands = match routes.get(&key).and_then(mpsc::WeakSender::upgrade) {
            Some(commands) if !commands.is_closed() => commands,
            Some(_) | None => {
                let (commands, mailbox) = mpsc::channel(MAILBOX);
                running.spawn(Route::new(shared.clone(), source, destination).run(mailbox));
                routes.insert(key, commands.downgrade());
                commands
            }
        };
        number += 1;
        let task = TaskNumber(number);
        let attach = Command::Attach { task, reporter: Box::new(reporter), order, told };
        if commands.send(attach).await.is_ok() {
            // Who asked may have gone: then the route sees nobody, and ends.
            let _ = attached.send((task, commands));
        }
    }
    while running.join_next().await.is_some() {}
}
