//! The HTTP server: connections, their limits, and an end within a deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Gateway;
use crate::connections::{Activity, Connections};
use crate::stream::Stream;

/// A connection beyond this takes the place of one that waits for a request, if there is one.
const CONNECTIONS_MAX: usize = 1_024;

/// How often one is looked for while all have requests.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A request has at most so many headers.
const HEADERS_MAX: usize = 100;

/// The head of a request is at most so large; what is read ahead of a body as well.
const HEAD_BYTES_MAX: usize = 64 << 10;

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
    /// One that has a request may wait for the next one by now.
    Looked,
}

/// Serves Connect's REST API until `stop`, then answers what is under way, at most 10 s longer.
///
/// # Errors
/// When requests were still unanswered at that deadline.
pub async fn serve(listener: TcpListener, gateway: Gateway, stop: CancellationToken) -> Result<(), Error> {
    let service = TowerToHyperService::new(crate::router(gateway));
    let mut connections = Connections::new(CONNECTIONS_MAX);
    let mut failures = 0;
    loop {
        let has_room = connections.make_room();
        let event = tokio::select! {
            () = stop.cancelled() => Event::Stopped,
            Some(ended) = connections.ended() => Event::Ended(ended),
            accepted = listener.accept(), if has_room => Event::Accepted(accepted),
            () = tokio::time::sleep(LOOK_INTERVAL), if !has_room => Event::Looked,
        };
        match event {
            Event::Stopped => break,
            Event::Looked => {}
            Event::Ended(ended) => log_panic(ended),
            Event::Accepted(Ok((socket, _peer))) => {
                failures = 0;
                let activity = connections.activity();
                let served = connection(socket, activity.clone(), service.clone(), stop.clone());
                connections.open(activity, served);
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

async fn drain(mut connections: Connections) -> Result<(), Error> {
    let all = async {
        while let Some(ended) = connections.ended().await {
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

async fn connection(socket: TcpStream, activity: Arc<Activity>, service: Service, stop: CancellationToken) {
    // Without it answers may wait for an acknowledgement; nothing else depends on it.
    let _ = socket.set_nodelay(true);
    let stream = Stream::new(socket, activity.clone());
    let service = service_fn(|mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(activity.clone());
        let answer = activity.begun().then(|| service.call(request));
        let activity = activity.clone();
        async move {
            let Some(answer) = answer else { return Err(Closed) };
            // A router always answers.
            let answer = answer.await.unwrap_or_else(|never| match never {});
            activity.answered();
            Ok(answer)
        }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
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

/// The connection was closed for another one while a request was arriving.
#[derive(Debug, thiserror::Error)]
#[error("closed for another connection")]
struct Closed;

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
