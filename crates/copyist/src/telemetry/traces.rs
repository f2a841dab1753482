//! Traces: spans of our own crates, sent to a collector by OTLP over gRPC where OpenTelemetry's variables name one.
//!
//! Spans wait in a bounded queue and are dropped when it is full: a collector that is slow or away slows nothing.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter};
use tokio::time::Instant;
use tonic::codegen::http::Uri;

use crate::error::Problem;

/// What a clean stop waits for the last spans to arrive.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Failures in a row are told this often.
const TOLD_EVERY: Duration = Duration::from_secs(30);

const DISABLED: &str = "OTEL_SDK_DISABLED";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// The samplers that the specification names and the SDK has.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// Where traces go. The rest of the variables is the SDK's own business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    endpoint: String,
    variable: &'static str,
    /// Nobody says what the service is called.
    is_nameless: bool,
}

/// Where traces go, as the environment says; nothing: nowhere.
///
/// # Errors
/// Everything in it that cannot be done.
pub fn plan_of_environment() -> Result<Option<Plan>, Vec<Problem>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "OpenTelemetry's settings are conventions of the environment"
    )]
    plan(|variable| std::env::var(variable).ok())
}

fn plan(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Plan>, Vec<Problem>> {
    let given =
        |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, given(name)?)));
    let is_disabled = given(DISABLED).is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let exporter = given(EXPORTER).unwrap_or_else(|| "otlp".to_owned());
    let Some((name, endpoint)) = first(ENDPOINTS).filter(|_| !is_disabled && exporter != "none") else {
        return Ok(None);
    };
    let mut problems = Vec::new();
    let mut problem = |place: &str, text: String| {
        problems.push(Problem { place: place.to_owned(), line: None, text });
    };
    if exporter != "otlp" {
        problem(EXPORTER, format!("{exporter:?} is not possible; write otlp or none"));
    }
    if let Err(reason) = check_endpoint(&endpoint) {
        let endpoint = if endpoint.contains('@') { "[hidden]" } else { endpoint.as_str() };
        problem(
            name,
            format!(
                "{endpoint:?} {reason}; write http://HOST:PORT of a collector, such as http://127.0.0.1:4317"
            ),
        );
    }
    if let Some((name, protocol)) = first(PROTOCOLS).filter(|(_, protocol)| protocol != "grpc") {
        problem(name, format!("{protocol:?} is not spoken; write grpc, and the collector's port for it"));
    }
    if let Some(sampler) = given(SAMPLER) {
        if !SAMPLERS.contains(&sampler.as_str()) {
            problem(SAMPLER, format!("{sampler:?} is not known; write one of: {}", SAMPLERS.join(", ")));
        }
        let ratio = given(SAMPLER_ARGUMENT).and_then(|text| text.parse::<f64>().ok());
        if sampler.ends_with("traceidratio") && !ratio.is_some_and(|ratio| (0.0..=1.0).contains(&ratio)) {
            problem(
                SAMPLER_ARGUMENT,
                format!("{sampler} needs the part of the traces to keep, from 0.0 to 1.0"),
            );
        }
    }
    let names_itself = given(RESOURCE).is_some_and(|attributes| {
        attributes.split(',').any(|attribute| attribute.trim_start().starts_with("service.name="))
    });
    let is_nameless = given(SERVICE_NAME).is_none() && !names_itself;
    if problems.is_empty() { Ok(Some(Plan { endpoint, variable: name, is_nameless })) } else { Err(problems) }
}

fn check_endpoint(endpoint: &str) -> Result<(), &'static str> {
    let uri: Uri = endpoint.parse().map_err(|_| "is no address")?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority)) if authority.as_str().contains('@') => {
            Err("has a user in it, which belongs into OTEL_EXPORTER_OTLP_HEADERS")
        }
        (Some("http"), Some(_)) => Ok(()),
        (Some("https"), _) => Err("asks for TLS, which traces are not sent by"),
        (Some(_) | None, _) => Err("has no scheme http"),
    }
}

/// What sends spans; dropped without [`Traces::end`], it takes those along that wait.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    plan: Plan,
}

impl Traces {
    /// Begins; needs a tokio runtime, on which the connection lives.
    ///
    /// # Errors
    /// What is wrong with the variables that the SDK reads.
    pub fn start(plan: Plan) -> Result<Self, Problem> {
        let exporter = Otlp::builder().with_tonic().build().map_err(|error| Problem {
            place: plan.variable.to_owned(),
            line: None,
            text: format!("traces cannot be sent: {error}"),
        })?;
        let resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let resource = if plan.is_nameless { resource.with_service_name("copyist") } else { resource };
        let exporter = Quiet {
            exporter,
            endpoint: plan.endpoint.clone(),
            failures: Mutex::default(),
            began: Instant::now(),
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Ok(Self { provider, plan })
    }

    /// What makes spans.
    #[must_use]
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("copyist")
    }

