//! Who answers a test that is written once for Copyist and for Kafka Connect itself: `tests/connect-parity` runs it
//! against both.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::connect::ConnectWorker;
use crate::copyist::{Copyist, CopyistOptions};
use crate::error::{Error, Result};
use crate::jars::Jars;
use crate::progress::Progress;
use crate::record::Rec;
use crate::rest::Rest;
use crate::suite;

/// Set and not empty: the subject is a worker of Kafka Connect.
const CONNECT: &str = "COPYIST_TEST_CONNECT";
/// Of that worker's file.
const CONNECT_PROPERTIES: [(&str, &str); 5] = [
    ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
    ("value.converter", "org.apache.kafka.connect.storage.StringConverter"),
    ("offset.flush.interval.ms", "500"),
    ("offset.storage.partitions", "5"),
    ("plugin.discovery", "service_load"),
];
/// Records of each topic that a subject's connectors read.
pub const RECORDS: usize = 3;

/// On one cluster, with something to copy.
#[derive(Debug)]
pub enum Subject {
    Copyist(Box<Copyist>),
    Connect(ConnectWorker),
}

impl Subject {
    /// As the environment says.
    pub fn start(bootstrap: &str) -> Result<Subject> {
        if std::env::var_os(CONNECT).is_some_and(|value| !value.is_empty()) {
            let jars = Jars::fetch_connect(Progress::Silent)?;
            let mut worker = ConnectWorker::launch(&jars, bootstrap, "connect", &CONNECT_PROPERTIES)?;
            worker.wait_started()?;
            return Ok(Subject::Connect(worker));
        }
        let properties = BTreeMap::from([("offset.flush.interval.ms".to_owned(), "500".to_owned())]);
        let options = CopyistOptions { properties, ..CopyistOptions::default() };
        Copyist::start(bootstrap, options).map(|copyist| Subject::Copyist(Box::new(copyist)))
    }

    /// `copyist` or `connect`.
    pub fn name(&self) -> &'static str {
        match self {
            Subject::Copyist(_) => "copyist",
            Subject::Connect(_) => "connect",
        }
    }

    /// Where it keeps configs, offsets and statuses.
    #[must_use]
    pub fn storage_topics(&self) -> [&'static str; 3] {
        match self {
            Subject::Copyist(_) => ["copyist-configs", "copyist-offsets", "copyist-status"],
            Subject::Connect(_) => ["connect-config", "connect-offset", "connect-status"],
        }
    }

    pub fn rest(&self) -> &Rest {
        match self {
            Subject::Copyist(copyist) => copyist.rest(),
            Subject::Connect(worker) => worker.rest(),
        }
    }

    /// Its `worker_id`: `host:port` of its REST API.
    pub fn worker_id(&self) -> &str {
        self.rest().base().trim_start_matches("http://")
    }

    /// A source connector with one task that writes [`RECORDS`] records to `topic`, once: for Copyist from another
    /// topic, for Connect from a file.
    pub fn source(&self, bootstrap: &str, topic: &str) -> Result<Value> {
        match self {
            Subject::Copyist(_) => {
                let from = format!("{topic}-source");
                fill(bootstrap, &from)?;
                Ok(json!({"connector.class": "EMRReplicatorSourceConnector", "tasks.max": "1",
                    "src.kafka.bootstrap.servers": bootstrap, "topic.whitelist": from,
                    "topic.rename.format": topic}))
            }
            Subject::Connect(worker) => {
                let file = worker.dir().join(format!("{topic}.txt"));
                fs::write(&file, "line\n".repeat(RECORDS)).map_err(Error::io("write a file to copy"))?;
                // Connect leaves it to the brokers to create it, and ours create none by themselves.
                suite::tool().at(bootstrap).create_topic(topic, 1)?;
                Ok(json!({"connector.class": "FileStreamSource", "tasks.max": "1",
                    "file": file.display().to_string(), "topic": topic}))
            }
        }
    }

    /// A source connector that fails at once: Copyist's would copy a topic into itself, Connect's reads below a file.
    pub fn failing(&self, bootstrap: &str) -> Value {
        match self {
            Subject::Copyist(_) => json!({"connector.class": "EMRReplicatorSourceConnector",
                "src.kafka.bootstrap.servers": bootstrap, "topic.whitelist": "contract-source"}),
            Subject::Connect(worker) => {
                let file = worker.log_path().join("none");
                json!({"connector.class": "FileStreamSource", "file": file.display().to_string(), "topic": "failing"})
            }
        }
    }

    /// A source connector whose offsets are those of a topic: [`RECORDS`] records from `topic` to `source.topic`. For
    /// Connect this is MirrorMaker's.
    pub fn mirror(&self, bootstrap: &str, topic: &str) -> Result<Value> {
        fill(bootstrap, topic)?;
        if let Subject::Copyist(_) = self {
            return Ok(json!({"connector.class": "EMRReplicatorSourceConnector", "tasks.max": "1",
                "src.kafka.bootstrap.servers": bootstrap, "topic.whitelist": topic,
                "topic.rename.format": "source.${topic}"}));
        }
        let converter = "org.apache.kafka.connect.converters.ByteArrayConverter";
        Ok(
            json!({"connector.class": "org.apache.kafka.connect.mirror.MirrorSourceConnector", "tasks.max": "1",
            "source.cluster.alias": "source", "source.cluster.bootstrap.servers": bootstrap,
            "target.cluster.alias": "target", "target.cluster.bootstrap.servers": bootstrap,
            "topics": topic, "key.converter": converter, "value.converter": converter,
            "consumer.auto.offset.reset": "earliest",
            "replication.factor": "1", "offset-syncs.topic.replication.factor": "1",
            "sync.topic.acls.enabled": "false"}),
        )
    }
}

fn fill(bootstrap: &str, topic: &str) -> Result<()> {
    let kafka = suite::tool().at(bootstrap);
    kafka.create_topic(topic, 1)?;
    let records = (0..RECORDS).map(|n| Rec::new(topic, 0).value(format!("record {n}")));
    kafka.produce(&records.collect::<Vec<_>>()).map(|_| ())
}
