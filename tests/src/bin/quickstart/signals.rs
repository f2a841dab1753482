//! Ctrl-C, and the signals that mean the same.

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use copyist_tests::{Progress, interrupt};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

/// As a shell tells it, 128 and the signal's number; 0 as long as none came.
static EXIT_CODE: AtomicU8 = AtomicU8::new(0);

/// From here on a signal ends every child and every wait, and the main thread cleans up. A second one does not wait for
/// that. (Handlers, as a blocked signal would stay blocked in every child.)
pub fn watch() -> Result<(), String> {
    let (ready, is_ready) = sync_channel(1);
    let thread = thread::Builder::new().name("signals".to_owned());
    let watched = thread.spawn(move || {
        if let Err(error) = handle(&ready) {
            let _gone = ready.send(Err(error));
        }
    });
    let watched = watched.and_then(|_| is_ready.recv().map_err(io::Error::other)?);
    watched.map_err(|error| format!("cannot watch for signals: {error}"))
}

fn handle(ready: &SyncSender<io::Result<()>>) -> io::Result<()> {
    runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminations = signal(SignalKind::terminate())?;
        let mut hangups = signal(SignalKind::hangup())?;
        let _gone = ready.send(Ok(()));
        loop {
            let code = tokio::select! {
                _ = interrupts.recv() => 130,
                _ = terminations.recv() => 143,
                _ = hangups.recv() => 129,
            };
            stop(code);
        }
    })
}

fn stop(code: u8) {
    if EXIT_CODE.swap(code, Ordering::SeqCst) != 0 {
        std::process::exit(code.into());
    }
    Progress::Terminal.say("\nStopping");
    // Not here, or a second signal would wait for its end.
    thread::spawn(interrupt);
}

/// After an interrupt.
pub fn exit_code() -> ExitCode {
    ExitCode::from(EXIT_CODE.load(Ordering::SeqCst))
}
