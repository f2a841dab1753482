//! A distributed worker of Kafka Connect itself: what Copyist's answers are compared with.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::jars::Jars;
use crate::ports::free_port;
use crate::process::{Process, Spec};
use crate::progress::Progress;
use crate::rest::Rest;
use crate::scratch::Scratch;

const START_LIMIT: Duration = Duration::from_secs(120);

/// The only worker of its cluster; dropped, it is killed.
#[derive(Debug)]
pub struct ConnectWorker {
    rest: Rest,
    // Before the directory of its log.
    _process: Process,
    scratch: Scratch,
}

impl ConnectWorker {
    /// Starts it on the cluster `bootstrap`, and waits until `GET /health` answers 200.
    pub fn start(bootstrap: &str, progress: Progress) -> Result<ConnectWorker> {
        let jars = Jars::fetch_connect(progress)?;
        let scratch = Scratch::new("connect")?;
        let port = free_port()?;
        let file = scratch.path().join("worker.properties");
        fs::write(&file, properties(bootstrap, port)).map_err(Error::io("write worker.properties"))?;
        let flags = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(str::to_owned);
        let log = scratch.path().join("connect.log");
        let class = "org.apache.kafka.connect.cli.ConnectDistributed";
        let spec = jars.java_with("Kafka Connect", &flags, &jars.class_path(), class, &log)?;
        let rest = Rest::new(format!("http://127.0.0.1:{port}"))?;
        let mut process = Process::spawn(&Spec::arg(spec, file))?;
        process.wait_for("Kafka Connect to be healthy", START_LIMIT, progress, || {
            Ok(rest.get("/health").is_ok_and(|(status, _)| status == 200).then_some(()))
        })?;
        Ok(ConnectWorker { rest, _process: process, scratch })
    }

    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// For files that its connectors read.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }
}

fn properties(bootstrap: &str, port: u16) -> String {
    let storage =
        [("config", "configs"), ("offset", "offsets"), ("status", "status")].map(|(what, topic)| {
            format!("{what}.storage.topic=connect-{topic}\n{what}.storage.replication.factor=1\n")
        });
    format!(
        "bootstrap.servers={bootstrap}\n\
         group.id=connect\n\
         listeners=http://127.0.0.1:{port}\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\n\
         offset.flush.interval.ms=500\n\
         offset.storage.partitions=5\n\
         plugin.discovery=service_load\n\
         {}",
        storage.concat()
    )
}
