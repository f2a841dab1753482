//! The HTTP server: connections, their limits, and an end within a deadline.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use copyist_proto::Coordinators;
use copyist_proto::connect::connector_service_client::ConnectorServiceClient;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Connections beyond this wait to be accepted.
const CONNECTIONS_MAX: usize = 1_024;

/// A request's head must arrive within this, counted from the last answer: Jetty's idle timeout.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// Requests under way when the server is told to stop may still be answered within this.
const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// How long to wait when the system has no more connections to give.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// One line for this many failures in a row, so for 30 s.
const ACCEPT_FAILURES_PER_LINE: u32 = 30;

/// Why serving did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server has stopped; the clients of these connections did not get their answers.
    #[error("{connections} connections were cut off: their requests were still unanswered {} s after the stop", DRAIN_DEADLINE.as_secs())]
    Unfinished { connections: usize },
}

type Service = TowerToHyperService<axum::Router>;

enum Event {
    Stopped,
    Ended(Result<(), JoinError>),
    Accepted(io::Result<(TcpStream, SocketAddr)>),
}

/// Serves Connect's REST API until `stop`, then answers what is under way, at most 10 s longer.
///
/// # Errors
/// When requests were still unanswered at that deadline.
pub async fn serve(
    listener: TcpListener,
    client: ConnectorServiceClient<Coordinators>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let service = TowerToHyperService::new(crate::router(client));
    let mut connections = JoinSet::new();
    let mut failures = 0;
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => Event::Stopped,
            Some(ended) = connections.join_next() => Event::Ended(ended),
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => Event::Accepted(accepted),
        };
        match event {
            Event::Stopped => break,
            Event::Ended(ended) => log_panic(ended),
            Event::Accepted(Ok((stream, _peer))) => {
                failures = 0;
                connections.spawn(connection(stream, service.clone(), stop.clone()));
            }
            Event::Accepted(Err(error)) if is_of_the_connection(&error) => {}
            Event::Accepted(Err(error)) => {
                if failures % ACCEPT_FAILURES_PER_LINE == 0 {
                    tracing::warn!(error = %error, failures, "cannot accept REST connections; trying on");
                }
                failures += 1;
                // Either way the loop goes on and sees which it was.
                let _ = timeout(ACCEPT_PAUSE, stop.cancelled()).await;
            }
        }
    }
    drop(listener);
    drain(connections).await
}

async fn drain(mut connections: JoinSet<()>) -> Result<(), Error> {
    let all = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended);
        }
    };
    if timeout(DRAIN_DEADLINE, all).await.is_ok() {
        return Ok(());
    }
    let unfinished = connections.len();
    connections.shutdown().await;
    Err(Error::Unfinished { connections: unfinished })
}

async fn connection(stream: TcpStream, service: Service, stop: CancellationToken) {
    // Without it answers may wait for an acknowledgement; nothing else depends on it.
    let _ = stream.set_nodelay(true);
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            // Scripts grep for `Location:` as Jetty writes it.
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stop.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "REST connection ended early");
    }
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = %error, "a REST connection's task broke");
    }
}

/// Whether only the connection about to be accepted is lost.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}
