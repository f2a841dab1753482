//! An HTTP client of the crowd, and what it is told, counted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::Value;

/// Connect itself gives a request 90 s.
const LIMIT: Duration = Duration::from_secs(95);

/// Clones share their connections.
#[derive(Clone)]
pub struct Web {
    client: Client,
    base: String,
}

impl Web {
    pub fn new(base: &str) -> Web {
        let client = Client::builder().timeout(LIMIT).no_proxy().build().expect("a client");
        Web { client, base: base.to_owned() }
    }

    /// The status and the body; `Null` when it is empty.
    ///
    /// # Panics
    /// When there is no answer, or it is neither empty nor JSON.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let request = self.client.request(method.clone(), format!("{}{path}", self.base));
        let request = if let Some(body) = body { request.json(body) } else { request };
        let answer = request.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let json = if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text) };
        (status, json.unwrap_or_else(|error| panic!("{method} {path}: {status}: {error}: {text}")))
    }
}

/// How often each kind of request was answered by which status.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<String, BTreeMap<u16, u64>>);

impl Tally {
    pub fn count(&mut self, kind: &str, status: u16) {
        *self.0.entry(kind.to_owned()).or_default().entry(status).or_default() += 1;
    }

    pub fn add(&mut self, other: &Tally) {
        for (kind, statuses) in &other.0 {
            for (status, times) in statuses {
                *self.0.entry(kind.clone()).or_default().entry(*status).or_default() += times;
            }
        }
    }

    /// How many answers had a status that fits.
    pub fn total(&self, fits: impl Fn(u16) -> bool) -> u64 {
        let all = self.0.values().flatten();
        all.filter(|(status, _)| fits(**status)).map(|(_, times)| times).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, statuses) in &self.0 {
            let told: Vec<String> =
                statuses.iter().map(|(status, times)| format!("{status}: {times}")).collect();
            writeln!(f, "  {kind}: {}", told.join(", "))?;
        }
        Ok(())
    }
}
