//! What most end-to-end tests do: a Copyist of their own between the suite's clusters, a connector, waiting, comparing.
//!
//! A step that does not come about fails the test at once, with Copyist's status and the end of its log: so these
//! functions panic, where the rest of the package returns errors.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use serde_json::{Value, json};

use crate::copyist::{Copyist, CopyistOptions};
use crate::error::{LogTail, Result};
use crate::progress::Progress;
use crate::record::Rec;
use crate::suite;
use crate::tool::{Kafka, Side};
use crate::wait::wait_until;

/// Wide: a machine under load is no failure.
pub const LIMIT: Duration = Duration::from_secs(60);

/// 2024-01-02, so that a clock of today is seen as a difference.
pub const THEN: i64 = 1_704_153_600_000;

/// The suite's source, seen by Kafka's clients.
pub fn source() -> Kafka<'static> {
    suite::tool().at(&suite::pair().0.bootstrap())
}

/// The suite's destination, seen by Kafka's clients.
pub fn destination() -> Kafka<'static> {
    suite::tool().at(&suite::pair().1.bootstrap())
}

/// A Copyist with topics of its own, named after the test.
#[derive(Debug)]
pub struct Scenario {
    pub copyist: Copyist,
}

impl Scenario {
    /// Its destination is the suite's.
    pub fn start(name: &str) -> Scenario {
        Scenario::start_with(name, &suite::pair().1.bootstrap(), &[])
    }

    /// `properties` of the worker file come over the scenario's own.
    pub fn start_with(name: &str, destination: &str, properties: &[(&str, &str)]) -> Scenario {
        let options = CopyistOptions { properties: worker(name, properties), ..CopyistOptions::default() };
        Scenario { copyist: suite::must("a Copyist", Copyist::start(destination, options)) }
    }

    /// Creates a connector: 201, and its answer.
    pub fn create(&self, connector: &str, config: &Value) -> Value {
        let body = json!({"name": connector, "config": config});
        self.expect(201, self.copyist.rest().post("/connectors", &body))
    }

    /// The body of an answer that must have this status.
    #[expect(clippy::panic, reason = "a test whose step was refused has failed, and says why")]
    pub fn expect(&self, status: u16, answer: Result<(u16, Value)>) -> Value {
        match suite::must("an answer", answer) {
            (got, body) if got == status => body,
            (got, body) => panic!("{got} instead of {status}: {body}{}", self.tail()),
        }
    }

    pub fn get(&self, path: &str) -> Value {
        self.expect(200, self.copyist.rest().get(path))
    }

    /// Waits until a connector's status is as `wanted`, and returns it; `what` says what is waited for.
    pub fn wait_status(&self, connector: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/connectors/{connector}/status");
        let mut last = Value::Null;
        let found = wait_until(what, LIMIT, Progress::Silent, || {
            // A connector that was created just now has no status yet.
            last = self.copyist.rest().get(&path)?.1;
            Ok(wanted(&last).then(|| last.clone()))
        });
        self.must(&format!("{connector}: {what}; its status is {last:#}"), found)
    }

    /// Waits until a connector and so many tasks, all there are, run.
    pub fn wait_running(&self, connector: &str, tasks: usize) -> Value {
        self.wait_all(connector, "RUNNING", tasks)
    }

    /// Waits until the states of a connector and of so many tasks, all there are, are `state`.
    pub fn wait_all(&self, connector: &str, state: &str, tasks: usize) -> Value {
        let what = format!("{state} with {tasks} tasks");
        self.wait_status(connector, &what, |status| {
            let states = task_states(status);
            connector_state(status) == state
                && states.len() == tasks
                && states.iter().all(|task| task == state)
        })
    }

