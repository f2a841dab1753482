//! What ends the process, by what its user can do about it.

use std::fmt;
use std::io;

use crate::listen::Unbound;

/// Something wrong in a file or in the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as the user named it, or the environment variable.
    pub place: String,
    pub line: Option<usize>,
    /// Names the key, shows its value unless that is a secret, and says what would be right.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.place, self.text),
            None => write!(f, "{}: {}", self.place, self.text),
        }
    }
}

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Everything that is wrong with the settings; correct them.
    #[error("{}", lines(.0))]
    Settings(Vec<Problem>),
    /// Every address that cannot be listened on; free it or choose another.
    #[error("{}", lines(.0))]
    Listen(Vec<Unbound>),
    /// A connector of the command line is refused; the text is the same that REST shows.
    #[error("{}: {message}", path.display())]
    Connector { path: std::path::PathBuf, message: String },
    /// A role cannot start, or ended; the cause says what a human can do.
    #[error("the {role} cannot go on")]
    Role {
        role: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system refuses something that the process needs.
    #[error("failed to {what}")]
    System {
        what: &'static str,
        #[source]
        source: io::Error,
    },
}

fn lines<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join("\n")
}

impl Error {
    pub(crate) fn role(
        role: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Role { role, source: source.into() }
    }

    /// The exit status of a process that this error ends.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Connector { .. } => 2,
            Self::Listen(_) | Self::Role { .. } | Self::System { .. } => 1,
        }
    }
}
