//! The Prometheus endpoint.

use std::future::IntoFuture;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::process_collector::ProcessCollector;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A registry with the process's own metrics.
#[must_use]
pub fn registry() -> Registry {
    let registry = Registry::new();
    #[expect(clippy::expect_used, reason = "the first collector of a registry collides with no other")]
    registry.register(Box::new(ProcessCollector::for_self())).expect("an empty registry takes a collector");
    registry
}

/// What a half-sent request may delay the shutdown.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// Answers `GET /metrics` until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, registry: Registry, stop: CancellationToken) -> io::Result<()> {
    let router = Router::new().route("/metrics", get(show)).with_state(registry);
    let served =
        axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned()).into_future();
    tokio::select! {
        result = served => result,
        () = lingered(&stop) => Ok(()),
    }
}

async fn lingered(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LINGER_MAX).await;
}

async fn show(State(registry): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written as text");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