    /// Waits until the connector is FAILED, and returns its trace.
    pub fn wait_failed(&self, connector: &str) -> String {
        let status = self.wait_status(connector, "FAILED", |status| connector_state(status) == "FAILED");
        status["connector"]["trace"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until `topic` holds at least so many records (none were deleted there, none is transactional).
    pub fn wait_records(&self, at: &Kafka<'_>, topic: &str, records: u64) {
        let what = format!("{records} records in {topic}");
        let mut seen = 0;
        let found = wait_until(&what, LIMIT, Progress::Silent, || {
            seen = records_in(at, topic)?;
            Ok((seen >= records).then_some(()))
        });
        self.must(&format!("{what}, of which {seen} are there"), found);
    }

    /// Waits until a topic is there.
    pub fn wait_topic(&self, at: &Kafka<'_>, topic: &str) {
        let what = format!("the topic {topic}");
        let found = wait_until(&what, LIMIT, Progress::Silent, || {
            Ok(at.list_topics()?.iter().any(|it| it == topic).then_some(()))
        });
        self.must(&what, found);
    }

    /// Waits until `right` has as many records as `left` has to be copied, and insists that all are equal and that
    /// there are no others.
    #[expect(clippy::panic, reason = "a test whose copies differ has failed, and says where")]
    pub fn wait_equal(&self, left: Side<'_>, right: Side<'_>, records: u64) {
        assert!(records > 0, "nothing to compare in {}", left.topic);
        self.wait_records(right.at, right.topic, records);
        let compared = suite::must("a comparison", suite::tool().compare(left, right, LIMIT, |_| ()));
        if (compared.equal, compared.different, compared.right_records) != (records, 0, records) {
            panic!("{} and {}: {compared:#?}{}", left.topic, right.topic, self.tail());
        }
    }

    /// As [`Scenario::wait_equal`], from the suite's source to its destination.
    pub fn wait_copied(&self, from: &str, to: &str, records: u64) {
        let (source, destination) = (source(), destination());
        self.wait_equal(Side { at: &source, topic: from }, Side { at: &destination, topic: to }, records);
    }

    /// Waits until Copyist has logged a line that has all of `parts`, and returns it.
    pub fn wait_logged(&self, parts: &[&str]) -> String {
        let what = format!("a line in the log with {parts:?}");
        let found = wait_until(&what, LIMIT, Progress::Silent, || {
            let log = self.copyist.log_text()?;
            Ok(log.lines().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned))
        });
        self.must(&what, found)
    }

    /// What a step gives, or the end of the test with the reason.
    pub fn must<T>(&self, what: &str, result: Result<T>) -> T {
        suite::must(&format!("{what}{}", self.tail()), result)
    }

    fn tail(&self) -> impl Display {
        LogTail::read(&self.copyist.log_path())
    }
}

fn worker(name: &str, properties: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = ["group.id", "offset.storage.topic", "config.storage.topic", "status.storage.topic"];
    let named = own.map(|key| (key.to_owned(), format!("{name}-{}", key.split('.').next().unwrap_or(key))));
    let given = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    named.into_iter().chain(given).collect()
}

/// A connector's config: `EMRReplicatorSourceConnector` from the suite's source, and `pairs` over it.
pub fn config(pairs: &[(&str, &str)]) -> Value {
    let source = suite::pair().0.bootstrap();
    let own = [("connector.class", "EMRReplicatorSourceConnector"), ("src.kafka.bootstrap.servers", &source)];
    let all: BTreeMap<&str, &str> = own.into_iter().chain(pairs.iter().copied()).collect();
    json!(all)
}

pub fn connector_state(status: &Value) -> &str {
    status["connector"]["state"].as_str().unwrap_or_default()
}

/// By task number.
pub fn task_states(status: &Value) -> Vec<String> {
    let tasks = status["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
    tasks.iter().map(|task| task["state"].as_str().unwrap_or_default().to_owned()).collect()
}

/// `count` small records with keys, spread over the partitions in turn; `tag` is part of each value.
pub fn numbered(topic: &str, partitions: i32, tag: &str, count: usize) -> Vec<Rec> {
    let partition_of = (0..partitions).cycle();
    let record = |(n, partition)| {
        Rec::new(topic, partition).key(format!("key {}", n % 97)).value(format!("{tag} {n}"))
    };
    (0..count).zip(partition_of).map(record).collect()
}

/// Records with everything that a copy can get wrong.
pub fn odd_records(topic: &str, partition: i32) -> Vec<Rec> {
    let rec = |age: i64| Rec::new(topic, partition).timestamp(THEN + age);
    vec![
        rec(0),
        rec(1).key("").value(""),
        rec(2).key("tombstone"),
        rec(3).value("without a key"),
        rec(4).key(""),
        rec(5).key(vec![7; 300_000]).value(vec![0; 600_000]),
        rec(6).key([0, 255, 10]).value([128, 0]).header("twice", Some(b"1")).header("twice", Some(b"2")),
        rec(7).value("v").header("null", None).header("empty", Some(b"")).header("", Some(b"no name")),
        rec(8).key("tombstone with a header").header("h\u{e9}", Some(&[0, 159, 146, 150])),
        rec(-1_000).value("older than the one before"),
        rec(-THEN + 1).value("1970"),
    ]
}

/// From the beginning to the end of all partitions; 0 for a topic that is not there.
pub fn records_in(at: &Kafka<'_>, topic: &str) -> Result<u64> {
    match at.end_offsets(topic) {
        Ok(ends) => Ok(ends.values().map(|end| end.unsigned_abs()).sum()),
        Err(error) if error.kafka_class() == Some("UnknownTopicOrPartitionException") => Ok(0),
        Err(error) => Err(error),
    }
}
