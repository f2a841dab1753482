//! A way to a broker on which answers can be withheld: what was asked for happens, and who asked never hears of it.
//!
//! The broker must advertise the gate's address as its own. Clients other than Copyist pass always: a test looks with
//! them.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use crate::error::Result;
use crate::ports::free_port;
use crate::relay;

/// How Copyist's own client calls itself.
const CLIENT_ID: &[u8] = b"copyist";
/// Of a request: its size, api key, version, correlation id, and the length of the client id that follows.
const BEFORE_CLIENT_ID: usize = 14;

/// A listener; its threads end with the process, or when it is dropped.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    port: u16,
    /// Of the broker; 0: not known yet.
    broker: AtomicU16,
    withholds: AtomicBool,
    stops: AtomicBool,
}

impl Gate {
    /// Listens, and refuses everybody until [`Gate::lead_to`].
    pub fn open() -> Result<Gate> {
        let port = free_port()?;
        let (broker, withholds, stops) = (AtomicU16::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let shared = Arc::new(Shared { port, broker, withholds, stops });
        relay::listen(port, &shared, |shared| &shared.stops, serve)?;
        Ok(Gate { shared })
    }

    /// `host:port`, to be advertised by the broker.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.shared.port)
    }

    pub fn lead_to(&self, broker_port: u16) {
        self.shared.broker.store(broker_port, Ordering::SeqCst);
    }

    /// From now on Copyist gets no answers and no new connections, or gets them again: on new connections, as those of
    /// before have a hole.
    pub fn withhold(&self, withholds: bool) {
        self.shared.withholds.store(withholds, Ordering::SeqCst);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::SeqCst);
        relay::wake(self.shared.port);
    }
}

/// One connection: this thread carries the requests, another one the answers.
fn serve(shared: &Shared, client: &TcpStream) {
    let port = shared.broker.load(Ordering::SeqCst);
    let Some(broker) = relay::connect(client, port) else { return };
    let is_copyist = AtomicBool::new(false);
    let withheld = || is_copyist.load(Ordering::SeqCst) && shared.withholds.load(Ordering::SeqCst);
    std::thread::scope(|scope| {
        scope.spawn(|| carry(&broker, client, |_| !withheld()));
        let mut first = true;
        carry(client, &broker, |bytes| {
            if std::mem::take(&mut first) {
                is_copyist.store(is_of_copyist(bytes), Ordering::SeqCst);
                if withheld() {
                    relay::close(client);
                    return false;
                }
            }
            true
        });
    });
}

fn is_of_copyist(request: &[u8]) -> bool {
    request.get(BEFORE_CLIENT_ID..).is_some_and(|rest| rest.starts_with(CLIENT_ID))
}

/// Until either end is closed; then both are.
fn carry(from: &TcpStream, to: &TcpStream, passes: impl FnMut(&[u8]) -> bool) {
    relay::carry(from, to, passes);
    relay::close(from);
    relay::close(to);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// A broker that answers whatever comes with one byte.
    fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.expect("a client");
                std::thread::spawn(move || {
                    let mut buffer = [0; 64];
                    while let Ok(1..) = client.read(&mut buffer) {
                        client.write_all(b"!").expect("written");
                    }
                });
            }
        });
        port
    }

    fn ask(stream: &mut TcpStream, client_id: &str) -> bool {
        let request = [&[0; BEFORE_CLIENT_ID][..], client_id.as_bytes()].concat();
        stream.write_all(&request).expect("written");
        stream.read(&mut [0; 8]).is_ok_and(|count| count == 1)
    }

    #[test]
    fn copyist_alone_gets_no_answers_while_they_are_withheld() {
        let gate = Gate::open().expect("a gate");
        gate.lead_to(echo());
        let connect = || {
            let stream = TcpStream::connect(gate.address()).expect("connected");
            stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("set");
            stream
        };
        let (mut ours, mut others) = (connect(), connect());
        assert!(ask(&mut ours, "copyist") && ask(&mut others, "adminclient-1"));
        gate.withhold(true);
        assert!(!ask(&mut ours, "copyist") && ask(&mut others, "adminclient-1"));
        assert!(!ask(&mut connect(), "copyist") && ask(&mut connect(), "adminclient-1"));
        gate.withhold(false);
        assert!(ask(&mut connect(), "copyist"));
    }
}
