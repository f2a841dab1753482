//! What can go wrong in the coordinator, by what the caller can do about it.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A human must act: the store is there and cannot be used; the text says why and what would help.
    #[error("{0}")]
    StoreUnreadable(String),
    /// The store did not take a commit, or could not be reached, and whether it did is unknown: the term ends.
    #[error("{what}")]
    Store {
        what: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another replica may lead by now: what this one decides is void until it leads again. The text says why.
    #[error("{0}")]
    TermOver(String),
    /// A server of the coordinator's ended.
    #[error("the gRPC server ended")]
    Serve(#[source] tonic::transport::Error),
}

/// An error with its causes, as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
