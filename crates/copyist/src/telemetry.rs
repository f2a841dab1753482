//! Logs: everything goes to stderr by way of `tracing`, records of the `log` crate and panics included.

use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};

use tracing_subscriber::EnvFilter;

use crate::error::Problem;
use crate::settings::LogFormat;

const VARIABLE: &str = "RUST_LOG";
const DEFAULT_FILTER: &str = "info";

/// Which log records are written, as `RUST_LOG` says.
///
/// # Errors
/// When it cannot be understood.
pub fn filter_of_environment() -> Result<EnvFilter, Problem> {
    #[expect(clippy::disallowed_methods, reason = "RUST_LOG is a convention of the environment")]
    let given = std::env::var(VARIABLE);
    match given {
        Ok(directives) => filter(&directives),
        Err(std::env::VarError::NotPresent) => filter(""),
        Err(std::env::VarError::NotUnicode(_)) => Err(problem("it is not UTF-8")),
    }
}

fn filter(directives: &str) -> Result<EnvFilter, Problem> {
    let directives = if directives.trim().is_empty() { DEFAULT_FILTER } else { directives };
    EnvFilter::try_new(directives).map_err(|error| problem(&format!("{directives:?}: {error}")))
}

fn problem(what: &str) -> Problem {
    let text =
        format!("{what}; write a level (error, warn, info, debug, trace), or e.g. info,copyist_agent=debug");
    Problem { place: VARIABLE.to_owned(), line: None, text }
}

/// Sends log records to stderr from now on. Does nothing when something else does it already.
pub fn install(format: LogFormat, filter: EnvFilter) {
    let colours = io::stderr().is_terminal();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    let installed = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_ansi(false).try_init(),
    };
    if installed.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(%place, thread, "panic: {message}\n{backtrace}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_or_refused() {
        for (directives, shown) in [("", "info"), ("  ", "info"), ("warn", "warn"), ("a=debug", "a=debug")] {
            assert_eq!(filter(directives).unwrap().to_string(), shown);
        }
        let refused = filter("info,copyist=loud").unwrap_err().to_string();
        assert!(refused.starts_with("RUST_LOG: \"info,copyist=loud\": "), "{refused}");
    }
}
