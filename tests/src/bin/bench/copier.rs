//! Starts a copier between two clusters.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use copyist_tests::process::find_program;
use copyist_tests::{
    Copyist, CopyistOptions, Error, Jars, Process, Progress, Result, Spec, cache_dir, free_port, wait_until,
};
use serde_json::{Value, json};

use crate::options::{Copier, OfCopyist};

const COPY_LOOP: &str = include_str!("../../../java/CopyLoop.java");
const LATENCY: &str = include_str!("../../../java/Latency.java");
const MIRROR_POM: &str = include_str!("mirror-maker.pom.xml");
const LOG4J: &str = include_str!("../../../kafka/log4j2.properties");
const MIRROR_JAR: &str = "connect-mirror-4.3.1.jar";
const FETCH_LIMIT: Duration = Duration::from_secs(900);
const RUNNING_LIMIT: Duration = Duration::from_secs(60);

/// From where to where.
#[derive(Clone, Debug)]
pub struct Route {
    pub source: String,
    pub destination: String,
    pub source_topic: String,
    pub destination_topic: String,
    /// Of the source's batches: a copier that compresses anew takes it as well.
    pub codec: &'static str,
}

/// A copier that runs; dropped, it is killed.
#[derive(Debug)]
pub enum Running {
    Copyist(Box<Copyist>),
    Other(Process),
}

impl Running {
    pub fn pid(&self) -> Result<u32> {
        let pid = match self {
            Running::Copyist(copyist) => copyist.pid(),
            Running::Other(process) => Some(process.pid()),
        };
        pid.ok_or_else(|| Error::Invalid("the copier does not run".to_owned()))
    }

    /// What Copyist says about the connector; for an error's text.
    pub fn status(&self) -> String {
        match self {
            Running::Copyist(copyist) => {
                let status = copyist.rest().get("/connectors/bench/status");
                status.map_or_else(|error| error.chain(), |(_, status)| format!("{status:#}"))
            }
            Running::Other(process) => {
                let text = process.log_text().unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                lines[lines.len().saturating_sub(20)..].join("\n")
            }
        }
    }
}

/// What is needed to start any of them.
#[derive(Debug)]
pub struct Starter<'a> {
    pub jars: &'a Jars,
    pub logs: &'a Path,
    pub copyist: &'a OfCopyist,
}

