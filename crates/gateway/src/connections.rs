//! The open connections: so many at most. When there is no room for another one, those that have waited longest for their
//! next request are closed: idle ones, and those that send a request as slowly as they can, hinder nobody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

/// A request is being answered.
const BUSY: u64 = 0;
/// Its answer is being written.
const ANSWERED: u64 = 1;
/// It is closed for another one.
const CLOSED: u64 = u64::MAX;
/// From here on: it waits for a request, and the number says since when.
const WAITING: u64 = 2;

/// So many times room is made until all that wait have made some.
const ROOMS: usize = 16;

/// What a connection is doing.
#[derive(Debug)]
pub struct Activity {
    state: AtomicU64,
    /// Counts all connections' beginnings to wait.
    clock: Arc<AtomicU64>,
}

impl Activity {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// A request has arrived; says whether it is to be answered: the connection may have been closed just now.
    pub fn begun(&self) -> bool {
        let open = |state| (state != CLOSED).then_some(BUSY);
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, open).is_ok()
    }

    /// Its request has a body, which is still to come: that may take as long as its sender likes.
    pub fn awaits_body(&self) {
        let now = self.now();
        let _ = self.state.compare_exchange(BUSY, now, Ordering::AcqRel, Ordering::Acquire);
    }

    /// There is an answer to be written.
    pub fn answered(&self) {
        let _ = self.state.compare_exchange(BUSY, ANSWERED, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Everything is written.
    pub fn flushed(&self) {
        if self.state.load(Ordering::Acquire) == ANSWERED {
            let now = self.now();
            let _ = self.state.compare_exchange(ANSWERED, now, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Since when it waits for a request; nothing while it has one.
    fn waits_since(&self) -> Option<u64> {
        let state = self.state.load(Ordering::Acquire);
        (WAITING..CLOSED).contains(&state).then_some(state)
    }

    fn close(&self, since: u64) -> bool {
        self.state.compare_exchange(since, CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The open connections of a listener.
pub struct Connections {
    most: usize,
    tasks: JoinSet<()>,
    open: BTreeMap<Id, (Arc<Activity>, AbortHandle)>,
    clock: Arc<AtomicU64>,
    /// How many were closed for others.
    pub closed: u64,
}

impl Connections {
    pub fn new(most: usize) -> Self {
        let clock = Arc::new(AtomicU64::new(WAITING));
        Self { most, tasks: JoinSet::new(), open: BTreeMap::new(), clock, closed: 0 }
    }

    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// What a new connection tells of itself.
    pub fn activity(&self) -> Arc<Activity> {
        let state = AtomicU64::new(self.clock.fetch_add(1, Ordering::Relaxed));
        Arc::new(Activity { state, clock: self.clock.clone() })
    }

    pub fn open(&mut self, activity: Arc<Activity>, connection: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(connection);
        self.open.insert(task.id(), (activity, task));
    }

    /// The end of one; nothing when there is none.
    pub async fn ended(&mut self) -> Option<Result<(), JoinError>> {
        let ended = self.tasks.join_next_with_id().await?;
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        self.open.remove(&id);
        match ended {
            Err(error) if !error.is_cancelled() => Some(Err(error)),
            Ok(_) | Err(_) => Some(Ok(())),
        }
    }

    /// Whether there is room for another one, or will be as soon as one that waits has ended.
    pub fn make_room(&mut self) -> bool {
        if self.len() < self.most {
            return true;
        }
        // Those closed already are about to end.
        if self.open.values().any(|(activity, _)| activity.state.load(Ordering::Acquire) == CLOSED) {
            return false;
        }
        let waiting = self.open.values().filter_map(|entry| Some((entry.0.waits_since()?, entry)));
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable_by_key(|(since, _)| *since);
        // A crowd comes faster than one by one.
        for (since, (activity, task)) in waiting.into_iter().take((self.most / ROOMS).max(1)) {
            if activity.close(since) {
                task.abort();
                self.closed += 1;
            }
        }
        false
    }

    pub async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(most: usize) -> (Connections, Vec<Arc<Activity>>) {
        let mut crowd = Connections::new(most);
        let mut all = Vec::new();
        for _ in 0..most {
            let activity = crowd.activity();
            crowd.open(activity.clone(), std::future::pending());
            all.push(activity);
        }
        (crowd, all)
    }

    #[tokio::test]
    async fn where_there_is_no_room_the_one_that_waits_longest_is_closed() {
        let (mut crowd, all) = crowd(3);
        // The first has just been answered, the second has a request.
        assert!(all[0].begun() && all[1].begun());
        all[0].answered();
        assert_eq!(all[0].waits_since(), None, "its answer is not written yet");
        all[0].flushed();
        all[1].flushed();
        for closed in [2, 0] {
            assert!(!crowd.make_room());
            assert!(!crowd.make_room(), "one is enough");
            assert!(!all[closed].begun(), "{closed} is closed");
            assert!(crowd.ended().await.is_some_and(|ended| ended.is_ok()));
            assert!(crowd.make_room());
            let activity = crowd.activity();
            assert!(activity.begun());
            crowd.open(activity, std::future::pending());
        }
        assert!(!crowd.make_room());
        assert_eq!((crowd.len(), crowd.closed), (3, 2), "all others have requests");
        all[1].awaits_body();
        assert!(all[1].waits_since().is_some() && all[1].begun(), "its body has come");
        all[1].answered();
        all[1].flushed();
        assert!(!crowd.make_room());
        assert_eq!(crowd.closed, 3);
        crowd.shutdown().await;
    }

    #[tokio::test]
    async fn a_panic_is_told() {
        let mut crowd = Connections::new(1);
        assert!(crowd.make_room());
        let activity = crowd.activity();
        crowd.open(activity, async { panic!("oh") });
        assert!(crowd.ended().await.unwrap().is_err());
        assert!(crowd.open.is_empty() && crowd.ended().await.is_none());
    }
}
