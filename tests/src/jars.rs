//! Kafka's jars, from where the machine's Maven gets them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::{cache_dir, fingerprint, make_once};
use crate::error::{Error, Result};
use crate::java::java_program;
use crate::process::{Process, Spec, find_program};
use crate::progress::Progress;
use crate::version::{KAFKA_VERSION, KafkaVersion};
use crate::wait::{Waited, wait_telling};

const POM: &str = include_str!("../kafka/pom.xml");
const BROKER_POM: &str = include_str!("../kafka/broker.xml");
const CONNECT_POM: &str = include_str!("../kafka/connect.xml");
const REST_CLIENT_POM: &str = include_str!("../clients/pom.xml");
const REST_CLIENT_VERSION: &str = "4.0.5";
const SCALA_2_12_POM: &str = include_str!("../kafka/broker-2.12.xml");
const LOG4J: &str = include_str!("../kafka/log4j2.properties");
const LOG4J_FILE: &str = "log4j2.properties";
const FETCH_LIMIT: Duration = Duration::from_secs(900);
/// One jar of each of the pom's dependencies, and the clients that the tool is compiled against.
const REQUIRED: [&str; 4] = [
    "kafka_2.13-4.3.1.jar",
    "kafka-tools-4.3.1.jar",
    "kafka-clients-4.3.1.jar",
    "log4j-slf4j-impl-2.25.4.jar",
];

/// Kafka's jars on this machine.
#[derive(Clone, Debug)]
pub struct Jars {
    root: PathBuf,
    libs: PathBuf,
    log4j: PathBuf,
}

impl Jars {
    /// Fetches them into `${XDG_CACHE_HOME:-~/.cache}/copyist/kafka-4.3.1`, about 55 MB; when they are there it is
    /// instant and uses no network.
    pub fn fetch(progress: Progress) -> Result<Jars> {
        Jars::fetch_into(&cache_dir()?, progress)
    }

    /// As [`Jars::fetch`], with another directory in place of `…/copyist`.
    pub fn fetch_into(cache: &Path, progress: Progress) -> Result<Jars> {
        let what = Fetched {
            what: format!("Kafka {KAFKA_VERSION}"),
            version: KAFKA_VERSION.to_string(),
            pom: POM,
            required: REQUIRED.map(str::to_owned).to_vec(),
        };
        what.fetch(&cache.join(format!("kafka-{KAFKA_VERSION}")), progress)
    }

    /// A broker of another version, without its tools, into `…/kafka-VERSION`.
    pub fn fetch_broker(version: KafkaVersion, progress: Progress) -> Result<Jars> {
        let (pom, broker) = match version.is_for_scala_2_13() {
            true => (BROKER_POM, "kafka_2.13"),
            false => (SCALA_2_12_POM, "kafka_2.12"),
        };
        let required = [broker, "kafka-clients"].map(|jar| format!("{jar}-{version}.jar"));
        let what = Fetched {
            what: format!("Kafka {version}"),
            version: version.to_string(),
            pom,
            required: required.to_vec(),
        };
        what.fetch(&cache_dir()?.join(format!("kafka-{version}")), progress)
    }

    /// A worker of Kafka Connect with the file connectors and MirrorMaker's, into `…/connect-4.3.1`.
    pub fn fetch_connect(progress: Progress) -> Result<Jars> {
        let required = ["connect-runtime", "connect-file", "connect-mirror"];
        let what = Fetched {
            what: format!("Kafka Connect {KAFKA_VERSION}"),
            version: KAFKA_VERSION.to_string(),
            pom: CONNECT_POM,
            required: required.map(|jar| format!("{jar}-{KAFKA_VERSION}.jar")).to_vec(),
        };
        what.fetch(&cache_dir()?.join(format!("connect-{KAFKA_VERSION}")), progress)
    }

    /// `org.sourcelab:kafka-connect-client`, a typed client of Connect's REST API, into `…/kafka-connect-client-4.0.5`.
    pub fn fetch_rest_client(progress: Progress) -> Result<Jars> {
        let name = format!("kafka-connect-client-{REST_CLIENT_VERSION}");
        let what = Fetched {
            what: name.clone(),
            version: REST_CLIENT_VERSION.to_owned(),
            pom: REST_CLIENT_POM,
            required: vec![format!("{name}.jar")],
        };
        what.fetch(&cache_dir()?.join(name), progress)
    }

    /// Where the jars and what is compiled against them lie.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The class path of all jars, in the form that `java -cp` takes.
    pub fn class_path(&self) -> PathBuf {
        self.libs.join("*")
    }

    /// One of Kafka's classes as a process: `kafka.Kafka`, `org.apache.kafka.tools.ProducerPerformance`, …
    /// Arguments follow with [`Spec::args`].
    pub fn java(&self, what: &str, class: &str, log: &Path) -> Result<Spec> {
        self.java_with(what, &[], &self.class_path(), class, log)
    }

