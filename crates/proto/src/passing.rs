//! A call as it passes on to another process: a request that can be sent again, its answer, and what a failure means.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Collected, Full, LengthLimitError, Limited};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tower::ServiceExt;

use crate::methods;

/// Metadata of an UNAVAILABLE: what was asked for has certainly not begun anywhere.
pub const NOT_BEGUN: &str = "copyist-not-begun";

/// What Connect says when an answer takes too long. A DEADLINE_EXCEEDED that begins so is for the user to read.
pub const TIMED_OUT: &str = "Request timed out";

/// The largest request that passes: what the gateway takes as a body, and its frame.
pub const REQUEST_BYTES_MAX: usize = 20 << 20;

/// The largest single answer that passes, and its frame: a listing with every connector's config and status.
const ANSWER_BYTES_MAX: usize = (256 << 20) + 5;

/// The header of a caller's deadline.
const DEADLINE: &str = "grpc-timeout";

/// A request that is in memory as a whole.
#[derive(Debug)]
pub(crate) struct Held {
    parts: Parts,
    body: Bytes,
}

/// Why a call was not answered.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub because: String,
    /// What the other side answered, if it was there: UNAVAILABLE.
    pub said: Option<Status>,
    /// Whether what was asked for may have begun all the same.
    pub may_have_begun: bool,
    /// The caller's time is over.
    pub is_late: bool,
    /// The attempt to connect ran into its timeout.
    pub is_slow_connecting: bool,
}

impl Held {
    /// Reads a request to its end.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when it is too large, CANCELLED when it breaks off.
    pub async fn collect(request: Request<Body>) -> Result<Self, Status> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                let text = format!("the request is larger than {REQUEST_BYTES_MAX} bytes");
                return Status::resource_exhausted(text);
            }
            Status::cancelled(format!("the request broke off: {error}"))
        })?;
        Ok(Self { parts, body: body.to_bytes() })
    }

    /// Adds metadata that the next process reads.
    pub fn say(&mut self, name: &'static str, value: HeaderValue) {
        self.parts.headers.append(name, value);
    }

    /// The request once more, to be answered within `left`. Headers pass as they are, traces among them; what this
    /// process attached to the request stays here.
    pub fn again(&self, left: Duration) -> Request<Body> {
        let mut request = Request::new(Body::new(Full::new(self.body.clone())));
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = self.parts.uri.clone();
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = self.parts.headers.clone();
        request.headers_mut().insert(DEADLINE, deadline(left));
        request
    }

    /// The request as it came, for a service of this process.
    pub fn back(self) -> Request<Body> {
        Request::from_parts(self.parts, Body::new(Full::new(self.body)))
    }

    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Sends it, and waits for the answer: for the whole of one that is single, for the beginning of a stream. An answer
    /// of UNAVAILABLE is a failure: nobody could answer.
    pub async fn ask(&self, channel: Channel, left: Duration) -> Result<Response<Body>, Failure> {
        let answered = tokio::time::timeout(left, self.answer(channel, left)).await;
        answered.unwrap_or_else(|_| Err(Failure::late(left)))
    }

    async fn answer(&self, channel: Channel, left: Duration) -> Result<Response<Body>, Failure> {
        let answer = channel.oneshot(self.again(left)).await.map_err(|error| failure(&error, left))?;
        let (head, body) = answer.into_parts();
        if let Some(failure) = said(head.status, &head.headers) {
            return Err(failure);
        }
        if !methods::is_unary(self.parts.uri.path()) {
            return Ok(Response::from_parts(head, body));
        }
        let broken = |error: Box<dyn Error + Send + Sync>| failure(error.as_ref(), left);
        let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(broken)?;
        if let Some(failure) = whole.trailers().and_then(unavailable) {
            return Err(failure);
        }
        Ok(Response::from_parts(head, again(whole)))
    }
}

impl Failure {
    fn new(because: String, may_have_begun: bool) -> Self {
        Self { because, said: None, may_have_begun, is_late: false, is_slow_connecting: false }
    }

    fn late(after: Duration) -> Self {
        let because = format!("no answer within {:.1} s", after.as_secs_f64());
        Self { is_late: true, ..Self::new(because, true) }
    }

    /// Who waited for the same connection found nobody there.
    pub fn given_up() -> Self {
        // It may have been sent before the connection was lost.
        Self::new("cannot connect: no answer to the attempts of others".to_owned(), true)
    }

    /// An address that the list does not have.
    pub fn nowhere() -> Self {
        Self::new("there is no such address".to_owned(), false)
    }
}

