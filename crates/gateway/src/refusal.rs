//! Every error that a client can see, as Connect's document `{"error_code":…,"message":…}`.

use std::error::Error as _;

use copyist_proto::{Malformed, NOT_BEGUN, TIMED_OUT};
use http::StatusCode;
use serde::Serialize;
use tonic::{Code, Status};

use crate::input::BadBody;
use crate::path::BadEncoding;

/// An answer that is an error.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub message: String,
    /// Connect's routing errors have the document without a Content-Type.
    pub has_content_type: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    error_code: u16,
    message: &'a str,
}

impl Refusal {
    /// An error of the API itself.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), has_content_type: true }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// An error in the words of Connect's web framework, such as `HTTP 404 Not Found`.
    pub fn framework(status: StatusCode) -> Self {
        Self::new(status, format!("HTTP {status}"))
    }

    /// The same, raised before a resource was reached.
    pub fn routing(status: StatusCode) -> Self {
        Self { has_content_type: false, ..Self::framework(status) }
    }

    pub fn timed_out() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, TIMED_OUT)
    }

    pub fn document(&self) -> String {
        let document = Document { error_code: self.status.as_u16(), message: &self.message };
        // Two plain fields always serialize.
        serde_json::to_string(&document).unwrap_or_default()
    }
}

impl From<BadEncoding> for Refusal {
    fn from(error: BadEncoding) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<BadBody> for Refusal {
    fn from(error: BadBody) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        let message = format!("The coordinator's answer cannot be used: {error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

/// What Connect says while no worker leads.
const NO_LEADER: &str = "Cannot complete request momentarily due to no known leader URL, likely because a rebalance was underway.";

impl Refusal {
    /// The refusal of a write. One that nobody could answer and that has certainly not begun is Connect's 409, which its
    /// clients repeat; where it may have begun, 409 would let it look as if nothing had happened: that is a 503.
    pub fn of_write(status: Status) -> Self {
        if status.code() == Code::Unavailable && status.metadata().contains_key(NOT_BEGUN) {
            return Self::no_leader(status.message());
        }
        status.into()
    }

    /// Connect's 409 while no worker leads, and what is known about it.
    pub fn no_leader(details: &str) -> Self {
        Self::new(StatusCode::CONFLICT, format!("{NO_LEADER} ({details})"))
    }
}

/// The one mapping of gRPC codes (the proto's header has it).
///
/// That nobody could answer is a 503: of 500 and 503 the latter is what load balancers and `curl --retry` take for a
/// passing state. [`Refusal::of_write`] has the exception.
impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        // Only a failure on this side of the connection has a source.
        if status.source().is_some() {
            let message = format!("The coordinator cannot be reached, try again: {}", chain(&status));
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, message);
        }
        let code = match status.code() {
            Code::InvalidArgument | Code::FailedPrecondition => StatusCode::BAD_REQUEST,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            // With what it waits for, or because of a deadline on the way.
            Code::DeadlineExceeded if status.message().starts_with(TIMED_OUT) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Code::DeadlineExceeded => return Self::timed_out(),
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::OutOfRange
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let message =
            if status.message().is_empty() { status.code().description() } else { status.message() };
        Self::new(code, message)
    }
}

/// A status and its sources, each text once.
fn chain(status: &Status) -> String {
    let mut texts = vec![status.message().to_owned()];
    let mut source = status.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        source = error.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_status() {
        let rows = [
            (Code::NotFound, 404),
            (Code::AlreadyExists, 409),
            (Code::InvalidArgument, 400),
            (Code::FailedPrecondition, 400),
            (Code::Aborted, 409),
            (Code::Unimplemented, 501),
            (Code::Unavailable, 503),
            (Code::Ok, 500),
            (Code::Cancelled, 500),
            (Code::Unknown, 500),
            (Code::PermissionDenied, 500),
            (Code::ResourceExhausted, 500),
            (Code::OutOfRange, 500),
            (Code::Internal, 500),
            (Code::DataLoss, 500),
            (Code::Unauthenticated, 500),
        ];
        for (code, status) in rows {
            let refusal = Refusal::from(Status::new(code, "a\n\"b\""));
            let expected = format!(r#"{{"error_code":{status},"message":"a\n\"b\""}}"#);
            assert_eq!((refusal.status.as_u16(), refusal.document()), (status, expected), "{code:?}");
        }
        let refusal = Refusal::from(Status::deadline_exceeded("x"));
        assert_eq!(refusal.document(), r#"{"error_code":500,"message":"Request timed out"}"#);
        let refusal = Refusal::from(Status::deadline_exceeded("Request timed out. It waits: task 0: busy"));
        let expected = r#"{"error_code":500,"message":"Request timed out. It waits: task 0: busy"}"#;
        assert_eq!(refusal.document(), expected);
        assert!(!Refusal::from(Status::internal("")).message.is_empty());
    }
}
