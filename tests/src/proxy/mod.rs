//! A TCP proxy before one broker that makes the network as bad as it can be: cut connections in the middle of requests
//! and of answers, answers truncated, delays, stalls.
//!
//! The broker must advertise the proxy's address as its own, so that every connection comes this way. What happens to
//! a connection, and at which of its bytes, follows from the seed ([`plan`]); it happens only while the proxy rages
//! ([`Proxy::rage`]), and not to clients that are spared, which a test needs to feed and to look.
//!
//! Start with [`plan`] (pure), then `pipe` (one direction of one connection).

mod frames;
mod pipe;
mod plan;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, Result};

pub use plan::Fault;
use plan::{Dice, Way};

/// Clients whose id begins with one of these are let through: those of Kafka's own libraries, unless they are named.
const SPARED: [&str; 3] = ["producer-", "consumer-", "adminclient-"];

/// How often each fault happened.
pub type Faults = BTreeMap<Fault, u64>;

/// A proxy; dropped, it closes its connections and ends its threads.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    port: u16,
    /// Of the broker; 0: not known yet.
    broker: AtomicU16,
    seed: u64,
    raging: AtomicBool,
    stops: AtomicBool,
    connections: AtomicU64,
    faults: Mutex<Faults>,
    /// How long each request is on its way.
    distance: Mutex<Duration>,
    largest_answer: AtomicU64,
}

impl Proxy {
    /// Listens on `port` of 127.0.0.1, and refuses everybody until [`Proxy::forward_to`].
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(port: u16, seed: u64) -> Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = listener.map_err(Error::io(format_args!("listen on port {port}")))?;
        let shared = Arc::new(Shared {
            port,
            broker: AtomicU16::new(0),
            seed,
            raging: AtomicBool::new(false),
            stops: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            faults: Mutex::default(),
            distance: Mutex::default(),
            largest_answer: AtomicU64::new(0),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("proxy".to_owned());
        let accepting = thread.spawn(move || accept(&listener, &own)).map_err(Error::io("start a thread"))?;
        Ok(Proxy { shared, accepting: Some(accepting) })
    }

    pub fn forward_to(&self, broker_port: u16) {
        self.shared.broker.store(broker_port, Ordering::Release);
    }

    /// `host:port` to be advertised by the broker, and used by clients.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.shared.port)
    }

    /// From now on connections suffer, or they do not any more.
    pub fn rage(&self, rages: bool) {
        self.shared.raging.store(rages, Ordering::Release);
    }

    /// From now on each request is so long on its way, as if the broker were far away.
    pub fn keep_away(&self, distance: Duration) {
        *self.shared.distance.lock().unwrap_or_else(PoisonError::into_inner) = distance;
    }

    /// The most bytes that came back between two requests of a connection.
    #[must_use]
    pub fn largest_answer(&self) -> u64 {
        self.shared.largest_answer.load(Ordering::Acquire)
    }

    /// What happened so far.
    pub fn faults(&self) -> Faults {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::Release);
        // Wakes the accepting thread.
        let _woken = TcpStream::connect((Ipv4Addr::LOCALHOST, self.shared.port));
        if let Some(accepting) = self.accepting.take() {
            let _ended = accepting.join();
        }
    }
}

impl Shared {
    fn rages(&self) -> bool {
        self.raging.load(Ordering::Acquire)
    }

    fn stops(&self) -> bool {
        self.stops.load(Ordering::Acquire)
    }

    fn distance(&self) -> Duration {
        *self.distance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn happened(&self, fault: Fault) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        *faults.entry(fault).or_default() += 1;
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for client in listener.incoming() {
        if shared.stops() {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        let Ok(client) = client else { continue };
        let own = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("proxy connection".to_owned());
        threads.extend(thread.spawn(move || serve(&own, &client)));
    }
    for thread in threads {
        let _ended = thread.join();
    }
}

/// One connection: this thread carries the requests, another the answers.
fn serve(shared: &Shared, client: &TcpStream) {
    let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.broker.load(Ordering::Acquire))) else {
        return;
    };
    let _slower = (client.set_nodelay(true), broker.set_nodelay(true));
    let number = shared.connections.fetch_add(1, Ordering::Relaxed);
    let spared = AtomicBool::new(false);
    let answered = AtomicU64::new(0);
    let both = pipe::Known { spared: &spared, answered: &answered };
    let dice = |way| Dice::new(shared.seed, number, way);
    std::thread::scope(|scope| {
        let answers = pipe::Pipe::new(shared, both, [&broker, client], (Way::Answers, dice(Way::Answers)));
        let carried = std::thread::Builder::new().name("proxy answers".to_owned());
        // Without a thread there are no answers, and the connection ends.
        let started = carried.spawn_scoped(scope, move || answers.carry());
        if started.is_ok() {
            pipe::Pipe::new(shared, both, [client, &broker], (Way::Requests, dice(Way::Requests))).carry();
        }
        close(client);
        close(&broker);
    });
}

fn close(stream: &TcpStream) {
    // Closed already is as good.
    let _closed = stream.shutdown(Shutdown::Both);
}

fn is_spared(client_id: &str) -> bool {
    SPARED.iter().any(|prefix| client_id.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use super::*;
    use crate::ports::free_port;
    use crate::progress::Progress;
    use crate::wait::wait_until;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Says again what it hears, to any number of clients.
    fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
            }
        });
        port
    }

    /// A request of so many bytes behind its head.
    fn request(client_id: &str, bytes: usize) -> Vec<u8> {
        let head =
            [&[0, 0, 0, 0][..], &[0; 4], &(client_id.len() as i16).to_be_bytes(), client_id.as_bytes()];
        let body = [head.concat(), vec![7; bytes]].concat();
        [&(body.len() as i32).to_be_bytes()[..], &body].concat()
    }

    fn exchange(proxy: &Proxy, request: &[u8]) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(proxy.address())?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(request)?;
        let mut back = vec![0; request.len()];
        stream.read_exact(&mut back)?;
        Ok(back == request)
    }

    #[test]
    fn all_passes_while_it_is_calm_or_the_client_is_spared_and_everything_happens_otherwise() {
        let proxy = Proxy::start(free_port().expect("a port"), 5).expect("a proxy");
        proxy.forward_to(echo());
        let (long, spared) = (request("copyist", 100_000), request("producer-1", 100_000));
        assert!(exchange(&proxy, &long).expect("an answer"));
        proxy.rage(true);
        assert!(exchange(&proxy, &spared).expect("an answer"));
        assert!(proxy.faults().is_empty(), "{:?}", proxy.faults());
        let (mut whole, mut broken) = (0, 0);
        let met = wait_until("each fault", LIMIT, Progress::Silent, || {
            match exchange(&proxy, &long) {
                Ok(same) => whole += u32::from(same),
                Err(_) => broken += 1,
            }
            Ok(Fault::ALL.iter().all(|fault| proxy.faults().contains_key(fault)).then_some(()))
        });
        met.expect("each fault");
        assert!(whole > 0 && broken > 0, "{whole} whole, {broken} broken");
    }
}
