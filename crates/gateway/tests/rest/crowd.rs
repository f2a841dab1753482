//! Clients that are many, slow or silent, and the deadlines that cut them off.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::wire::Rest;

const LONG: Duration = Duration::from_secs(60);

async fn connect(rest: &Rest) -> TcpStream {
    TcpStream::connect(rest.address).await.expect("the server listens")
}

/// Until the server closes; what it said.
async fn rest_of(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end as well.
    let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("the server closes in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_head_that_does_not_come_or_comes_slowly_is_cut_off() {
    let rest = Rest::start().await;
    let (silent, mut slow, mut kept) = (connect(&rest).await, connect(&rest).await, connect(&rest).await);
    slow.write_all(b"GET /connectors HTTP/1.1\r\nHo").await.expect("it reads");
    kept.write_all(b"GET /connectors HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("it reads");
    let mut answer = [0; 12];
    kept.read_exact(&mut answer).await.expect("it answers");
    assert_eq!(&answer, b"HTTP/1.1 200");
    tokio::time::pause();
    let began = Instant::now();
    let (silent, slow, kept) = tokio::join!(rest_of(silent), rest_of(slow), rest_of(kept));
    assert!(began.elapsed() <= Duration::from_secs(31), "{:?}", began.elapsed());
    assert!(silent.is_empty() && slow.is_empty() && kept.ends_with("\r\n\r\n[]"), "{silent} {slow} {kept}");
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_cut_off() {
    let rest = Rest::start().await;
    // More than the sockets of both sides take.
    let value = "v".repeat(14 << 20);
    let create =
        format!("POST /connectors\n\n{{\"name\":\"a\",\"config\":{{\"connector.class\":\"{value}\"}}}}");
    assert!(rest.ask(&create).await.starts_with("201"));
    let mut stream = connect(&rest).await;
    stream.write_all(b"GET /connectors/a HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("it reads");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("it answers");
    tokio::time::pause();
    let began = Instant::now();
    // Nothing is read: time goes on as soon as the server can only wait.
    tokio::time::sleep(Duration::from_secs(59)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    tokio::time::resume();
    let taken = rest_of(stream).await;
    assert!(!taken.is_empty() && taken.len() < value.len(), "{} after {:?}", taken.len(), began.elapsed());
    assert!(rest.ask("GET /connectors").await.starts_with("200"));
}

#[tokio::test]
async fn thousands_of_silent_connections_keep_nobody_out() {
    let rest = Rest::start().await;
    let mut silent = Vec::new();
    for number in 0..1_500 {
        let mut stream = connect(&rest).await;
        if number % 2 == 0 {
            stream.write_all(b"GET /connectors HTTP/1.1\r\nX-Slow: ").await.expect("it reads");
        }
        silent.push(stream);
    }
    for _ in 0..20 {
        assert!(timeout(LONG, rest.ask("GET /connectors")).await.expect("it answers").starts_with("200"));
    }
    // The oldest had to make room.
    assert_eq!(rest_of(silent.swap_remove(0)).await, "");
    let mut newest = silent.pop().expect("there are many");
    newest.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.expect("it reads");
    assert!(rest_of(newest).await.starts_with("HTTP/1.1 200"), "the newest is still served");
}

#[tokio::test]
async fn heads_are_bounded() {
    let rest = Rest::start().await;
    let name = |bytes: usize| {
        format!("GET /connectors/{} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "n".repeat(bytes))
    };
    let known = rest.raw(name(20_000).into_bytes()).await;
    assert!(known.starts_with("HTTP/1.1 404") && known.contains(" not found"), "{known}");
    for bytes in [100_000, 1_000_000] {
        let mut stream = connect(&rest).await;
        // It may close before it has read all of it.
        let _ = stream.write_all(name(bytes).as_bytes()).await;
        let answer = rest_of(stream).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 414"),
            "{answer}"
        );
    }
    let headers: String = (0..500).map(|number| format!("X-{number}: v\r\n")).collect();
    let answer = rest.raw(format!("GET / HTTP/1.1\r\nHost: h\r\n{headers}\r\n").into_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}
