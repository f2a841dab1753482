//! One trace: from the REST call through gateway, coordinator, commit and assignment to the agent's first fetch and first
//! acknowledgement, as a collector gets it from the processes of a fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use copyist_tests::scenario::numbered;
use copyist_tests::{FleetOptions, suite};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::{Request, Response, Status};

use crate::stage::Stage;

struct Collector(SyncSender<Span>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes =
            request.into_inner().resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        for span in scopes.flat_map(|scope| scope.spans) {
            self.0.try_send(span).expect("the test takes what it gets");
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector, its address, and what it gets.
fn collector() -> (tokio::runtime::Runtime, String, Receiver<Span>) {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let (sender, received) = sync_channel(100_000);
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let at = listener.local_addr().expect("an address").to_string();
    let connections = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    runtime.spawn(server.serve_with_incoming(connections));
    (runtime, at, received)
}

/// What the trace of the creation must show.
const SHOWN: [&str; 7] = [
    "POST /connectors",
    "copyist.connect.v1.ConnectorService/CreateConnector",
    "decide",
    "commit",
    "surveyed",
    "first fetch",
    "first acknowledgement",
];

#[test]
fn a_connector_is_one_trace_from_its_creation_to_its_first_acknowledgement() {
    const TOPIC: &str = "fleet-trace";
    let (_runtime, at, received) = collector();
    let mut options = FleetOptions { coordinators: 2, agents: 1, gateways: 1, ..FleetOptions::named(TOPIC) };
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{at}")),
        ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
    ];
    options.environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
    let stage = Stage::open(TOPIC, 1, options);
    suite::must("produced", stage.source.produce(&numbered(TOPIC, 1, "r", 100)));
    stage.wait_copied(100);
    let mut traces: BTreeMap<Vec<u8>, Vec<Span>> = BTreeMap::new();
    let whole = stage.fleet.wait("the trace to be whole", || {
        for span in received.try_iter() {
            traces.entry(span.trace_id.clone()).or_default().push(span);
        }
        let whole = traces
            .values()
            .find(|spans| SHOWN.iter().all(|shown| spans.iter().any(|span| span.name == *shown)));
        Ok(whole.cloned())
    });
    let names: Vec<BTreeSet<&str>> =
        traces.values().map(|spans| spans.iter().map(|span| span.name.as_str()).collect()).collect();
    let spans = stage.must(&format!("a trace with {SHOWN:?}; there are {names:?}"), whole);
    println!("{TOPIC}: one trace of {} spans", spans.len());
    for span in &spans {
        let parent = spans.iter().find(|other| other.span_id == span.parent_span_id);
        let micros = (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000;
        println!("  {} in {}, {micros} us", span.name, parent.map_or("-", |parent| parent.name.as_str()));
    }
    let roots = spans.iter().filter(|span| spans.iter().all(|other| other.span_id != span.parent_span_id));
    assert_eq!(roots.map(|span| span.name.as_str()).collect::<Vec<_>>(), ["POST /connectors"]);
}