impl Starter<'_> {
    pub fn start(&self, copier: Copier, route: &Route) -> Result<Running> {
        match copier {
            Copier::Raw | Copier::Librdkafka => self.copyist(copier, route),
            Copier::Java => self.copy_loop(route).map(Running::Other),
            Copier::MirrorMaker => self.mirror_maker(route).map(Running::Other),
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    fn copyist(&self, copier: Copier, route: &Route) -> Result<Running> {
        // What an earlier one stored is not for this one.
        let own = format!("copyist-bench-{}-{}", copier.name(), free_port()?);
        let mut properties = BTreeMap::from([
            ("group.id".to_owned(), own.clone()),
            ("offset.storage.topic".to_owned(), format!("{own}-offsets")),
            ("config.storage.topic".to_owned(), format!("{own}-configs")),
            ("status.storage.topic".to_owned(), format!("{own}-status")),
        ]);
        properties.extend(self.copyist.worker.iter().cloned());
        let options = CopyistOptions {
            properties,
            binary: self.copyist.copyist.clone(),
            dir: Some(self.logs.join(&own)),
            ..CopyistOptions::default()
        };
        let copyist = Copyist::start(&route.destination, options)?;
        let mut config: BTreeMap<&str, &str> = BTreeMap::from([
            ("connector.class", "EMRReplicatorSourceConnector"),
            ("src.kafka.bootstrap.servers", &*route.source),
            ("topic.whitelist", &*route.source_topic),
            ("topic.rename.format", &*route.destination_topic),
            ("engine", copier.name()),
        ]);
        config.extend(self.copyist.connector.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let (status, answer) =
            copyist.rest().post("/connectors", &json!({"name": "bench", "config": config}))?;
        if status != 201 {
            return Err(Error::Invalid(format!("the connector was refused with {status}: {answer}")));
        }
        wait_running(&copyist)?;
        Ok(Running::Copyist(Box::new(copyist)))
    }

    /// A single file, which `java` compiles in memory.
    fn program(&self, what: &str, flags: &[&str], name: &str, text: &str) -> Result<Spec> {
        let file = self.logs.join(name);
        fs::write(&file, text).map_err(Error::io(format_args!("write {}", file.display())))?;
        let spec = self.jars.java(what, "", &self.log(what))?;
        // The class is the last argument; flags go before it.
        let mut spec = Spec { args: spec.args[..spec.args.len() - 1].to_vec(), ..spec };
        spec = spec.arg("-Dcopyist.log.level=WARN").args(flags.iter().copied());
        Ok(spec.arg(file))
    }

    fn copy_loop(&self, route: &Route) -> Result<Process> {
        let spec =
            self.program("java", &["-Xms1g", "-Xmx1g", "-XX:+UseParallelGC"], "CopyLoop.java", COPY_LOOP)?;
        Process::spawn(&spec.args([
            &route.source,
            &route.destination,
            &route.source_topic,
            &route.destination_topic,
            route.codec,
        ]))
    }

    /// Runs it to its end; the line that it printed.
    pub fn latency(&self, route: &Route, rate: u32, seconds: u64) -> Result<String> {
        let spec = self.program("latency", &["-Xms256m", "-Xmx256m"], "Latency.java", LATENCY)?;
        let spec = spec.args([
            &route.source,
            &route.destination,
            &route.source_topic,
            &route.destination_topic,
            &rate.to_string(),
            &seconds.to_string(),
            &seconds.to_string(),
        ]);
        let mut line = None;
        let limit = Duration::from_secs(2 * seconds + 120);
        Process::run_telling(&spec, limit, |text| {
            let found = text.lines().rev().find_map(|line| line.strip_prefix("latency_ms "));
            line = found.map(str::to_owned);
        })?;
        line.ok_or_else(|| Error::Invalid("the latency was not told".to_owned()))
    }

    fn mirror_maker(&self, route: &Route) -> Result<Process> {
        let libs = mirror_jars(self.logs)?;
        let (file, log4j) = (self.logs.join("mm2.properties"), self.logs.join("log4j2.properties"));
        let written = fs::write(&file, mirror_properties(route)).and_then(|()| fs::write(&log4j, LOG4J));
        written.map_err(Error::io("write the files of MirrorMaker 2"))?;
        let java = find_program("java", "to run MirrorMaker 2", "openjdk-17-jdk-headless")?;
        let spec = Spec::new("MirrorMaker 2", java, self.log("mm2"));
        // As `kafka-run-class.sh` and Connect's scripts have it.
        let spec = spec.arg("-Xms256m").arg("-Xmx2g");
        let spec = spec.arg(format!("-Dlog4j2.configurationFile={}", log4j.display()));
        let spec = spec.arg("-cp").arg(libs.join("*")).arg("org.apache.kafka.connect.mirror.MirrorMaker");
        Process::spawn(&spec.arg(file))
    }
}

fn wait_running(copyist: &Copyist) -> Result<()> {
    let mut last = Value::Null;
    let found = wait_until("every task to run", RUNNING_LIMIT, Progress::Terminal, || {
        last = copyist.rest().get("/connectors/bench/status")?.1;
        let tasks = last["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let all = !tasks.is_empty() && tasks.iter().all(|task| task["state"] == "RUNNING");
        Ok(all.then_some(()))
    });
    found.map_err(|error| Error::Invalid(format!("{}; the status is {last:#}", error.chain())))
}

/// Tuned: larger fetches and batches, two tasks, nothing but the copy.
fn mirror_properties(route: &Route) -> String {
    let Route { source, destination, source_topic, codec, .. } = route;
    format!(
        "clusters=source,destination\n\
         source.bootstrap.servers={source}\n\
         destination.bootstrap.servers={destination}\n\
         source->destination.enabled=true\n\
         destination->source.enabled=false\n\
         source->destination.topics={source_topic}\n\
         replication.policy.class=org.apache.kafka.connect.mirror.IdentityReplicationPolicy\n\
         tasks.max=2\n\
         replication.factor=1\n\
         offset-syncs.topic.replication.factor=1\n\
         checkpoints.topic.replication.factor=1\n\
         heartbeats.topic.replication.factor=1\n\
         offset.storage.replication.factor=1\n\
         status.storage.replication.factor=1\n\
         config.storage.replication.factor=1\n\
         emit.heartbeats.enabled=false\n\
         emit.checkpoints.enabled=false\n\
         sync.topic.configs.enabled=false\n\
         sync.topic.acls.enabled=false\n\
         sync.group.offsets.enabled=false\n\
         refresh.groups.enabled=false\n\
         source.consumer.auto.offset.reset=earliest\n\
         source.consumer.fetch.max.bytes=16777216\n\
         source.consumer.max.partition.fetch.bytes=4194304\n\
         source.consumer.max.poll.records=5000\n\
         destination.producer.acks=all\n\
         destination.producer.batch.size=524288\n\
         destination.producer.buffer.memory=134217728\n\
         destination.producer.max.request.size=8388608\n\
         destination.producer.compression.type={codec}\n"
    )
}

fn mirror_jars(logs: &Path) -> Result<PathBuf> {
    let dir = cache_dir()?.join("mirror-maker-4.3.1");
    if dir.join(MIRROR_JAR).is_file() {
        return Ok(dir);
    }
    Progress::Terminal.say("Fetching MirrorMaker 2 of Kafka 4.3.1");
    let partial = dir.with_extension(format!("partial-{}", std::process::id()));
    fs::create_dir_all(&partial).map_err(Error::io(format_args!("create {}", partial.display())))?;
    let pom = partial.join("pom.xml");
    fs::write(&pom, MIRROR_POM).map_err(Error::io("write pom.xml"))?;
    let maven = find_program("mvn", "to fetch MirrorMaker 2", "maven")?;
    let spec = Spec::new("the fetch of MirrorMaker 2 by mvn", maven, logs.join("fetch.log"));
    let spec = spec.args(["--batch-mode", "--file"]).arg(&pom).arg("dependency:copy-dependencies");
    let spec = spec.arg("-DincludeScope=runtime").arg(format!("-DoutputDirectory={}", partial.display()));
    Process::run(&spec, FETCH_LIMIT, Progress::Terminal)?;
    // Whoever else fetched it meanwhile has the same.
    if let Err(source) = fs::rename(&partial, &dir)
        && !dir.join(MIRROR_JAR).is_file()
    {
        return Err(Error::io(format!("rename {}", partial.display()))(source));
    }
    Ok(dir)
}
