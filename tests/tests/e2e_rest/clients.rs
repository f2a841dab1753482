//! One client of the crowd: it creates, changes and deletes a connector of its own, and repeats what it is told to
//! repeat, as Connect's clients do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use copyist_tests::Deadline;
use copyist_tests::exact::Dice;
use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::config;
use crate::web::{Tally, Web};

/// A write that is repeated for longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(90);

/// Rounds at least, however soon the leaders are dead.
const ROUNDS_MIN: u64 = 1;

/// What was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub mark: String,
    pub patched: String,
    pub stopped: bool,
}

/// How a write ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// The name is taken; not by an earlier attempt of ours.
    Taken,
}

pub struct Writer {
    pub web: Web,
    pub number: u64,
    pub dice: Dice,
    pub tally: Tally,
    /// Of all clients.
    pub acknowledged: Arc<AtomicU64>,
    /// Attempts after the first.
    pub retries: u64,
    /// Writes of which an attempt may have been carried out without our being told.
    pub unknown: u64,
}

impl Writer {
    pub fn name(&self) -> String {
        format!("own-{}", self.number)
    }

    /// Lives until `over`, and for some rounds; returns what is to be there.
    pub async fn live(&mut self, over: Arc<AtomicBool>) -> Option<Expected> {
        let (path, mut round) = (format!("/connectors/{}", self.name()), 0);
        loop {
            let is_last = over.load(Ordering::Relaxed) && round >= ROUNDS_MIN;
            let mark = format!("{}-{round}", self.number);
            let created = self.create(&self.name(), "created").await;
            assert_eq!(created, End::Done, "{} is ours alone", self.name());
            self.write("PUT config", Method::PUT, &format!("{path}/config"), Some(config(&mark))).await;
            let patch = json!({"key.converter.patched": mark});
            self.write("PATCH config", Method::PATCH, &format!("{path}/config"), Some(patch)).await;
            let action = ["pause", "resume", "stop"][self.dice.index(3)];
            self.write(action, Method::PUT, &format!("{path}/{action}"), None).await;
            if is_last && !self.number.is_multiple_of(4) {
                return Some(Expected { mark: mark.clone(), patched: mark, stopped: action == "stop" });
            }
            self.write("DELETE", Method::DELETE, &path, None).await;
            if is_last {
                return None;
            }
            round += 1;
        }
    }

    pub async fn create(&mut self, name: &str, mark: &str) -> End {
        let body = json!({"name": name, "config": config(mark)});
        self.write("POST", Method::POST, "/connectors", Some(body)).await
    }

    /// Repeats until it is certain what became of it.
    async fn write(&mut self, kind: &str, method: Method, path: &str, body: Option<Value>) -> End {
        let deadline = Deadline::after(PATIENCE);
        let mut is_unknown = false;
        loop {
            let (status, answer) = self.web.ask(method.clone(), path, body.as_ref()).await;
            self.tally.count(kind, status);
            let message = answer["message"].as_str().unwrap_or_default();
            match (status, method.as_str()) {
                (200..=299, _) => {
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    return End::Done;
                }
                (409, "POST") if message.ends_with("already exists") => {
                    return if is_unknown { End::Done } else { End::Taken };
                }
                (404, "DELETE") if is_unknown => return End::Done,
                (503, _) => {
                    self.unknown += u64::from(!is_unknown);
                    is_unknown = true;
                }
                (409, _) => {}
                _ => panic!("{method} {path}: {status} {answer}"),
            }
            assert!(!message.is_empty(), "{kind}: {status} without a message");
            assert!(!deadline.passed(), "{method} {path}: still {status} after {PATIENCE:?}: {answer}");
            self.retries += 1;
            tokio::time::sleep(self.dice.millis(50, 250)).await;
        }
    }
}
