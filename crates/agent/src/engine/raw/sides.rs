//! The two clusters of a route: reached, watched, asked again when something changed.

use std::sync::Arc;
use std::time::Duration;

use copyist_kafka::{ClientOptions, Cluster, Error, Metadata, PartitionKey};
use copyist_model::TopicName;

use crate::client::limit::Limiter;
use crate::error::chain;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Source,
    Destination,
}

impl End {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

/// What a route knows of one cluster.
#[derive(Debug)]
pub struct Side {
    pub end: End,
    pub options: ClientOptions,
    pub cluster: Option<Cluster>,
    /// A question about how it is now is out; another is wanted after it.
    pub refreshing: bool,
    pub refresh_again: bool,
    /// What was wrong when it was last asked.
    pub trouble: Option<String>,
    pub down_since: Option<Duration>,
    limiter: Limiter,
}

impl Side {
    #[must_use]
    pub fn new(end: End, options: ClientOptions) -> Self {
        Self {
            end,
            options,
            cluster: None,
            refreshing: false,
            refresh_again: false,
            trouble: None,
            down_since: None,
            limiter: Limiter::default(),
        }
    }

    #[must_use]
    pub fn view(&self) -> Arc<Metadata> {
        self.cluster.as_ref().map(Cluster::view).unwrap_or_default()
    }

    /// What an exchange came to. A repeated failure is a line in the log now and then.
    pub fn hear(&mut self, error: Option<&Error>, now: Duration) {
        let Some(error) = error else {
            (self.trouble, self.down_since) = (None, None);
            return;
        };
        let remedy = match error {
            Error::Unsupported { .. } => "; brokers of that version are copied with engine=librdkafka",
            Error::Unreachable { .. }
            | Error::Lost { .. }
            | Error::Busy { .. }
            | Error::Refused { .. }
            | Error::Malformed { .. }
            | Error::Timeout { .. }
            | Error::Unknown { .. }
            | Error::Config(_) => "",
        };
        let error = chain(error) + remedy;
        if let Some(left_out) = self.limiter.admit(now, "exchange") {
            tracing::warn!(cluster = self.end.name(), error, left_out, "an exchange failed");
        }
        self.trouble = Some(error);
        self.down_since.get_or_insert(now);
    }

    /// A partition as the cluster has it now; `Err` says what is waited for.
    ///
    /// # Errors
    /// The cluster is not reached, or has no such partition.
    pub fn partition(&self, topic: &TopicName, partition: i32) -> Result<PartitionKey, String> {
        let Some(cluster) = &self.cluster else { return Err(self.describe()) };
        let view = cluster.view();
        let found = view.topic(topic).filter(|found| found.partitions.contains_key(&partition));
        let key = found.map(|found| PartitionKey { topic: found.topic.clone(), partition });
        // The survey makes the destination's.
        let yet = match self.end {
            End::Source => "",
            End::Destination => " yet",
        };
        key.ok_or_else(|| format!("the {} has no partition {topic}-{partition}{yet}", self.end.name()))
    }

    /// As traces call it.
    #[must_use]
    pub fn describe(&self) -> String {
        let servers: Vec<String> = self.options.bootstrap.iter().map(ToString::to_string).collect();
        let trouble = self.trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
        format!("the {} cluster at {}{trouble}", self.end.name(), servers.join(","))
    }
}

#[cfg(test)]
mod tests {
    use copyist_kafka::versions::{Api, VersionRange};

    use super::*;

    #[test]
    fn brokers_that_are_too_old_are_told_with_the_engine_that_copies_them() {
        let mut side = Side::new(End::Source, ClientOptions::new(Vec::new()));
        let [ours, theirs] = [(7, 13), (0, 2)].map(|(min, max)| VersionRange { min, max });
        side.hear(
            Some(&Error::Unsupported { broker: "b:1".into(), api: Api::Metadata, ours, theirs }),
            Duration::ZERO,
        );
        assert!(
            side.describe().ends_with(
                "needed is one of 7..13; brokers of that version are copied with engine=librdkafka"
            )
        );
        side.hear(Some(&Error::Unknown { what: "x".to_owned() }), Duration::ZERO);
        assert!(side.describe().ends_with(": x"), "{}", side.describe());
    }
}
