//! Which lines are written, as loggers that can be changed while the process runs.

use copyist_model::{LogLevel, Loggers};
use copyist_proto::OwnLoggers;
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing_subscriber::layer::{Context, Filter};

/// The directives of `RUST_LOG`: commas within braces separate fields of a span.
pub fn pieces(directives: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let at_commas = |letter: char| {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    };
    directives.split(at_commas).map(str::trim).filter(|piece| !piece.is_empty()).collect()
}

/// The loggers that directives without spans stand for: `level`, `target=level`, or `target`, which writes all.
pub fn of_directives(pieces: &[&str]) -> Loggers {
    let (mut root, mut own) = (LogLevel::Off, Vec::new());
    for piece in pieces {
        let (target, level) = match piece.rsplit_once('=') {
            Some((target, level)) => (Some(target), level.parse().unwrap_or(LevelFilter::TRACE)),
            None => match piece.parse::<LevelFilter>() {
                Ok(level) => (None, level),
                Err(_) => (Some(*piece), LevelFilter::TRACE),
            },
        };
        match target {
            Some(target) => own.push((target.to_owned(), level_of(level))),
            None => root = level_of(level),
        }
    }
    Loggers::new(root, own)
}

fn level_of(filter: LevelFilter) -> LogLevel {
    if filter == LevelFilter::TRACE {
        LogLevel::Trace
    } else if filter == LevelFilter::DEBUG {
        LogLevel::Debug
    } else if filter == LevelFilter::INFO {
        LogLevel::Info
    } else if filter == LevelFilter::WARN {
        LogLevel::Warn
    } else if filter == LevelFilter::ERROR {
        LogLevel::Error
    } else {
        LogLevel::Off
    }
}

/// Writes what loggers say; asked about each place in the code once, and again after a change.
pub struct Followed(pub OwnLoggers);

impl<S> Filter<S> for Followed {
    fn enabled(&self, line: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.0.is_written(line)
    }

    fn callsite_enabled(&self, line: &'static Metadata<'static>) -> Interest {
        if self.0.admit(line) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.most())
    }
}
