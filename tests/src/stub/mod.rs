//! A stub of one Kafka broker, for what a real one cannot do: serve endless topics from memory faster than any copier
//! reads, check and drop what it is sent, and give every answer that a broker may give, on demand.
//!
//! Topics are of three kinds ([`Kind`]): *endless* ones hold pre-built batches whose base offset and leader epoch are
//! patched while they are sent; *kept* ones hold what was produced; *dropped* ones only check it and count it. Every
//! batch is judged as a broker does ([`producers`]); what no honest client sends is counted ([`Counts`]).
//!
//! What it is not: a cluster (one node leads everything), a group coordinator, a transaction coordinator, a log on
//! disk, a log that is compacted. It serves with one blocking thread for each connection and answers the requests of a
//! connection in order, as brokers do.
//!
//! In a test: [`Stub::start`], then [`Stub::command`] with the words of [`control`]. As a process of its own:
//! `stub-broker`, which takes the same commands on a port.

mod answers;
mod api;
mod batch;
mod body;
mod broker;
mod connection;
mod control;
mod counts;
mod data;
mod fetch;
mod injection;
mod produce;
mod producers;
mod reply;
mod sessions;
mod shape;
mod topics;

#[cfg(test)]
mod tests;

pub use api::Api;
pub use batch::{Codec, Header};
pub use broker::{Limits, Options, Stub};
pub use counts::{Counts, Snapshot};
pub use injection::{Action, Injection};
pub use shape::Shape;
pub use topics::{Kind, TopicSpec};

/// Kafka's error codes that the stub gives by itself.
pub(crate) mod code {
    pub const NONE: i16 = 0;
    pub const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub const CORRUPT_MESSAGE: i16 = 2;
    pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub const MESSAGE_TOO_LARGE: i16 = 10;
    pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    pub const TOPIC_ALREADY_EXISTS: i16 = 36;
    pub const INVALID_PARTITIONS: i16 = 37;
    pub const POLICY_VIOLATION: i16 = 44;
    pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
    pub const INVALID_PRODUCER_EPOCH: i16 = 47;
    pub const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
    pub const UNKNOWN_PRODUCER_ID: i16 = 59;
    pub const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
    pub const INVALID_FETCH_SESSION_EPOCH: i16 = 71;
    pub const FENCED_LEADER_EPOCH: i16 = 74;
    pub const UNKNOWN_LEADER_EPOCH: i16 = 76;
    pub const INVALID_RECORD: i16 = 87;
    pub const UNKNOWN_TOPIC_ID: i16 = 100;
}
