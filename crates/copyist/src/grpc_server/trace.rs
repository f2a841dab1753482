//! A span for each call that is answered.

use std::pin::Pin;
use std::task::{Context, Poll};

use copyist_proto::trace;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service, ServiceExt};
use tracing::Instrument;

/// Makes [`Trace`]s.
#[derive(Debug, Clone, Copy)]
pub struct TraceLayer;

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner }
    }
}

/// A service whose calls have spans, from their arrival to the beginning of their answer.
#[derive(Debug, Clone)]
pub struct Trace<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Trace<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // A call that waits for its turn waits within its deadline and its span.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let span = trace::server_span(request.uri().path(), request.headers());
        let answered = self.inner.clone().oneshot(request);
        let ended = span.clone();
        Box::pin(
            async move {
                let answer = answered.await;
                if let Ok(answer) = &answer {
                    trace::record_status(&ended, answer.headers());
                }
                answer
            }
            .instrument(span),
        )
    }
}
