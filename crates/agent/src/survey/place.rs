//! Which of the clusters, in words, and what an error means there.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use copyist_kafka::{BreakCause, Error as ClientError};
use copyist_model::ClientProperties;
use rdkafka::error::KafkaError;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use super::blueprint::needs_human;
use crate::error::{Error, chain};

/// Longest wait for a first word from a cluster.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes that are no answer.
pub const FOREIGN: &str = "what answers there does not speak Kafka's protocol (another service's port, or another \
                           security.protocol)";
/// A broker that hangs up.
pub const CLOSED: &str = "it closes the connection (another security.protocol, or it is being stopped)";
/// How the system's resolver begins.
const UNRESOLVED: &str = "failed to lookup address information: ";

/// Which of the clusters, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    role: &'static str,
    servers: String,
}

impl Place {
    #[must_use]
    pub fn new(role: &'static str, properties: &ClientProperties) -> Self {
        Self::at(role, properties.bootstrap_servers())
    }

    #[must_use]
    pub fn at(role: &'static str, servers: &str) -> Self {
        Self { role, servers: servers.to_owned() }
    }

    /// What is wrong with the properties, with the cluster they are for.
    #[must_use]
    pub fn config_error(&self, error: Error) -> Error {
        match error {
            Error::Retry { .. } => error,
            Error::Stuck(problems) => Error::Stuck(format!("the properties for {self}: {problems}")),
        }
    }

    /// What `error` means here: somebody has to act, or it may pass.
    #[must_use]
    pub fn librdkafka_error(&self, error: &KafkaError) -> Error {
        if let KafkaError::ClientConfig(_, why, name, _) = error {
            return Error::Stuck(format!("no client for {self}: property {name}: {why}"));
        }
        if let KafkaError::ClientCreation(why) = error {
            return Error::Stuck(format!("no client for {self}: {why}"));
        }
        match error.rdkafka_error_code() {
            Some(code) if needs_human(code) => Error::Stuck(format!("{self} refuses: {code}")),
            Some(code) => self.later(&code.to_string()),
            None => self.later(&error.to_string()),
        }
    }

    /// The same of an error of our own client.
    #[must_use]
    pub fn client_error(&self, error: &ClientError) -> Error {
        match error {
            ClientError::Config(why) => Error::Stuck(format!("no client for {self}: {why}")),
            ClientError::Refused { code, .. } if needs_human(code_of(*code)) => {
                Error::Stuck(format!("{self} refuses: {error}"))
            }
            ClientError::Unsupported { .. } => Error::Stuck(format!("{self}: {error}")),
            ClientError::Unreachable { .. }
            | ClientError::Lost { .. }
            | ClientError::Busy { .. }
            | ClientError::Refused { .. }
            | ClientError::Malformed { .. }
            | ClientError::Timeout { .. }
            | ClientError::Unknown { .. } => self.later(&in_words(error)),
        }
    }

    /// Nobody answered in time.
    #[must_use]
    pub fn silent(&self, within: Duration) -> Error {
        self.later(&no_answer(within))
    }

    /// It may pass.
    #[must_use]
    pub fn later(&self, why: &str) -> Error {
        Error::Retry { what: format!("{self}: {why}"), source: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} cluster at {}", self.role, self.servers)
    }
}

/// A broker's code as librdkafka calls it, in whose words blueprints and remarks speak.
#[must_use]
pub fn code_of(code: copyist_kafka::Code) -> RDKafkaErrorCode {
    RDKafkaRespErr::try_from(i32::from(code.0)).map_or(RDKafkaErrorCode::Unknown, Into::into)
}

/// Says what is wrong with a connection rather than what broke.
fn in_words(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable { what, source } => {
            let cause = source.get_ref().and_then(|inner| inner.downcast_ref::<Arc<BreakCause>>());
            match cause {
                Some(cause) => broken(what, cause),
                None => unreachable(what, &source.to_string()),
            }
        }
        ClientError::Lost { broker, cause } => broken(broker, cause),
        ClientError::Busy { .. }
        | ClientError::Refused { .. }
        | ClientError::Malformed { .. }
        | ClientError::Unsupported { .. }
        | ClientError::Timeout { .. }
        | ClientError::Unknown { .. }
        | ClientError::Config(_) => chain(error),
    }
}