    /// For the log, once there is one.
    #[must_use]
    pub fn announcement(&self) -> String {
        format!("traces: {} ({})", self.plan.endpoint, self.plan.variable)
    }

    /// Sends what waits, for at most two seconds. Blocks its thread.
    pub fn end(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_MAX) {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

/// An exporter that tells of its failures now and then.
struct Quiet {
    exporter: Otlp,
    endpoint: String,
    /// One export at a time: never waited for.
    failures: Mutex<Failures>,
    began: Instant,
}

impl fmt::Debug for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quiet").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl SpanExporter for Quiet {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let told = |failures: &mut Failures| match &result {
            Ok(()) => {
                *failures = Failures::default();
                None
            }
            Err(_) => failures.admit(self.began.elapsed()),
        };
        let left_out = told(&mut self.failures.lock().unwrap_or_else(PoisonError::into_inner));
        if let (Some(left_out), Err(error)) = (left_out, &result) {
            tracing::warn!(%error, left_out, "traces cannot be sent to {}", self.endpoint);
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Failures in a row.
#[derive(Debug, Default)]
struct Failures {
    told: Option<Duration>,
    left_out: u64,
}

impl Failures {
    /// Whether to tell of one more at this time; then how many were left out since the last.
    fn admit(&mut self, now: Duration) -> Option<u64> {
        if self.told.is_some_and(|told| now.saturating_sub(told) < TOLD_EVERY) {
            self.left_out += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Plan>, Vec<String>> {
        let given = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        plan(given).map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");

    #[test]
    fn traces_are_sent_where_the_variables_say() {
        let sent = |endpoint: &str, variable, is_nameless| {
            Ok(Some(Plan { endpoint: endpoint.to_owned(), variable, is_nameless }))
        };
        let all = ENDPOINTS[1];
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1");
        let rows = [
            (&[][..], Ok(None)),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], Ok(None)),
            (&[ENDPOINT], sent("http://c:4317", all, true)),
            (&[ENDPOINT, own], sent("http://t:1", ENDPOINTS[0], true)),
            (&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")], Ok(None)),
            (&[ENDPOINT, ("OTEL_SDK_DISABLED", "false")], sent("http://c:4317", all, true)),
            (&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")], Ok(None)),
            (&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "otlp")], sent("http://c:4317", all, true)),
            (&[ENDPOINT, ("OTEL_SERVICE_NAME", "mine")], sent("http://c:4317", all, false)),
            (
                &[ENDPOINT, ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=x")],
                sent("http://c:4317", all, false),
            ),
            (
                &[ENDPOINT, ("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=x")],
                sent("http://c:4317", all, true),
            ),
            (&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], sent("http://c:4317", all, true)),
            (
                &[ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.1")],
                sent("http://c:4317", all, true),
            ),
        ];
        for (variables, expected) in rows {
            assert_eq!(read(variables), expected, "{variables:?}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_said_at_once() {
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4317"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_TRACES_SAMPLER", "xray"),
        ];
        let problems = read(&variables).unwrap_err();
        let expected = [
            "OTEL_TRACES_EXPORTER: \"zipkin\" is not possible; write otlp or none",
            "OTEL_EXPORTER_OTLP_ENDPOINT: \"https://c:4317\" asks for TLS",
            "OTEL_EXPORTER_OTLP_PROTOCOL: \"http/protobuf\" is not spoken; write grpc",
            "OTEL_TRACES_SAMPLER: \"xray\" is not known; write one of: always_on",
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, beginning) in problems.iter().zip(expected) {
            assert!(problem.starts_with(beginning), "{problem}");
        }
        for (endpoint, reason) in
            [("c:4317", "has no scheme http"), ("ftp://c", "has no scheme"), ("http://", "is no address")]
        {
            let problems = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).unwrap_err();
            assert!(problems.len() == 1 && problems[0].contains(reason), "{problems:?}");
        }
        let problems = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:S1@c:4317")]).unwrap_err();
        assert!(problems.len() == 1 && !problems[0].contains("S1"), "{problems:?}");
        for argument in ["", "2", "NaN", "half"] {
            let sampler =
                [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            assert_eq!(read(&sampler).unwrap_err().len(), 1, "{argument}");
        }
    }

    #[test]
    fn failures_in_a_row_are_told_now_and_then_with_their_number() {
        let mut failures = Failures::default();
        let told = [(0, Some(0)), (5, None), (29, None), (30, Some(2)), (31, None), (90, Some(1))];
        for (seconds, expected) in told {
            assert_eq!(failures.admit(Duration::from_secs(seconds)), expected, "{seconds}");
        }
    }
}
