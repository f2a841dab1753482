//! Death at a chosen place, for the tests that kill copyist: whatever the route is about to do, or has just heard, may
//! be its last. In builds with debug assertions alone.

use std::fmt::{self, Debug, Write};

/// Set to `NAME:COUNT`, it ends the process when something of that name comes for the COUNT-th time: an action of a
/// lane (`Send`, `StorePosition`, …) before it is performed, a happening (`Produced`, `PositionPut`, …) before it is
/// taken in.
const VARIABLE: &str = "COPYIST_KILL_AT";

/// Armed by the environment.
#[derive(Debug)]
pub struct KillSwitch {
    name: String,
    left: u64,
}

impl KillSwitch {
    /// `None` unless a test has set the variable.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "no setting: it is for tests alone")]
    pub fn armed() -> Option<Self> {
        if !cfg!(debug_assertions) {
            return None;
        }
        let text = std::env::var(VARIABLE).ok()?;
        let (name, count) = text.split_once(':')?;
        Some(Self { name: name.to_owned(), left: count.parse().ok()? })
    }

    /// Does not return when it is time. `kill -9` of oneself: nothing is flushed, nobody is told.
    pub fn pass(&mut self, what: &impl Debug) {
        let mut head = Head::default();
        // It ends with an error as soon as the name is there.
        let _ = write!(head, "{what:?}");
        if head.0 == self.name {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

/// The first word of what is written to it; then it takes no more.
#[derive(Debug, Default)]
struct Head(String);

impl Write for Head {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if !letter.is_alphanumeric() {
                return Err(fmt::Error);
            }
            self.0.push(letter);
        }
        Ok(())
    }
}
