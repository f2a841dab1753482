//! Metadata against `kafka-protocol`'s side of the broker.

use super::*;
use bytes::BytesMut;
use kafka_protocol::messages::MetadataResponse;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::protocol::{Decodable, Encodable};
use uuid::Uuid;

fn partition(number: i32, leader: i32, epoch: i32) -> MetadataResponsePartition {
    MetadataResponsePartition::default()
        .with_partition_index(number)
        .with_error_code(if leader < 0 { 5 } else { 0 })
        .with_leader_id(leader.into())
        .with_leader_epoch(epoch)
        .with_replica_nodes(vec![1.into(), 2.into(), 3.into()])
        .with_isr_nodes(vec![1.into()])
        .with_offline_replicas(vec![3.into()])
}

fn answer(version: i16, id: u128, partitions: Vec<MetadataResponsePartition>) -> Bytes {
    let broker = |id: i32| {
        let host = StrBytes::from_string(format!("b{id}"));
        let rack = (id == 2).then(|| StrBytes::from_static_str("r"));
        MetadataResponseBroker::default()
            .with_node_id(id.into())
            .with_host(host)
            .with_port(9092)
            .with_rack(rack)
    };
    let mut topic = MetadataResponseTopic::default()
        .with_name(Some(StrBytes::from_static_str("a").into()))
        .with_is_internal(true)
        .with_partitions(partitions);
    if version >= 10 {
        topic.topic_id = Uuid::from_u128(id);
    }
    let missing = MetadataResponseTopic::default()
        .with_name(Some(StrBytes::from_static_str("b").into()))
        .with_error_code(3);
    let answer = MetadataResponse::default()
        .with_throttle_time_ms(5)
        .with_brokers(vec![broker(1), broker(2)])
        .with_cluster_id(Some(StrBytes::from_static_str("cluster")))
        .with_controller_id(2.into())
        .with_topics(vec![topic, missing]);
    let mut bytes = BytesMut::new();
    answer.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

fn key(id: u128, partition: i32) -> PartitionKey {
    PartitionKey { topic: Topic::new("a".parse().unwrap(), TopicId(id)), partition }
}

fn view(id: u128, leaders: &[(i32, i32)]) -> Metadata {
    let partitions = (0..).zip(leaders).map(|(number, (leader, epoch))| partition(number, *leader, *epoch));
    Metadata::read(&answer(12, id, partitions.collect()), 12).unwrap()
}

#[test]
fn each_version_is_read() {
    for version in 7..=13 {
        let body = answer(version, 9, vec![partition(0, 1, 4), partition(1, -1, 7)]);
        let read = Metadata::read(&body, version).unwrap();
        assert_eq!((read.cluster.as_ref().unwrap().as_str(), read.controller), ("cluster", Some(2)));
        assert_eq!(read.brokers[&2], Endpoint { host: "b2".into(), port: 9092 });
        let topic = &read.topics[&"a".parse::<TopicName>().unwrap()];
        let id = if version >= 10 { 9 } else { 0 };
        assert_eq!((topic.topic.id(), topic.is_internal), (TopicId(id), true), "{version}");
        let led =
            PartitionMetadata { code: Code::NONE, leader: Some(Leader { broker: 1, epoch: 4 }), replicas: 3 };
        assert_eq!(topic.partitions[&0], led);
        assert_eq!(topic.partitions[&1], PartitionMetadata { code: Code(5), leader: None, replicas: 3 });
        assert_eq!(read.leader(&key(id, 0)), led.leader);
        assert_eq!(read.leader(&key(0, 0)), led.leader, "known before the cluster had ids");
        assert_eq!(read.leader(&key(77, 0)), None, "another topic of that name");
        let gone: TopicName = "b".parse().unwrap();
        assert_eq!((read.topics[&gone].code, read.topic(&gone)), (Code(3), None));
        for end in 0..body.len() {
            let _ = Metadata::read(&body.slice(..end), version).unwrap_err();
        }
    }
}

#[test]
fn asking_creates_no_topic() {
    let names: Vec<TopicName> = vec!["a".parse().unwrap(), "b".parse().unwrap()];
    for version in 7..=13 {
        let mut bytes = BytesMut::new();
        Metadata::request(Some(names.iter())).encode(&mut bytes, version).unwrap();
        let decoded = MetadataRequest::decode(&mut bytes.freeze(), version).unwrap();
        assert_eq!(decoded.topics.unwrap().len(), 2);
        assert!(!decoded.allow_auto_topic_creation);
        let mut bytes = BytesMut::new();
        Metadata::request(None::<std::slice::Iter<'_, TopicName>>).encode(&mut bytes, version).unwrap();
        assert!(MetadataRequest::decode(&mut bytes.freeze(), version).unwrap().topics.is_none());
    }
}

#[test]
fn a_broker_that_lags_behind_does_not_bring_an_old_leader_back() {
    // Known and told as (leader, epoch), and who is kept.
    let rows = [
        ((1, 5), (2, 6), Some((2, 6))),
        ((1, 5), (2, 4), Some((1, 5))),
        ((1, 5), (2, 5), Some((2, 5))),
        ((1, 5), (-1, 6), None),
        ((-1, 5), (2, 4), Some((2, 4))),
    ];
    for (known, told, expected) in rows {
        let updated = view(9, &[known]).updated(view(9, &[told]));
        let kept = updated.leader(&key(9, 0)).map(|leader| (leader.broker, leader.epoch));
        assert_eq!(kept, expected, "{known:?} {told:?}");
        let anew = view(9, &[known]).updated(view(10, &[told]));
        let told = (told.0 >= 0).then_some(told);
        let kept = anew.leader(&key(10, 0)).map(|leader| (leader.broker, leader.epoch));
        assert_eq!(kept, told, "a topic created anew has a history of its own");
    }
}

#[test]
fn ids_come_with_an_upgrade_and_a_broker_without_them_takes_none_away() {
    let id_of = |view: &Metadata| view.topics[&"a".parse::<TopicName>().unwrap()].topic.id();
    let upgraded = view(0, &[(1, 5)]).updated(view(9, &[(1, 5)]));
    assert_eq!(id_of(&upgraded), TopicId(9));
    let asked_an_old_one = upgraded.updated(view(0, &[(2, 4)]));
    assert_eq!(id_of(&asked_an_old_one), TopicId(9));
    assert_eq!(asked_an_old_one.leader(&key(9, 0)), Some(Leader { broker: 1, epoch: 5 }), "it lags behind");
    let newer = asked_an_old_one.updated(view(0, &[(2, 6)]));
    assert_eq!(newer.leader(&key(9, 0)), Some(Leader { broker: 2, epoch: 6 }));
}

#[test]
fn answers_teach_newer_leaders_that_can_be_reached() {
    let endpoint = |id: i32| vec![(id, Endpoint { host: format!("b{id}"), port: 9092 })];
    let rows = [
        (Leader { broker: 2, epoch: 6 }, vec![], true),
        (Leader { broker: 2, epoch: 5 }, vec![], false),
        (Leader { broker: 7, epoch: 6 }, vec![], false),
        (Leader { broker: 7, epoch: 6 }, endpoint(7), true),
    ];
    for (leader, endpoints, is_news) in rows {
        let mut known = view(9, &[(1, 5)]);
        assert_eq!(known.learn(&key(9, 0), leader, &endpoints), is_news, "{leader:?}");
        let expected = if is_news { leader } else { Leader { broker: 1, epoch: 5 } };
        assert_eq!(known.leader(&key(9, 0)), Some(expected));
        assert!(!known.learn(&key(10, 0), Leader { broker: 2, epoch: 9 }, &[]), "another topic");
        assert!(!known.learn(&key(9, 1), Leader { broker: 2, epoch: 9 }, &[]), "no such partition");
    }
}
