//! Deadlines, and the end of serving.

use std::time::Duration;

use axum::body::{Body, Bytes};
use copyist_gateway::{Error, Gateway, Surface};
use copyist_proto::Coordinators;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::transport::Endpoint;
use tower::ServiceExt;

use crate::double::Double;
use crate::wire::{Rest, gateway_of, loggers};

async fn ask(router: axum::Router, request: Request<Body>) -> (StatusCode, String) {
    let answer = router.oneshot(request).await.expect("a router always answers");
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("the body is in memory").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("answers are UTF-8"))
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "h").body(Body::empty()).expect("the path is valid")
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_after_90_s_and_a_probe_after_10_s() {
    let double = Double::default();
    double.kept().health_hangs = true;
    let router = copyist_gateway::router(gateway_of(&double).await);
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
    let router = copyist_gateway::router(gateway_of(&Double::default()).await);
    let never = Body::from_stream(tokio_stream::pending::<Result<Bytes, std::io::Error>>());
    let request = Request::post("/connectors")
        .header("host", "h")
        .header("content-type", "application/json")
        .body(never);
    let (status, body) = ask(router, request.expect("the request is valid")).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(body, r#"{"error_code":408,"message":"The request body did not arrive within 60 s"}"#);
}

fn post() -> Request<Body> {
    let request = Request::post("/connectors").header("host", "h").header("content-type", "application/json");
    let body = r#"{"name":"a","config":{"connector.class":"C"}}"#;
    request.body(Body::from(body)).expect("the request is valid")
}

/// A coordinator that takes no connection.
fn nobody() -> Gateway {
    let refuse = tower::service_fn(|_: http::Uri| {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        std::future::ready(Err::<TokioIo<tokio::io::DuplexStream>, _>(refused))
    });
    let channel = Endpoint::from_static("http://nobody").connect_with_connector_lazy(refuse);
    let coordinators = Coordinators::in_process(channel, Duration::from_secs(60));
    Gateway::new(coordinators, loggers(), Surface::Everything)
}

#[tokio::test(start_paused = true)]
async fn where_nobody_answers_reads_are_a_503_writes_connects_409_and_probes_say_so_soon() {
    let router = copyist_gateway::router(nobody());
    let expected = |start: &str, asked: Instant, (status, body): (StatusCode, String)| {
        let elapsed = asked.elapsed().as_secs_f64();
        assert!(body.starts_with(start) && body.contains("connection refused"), "{body}");
        (status.as_u16(), elapsed)
    };
    let asked = Instant::now();
    let answer = ask(router.clone(), get("/connectors")).await;
    let start = r#"{"error_code":503,"message":"no coordinator could answer within "#;
    let (status, elapsed) = expected(start, asked, answer);
    assert!(status == 503 && (9.0..10.0).contains(&elapsed), "{status} after {elapsed}");
    let asked = Instant::now();
    let answer = ask(router.clone(), post()).await;
    let start = r#"{"error_code":409,"message":"Cannot complete request momentarily due to no known leader URL, likely because a rebalance was underway. (no coordinator"#;
    let (status, elapsed) = expected(start, asked, answer);
    assert!(status == 409 && (9.0..10.0).contains(&elapsed), "{status} after {elapsed}");
    let asked = Instant::now();
    let answer = ask(router, get("/health")).await;
    let (status, elapsed) = expected(r#"{"status":"unhealthy","message":"Worker was unable"#, asked, answer);
    assert!(status == 500 && (1.0..2.0).contains(&elapsed), "{status} after {elapsed}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_nobody_could_answer_is_asked_again_under_its_first_name() {
    let double = Double::default();
    double.kept().unavailable = 3;
    let router = copyist_gateway::router(gateway_of(&double).await);
    let (status, body) = ask(router, post()).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let ids = double.kept().request_ids.clone();
    assert!(ids.len() == 4 && ids.iter().all(|id| !id.is_empty() && *id == ids[0]), "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_may_have_begun_is_no_409() {
    let double = Double::default();
    double.kept().unavailable = u32::MAX;
    let router = copyist_gateway::router(gateway_of(&double).await);
    let (status, body) = ask(router, post()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert!(body.contains("in-process: the leader is gone"), "{body}");
    assert!(double.kept().request_ids.len() > 10);
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
