//! A run of the process, from the command line to its exit status.

use std::fs;
use std::future::Future;
use std::io::{self, Write};
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use copyist_agent::error::chain;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cli::{Cli, Command};
use crate::connector_file::{self, ConnectorFile};
use crate::error::{Error, Problem};
use crate::settings::{Level, Machine, Notice, Role, Settings};
use crate::shutdown::{Shutdown, Signal, Signals};
use crate::telemetry::traces::{self, Plan, Traces};
use crate::{roles, telemetry};
use copyist_model::Loggers;
use copyist_model::properties::Properties;

/// What closing the roles may take beyond the tasks' own `task.shutdown.graceful.timeout.ms`.
const CLOSING_MAX: Duration = Duration::from_secs(5);
/// What a process without tasks may take: a gateway answers what it has within 10 s.
const ANSWERING_MAX: Duration = Duration::from_secs(15);
/// What the runtime may take to end what still runs when everything of ours has returned.
const RUNTIME_STOP_MAX: Duration = Duration::from_secs(2);

/// Does what the command line says, and returns the exit status.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let (inputs, notices) = read(&cli.command);
    match inputs {
        Ok(inputs) => run_roles(inputs, &notices),
        Err(error) => {
            // Nothing says yet how logs are to look: this is for a person at a terminal. A stderr that is gone
            // leaves the exit status.
            let lines = error.to_string();
            let warnings = notices.iter().filter(|notice| notice.level == Level::Warning);
            let warnings = warnings.map(|notice| format!("warning: {}\n", notice.text)).collect::<String>();
            let errors = lines.lines().map(error_line).collect::<String>();
            let _ = io::stderr().write_all(format!("{warnings}{errors}").as_bytes());
            ExitCode::from(error.exit_status())
        }
    }
}

/// A line that is indented belongs to the one before, and may be one to be copied.
fn error_line(line: &str) -> String {
    if line.starts_with(' ') { format!("{line}\n") } else { format!("error: {line}\n") }
}

/// Everything that is read before anything runs.
struct Inputs {
    settings: Settings,
    connector_files: Vec<ConnectorFile>,
    loggers: Loggers,
    traces: Option<Plan>,
}

/// All files and the environment, and what is wrong with any of them.
fn read(command: &Command) -> (Result<Inputs, Error>, Vec<Notice>) {
    let mut problems = Vec::new();
    let mut notices = Vec::new();
    let settings = read_worker_file(command.worker_file(), command.role(), &mut notices);
    let files: Vec<_> = command.connector_files().iter().map(|path| read_connector_file(path)).collect();
    let loggers = telemetry::loggers_of_environment().map_err(|problem| vec![problem]);
    let settings = keep(settings, &mut problems);
    let connector_files: Vec<_> = files.into_iter().filter_map(|file| keep(file, &mut problems)).collect();
    problems.extend(connector_file::repeated_names(&connector_files));
    let loggers = keep(loggers, &mut problems);
    let traces = keep(traces::plan_of_environment(), &mut problems).flatten();
    let inputs = match (settings, loggers) {
        (Some(settings), Some(loggers)) if problems.is_empty() => {
            Ok(Inputs { settings, connector_files, loggers, traces })
        }
        (Some(_) | None, Some(_) | None) => Err(Error::Settings(problems)),
    };
    (inputs, notices)
}

fn keep<T>(read: Result<T, Vec<Problem>>, problems: &mut Vec<Problem>) -> Option<T> {
    read.map_err(|wrong| problems.extend(wrong)).ok()
}

fn read_worker_file(path: &Path, role: Role, notices: &mut Vec<Notice>) -> Result<Settings, Vec<Problem>> {
    let content = read_file(path)?;
    let place = path.display().to_string();
    let properties = Properties::parse(&content).map_err(|malformed| {
        let problem = |line, text| Problem { place: place.clone(), line: Some(line), text };
        malformed.into_iter().map(|malformed| problem(malformed.line, malformed.reason)).collect::<Vec<_>>()
    })?;
    let (settings, found) = Settings::read(&place, &properties, &Machine::ours(), role);
    notices.extend(found);
    settings
}

fn read_connector_file(path: &Path) -> Result<ConnectorFile, Vec<Problem>> {
    ConnectorFile::parse(path, &read_file(path)?)
}

fn read_file(path: &Path) -> Result<Vec<u8>, Vec<Problem>> {
    fs::read(path).map_err(|error| {
        let text = format!("cannot be read: {error}");
        vec![Problem { place: path.display().to_string(), line: None, text }]
    })
}

