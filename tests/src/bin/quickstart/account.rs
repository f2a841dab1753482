//! What is told while it happens: numbered steps, commands as one would type them, and what they answered.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use copyist_tests::Progress;

/// How many steps a run has.
const STEPS: u32 = 9;
/// An answer longer than this is cut.
const SHOWN_MAX_CHARS: usize = 400;

#[derive(Debug)]
pub struct Account {
    number: u32,
    title: String,
    log: Option<PathBuf>,
}

impl Account {
    pub fn new() -> Account {
        Account { number: 0, title: "Begin".to_owned(), log: None }
    }

    /// `log` is what to read when the step fails.
    pub fn step(&mut self, title: &str, log: Option<&Path>) {
        self.number += 1;
        self.title = title.to_owned();
        self.log = log.map(Path::to_owned);
        self.say(format_args!("\n[{}/{STEPS}] {title}", self.number));
    }

    /// "step 3 of 8 (Start Copyist)".
    pub fn current(&self) -> String {
        format!("step {} of {STEPS} ({})", self.number, self.title)
    }

    pub fn log(&self) -> Option<&Path> {
        self.log.as_deref()
    }

    pub fn command(&self, line: impl Display) {
        self.say(format_args!("  $ {line}"));
    }

    /// One line or several, cut when it is long.
    pub fn answer(&self, text: &str) {
        for line in shortened(text).lines() {
            self.say(format_args!("  {line}"));
        }
    }

    pub fn tell(&self, line: impl Display) {
        self.say(format_args!("  {line}"));
    }

    fn say(&self, line: impl Display) {
        Progress::Terminal.say(line);
    }
}

fn shortened(text: &str) -> String {
    let text = text.trim_end();
    let length = text.chars().count();
    if length <= SHOWN_MAX_CHARS {
        return text.to_owned();
    }
    let shown: String = text.chars().take(SHOWN_MAX_CHARS).collect();
    format!("{shown}… ({length} characters)")
}

/// 100000 as "100,000".
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let cases =
            [(0, "0"), (999, "999"), (1_000, "1,000"), (100_000, "100,000"), (12_345_678, "12,345,678")];
        for (number, text) in cases {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn long_answers_are_cut_between_characters() {
        assert_eq!(shortened("short\n"), "short");
        let long = shortened(&"é".repeat(500));
        assert!(long.starts_with(&"é".repeat(400)) && long.ends_with("… (500 characters)"), "{long}");
    }
}
