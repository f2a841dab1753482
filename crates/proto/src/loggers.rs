//! The loggers of a process, which several of its roles may change, with effect on what is logged from then on.

use std::sync::{Arc, PoisonError, RwLock};

use copyist_model::{LogLevel, Logger, LoggerFault, Loggers};
use tracing::Metadata;
use tracing::level_filters::LevelFilter;

/// The loggers of this process. Cheap to clone; clones are the same.
///
/// A lock, and no owner with a mailbox: whether a line is written is asked in the midst of any code.
#[derive(Debug, Clone)]
pub struct OwnLoggers(Arc<RwLock<Loggers>>);

impl OwnLoggers {
    #[must_use]
    pub fn new(loggers: Loggers) -> Self {
        Self(Arc::new(RwLock::new(loggers)))
    }

    /// All of them, or the one of this name; as [`Loggers::all`] and [`Loggers::get`].
    #[must_use]
    pub fn all(&self) -> Vec<Logger> {
        self.look(Loggers::all)
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<Logger> {
        self.look(|loggers| loggers.get(name))
    }

    /// Sets the level of a logger, as [`Loggers::set`]; what it says holds when this returns.
    ///
    /// # Errors
    /// As there.
    pub fn set(&self, name: &str, level: LogLevel) -> Result<Vec<String>, LoggerFault> {
        let changed = self.change(|loggers| loggers.set(now_ms(), name, level))?;
        if !changed.is_empty() {
            // Without the lock: it asks about every target in use.
            tracing::callsite::rebuild_interest_cache();
            tracing::info!(logger = name, %level, loggers = changed.len(), "log level changed");
        }
        Ok(changed)
    }

    /// Whether a line is written; its target is in use from now on.
    #[must_use]
    pub fn admit(&self, line: &Metadata<'static>) -> bool {
        self.change(|loggers| loggers.see(line.target()));
        self.is_written(line)
    }

    /// Whether a line is written.
    #[must_use]
    pub fn is_written(&self, line: &Metadata<'_>) -> bool {
        self.look(|loggers| *line.level() <= filter(loggers.level_of(line.target())))
    }

    /// Nothing may be logged by `question`, nor by that of [`OwnLoggers::change`]: the filter of lines asks here.
    fn look<T>(&self, question: impl FnOnce(&Loggers) -> T) -> T {
        question(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Loggers) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Fatal => LevelFilter::ERROR,
        LogLevel::Off => LevelFilter::OFF,
    }
}

#[expect(clippy::disallowed_methods, reason = "who asks is told when a level was changed")]
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_writes_what_is_as_bad_or_worse() {
        let rows = [
            (LogLevel::Trace, LevelFilter::TRACE),
            (LogLevel::Debug, LevelFilter::DEBUG),
            (LogLevel::Info, LevelFilter::INFO),
            (LogLevel::Warn, LevelFilter::WARN),
            (LogLevel::Error, LevelFilter::ERROR),
            (LogLevel::Fatal, LevelFilter::ERROR),
            (LogLevel::Off, LevelFilter::OFF),
        ];
        for (level, expected) in rows {
            assert_eq!(filter(level), expected, "{level}");
        }
    }
}
