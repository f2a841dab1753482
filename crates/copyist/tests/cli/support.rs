//! Processes of the binary, and what is asked of them.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub const WAIT_MAX: Duration = Duration::from_secs(30);

pub fn copyist(dir: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_copyist"));
    command.args(arguments).current_dir(dir.path()).env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
    command.env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end: exit status, stdout, stderr.
pub fn end(mut command: Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

pub fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, content) in files {
        fs::write(dir.path().join(name), content).expect("a file in it");
    }
    dir
}

/// A worker file whose listeners take any free port.
pub fn free_ports(more: &str) -> String {
    format!(
        "bootstrap.servers=localhost:1\nlisteners=http://127.0.0.1:0\ncoordinator.listen=127.0.0.1:0\n\
         metrics.listen=127.0.0.1:0\n{more}"
    )
}

/// A process that runs; killed when it is dropped.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub fn start(dir: &TempDir, environment: &[(&str, &str)]) -> Self {
        Self::start_as("standalone", dir, environment)
    }

    /// A process of a role, by the file `w.properties`.
    pub fn start_as(role: &str, dir: &TempDir, environment: &[(&str, &str)]) -> Self {
        let log = dir.path().join("log");
        let file = fs::File::create(&log).expect("a log file");
        let mut command = copyist(dir, &[role, "w.properties"]);
        command.envs(environment.iter().copied()).stderr(file);
        Self { child: command.spawn().expect("the binary starts"), log }
    }

    pub fn text(&self) -> String {
        fs::read_to_string(&self.log).expect("the log")
    }

    /// Waits until the log has this in it, and returns the log.
    pub fn wait_for(&mut self, what: &str) -> String {
        until(|| {
            let text = self.text();
            if text.contains(what) {
                return Some(text);
            }
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none(), "ended without {what:?}: {ended:?}\n{text}");
            None
        })
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("the process is there");
    }

    pub fn exit_status(&mut self) -> Option<i32> {
        until(|| self.child.try_wait().expect("a child")).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for another process, with a deadline")]
pub fn until<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let start = SystemTime::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed().is_ok_and(|waited| waited < WAIT_MAX), "waited in vain");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The address in a start-up line, between `before` and `after`.
pub fn address(log: &str, before: &str, after: &str) -> String {
    let (_, rest) = log.split_once(before).unwrap_or_else(|| panic!("{before:?} is not in {log}"));
    rest.split_once(after).unwrap_or_else(|| panic!("{after:?} is not in {rest}")).0.to_owned()
}

pub fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a listener");
    stream.set_read_timeout(Some(WAIT_MAX)).expect("a deadline");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
