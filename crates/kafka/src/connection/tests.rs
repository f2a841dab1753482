//! A connection over real sockets to a peer that does what the test says.

use super::*;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(100);

/// The peer's side after the connection was opened.
struct Peer(TcpStream);

impl Peer {
    /// The next request: its correlation id, and what follows the API's key and version.
    async fn request(&mut self) -> (i32, Vec<u8>) {
        let size = self.0.read_i32().await.unwrap();
        let mut frame = vec![0; usize::try_from(size).unwrap()];
        self.0.read_exact(&mut frame).await.unwrap();
        (i32::from_be_bytes(frame[4..8].try_into().unwrap()), frame[8..].to_vec())
    }

    async fn answer(&mut self, correlation: i32, body: &[u8]) {
        let size = i32::try_from(body.len() + 4).unwrap();
        let frame = [&size.to_be_bytes()[..], &correlation.to_be_bytes(), body].concat();
        self.0.write_all(&frame).await.unwrap();
    }

    async fn sees_the_end(mut self) -> bool {
        let mut rest = Vec::new();
        timeout(SOON, self.0.read_to_end(&mut rest)).await.is_ok()
    }
}

fn versions() -> Bytes {
    let api = |api: Api| {
        let (min, max) = (api.ours().min, api.ours().max);
        ApiVersion::default().with_api_key(api.key()).with_min_version(min).with_max_version(max)
    };
    let answer = ApiVersionsResponse::default().with_api_keys(Api::ALL.into_iter().map(api).collect());
    encoded(Api::ApiVersions, 3, &answer).unwrap()
}

async fn listening() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Endpoint { host: "127.0.0.1".to_owned(), port })
}

async fn opened(options: &ConnectionOptions) -> (Connection, Peer) {
    let (listener, endpoint) = listening().await;
    let peer = async {
        let mut peer = Peer(listener.accept().await.unwrap().0);
        let (correlation, _) = peer.request().await;
        peer.answer(correlation, &versions()).await;
        peer
    };
    let (connection, peer) = tokio::join!(Connection::open(&endpoint, options), peer);
    (connection.unwrap(), peer)
}

/// A request whose header in version 1 takes no tagged fields, with an answer that is its body alone.
fn ask(connection: &Connection, body: &'static [u8], timeout: Duration) -> Result<Answer, Error> {
    let middle = body.len() / 2;
    let segments =
        vec![Bytes::from_static(&body[..middle]), Bytes::new(), Bytes::from_static(&body[middle..])];
    connection.send(Api::Produce, 3, segments, body.len(), timeout)
}

fn cause(error: &Error) -> String {
    let Error::Lost { cause, .. } = error else { panic!("{error:?}") };
    cause.to_string()
}

