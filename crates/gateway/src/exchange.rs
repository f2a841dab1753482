//! A request's way: what it asks for, its body, the gRPC call, the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use copyist_proto::coordinators::Patience;
use http::header::HOST;
use http::request::Parts;
use http::{Method, StatusCode, Version};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};

use crate::budget::Share;
use crate::connections::Activity;
use crate::media::{self, Declared};
use crate::query::Query;
use crate::refusal::Refusal;
use crate::reply::{self, Reply};
use crate::resource::{self, Endpoint, Target};
use crate::{Client, Gateway, Surface, handlers, path};

/// The coordinator gives up a little later than the gateway, so that the timeout's text is ours.
const CALL_DEADLINE_MARGIN: Duration = Duration::from_secs(1);

/// A body must have arrived by then.
const BODY_DEADLINE: Duration = Duration::from_secs(60);

/// The largest body that is read: Connect takes a text of 20,000,000 characters, and stores no config over 1 MiB.
const BODY_MAX_BYTES: usize = 20_000_000;

/// A larger body is read up to here and thrown away: closing a connection that a client still writes to
/// can destroy the answer before it is read.
const BODY_DISCARD_BYTES: usize = 4 * BODY_MAX_BYTES;

/// A decided request with what its handler needs.
pub struct Call {
    pub client: Client,
    pub gateway: Gateway,
    pub target: Target,
    pub query: Query,
    /// The Host header.
    pub host: Option<String>,
    pub body: Incoming,
    /// Whether there is a Content-Type, which is JSON then.
    pub declared: bool,
}

/// A body that has not arrived yet, and what it will count.
pub struct Incoming {
    body: Body,
    share: Arc<Share>,
    /// Of its connection; nothing where there is none, as in tests of the router.
    activity: Option<Arc<Activity>>,
}

/// What a request's head decides.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Methods { allow: &'static str, text: bool },
    Call { endpoint: Endpoint, target: Target, query: Query, declared: bool },
}

/// Answers one request.
pub async fn answer(State(gateway): State<Gateway>, request: Request) -> Response {
    let started = Instant::now();
    let (head, body) = request.into_parts();
    let json = media::acceptable(&head.headers).json.unwrap_or(media::JSON);
    let budget = gateway.budget.clone();
    // Counts until there is an answer: what a body says has copies on the way.
    let share = Arc::new(budget.share());
    let outcome = match decide(&head, gateway.surface) {
        Ok(Decision::Call { endpoint, target, query, declared }) => {
            let activity = head.extensions.get::<Arc<Activity>>().cloned();
            let (client, body) = (gateway.client.clone(), Incoming { body, share: share.clone(), activity });
            let call = Call { client, gateway, target, query, host: host(&head), body, declared };
            handlers::handle(endpoint, call).await
        }
        Ok(Decision::Methods { allow, text }) => Ok(Reply::Methods { allow, text }),
        Err(refusal) => Err(refusal),
    };
    drop(share);
    let response = reply::response(outcome, json, &budget);
    tracing::debug!(
        method = %head.method,
        path = head.uri.path(),
        status = response.status().as_u16(),
        elapsed_ms = started.elapsed().as_millis(),
        "request answered"
    );
    response
}

/// The checks in Connect's order: path, method, Content-Type, Accept.
fn decide(head: &Parts, surface: Surface) -> Result<Decision, Refusal> {
    check_host(head)?;
    let segments = path::segments(head.uri.path())?;
    let query = Query::parse(head.uri.query())?;
    let found = resource::find(&segments).filter(|_| surface.has(&segments));
    let (resource, target) = found.ok_or_else(|| Refusal::routing(StatusCode::NOT_FOUND))?;
    let acceptable = media::acceptable(&head.headers);
    if head.method == Method::OPTIONS {
        return Ok(Decision::Methods { allow: resource.allow, text: acceptable.text });
    }
    let endpoint =
        resource.endpoint(&head.method).ok_or_else(|| Refusal::routing(StatusCode::METHOD_NOT_ALLOWED))?;
    let declared = media::declared(&head.headers);
    if resource.consumes_json {
        match declared {
            Declared::Nothing | Declared::Json => {}
            Declared::Other => return Err(Refusal::routing(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
            Declared::Malformed => {
                return Err(Refusal::bad_request(
                    "The Content-Type is not a media type such as application/json",
                ));
            }
        }
    }
    if acceptable.json.is_none() {
        return Err(Refusal::routing(StatusCode::NOT_ACCEPTABLE));
    }
    Ok(Decision::Call { endpoint, target, query, declared: declared == Declared::Json })
}

/// Who does not say for which host a request is, or says two things, may be answered by the wrong server (RFC 9112, 3.2).
fn check_host(head: &Parts) -> Result<(), Refusal> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let is_missing = first.is_none() && head.version == Version::HTTP_11;
    let is_other = match (head.uri.authority(), first) {
        (Some(authority), Some(host)) => !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()),
        (Some(_), None) | (None, _) => false,
    };
    if is_missing || is_other || second.is_some() {
        return Err(Refusal::bad_request("The request must have one Host header, which fits its URI"));
    }
    Ok(())
}

