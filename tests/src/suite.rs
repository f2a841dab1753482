//! What the tests of one binary share, started with the first use: one JVM with Kafka's clients, and two clusters. Tests
//! that share clusters use topics of their own; a test that kills one starts its own.
//!
//! Nothing of it is dropped at the end: the kernel ends the processes with ours, the next run removes the directories
//! (see [`crate::Scratch`]).

use std::sync::OnceLock;

use crate::cluster::{Cluster, ClusterOptions};
use crate::error::Result;
use crate::jars::Jars;
use crate::progress::Progress;
use crate::tool::KafkaTool;

/// Kafka's jars. Panics with the reason when they cannot be had; so do the others.
pub fn jars() -> &'static Jars {
    static JARS: OnceLock<Jars> = OnceLock::new();
    JARS.get_or_init(|| must("Kafka's jars", Jars::fetch(Progress::Silent)))
}

/// Kafka's Java clients.
pub fn tool() -> &'static KafkaTool {
    static TOOL: OnceLock<KafkaTool> = OnceLock::new();
    TOOL.get_or_init(|| must("Kafka's Java clients", KafkaTool::start(jars(), Progress::Silent)))
}

/// A source and a destination.
pub fn pair() -> &'static (Cluster, Cluster) {
    static PAIR: OnceLock<(Cluster, Cluster)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let (source, destination) = (ClusterOptions::named("source"), ClusterOptions::named("destination"));
        must("two clusters", Cluster::start_two(jars(), source, destination))
    })
}

/// A count from the environment, so that `tests/soak` may run the same test for longer. Empty is as if it was not there.
#[expect(clippy::panic, reason = "a test that is told nonsense has failed, and says why")]
pub fn count(variable: &str, default: u64) -> u64 {
    let text = std::env::var_os(variable).unwrap_or_default();
    let text = text.to_string_lossy();
    if text.is_empty() {
        return default;
    }
    text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no count"))
}

/// The value, or a panic with the error and its causes.
#[expect(clippy::panic, reason = "a test without what it needs has failed, and says why")]
pub fn must<T>(what: &str, started: Result<T>) -> T {
    started.unwrap_or_else(|error| panic!("{what}: {}", error.chain()))
}
