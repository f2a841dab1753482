//! Waiting longer each time. Pure: chance is an argument.

use std::time::Duration;

/// Doubles from its first wait to its longest.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    #[must_use]
    pub fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest: longest.max(first), next: first }
    }

    /// The next wait: half of it at least, the rest by `chance` (0 to 1).
    pub fn wait(&mut self, chance: f64) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        wait.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
    }

    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_longest_and_starts_over() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new((second, second * 5));
        let waits: Vec<u64> = (0..4).map(|_| backoff.wait(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5]);
        backoff.reset();
        assert_eq!(backoff.wait(0.0), second / 2);
        let mut inverted = Backoff::new((second * 2, second));
        assert_eq!((inverted.wait(1.0), inverted.wait(1.0)), (second * 2, second * 2));
    }
}
