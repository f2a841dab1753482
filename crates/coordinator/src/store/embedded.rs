//! The embedded store: a file for one process, which always leads. Leases live in the process.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::StoreFile;
use super::leases::Leases;
use super::{Outcome, Store};
use crate::clock;
use crate::core::{Commit, Holder, View};
use crate::error::Error;

/// How late the end of a lease may be noticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A store file, and the leases of the term.
#[derive(Debug)]
pub struct Embedded {
    path: PathBuf,
    lease_ttl: Duration,
    /// Nothing once a term has ended: the file must be closed before it can be opened again.
    file: Option<StoreFile>,
    leases: Leases,
    ended: VecDeque<Holder>,
    /// What the file held when it was opened, until the term that follows.
    opened: Option<View>,
}

impl Embedded {
    /// Opens the file or makes it.
    ///
    /// # Errors
    /// [`Error::StoreUnreadable`] when a human must look at the file; [`Error::Store`] when the disk fails.
    pub fn open(path: &Path, lease_ttl: Duration) -> Result<Self, Error> {
        let (file, view) = StoreFile::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            lease_ttl,
            file: Some(file),
            leases: Leases::new(clock::millis(lease_ttl)),
            ended: VecDeque::new(),
            opened: Some(view),
        })
    }

    fn load(&mut self) -> Result<View, Error> {
        if let Some(view) = self.opened.take() {
            return Ok(view);
        }
        self.file = None;
        let (file, view) = StoreFile::open(&self.path)?;
        self.file = Some(file);
        self.leases = Leases::new(clock::millis(self.lease_ttl));
        self.ended.clear();
        Ok(view)
    }

    fn next_ended(&mut self) -> Option<Holder> {
        self.ended.extend(self.leases.expire(clock::boot_ms()));
        self.ended.pop_front()
    }
}

impl Store for Embedded {
    async fn lead(&mut self) -> Result<View, Error> {
        tokio::task::block_in_place(|| self.load())
    }

    fn leads(&self) -> bool {
        true
    }

    /// A commit is a few milliseconds of disk, and nothing may be decided meanwhile.
    async fn commit(&mut self, commit: &Commit, incarnation: u64) -> Result<Outcome, Error> {
        let Some(file) = &self.file else {
            return Err(Error::TermOver("the store's file is closed".to_owned()));
        };
        tokio::task::block_in_place(|| file.commit(commit, incarnation))
    }

    async fn grant(&mut self, holder: &Holder, _former: Option<&Holder>) -> Result<(), Error> {
        self.leases.grant(holder.clone(), clock::boot_ms());
        Ok(())
    }

    async fn keep_alive(&mut self, holder: &Holder) -> Result<bool, Error> {
        Ok(self.leases.renew(holder, clock::boot_ms()))
    }

    async fn revoke(&mut self, holder: &Holder) -> bool {
        self.leases.revoke(holder);
        true
    }

    async fn lease_ended(&mut self) -> Result<Holder, Error> {
        loop {
            if let Some(holder) = self.next_ended() {
                return Ok(holder);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn resign(&mut self) {}
}