fn broken(broker: &str, cause: &BreakCause) -> String {
    match cause {
        BreakCause::Garbage(_) => FOREIGN.to_owned(),
        BreakCause::Closed => CLOSED.to_owned(),
        BreakCause::NoAnswer { after, .. } => format!("{broker}: {}", no_answer(*after)),
        BreakCause::Io(error) => format!("{broker}: {error}"),
        BreakCause::Aborted => format!("{broker}: {cause}"),
    }
}

/// The address tried is shown where it is not the name itself.
fn unreachable(endpoint: &str, why: &str) -> String {
    if let Some(why) = why.strip_prefix(UNRESOLVED) {
        return format!("Failed to resolve '{endpoint}': {why}");
    }
    if why.starts_with(endpoint) { why.to_owned() } else { format!("{endpoint}: {why}") }
}

fn no_answer(within: Duration) -> String {
    format!("no answer within {} s", within.as_secs())
}

#[cfg(test)]
mod tests {
    use std::io;

    use copyist_kafka::Code;
    use copyist_kafka::versions::Api;

    use super::*;

    fn unreachable(source: io::Error) -> ClientError {
        ClientError::Unreachable { what: "b:1".into(), source: Arc::new(source) }
    }

    fn before_use(cause: BreakCause) -> ClientError {
        unreachable(io::Error::other(Arc::new(cause)))
    }

    fn lost(cause: BreakCause) -> ClientError {
        ClientError::Lost { broker: "b:1".into(), cause: Arc::new(cause) }
    }

    fn garbage() -> BreakCause {
        BreakCause::Garbage(Box::new(ClientError::Malformed { what: "x", at: 0, why: "y".into() }))
    }

    fn no_answer() -> BreakCause {
        BreakCause::NoAnswer { api: Api::Metadata, after: Duration::from_secs(5) }
    }

    fn refused(code: i16) -> ClientError {
        ClientError::Refused { what: "topics".into(), code: Code(code), text: Some("no".into()) }
    }

    #[test]
    fn errors_of_our_client_tell_who_has_to_act_and_what_is_wrong() {
        let io = |text: &str| io::Error::new(io::ErrorKind::ConnectionRefused, text.to_owned());
        let rows = [
            (unreachable(io("b:1: Connection refused")), false, ": b:1: Connection refused"),
            (unreachable(io("::1: Connection refused")), false, ": b:1: ::1: Connection refused"),
            (
                unreachable(io("failed to lookup address information: Name unknown")),
                false,
                ": Failed to resolve 'b:1': Name unknown",
            ),
            (before_use(garbage()), false, FOREIGN),
            (before_use(BreakCause::Closed), false, CLOSED),
            (before_use(no_answer()), false, ": b:1: no answer within 5 s"),
            (lost(garbage()), false, FOREIGN),
            (lost(BreakCause::Closed), false, CLOSED),
            (lost(no_answer()), false, ": b:1: no answer within 5 s"),
            (lost(BreakCause::Io(io("reset"))), false, ": b:1: reset"),
            (lost(BreakCause::Aborted), false, ": b:1: it was closed on our side"),
            (refused(31), true, " refuses: topics: ClusterAuthorizationFailed (31): no"),
            (refused(15), false, ": topics: CoordinatorNotAvailable (15): no"),
            (ClientError::Unknown { what: "nobody".into() }, false, ": nobody"),
            (ClientError::Config("wrong".into()), true, ": wrong"),
        ];
        let place = Place::at("source", "b:1,c:2");
        for (error, stuck, text) in rows {
            let told = place.client_error(&error);
            assert_eq!(matches!(told, Error::Stuck(_)), stuck, "{told}");
            let told = told.to_string();
            assert!(told.contains("the source cluster at b:1,c:2") && told.ends_with(text), "{told}");
        }
        assert_eq!(
            place.silent(CONNECT_DEADLINE).to_string(),
            "the source cluster at b:1,c:2: no answer within 5 s"
        );
    }

    #[test]
    fn codes_keep_their_meaning() {
        let rows = [
            (0, RDKafkaErrorCode::NoError),
            (36, RDKafkaErrorCode::TopicAlreadyExists),
            (38, RDKafkaErrorCode::InvalidReplicationFactor),
            (44, RDKafkaErrorCode::PolicyViolation),
            (-1, RDKafkaErrorCode::Unknown),
            (12_345, RDKafkaErrorCode::Unknown),
        ];
        for (code, expected) in rows {
            assert_eq!(code_of(Code(code)), expected, "{code}");
        }
    }
}
