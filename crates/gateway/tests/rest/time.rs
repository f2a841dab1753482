//! Deadlines, and the end of serving.

use std::time::Duration;

use axum::body::{Body, Bytes};
use copyist_gateway::Error;
use copyist_proto::connect::connector_service_client::ConnectorServiceClient;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tonic::transport::Endpoint;
use tower::ServiceExt;

use crate::double::Double;
use crate::wire::{Rest, client_of};

async fn ask(router: axum::Router, request: Request<Body>) -> (StatusCode, String) {
    let answer = router.oneshot(request).await.expect("a router always answers");
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("the body is in memory").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("answers are UTF-8"))
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("the path is valid")
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_after_90_s_and_a_probe_after_10_s() {
    let double = Double::default();
    double.kept().health_hangs = true;
    let router = copyist_gateway::router(client_of(&double).await);
    let unhealthy = r#"{"status":"unhealthy","message":"Worker was unable to handle this request and may be unable to handle other requests. Request timed out"}"#;
    let timed_out = r#"{"error_code":500,"message":"Request timed out"}"#;
    for (path, seconds, expected) in [("/connectors/hang", 90, timed_out), ("/health", 10, unhealthy)] {
        let asked = Instant::now();
        let (status, body) = ask(router.clone(), get(path)).await;
        assert_eq!((status.as_u16(), body.as_str()), (500, expected), "{path}");
        assert_eq!(asked.elapsed().as_secs(), seconds, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let router = copyist_gateway::router(client_of(&Double::default()).await);
    let never = Body::from_stream(tokio_stream::pending::<Result<Bytes, std::io::Error>>());
    let request = Request::post("/connectors").header("content-type", "application/json").body(never);
    let (status, body) = ask(router, request.expect("the request is valid")).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(body, r#"{"error_code":408,"message":"The request body did not arrive within 60 s"}"#);
}

#[tokio::test]
async fn an_unreachable_coordinator_is_a_503() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let free = listener.local_addr().expect("bound");
    drop(listener);
    let endpoint = Endpoint::from_shared(format!("http://{free}")).expect("an address is a URI");
    let router = copyist_gateway::router(ConnectorServiceClient::new(endpoint.connect_lazy()));
    let (status, body) = ask(router.clone(), get("/connectors")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let start = r#"{"error_code":503,"message":"The coordinator cannot be reached, try again: "#;
    assert!(body.starts_with(start) && body.contains("Connection refused"), "{body}");
    let (status, body) = ask(router, get("/health")).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(body.starts_with(r#"{"status":"unhealthy","message":"Worker was unable"#), "{body}");
}

/// A served request that hangs; returns when it has reached the service.
async fn hanging(rest: &Rest) -> TcpStream {
    let mut stream = TcpStream::connect(rest.address).await.expect("the server listens");
    stream.write_all(b"GET /connectors/hang HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("it reads");
    rest.double.hanging.notified().await;
    stream
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_answers_what_is_under_way() {
    let rest = Rest::start().await;
    let mut idle = TcpStream::connect(rest.address).await.expect("the server listens");
    idle.write_all(b"GET /connectors HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("it reads");
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.expect("it answers");
    let mut silent = TcpStream::connect(rest.address).await.expect("the server listens");
    let mut uploading = TcpStream::connect(rest.address).await.expect("the server listens");
    let head = "PUT /connectors/a/config HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 23\r\nExpect: 100-continue\r\n\r\n";
    uploading.write_all(head.as_bytes()).await.expect("it reads");
    let mut interim = [0; 25];
    uploading.read_exact(&mut interim).await.expect("it wants the body");
    rest.stop.cancel();
    idle.read_to_end(&mut Vec::new()).await.expect("the idle connection ends in good order");
    silent.read_to_end(&mut Vec::new()).await.expect("and so does one that never asked");
    uploading.write_all(b"{\"connector.class\":\"C\"}").await.expect("it still reads");
    let mut answer = String::new();
    uploading.read_to_string(&mut answer).await.expect("it answers and closes");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let ended = tokio::time::timeout(Duration::from_secs(5), rest.served).await;
    ended.expect("serving ends with its last request").expect("it does not panic").expect("all is answered");
    assert!(TcpStream::connect(rest.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn stopping_cuts_off_what_hangs() {
    let rest = Rest::start().await;
    let _stream = hanging(&rest).await;
    tokio::time::pause();
    rest.stop.cancel();
    let asked = Instant::now();
    let Err(Error::Unfinished { connections }) = rest.served.await.expect("it does not panic") else {
        panic!("a hanging request is no good end");
    };
    assert_eq!((connections, asked.elapsed().as_secs()), (1, 10));
}
