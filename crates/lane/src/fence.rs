//! Whether the destination's memory of our producer can be relied upon.

use std::time::Duration;

use copyist_model::Engine;

/// Room for clocks that differ and for batches on their way.
pub const MARGIN_MS: i64 = 3_600_000;

/// For so long what the destination said can be built upon without its memory: whoever wrote on since, relying on that
/// memory, has left one that lasts longer.
pub const HEARD_MAX: Duration = Duration::from_secs(3_600);

/// What the fence of a lane depends on, besides the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    pub engine: Engine,
    /// On a compacted source the n-th record is not the same for everyone.
    pub source_compacted: bool,
    /// The destination stamps batches itself: their age counts from their arrival.
    pub log_append_time: bool,
    /// How long brokers remember a producer after its last batch. `None`: unknown.
    pub producer_expiration: Option<Duration>,
    /// What the broker measures the age of the producer's last batch by: its latest record timestamp, or, with
    /// `log_append_time`, when it arrived; of batches on the way the earliest. `None`: the broker is not known to
    /// remember any batch.
    pub remembered_ms: Option<i64>,
}

/// Whether the broker remembers the producer now and will after a batch whose latest record is stamped
/// `next_timestamp` (milliseconds since 1970). If not, the fence is weak: only a right may write.
#[must_use]
pub fn fence_intact(fence: &Fence, next_timestamp: i64, wall_ms: i64) -> bool {
    let (Some(remembered_ms), Some(expiration)) = (fence.remembered_ms, fence.producer_expiration) else {
        return false;
    };
    let next_ms = if fence.log_append_time { wall_ms } else { next_timestamp };
    let expiration_ms = i64::try_from(expiration.as_millis()).unwrap_or(i64::MAX);
    let forgotten_at = remembered_ms.min(next_ms).saturating_add(expiration_ms).saturating_sub(MARGIN_MS);
    fence.engine == Engine::Raw && !fence.source_compacted && forgotten_at > wall_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const NOW: i64 = 1_000 * HOUR;

    fn intact() -> Fence {
        Fence {
            engine: Engine::Raw,
            source_compacted: false,
            log_append_time: false,
            producer_expiration: Some(Duration::from_secs(24 * 3600)),
            remembered_ms: Some(NOW),
        }
    }

    #[test]
    fn each_row() {
        let rows: [(&str, Fence, i64, bool); 13] = [
            ("fresh", intact(), NOW, true),
            ("another engine", Fence { engine: Engine::Librdkafka, ..intact() }, NOW, false),
            ("compacted", Fence { source_compacted: true, ..intact() }, NOW, false),
            ("nothing acknowledged", Fence { remembered_ms: None, ..intact() }, NOW, false),
            ("expiration unreadable", Fence { producer_expiration: None, ..intact() }, NOW, false),
            ("last 23 h old", Fence { remembered_ms: Some(NOW - 23 * HOUR), ..intact() }, NOW, false),
            (
                "last almost 23 h old",
                Fence { remembered_ms: Some(NOW - 23 * HOUR + 1), ..intact() },
                NOW,
                true,
            ),
            ("next 23 h old", intact(), NOW - 23 * HOUR, false),
            ("next almost 23 h old", intact(), NOW - 23 * HOUR + 1, true),
            ("next without a timestamp", intact(), -1, false),
            ("next old, append time", Fence { log_append_time: true, ..intact() }, 0, true),
            (
                "last old, append time",
                Fence { log_append_time: true, remembered_ms: Some(NOW - 30 * HOUR), ..intact() },
                0,
                false,
            ),
            ("expiration endless", Fence { producer_expiration: Some(Duration::MAX), ..intact() }, 0, true),
        ];
        for (label, fence, next, expected) in rows {
            assert_eq!(fence_intact(&fence, next, NOW), expected, "{label}");
        }
    }
}
