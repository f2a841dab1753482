//! Which lines are written, as loggers that can be changed while the process runs; and which spans are made.

use copyist_model::{LogLevel, Loggers};
use copyist_proto::OwnLoggers;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The loggers that directives stand for: `level`, `target=level`, or `target`, which writes all; separated by commas.
///
/// # Errors
/// What is wrong with each of them.
pub fn of_directives(directives: &str) -> Result<Loggers, Vec<String>> {
    let (mut root, mut own, mut wrong) = (LogLevel::Off, Vec::new(), Vec::new());
    for piece in directives.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
        match directive(piece) {
            Ok((Some(target), level)) => own.push((target.to_owned(), level_of(level))),
            Ok((None, level)) => root = level_of(level),
            Err(why) => wrong.push(why),
        }
    }
    if wrong.is_empty() { Ok(Loggers::new(root, own)) } else { Err(wrong) }
}

fn directive(piece: &str) -> Result<(Option<&str>, LevelFilter), String> {
    let may_be = |letter: char| letter.is_ascii_alphanumeric() || "_-:.=".contains(letter);
    if let Some(odd) = piece.chars().find(|letter| !may_be(*letter)) {
        return Err(format!("{piece} has {odd:?}, which is in no target (spans are not written)"));
    }
    match piece.rsplit_once('=') {
        Some((_, "")) => Err(format!("nothing stands behind {piece}")),
        Some(("", _)) => Err(format!("no target stands before {piece}")),
        Some((target, level)) => {
            let level = level.parse().map_err(|_| format!("{level} is no level"))?;
            Ok((Some(target), level))
        }
        None => match piece.parse::<LevelFilter>() {
            Ok(level) => Ok((None, level)),
            Err(_) => Ok((Some(piece), LevelFilter::TRACE)),
        },
    }
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

/// Lets through what the loggers write and the spans that are traced; asked about each place in the code once, and
/// again after a change.
///
/// A gate before all layers, and no levels in the filter of one: that keeps its last answer for what comes next on its
/// thread, so a line was lost after a bare question whether a level is enabled, as librdkafka's client asks
/// (<https://github.com/tokio-rs/tracing/issues/2519>).
pub struct Gate {
    pub loggers: OwnLoggers,
    /// Whether spans go anywhere.
    pub traced: bool,
}

impl Gate {
    /// Others' spans, such as HTTP/2's, would be made by the very sending of spans.
    fn is_traced(&self, span: &Metadata<'_>) -> bool {
        self.traced && span.target().starts_with("copyist") && *span.level() <= LevelFilter::INFO
    }
}

impl<S: Subscriber> Layer<S> for Gate {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        if metadata.is_span() { self.is_traced(metadata) } else { self.loggers.is_written(metadata) }
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let passes = if metadata.is_span() { self.is_traced(metadata) } else { self.loggers.admit(metadata) };
        if passes { Interest::always() } else { Interest::never() }
    }
}