    /// As [`Jars::java`], for one of Kafka's command line tools: it starts quickly, and logs only warnings beside what
    /// it prints.
    pub fn command(&self, what: &str, class: &str, log: &Path) -> Result<Spec> {
        let flags = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dcopyist.log.level=WARN"];
        self.java_with(what, &flags.map(str::to_owned), &self.class_path(), class, log)
    }

    pub(crate) fn java_with(
        &self,
        what: &str,
        jvm_flags: &[String],
        class_path: &Path,
        class: &str,
        log: &Path,
    ) -> Result<Spec> {
        let mut log4j = std::ffi::OsString::from("-Dlog4j2.configurationFile=");
        log4j.push(&self.log4j);
        // The machine's own JVM options would change what runs here.
        let mut spec = Spec::new(what, java_program("java")?, log).args(jvm_flags).arg(log4j);
        spec.environment.insert("JAVA_TOOL_OPTIONS".into(), None);
        spec.environment.insert("JDK_JAVA_OPTIONS".into(), None);
        Ok(spec.arg("-cp").arg(class_path).arg(class))
    }
}

/// The jars of one pom.
struct Fetched {
    /// What messages call it.
    what: String,
    /// The pom's `${version}`.
    version: String,
    pom: &'static str,
    required: Vec<String>,
}

impl Fetched {
    fn fetch(&self, root: &Path, progress: Progress) -> Result<Jars> {
        let libs = root.join(format!("libs-{}", fingerprint(&[self.pom])));
        make_once(&libs, progress, |dir| {
            self.copy_dependencies(dir, root, progress)?;
            self.check(dir)
        })?;
        let log4j = root.join(format!("log4j2-{}", fingerprint(&[LOG4J])));
        make_once(&log4j, progress, |dir| {
            fs::write(dir.join(LOG4J_FILE), LOG4J).map_err(Error::io(format_args!("write {LOG4J_FILE}")))
        })?;
        Ok(Jars { root: root.to_owned(), libs, log4j: log4j.join(LOG4J_FILE) })
    }

    fn copy_dependencies(&self, dir: &Path, root: &Path, progress: Progress) -> Result<()> {
        let maven = find_program("mvn", "to fetch Kafka", "maven")?;
        progress.say(format_args!("Fetching {} (up to 55 MB)", self.what));
        fs::write(dir.join("pom.xml"), self.pom).map_err(Error::io("write pom.xml"))?;
        let mut output = std::ffi::OsString::from("-DoutputDirectory=");
        output.push(dir);
        let log = root.join("fetch.log");
        let spec = Spec::new(format!("the fetch of {} by mvn", self.what), maven, &log)
            .args(["--batch-mode", "--file"]);
        let spec =
            spec.arg(dir.join("pom.xml")).args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
        let spec = spec.arg(format!("-Dkafka.version={}", self.version));
        let mut process = Process::spawn(&spec.arg(output))?;
        let status = wait_telling(FETCH_LIMIT, progress, || {
            Ok(match process.exited()? {
                Some(status) => Waited::For(status),
                None => Waited::Still(fetched_so_far(&self.what, &process.log_text()?)),
            })
        });
        process.ended_well(status)
    }

    fn check(&self, dir: &Path) -> Result<()> {
        let missing: Vec<&str> =
            self.required.iter().map(String::as_str).filter(|jar| !dir.join(jar).is_file()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing = missing.join(", ");
        Err(Error::Invalid(format!("mvn reported success, but these jars are not there: {missing}")))
    }
}

/// Maven logs one line per file; the pom of each jar is one as well.
fn fetched_so_far(what: &str, log: &str) -> String {
    let files = log.lines().filter(|line| line.contains("Downloaded from")).count();
    let jars = log.lines().filter(|line| line.contains("Downloaded from") && line.contains(".jar (")).count();
    format!("{what}: {files} files so far, {jars} of them jars")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_maven_fetched() {
        let log = "[INFO] Downloading from central: x/a.pom\n[INFO] Downloaded from central: x/a.pom (2 kB at 3 kB/s)\n\
                   [INFO] Downloaded from central: x/a.jar (5 MB at 9 MB/s)\n";
        assert_eq!(fetched_so_far("Kafka 4.3.1", log), "Kafka 4.3.1: 2 files so far, 1 of them jars");
    }

    #[test]
    fn names_the_missing_jars() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for jar in &REQUIRED[1..] {
            fs::write(dir.path().join(jar), "").expect("written");
        }
        let required = REQUIRED.map(str::to_owned).to_vec();
        let (what, version) = ("Kafka".to_owned(), KAFKA_VERSION.to_string());
        let what = Fetched { what, version, pom: POM, required };
        let error = what.check(dir.path()).expect_err("one is missing").to_string();
        assert!(error.ends_with("not there: kafka_2.13-4.3.1.jar"), "{error}");
    }
}
