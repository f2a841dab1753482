//! What goes wrong again and again is said at most once in a while, with a count.

use std::time::Duration;

use tokio::time::Instant;

/// At most one line in this time.
const INTERVAL: Duration = Duration::from_secs(30);

/// Says failures of one kind.
#[derive(Debug)]
pub(crate) struct Reports {
    said: Option<Instant>,
    /// Failures since the last line.
    unsaid: u64,
    /// Whether the last line said is of a failure.
    told: bool,
}

impl Reports {
    pub(crate) fn new() -> Self {
        Self { said: None, unsaid: 0, told: false }
    }

    pub(crate) fn failed(&mut self, text: &str) {
        if let Some(times) = self.admit(Instant::now()) {
            self.told = true;
            tracing::warn!(times, "{text}");
        }
    }

    /// Said once, after a failure that was said.
    pub(crate) fn recovered(&mut self, text: &str) {
        if std::mem::take(&mut self.told) {
            tracing::info!("{text}");
        }
    }

    /// One more failure: how many the line is about, if it may be said now.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        if self.said.is_some_and(|said| now.duration_since(said) < INTERVAL) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_said_at_most_every_30_s_with_a_count() {
        let begin = Instant::now();
        let mut reports = Reports::new();
        let mut said = Vec::new();
        for second in 0..=90 {
            said.extend(reports.admit(begin + Duration::from_secs(second)).map(|times| (second, times)));
        }
        assert_eq!(said, [(0, 1), (30, 30), (60, 30), (90, 30)]);
    }
}
