//! Repeated lines: at most one per interval and kind, with a count of those left out. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// Time between two lines of one kind.
pub const INTERVAL: Duration = Duration::from_secs(30);

/// Kinds that are remembered; beyond, the one that spoke least recently is forgotten.
const KINDS_MAX: usize = 64;

/// Decides which lines are told.
#[derive(Debug, Default)]
pub struct Limiter {
    kinds: BTreeMap<String, Kind>,
}

#[derive(Debug)]
struct Kind {
    told_at: Duration,
    left_out: u64,
}

impl Limiter {
    /// Whether to tell a line of this kind, and how many were left out since the last one.
    pub fn admit(&mut self, now: Duration, kind: &str) -> Option<u64> {
        if let Some(known) = self.kinds.get_mut(kind) {
            if now.saturating_sub(known.told_at) < INTERVAL {
                known.left_out += 1;
                return None;
            }
            known.told_at = now;
            return Some(std::mem::take(&mut known.left_out));
        }
        if self.kinds.len() >= KINDS_MAX {
            let oldest = self.kinds.iter().min_by_key(|(_, kind)| kind.told_at).map(|(name, _)| name.clone());
            oldest.map(|name| self.kinds.remove(&name));
        }
        self.kinds.insert(kind.to_owned(), Kind { told_at: now, left_out: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_and_kind_with_a_count() {
        let mut limiter = Limiter::default();
        let rows = [
            (0, "FAIL", Some(0)),
            (1, "FAIL", None),
            (1, "FETCH", Some(0)),
            (29, "FAIL", None),
            (30, "FAIL", Some(2)),
            (59, "FAIL", None),
            (60, "FAIL", Some(1)),
        ];
        for (second, kind, expected) in rows {
            assert_eq!(limiter.admit(Duration::from_secs(second), kind), expected, "{second} {kind}");
        }
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let mut limiter = Limiter::default();
        for second in 0..1000u64 {
            assert_eq!(limiter.admit(Duration::from_secs(second), &format!("k{second}")), Some(0));
        }
        assert_eq!(limiter.kinds.len(), KINDS_MAX);
        assert_eq!(limiter.admit(Duration::from_secs(1000), "k999"), None);
    }
}
