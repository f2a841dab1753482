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
}

impl Phase {
    /// Cancelled when the phase is told to stop.
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    pub fn spawn(&mut self, task: impl Future<Output = Result<(), Error>> + Send + 'static) {
        self.tasks.spawn(task);
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
        result
    }
}

fn flat(ended: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
    ended.unwrap_or_else(|error| Err(Error::role("process", error)))
}
