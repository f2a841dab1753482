//! What can go wrong in the coordinator, by what the caller can do about it.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A human must act: the store is there and cannot be used; the text says why and what would help.
    #[error("{0}")]
    StoreUnreadable(String),
    /// The store did not take a commit, or could not be reached: it is opened again.
    #[error("{what}")]
    Store {
        what: String,
        #[source]
        source: redb::Error,
    },
    /// A server of the coordinator's ended.
    #[error("the gRPC server ended")]
    Serve(#[source] tonic::transport::Error),
}
