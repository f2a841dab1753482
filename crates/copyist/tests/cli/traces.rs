//! Traces: what a collector gets, and what happens without one.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::{Request, Response, Status};

use crate::support::{Running, WAIT_MAX, address, directory, free_port, free_ports, get};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

struct Collector(SyncSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.try_send(request.into_inner()).expect("the test takes what it gets");
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector, its address, and what it gets.
fn collector() -> (tokio::runtime::Runtime, String, Receiver<ExportTraceServiceRequest>) {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let (sender, received) = sync_channel(10_000);
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let at = listener.local_addr().expect("an address").to_string();
    let connections = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    runtime.spawn(server.serve_with_incoming(connections));
    (runtime, at, received)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_rest_request_is_one_trace_down_to_the_coordinator() {
    let (_runtime, at, received) = collector();
    let dir = directory(&[("w.properties", &free_ports("agent.id=a"))]);
    let endpoint = format!("http://{at}");
    let mut running = Running::start(
        &dir,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment=test"),
        ],
    );
    let log = running.wait_for("(metrics.listen)");
    assert!(log.contains(&format!("traces: {endpoint} (OTEL_EXPORTER_OTLP_ENDPOINT)")), "{log}");
    let rest = address(&log, "REST API: http://", " (listeners)");
    let mut stream = TcpStream::connect(&rest).expect("a listener");
    stream.set_read_timeout(Some(WAIT_MAX)).expect("a deadline");
    let head = format!("Host: x\r\nConnection: close\r\ntraceparent: 00-{TRACE}-{CALLER}-01\r\n\r\n");
    write!(stream, "GET /connectors HTTP/1.1\r\n{head}").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // What waits is sent at the stop.
    running.signal(Signal::SIGTERM);
    assert_eq!(running.exit_status(), Some(0), "{}", running.text());

    let mut spans: Vec<Span> = Vec::new();
    for request in received.try_iter() {
        for resource in request.resource_spans {
            let attributes =
                resource.resource.map(|resource| format!("{:?}", resource.attributes)).unwrap_or_default();
            assert!(
                attributes.contains("\"copyist\"") && attributes.contains("\"deployment\""),
                "{attributes}"
            );
            spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    let shown: Vec<_> = spans.iter().map(|span| (span.name.as_str(), hex(&span.span_id))).collect();
    let of_trace: BTreeMap<_, _> = spans
        .iter()
        .filter(|span| hex(&span.trace_id) == TRACE)
        .map(|span| ((span.name.as_str(), span.kind), span))
        .collect();
    let call = "copyist.connect.v1.ConnectorService/ListConnectors";
    // SPAN_KIND_SERVER is 2, SPAN_KIND_CLIENT is 3.
    let (rest, client, server) =
        (of_trace.get(&("GET /connectors", 2)), of_trace.get(&(call, 3)), of_trace.get(&(call, 2)));
    let (Some(rest), Some(client), Some(server)) = (rest, client, server) else { panic!("{shown:?}") };
    assert_eq!(hex(&rest.parent_span_id), CALLER);
    assert_eq!(client.parent_span_id, rest.span_id);
    assert_eq!(server.parent_span_id, client.span_id);
    let foreign = |span: &&Span| !span.name.starts_with("copyist.") && !span.name.contains(" /");
    assert_eq!(spans.iter().filter(foreign).count(), 0, "others' spans as well: {shown:?}");
    assert!(
        !running.text().contains("rest{"),
        "log lines are others than without traces: {}",
        running.text()
    );
}

#[test]
fn without_a_collector_nothing_is_slow_and_one_line_says_so() {
    let dir = directory(&[("w.properties", &free_ports("agent.id=a"))]);
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
    let mut running = Running::start(&dir, &environment);
    let log = running.wait_for("(metrics.listen)");
    let rest = address(&log, "REST API: http://", " (listeners)");
    let told = format!("traces cannot be sent to {endpoint}");
    let mut log = String::new();
    // Each a batch of its own, until one was told of and some more.
    for _ in 0..5 {
        assert!(get(&rest, "/connectors").starts_with("HTTP/1.1 200"));
        log = running.wait_for(&told);
    }
    running.signal(Signal::SIGTERM);
    assert_eq!(running.exit_status(), Some(0), "{}", running.text());
    assert_eq!(running.text().matches("traces cannot be sent").count(), 1, "{log}");
    assert!(!running.text().contains("BatchSpanProcessor"), "{}", running.text());
}

#[test]
fn what_cannot_be_traced_is_refused_at_once() {
    let dir = directory(&[("w.properties", &free_ports(""))]);
    let mut command = crate::support::copyist(&dir, &["standalone", "w.properties"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317").env("OTEL_TRACES_SAMPLER", "some");
    let (code, _, stderr) = crate::support::end(command);
    assert_eq!(code, Some(2), "{stderr}");
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(lines[0].starts_with("error: OTEL_EXPORTER_OTLP_ENDPOINT: \"collector:4317\" "), "{stderr}");
    assert!(
        lines[1].starts_with("error: OTEL_TRACES_SAMPLER: \"some\" is not known; write one of: "),
        "{stderr}"
    );
}
