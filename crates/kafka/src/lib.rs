//! Copyist's Kafka client, for brokers 2.4 … 4.3: record batches travel through it as bytes.
//!
//! Frames, fetch sessions and the choice of versions are plain functions and values without I/O ([`frame`],
//! [`versions`], [`fetch`], [`produce`], [`metadata`]); thin shells around them own sockets and clocks
//! ([`Connection`], [`Cluster`], [`Fetcher`], [`Producer`]). Produce requests and Fetch answers, which carry the
//! payload, are framed and walked by hand and never copied. Small requests are written by `kafka-protocol`; their
//! answers are read by hand too, as that crate reserves whatever a length field says.
//!
//! Absent on purpose: consumer groups, transactions, record codecs (they are in `copyist-wire`), retries of what may
//! have been carried out (who asks decides, as in `fence.md`'s table), and any knowledge of lanes. TLS and SASL belong
//! between [`transport`] and [`Connection`].
//!
//! Start with [`topic`] (the words), then [`fetch`] and [`produce`] (what goes over the wire), then [`connection`].

pub mod admin;
pub mod backoff;
pub mod cluster;
pub mod code;
pub mod connection;
pub mod error;
pub mod fetch;
pub mod fetcher;
pub mod frame;
pub mod metadata;
pub mod options;
pub mod partitioner;
pub mod pool;
pub mod primitive;
pub mod produce;
pub mod producer;
pub mod questions;
pub mod topic;
pub mod transport;
pub mod versions;

pub use backoff::Backoff;
pub use cluster::Cluster;
pub use code::Code;
pub use connection::Connection;
pub use error::{BreakCause, Error};
pub use fetch::{FetchAnswer, FetchLimits, FetchSession, FetchedPartition, Isolation, Wanted};
pub use fetcher::{FetchInFlight, Fetcher};
pub use metadata::Metadata;
pub use options::{ClientOptions, ConnectionOptions};
pub use partitioner::partition_of;
pub use produce::{OutgoingBatch, ProduceAnswer, ProduceFrame, ProducedPartition};
pub use producer::Producer;
pub use topic::{BrokerId, Endpoint, Leader, PartitionKey, Topic};
pub use versions::{Api, Versions};