fn run_roles(inputs: Inputs, notices: &[Notice]) -> ExitCode {
    let Inputs { settings, connector_files, loggers, traces } = inputs;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::System { what: "start threads", source });
    let traces = runtime.as_ref().ok().and_then(|runtime| {
        let _entered = runtime.enter();
        traces.map(Traces::start)
    });
    let (traces, refused) = match traces.transpose() {
        Ok(traces) => (traces, None),
        Err(problem) => (None, Some(Error::Settings(vec![problem]))),
    };
    let loggers = telemetry::install(settings.log_format, loggers, traces.as_ref());
    let runtime = match refused.map_or(runtime, Err) {
        Ok(runtime) => runtime,
        Err(error) => return ExitCode::from(failed(&error)),
    };
    for notice in notices {
        match notice.level {
            Level::Warning => tracing::warn!("{}", notice.text),
            Level::Info => tracing::info!("{}", notice.text),
        }
    }
    if let Some(traces) = &traces {
        tracing::info!("{}", traces.announcement());
    }
    tracing::debug!(?settings);
    allow_open_files();
    let stop = Shutdown::default();
    let drain_max = drain_max(&settings);
    let work = roles::run(settings, connector_files, loggers, stop.clone());
    let status = runtime.block_on(supervise(work, &stop, drain_max));
    if let Some(traces) = traces.filter(|_| status < Signal::Interrupt.exit_status()) {
        traces.end();
    }
    runtime.shutdown_timeout(RUNTIME_STOP_MAX);
    ExitCode::from(status)
}

/// As many as the system lets this process have: the usual soft limit, 1,024, is for programs that call `select`, and a
/// crowd at the REST API must not take what copying needs.
fn allow_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard) } else { Ok(soft) }
    });
    match raised {
        Ok(files) => tracing::debug!(files, "how many files may be open"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}

/// How long the roles may take to end.
fn drain_max(settings: &Settings) -> Duration {
    match &settings.agent {
        Some(agent) => agent.worker.stop_timeout + CLOSING_MAX,
        None => ANSWERING_MAX,
    }
}

enum Turn {
    Ended(Result<(), Error>),
    Signalled(Signal),
    Overdue,
}

/// Runs `work` to its end, and returns the exit status: a first signal makes it drain for at most `drain_max`, a
/// second one is the end.
async fn supervise(
    work: impl Future<Output = Result<(), Error>>,
    stop: &Shutdown,
    drain_max: Duration,
) -> u8 {
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(source) => return failed(&Error::System { what: "handle signals", source }),
    };
    let mut work = pin!(work);
    let turn = tokio::select! {
        result = &mut work => Turn::Ended(result),
        signal = signals.next() => Turn::Signalled(signal),
    };
    let turn = match turn {
        Turn::Ended(_) | Turn::Overdue => turn,
        Turn::Signalled(signal) => {
            let seconds = drain_max.as_secs_f32();
            tracing::info!("{}: stopping within {seconds} s; another signal aborts", signal.name());
            stop.begin();
            tokio::select! {
                result = &mut work => Turn::Ended(result),
                signal = signals.next() => Turn::Signalled(signal),
                () = tokio::time::sleep(drain_max) => Turn::Overdue,
            }
        }
    };
    match turn {
        Turn::Ended(Ok(())) => {
            tracing::info!("stopped");
            0
        }
        Turn::Ended(Err(error)) => failed(&error),
        Turn::Signalled(signal) => {
            tracing::warn!("{}: aborted", signal.name());
            signal.exit_status()
        }
        Turn::Overdue => {
            tracing::error!("aborted: not stopped within {} s", drain_max.as_secs_f32());
            1
        }
    }
}

fn failed(error: &Error) -> u8 {
    for line in chain(error).lines() {
        tracing::error!("{line}");
    }
    error.exit_status()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use nix::sys::signal::{Signal as Sent, raise};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// One test, because a signal reaches every listener of the process.
    #[tokio::test]
    async fn a_signal_drains_and_the_next_or_the_deadline_aborts() {
        let stop = Shutdown::default();
        let ended = supervise(async { Ok(()) }, &stop, LONG).await;
        assert_eq!((ended, stop.has_begun()), (0, false));
        assert_eq!(supervise(async { Err(Error::Listen(Vec::new())) }, &stop, LONG).await, 1);
        assert_eq!(supervise(async { Err(Error::Settings(Vec::new())) }, &stop, LONG).await, 2);

        for (first, second, status) in
            [(Sent::SIGTERM, Sent::SIGINT, 130), (Sent::SIGINT, Sent::SIGTERM, 143)]
        {
            let stop = Shutdown::default();
            let draining = async {
                raise(first).unwrap();
                stop.begun().await;
                Ok(())
            };
            assert_eq!(supervise(draining, &stop, LONG).await, 0, "{first}");

            let stop = Shutdown::default();
            let stuck = async {
                raise(first).unwrap();
                stop.begun().await;
                raise(second).unwrap();
                pending().await
            };
            assert_eq!(supervise(stuck, &stop, LONG).await, status, "{first}, then {second}");

            let stop = Shutdown::default();
            let slow = async {
                raise(first).unwrap();
                pending().await
            };
            assert_eq!(supervise(slow, &stop, Duration::from_millis(1)).await, 1, "{first}");
            assert!(stop.has_begun());
        }
    }
}
