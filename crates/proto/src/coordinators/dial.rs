//! Connections to addresses, made when first used.

use std::io;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// An address that takes no connection within this is not there; its name's look-up is part of it.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// After so long without a word from the other end it is asked for one.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// It has so long to give it. A leader that vanished is noticed about as soon as its lease ends.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Calls at once over one connection; more wait, within their deadlines.
const CALLS_MAX: usize = 256;

/// The text of an error travels as a header, each odd byte as three, and may name all that is wrong with a config.
pub const HEADER_BYTES_MAX: u32 = 2 << 20;

/// The connection to a `host:port`, if it is one; made when first used. Needs a tokio runtime.
#[must_use]
pub fn connection(address: &str) -> Option<Channel> {
    let authority: Authority = address.parse().ok()?;
    authority.port_u16().filter(|_| !address.contains('@'))?;
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).ok()?;
    let endpoint = endpoint
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .concurrency_limit(CALLS_MAX);
    Some(endpoint.connect_with_connector_lazy(service_fn(dial)))
}

async fn dial(uri: Uri) -> io::Result<TokioIo<TcpStream>> {
    let late =
        |_| io::Error::new(io::ErrorKind::TimedOut, format!("not within {} s", CONNECT_TIMEOUT.as_secs()));
    let stream = timeout(CONNECT_TIMEOUT, first_of(&uri)).await.map_err(late)??;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

/// Tries what the name stands for, each for its share of the time: the first that connects.
async fn first_of(uri: &Uri) -> io::Result<TcpStream> {
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or_default());
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    let share = CONNECT_TIMEOUT / u32::try_from(found.len().max(1)).unwrap_or(u32::MAX);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
    for address in found {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer")),
        }
    }
    Err(last)
}
