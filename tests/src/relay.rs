//! What passes a connection on: the ground of [`crate::Cut`] and of [`crate::exact::Gate`].

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Takes connections on a port, each in a thread of its own, until told to stop and woken. The threads end with the process.
///
/// # Errors
/// When there is no such port, or no thread.
pub(crate) fn listen<S: Send + Sync + 'static>(
    port: u16,
    shared: &Arc<S>,
    stops: fn(&S) -> &AtomicBool,
    serve: fn(&S, &TcpStream),
) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = listener.map_err(Error::io(format_args!("listen on port {port}")))?;
    let shared = Arc::clone(shared);
    start(move || {
        for client in listener.incoming() {
            if stops(&shared).load(Ordering::SeqCst) {
                return;
            }
            let Ok(client) = client else { continue };
            let own = Arc::clone(&shared);
            // Without a thread the connection is dropped.
            let _started = start(move || serve(&own, &client));
        }
    })
}

/// Wakes who listens on a port, after it was told to stop.
pub(crate) fn wake(port: u16) {
    let _woken = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
}

fn start(body: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = std::thread::Builder::new().name("relay".to_owned()).spawn(body);
    started.map(|_detached| ()).map_err(Error::io("start a thread"))
}

/// The way on, without delays of ours.
pub(crate) fn connect(client: &TcpStream, port: u16) -> Option<TcpStream> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    let _slower = (client.set_nodelay(true), server.set_nodelay(true));
    Some(server)
}

/// Until either end is closed.
pub(crate) fn carry(mut from: &TcpStream, mut to: &TcpStream, mut passes: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if passes(&buffer[..count]) && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
}

pub(crate) fn close(stream: &TcpStream) {
    // Closed already is as good.
    let _closed = stream.shutdown(Shutdown::Both);
}
