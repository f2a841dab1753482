//! What a row of the table says about a worker key.

pub use copyist_connector::key::Default;

use super::kind::Kind;
use super::role::Role;

/// A key of the worker file.
#[derive(Debug, Clone, Copy)]
pub struct WorkerKey {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    pub effect: Effect,
    /// Who reads it; for others it may be in the file, and means nothing.
    pub roles: &'static [Role],
    /// One sentence for the reader of a reference page.
    pub documentation: &'static str,
}

/// How much a user should notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something does not happen that the file seems to count on.
    Warning,
    /// Good to know.
    Info,
}

/// What a key that the user wrote changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Honoured,
    Without(Without),
}

/// A key without effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Without {
    pub level: Level,
    /// Values that ask for what happens anyway, in any case: nothing is said about them.
    pub harmless: &'static [&'static str],
    pub reason: &'static str,
}

/// All keys that begin alike.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    pub prefix: &'static str,
    pub members: Members,
    /// As [`WorkerKey::roles`].
    pub roles: &'static [Role],
}

/// What may follow a family's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// Kafka client keys, for these clients.
    Clients(Clients),
    /// What describes a config provider.
    Providers,
    /// Anything.
    Ignored(Without),
}

/// The clients that a client key of the worker file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Without a prefix: all clients of the worker's cluster.
    All,
    Producers,
    Consumers,
    Admins,
}

impl Without {
    /// Whether writing `value` changes nothing although the user may expect it to.
    #[must_use]
    pub fn ignores(self, value: &str) -> bool {
        !self.harmless.iter().any(|known| known.eq_ignore_ascii_case(value.trim()))
    }
}
