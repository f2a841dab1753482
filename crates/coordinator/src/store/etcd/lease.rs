//! Leases: granting, keeping alive, ending; and the leader's own, which a task keeps alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::LeaseGrantOptions;
use tokio_util::task::AbortOnDropHandle;

use super::link::{ASK_LIMIT, Clients, Link};
use super::trouble::{Kind, Trouble};
use crate::clock::{Backoff, boot_ms};

/// How long an end of a lease may take that is only a courtesy.
const COURTESY_LIMIT: Duration = Duration::from_secs(1);

/// Extends a lease; false: there is none.
pub(super) async fn keep_alive(link: &Link, lease: i64) -> Result<bool, Trouble> {
    let question = |mut clients: Clients| async move { clients.lease.keep_alive(lease).await };
    told(link.ask_again(ASK_LIMIT, question).await.map(drop))
}

/// As above, asked once within `limit`.
async fn keep_alive_within(link: &Link, lease: i64, limit: Duration) -> Result<bool, Trouble> {
    let question = |mut clients: Clients| async move { clients.lease.keep_alive(lease).await };
    told(link.ask(limit, question).await.map(drop))
}

fn told(answer: Result<(), Trouble>) -> Result<bool, Trouble> {
    match answer {
        Ok(()) => Ok(true),
        Err(trouble) if trouble.kind == Kind::NoLease => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

/// Makes a lease of this id, or keeps it alive; says how many seconds it lasts, where that was said.
pub(super) async fn grant(link: &Link, lease: i64, seconds: i64) -> Result<Option<i64>, Trouble> {
    match grant_new(link, lease, seconds).await {
        Err(trouble) if trouble.kind == Kind::LeaseExists => {}
        granted => return granted.map(|(_, seconds)| Some(seconds)),
    }
    if keep_alive(link, lease).await? {
        return Ok(None);
    }
    // It ended between the two questions.
    grant_new(link, lease, seconds).await.map(|(_, seconds)| Some(seconds))
}

/// Makes a lease; id 0: etcd chooses. Says its id, and how many seconds it lasts.
pub(super) async fn grant_new(link: &Link, lease: i64, seconds: i64) -> Result<(i64, i64), Trouble> {
    let question = |mut clients: Clients| async move {
        clients.lease.grant(seconds, Some(LeaseGrantOptions::new().with_id(lease))).await
    };
    let granted = link.ask_again(ASK_LIMIT, question).await?;
    Ok((granted.id(), granted.ttl()))
}

/// Ends a lease and removes its keys; says whether it is over. Where that fails it ends by itself, later.
pub(super) async fn revoke(link: &Link, lease: i64) -> bool {
    let question = |mut clients: Clients| async move { clients.lease.revoke(lease).await };
    match tokio::time::timeout(COURTESY_LIMIT, link.ask(COURTESY_LIMIT, question)).await {
        Ok(Ok(_)) => true,
        Ok(Err(trouble)) if trouble.kind == Kind::NoLease => true,
        Ok(Err(trouble)) => {
            tracing::debug!("a lease could not be ended: {trouble}");
            false
        }
        Err(_) => false,
    }
}

/// Whether there is such a lease.
pub(super) async fn is_there(link: &Link, lease: i64) -> Result<bool, Trouble> {
    let question = |mut clients: Clients| async move { clients.lease.time_to_live(lease, None).await };
    Ok(link.ask_again(ASK_LIMIT, question).await?.ttl() > 0)
}

/// A lease of this process that a task keeps alive until this is dropped.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) lease: i64,
    /// Until then it is held for certain, on CLOCK_BOOTTIME; counted from before the question.
    until_ms: Arc<AtomicU64>,
    _keeping: AbortOnDropHandle<()>,
}

impl Kept {
    /// Makes a lease; says how many seconds it lasts.
    pub(super) async fn new(link: &Link, seconds: i64) -> Result<(Self, i64), Trouble> {
        let asked_ms = boot_ms();
        let (lease, seconds) = grant_new(link, 0, seconds).await?;
        let lasts = Duration::from_secs(seconds.unsigned_abs());
        let until_ms = Arc::new(AtomicU64::new(until(asked_ms, lasts)));
        let keeping = keep(link.clone(), lease, lasts, Arc::clone(&until_ms));
        let keeping = AbortOnDropHandle::new(tokio::spawn(keeping));
        Ok((Self { lease, until_ms, _keeping: keeping }, seconds))
    }

    pub(super) fn is_held(&self) -> bool {
        boot_ms() < self.until_ms.load(Ordering::Acquire)
    }
}

fn until(asked_ms: u64, lasts: Duration) -> u64 {
    asked_ms.saturating_add(crate::clock::millis(lasts))
}

/// Keeps a lease alive until it is over.
async fn keep(link: Link, lease: i64, lasts: Duration, until_ms: Arc<AtomicU64>) {
    let interval = lasts / 3;
    let mut backoff = Backoff::new(Duration::from_millis(25), interval / 4);
    tokio::time::sleep(interval).await;
    loop {
        let asked_ms = boot_ms();
        // What is over is not revived: whoever looked in between has seen the end.
        if asked_ms >= until_ms.load(Ordering::Acquire) {
            return;
        }
        match keep_alive_within(&link, lease, interval).await {
            Ok(true) => {
                until_ms.store(until(asked_ms, lasts), Ordering::Release);
                backoff.reset();
                tokio::time::sleep(interval).await;
            }
            Ok(false) => {
                until_ms.store(0, Ordering::Release);
                return;
            }
            Err(trouble) => {
                tracing::debug!("the leader's lease could not be kept alive: {trouble}");
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}
