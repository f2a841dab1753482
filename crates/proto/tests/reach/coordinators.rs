//! The side that asks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use copyist_proto::connect::DrainAgentRequest;
use copyist_proto::connect::fleet_service_client::FleetServiceClient;
use copyist_proto::coordinators::{Once, Patience};
use copyist_proto::{Coordinators, NOT_BEGUN};
use tokio::time::Instant;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::servers::{Replica, blackhole, drain, dying, refusing, silent};

/// No test takes longer, whatever happens.
const LONG: Duration = Duration::from_secs(40);

fn client(addresses: &[&str]) -> FleetServiceClient<Coordinators> {
    FleetServiceClient::new(Coordinators::new(addresses, LONG).expect("they are addresses"))
}

fn request(agent: &str) -> Request<DrainAgentRequest> {
    Request::new(DrainAgentRequest { agent_id: agent.to_owned() })
}

#[tokio::test]
async fn a_call_goes_on_to_who_answers_and_the_next_one_begins_there() {
    let replica = Replica::new("good");
    let (dying, deaths) = dying().await;
    let mut client = client(&[&refusing().await, &dying, &replica.alone().await]);
    assert_eq!(drain(&mut client, "a").await.unwrap(), "good");
    let before = deaths.load(Ordering::Relaxed);
    assert!(before > 0, "the dying one was asked");
    assert_eq!(drain(&mut client.clone(), "a").await.unwrap(), "good");
    assert_eq!((deaths.load(Ordering::Relaxed), replica.asked()), (before, 2));
}

#[tokio::test]
async fn a_call_that_nobody_can_answer_is_asked_again_until_somebody_can() {
    let (one, two) = (Replica::new("one"), Replica::new("two"));
    one.unavailable.store(3, Ordering::Relaxed);
    two.unavailable.store(2, Ordering::Relaxed);
    let mut client = client(&[&one.alone().await, &two.alone().await]);
    assert_eq!(drain(&mut client, "a").await.unwrap(), "two");
    assert_eq!((one.asked(), two.asked()), (3, 3));
}

#[tokio::test]
async fn errors_but_unavailable_are_answers() {
    let (one, two) = (Replica::new("one"), Replica::new("two"));
    let mut client = client(&[&one.alone().await, &two.alone().await]);
    let status = drain(&mut client, "fail").await.unwrap_err();
    assert_eq!(
        (status.code(), status.message(), status.details()),
        (Code::NotFound, "no\nsuch agent", &b"\x00\xff"[..])
    );
    assert_eq!((one.asked(), two.asked()), (1, 0));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_elsewhere() {
    let (breaking, replica) = (Replica::new("breaking"), Replica::new("good"));
    let mut client = client(&[&breaking.breaking_off().await, &replica.alone().await]);
    assert_eq!(drain(&mut client, "a").await.unwrap(), "good");
    assert_eq!((breaking.asked(), replica.asked()), (1, 1));
}

#[tokio::test]
async fn a_process_that_is_stopped_is_noticed_and_left() {
    let replica = Replica::new("good");
    let mut client = client(&[&silent().await, &replica.alone().await]);
    let began = Instant::now();
    assert_eq!(drain(&mut client, "a").await.unwrap(), "good");
    println!("the silent one was left after {:?}", began.elapsed());
    assert!(began.elapsed() < LONG / 2);
}

#[tokio::test]
async fn an_address_without_connections_costs_its_timeout_once_however_many_wait_for_it() {
    let (replica, blackhole) = (Replica::new("good"), blackhole().await);
    let client = client(&[&blackhole.address, &replica.alone().await]);
    let began = Instant::now();
    let call = |_| {
        let mut client = client.clone();
        tokio::spawn(async move { drain(&mut client, "a").await })
    };
    for call in (0..30).map(call).collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap(), "good");
    }
    println!("30 calls took {:?}", began.elapsed());
    // One after the other they would take 60 s.
    assert!(began.elapsed() < LONG / 2);
}

#[tokio::test]
async fn the_last_error_names_every_address_and_what_was_wrong_there() {
    let (refusing, replica) = (refusing().await, Replica::new("busy"));
    replica.unavailable.store(usize::MAX, Ordering::Relaxed);
    let patient = |agent| {
        let mut request = request(agent);
        request.extensions_mut().insert(Patience(Duration::from_millis(300)));
        request
    };
    let status = client(&[&refusing]).drain_agent(patient("a")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains(&format!("{refusing}: cannot connect: ")), "{status}");
    assert!(status.metadata().contains_key(NOT_BEGUN), "{status:?}");
    let busy = replica.alone().await;
    let status = client(&[&refusing, &busy]).drain_agent(patient("a")).await.unwrap_err();
    assert!(status.message().contains(&format!("{refusing}: cannot connect: ")), "{status}");
    assert!(status.message().ends_with(&format!("{busy}: nobody leads")), "{status}");
    assert!(!status.metadata().contains_key(NOT_BEGUN), "who was there may have begun: {status:?}");
}

