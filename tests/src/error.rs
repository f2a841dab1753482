//! What can go wrong, by what the caller can do about it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Install the package.
    #[error("{tool} is not installed, needed {purpose}; on Debian: apt-get install {package}")]
    ToolMissing { tool: String, purpose: String, package: String },
    /// Read the log: a process ended by itself, or ended badly.
    #[error("{what} ended with {status}{tail}")]
    Exited { what: String, status: String, tail: LogTail },
    /// Read the log, if there is one: what was waited for did not come.
    #[error("{what} did not come about within {} s{tail}", limit.as_secs_f32())]
    Timeout { what: String, limit: Duration, tail: LogTail },
    /// Look at the path or address: the operating system refused.
    #[error("cannot {what}")]
    Io { what: String, source: std::io::Error },
    /// Kafka refused a command of [`crate::KafkaTool`]; `class` is the simple name of its Java exception, such as
    /// `TopicExistsException`.
    #[error("{command}: {class}: {message}")]
    Kafka { command: String, class: String, message: String },
    /// The REST call got no answer.
    #[error("cannot {what}")]
    Rest { what: String, source: reqwest::Error },
    /// Correct what is named.
    #[error("{0}")]
    Invalid(String),
    /// [`crate::interrupt`] was called: return, so that everything is cleaned up.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Shapes an error of the operating system: `what` completes "cannot …" and names the path or address.
    pub fn io(what: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Error {
        let what = what.to_string();
        move |source| Error::Io { what, source }
    }

    /// It and its causes, in one line.
    pub fn chain(&self) -> String {
        let first: &dyn std::error::Error = self;
        let all = std::iter::successors(Some(first), |error| error.source());
        all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    /// The simple name of the Java exception with which Kafka refused, if it did.
    pub fn kafka_class(&self) -> Option<&str> {
        if let Error::Kafka { class, .. } = self { Some(class) } else { None }
    }
}

/// Where a process logs, and its last lines.
#[derive(Clone, Debug, Default)]
pub struct LogTail {
    pub path: Option<PathBuf>,
    pub lines: Vec<String>,
}

impl LogTail {
    pub const LINES: usize = 20;
    /// A tail is read from so many last bytes at most.
    const BYTES: u64 = 32 * 1024;

    /// The last lines of a log file; none when it cannot be read, as this serves to report another error.
    pub fn read(path: &Path) -> LogTail {
        let text = read_end(path, LogTail::BYTES).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(LogTail::LINES);
        let lines = lines.iter().skip(first).map(|line| (*line).to_owned()).collect();
        LogTail { path: Some(path.to_owned()), lines }
    }
}

impl fmt::Display for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(path) = &self.path else { return Ok(()) };
        if self.lines.is_empty() {
            return write!(f, "; its log {} is empty", path.display());
        }
        write!(f, "; the end of its log {}:", path.display())?;
        self.lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

fn read_end(path: &Path, bytes: u64) -> std::io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut end = Vec::new();
    file.take(bytes).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}
