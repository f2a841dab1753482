//! A real worker of Kafka Connect, distributed, as a process.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::jars::Jars;
use crate::java::classes;
use crate::ports::free_port;
use crate::process::Process;
use crate::progress::Progress;
use crate::rest::Rest;
use crate::scratch::Scratch;

const START_LIMIT: Duration = Duration::from_secs(120);
const CLASS: &str = "org.apache.kafka.connect.cli.ConnectDistributed";

/// A worker; dropped, it is killed. It knows the connector classes of `tests/java`.
#[derive(Debug)]
pub struct ConnectWorker {
    rest: Rest,
    // Before the directory of its log.
    process: Process,
    scratch: Scratch,
}

impl ConnectWorker {
    /// Starts one of the group `group`, whose topics are `group-config`, `group-status` and `group-offset`, and waits for
    /// nothing. `more` properties come over its own.
    pub fn launch(jars: &Jars, bootstrap: &str, group: &str, more: &[(&str, &str)]) -> Result<ConnectWorker> {
        let scratch = Scratch::new("connect-worker")?;
        let port = free_port()?;
        let file = scratch.path().join("connect-distributed.properties");
        fs::write(&file, properties(bootstrap, group, port, more))
            .map_err(Error::io("write a worker file"))?;
        let mut class_path = classes(jars, Progress::Silent)?.into_os_string();
        class_path.push(":");
        class_path.push(jars.class_path());
        let flags = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(str::to_owned);
        let log = scratch.path().join("connect.log");
        let spec = jars.java_with("a Connect worker", &flags, class_path.as_ref(), CLASS, &log)?;
        let process = Process::spawn(&spec.arg(&file))?;
        let rest = Rest::new(format!("http://127.0.0.1:{port}"))?;
        Ok(ConnectWorker { rest, process, scratch })
    }

    /// Waits until it has read its topics.
    pub fn wait_started(&mut self) -> Result<()> {
        let rest = &self.rest;
        self.process.wait_for("Connect to be healthy", START_LIMIT, Progress::Silent, || {
            Ok(rest.get("/health").is_ok_and(|(status, _)| status == 200).then_some(()))
        })
    }

    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// For files that its connectors read.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    pub fn log_path(&self) -> PathBuf {
        self.process.log_path().to_owned()
    }

    pub fn log_text(&self) -> Result<String> {
        self.process.log_text()
    }
}

fn properties(bootstrap: &str, group: &str, port: u16, more: &[(&str, &str)]) -> String {
    let converter = "org.apache.kafka.connect.json.JsonConverter";
    let mut properties: BTreeMap<String, String> = BTreeMap::from(
        [
            ("bootstrap.servers", bootstrap),
            ("group.id", group),
            ("key.converter", converter),
            ("value.converter", converter),
            ("listeners", &format!("http://127.0.0.1:{port}")),
            ("scheduled.rebalance.max.delay.ms", "0"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    for topic in ["config", "status", "offset"] {
        properties.insert(format!("{topic}.storage.topic"), format!("{group}-{topic}"));
        properties.insert(format!("{topic}.storage.replication.factor"), "1".to_owned());
    }
    properties.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    properties.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}
