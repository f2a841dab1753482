//! Signals, and the word that goes round when the process is to end.

use std::io;

use tokio::signal::unix::{self, SignalKind};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Says to everyone who holds a clone that the process drains: take nothing new, finish, return.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    pub fn begin(&self) {
        self.0.cancel();
    }

    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when the shutdown begins; at once, when it has begun.
    pub fn begun(&self) -> WaitForCancellationFutureOwned {
        self.0.clone().cancelled_owned()
    }

    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}

/// A signal that asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// Of a process that ends at once because of it: 128 and its number, as shells say it.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// The signals that reach the process from now on.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// # Errors
    /// When the system does not let the process handle them.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}
