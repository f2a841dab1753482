//! What an error of etcd means: what is to be done about it, and what a person reads. Pure.

use std::time::Duration;

use tonic::Code;

use crate::error::Error;

/// What follows from an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// This member cannot be reached, or has no part in a majority: another one may serve.
    Member,
    /// The certificate of one side does not do.
    Certificate,
    /// User or password are wrong.
    Login,
    /// The user may not do that.
    Permission,
    /// The store is full.
    NoSpace,
    /// A lease is over, or there was none.
    NoLease,
    /// A lease is there already.
    LeaseExists,
    /// What was asked for is forgotten.
    Compacted,
    /// What was asked for is still to come: this is not the store of before.
    Future,
    Other,
}

impl Kind {
    /// Whether another member may do better.
    pub(super) fn is_of_member(self) -> bool {
        match self {
            Self::Member | Self::Certificate | Self::Login => true,
            Self::Permission
            | Self::NoSpace
            | Self::NoLease
            | Self::LeaseExists
            | Self::Compacted
            | Self::Future
            | Self::Other => false,
        }
    }
}

/// An error of etcd, with the member that it came from and what to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    text: String,
}

impl Trouble {
    pub(super) fn of(endpoint: &str, error: &etcd_client::Error) -> Self {
        let (code, why) = told(error);
        let kind = kind(code, &why);
        Self { kind, text: text(kind, endpoint, &why) }
    }

    /// A member does not answer.
    pub(super) fn silent(endpoint: &str, limit: Duration) -> Self {
        let why = format!("no answer within {:.1} s", limit.as_secs_f64());
        Self { kind: Kind::Member, text: text(Kind::Member, endpoint, &why) }
    }

    /// Something else than etcd said.
    pub(super) fn new(kind: Kind, text: String) -> Self {
        Self { kind, text }
    }

    pub(super) fn stopping() -> Self {
        Self::new(Kind::Member, "this coordinator is stopping".to_owned())
    }

    /// An error of the store: `what` was not done, or is not known to be.
    pub(super) fn into_error(self, what: &str) -> Error {
        Error::Store { what: what.to_owned(), source: Box::new(self) }
    }
}

/// The status code, where there is one, and all that the error says.
#[expect(clippy::wildcard_enum_match_arm, reason = "the client's other errors are told as they are")]
fn told(error: &etcd_client::Error) -> (Option<Code>, String) {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            let causes = causes(std::error::Error::source(status));
            let why = if causes.is_empty() { status.message().to_owned() } else { causes };
            (Some(status.code()), why)
        }
        etcd_client::Error::TransportError(error) => {
            let causes = causes(std::error::Error::source(error));
            (None, if causes.is_empty() { error.to_string() } else { causes })
        }
        other => (None, other.to_string()),
    }
}

/// The causes of an error, each said once.
fn causes(mut source: Option<&(dyn std::error::Error + 'static)>) -> String {
    let mut texts: Vec<String> = Vec::new();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !texts.iter().any(|said| said.contains(&text)) {
            texts.push(text);
        }
        source = cause.source();
    }
    texts.join(": ")
}

/// etcd's own messages tell more than its codes; what comes without either is the network's.
fn kind(code: Option<Code>, why: &str) -> Kind {
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if says(&["database space exceeded"]) {
        return Kind::NoSpace;
    }
    if says(&["requested lease not found", "lease not found"]) {
        return Kind::NoLease;
    }
    if says(&["lease already exists"]) {
        return Kind::LeaseExists;
    }
    if says(&["revision has been compacted"]) {
        return Kind::Compacted;
    }
    if says(&["is a future revision"]) {
        return Kind::Future;
    }
    if says(&["certificate", "Certificate", "UnknownCA", "tls handshake", "HandshakeFailure"]) {
        return Kind::Certificate;
    }
    if says(&[
        "authentication failed",
        "user name is empty",
        "authentication is not enabled",
        "invalid auth token",
    ]) {
        return Kind::Login;
    }
    if says(&["permission denied"]) {
        return Kind::Permission;
    }
    match code {
        None
        | Some(
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal,
        ) => Kind::Member,
        Some(Code::Unauthenticated) => Kind::Login,
        Some(Code::PermissionDenied) => Kind::Permission,
        Some(
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss,
        ) => Kind::Other,
    }
}

