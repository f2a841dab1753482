//! A bound on what all requests together hold in memory: large bodies that arrive slowly, large answers that are taken
//! slowly. Small ones are bounded by the number of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use http::StatusCode;
use tokio::sync::Semaphore;

use crate::refusal::Refusal;

/// What is counted; less than one is free.
const UNIT_BYTES: usize = 64 << 10;

/// What all large bodies and answers may take together.
const UNITS: usize = (256 << 20) / UNIT_BYTES;

/// Cheap to clone; clones share one bound.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Semaphore>);

/// What one request holds of the budget, given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Semaphore>,
    units: AtomicUsize,
}

impl Budget {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(UNITS)))
    }

    pub fn share(&self) -> Share {
        Share { budget: self.0.clone(), units: AtomicUsize::new(0) }
    }

    /// An answer's body, counted until it was taken.
    ///
    /// # Errors
    /// 503 when too much is held already.
    pub fn held(&self, body: String) -> Result<Bytes, Refusal> {
        let share = self.share();
        share.grow_to(body.len())?;
        Ok(if share.is_nothing() { body.into() } else { Bytes::from_owner(Held { body, _share: share }) })
    }
}

impl Share {
    /// Counts so many bytes from now on.
    ///
    /// # Errors
    /// 503 when too much is held already.
    pub fn grow_to(&self, bytes: usize) -> Result<(), Refusal> {
        let more = (bytes / UNIT_BYTES).saturating_sub(self.units.load(Ordering::Relaxed));
        let permits = u32::try_from(more).ok().and_then(|more| self.budget.try_acquire_many(more).ok());
        let Some(permits) = permits else {
            let text = "This server holds too many large requests and answers at this moment: ask again";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text));
        };
        permits.forget();
        self.units.fetch_add(more, Ordering::Relaxed);
        Ok(())
    }

    fn is_nothing(&self) -> bool {
        self.units.load(Ordering::Relaxed) == 0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.add_permits(self.units.load(Ordering::Relaxed));
    }
}

struct Held {
    body: String,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.body.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_small_is_free_and_what_is_large_is_given_back() {
        let budget = Budget::new();
        let free = || budget.0.available_permits();
        let share = budget.share();
        share.grow_to(UNIT_BYTES - 1).unwrap();
        assert_eq!(free(), UNITS);
        share.grow_to(3 * UNIT_BYTES).unwrap();
        share.grow_to(3 * UNIT_BYTES + 7).unwrap();
        share.grow_to(1).unwrap();
        assert_eq!(free(), UNITS - 3);
        let small = budget.held("x".to_owned()).unwrap();
        let large = budget.held("x".repeat(2 * UNIT_BYTES)).unwrap();
        assert_eq!((small.len(), large.len(), free()), (1, 2 * UNIT_BYTES, UNITS - 5));
        let refused = share.grow_to(UNITS * UNIT_BYTES).unwrap_err();
        assert_eq!((refused.status, free()), (StatusCode::SERVICE_UNAVAILABLE, UNITS - 5));
        drop((share, large.slice(1..), large));
        assert_eq!(free(), UNITS);
    }
}