#[tokio::test]
async fn requests_leave_in_order_and_each_gets_its_answer() {
    let (connection, mut peer) = opened(&ConnectionOptions::default()).await;
    let bodies: [&'static [u8]; 3] = [b"first", b"second", b"third"];
    let answers = bodies.map(|body| ask(&connection, body, SOON).unwrap());
    let mut correlations = Vec::new();
    for body in bodies {
        let (correlation, rest) = peer.request().await;
        assert!(rest.ends_with(body));
        correlations.push(correlation);
    }
    assert_eq!(correlations, [1, 2, 3]);
    let large = vec![7; 300_000];
    peer.answer(1, b"one").await;
    peer.answer(2, &large).await;
    peer.answer(3, b"").await;
    let [one, two, three] = answers;
    assert_eq!(one.await.unwrap(), &b"one"[..]);
    assert_eq!(two.await.unwrap(), &large[..]);
    assert_eq!(three.await.unwrap(), &b""[..]);
    assert!(connection.is_open());
}

#[tokio::test]
async fn what_breaks_a_connection_ends_all_that_waits() {
    type Deed = fn(&mut Peer) -> std::pin::Pin<Box<dyn Future<Output = bool> + '_>>;
    let rows: [(&str, Deed); 6] = [
        ("the broker closed it", |_| Box::pin(async { true })),
        ("the broker closed it", |peer| {
            Box::pin(async {
                peer.0.write_all(&[0, 0, 1, 0, 0, 0, 0, 1, 5]).await.unwrap();
                true
            })
        }),
        ("the broker sent what is no answer", |peer| {
            Box::pin(async {
                peer.answer(7, b"").await;
                false
            })
        }),
        ("the broker sent what is no answer", |peer| {
            Box::pin(async {
                peer.0.write_all(b"HTTP/1.1 400 Bad Request").await.unwrap();
                false
            })
        }),
        ("the broker sent what is no answer", |peer| {
            Box::pin(async {
                peer.0.write_all(&[0x10, 0, 0, 0, 0]).await.unwrap();
                false
            })
        }),
        ("no answer to Produce within 100 ms", |_| Box::pin(async { false })),
    ];
    for (expected, deed) in rows {
        let within = if expected.starts_with("no answer") { SHORT } else { SOON };
        let (connection, mut peer) = opened(&ConnectionOptions::default()).await;
        let (one, two) = (ask(&connection, b"one", within).unwrap(), ask(&connection, b"two", SOON).unwrap());
        peer.request().await;
        peer.request().await;
        let closes = deed(&mut peer).await;
        let kept = (!closes).then_some(peer);
        let (one, two) = timeout(SOON, async { (one.await, two.await) }).await.unwrap();
        let (one, two) = (one.unwrap_err(), two.unwrap_err());
        assert!(one.is_outcome_unknown() && two.is_outcome_unknown());
        assert_eq!((cause(&one).as_str(), cause(&two).as_str()), (expected, expected));
        assert!(!connection.is_open());
        assert_eq!(cause(&ask(&connection, b"three", SOON).unwrap_err()), expected);
        connection.ended().await;
        if let Some(peer) = kept {
            assert!(peer.sees_the_end().await);
        }
    }
}

#[tokio::test]
async fn a_broker_that_hangs_up_or_talks_unasked_is_noticed() {
    let (connection, peer) = opened(&ConnectionOptions::default()).await;
    drop(peer);
    timeout(SOON, connection.ended()).await.unwrap();
    assert!(!connection.is_open());
    let (connection, mut peer) = opened(&ConnectionOptions::default()).await;
    peer.0.write_all(&[0]).await.unwrap();
    timeout(SOON, connection.ended()).await.unwrap();
    let error = ask(&connection, b"", SOON).unwrap_err();
    assert_eq!(cause(&error), "the broker sent what is no answer");
}

#[tokio::test]
async fn a_full_queue_takes_nothing_more() {
    let options = ConnectionOptions { queued_requests_max: 2, ..ConnectionOptions::default() };
    let (connection, mut peer) = opened(&options).await;
    // The writer has not had its turn yet.
    let kept = [ask(&connection, b"1", SOON).unwrap(), ask(&connection, b"2", SOON).unwrap()];
    let busy = ask(&connection, b"3", SOON).unwrap_err();
    assert!(matches!(busy, Error::Busy { pending: 2, .. }), "{busy}");
    assert!(!busy.is_outcome_unknown());
    for (answer, number) in kept.into_iter().zip(1..) {
        peer.request().await;
        peer.answer(number, b"x").await;
        answer.await.unwrap();
    }
    assert!(ask(&connection, b"4", SOON).is_ok());
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_not_sent() {
    let (connection, mut peer) = opened(&ConnectionOptions::default()).await;
    drop(ask(&connection, b"dropped", SOON).unwrap());
    let kept = ask(&connection, b"kept", SOON).unwrap();
    let (correlation, body) = peer.request().await;
    assert!(body.ends_with(b"kept"));
    peer.answer(correlation, b"x").await;
    kept.await.unwrap();
}

#[tokio::test]
async fn a_close_waits_for_what_is_under_way() {
    let (connection, mut peer) = opened(&ConnectionOptions::default()).await;
    let answer = ask(&connection, b"last", SOON).unwrap();
    let closing = async {
        connection.close().await;
        assert!(ask(&connection, b"late", SOON).is_err());
    };
    let peer = async {
        let (correlation, _) = peer.request().await;
        peer.answer(correlation, b"done").await;
        assert!(peer.sees_the_end().await);
    };
    let (answer, (), ()) = timeout(SOON, async { tokio::join!(answer, closing, peer) }).await.unwrap();
    assert_eq!(answer.unwrap(), &b"done"[..]);
}

#[tokio::test]
async fn an_abort_throws_away_what_has_not_left() {
    let (connection, mut peer) = opened(&ConnectionOptions::default()).await;
    let large: &'static [u8] = Box::leak(vec![0; 32 << 20].into_boxed_slice());
    let answer = ask(&connection, large, SOON).unwrap();
    // Part of it is under way: the peer reads a little, and no more.
    peer.0.read_exact(&mut [0; 1000]).await.unwrap();
    timeout(SOON, connection.abort()).await.unwrap();
    assert_eq!(cause(&answer.await.unwrap_err()), "it was closed on our side");
    let mut rest = Vec::new();
    let end = timeout(SOON, peer.0.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert!(rest.len() < large.len());
}

#[tokio::test]
async fn a_dropped_handle_ends_its_connection() {
    let (connection, peer) = opened(&ConnectionOptions::default()).await;
    let answer = ask(&connection, b"x", SOON).unwrap();
    drop(connection);
    assert!(timeout(SOON, answer).await.unwrap().is_err());
    assert!(peer.sees_the_end().await);
}

#[tokio::test]
async fn a_muted_connection_writes_later_and_does_not_count_that_time() {
    let (connection, mut peer) = opened(&ConnectionOptions::default()).await;
    let before = ask(&connection, b"before", 2 * SHORT).unwrap();
    peer.request().await;
    connection.mute(6 * SHORT);
    let began = Instant::now();
    let after = ask(&connection, b"after", SOON).unwrap();
    let peer = async {
        let (correlation, _) = peer.request().await;
        let waited = began.elapsed();
        peer.answer(1, b"1").await;
        peer.answer(correlation, b"2").await;
        (waited, peer)
    };
    let ((waited, _peer), before, after) = tokio::join!(peer, before, after);
    assert!(waited >= 5 * SHORT, "{waited:?}");
    assert_eq!((before.unwrap(), after.unwrap()), (Bytes::from_static(b"1"), Bytes::from_static(b"2")));
    let silent = ask(&connection, b"silent", SHORT).unwrap();
    assert!(timeout(SOON, silent).await.unwrap().is_err(), "a mute that is over extends nothing");
    connection.mute(Duration::from_secs(1 << 20));
    let until = *connection.shared.muted_until.borrow();
    assert!(until <= Instant::now() + THROTTLE_MAX, "no quota takes that long");
}

#[tokio::test]
async fn small_answers_mute_as_they_say() {
    let (connection, mut peer) = opened(&ConnectionOptions::default()).await;
    let request = kafka_protocol::messages::InitProducerIdRequest::default();
    let call = connection.call(Api::InitProducerId, 0, &request);
    let peer = async {
        let (correlation, _) = peer.request().await;
        peer.answer(correlation, &[0, 0, 0x75, 0x30, 9]).await;
    };
    let (body, ()) = tokio::join!(call, peer);
    assert_eq!(body.unwrap()[4], 9);
    let until = *connection.shared.muted_until.borrow();
    let rest = until - Instant::now();
    assert!(rest > Duration::from_secs(20) && rest <= Duration::from_secs(30), "{rest:?}");
}

#[tokio::test]
async fn who_cannot_be_reached_is_named() {
    let (listener, endpoint) = listening().await;
    drop(listener);
    let error = Connection::open(&endpoint, &ConnectionOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("{endpoint} cannot be reached"));
    // Somebody listens, and says nothing.
    let (_listener, endpoint) = listening().await;
    let options = ConnectionOptions { connect_timeout: SHORT, ..ConnectionOptions::default() };
    let error = timeout(SOON, Connection::open(&endpoint, &options)).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    let endpoint = Endpoint { host: "no.such.host.invalid".to_owned(), port: 1 };
    let error = Connection::open(&endpoint, &options).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_broker_that_knows_only_version_0_is_asked_again() {
    let (listener, endpoint) = listening().await;
    let peer = async {
        let mut peer = Peer(listener.accept().await.unwrap().0);
        let (first, _) = peer.request().await;
        peer.answer(first, &[0, 35, 0, 0, 0, 0]).await;
        let (second, rest) = peer.request().await;
        assert!(rest.ends_with(b"copyist"), "no body in version 0: {rest:?}");
        peer.answer(second, &[0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 11]).await;
        peer
    };
    let options = ConnectionOptions::default();
    let (connection, _peer) = tokio::join!(Connection::open(&endpoint, &options), peer);
    let connection = connection.unwrap();
    assert_eq!(connection.version(Api::Fetch).unwrap(), 11);
    assert!(matches!(connection.version(Api::Produce), Err(Error::Unsupported { .. })));
}
