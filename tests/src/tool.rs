//! Kafka's own Java clients, in one process that serves a whole run: a command costs a connection, not a JVM.

use std::collections::BTreeMap;
use std::io::{BufReader, BufWriter, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::jars::Jars;
use crate::java::classes;
use crate::process::Process;
use crate::progress::Progress;
use crate::record::{Rec, Step};
use crate::scratch::Scratch;
use crate::wire::{self, Frame};

const START_LIMIT: Duration = Duration::from_secs(60);
/// Beyond what the Java side allows itself for any command but [`Kafka::dump`] and [`KafkaTool::compare`].
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
const READ_LIMIT: Duration = Duration::from_secs(120);

/// The process. Shared by all threads: each command has its own connection.
#[derive(Debug)]
pub struct KafkaTool {
    port: u16,
    // Before the directory of its log.
    _process: Process,
    _scratch: Scratch,
}

impl KafkaTool {
    /// Compiles the Java side if that was not done yet, and starts it.
    pub fn start(jars: &Jars, progress: Progress) -> Result<KafkaTool> {
        let scratch = Scratch::new("kafka-tool")?;
        let mut class_path = classes(jars, progress)?.into_os_string();
        class_path.push(":");
        class_path.push(jars.class_path());
        // Its clients tell their whole configuration at INFO, for each command.
        let flags = ["-Xmx1g", "-XX:+UseSerialGC", "-Dcopyist.log.level=WARN"].map(str::to_owned);
        let log = scratch.path().join("kafka-tool.log");
        let spec = jars.java_with("Kafka's Java clients", &flags, class_path.as_ref(), "KafkaTool", &log)?;
        let mut process = Process::spawn(&spec)?;
        let log = process.log_path().to_owned();
        let port = process.wait_for("Kafka's Java clients to start", START_LIMIT, progress, || {
            let text =
                std::fs::read_to_string(&log).map_err(Error::io(format_args!("read {}", log.display())))?;
            Ok(text.lines().find_map(port_in))
        })?;
        Ok(KafkaTool { port, _process: process, _scratch: scratch })
    }

    /// A cluster, as the clients see it.
    pub fn at(&self, bootstrap: &str) -> Kafka<'_> {
        let properties = BTreeMap::from([("bootstrap.servers".to_owned(), bootstrap.to_owned())]);
        Kafka { tool: self, properties }
    }

    /// Compares two topics record by record: key, value, headers, timestamp, partition, order; not the offsets. Reads
    /// them up to where they end at the start. `tell` is called with the number compared so far, every 5,000.
    pub fn compare(
        &self,
        left: Side<'_>,
        right: Side<'_>,
        limit: Duration,
        mut tell: impl FnMut(u64),
    ) -> Result<Comparison> {
        let side = |side: Side<'_>| json!({"properties": side.at.properties, "topic": side.topic});
        let request = json!({"command": "compare", "left": side(left), "right": side(right), "limit_ms": millis(limit)});
        let mut connection = Connection::open(self, &request)?;
        loop {
            let answer = connection.answer()?;
            match answer.get("compared").and_then(Value::as_u64) {
                Some(compared) => tell(compared),
                None => return parse("compare", answer),
            }
        }
    }
}

fn port_in(line: &str) -> Option<u16> {
    line.strip_prefix("KafkaTool listens on port ")?.parse().ok()
}

