//! A way to a port on which the network can be cut: what was sent is held back, and nobody is told.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

use crate::error::Result;
use crate::ports::free_port;
use crate::relay;
use crate::wait::pause;

/// A listener that passes on to a port; its threads end with the process, or when it is dropped.
#[derive(Debug)]
pub struct Cut {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    port: u16,
    to: AtomicU16,
    is_cut: AtomicBool,
    stops: AtomicBool,
    /// Bytes of clients that are held back.
    held: AtomicU64,
}

impl Cut {
    /// Passes on, until [`Cut::cut`].
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub fn before(to: u16) -> Result<Cut> {
        let port = free_port()?;
        let shared = Arc::new(Shared {
            port,
            to: AtomicU16::new(to),
            is_cut: AtomicBool::new(false),
            stops: AtomicBool::new(false),
            held: AtomicU64::new(0),
        });
        relay::listen(port, &shared, |shared| &shared.stops, serve)?;
        Ok(Cut { shared })
    }

    /// New connections go to this port.
    pub fn forward_to(&self, port: u16) {
        self.shared.to.store(port, Ordering::SeqCst);
    }

    /// `host:port` of this side.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.shared.port)
    }

    /// From now on nothing passes, or all that was held back and all that comes.
    pub fn cut(&self, is_cut: bool) {
        self.shared.is_cut.store(is_cut, Ordering::SeqCst);
    }

    /// Bytes of clients that have come since it was cut, and are held back.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.shared.held.load(Ordering::SeqCst)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::SeqCst);
        relay::wake(self.shared.port);
    }
}

impl Shared {
    /// Waits while the network is cut; false: it ends.
    fn passes(&self) -> bool {
        while self.is_cut.load(Ordering::SeqCst) && !self.stops.load(Ordering::SeqCst) {
            pause();
        }
        !self.stops.load(Ordering::SeqCst)
    }
}

/// One connection: this thread carries what the client says, another one the answers.
fn serve(shared: &Shared, client: &TcpStream) {
    if !shared.passes() {
        return;
    }
    let Some(server) = relay::connect(client, shared.to.load(Ordering::SeqCst)) else { return };
    std::thread::scope(|scope| {
        scope.spawn(|| carry(shared, &server, client, |_| shared.passes()));
        carry(shared, client, &server, |bytes| {
            let count = bytes.len() as u64;
            shared.held.fetch_add(count, Ordering::SeqCst);
            let passes = shared.passes();
            shared.held.fetch_sub(count, Ordering::SeqCst);
            passes
        });
    });
}

fn carry(shared: &Shared, from: &TcpStream, to: &TcpStream, passes: impl FnMut(&[u8]) -> bool) {
    relay::carry(from, to, passes);
    // What is closed on one side of a cut is not closed on the other.
    shared.passes();
    relay::close(from);
    relay::close(to);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_said_while_it_is_cut_arrives_later() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let cut = Cut::before(listener.local_addr().expect("an address").port()).expect("a relay");
        let mut client = TcpStream::connect(cut.address()).expect("connected");
        let (mut server, _) = listener.accept().expect("accepted");
        server.set_read_timeout(Some(Duration::from_millis(200))).expect("set");
        let mut buffer = [0; 8];
        client.write_all(b"one").expect("written");
        assert_eq!(server.read(&mut buffer).expect("read"), 3);
        cut.cut(true);
        client.write_all(b"two!").expect("written");
        assert!(server.read(&mut buffer).is_err(), "nothing passes");
        assert_eq!(cut.held(), 4);
        cut.cut(false);
        server.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        assert_eq!(server.read(&mut buffer).expect("read"), 4);
    }
}
