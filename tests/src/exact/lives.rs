//! A standalone Copyist that is killed and started again, on the same files, as often as a test wants.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{Offsets, Tally};
use crate::copyist::{Copyist, CopyistOptions, copyist_binary};
use crate::error::{Error, LogTail, Result};
use crate::process::{Process, Spec};
use crate::progress::Progress;
use crate::scenario::{LIMIT, records_in};
use crate::suite;
use crate::tool::Kafka;
use crate::wait::{Deadline, wait_until};

/// Starts of lanes, questions and answers, and what became of batches.
const LOG: &str = "info,copyist_agent::engine::raw=debug";

/// So often the destination must be seen as it was before, to stand still; each look takes a connection.
const LOOKS_WITHOUT_CHANGE: u32 = 10;

/// Where a life ends by itself: when something of that name happens for the `count`-th time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub name: &'static str,
    pub count: u64,
}

/// One Copyist after the other; each is killed. Its topic has the same name at both ends.
#[derive(Debug)]
pub struct Lives {
    // Before its directory.
    process: Option<Process>,
    copyist: Copyist,
    connector: PathBuf,
    to: Kafka<'static>,
    topic: String,
    /// Where the destination ended when the present life began.
    before: Offsets,
    pub tally: Tally,
}

impl Lives {
    /// Nothing runs yet. `properties` are the worker's, `config` the connector's.
    pub fn prepare(
        topic: &str,
        to: Kafka<'static>,
        bootstrap: &str,
        properties: &[(&str, &str)],
        config: &Value,
    ) -> Lives {
        let own = ["group.id", "offset.storage.topic", "config.storage.topic", "status.storage.topic"];
        let named =
            own.map(|key| (key.to_owned(), format!("{topic}-{}", key.split('.').next().unwrap_or(key))));
        let given = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let properties: BTreeMap<String, String> = named.into_iter().chain(given).collect();
        let options = CopyistOptions { properties, ..CopyistOptions::default() };
        let copyist = suite::must("a worker file", Copyist::prepare(bootstrap, options));
        let connector = copyist.dir().join("connector.json");
        // On the command line each time: a lost store has forgotten it.
        let text = json!({"name": "c", "config": config}).to_string();
        suite::must(
            "a connector's file",
            fs::write(&connector, text).map_err(Error::io("write connector.json")),
        );
        let (topic, before, tally) = (topic.to_owned(), Offsets::new(), Tally::default());
        Lives { process: None, copyist, connector, to, topic, before, tally }
    }

    /// Begins a life, which may end at a place.
    pub fn begin(&mut self, place: Option<Place>) {
        self.before = self.ends();
        let binary = suite::must("the binary", copyist_binary());
        let mut spec = Spec::new("copyist", binary, self.copyist.log_path());
        spec = spec.arg("standalone").arg(self.copyist.worker_file()).arg(&self.connector);
        spec.environment.insert("RUST_LOG".into(), Some(LOG.into()));
        let place = place.map(|place| format!("{}:{}", place.name, place.count).into());
        spec.environment.insert("COPYIST_KILL_AT".into(), place);
        self.process = Some(suite::must("copyist", Process::spawn(&spec)));
    }

    /// Waits until the life has ended where [`Lives::begin`] said.
    pub fn die_at(&mut self, place: Place) {
        // A build without debug assertions knows no places.
        let what = format!("the end of copyist (a debug build?) at {place:?}");
        let ended = self.process.as_mut().map(|process| process.wait_exit(LIMIT, Progress::Silent));
        let status = self.must(&what, ended.unwrap_or_else(|| Err(none())));
        assert!(status.signal() == Some(Signal::SIGKILL as i32), "{what}: {status}{}", self.tail());
        self.tally.place(place.name);
        self.end();
    }

    /// `kill -9` after a while.
    pub fn die_after(&mut self, while_: Duration) {
        let moment = Deadline::after(while_);
        let came = self.wait(&format!("{while_:?}"), || Ok(moment.passed().then_some(())));
        self.must("a moment", came);
        self.die();
        self.tally.random_kills += 1;
    }

    /// `kill -9`, not counted.
    pub fn die(&mut self) {
        self.process.iter_mut().for_each(Process::kill_9);
        self.end();
    }

    fn end(&mut self) {
        let Some(process) = self.process.take() else { return };
        let log = suite::must("the log", process.log_text());
        self.tally.read(&log, &self.before);
    }

    /// Between two lives: all that the coordinator knows is gone.
    pub fn lose_store(&mut self) {
        assert!(self.process.is_none(), "a store is lost between lives");
        match fs::remove_file(self.copyist.store_path()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                suite::must("the store's file", Err(Error::io("remove the store")(error)))
            }
            Ok(()) | Err(_) => self.tally.lost_stores += 1,
        }
    }

    pub fn signal(&self, signal: Signal) {
        self.process.iter().for_each(|process| process.signal(signal));
    }

    /// The present life must go on meanwhile.
    pub fn wait<T>(&mut self, what: &str, poll: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        match &mut self.process {
            Some(process) => process.wait_for(what, LIMIT, Progress::Silent, poll),
            None => wait_until(what, LIMIT, Progress::Silent, poll),
        }
    }

    /// How many records the destination has, or had before some were deleted.
    pub fn copied(&self) -> u64 {
        self.ends().values().map(|end| end.unsigned_abs()).sum()
    }

    /// Waits until nothing more comes.
    pub fn wait_still(&mut self) {
        let (to, topic) = (self.to.clone(), self.topic.clone());
        let (mut seen, mut looks) = (None, 0);
        let still = self.wait("the destination to stand still", || {
            let now = Some(records_in(&to, &topic)?);
            looks = if now == seen { looks + 1 } else { 0 };
            seen = now;
            Ok((looks == LOOKS_WITHOUT_CHANGE).then_some(()))
        });
        self.must("the destination to stand still", still);
    }

    /// Waits until the destination has at least so many records.
    pub fn wait_copied(&mut self, records: u64) {
        let (to, topic) = (self.to.clone(), self.topic.clone());
        let mut seen = 0;
        let reached = self.wait(&format!("{records} records"), || {
            seen = records_in(&to, &topic)?;
            Ok((seen >= records).then_some(()))
        });
        self.must(&format!("{records} records, of which {seen} are there"), reached);
    }

    pub fn ends(&self) -> Offsets {
        match self.to.end_offsets(&self.topic) {
            Err(error) if error.kafka_class() == Some("UnknownTopicOrPartitionException") => Offsets::new(),
            ends => suite::must("offsets", ends),
        }
    }

    /// What a step gives, or the end of the test with the reason and the log's end.
    pub fn must<T>(&self, what: &str, result: Result<T>) -> T {
        suite::must(&format!("{what}{}", self.tail()), result)
    }

    pub fn tail(&self) -> LogTail {
        LogTail::read(&self.copyist.log_path())
    }
}

fn none() -> Error {
    Error::Invalid("copyist does not run".to_owned())
}
