//! What a librdkafka client says: log lines go to `tracing`, errors and statistics to who asked for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::Statistics;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::limit::Limiter;

/// What a client tells its owner.
#[derive(Debug)]
pub enum Said {
    /// Something is wrong; librdkafka goes on by itself, except after [`RDKafkaErrorCode::Fatal`].
    Error { code: Option<RDKafkaErrorCode>, reason: String },
    /// Every `statistics.interval.ms`.
    Statistics(Box<Statistics>),
}

/// The context of a client that only logs, or also tells its owner.
pub struct Voice {
    /// Whose client: shown with each line.
    name: String,
    since: Instant,
    limiter: Mutex<Limiter>,
    /// Events served so far.
    heard: AtomicU64,
    owner: Option<mpsc::Sender<Said>>,
}

impl Voice {
    /// Log lines alone.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let (limiter, heard) = (Mutex::default(), AtomicU64::new(0));
        Self { name: name.into(), since: Instant::now(), limiter, heard, owner: None }
    }

    /// Errors and statistics go to `owner` as well; when its queue is full they are dropped: newer ones follow.
    #[must_use]
    pub fn told_to(name: impl Into<String>, owner: mpsc::Sender<Said>) -> Self {
        Self { owner: Some(owner), ..Self::new(name) }
    }

    /// Counts the events served: a poll that raised it may have left others behind.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    fn tell(&self, said: Said) {
        if let Some(owner) = &self.owner {
            let _ = owner.try_send(said);
        }
    }

    fn admit(&self, facility: &str) -> Option<u64> {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.admit(self.since.elapsed(), facility)
    }
}

impl ClientContext for Voice {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        let client = self.name.as_str();
        let level = match facility {
            // Its advice on configurations is about what is set on purpose; what users write is checked elsewhere.
            // Of a fatal error its owner is told, who makes a new client.
            "CONFWARN" | "FATAL" => RDKafkaLogLevel::Info,
            _ => level,
        };
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                if let Some(left_out) = self.admit(facility) {
                    tracing::error!(target: "librdkafka", client, facility, left_out, "{line}");
                }
            }
            RDKafkaLogLevel::Warning => {
                if let Some(left_out) = self.admit(facility) {
                    tracing::warn!(target: "librdkafka", client, facility, left_out, "{line}");
                }
            }
            RDKafkaLogLevel::Notice => {
                if let Some(left_out) = self.admit(facility) {
                    tracing::info!(target: "librdkafka", client, facility, left_out, "{line}");
                }
            }
            RDKafkaLogLevel::Info => tracing::debug!(target: "librdkafka", client, facility, "{line}"),
            RDKafkaLogLevel::Debug => tracing::trace!(target: "librdkafka", client, facility, "{line}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        self.tell(Said::Statistics(Box::new(statistics)));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        tracing::debug!(target: "librdkafka", client = self.name.as_str(), %error, "{reason}");
        self.tell(Said::Error { code, reason: reason.to_owned() });
    }
}

impl ConsumerContext for Voice {}
