//! The link to the coordinators: a session with the leader, again after each loss ([`hold`]), and the renewal of rights,
//! which any coordinator answers ([`renew`]).
//!
//! Where the next session is opened, and when, is decided by `seek`; `words` and `statements` translate; `session` and
//! `renewal` are the shells.

mod parting;
mod renewal;
mod seek;
mod session;
mod statements;
mod words;

use std::sync::Arc;

use copyist_model::ClusterId;
use copyist_proto::OwnLoggers;
use copyist_proto::control as wire;
use rand::RngExt;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::Code;

use crate::client::limit::Limiter;
use crate::core::{Event, Report, Saying};
use crate::queries::Asked;
use crate::worker::Worker;

pub use parting::Parting;
pub use renewal::renew;
pub use session::hold;

/// Words that wait for the coordinator; a session that falls further behind begins anew.
pub const OUTBOX: usize = 4096;

/// What the link needs to know of its agent.
#[derive(Clone)]
pub struct Identity {
    pub worker: Arc<Worker>,
    pub incarnation: String,
    /// The worker's cluster, once reached.
    pub cluster: watch::Receiver<Option<ClusterId>>,
    pub standing: watch::Receiver<Standing>,
    /// Of the agent's process.
    pub loggers: OwnLoggers,
}

/// What a new session is told of the past.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Under which store the agent worked last; empty before its first session.
    pub store_id: String,
    /// The state of everything that runs.
    pub reports: Vec<Report>,
}

/// What leads from the agent to its session and back.
pub struct Ends {
    /// What the agent says.
    pub outbox: mpsc::Receiver<Saying>,
    /// It wants a new session.
    pub rejoin: mpsc::Receiver<()>,
    /// What the leader says.
    pub events: mpsc::Sender<Event>,
    /// What it asks.
    pub queries: mpsc::Sender<Asked>,
    /// What it is answered.
    pub answers: mpsc::Receiver<wire::Answer>,
    pub parting: Parting,
    /// The mark of the scribe's records while this agent is the scribe.
    pub duty: watch::Sender<Duty>,
}

/// What the fleet's scribe marks its records with; nothing: this agent is not the scribe.
pub type Duty = Option<Arc<str>>;

/// Says a word to the leader. When too many wait already, a new session says everything again.
pub fn say(outbox: &mpsc::Sender<Saying>, rejoin: &mpsc::Sender<()>, saying: Saying) {
    if outbox.try_send(saying).is_err() {
        // One that is asked for already does for both.
        let _ = rejoin.try_send(());
    }
}

/// Lines that are told at most once in 30 s each.
struct Lines {
    began: Instant,
    limiter: Limiter,
}

impl Lines {
    fn new() -> Self {
        Self { began: Instant::now(), limiter: Limiter::default() }
    }

    /// How many were left out since the last one; `None` for one that is left out.
    fn admit(&mut self, kind: &str) -> Option<u64> {
        self.limiter.admit(self.began.elapsed(), kind)
    }
}

/// Whether a coordinator that answers so will not answer otherwise before somebody has changed something.
fn wants_a_human(code: Code) -> bool {
    match code {
        Code::InvalidArgument
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Unauthenticated => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => false,
    }
}

#[expect(clippy::disallowed_methods, reason = "the link draws the randomness of its waits")]
fn jitter() -> f64 {
    rand::rng().random()
}

/// Where to begin, so that not all agents begin with the same coordinator.
#[expect(clippy::disallowed_methods, reason = "the link draws where it begins")]
fn any_of(places: usize) -> usize {
    rand::rng().random_range(0..places.max(1))
}

#[cfg(test)]
mod tests;
