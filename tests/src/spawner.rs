//! The one thread that starts child processes and knows which ones there are.
//!
//! A child asks the kernel to be killed when the *thread* that started it ends, so it is started by a thread that
//! lives as long as the process, never by the thread of one test.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::wait::{Deadline, pause};

/// How long a process may take to end by itself after an interrupt.
const GRACE: Duration = Duration::from_secs(5);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static ORDERS: OnceLock<SyncSender<Order>> = OnceLock::new();

enum Order {
    Spawn(Box<Command>, SyncSender<Option<io::Result<Child>>>),
    Forget(u32),
    EndAll(SyncSender<()>),
}

/// Starts a command that leads a process group of its own.
pub(crate) fn spawn(command: Command) -> Result<Child> {
    let what = format!("start {}", command.get_program().display());
    let (answer, answered) = sync_channel(1);
    send(Order::Spawn(Box::new(command), answer));
    match answered.recv() {
        Ok(Some(child)) => child.map_err(Error::io(what)),
        Ok(None) | Err(_) => Err(Error::Interrupted),
    }
}

/// The process has ended and was waited for.
pub(crate) fn forget(pid: u32) {
    send(Order::Forget(pid));
}

/// Ends every child, the youngest first: SIGTERM, SIGKILL after 5 s. From then on every start and every wait ends
/// with [`Error::Interrupted`], so that the callers return and clean up. For a handler of Ctrl-C.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
    let (answer, answered) = sync_channel(1);
    send(Order::EndAll(answer));
    // An error means that the thread is gone, and its children with it.
    let _ended = answered.recv();
}

/// Whether [`interrupt`] was called.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

fn send(order: Order) {
    let orders = ORDERS.get_or_init(|| {
        let (orders, received) = sync_channel(16);
        let thread = std::thread::Builder::new().name("spawner".to_owned());
        #[expect(
            clippy::expect_used,
            reason = "a process that cannot start one thread cannot start clusters either"
        )]
        thread.spawn(move || run(&received)).expect("the system gives a thread");
        orders
    });
    // The thread ends with the process: nobody is left to care about a lost order.
    let _lost = orders.send(order);
}

fn run(orders: &Receiver<Order>) {
    let mut children: Vec<u32> = Vec::new();
    while let Ok(order) = orders.recv() {
        match order {
            Order::Spawn(mut command, answer) => {
                let child = (!interrupted()).then(|| command.spawn());
                if let Some(Ok(child)) = &child {
                    children.push(child.id());
                }
                // The caller waits for this answer.
                let _gone = answer.send(child);
            }
            Order::Forget(pid) => children.retain(|child| *child != pid),
            Order::EndAll(answer) => {
                end_all(&children);
                let _gone = answer.send(());
            }
        }
    }
}

fn end_all(children: &[u32]) {
    let deadline = Deadline::after(GRACE);
    for pid in children.iter().rev() {
        signal_group(*pid, Signal::SIGTERM);
        while runs(*pid) && !deadline.passed() {
            pause();
        }
        signal_group(*pid, Signal::SIGKILL);
    }
}

/// Signals the process group that `pid` leads. One that is gone needs none.
pub(crate) fn signal_group(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _gone = killpg(Pid::from_raw(pid), signal);
    }
}

/// Whether a process is there and is no zombie: proc(5), the state is the field after the name in parentheses.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
