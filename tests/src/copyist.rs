//! The `copyist` binary as a process: `copyist standalone WORKER.properties [CONNECTOR…]`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::error::{Error, Result};
use crate::ports::free_port;
use crate::process::{Lifetime, Process, Spec};
use crate::progress::Progress;
use crate::rest::Rest;
use crate::scratch::Scratch;

const START_LIMIT: Duration = Duration::from_secs(60);
/// Beyond the deadline that it gives itself for draining.
const STOP_GRACE: Duration = Duration::from_secs(60);
const EXIT_LIMIT: Duration = Duration::from_secs(60);
const PORT_TRIES: u32 = 5;

#[derive(Clone, Debug, Default)]
pub struct CopyistOptions {
    /// Of the worker file, in addition or instead of [`Copyist`]'s own.
    pub properties: BTreeMap<String, String>,
    /// Files of connectors that the command line names.
    pub connectors: Vec<PathBuf>,
    /// Worker file, store and log; stays when it is dropped. `None`: a [`Scratch`], which does not.
    pub dir: Option<PathBuf>,
    /// `None`: [`copyist_binary`].
    pub binary: Option<PathBuf>,
    /// Variables to set, or to remove (`None`): `RUST_LOG`, …
    pub environment: BTreeMap<OsString, Option<OsString>>,
    pub lifetime: Lifetime,
    pub progress: Progress,
}

/// A Copyist; dropped, it is killed, and its store removed unless [`CopyistOptions::dir`] was given.
#[derive(Debug)]
pub struct Copyist {
    options: CopyistOptions,
    binary: PathBuf,
    dir: PathBuf,
    ports: Ports,
    rest: Rest,
    metrics: Rest,
    // Before the directory: it must be gone when its files go.
    process: Option<Process>,
    _scratch: Option<Scratch>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    rest: u16,
    grpc: u16,
    metrics: u16,
}

impl Ports {
    fn choose() -> Result<Ports> {
        Ok(Ports { rest: free_port()?, grpc: free_port()?, metrics: free_port()? })
    }
}

impl Copyist {
    /// Starts it with `destination` as `bootstrap.servers`, and waits until `GET /health` answers 200.
    pub fn start(destination: &str, options: CopyistOptions) -> Result<Copyist> {
        let mut tries = 1;
        loop {
            let mut copyist = Copyist::prepare(destination, options.clone())?;
            match copyist.restart() {
                Err(_) if tries < PORT_TRIES && copyist.port_was_taken() => tries += 1,
                Err(error) => return Err(error),
                Ok(()) => return Ok(copyist),
            }
        }
    }

    /// Writes the worker file and starts nothing; [`Copyist::restart`] or [`Copyist::launch`] does.
    pub fn prepare(destination: &str, options: CopyistOptions) -> Result<Copyist> {
        let binary = options.binary.clone().map_or_else(copyist_binary, Ok)?;
        let scratch = match &options.dir {
            Some(_) => None,
            None => Some(Scratch::new("copyist")?),
        };
        let kept = options.dir.as_deref();
        let dir = kept.or(scratch.as_ref().map(Scratch::path)).unwrap_or(Path::new(".")).to_owned();
        fs::create_dir_all(&dir).map_err(Error::io(format_args!("create {}", dir.display())))?;
        let ports = Ports::choose()?;
        let text = worker_properties(destination, &dir, ports, &options.properties);
        let rest = Rest::new(format!("http://127.0.0.1:{}", ports.rest))?;
        let metrics = Rest::new(format!("http://127.0.0.1:{}", ports.metrics))?;
        let copyist =
            Copyist { options, binary, dir, ports, rest, metrics, process: None, _scratch: scratch };
        fs::write(copyist.worker_file(), text).map_err(Error::io("write worker.properties"))?;
        Ok(copyist)
    }

    /// Starts it, without waiting for anything.
    pub fn launch(&mut self) -> Result<()> {
        let mut spec = Spec::new("copyist", &self.binary, self.log_path());
        spec = spec.arg("standalone").arg(self.worker_file()).args(&self.options.connectors);
        spec.environment = self.options.environment.clone();
        spec.lifetime = self.options.lifetime;
        self.process = Some(Process::spawn(&spec)?);
        Ok(())
    }

