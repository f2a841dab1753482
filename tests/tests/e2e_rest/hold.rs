//! Clients that hold connections: silent ones, those that send a byte now and then, those that take nothing of an answer.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// What this process needs beside them.
const SPARE_FILES: u64 = 1_000;

/// As many as this process may have open, at most `wanted`.
pub fn allowed(wanted: u64) -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("no more than the hard limit");
    wanted.min(hard.saturating_sub(SPARE_FILES))
}

pub async fn silent(address: &str, count: u64) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for number in 0..count {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        // The server may have closed it by now.
        match number % 16 {
            0 => drop(stream.write_all(b"GET /connectors HTTP/1.1\r\nHost: h\r\n\r\n").await),
            1 => drop(stream.write_all(b"POST /connectors HTTP/1.1\r\nHost").await),
            _ => {}
        }
        streams.push(stream);
        if number % 100 == 99 {
            // Who connects faster than the server accepts is told to try again in a second.
            let mut served = TcpStream::connect(address).await.expect("it listens");
            let ask = b"GET /connectors HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
            served.write_all(ask).await.expect("it reads");
            served.read_to_end(&mut Vec::new()).await.expect("it answers");
        }
    }
    streams
}

/// How many of them the server has closed.
pub fn closed(streams: &[TcpStream]) -> usize {
    let mut answer = [0; 4_096];
    let is_closed = |stream: &&TcpStream| {
        loop {
            match stream.try_read(&mut answer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
    };
    streams.iter().filter(is_closed).count()
}

/// Sends a byte each second, of a head or of a body; returns whether the server ended it before `stop`.
pub async fn drip(address: String, of_a_body: bool, stop: CancellationToken) -> bool {
    let head: &[u8] = if of_a_body {
        b"POST /connectors HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    } else {
        b"GET /connectors HTTP/1.1\r\nX: "
    };
    let mut stream = TcpStream::connect(&address).await.expect("it listens");
    let mut left = head.iter().chain(std::iter::repeat(&b'x'));
    if of_a_body {
        stream.write_all(head).await.expect("it reads");
        left.nth(head.len() - 1);
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let byte = left.next().copied().unwrap_or(b'x');
        if stream.write_all(&[byte]).await.is_err() || closed(std::slice::from_ref(&stream)) == 1 {
            return true;
        }
    }
}

/// Asks for a large answer, and takes nothing of it.
pub async fn greedy(address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small one");
    let mut stream = socket.connect(address.parse().expect("an address")).await.expect("it listens");
    // Several at once on one connection: they are answered in order.
    for _ in 0..10 {
        drop(stream.write_all(b"GET /connectors/heavy HTTP/1.1\r\nHost: h\r\n\r\n").await);
    }
    stream
}
