//! Runs test programs two at a time: many of them wait for clusters most of their time.
//!
//!   cargo test --no-run --message-format=json-render-diagnostics | side-by-side
//!
//! reads from standard input which programs there are. What a program prints is shown once it has ended. Exit 1: one of
//! them failed, or there was none.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{self, BufRead, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use copyist_tests::Deadline;
use serde_json::Value;

/// At a time; two cores can have no more.
const LANES: usize = 2;

/// They take longest, so that they begin first.
const LONG: [&str; 7] =
    ["simulation", "e2e_fleet", "store", "e2e_exact", "e2e_losses", "e2e_faults", "e2e_operations"];

/// A test program, and where it expects to be started.
struct Program {
    /// Of its target: the crate's name or the test's.
    name: String,
    path: PathBuf,
    package: PathBuf,
}

/// How a program ended.
struct Outcome {
    failed: Option<String>,
    lasted: Duration,
}

fn main() -> ExitCode {
    let programs = match programs(io::stdin().lock()) {
        Ok(programs) if !programs.is_empty() => programs,
        Ok(_) => {
            show("there is no test program: standard input must be what cargo test --no-run tells as JSON");
            return ExitCode::FAILURE;
        }
        Err(error) => {
            show(format_args!("standard input cannot be read: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let waiting = Mutex::new(programs);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(program) = next(&waiting) {
                    let outcome = run(&program);
                    if let (Some(why), Ok(mut failed)) = (outcome.failed, failed.lock()) {
                        failed.push(format!("{}: {why} after {} s", program.name, outcome.lasted.as_secs()));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    show(format_args!("\nFailed:\n  {}", failed.join("\n  ")));
    ExitCode::FAILURE
}

fn show(text: impl Display) {
    // Where nobody reads any more there is nobody to show it to.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

fn next(waiting: &Mutex<VecDeque<Program>>) -> Option<Program> {
    waiting.lock().ok()?.pop_front()
}

/// The test programs among cargo's messages, the long ones first.
fn programs(messages: impl BufRead) -> io::Result<VecDeque<Program>> {
    let (mut long, mut others) = (Vec::new(), Vec::new());
    for line in messages.lines() {
        // What is no JSON is some program's own word.
        let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
        let Some(program) = program(&message) else { continue };
        let rank = LONG.iter().position(|long| *long == program.name);
        match rank {
            Some(rank) => long.push((rank, program)),
            None => others.push(program),
        }
    }
    long.sort_by_key(|(rank, _)| *rank);
    Ok(long.into_iter().map(|(_, program)| program).chain(others).collect())
}

fn program(message: &Value) -> Option<Program> {
    let is_test = message["profile"]["test"].as_bool()?;
    let path = message["executable"].as_str().filter(|_| is_test)?;
    let package = Path::new(message["manifest_path"].as_str()?).parent()?;
    let name = message["target"]["name"].as_str()?.to_owned();
    Some(Program { name, path: path.into(), package: package.to_owned() })
}

/// Runs it to its end; shows what it printed.
fn run(program: &Program) -> Outcome {
    let began = Deadline::after(Duration::ZERO);
    let ended = started(program);
    let lasted = began.elapsed();
    let (status, printed) = match ended {
        Ok((status, printed)) => (status, printed),
        Err(error) => (Some(format!("cannot be run: {error}")), Vec::new()),
    };
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "\n== {} ({} s)", program.name, lasted.as_secs());
    let _ = out.write_all(&printed);
    Outcome { failed: status, lasted }
}

/// Why it failed, if it did, and all that it printed, in the order in which it did.
fn started(program: &Program) -> io::Result<(Option<String>, Vec<u8>)> {
    let mut file = unnamed()?;
    let status = Command::new(&program.path)
        .current_dir(&program.package)
        .env("CARGO_MANIFEST_DIR", &program.package)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file.try_clone()?)
        .status()?;
    file.rewind()?;
    let mut printed = Vec::new();
    io::copy(&mut file, &mut printed)?;
    Ok(((!status.success()).then(|| status.to_string()), printed))
}

/// A file without a name: a pipe would need somebody who reads it.
fn unnamed() -> io::Result<std::fs::File> {
    let path = std::env::temp_dir().join(format!("side-by-side-{}", uuid::Uuid::new_v4()));
    let file = std::fs::File::options().create_new(true).read(true).append(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