    /// Starts it on the same ports, store and worker file (which may have been changed), and waits until it is
    /// healthy. After [`Copyist::kill_9`] or [`Copyist::stop`]; when it still runs, only waits.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.is_none() {
            self.launch()?;
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        process.wait_for("copyist to be healthy", START_LIMIT, self.options.progress, || {
            Ok(self.rest.get("/health").is_ok_and(|(status, _)| status == 200).then_some(()))
        })
    }

    pub fn kill_9(&mut self) {
        self.process = None;
    }

    /// SIGTERM, then waits for its end; killed after 60 s, which is an error.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().ok_or_else(not_running)?;
        process.stop(STOP_GRACE)
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().map(|process| process.signal(signal)).ok_or_else(not_running)
    }

    /// Waits for it to end by itself, and returns its status and what it logged in this run.
    pub fn wait_exit(&mut self) -> Result<(ExitStatus, String)> {
        let mut process = self.process.take().ok_or_else(not_running)?;
        let status = process.wait_exit(EXIT_LIMIT, self.options.progress)?;
        Ok((status, process.log_text()?))
    }

    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// `host:port` of gRPC.
    pub fn grpc_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.grpc)
    }

    /// Where Prometheus finds its text.
    pub fn metrics_url(&self) -> String {
        format!("{}/metrics", self.metrics.base())
    }

    /// The Prometheus text.
    pub fn metrics(&self) -> Result<String> {
        match self.metrics.get_text("/metrics")? {
            (200, text) => Ok(text),
            (status, text) => Err(Error::Invalid(format!("GET /metrics answered {status}: {text}"))),
        }
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn worker_file(&self) -> PathBuf {
        self.dir.join("worker.properties")
    }

    pub fn store_path(&self) -> PathBuf {
        self.dir.join("copyist.redb")
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.join("copyist.log")
    }

    /// All that it logged, over restarts.
    pub fn log_text(&self) -> Result<String> {
        let path = self.log_path();
        fs::read_to_string(&path).map_err(Error::io(format_args!("read {}", path.display())))
    }

    fn port_was_taken(&self) -> bool {
        self.log_text().is_ok_and(|text| text.contains("in use"))
    }

    /// Gives it up, for [`Lifetime::MayOutliveUs`] and with a directory of its own; returns its pid.
    pub fn leave_running(mut self) -> Option<u32> {
        self.process.take().map(Process::leave_running)
    }
}

fn not_running() -> Error {
    Error::Invalid("copyist does not run".to_owned())
}

fn worker_properties(destination: &str, dir: &Path, ports: Ports, own: &BTreeMap<String, String>) -> String {
    let converter = "org.apache.kafka.connect.converters.ByteArrayConverter";
    let mut properties: BTreeMap<String, String> = BTreeMap::from(
        [
            ("bootstrap.servers", destination.to_owned()),
            ("group.id", "copyist".to_owned()),
            ("key.converter", converter.to_owned()),
            ("value.converter", converter.to_owned()),
            ("offset.storage.topic", "copyist-offsets".to_owned()),
            ("offset.storage.replication.factor", "1".to_owned()),
            ("offset.storage.partitions", "5".to_owned()),
            ("config.storage.topic", "copyist-configs".to_owned()),
            ("config.storage.replication.factor", "1".to_owned()),
            ("status.storage.topic", "copyist-status".to_owned()),
            ("status.storage.replication.factor", "1".to_owned()),
            ("listeners", format!("http://127.0.0.1:{}", ports.rest)),
            ("coordinator.listen", format!("127.0.0.1:{}", ports.grpc)),
            ("metrics.listen", format!("127.0.0.1:{}", ports.metrics)),
            ("store.path", dir.join("copyist.redb").display().to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    properties.extend(own.clone());
    properties.iter().map(|(key, value)| format!("{key}={}\n", value.replace('\\', "\\\\"))).collect()
}

/// `COPYIST_BIN`, else `copyist` in the target directory that the running executable comes from.
pub fn copyist_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("COPYIST_BIN").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe().map_err(Error::io("find our own executable"))?;
    let dir = own.parent().unwrap_or(Path::new("."));
    // Cargo puts tests one deeper.
    let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    let binary = dir.join("copyist");
    if binary.is_file() {
        return Ok(binary);
    }
    let hint = "build it (cargo build -p copyist) or set COPYIST_BIN";
    Err(Error::Invalid(format!("{} does not exist; {hint}", binary.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_properties_win_in_the_worker_file() {
        let own =
            BTreeMap::from([("group.id".to_owned(), "mine".to_owned()), ("x".to_owned(), "a\\b".to_owned())]);
        let ports = Ports { rest: 1, grpc: 2, metrics: 3 };
        let text = worker_properties("broker:9092", Path::new("/dir"), ports, &own);
        let lines: Vec<&str> = text.lines().collect();
        for expected in [
            "bootstrap.servers=broker:9092",
            "group.id=mine",
            "listeners=http://127.0.0.1:1",
            "coordinator.listen=127.0.0.1:2",
            "metrics.listen=127.0.0.1:3",
            "store.path=/dir/copyist.redb",
            "x=a\\\\b",
        ] {
            assert!(lines.contains(&expected), "{expected} in {text}");
        }
    }

    #[test]
    fn a_missing_binary_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = CopyistOptions {
            binary: Some("/nowhere/copyist".into()),
            dir: Some(dir.path().to_owned()),
            ..CopyistOptions::default()
        };
        let error = Copyist::start("broker:9092", options).expect_err("there is none").to_string();
        assert_eq!(error, "/nowhere/copyist does not exist, needed for copyist");
    }
}
