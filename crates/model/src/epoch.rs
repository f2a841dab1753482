//! The numbers that order what was decided. Each has a type of its own, so that none is compared with another.

use std::fmt;

/// The store's revision: raised by one with each commit, never reused within an incarnation of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct StoreRevision(pub u64);

/// Orders the writings of an assignment: the store's incarnation first (raised when a store was restored from
/// an older copy), then the revision of the commit that assigned. Higher wins; an agent refuses lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct AssignmentEpoch {
    pub incarnation: u64,
    pub revision: StoreRevision,
}

impl fmt::Display for AssignmentEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.revision.0)
    }
}

/// Counts the configs of a connector that change what its tasks are: selection, renaming, `tasks.max`, clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ConnectorGeneration(pub u64);

impl ConnectorGeneration {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Counts a lane's answers to "which records count, and where do they go".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct LaneGeneration(pub u64);

/// Counts a task's lane lists and specs within one connector generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TaskRevision(pub u64);

impl TaskRevision {
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_order_by_incarnation_then_revision() {
        let epoch =
            |incarnation, revision| AssignmentEpoch { incarnation, revision: StoreRevision(revision) };
        assert!(epoch(1, 900) < epoch(2, 3));
        assert!(epoch(2, 3) < epoch(2, 4));
        assert_eq!(epoch(2, 4).to_string(), "2.4");
    }
}
