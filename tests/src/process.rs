//! A child process with a log file. It leads its own process group, so that Ctrl-C at the terminal reaches only us and
//! we end things in order; and the kernel kills it when we die, even by `kill -9`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::error::{Error, LogTail, Result};
use crate::progress::Progress;
use crate::spawner;
use crate::wait::{Deadline, Waited, pause, wait_telling};

/// How long a child lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// Until its handle is dropped, or we die.
    #[default]
    WithUs,
    /// Until its handle is dropped; [`Process::leave_running`] lets it live on after us.
    MayOutliveUs,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Spec {
    /// How messages call it: "Kafka node 1 of source".
    pub what: String,
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// Variables to set, or to remove (`None`).
    pub environment: BTreeMap<OsString, Option<OsString>>,
    pub current_dir: Option<PathBuf>,
    /// Takes standard output and standard error; appended to.
    pub log: PathBuf,
    pub lifetime: Lifetime,
}

impl Spec {
    pub fn new(what: impl Into<String>, program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Spec {
        Spec {
            what: what.into(),
            program: program.into(),
            args: Vec::new(),
            environment: BTreeMap::new(),
            current_dir: None,
            log: log.into(),
            lifetime: Lifetime::default(),
        }
    }

    pub fn arg(mut self, arg: impl Into<OsString>) -> Spec {
        self.args.push(arg.into());
        self
    }

    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Spec {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    fn command(&self, log: File) -> Result<Command> {
        let mut command = match self.lifetime {
            // setpriv(1) of util-linux sets the death signal, then becomes the program: same pid.
            Lifetime::WithUs => {
                let setpriv = find_program("setpriv", "to end processes with us", "util-linux")?;
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL"]).arg(&self.program);
                command
            }
            Lifetime::MayOutliveUs => Command::new(&self.program),
        };
        command.args(&self.args).process_group(0).stdin(Stdio::null());
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(dir) = &self.current_dir {
            command.current_dir(dir);
        }
        let errors = log.try_clone().map_err(Error::io("share a log file"))?;
        command.stdout(log).stderr(errors);
        Ok(command)
    }
}

/// A running or ended child; dropped, it is killed and waited for.
#[derive(Debug)]
pub struct Process {
    what: String,
    child: Child,
    log: PathBuf,
    /// The bytes before this are of earlier runs.
    log_begin: u64,
    left: bool,
}

impl Process {
    pub fn spawn(spec: &Spec) -> Result<Process> {
        // setpriv would report a missing program only in the log.
        if spec.program.components().count() > 1 && !spec.program.exists() {
            let message = format!("{} does not exist, needed for {}", spec.program.display(), spec.what);
            return Err(Error::Invalid(message));
        }
        let log = File::options().create(true).append(true).open(&spec.log);
        let log = log.map_err(Error::io(format_args!("write the log {}", spec.log.display())))?;
        let log_begin = log.metadata().map_err(Error::io("read the size of a log"))?.len();
        let child = spawner::spawn(spec.command(log)?)?;
        Ok(Process { what: spec.what.clone(), child, log: spec.log.clone(), log_begin, left: false })
    }

    /// Runs to the end; an exit other than 0 is an error with the end of the log.
    pub fn run(spec: &Spec, limit: Duration, progress: Progress) -> Result<()> {
        let mut process = Process::spawn(spec)?;
        let status = process.wait_exit(limit, progress);
        process.ended_well(status)
    }

    /// As [`Process::run`]; `tell` is called again and again with all that was logged so far, and once after the end.
    pub fn run_telling(spec: &Spec, limit: Duration, mut tell: impl FnMut(&str)) -> Result<()> {
        let mut process = Process::spawn(spec)?;
        let status = wait_telling(limit, Progress::Silent, || {
            let ended = process.exited()?;
            tell(&process.log_text()?);
            Ok(ended.map_or_else(|| Waited::Still(format!("the end of {}", process.what)), Waited::For))
        });
        process.ended_well(status)
    }

    /// An exit status other than 0 is an error, and errors show the end of the log.
    pub(crate) fn ended_well(&self, status: Result<ExitStatus>) -> Result<()> {
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.exited_error(status)),
            Err(error) => Err(self.with_tail(error)),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// What this run has logged so far.
    pub fn log_text(&self) -> Result<String> {
        let failed = || Error::io(format!("read the log {}", self.log.display()));
        let mut file = File::open(&self.log).map_err(failed())?;
        file.seek(SeekFrom::Start(self.log_begin)).map_err(failed())?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Its exit status, once it has ended.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(Error::io(format_args!("ask whether {} runs", self.what)))
    }

    /// Waits for a condition of a process that must keep running: its end is an error with the end of its log, and so
    /// is the deadline.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        progress: Progress,
        mut poll: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let waited = wait_telling(limit, progress, || {
            if let Some(value) = poll()? {
                return Ok(Waited::For(value));
            }
            match self.exited()? {
                Some(status) => Err(self.exited_error(status)),
                None => Ok(Waited::Still(what.to_owned())),
            }
        });
        waited.map_err(|error| self.with_tail(error))
    }

    /// Waits for its end.
    pub fn wait_exit(&mut self, limit: Duration, progress: Progress) -> Result<ExitStatus> {
        let waited = wait_telling(limit, progress, || match self.exited()? {
            Some(status) => Ok(Waited::For(status)),
            None => Ok(Waited::Still(format!("the end of {}", self.what))),
        });
        waited.map_err(|error| self.with_tail(error))
    }

    pub fn signal(&self, signal: Signal) {
        spawner::signal_group(self.pid(), signal);
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill_9(&mut self) {
        // Once waited for, its number may be somebody else's.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.signal(Signal::SIGKILL);
            let _status = self.child.wait();
        }
        spawner::forget(self.pid());
    }

    /// SIGTERM, then waits at most `grace`; after that `kill -9` and a [`Error::Timeout`].
    pub fn stop(&mut self, grace: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM);
        // Not `wait_exit`: an orderly stop goes on after an interrupt.
        let deadline = Deadline::after(grace);
        while !deadline.passed() {
            if let Some(status) = self.exited()? {
                spawner::forget(self.pid());
                return Ok(status);
            }
            pause();
        }
        self.kill_9();
        let what = format!("the end of {} after SIGTERM", self.what);
        Err(Error::Timeout { what, limit: grace, tail: LogTail::read(&self.log) })
    }

    /// Gives the process up: with [`Lifetime::MayOutliveUs`] it runs on after us.
    pub fn leave_running(mut self) -> u32 {
        self.left = true;
        spawner::forget(self.pid());
        self.pid()
    }

    fn exited_error(&self, status: ExitStatus) -> Error {
        if spawner::interrupted() {
            return Error::Interrupted;
        }
        let tail = LogTail::read(&self.log);
        Error::Exited { what: self.what.clone(), status: status.to_string(), tail }
    }

    fn with_tail(&self, error: Error) -> Error {
        if let Error::Timeout { what, limit, tail } = error {
            let tail = if tail.path.is_none() { LogTail::read(&self.log) } else { tail };
            return Error::Timeout { what, limit, tail };
        }
        error
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.left {
            self.kill_9();
        }
    }
}

/// Finds a program on `PATH`.
pub fn find_program(name: &str, purpose: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    on_path(name, &path).ok_or_else(|| Error::ToolMissing {
        tool: name.to_owned(),
        purpose: purpose.to_owned(),
        package: package.to_owned(),
    })
}

fn on_path(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
