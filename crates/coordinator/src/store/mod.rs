//! Where the coordinator remembers: keys and values as `copyist.store.v1` describes them, in an embedded file or in
//! etcd. Of several replicas by one store, one leads.

pub mod embedded;
pub mod etcd;
mod file;
pub mod keys;
mod leases;

use copyist_model::StoreRevision;

use crate::core::{Commit, Holder, View};
use crate::error::Error;

/// How a commit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Committed(StoreRevision),
    /// A compared key was not as expected; nothing was written. Who has no lease, of the processes that were to be alive
    /// or to get a key.
    Refused {
        gone: Vec<Holder>,
    },
}

/// What a coordinator needs of its store.
pub trait Store: Send + 'static {
    /// Waits until this replica leads, then loads all that the store holds. Called again after a term has ended, whatever
    /// ended it. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::StoreUnreadable`] when a human must look at what the store holds; [`Error::Store`] when it cannot be
    /// reached or read; [`Error::TermOver`] when the term ended at once.
    fn lead(&mut self) -> impl Future<Output = Result<View, Error>> + Send;

    /// Whether the term stands, as far as can be known without asking: looked at before anything is told.
    fn leads(&self) -> bool;

    /// Stores a commit's writes together, or none of them.
    ///
    /// # Errors
    /// The term ends with any: [`Error::TermOver`] when nothing was stored, [`Error::Store`] when that is not known.
    fn commit(
        &mut self,
        commit: &Commit,
        incarnation: u64,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send;

    /// Gives a process its lease; that of `former`, an earlier process of the same agent, ends.
    ///
    /// # Errors
    /// [`Error::Store`]: the process has no lease, or is not known to have one.
    fn grant(
        &mut self,
        holder: &Holder,
        former: Option<&Holder>,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Extends the lease of a process; false when it has none any more.
    ///
    /// # Errors
    /// [`Error::Store`]: whether it was extended is not known.
    fn keep_alive(&mut self, holder: &Holder) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Ends the lease of a process that has left; says whether it has none any more. Where that is not known, the lease
    /// ends by itself.
    fn revoke(&mut self, holder: &Holder) -> impl Future<Output = bool> + Send;

    /// Waits until the lease of a process ends. Cancel-safe.
    ///
    /// # Errors
    /// The term ends: nobody would be told any more.
    fn lease_ended(&mut self) -> impl Future<Output = Result<Holder, Error>> + Send;

    /// Ends the term, so that another replica may lead at once.
    fn resign(&mut self) -> impl Future<Output = ()> + Send;
}
