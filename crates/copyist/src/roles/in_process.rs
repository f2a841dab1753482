//! gRPC within the process: the same contracts over pipes in memory instead of sockets.

use std::io;

use copyist_proto::coordinators::HEADER_BYTES_MAX;
use futures::Stream;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// What one direction of a pipe holds before the writer waits.
const PIPE_BYTES: usize = 256 * 1024;

/// A channel, and the connections that it opens for a server to accept.
pub fn channel() -> (Channel, impl Stream<Item = io::Result<DuplexStream>>) {
    let (accept, connections) = mpsc::channel(16);
    let connect = service_fn(move |_| {
        let accept = accept.clone();
        async move {
            let (client, server) = tokio::io::duplex(PIPE_BYTES);
            let closed = |_| io::Error::new(io::ErrorKind::ConnectionRefused, "the server has ended");
            accept.send(server).await.map_err(closed)?;
            Ok::<_, io::Error>(TokioIo::new(client))
        }
    });
    // The name is for headers only; nothing is looked up.
    let endpoint = Endpoint::from_static("http://in-process").http2_max_header_list_size(HEADER_BYTES_MAX);
    let channel = endpoint.connect_with_connector_lazy(connect);
    (channel, ReceiverStream::new(connections).map(Ok))
}
