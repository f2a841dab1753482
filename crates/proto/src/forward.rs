//! Calls that this process does not answer itself, passed on as they are: HTTP to HTTP, single answers and streams of
//! answers. A coordinator that does not lead passes them to the leader, a gateway to its coordinators.
//!
//! A call is passed on once by each kind of process: one that comes back to the same kind finds UNAVAILABLE, and is
//! asked again by who began it. Errors are gRPC statuses.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service, ServiceExt};

use crate::coordinators::Coordinators;
use crate::passing::{self, Held};

/// Metadata of a call that was passed on: by which kinds of process.
pub const FORWARDED: &str = "copyist-forwarded";

/// Metadata of a call that was passed on: the address that it came from.
pub const FORWARDED_FOR: &str = "x-forwarded-for";

/// A call without a deadline of its own is answered, or a stream opened, within this.
const DEADLINE: Duration = Duration::from_secs(120);

/// Who answers a call.
#[derive(Debug, Clone)]
pub enum Target {
    /// This process.
    Here,
    /// The process at the other end. When it does not answer, this process does.
    There(Channel),
    /// Any of these, as soon as one can.
    Coordinators(Coordinators),
    /// Nobody at this moment: UNAVAILABLE, with this text.
    Nobody(String),
}

/// Says, for the path of a call (`/package.Service/Method`), who answers it.
type Choice = Arc<dyn Fn(&str) -> Target + Send + Sync>;

/// Makes [`Forward`]s, for `Server::layer`.
#[derive(Clone)]
pub struct ForwardLayer {
    by: &'static str,
    prefixes: &'static [&'static str],
    choose: Choice,
}

impl ForwardLayer {
    /// Passes calls whose path begins with one of `prefixes` to whom `choose` names for the path. `by` is the kind of this
    /// process ("coordinator"): a call that one of the same kind has passed on already is not passed on again.
    pub fn new(
        by: &'static str,
        prefixes: &'static [&'static str],
        choose: impl Fn(&str) -> Target + Send + Sync + 'static,
    ) -> Self {
        Self { by, prefixes, choose: Arc::new(choose) }
    }

    fn target(&self, request: &Request<Body>) -> Target {
        let path = request.uri().path();
        if !self.prefixes.iter().any(|prefix| path.starts_with(prefix)) {
            return Target::Here;
        }
        let target = (self.choose)(path);
        let is_passed_on = request.headers().get_all(FORWARDED).iter().any(|by| by == self.by);
        match target {
            Target::Here => Target::Here,
            Target::Nobody(text) => Target::Nobody(text),
            Target::There(_) | Target::Coordinators(_) if is_passed_on => Target::Nobody(format!(
                "the {} that this was forwarded to answers no such calls any more",
                self.by
            )),
            Target::There(channel) => Target::There(channel),
            Target::Coordinators(coordinators) => Target::Coordinators(coordinators),
        }
    }
}

impl std::fmt::Debug for ForwardLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForwardLayer")
            .field("by", &self.by)
            .field("prefixes", &self.prefixes)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ForwardLayer {
    type Service = Forward<S>;

    fn layer(&self, local: S) -> Forward<S> {
        Forward { layer: self.clone(), local }
    }
}

/// A service of which some calls are answered elsewhere.
#[derive(Debug, Clone)]
pub struct Forward<S> {
    layer: ForwardLayer,
    local: S,
}

impl<S> Service<Request<Body>> for Forward<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // Whether the local service is ready is its own callers' business.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let local = self.local.clone();
        let by = self.layer.by;
        match self.layer.target(&request) {
            Target::Here => Box::pin(local.oneshot(request)),
            Target::Nobody(text) => Box::pin(async { Ok(passing::not_begun(text).into_http()) }),
            Target::There(channel) => Box::pin(there(request, by, channel, local)),
            Target::Coordinators(coordinators) => Box::pin(async move {
                let answer = match held(request, by).await {
                    Ok(held) => coordinators.oneshot(held.back()).await,
                    Err(status) => Err(status),
                };
                Ok(answer.unwrap_or_else(Status::into_http))
            }),
        }
    }
}

/// Passes a call to the process at the other end of `channel`; a failure there leaves it to `local`.
async fn there<S>(
    request: Request<Body>,
    by: &'static str,
    channel: Channel,
    local: S,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let left = passing::time_left(request.headers()).unwrap_or(DEADLINE);
    let held = match held(request, by).await {
        Ok(held) => held,
        Err(status) => return Ok(status.into_http()),
    };
    let failure = match held.ask(channel, left).await {
        Ok(answer) => return Ok(answer),
        Err(failure) => failure,
    };
    match failure.said {
        // The other side knows whether something has begun there.
        Some(unavailable) => Ok(unavailable.into_http()),
        None if failure.is_late => Ok(Status::deadline_exceeded(failure.because).into_http()),
        None => {
            let mut answer = local.oneshot(held.back()).await?;
            if failure.may_have_begun {
                // This process knows of itself alone.
                answer.headers_mut().remove(passing::NOT_BEGUN);
            }
            Ok(answer)
        }
    }
}

/// The whole of a request, marked as passed on.
async fn held(request: Request<Body>, by: &'static str) -> Result<Held, Status> {
    let collected = tokio::time::timeout(DEADLINE, Held::collect(request)).await;
    let mut held =
        collected.map_err(|_| Status::deadline_exceeded("the request did not arrive in time"))??;
    held.say(FORWARDED, HeaderValue::from_static(by));
    let caller = held.parts().extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    if let Some(caller) = caller
        && let Ok(caller) = HeaderValue::try_from(caller.to_string())
    {
        held.say(FORWARDED_FOR, caller);
    }
    Ok(held)
}
