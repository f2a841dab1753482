//! Errors as gRPC tells them: a code, the text that REST shows, and for programs the details of `google.rpc`: a reason,
//! each key of a config that was refused, and when to ask again.

use std::time::Duration;

use copyist_connector::rejection::Rejection;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::core::{Failure, GivenConfig};

/// Who gives the reasons of `google.rpc.ErrorInfo`.
const DOMAIN: &str = "copyist";

/// How much is said of one error; a config of hundreds of kilobytes can be wrong in each of its keys.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// After which it is worth asking again: an election, or a step of somebody else's change.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Why a request failed.
pub(super) fn status(failure: &Failure) -> Status {
    let (code, reason, may_pass) = match failure {
        Failure::NotFound(_) => (Code::NotFound, "NOT_FOUND", false),
        Failure::AlreadyExists(_) => (Code::AlreadyExists, "ALREADY_EXISTS", false),
        Failure::Invalid(_) => (Code::InvalidArgument, "INVALID", false),
        Failure::Conflict(_) => (Code::Aborted, "CONFLICT", true),
        Failure::Unavailable(_) => (Code::Unavailable, "UNAVAILABLE", true),
    };
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    if may_pass {
        details.set_retry_info(Some(ASK_AGAIN));
    }
    Status::with_error_details(code, shortened(failure.to_string()), details)
}

/// The refusal of what a user has written, of which it may quote any length.
pub(super) fn invalid(text: impl std::fmt::Display) -> Status {
    Status::invalid_argument(shortened(text.to_string()))
}

/// A text that a header can carry, and a person read.
fn shortened(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let whole = text.len();
        let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
        text.push_str(&format!("… and {} bytes more", whole - end));
    }
    text
}

/// Why a config was refused, key by key; any other failure as it is.
pub(super) fn of_config(failure: Status, name: &str, config: &GivenConfig) -> Status {
    if failure.code() != Code::InvalidArgument {
        return failure;
    }
    let Err(Rejection::Invalid(problems)) = copyist_connector::parse(name, config) else { return failure };
    let mut details = ErrorDetails::with_error_info("INVALID", DOMAIN, []);
    let mut left = TEXT_BYTES_MAX;
    for problem in problems {
        let bytes = problem.key.len() + problem.message.len();
        let Some(rest) = left.checked_sub(bytes) else { break };
        left = rest;
        details.add_bad_request_violation(problem.key, problem.message);
    }
    Status::with_error_details(Code::InvalidArgument, failure.message(), details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_a_code_a_reason_and_a_time_to_ask_again() {
        let text = || "why".to_owned();
        let rows = [
            (Failure::NotFound(text()), Code::NotFound, "NOT_FOUND", false),
            (Failure::AlreadyExists(text()), Code::AlreadyExists, "ALREADY_EXISTS", false),
            (Failure::Invalid(text()), Code::InvalidArgument, "INVALID", false),
            (Failure::Conflict(text()), Code::Aborted, "CONFLICT", true),
            (Failure::Unavailable(text()), Code::Unavailable, "UNAVAILABLE", true),
        ];
        for (failure, code, reason, asks_again) in rows {
            let status = status(&failure);
            let details = status.get_error_details();
            assert_eq!((status.code(), status.message()), (code, "why"));
            let info = details.error_info().map(|info| (info.reason.as_str(), info.domain.as_str()));
            assert_eq!(info, Some((reason, "copyist")));
            assert_eq!(details.retry_info().is_some(), asks_again, "{reason}");
        }
    }

    #[test]
    fn a_text_that_no_header_can_carry_is_cut() {
        let long = "ñ".repeat(TEXT_BYTES_MAX);
        let cut = status(&Failure::NotFound(format!("x{long}")));
        let expected = format!("… and {} bytes more", TEXT_BYTES_MAX + 2);
        assert!(cut.message().ends_with(&expected) && cut.message().len() <= TEXT_BYTES_MAX + 40);
        let config: GivenConfig = [("connector.class", "EMRReplicatorSourceConnector"), ("tasks.max", &long)]
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned())))
            .collect();
        let refused = of_config(status(&Failure::Invalid(long.clone())), "c", &config);
        let details = refused.get_error_details();
        let violations = details.bad_request().map(|it| it.field_violations.clone()).unwrap_or_default();
        let bytes: usize = violations.iter().map(|it| it.field.len() + it.description.len()).sum();
        assert!(bytes < TEXT_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn a_refused_config_is_told_key_by_key() {
        let pairs = [("connector.class", "EMRReplicatorSourceConnector"), ("tasks.max", "x")];
        let config: GivenConfig =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect();
        let refused = of_config(status(&Failure::Invalid("all of it".to_owned())), "c", &config);
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "all of it"));
        let details = refused.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        let keys: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert!(keys.contains(&"tasks.max") && keys.contains(&"src.kafka.bootstrap.servers"), "{keys:?}");
        let other = of_config(status(&Failure::Conflict(String::new())), "c", &config);
        assert_eq!(other.code(), Code::Aborted);
    }
}
