//! Answers against `kafka-protocol`'s side of the broker.

use super::*;
use crate::topic::Topic;
use bytes::BytesMut;
use copyist_model::TopicId;
use kafka_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState as WireState, TopicResponse,
};
use kafka_protocol::messages::init_producer_id_response::InitProducerIdResponse;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

fn key(topic: &str, partition: i32) -> PartitionKey {
    PartitionKey { topic: Topic::new(topic.parse().unwrap(), TopicId::NONE), partition }
}

fn bytes_of(answer: &impl Encodable, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    answer.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

#[test]
fn producers_are_told_by_their_id() {
    let state = |id: i64, last| {
        WireState::default()
            .with_producer_id(id.into())
            .with_producer_epoch(3)
            .with_last_sequence(last)
            .with_last_timestamp(99)
    };
    let partition = |number, code| {
        PartitionResponse::default()
            .with_partition_index(number)
            .with_error_code(code)
            .with_error_message((code != 0).then(|| StrBytes::from_static_str("no")))
            .with_active_producers(vec![state(7, 10 + number), state(8, 20 + number)])
    };
    let topic = TopicResponse::default()
        .with_name(StrBytes::from_static_str("a").into())
        .with_partitions(vec![partition(0, 0), partition(1, 0), partition(2, 6)]);
    let body = bytes_of(&DescribeProducersResponse::default().with_topics(vec![topic]), 0);
    let found = Some(ProducerState { epoch: 3, last_sequence: 11, last_timestamp: 99 });
    assert_eq!(producer_state(&body, &key("a", 1), 7).unwrap(), found);
    assert_eq!(producer_state(&body, &key("a", 1), 9).unwrap(), None);
    let error = producer_state(&body, &key("a", 2), 7).unwrap_err();
    assert_eq!(error.to_string(), "the producers of a-2: NotLeaderOrFollower (6): no");
    assert!(producer_state(&body, &key("a", 3), 7).unwrap_err().is_outcome_unknown());
    assert!(producer_state(&body, &key("b", 1), 7).is_err());
}

#[test]
fn ends_of_epochs_are_read() {
    for version in 2..=4 {
        let end = |number, code| {
            EpochEndOffset::default()
                .with_partition(number)
                .with_error_code(code)
                .with_leader_epoch(4)
                .with_end_offset(100 + i64::from(number))
        };
        let topic = OffsetForLeaderTopicResult::default()
            .with_topic(StrBytes::from_static_str("a").into())
            .with_partitions(vec![end(0, 0), end(1, 74)]);
        let body = bytes_of(&OffsetForLeaderEpochResponse::default().with_topics(vec![topic]), version);
        let expected = EpochEnd { epoch: 4, end_offset: 100 };
        assert_eq!(epoch_end(&body, version, &key("a", 0)).unwrap(), expected);
        let error = epoch_end(&body, version, &key("a", 1)).unwrap_err();
        assert_eq!(error.code(), Some(Code::FENCED_LEADER_EPOCH));
    }
}

#[test]
fn offsets_are_read() {
    for version in 4..=10 {
        let found_at = |number, code, offset| {
            ListOffsetsPartitionResponse::default()
                .with_partition_index(number)
                .with_error_code(code)
                .with_offset(offset)
                .with_leader_epoch(3)
        };
        let topic = ListOffsetsTopicResponse::default()
            .with_name(StrBytes::from_static_str("a").into())
            .with_partitions(vec![found_at(0, 0, 5), found_at(1, 78, -1), found_at(2, 0, -1)]);
        let body = bytes_of(&ListOffsetsResponse::default().with_topics(vec![topic]), version);
        let found = OffsetFound { offset: 5, leader_epoch: 3 };
        assert_eq!(offset(&body, version, &key("a", 0)).unwrap(), Some(found));
        assert_eq!(offset(&body, version, &key("a", 2)).unwrap(), None);
        let error = offset(&body, version, &key("a", 1)).unwrap_err();
        assert_eq!(error.code(), Some(Code::OFFSET_NOT_AVAILABLE));
    }
}

#[test]
fn producer_ids_are_read() {
    for version in 0..=4 {
        let answer = |code: i16| {
            let answer = InitProducerIdResponse::default().with_error_code(code);
            bytes_of(&answer.with_producer_id(7.into()).with_producer_epoch(2), version)
        };
        assert_eq!(producer_id(&answer(0), version).unwrap(), (7, 2));
        assert_eq!(producer_id(&answer(15), version).unwrap_err().code(), Some(Code(15)));
    }
}
