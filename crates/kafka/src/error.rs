//! What can go wrong with a cluster, by what the caller can do about it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::code::Code;
use crate::versions::{Api, VersionRange};

/// An error of this crate. Cheap to clone: what breaks a connection ends all that waits for its answers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no connection; nothing was sent. Try later or elsewhere.
    #[error("{what} cannot be reached")]
    Unreachable {
        what: String,
        #[source]
        source: Arc<io::Error>,
    },
    /// The connection broke under a request: whether it was carried out is **unknown**.
    #[error("the connection to {broker} broke")]
    Lost {
        broker: Arc<str>,
        #[source]
        cause: Arc<BreakCause>,
    },
    /// So many requests wait to be written that this one was not taken; nothing was sent.
    #[error("{pending} requests to {broker} wait to be written")]
    Busy { broker: Arc<str>, pending: usize },
    /// The broker answered with an error code.
    #[error("{what}: {code}{}", text.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused { what: String, code: Code, text: Option<String> },
    /// An answer whose bytes make no sense.
    #[error("{what} is malformed at byte {at}: {why}")]
    Malformed { what: &'static str, at: usize, why: String },
    /// The broker has no version of an API that we speak.
    #[error("{broker} speaks {api} in versions {theirs}, needed is one of {ours}")]
    Unsupported { broker: Arc<str>, api: Api, ours: VersionRange, theirs: VersionRange },
    /// What was waited for did not happen in time.
    #[error("{what} took longer than {} ms", after.as_millis())]
    Timeout { what: String, after: Duration },
    /// The metadata does not know it (yet): refresh, wait, look again.
    #[error("{what}")]
    Unknown { what: String },
    /// The client's properties are wrong or ask for what this client cannot do; all problems in one text.
    #[error("{0}")]
    Config(String),
}

impl Error {
    /// The broker's code, when it is a broker that refused.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        if let Self::Refused { code, .. } = self { Some(*code) } else { None }
    }

    /// Whether the request may have been carried out although there is no answer.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Malformed { .. })
    }

    /// Of a connection that broke before anything was asked of it.
    pub(crate) fn before_use(self) -> Self {
        if let Self::Lost { broker, cause } = self {
            return Self::Unreachable { what: broker.to_string(), source: Arc::new(io::Error::other(cause)) };
        }
        self
    }

    pub(crate) fn refused(what: impl Into<String>, code: Code, text: Option<String>) -> Self {
        Self::Refused { what: what.into(), code, text }
    }
}

/// Why a connection broke.
#[derive(Debug, thiserror::Error)]
pub enum BreakCause {
    #[error("the broker closed it")]
    Closed,
    #[error("reading or writing failed")]
    Io(#[source] io::Error),
    #[error("no answer to {api} within {} ms", after.as_millis())]
    NoAnswer { api: Api, after: Duration },
    #[error("the broker sent what is no answer")]
    Garbage(#[source] Box<Error>),
    #[error("it was closed on our side")]
    Aborted,
}
