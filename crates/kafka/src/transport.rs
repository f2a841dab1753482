//! From an endpoint to a stream of bytes each way. What goes between the socket and the connection (TLS, then SASL's
//! exchange) goes in here: the connection sees only the two halves.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::error::Error;
use crate::options::ConnectionOptions;
use crate::topic::Endpoint;

const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// Two halves, and a hand on the socket below them.
pub struct Transport {
    pub read: Box<dyn AsyncRead + Send + Unpin>,
    pub write: Box<dyn AsyncWrite + Send + Unpin>,
    pub socket: SocketHandle,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// The socket itself, beside the halves that read and write it.
#[derive(Debug)]
pub struct SocketHandle(Socket);

impl SocketHandle {
    /// What was written and has not left this machine is thrown away once all that holds the socket is dropped.
    pub fn discard_unsent(&self) {
        if let Err(error) = self.0.set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "the socket keeps what is unsent");
        }
    }
}

/// Connects to the first address of the endpoint that answers.
///
/// # Errors
/// [`Error::Unreachable`] with what the last address said.
pub async fn connect(endpoint: &Endpoint, options: &ConnectionOptions) -> Result<Transport, Error> {
    let unreachable = |source| Error::Unreachable { what: endpoint.to_string(), source: Arc::new(source) };
    let within = options.connect_timeout;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let found = timed(within, "the name's resolution", lookup_host((endpoint.host.as_str(), endpoint.port)));
    for address in found.await.map_err(unreachable)? {
        match connect_to(address, within, options).await {
            Ok(transport) => return Ok(transport),
            Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(unreachable(last))
}

async fn connect_to(
    address: SocketAddr,
    within: Duration,
    options: &ConnectionOptions,
) -> io::Result<Transport> {
    let stream = timed(within, "connecting", TcpStream::connect(address)).await?;
    if stream.local_addr()? == stream.peer_addr()? {
        // The kernel may join a socket on a free local port to itself.
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens there"));
    }
    tune(&stream, options)?;
    let socket = SocketHandle(Socket::from(stream.as_fd().try_clone_to_owned()?));
    let (read, write) = stream.into_split();
    Ok(Transport { read: Box::new(read), write: Box::new(write), socket })
}

fn tune(stream: &TcpStream, options: &ConnectionOptions) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE))?;
    if options.tcp_user_timeout.is_some() {
        socket.set_tcp_user_timeout(options.tcp_user_timeout)?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(())
}

async fn timed<T>(within: Duration, what: &str, doing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("{what} took longer than {within:?}"));
    timeout(within, doing).await.unwrap_or_else(|_| Err(late()))
}
