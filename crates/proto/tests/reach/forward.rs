//! The side that is asked.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use copyist_proto::connect::DrainAgentRequest;
use copyist_proto::connect::fleet_service_client::FleetServiceClient;
use copyist_proto::forward::{FORWARDED, FORWARDED_FOR, Target};
use copyist_proto::{Coordinators, NOT_BEGUN};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::servers::{Replica, drain, dying, refusing};

const LONG: Duration = Duration::from_secs(40);

/// A connection to one address.
fn to(address: &str) -> Channel {
    Coordinators::new([address], LONG).unwrap().channel(address).unwrap()
}

async fn follower(name: &'static str, leader: &str) -> (String, Replica) {
    let (replica, leader) = (Replica::new(name), to(leader));
    let address = replica.serve("coordinator", move |_| Target::There(leader.clone())).await.0;
    (address, replica)
}

#[tokio::test]
async fn a_follower_passes_calls_and_their_metadata_to_the_leader() {
    let leader = Replica::new("leader");
    let (address, follower) = follower("follower", &leader.alone().await).await;
    let mut client = FleetServiceClient::new(to(&address));
    let mut request = Request::new(DrainAgentRequest { agent_id: "a".into() });
    request.metadata_mut().insert("traceparent", "00-trace-parent-01".parse().unwrap());
    request.metadata_mut().insert_bin("some-bin", tonic::metadata::MetadataValue::from_bytes(b"\x00\x01"));
    request.set_timeout(Duration::from_secs(30));
    let answer = client.drain_agent(request).await.unwrap();
    assert_eq!(answer.metadata().get("by").unwrap(), "leader");
    assert_eq!((leader.asked(), follower.asked()), (1, 0));
    let seen = leader.last();
    assert_eq!(seen.get("traceparent").unwrap(), "00-trace-parent-01");
    assert_eq!(seen.get_bin("some-bin").unwrap().to_bytes().unwrap(), &b"\x00\x01"[..]);
    assert_eq!(seen.get(FORWARDED).unwrap(), "coordinator");
    assert!(seen.get(FORWARDED_FOR).unwrap().to_str().unwrap().starts_with("127.0.0.1:"));
    let deadline =
        seen.get("grpc-timeout").unwrap().to_str().unwrap().strip_suffix('m').map(str::parse::<u64>);
    assert!((1..=30_000).contains(&deadline.unwrap().unwrap()), "{seen:?}");
}

#[tokio::test]
async fn what_the_leader_refuses_passes_as_it_is() {
    let leader = Replica::new("leader");
    let (address, follower) = follower("follower", &leader.alone().await).await;
    let mut client = FleetServiceClient::new(to(&address));
    let status = drain(&mut client, "fail").await.unwrap_err();
    assert_eq!(
        (status.code(), status.message(), status.details()),
        (Code::NotFound, "no\nsuch agent", &b"\x00\xff"[..])
    );
    leader.unavailable.store(1, Ordering::Relaxed);
    let status = drain(&mut client, "a").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "nobody leads"));
    assert!(!status.metadata().contains_key(NOT_BEGUN), "{status:?}");
    assert_eq!(follower.asked(), 0);
}

#[tokio::test]
async fn a_deadline_holds_across_a_follower() {
    let leader = Replica::new("leader");
    let (address, follower) = follower("follower", &leader.alone().await).await;
    let mut request = Request::new(DrainAgentRequest { agent_id: "hang".into() });
    request.set_timeout(Duration::from_millis(500));
    let status = FleetServiceClient::new(to(&address)).drain_agent(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    assert_eq!(follower.asked(), 0);
}

#[tokio::test]
async fn streams_pass_as_they_come() {
    let leader = Replica::new("leader");
    let (address, reporter) = leader.serve("coordinator", |_| Target::Here).await;
    reporter.set_service_status("x", tonic_health::ServingStatus::Serving).await;
    let (address, _) = follower("follower", &address).await;
    let watched = HealthClient::new(to(&address)).watch(HealthCheckRequest { service: "x".into() }).await;
    let mut changes = watched.unwrap().into_inner();
    for status in [1, 2, 1, 2] {
        let now = if status == 1 {
            tonic_health::ServingStatus::Serving
        } else {
            tonic_health::ServingStatus::NotServing
        };
        reporter.set_service_status("x", now).await;
        assert_eq!(changes.message().await.unwrap().unwrap().status, status);
    }
}

#[tokio::test]
async fn where_the_leader_is_not_reached_the_follower_answers() {
    for (what, leader) in [("refusing", refusing().await), ("dying", dying().await.0)] {
        let (address, follower) = follower("follower", &leader).await;
        let mut client = FleetServiceClient::new(to(&address));
        assert_eq!(drain(&mut client, "a").await.unwrap(), "follower", "{what}");
        assert_eq!(follower.asked(), 1);
        assert_eq!(follower.last().get(FORWARDED).map(|by| by.to_str().unwrap()), Some("coordinator"));
    }
}

#[tokio::test]
async fn what_may_have_begun_at_a_leader_that_died_is_not_said_to_have_not() {
    for (what, leader, certain) in [("refusing", refusing().await, true), ("dying", dying().await.0, false)] {
        let (address, _follower) = follower("follower", &leader).await;
        let status = drain(&mut FleetServiceClient::new(to(&address)), "follower").await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "nobody leads"), "{what}");
        assert_eq!(status.metadata().contains_key(NOT_BEGUN), certain, "{what}: {status:?}");
    }
}

