//! What ends together when the process drains.

use std::future::Future;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// Tasks that are told together to stop, and are all joined before the next phase is told.
#[derive(Default)]
pub struct Phase {
    stop: CancellationToken,
    tasks: JoinSet<Result<(), Error>>,
    /// For what the tasks need until they have ended.
    after: CancellationToken,
    tasks_after: JoinSet<()>,
}

impl Phase {
    /// Cancelled when the phase is told to stop.
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub fn spawn(&mut self, task: impl Future<Output = Result<(), Error>> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Cancelled when all other tasks have ended.
    pub fn after(&self) -> CancellationToken {
        self.after.clone()
    }

    /// A task that the others need: it is told to stop when they have ended.
    pub fn spawn_after(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks_after.spawn(task);
    }

    /// The end of one of the tasks; nothing, when there is none.
    pub async fn ended(&mut self) -> Option<Result<(), Error>> {
        self.tasks.join_next().await.map(flat)
    }

    /// Tells the tasks to stop, and joins them; the first error counts.
    pub async fn end(mut self) -> Result<(), Error> {
        self.stop.cancel();
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            result = result.and(flat(ended));
        }
        self.after.cancel();
        while let Some(ended) = self.tasks_after.join_next().await {
            result = result.and(flat(ended.map(Ok)));
        }
        result
    }
}

fn flat(ended: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
    ended.unwrap_or_else(|error| Err(Error::role("process", error)))
}