/// What the head of an answer says, when that is a failure.
fn said(status: http::StatusCode, headers: &HeaderMap) -> Option<Failure> {
    if status != http::StatusCode::OK {
        let because = format!("what listens there is no coordinator: it answers HTTP {status}");
        return Some(Failure::new(because, true));
    }
    unavailable(headers)
}

fn unavailable(headers: &HeaderMap) -> Option<Failure> {
    let status = Status::from_header_map(headers).filter(|status| status.code() == Code::Unavailable)?;
    let because = if status.message().is_empty() { "it is not available" } else { status.message() };
    let failure = Failure::new(because.to_owned(), !headers.contains_key(NOT_BEGUN));
    Some(Failure { said: Some(status), ..failure })
}

/// What an error of the transport means. Only one of connecting says for certain that nothing was sent.
fn failure(error: &(dyn Error + 'static), left: Duration) -> Failure {
    let causes: Vec<&(dyn Error + 'static)> =
        std::iter::successors(Some(error), |error| (**error).source()).collect();
    if causes.iter().any(|cause| cause.is::<TimeoutExpired>()) {
        return Failure::late(left);
    }
    // The innermost cause says it; what is around it says that there was an error.
    let because = causes.last().map(ToString::to_string).unwrap_or_default();
    if !causes.iter().any(|cause| cause.is::<ConnectError>()) {
        return Failure::new(because, true);
    }
    let is_slow = |cause: &&(dyn Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
    };
    let is_slow_connecting = causes.iter().any(is_slow);
    Failure { is_slow_connecting, ..Failure::new(format!("cannot connect: {because}"), false) }
}

/// A caller's deadline, from when its request came.
#[must_use]
pub(crate) fn time_left(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(DEADLINE)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// In milliseconds as long as they have the eight digits that gRPC allows, else in seconds.
fn deadline(left: Duration) -> HeaderValue {
    let millis = left.as_millis().max(1);
    let text = if millis > 99_999_999 {
        format!("{}S", left.as_secs().min(99_999_999))
    } else {
        format!("{millis}m")
    };
    #[expect(clippy::expect_used, reason = "digits and a letter")]
    HeaderValue::try_from(text).expect("digits and a letter are a header's value")
}

/// The body of an answer that was read. One that is all in the head ends with it: that is how an error is told, and some
/// clients insist.
fn again(whole: Collected<Bytes>) -> Body {
    match whole.trailers().cloned() {
        Some(trailers) => {
            let trailers = std::future::ready(Some(Ok(trailers)));
            Body::new(Full::new(whole.to_bytes()).with_trailers(trailers))
        }
        None => match whole.to_bytes() {
            bytes if bytes.is_empty() => Body::empty(),
            bytes => Body::new(Full::new(bytes)),
        },
    }
}

/// The UNAVAILABLE of a call that has certainly not begun.
#[must_use]
pub fn not_begun(text: String) -> Status {
    let mut status = Status::unavailable(text);
    status.metadata_mut().insert(NOT_BEGUN, tonic::metadata::MetadataValue::from_static("1"));
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_and_written_in_grpcs_words() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(DEADLINE, HeaderValue::from_str(text).unwrap());
            time_left(&headers)
        };
        let rows = [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("123456789S", None),
            ("1", None),
            ("S", None),
            ("1x", None),
            ("-1S", None),
        ];
        for (text, expected) in rows {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(time_left(&HeaderMap::new()), None);
        for (left, text) in [(0, "1m"), (1500, "1500m"), (99_999_999, "99999999m"), (100_000_000, "100000S")]
        {
            assert_eq!(deadline(Duration::from_millis(left)), text);
        }
    }

    #[test]
    fn unavailable_is_a_failure_and_any_other_status_is_an_answer() {
        let ok = http::StatusCode::OK;
        let head = |status: Status| said(ok, status.into_http::<Body>().headers());
        let rows = [
            (Status::unavailable("a b"), "a b", true),
            (Status::unavailable(""), "it is not available", true),
            (not_begun("c".to_owned()), "c", false),
        ];
        for (status, because, may_have_begun) in rows {
            let failure = head(status).expect("nobody could answer");
            assert_eq!((failure.because.as_str(), failure.may_have_begun), (because, may_have_begun));
            assert!(failure.said.is_some() && !failure.is_late);
        }
        for code in [Code::NotFound, Code::Internal, Code::DeadlineExceeded, Code::FailedPrecondition] {
            assert!(head(Status::new(code, "x")).is_none(), "{code:?}");
        }
        assert!(said(ok, &HeaderMap::new()).is_none());
        assert!(said(http::StatusCode::BAD_GATEWAY, &HeaderMap::new()).is_some());
    }
}