fn host(head: &Parts) -> Option<String> {
    let header = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    header.or(head.uri.authority().map(http::uri::Authority::as_str)).map(str::to_owned)
}

/// The body of a request that needs one.
///
/// # Errors
/// When it is not declared as JSON, too large, too slow, or broken off; when too many large ones arrive at once.
pub async fn read(body: Incoming, declared: bool) -> Result<Bytes, Refusal> {
    let activity = body.activity.clone();
    // Who sends a body slowly gives way to others as who sends nothing does.
    activity.iter().for_each(|activity| activity.awaits_body());
    let collected = timeout(BODY_DEADLINE, collect(body)).await;
    if activity.is_some_and(|activity| !activity.begun()) {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "closed for another connection"));
    }
    let bytes = match collected {
        Ok(collected) => collected?,
        Err(_) => {
            let message = format!("The request body did not arrive within {} s", BODY_DEADLINE.as_secs());
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, message));
        }
    };
    if !declared && !bytes.is_empty() {
        return Err(Refusal::framework(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    Ok(bytes)
}

async fn collect(Incoming { mut body, share, activity: _ }: Incoming) -> Result<Bytes, Refusal> {
    let (mut bytes, mut size) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Refusal::bad_request(format!("The request body broke off: {error}")))?;
        let data = frame.into_data().unwrap_or_default();
        size += data.len();
        if size <= BODY_MAX_BYTES {
            share.grow_to(size)?;
            bytes.extend_from_slice(&data);
        } else if size > BODY_DISCARD_BYTES {
            break;
        }
    }
    if size > BODY_MAX_BYTES {
        let message = format!("The request body is larger than {BODY_MAX_BYTES} bytes");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    Ok(bytes.into())
}

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From its beginning to its answer.
    pub deadline: Duration,
    /// As long as no coordinator can answer.
    pub patience: Duration,
}

/// Connect's 90 s, and an election with some room.
pub const LIMITS: Limits = Limits { deadline: Duration::from_secs(90), patience: Duration::from_secs(10) };

/// Makes one gRPC call that changes nothing, within Connect's 90 s.
///
/// # Errors
/// What the service refuses; that no coordinator answers, or it takes too long.
pub async fn call<M, A, F>(message: M, method: impl FnOnce(tonic::Request<M>) -> F) -> Result<A, Refusal>
where
    F: Future<Output = Result<tonic::Response<A>, tonic::Status>>,
{
    call_within(LIMITS, message, method).await
}

/// The same with other limits.
///
/// # Errors
/// As `call`.
pub async fn call_within<M, A, F>(
    limits: Limits,
    message: M,
    method: impl FnOnce(tonic::Request<M>) -> F,
) -> Result<A, Refusal>
where
    F: Future<Output = Result<tonic::Response<A>, tonic::Status>>,
{
    answered(limits, message, method).await?.map_err(Refusal::from)
}

/// Makes one gRPC call that changes something, within Connect's 90 s.
///
/// # Errors
/// As `call`; Connect's 409 while nobody leads, if it has certainly not begun.
pub async fn write<M, A, F>(message: M, method: impl FnOnce(tonic::Request<M>) -> F) -> Result<A, Refusal>
where
    F: Future<Output = Result<tonic::Response<A>, tonic::Status>>,
{
    answered(LIMITS, message, method).await?.map_err(Refusal::of_write)
}

/// What the service says, within its time.
async fn answered<M, A, F>(
    limits: Limits,
    message: M,
    method: impl FnOnce(tonic::Request<M>) -> F,
) -> Result<Result<A, tonic::Status>, Refusal>
where
    F: Future<Output = Result<tonic::Response<A>, tonic::Status>>,
{
    match timeout(limits.deadline, method(request(limits, message))).await {
        Ok(answer) => Ok(answer.map(tonic::Response::into_inner)),
        Err(_) => Err(Refusal::timed_out()),
    }
}

fn request<M>(limits: Limits, message: M) -> tonic::Request<M> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(limits.deadline + CALL_DEADLINE_MARGIN);
    request.extensions_mut().insert(Patience(limits.patience));
    request
}