fn text(kind: Kind, endpoint: &str, why: &str) -> String {
    match kind {
        Kind::Member if why.contains("no leader") || why.contains("leader changed") => format!(
            "etcd at {endpoint} has no leader ({why}): a majority of etcd's members must run and reach each other"
        ),
        // A member that does not accept a certificate may just end the connection.
        Kind::Member if endpoint.starts_with("https://") => format!(
            "etcd at {endpoint} cannot be reached ({why}): check etcd.endpoints, that etcd runs and a majority of its \
             members reach each other, and that it accepts this side's TLS certificate"
        ),
        Kind::Member => format!(
            "etcd at {endpoint} cannot be reached ({why}): check etcd.endpoints, and that etcd runs and a majority of \
             its members reach each other"
        ),
        Kind::Certificate => format!(
            "the TLS connection to etcd at {endpoint} fails ({why}): check that the certificates of both sides have not \
             expired, name the host of the endpoint, and are signed by the authority that the other side trusts"
        ),
        Kind::Login => format!(
            "etcd at {endpoint} refuses the login ({why}): check the user and the password, and that authentication is \
             enabled in etcd if they are given"
        ),
        Kind::Permission => format!(
            "etcd at {endpoint} does not permit that ({why}): the user needs a role that may read and write all keys \
             that begin with the fleet's prefix"
        ),
        Kind::NoSpace => format!(
            "etcd at {endpoint} has no space left ({why}): compact and defragment it (etcdctl compact, etcdctl defrag) or \
             raise its --quota-backend-bytes, then disarm the alarm (etcdctl alarm disarm)"
        ),
        Kind::NoLease | Kind::LeaseExists | Kind::Compacted | Kind::Future | Kind::Other => {
            format!("etcd at {endpoint} refuses ({why})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_known_for_what_it_is() {
        let table = [
            (None, "tcp connect error: Connection refused (os error 111)", Kind::Member),
            (None, "dns error: failed to lookup address information", Kind::Member),
            (None, "invalid peer certificate: certificate expired: verification time …", Kind::Certificate),
            (Some(Code::Unavailable), "received fatal alert: BadCertificate", Kind::Certificate),
            (Some(Code::Unavailable), "etcdserver: no leader", Kind::Member),
            (Some(Code::Unavailable), "etcdserver: request timed out", Kind::Member),
            (Some(Code::Unknown), "context deadline exceeded", Kind::Member),
            (
                Some(Code::InvalidArgument),
                "etcdserver: authentication failed, invalid user ID or password",
                Kind::Login,
            ),
            (Some(Code::FailedPrecondition), "etcdserver: authentication is not enabled", Kind::Login),
            (Some(Code::Unauthenticated), "etcdserver: invalid auth token", Kind::Login),
            (Some(Code::InvalidArgument), "etcdserver: user name is empty", Kind::Login),
            (Some(Code::PermissionDenied), "etcdserver: permission denied", Kind::Permission),
            (Some(Code::ResourceExhausted), "etcdserver: mvcc: database space exceeded", Kind::NoSpace),
            (Some(Code::NotFound), "etcdserver: requested lease not found", Kind::NoLease),
            (Some(Code::FailedPrecondition), "etcdserver: lease already exists", Kind::LeaseExists),
            (
                Some(Code::OutOfRange),
                "etcdserver: mvcc: required revision has been compacted",
                Kind::Compacted,
            ),
            (
                Some(Code::OutOfRange),
                "etcdserver: mvcc: required revision is a future revision",
                Kind::Future,
            ),
            (Some(Code::InvalidArgument), "etcdserver: too many operations in txn request", Kind::Other),
        ];
        for (code, why, expected) in table {
            assert_eq!(kind(code, why), expected, "{code:?} {why}");
        }
    }

    #[test]
    fn texts_name_the_member_the_cause_and_what_to_do() {
        let table = [
            (Kind::Member, "refused", "etcd.endpoints"),
            (Kind::Member, "etcdserver: no leader", "majority"),
            (Kind::Certificate, "expired", "expired"),
            (Kind::Login, "authentication failed", "password"),
            (Kind::Permission, "permission denied", "role"),
            (Kind::NoSpace, "space exceeded", "alarm disarm"),
            (Kind::Other, "odd", "refuses"),
        ];
        for (kind, why, advice) in table {
            let text = text(kind, "http://e:2379", why);
            assert!(text.contains("http://e:2379") && text.contains(why) && text.contains(advice), "{text}");
        }
    }
}
