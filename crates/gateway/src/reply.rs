//! Answers, before and after they are HTTP. Pure.

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::budget::Budget;
use crate::media;
use crate::refusal::Refusal;

/// An answer that is no error.
#[derive(Debug)]
pub enum Reply {
    Empty(StatusCode),
    Document {
        status: StatusCode,
        document: String,
        location: Option<String>,
    },
    /// OPTIONS: the methods, also as plain text if that is acceptable.
    Methods {
        allow: &'static str,
        text: bool,
    },
}

impl Reply {
    /// A document.
    ///
    /// # Errors
    /// Never for the documents of this crate: they are plain structures with text keys.
    pub fn json(status: StatusCode, document: &impl Serialize) -> Result<Self, Refusal> {
        Self::document(status, document, None)
    }

    pub fn ok(document: &impl Serialize) -> Result<Self, Refusal> {
        Self::document(StatusCode::OK, document, None)
    }

    /// A 201 for a connector that was not there before.
    pub fn created(document: &impl Serialize, location: String) -> Result<Self, Refusal> {
        Self::document(StatusCode::CREATED, document, Some(location))
    }

    fn document(
        status: StatusCode,
        document: &impl Serialize,
        location: Option<String>,
    ) -> Result<Self, Refusal> {
        let document = serde_json::to_string(document)
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        Ok(Self::Document { status, document, location })
    }
}

/// What a path segment may hold as it is (RFC 3986 `pchar`), but for `;`: that would begin a matrix parameter, and
/// the Location would not lead to its connector.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Where a connector is found: absolute if the client said under which host it sees this server.
pub fn location(host: Option<&str>, connector: &str) -> String {
    let origin = host.map(|host| format!("http://{host}")).unwrap_or_default();
    let segment = utf8_percent_encode(connector, SEGMENT).to_string();
    // Clients take dots alone for steps in the path.
    let segment = if matches!(connector, "." | "..") { segment.replace('.', "%2E") } else { segment };
    format!("{origin}/connectors/{segment}")
}

/// The HTTP answer. `json` is the Content-Type of documents that have one; a large document counts until it was taken.
pub fn response(outcome: Result<Reply, Refusal>, json: &'static str, budget: &Budget) -> Response {
    match outcome {
        Ok(Reply::Empty(status)) => with(status, Bytes::new(), []),
        Ok(Reply::Document { status, document, location }) => match budget.held(document) {
            Ok(document) => {
                let location = location.and_then(|location| HeaderValue::from_str(&location).ok());
                let location = location.map(|location| (LOCATION, location));
                with(
                    status,
                    document,
                    location.into_iter().chain([(CONTENT_TYPE, HeaderValue::from_static(json))]),
                )
            }
            Err(refusal) => refused(&refusal, json),
        },
        Ok(Reply::Methods { allow, text }) => {
            let kind = if text { "text/plain" } else { media::JSON };
            let body = if text { allow.replace(',', ", ") } else { String::new() };
            let headers = [(CONTENT_TYPE, kind), (ALLOW, allow)];
            let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
            with(StatusCode::OK, body.into(), headers)
        }
        Err(refusal) => refused(&refusal, json),
    }
}

fn refused(refusal: &Refusal, json: &'static str) -> Response {
    let kind = refusal.has_content_type.then(|| (CONTENT_TYPE, HeaderValue::from_static(json)));
    with(refusal.status, refusal.document().into(), kind)
}

fn with(
    status: StatusCode,
    body: Bytes,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().extend(headers);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::segments;

    #[test]
    fn a_location_leads_to_its_connector() {
        let rows = [
            ("n ñ", "http://h:1/connectors/n%20%C3%B1"),
            ("a/b", "http://h:1/connectors/a%2Fb"),
            ("100%25", "http://h:1/connectors/100%2525"),
            ("a+b:@=&", "http://h:1/connectors/a+b:@=&"),
            ("semi;colon", "http://h:1/connectors/semi%3Bcolon"),
            (".", "http://h:1/connectors/%2E"),
            ("..", "http://h:1/connectors/%2E%2E"),
            ("...", "http://h:1/connectors/..."),
            ("{b}?#[]<>^|\"\\", "http://h:1/connectors/%7Bb%7D%3F%23%5B%5D%3C%3E%5E%7C%22%5C"),
        ];
        for (name, expected) in rows {
            let location = location(Some("h:1"), name);
            assert_eq!(location, expected);
            let path = location.strip_prefix("http://h:1").unwrap();
            assert_eq!(segments(path).unwrap(), ["connectors", name]);
        }
        assert_eq!(location(None, "a"), "/connectors/a");
    }
}
