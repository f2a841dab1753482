//! The bytes that an agent may hold of what it read: counted from the answer's arrival to the last acknowledgement.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shared by all that fetch. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    used_bytes: Arc<AtomicUsize>,
    max_bytes: usize,
}

/// Bytes in use; they are free again when it is dropped.
#[derive(Debug)]
pub struct Lease {
    used_bytes: Arc<AtomicUsize>,
    bytes: usize,
}

impl Budget {
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { used_bytes: Arc::default(), max_bytes }
    }

    /// Whether `bytes` more fit. What is larger than all of it may come alone.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let used = self.used_bytes();
        used == 0 || used.saturating_add(bytes) <= self.max_bytes
    }

    /// Counts what has arrived, room or not: it is there.
    #[must_use]
    pub fn take(&self, bytes: usize) -> Lease {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        Lease { used_bytes: Arc::clone(&self.used_bytes), bytes }
    }

    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_free_again() {
        let budget = Budget::new(100);
        assert!(budget.has_room(100) && budget.has_room(1_000), "alone, anything may come");
        let first = budget.take(60);
        assert!(budget.has_room(40) && !budget.has_room(41));
        let second = budget.clone().take(70);
        assert_eq!(budget.used_bytes(), 130);
        drop(first);
        assert!(budget.has_room(30) && !budget.has_room(31));
        drop(second);
        assert_eq!(budget.used_bytes(), 0);
    }
}
