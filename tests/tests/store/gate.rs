//! The way to an etcd, which can be closed, lose answers, or keep requests back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// What is kept back is so much; what comes later is lost: a client that gives up says so.
const KEPT_FROM_FIRST: Duration = Duration::from_secs(1);

/// What happens to those who were connected when it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    /// All are cut, and nobody else comes through.
    Closed,
    /// No answers for connections before this number; those who come later are served.
    Mute(u64),
    /// Their requests are kept.
    Keeping(u64, Instant),
}

#[derive(Debug)]
struct Shared {
    mode: watch::Sender<Mode>,
    connections: AtomicU64,
    kept: Mutex<u64>,
}

/// A gate; dropped, it cuts all.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    port: u16,
    accepting: JoinHandle<()>,
}

impl Gate {
    /// Before a port of this machine.
    pub async fn before(port: u16) -> Gate {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let own = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            mode: watch::Sender::new(Mode::Open),
            connections: AtomicU64::new(0),
            kept: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, port, Arc::clone(&shared)));
        Gate { shared, port: own, accepting }
    }

    pub fn endpoints(&self) -> Vec<String> {
        vec![format!("http://127.0.0.1:{}", self.port)]
    }

    /// Cuts all, and lets nobody through.
    pub fn close(&self) {
        self.shared.mode.send_replace(Mode::Closed);
    }

    /// Everybody comes through; what was kept back arrives.
    pub fn open(&self) {
        self.shared.mode.send_replace(Mode::Open);
    }

    /// Who is connected gets no answers any more.
    pub fn mute(&self) {
        self.shared.mode.send_replace(Mode::Mute(self.shared.connections.load(Ordering::SeqCst)));
    }

    /// What who is connected asks now is kept back.
    pub fn keep(&self) {
        let number = self.shared.connections.load(Ordering::SeqCst);
        self.shared.mode.send_replace(Mode::Keeping(number, Instant::now()));
    }

    /// Bytes that are kept back, or were.
    pub fn kept(&self) -> u64 {
        *self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, port: u16, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        if *shared.mode.borrow() == Mode::Closed {
            continue;
        }
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(serve(client, port, number, Arc::clone(&shared)));
    }
}

async fn serve(client: TcpStream, port: u16, number: u64, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut closed = shared.mode.subscribe();
    tokio::select! {
        _ = closed.wait_for(|mode| *mode == Mode::Closed) => {}
        _ = async { tokio::join!(requests(from_client, to_server, number, &shared), answers(from_server, to_client, number, &shared)) } => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, number: u64, shared: &Shared) {
    let mut mode = shared.mode.subscribe();
    let mut kept: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut has_ended = false;
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer), if !has_ended => read.unwrap_or(0),
            Ok(()) = mode.changed() => {
                let is_open = *mode.borrow_and_update() == Mode::Open;
                if is_open && to.write_all(&std::mem::take(&mut kept)).await.is_err() {
                    return;
                }
                continue;
            }
        };
        has_ended = read == 0;
        let now = *mode.borrow();
        match now {
            // What is kept shall arrive though its sender has gone.
            Mode::Keeping(before, _) if number < before && has_ended => {}
            Mode::Keeping(before, since) if number < before => {
                if since.elapsed() < KEPT_FROM_FIRST {
                    kept.extend_from_slice(&buffer[..read]);
                    *shared.kept.lock().unwrap_or_else(PoisonError::into_inner) += read as u64;
                }
                continue;
            }
            Mode::Open | Mode::Closed | Mode::Mute(_) | Mode::Keeping(..) => {
                if has_ended || to.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, number: u64, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        let is_lost = matches!(*shared.mode.borrow(), Mode::Mute(before) if number < before);
        if !is_lost {
            // Whoever asked may have gone, and the server be none the wiser.
            let _gone = to.write_all(&buffer[..read]).await;
        }
    }
}