#[tokio::test]
async fn a_process_that_ends_asks_no_more() {
    let coordinators = Coordinators::new([refusing().await], LONG).unwrap();
    let mut client = FleetServiceClient::new(coordinators.clone());
    let mut call = tokio::spawn(async move { drain(&mut client, "a").await });
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut call).await.is_err(), "it is patient");
    let began = Instant::now();
    coordinators.end_patience();
    let status = call.await.unwrap().unwrap_err();
    assert!(status.code() == Code::Unavailable && began.elapsed() < LONG / 4, "{status}");
    let mut client = FleetServiceClient::new(coordinators);
    assert_eq!(drain(&mut client, "a").await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_deadline_holds_for_all_attempts_together_and_is_told_to_who_answers() {
    let replica = Replica::new("good");
    let mut client = client(&[&refusing().await, &replica.alone().await]);
    let mut request = request("hang");
    request.set_timeout(Duration::from_millis(700));
    let status = client.drain_agent(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    let told = replica.last().get("grpc-timeout").expect("it was told").to_str().unwrap().to_owned();
    let millis: u64 = told.strip_suffix('m').expect("in milliseconds").parse().unwrap();
    assert!((1..=700).contains(&millis), "{told}");
}

#[tokio::test]
async fn without_a_deadline_of_its_own_a_call_gets_the_default() {
    let replica = Replica::new("good");
    let coordinators = Coordinators::new([replica.alone().await], Duration::from_millis(300)).unwrap();
    let status = drain(&mut FleetServiceClient::new(coordinators), "hang").await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
}

#[tokio::test]
async fn a_call_for_once_is_repeated_only_where_it_cannot_have_begun() {
    let (replica, (dying, deaths)) = (Replica::new("good"), dying().await);
    let good = replica.alone().await;
    let once = || {
        let mut request = request("a");
        request.extensions_mut().insert(Once);
        request
    };
    client(&[&refusing().await, &good])
        .drain_agent(once())
        .await
        .expect("nothing began at the first address");
    let status = client(&[&dying, &good]).drain_agent(once()).await.unwrap_err();
    assert_eq!((status.code(), replica.asked()), (Code::Unavailable, 1), "{status}");
    assert!(deaths.load(Ordering::Relaxed) == 1 && !status.metadata().contains_key(NOT_BEGUN), "{status:?}");
    client(&[&dying, &good]).drain_agent(request("a")).await.expect("any other call goes on");
}

#[tokio::test]
async fn metadata_passes_to_each_attempt() {
    let replica = Replica::new("good");
    replica.unavailable.store(1, Ordering::Relaxed);
    let mut request = request("a");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    client(&[&replica.alone().await]).drain_agent(request).await.unwrap();
    let seen = replica.seen.lock().unwrap().clone();
    let parents: Vec<_> =
        seen.iter().map(|seen| seen.get("traceparent").unwrap().to_str().unwrap()).collect();
    assert_eq!(parents, [parent; 2]);
}

#[tokio::test]
async fn the_opening_of_a_stream_goes_on_and_what_it_brings_passes() {
    let replica = Replica::new("good");
    let (address, reporter) = replica.serve("coordinator", |_| copyist_proto::forward::Target::Here).await;
    reporter.set_service_status("x", tonic_health::ServingStatus::Serving).await;
    let coordinators = Coordinators::new([refusing().await, address], LONG).unwrap();
    let watched = HealthClient::new(coordinators).watch(HealthCheckRequest { service: "x".into() }).await;
    let mut changes = watched.expect("the second address opens it").into_inner();
    assert_eq!(changes.message().await.unwrap().unwrap().status, 1);
    reporter.set_service_status("x", tonic_health::ServingStatus::NotServing).await;
    assert_eq!(changes.message().await.unwrap().unwrap().status, 2);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_here() {
    let replica = Replica::new("good");
    let mut client = client(&[&replica.alone().await]);
    let status = drain(&mut client, &"a".repeat(21 << 20)).await.unwrap_err();
    assert_eq!((status.code(), replica.asked()), (Code::ResourceExhausted, 0), "{status}");
    assert_eq!(drain(&mut client, &"a".repeat(19 << 20)).await.unwrap(), "good");
}

#[tokio::test]
async fn what_is_no_coordinator_is_said_to_be_none() {
    // A server of HTTP/1.1 answers the preface with an error of its own.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
        }
    });
    let mut request = request("a");
    request.extensions_mut().insert(Patience(Duration::from_millis(300)));
    let status = client(&[&address]).drain_agent(request).await.unwrap_err();
    assert!(status.code() == Code::Unavailable && status.message().contains(&address), "{status}");
}