#[tokio::test]
async fn two_that_take_one_another_for_the_leader_pass_a_call_once() {
    let (one, two) = (Replica::new("one"), Replica::new("two"));
    let leader: Arc<Mutex<Option<Channel>>> = Arc::default();
    let named = leader.clone();
    let first = one
        .serve("coordinator", move |_| Target::There(named.lock().unwrap().clone().expect("it is named")))
        .await
        .0;
    let back = to(&first);
    let second = two.serve("coordinator", move |_| Target::There(back.clone())).await.0;
    *leader.lock().unwrap() = Some(to(&second));
    let status = drain(&mut FleetServiceClient::new(to(&first)), "a").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("any more") && status.metadata().contains_key(NOT_BEGUN), "{status:?}");
    assert_eq!((one.asked(), two.asked()), (0, 0));
}

#[tokio::test]
async fn a_gateway_passes_calls_to_a_follower_which_passes_them_to_the_leader() {
    let leader = Replica::new("leader");
    let (address, _) = follower("follower", &leader.alone().await).await;
    let coordinators = Coordinators::new([refusing().await, address], LONG).unwrap();
    let choose = move |_: &str| Target::Coordinators(coordinators.clone());
    let gateway = Replica::new("gateway").serve("gateway", choose).await.0;
    assert_eq!(drain(&mut FleetServiceClient::new(to(&gateway)), "a").await.unwrap(), "leader");
    let by: Vec<_> =
        leader.last().get_all(FORWARDED).iter().map(|by| by.to_str().unwrap().to_owned()).collect();
    assert_eq!(by, ["gateway", "coordinator"]);
}

#[tokio::test]
async fn a_gateway_tells_what_is_wrong_with_its_coordinators() {
    let refusing = refusing().await;
    let coordinators = Coordinators::new([&refusing], Duration::from_secs(1)).unwrap();
    let choose = move |_: &str| Target::Coordinators(coordinators.clone());
    let (address, gateway) = {
        let replica = Replica::new("gateway");
        (replica.serve("gateway", choose).await.0, replica)
    };
    let status = drain(&mut FleetServiceClient::new(to(&address)), "a").await.unwrap_err();
    assert!(status.code() == Code::Unavailable && status.message().contains(&refusing), "{status}");
    assert!(status.metadata().contains_key(NOT_BEGUN) && gateway.asked() == 0, "{status:?}");
}

#[tokio::test]
async fn the_choice_is_by_path_and_what_nobody_answers_is_unavailable() {
    let replica = Replica::new("only");
    let choose = |path: &str| match path {
        "/copyist.connect.v1.FleetService/DrainAgent" => {
            Target::Nobody("no coordinator leads at this moment".into())
        }
        _ => Target::Here,
    };
    let address = replica.serve("coordinator", choose).await.0;
    let mut client = FleetServiceClient::new(to(&address));
    let status = drain(&mut client, "a").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "no coordinator leads at this moment"));
    assert!(status.metadata().contains_key(NOT_BEGUN) && replica.asked() == 0, "{status:?}");
    let status =
        client.forget_agent(copyist_proto::connect::ForgetAgentRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "forget"));
}

#[tokio::test]
async fn a_request_that_is_too_large_is_not_passed() {
    let leader = Replica::new("leader");
    let (address, _) = follower("follower", &leader.alone().await).await;
    let mut client = FleetServiceClient::new(to(&address));
    let status = drain(&mut client, &"a".repeat(21 << 20)).await.unwrap_err();
    assert_eq!((status.code(), leader.asked()), (Code::ResourceExhausted, 0), "{status}");
}
