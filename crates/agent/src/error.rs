//! What can go wrong in an agent, by what the caller can do about it.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Try again later: a cluster or the coordinator is not there, or not yet.
    #[error("{what}")]
    Retry {
        what: String,
        #[source]
        source: Option<rdkafka::error::KafkaError>,
    },
    /// A human is needed: the text says for what, and what would be right.
    #[error("{0}")]
    Stuck(String),
}

/// An error with its causes, as one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let told = cause.to_string();
        // Some errors tell their cause themselves.
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        source = cause.source();
    }
    text
}
