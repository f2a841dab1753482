//! Logs: everything goes to stderr by way of `tracing`, records of the `log` crate and panics included. And [`traces`].

mod loggers;
pub mod traces;

use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};

use copyist_model::Loggers;
use copyist_proto::OwnLoggers;
use tracing::Metadata;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::error::Problem;
use crate::settings::LogFormat;
use loggers::Gate;
use traces::Traces;

const VARIABLE: &str = "RUST_LOG";
const DEFAULT_LEVEL: &str = "info";

/// Which log records are written, as `RUST_LOG` says.
///
/// # Errors
/// When it cannot be understood.
pub fn loggers_of_environment() -> Result<Loggers, Problem> {
    #[expect(clippy::disallowed_methods, reason = "RUST_LOG is a convention of the environment")]
    let given = std::env::var(VARIABLE);
    match given {
        Ok(directives) => loggers_of(&directives),
        Err(std::env::VarError::NotPresent) => loggers_of(""),
        Err(std::env::VarError::NotUnicode(_)) => Err(problem("it is not UTF-8")),
    }
}

fn loggers_of(directives: &str) -> Result<Loggers, Problem> {
    let directives = if directives.trim().is_empty() { DEFAULT_LEVEL } else { directives };
    loggers::of_directives(directives)
        .map_err(|wrong| problem(&format!("{directives:?}: {}", wrong.join(", "))))
}

fn problem(what: &str) -> Problem {
    let text =
        format!("{what}; write a level (error, warn, info, debug, trace), or e.g. info,copyist_agent=debug");
    Problem { place: VARIABLE.to_owned(), line: None, text }
}

/// Sends log records to stderr from now on, and spans to `traces`. Does nothing when something else does it already.
/// What is written follows the loggers that this returns.
pub fn install(format: LogFormat, loggers: Loggers, traces: Option<&Traces>) -> OwnLoggers {
    let loggers = OwnLoggers::new(loggers);
    let colours = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
    };
    // Lines are the same with and without traces. This filter never says no to a line, so it has nothing to keep.
    let lines = lines.with_filter(filter_fn(|metadata: &Metadata<'_>| !metadata.is_span()));
    // A span carries the lines that are written within it; how it ended it says itself.
    let spans = traces.map(|traces| {
        let spans = tracing_opentelemetry::layer().with_tracer(traces.tracer());
        let spans = spans.with_error_events_to_status(false);
        spans.with_location(false).with_threads(false).with_target(false)
    });
    let gate = Gate { loggers: loggers.clone(), traced: traces.is_some() };
    if tracing_subscriber::registry().with(lines).with(spans).with(gate).try_init().is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    loggers
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
    fn directives_are_read_or_refused() {
        let rows = [
            ("", "root=INFO"),
            ("  ", "root=INFO"),
            ("warn", "root=WARN"),
            ("a=debug", "a=DEBUG root=OFF"),
            ("info,a::b=trace, a=off,c", "a=OFF a.b=TRACE c=TRACE root=INFO"),
            ("info,,debug", "root=DEBUG"),
            ("info,a=1", "a=ERROR root=INFO"),
        ];
        for (directives, expected) in rows {
            let loggers = loggers_of(directives).map_err(|problem| problem.to_string()).unwrap();
            let shown: Vec<_> = loggers.all().iter().map(|it| format!("{}={}", it.name, it.level)).collect();
            assert_eq!(shown.join(" "), expected);
        }
        let rows = [
            (
                "info,a=loud,b=",
                "\"info,a=loud,b=\": loud is no level, nothing stands behind b=; write a level",
            ),
            (
                "[s{x=1}]=debug",
                "[s{x=1}]=debug has '[', which is in no target (spans are not written); write",
            ),
            ("\"info\"", "\"info\" has '\"', which is in no target"),
            ("info;a=debug", "info;a=debug has ';', which is in no target"),
            ("=debug", "no target stands before =debug; write a level"),
        ];
        for (directives, expected) in rows {
            let refused = loggers_of(directives).err().unwrap().to_string();
            assert!(refused.starts_with("RUST_LOG: ") && refused.contains(expected), "{refused}");
        }
    }
}
