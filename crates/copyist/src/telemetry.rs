//! Logs: everything goes to stderr by way of `tracing`, records of the `log` crate and panics included. And [`traces`].

mod loggers;
pub mod traces;

use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};

use copyist_model::Loggers;
use copyist_proto::OwnLoggers;
use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::error::Problem;
use crate::settings::LogFormat;
use traces::Traces;

const VARIABLE: &str = "RUST_LOG";
const DEFAULT_FILTER: &str = "info";

/// Which log records are written.
pub struct Filter {
    /// By target.
    loggers: Loggers,
    /// By span, which loggers have no words for; nothing, where `RUST_LOG` names none.
    spans: EnvFilter,
}

/// Which log records are written, as `RUST_LOG` says.
///
/// # Errors
/// When it cannot be understood.
pub fn filter_of_environment() -> Result<Filter, Problem> {
    #[expect(clippy::disallowed_methods, reason = "RUST_LOG is a convention of the environment")]
    let given = std::env::var(VARIABLE);
    match given {
        Ok(directives) => filter(&directives),
        Err(std::env::VarError::NotPresent) => filter(""),
        Err(std::env::VarError::NotUnicode(_)) => Err(problem("it is not UTF-8")),
    }
}

fn filter(directives: &str) -> Result<Filter, Problem> {
    let directives = if directives.trim().is_empty() { DEFAULT_FILTER } else { directives };
    let wrong = |error: &dyn std::fmt::Display| problem(&format!("{directives:?}: {error}"));
    EnvFilter::try_new(directives).map_err(|error| wrong(&error))?;
    let (by_span, by_target): (Vec<_>, Vec<_>) =
        loggers::pieces(directives).into_iter().partition(|piece| piece.contains('['));
    let spans = ["off"].into_iter().chain(by_span).collect::<Vec<_>>().join(",");
    let spans = EnvFilter::try_new(spans).map_err(|error| wrong(&error))?;
    Ok(Filter { loggers: loggers::of_directives(&by_target), spans })
}

fn problem(what: &str) -> Problem {
    let text =
        format!("{what}; write a level (error, warn, info, debug, trace), or e.g. info,copyist_agent=debug");
    Problem { place: VARIABLE.to_owned(), line: None, text }
}

/// Sends log records to stderr from now on, and spans to `traces`. Does nothing when something else does it already.
/// What is written follows the loggers that this returns.
pub fn install(format: LogFormat, filter: Filter, traces: Option<&Traces>) -> OwnLoggers {
    let own = OwnLoggers::new(filter.loggers);
    let filter = loggers::Followed(own.clone()).or(filter.spans);
    let colours = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
    };
    // Lines are the same with and without traces.
    let lines = lines.with_filter(filter.and(filter_fn(|metadata: &Metadata<'_>| metadata.is_event())));
    // Others' spans, such as HTTP/2's, would be made by the very sending of spans.
    let ours = Targets::new().with_target("copyist", LevelFilter::INFO);
    let spans = traces.map(|traces| {
        let spans = tracing_opentelemetry::layer().with_tracer(traces.tracer());
        spans.with_location(false).with_threads(false).with_target(false).with_filter(ours)
    });
    if tracing_subscriber::registry().with(lines).with(spans).try_init().is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    own
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
        let rows = [
            ("", "root=INFO", "off"),
            ("  ", "root=INFO", "off"),
            ("warn", "root=WARN", "off"),
            ("a=debug", "a=DEBUG root=OFF", "off"),
            ("info,a::b=trace,a=off,c", "a=OFF a.b=TRACE c=TRACE root=INFO", "off"),
            ("info,[s{x=1}]=debug,a=1", "a=ERROR root=INFO", "off,[s{x=1}]=debug"),
            ("info,,debug", "root=DEBUG", "off"),
        ];
        for (directives, loggers, spans) in rows {
            let filter = filter(directives).map_err(|problem| problem.to_string()).unwrap();
            let shown: Vec<_> =
                filter.loggers.all().iter().map(|it| format!("{}={}", it.name, it.level)).collect();
            assert_eq!((shown.join(" ").as_str(), filter.spans.to_string().as_str()), (loggers, spans));
        }
        let refused = filter("info,copyist=loud").err().unwrap().to_string();
        assert!(refused.starts_with("RUST_LOG: \"info,copyist=loud\": "), "{refused}");
    }
}
