//! The clocks and the dice of this crate's drivers.

use std::time::Duration;

use rand::RngExt;

use crate::core::Now;

/// Both clocks, for the core.
#[expect(clippy::disallowed_methods, reason = "the driver reads the clocks for the core")]
pub(crate) fn now() -> Now {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Now { boot_ms: boot_ms(), wall_ms: wall.map(millis).unwrap_or_default() }
}

/// Milliseconds since the machine started, suspended time included: leases are counted on it.
pub(crate) fn boot_ms() -> u64 {
    let boot = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(Duration::from);
    // Linux has this clock since 2.6.39; a kernel without it cannot run tokio either.
    boot.map(millis).unwrap_or_default()
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A duration for the wire.
pub(crate) fn millis_u32(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Waits between attempts: doubling from `first` to `longest`, with jitter.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    #[expect(clippy::disallowed_methods, reason = "the driver draws the randomness of backoffs")]
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next.mul_f64(rand::rng().random_range(0.5..1.5));
        self.next = (self.next * 2).min(self.longest);
        wait
    }
}
