//! What is told of a run: one line for each event in fixed columns, and how often each kind of thing happened.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::node::Node;

pub type Counts = BTreeMap<&'static str, u64>;

#[derive(Debug, Default)]
pub struct Trace {
    /// Nothing: nobody reads it.
    lines: Option<Vec<String>>,
    pub counts: Counts,
}

impl Trace {
    pub fn new(is_read: bool) -> Self {
        Self { lines: is_read.then(Vec::new), counts: Counts::new() }
    }

    pub fn note(&mut self, now: u64, node: Node, verb: &str, text: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{now:>8}  {node:<9}  {verb:<12}  {}", text()));
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// The same for the same trace.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.lines().hash(&mut hasher);
        self.counts.hash(&mut hasher);
        hasher.finish()
    }
}
