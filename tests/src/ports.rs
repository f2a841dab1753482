//! Free ports below the range from which the system serves outgoing connections: a port chosen here is still free when
//! a process restarts on it.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};

const LOWEST: u32 = 12_000;
/// Linux serves outgoing connections from 32768 upwards unless told otherwise.
const COUNT: u32 = 20_000;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A port of 127.0.0.1 that nobody listens on and that no call of this process returned before (within the next
/// 20,000 calls). Another process may still take it first: whoever starts a listener on it tries again then.
pub fn free_port() -> Result<u16> {
    // Processes begin at different places, so that two launchers at once rarely meet.
    let begin = std::process::id().wrapping_mul(2_654_435_761) >> 8;
    for _ in 0..COUNT {
        let next = TAKEN.fetch_add(1, Ordering::Relaxed);
        let candidate = LOWEST + begin.wrapping_add(next) % COUNT;
        let Ok(port) = u16::try_from(candidate) else { continue };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::Invalid(format!("no free port on 127.0.0.1 from {LOWEST} to {}", LOWEST + COUNT - 1)))
}
