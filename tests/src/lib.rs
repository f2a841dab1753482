//! Starts what the end-to-end tests and `deploy/quickstart` need, for real: Kafka clusters (4.3.1, or any version from 0.10.2 on), Kafka's own Java
//! clients, and the `copyist` binary, each as a child process with a log file, free ports, and a certain end.
//!
//! Absent on purpose: mocks, containers, async (its users are plain `#[test]` functions and one small binary), and
//! anything that knows how Copyist works inside: it is driven from outside only, over REST and its files.
//!
//! Start reading at [`Cluster`], then [`KafkaTool`] (what Kafka's Java clients see) and [`Copyist`]. A test usually
//! begins with [`suite::tool`] and [`suite::pair`]. What all processes share is in [`process`]: none outlives us,
//! even after `kill -9`, unless its [`Lifetime`] says so.

mod cache;
mod certificates;
mod cluster;
mod cluster_files;
mod connect;
mod copyist;
mod cut;
pub mod equality;
mod error;
mod etcd;
pub mod exact;
mod fleet;
pub mod grpc;
mod jars;
mod java;
pub mod parts;
mod ports;
mod probe;
pub mod process;
mod progress;
pub mod proxy;
mod record;
mod relay;
mod rest;
pub mod scenario;
mod scratch;
mod spawner;
pub mod stub;
pub mod subject;
pub mod suite;
mod tool;
mod version;
mod wait;
mod wire;
mod zookeeper;

pub use cache::cache_dir;
pub use certificates::Certificates;
pub use cluster::{Cluster, ClusterOptions, ScramUser};
pub use connect::ConnectWorker;
pub use copyist::{Copyist, CopyistOptions, copyist_binary};
pub use cut::Cut;
pub use error::{Error, LogTail, Result};
pub use etcd::{Etcd, EtcdOptions};
pub use fleet::{Fleet, FleetOptions, Member};
pub use jars::Jars;
pub use ports::free_port;
pub use process::{Lifetime, Process, Spec};
pub use progress::Progress;
pub use record::{Rec, Step, TimestampType};
pub use rest::Rest;
pub use scenario::Scenario;
pub use scratch::Scratch;
pub use spawner::{interrupt, interrupted};
pub use subject::Subject;
pub use tool::{Comparison, Difference, Kafka, KafkaTool, Partition, Side, Topic};
pub use version::{KAFKA_VERSION, KafkaVersion};
pub use wait::{Deadline, wait_until};
