//! Tells a person at a terminal what is waited for.

use std::fmt::Display;
use std::io::Write;

/// Where lines about what goes on are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Nowhere: in tests.
    #[default]
    Silent,
    /// On standard output, one line each.
    Terminal,
}

impl Progress {
    /// Writes one line. A standard output that is closed is no reason to stop.
    pub fn say(self, line: impl Display) {
        match self {
            Progress::Silent => {}
            Progress::Terminal => {
                let _closed = writeln!(std::io::stdout().lock(), "{line}");
            }
        }
    }
}