/// A topic of a cluster, for [`KafkaTool::compare`].
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    pub at: &'a Kafka<'a>,
    pub topic: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Comparison {
    pub equal: u64,
    pub different: u64,
    /// The first ten.
    pub differences: Vec<Difference>,
    pub left_records: u64,
    pub left_partitions: u32,
    pub right_records: u64,
    pub right_partitions: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Difference {
    pub partition: i32,
    /// "key", "value", "headers", "timestamp", "only on the left", "only on the right".
    pub what: String,
    pub left_offset: Option<i64>,
    pub right_offset: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Topic {
    pub topic: String,
    pub topic_id: String,
    pub partitions: Vec<Partition>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Partition {
    pub partition: i32,
    /// −1: none.
    pub leader: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

/// Commands to one cluster; what Kafka refuses is [`Error::Kafka`].
#[derive(Clone, Debug)]
pub struct Kafka<'a> {
    tool: &'a KafkaTool,
    properties: BTreeMap<String, String>,
}

impl<'a> Kafka<'a> {
    /// Further client properties, such as those of [`crate::ScramUser::client_properties`].
    pub fn with(mut self, properties: impl IntoIterator<Item = (String, String)>) -> Kafka<'a> {
        self.properties.extend(properties);
        self
    }

    /// Returns when all its partitions have leaders. Replication factor 1, no configs.
    pub fn create_topic(&self, topic: &str, partitions: u32) -> Result<()> {
        self.create_topic_with(topic, partitions, 1, &[])
    }

    pub fn create_topic_with(
        &self,
        topic: &str,
        partitions: u32,
        replication_factor: u16,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let configs: BTreeMap<_, _> = configs.iter().copied().collect();
        let rest = json!({"topic": topic, "partitions": partitions, "replication_factor": replication_factor,
            "configs": configs});
        self.ask("create_topic", rest).map(|_| ())
    }

    /// Grows the topic to so many partitions.
    pub fn create_partitions(&self, topic: &str, partitions: u32) -> Result<()> {
        self.ask("create_partitions", json!({"topic": topic, "partitions": partitions})).map(|_| ())
    }

    pub fn delete_topic(&self, topic: &str) -> Result<()> {
        self.ask("delete_topic", json!({"topic": topic})).map(|_| ())
    }

    pub fn describe_topic(&self, topic: &str) -> Result<Topic> {
        parse("describe_topic", self.ask("describe_topic", json!({"topic": topic}))?)
    }

    /// What was set for the topic itself; defaults are left out.
    pub fn topic_configs(&self, topic: &str) -> Result<BTreeMap<String, String>> {
        parse("topic_configs", self.ask_for("topic_configs", json!({"topic": topic}), "configs")?)
    }

    pub fn alter_topic_configs(&self, topic: &str, set: &[(&str, &str)], delete: &[&str]) -> Result<()> {
        let set: BTreeMap<_, _> = set.iter().copied().collect();
        self.ask("alter_topic_configs", json!({"topic": topic, "set": set, "delete": delete})).map(|_| ())
    }

    /// Sorted, without Kafka's internal topics.
    pub fn list_topics(&self) -> Result<Vec<String>> {
        parse("list_topics", self.ask_for("list_topics", json!({"internal": false}), "topics")?)
    }

    /// By partition.
    pub fn beginning_offsets(&self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        self.offsets(topic, true)
    }

    /// By partition: one after the last record that is replicated, control records and open transactions included.
    pub fn end_offsets(&self, topic: &str) -> Result<BTreeMap<i32, i64>> {
        self.offsets(topic, false)
    }

    fn offsets(&self, topic: &str, earliest: bool) -> Result<BTreeMap<i32, i64>> {
        parse(
            "list_offsets",
            self.ask_for("list_offsets", json!({"topic": topic, "earliest": earliest}), "offsets")?,
        )
    }

    /// Moves the beginning of a partition.
    pub fn delete_records(&self, topic: &str, partition: i32, before_offset: i64) -> Result<()> {
        let rest = json!({"topic": topic, "partition": partition, "before_offset": before_offset});
        self.ask("delete_records", rest).map(|_| ())
    }

    /// As the brokers say it.
    pub fn cluster_id(&self) -> Result<String> {
        parse("describe_cluster", self.ask_for("describe_cluster", json!({}), "cluster_id")?)
    }

    /// Produces with acks=all and waits until all are acknowledged; the (partition, offset) of each.
    pub fn produce(&self, records: &[Rec]) -> Result<Vec<(i32, i64)>> {
        self.produce_with(&[], records)
    }

    /// As [`Kafka::produce`], with properties of Kafka's producer: `compression.type`, `linger.ms`, …
    pub fn produce_with(&self, properties: &[(&str, &str)], records: &[Rec]) -> Result<Vec<(i32, i64)>> {
        self.send_all(properties, |to| records.iter().try_for_each(|record| wire::write_record(to, record)))
    }

    /// Transactions; the last must be committed or aborted. Positions as in [`Kafka::produce`], of aborted records too.
    pub fn transact(
        &self,
        transactional_id: &str,
        properties: &[(&str, &str)],
        steps: &[Step],
    ) -> Result<Vec<(i32, i64)>> {
        let properties = [properties, &[("transactional.id", transactional_id)]].concat();
        self.send_all(&properties, |to| {
            steps.iter().try_for_each(|step| match step {
                Step::Record(record) => wire::write_record(to, record),
                Step::Commit => to.write_all(&[wire::COMMIT]),
                Step::Abort => to.write_all(&[wire::ABORT]),
            })
        })
    }

    fn send_all(
        &self,
        properties: &[(&str, &str)],
        write: impl FnOnce(&mut BufWriter<TcpStream>) -> std::io::Result<()>,
    ) -> Result<Vec<(i32, i64)>> {
        let own = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let all = self.clone().with(own);
        let mut connection = Connection::open(self.tool, &all.request("produce", json!({})))?;
        let sent = write(&mut connection.to).and_then(|()| connection.to.write_all(&[wire::END]));
        sent.and_then(|()| connection.to.flush())
            .map_err(Error::io("send records to Kafka's Java clients"))?;
        let mut answer = connection.answer()?;
        parse("produce", answer.get_mut("positions").map(Value::take).unwrap_or_default())
    }

    /// Every record up to where the topic ends now, by partition and in its order; aborted ones are left out.
    pub fn dump(&self, topic: &str) -> Result<Vec<Rec>> {
        self.dump_with(&[], &[topic])
    }

    /// As [`Kafka::dump`] of several topics, by topic; with properties of Kafka's consumer, such as
    /// `isolation.level=read_uncommitted`, which also shows what was aborted.
    pub fn dump_with(&self, properties: &[(&str, &str)], topics: &[&str]) -> Result<Vec<Rec>> {
        let own = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let request = json!({"topics": topics, "limit_ms": millis(READ_LIMIT)});
        let mut connection = Connection::open(self.tool, &self.clone().with(own).request("dump", request))?;
        let mut records = Vec::new();
        while let Some(record) = connection.record()? {
            records.push(record);
        }
        // Stable: the order within a partition stays as it was read.
        records.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(records)
    }

    fn ask_for(&self, command: &str, rest: Value, field: &str) -> Result<Value> {
        let mut answer = self.ask(command, rest)?;
        Ok(answer.get_mut(field).map(Value::take).unwrap_or_default())
    }

    fn ask(&self, command: &str, rest: Value) -> Result<Value> {
        Connection::open(self.tool, &self.request(command, rest))?.answer()
    }

    fn request(&self, command: &str, mut rest: Value) -> Value {
        rest["command"] = command.into();
        rest["properties"] = json!(self.properties);
        rest
    }
}

fn parse<T: DeserializeOwned>(command: &str, answer: Value) -> Result<T> {
    serde_json::from_value(answer).map_err(|error| {
        Error::Invalid(format!("the answer to {command} is not what tests/java gives by its code: {error}"))
    })
}

fn millis(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

/// One command.
struct Connection {
    command: String,
    from: BufReader<TcpStream>,
    to: BufWriter<TcpStream>,
}

const BUFFER_BYTES: usize = 1 << 16;

impl Connection {
    fn open(tool: &KafkaTool, request: &Value) -> Result<Connection> {
        let command = request["command"].as_str().unwrap_or_default().to_owned();
        let failed = || Error::io(format!("ask Kafka's Java clients to {command}"));
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, tool.port)).map_err(failed())?;
        // The Java side has deadlines of its own; this one is for its death.
        let limit = request["limit_ms"]
            .as_u64()
            .map_or(ANSWER_LIMIT, |own| ANSWER_LIMIT + Duration::from_millis(own));
        stream.set_read_timeout(Some(limit)).map_err(failed())?;
        stream.set_write_timeout(Some(limit)).map_err(failed())?;
        let copy = stream.try_clone().map_err(failed())?;
        let from = BufReader::with_capacity(BUFFER_BYTES, stream);
        let mut to = BufWriter::with_capacity(BUFFER_BYTES, copy);
        wire::write_json(&mut to, request).and_then(|()| to.flush()).map_err(failed())?;
        Ok(Connection { command, from, to })
    }

    fn frame(&mut self) -> Result<Frame> {
        let what = format_args!("read the answer of Kafka's Java clients to {}", self.command).to_string();
        wire::read_frame(&mut self.from).map_err(Error::io(what))
    }

    fn answer(&mut self) -> Result<Value> {
        match self.frame()? {
            Frame::Json(answer) => self.accepted(answer),
            Frame::Record(_) => Err(Error::Invalid(format!("a record in the answer to {}", self.command))),
        }
    }

    /// The next record; `None` after the last.
    fn record(&mut self) -> Result<Option<Rec>> {
        match self.frame()? {
            Frame::Json(answer) => self.accepted(answer).map(|_| None),
            Frame::Record(record) => Ok(Some(record)),
        }
    }

    fn accepted(&self, answer: Value) -> Result<Value> {
        let Some(error) = answer.get("error") else { return Ok(answer) };
        let text = |field: &str| error[field].as_str().unwrap_or_default().to_owned();
        Err(Error::Kafka { command: self.command.clone(), class: text("class"), message: text("message") })
    }
}
