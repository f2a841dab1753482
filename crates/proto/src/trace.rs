//! W3C trace context: how a place in a trace travels with a call or a message, and how a span takes it.
//!
//! [`traceparent`] and [`follow`] are for whoever keeps the text in a message of its own; [`inject`] and [`extract`]
//! for headers. Where no traces are recorded there is no text, and a span that is given one stays as it is.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tonic::Code;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What others write to continue the trace of `span`; nothing, where it is not recorded.
#[must_use]
pub fn traceparent(span: &Span) -> Option<String> {
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| written(&context))
}

/// Makes `span` a child of the place that a `traceparent` names. To be done before the span is entered; a text that is
/// empty or malformed changes nothing.
pub fn follow(span: &Span, traceparent: &str) {
    if let Some(parent) = read(traceparent, TraceState::NONE) {
        // A span that is not recorded needs no parent.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// As [`follow`], of a call's headers.
pub fn extract(span: &Span, headers: &HeaderMap) {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let state = text(TRACESTATE).and_then(|state| TraceState::from_str(state).ok()).unwrap_or_default();
    if let Some(parent) = text(TRACEPARENT).and_then(|traceparent| read(traceparent, state)) {
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Writes the place of `span` into a call's headers; without one they stay as they are.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    let context = span.context();
    let context = context.span().span_context().clone();
    if !context.is_valid() {
        return;
    }
    headers.extend(HeaderValue::from_str(&written(&context)).ok().map(|value| (TRACEPARENT, value)));
    let state = context.trace_state().header();
    headers.extend(
        (!state.is_empty())
            .then(|| HeaderValue::from_str(&state).ok())
            .flatten()
            .map(|value| (TRACESTATE, value)),
    );
}

/// The span of a gRPC call that this process answers: a child of the caller's, if that is in the headers. Calls that come
/// by themselves, again and again (rights, health), have one only then.
#[must_use]
pub fn server_span(path: &str, headers: &HeaderMap) -> Span {
    if !is_traced(path, headers) {
        return Span::none();
    }
    let (service, method) = split(path);
    let span = tracing::info_span!(
        "grpc",
        otel.name = format!("{service}/{method}"),
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = tracing::field::Empty,
    );
    extract(&span, headers);
    span
}

/// The span of a gRPC call that this process makes, a child of the current one; none, where there is none.
#[must_use]
pub fn client_span(path: &str) -> Span {
    if Span::current().is_none() {
        return Span::none();
    }
    let (service, method) = split(path);
    tracing::info_span!(
        "grpc",
        otel.name = format!("{service}/{method}"),
        otel.kind = "client",
        otel.status_code = tracing::field::Empty,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = tracing::field::Empty,
    )
}

/// Records how a call ended, by the headers of its answer: a status there is an error's.
pub fn record_status(span: &Span, headers: &HeaderMap) {
    let code = headers.get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
    record_code(span, code);
}

/// Records how a call ended.
pub fn record_code(span: &Span, code: Code) {
    span.record("rpc.grpc.status_code", i32::from(code));
    if code != Code::Ok {
        span.record("otel.status_code", "ERROR");
    }
}

fn is_traced(path: &str, headers: &HeaderMap) -> bool {
    path.starts_with("/copyist.connect.v1.") || headers.contains_key(TRACEPARENT)
}

/// Service and method of `/package.Service/Method`.
fn split(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_once('/').unwrap_or((path, ""))
}

fn written(context: &SpanContext) -> String {
    let flags = context.trace_flags() & TraceFlags::SAMPLED;
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), flags.to_u8())
}

/// Version 00; of later versions what that one would say, as the recommendation asks.
fn read(traceparent: &str, state: TraceState) -> Option<SpanContext> {
    let mut parts = traceparent.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length| {
        text.len() == length && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    };
    let known = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    if !known || !is_hex(trace, 32) || !is_hex(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, state);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_read_is_written_again() {
        for text in [PARENT, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"] {
            assert_eq!(written(&read(text, TraceState::NONE).unwrap()), text);
        }
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more";
        assert_eq!(written(&read(later, TraceState::NONE).unwrap()), PARENT);
    }

    #[test]
    fn what_is_malformed_is_left_out() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "é0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(read(text, TraceState::NONE), None, "{text}");
        }
    }

    #[test]
    fn without_a_recorder_there_is_no_text_and_nothing_breaks() {
        let span = tracing::info_span!("x");
        follow(&span, PARENT);
        assert_eq!(traceparent(&span), None);
        let mut headers = HeaderMap::new();
        inject(&span, &mut headers);
        assert_eq!(headers, HeaderMap::new());
    }

    #[test]
    fn calls_that_come_by_themselves_are_traced_on_request_only() {
        let with = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(PARENT))]);
        let without = HeaderMap::new();
        for (path, headers, traced) in [
            ("/copyist.connect.v1.FleetService/ListAgents", &without, true),
            ("/copyist.control.v1.AgentService/Renew", &without, false),
            ("/copyist.control.v1.AgentService/Renew", &with, true),
            ("/grpc.health.v1.Health/Check", &without, false),
        ] {
            assert_eq!(is_traced(path, headers), traced, "{path}");
        }
        assert_eq!(split("/a.B/C"), ("a.B", "C"));
        assert_eq!(split("odd"), ("odd", ""));
    }
}
