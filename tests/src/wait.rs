//! Waiting for a condition with a deadline: the one place of this package that reads a clock and sleeps.

use std::time::{Duration, Instant};

use crate::error::{Error, LogTail, Result};
use crate::progress::Progress;
use crate::spawner::interrupted;

const POLL_EVERY: Duration = Duration::from_millis(20);
/// Nobody waits longer than this without a line that says for what.
const SAY_EVERY: Duration = Duration::from_secs(3);

/// The end of a wait.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    #[expect(clippy::disallowed_methods, reason = "waits for other processes, which live on the real clock")]
    pub fn after(limit: Duration) -> Deadline {
        Deadline { start: Instant::now(), limit }
    }

    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// What is left; zero when it passed.
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(self.elapsed())
    }

    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }
}

/// Asks `poll` until it gives a value, at most `limit`; `what` names the condition ("the topic to be created").
/// Ends early on an error of `poll` and when [`crate::interrupt`] was called.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    progress: Progress,
    mut poll: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    wait_telling(limit, progress, || {
        poll().map(|found| found.map_or_else(|| Waited::Still(what.to_owned()), Waited::For))
    })
}

/// What a poll of [`wait_telling`] finds: the value, or what is still waited for, which may change with each poll.
pub(crate) enum Waited<T> {
    For(T),
    Still(String),
}

/// As [`wait_until`], where the poll itself says how far it is.
pub(crate) fn wait_telling<T>(
    limit: Duration,
    progress: Progress,
    mut poll: impl FnMut() -> Result<Waited<T>>,
) -> Result<T> {
    let deadline = Deadline::after(limit);
    let mut said = Duration::ZERO;
    loop {
        let what = match poll()? {
            Waited::For(value) => return Ok(value),
            Waited::Still(what) => what,
        };
        if interrupted() {
            return Err(Error::Interrupted);
        }
        if deadline.passed() {
            return Err(Error::Timeout { what, limit, tail: LogTail::default() });
        }
        if deadline.elapsed() - said >= SAY_EVERY {
            said = deadline.elapsed();
            progress.say(format_args!("  still waiting for {what} ({} s)", said.as_secs()));
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the interval between two looks at a condition, under a deadline"
)]
pub(crate) fn pause() {
    std::thread::sleep(POLL_EVERY);
}
