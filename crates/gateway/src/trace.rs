//! A span for each REST request: the beginning of a trace, or a part of the caller's.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use copyist_proto::trace;
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// Answers within a span.
pub async fn traced(request: Request, next: Next) -> Response {
    let span = span(&request);
    let answer = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", answer.status().as_u16());
    if answer.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    answer
}

fn span(request: &Request) -> Span {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let span = tracing::info_span!(
        "rest",
        otel.name = format!("{method} {}", collection(path)),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.response.status_code = Empty,
        url.path = path,
    );
    trace::extract(&span, request.headers());
    span
}

/// What many paths have in common: `/connectors` of `/connectors/a/status`.
fn collection(path: &str) -> &str {
    let end = path.get(1..).and_then(|rest| rest.find('/')).map_or(path.len(), |at| at + 1);
    path.get(..end).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_named_by_collections() {
        let rows =
            [("/", "/"), ("/connectors", "/connectors"), ("/connectors/a/status", "/connectors"), ("", "")];
        for (path, expected) in rows {
            assert_eq!(collection(path), expected);
        }
    }
}
