//! Produce requests and answers against `kafka-protocol`'s side of the broker.

use super::*;
use crate::code::Code;
use crate::error::Error;
use crate::produce::{ProduceAnswer, ProducedPartition, walk};
use crate::topic::{Endpoint, Leader};
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

fn key(topic: &str, id: u128, partition: i32) -> PartitionKey {
    PartitionKey { topic: Topic::new(topic.parse().unwrap(), TopicId(id)), partition }
}

fn batch(mark: u8, payload: usize) -> OutgoingBatch {
    OutgoingBatch { header: [mark; BATCH_HEADER_BYTES], payload: vec![mark; payload].into() }
}

fn frame(batches: &[(PartitionKey, OutgoingBatch)]) -> ProduceFrame {
    let mut frame = ProduceFrame::new();
    for (key, batch) in batches {
        frame.add(key.clone(), batch.clone()).unwrap();
    }
    frame
}

fn joined(request: &EncodedProduce) -> Bytes {
    let bytes: Bytes = request.segments.concat().into();
    assert_eq!(bytes.len(), request.body_bytes);
    bytes
}

#[test]
fn a_partition_has_one_batch() {
    let mut frame = frame(&[(key("a", 1, 0), batch(1, 5))]);
    let refused = frame.add(key("a", 1, 0), batch(2, 9)).unwrap_err();
    assert_eq!(refused.header[0], 2);
    assert_eq!((frame.len(), frame.batch_bytes()), (1, 66));
    assert!(frame.contains(&key("a", 1, 0)) && !frame.contains(&key("a", 2, 0)));
}

#[test]
fn payloads_are_not_copied() {
    let payload = Bytes::from(vec![9; 1000]);
    let one = OutgoingBatch { header: [7; BATCH_HEADER_BYTES], payload: payload.clone() };
    let request = frame(&[(key("a", 1, 0), one.clone()), (key("a", 1, 1), one)]).encode(13, SECOND);
    let same = request.segments.iter().filter(|segment| segment.as_ptr() == payload.as_ptr()).count();
    assert_eq!((same, request.segments.len()), (2, 5));
}

proptest! {
    #[test]
    fn brokers_read_what_was_framed(
        version in 3i16..=13,
        partitions in prop::collection::btree_map((0u8..3, 0i32..4), 0usize..200, 0..10),
    ) {
        let batches: Vec<_> = partitions
            .iter()
            .map(|((topic, number), payload)| {
                (key(&format!("t{topic}"), u128::from(topic + 1), *number), batch(topic * 10 + 1, *payload))
            })
            .collect();
        let request = frame(&batches).encode(version, SECOND);
        prop_assert_eq!(request.version, version);
        let mut bytes = joined(&request);
        let decoded = ProduceRequest::decode(&mut bytes, version).unwrap();
        prop_assert!(bytes.is_empty());
        prop_assert_eq!((decoded.acks, decoded.timeout_ms), (-1, 1000));
        prop_assert!(decoded.transactional_id.is_none());
        let mut found = Vec::new();
        for topic in &decoded.topic_data {
            for partition in &topic.partition_data {
                let called = if version >= 13 {
                    topic.topic_id.as_u128().to_string()
                } else {
                    topic.name.0.to_string()
                };
                found.push((called, partition.index, partition.records.clone().unwrap()));
            }
        }
        let expected: Vec<_> = batches
            .iter()
            .map(|(key, batch)| {
                let called = if version >= 13 { key.topic.id().0.to_string() } else { key.topic.to_string() };
                let bytes: Bytes = [&batch.header[..], &batch.payload[..]].concat().into();
                (called, key.partition, bytes)
            })
            .collect();
        prop_assert_eq!(found, expected);
        let topics: std::collections::BTreeSet<_> = batches.iter().map(|(key, _)| key.topic.clone()).collect();
        prop_assert_eq!(decoded.topic_data.len(), topics.len(), "each topic once");
    }

    #[test]
    fn whatever_comes_is_no_panic(bytes: Vec<u8>, version in 3i16..=13) {
        let request = frame(&[(key("a", 1, 3), batch(1, 1))]).encode(version, SECOND);
        let _ = walk(&Bytes::from(bytes), request.version, &request.sent);
    }
}

#[test]
fn topics_without_an_id_go_by_name() {
    let request = frame(&[(key("a", 1, 0), batch(1, 1)), (key("b", 0, 0), batch(1, 1))]).encode(13, SECOND);
    assert_eq!(request.version, 12);
    let decoded = ProduceRequest::decode(&mut joined(&request), 12).unwrap();
    assert_eq!(decoded.topic_data[1].name.0.as_str(), "b");
}

fn partition_answer(version: i16) -> PartitionProduceResponse {
    let mut answer = PartitionProduceResponse::default()
        .with_index(3)
        .with_error_code(87)
        .with_base_offset(55)
        .with_log_append_time_ms(66);
    if version >= 5 {
        answer.log_start_offset = 7;
    }
    if version >= 8 {
        let why = StrBytes::from_static_str("no key");
        answer.record_errors = vec![
            BatchIndexAndErrorMessage::default()
                .with_batch_index(4)
                .with_batch_index_error_message(Some(why)),
            BatchIndexAndErrorMessage::default().with_batch_index(5),
        ];
        answer.error_message = Some(StrBytes::from_static_str("bad records"));
    }
    if version >= 10 {
        answer.current_leader = LeaderIdAndEpoch::default().with_leader_id(2.into()).with_leader_epoch(8);
    }
    answer
}

fn answer_bytes(version: i16, partitions: Vec<PartitionProduceResponse>) -> Bytes {
    let mut topic = TopicProduceResponse::default().with_partition_responses(partitions);
    if version >= 13 {
        topic.topic_id = Uuid::from_u128(1);
    } else {
        topic.name = StrBytes::from_static_str("a").into();
    }
    let mut answer = ProduceResponse::default().with_throttle_time_ms(9).with_responses(vec![topic]);
    if version >= 10 {
        let host = StrBytes::from_static_str("b2");
        answer.node_endpoints =
            vec![NodeEndpoint::default().with_node_id(2.into()).with_host(host).with_port(9093)];
    }
    let mut bytes = BytesMut::new();
    answer.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

fn walked(version: i16, sent: &[i32], body: &Bytes) -> Result<ProduceAnswer, Error> {
    let batches: Vec<_> = sent.iter().map(|number| (key("a", 1, *number), batch(1, 1))).collect();
    let request = frame(&batches).encode(version, SECOND);
    walk(body, request.version, &request.sent)
}

#[test]
fn each_field_of_an_answer_is_read_in_each_version() {
    for version in 3..=13 {
        let body = answer_bytes(version, vec![partition_answer(version)]);
        let answer = walked(version, &[3], &body).unwrap();
        assert_eq!(answer.throttle, Duration::from_millis(9));
        let errors = vec![(4, Some("no key".to_owned())), (5, None)];
        let expected = ProducedPartition {
            key: key("a", 1, 3),
            code: Code(87),
            base_offset: 55,
            log_append_time: 66,
            log_start_offset: if version >= 5 { 7 } else { -1 },
            record_errors: if version >= 8 { errors } else { Vec::new() },
            error_message: (version >= 8).then(|| "bad records".to_owned()),
            current_leader: (version >= 10).then_some(Leader { broker: 2, epoch: 8 }),
        };
        assert_eq!(answer.partitions, [expected], "{version}");
        let endpoint = Endpoint { host: "b2".to_owned(), port: 9093 };
        assert_eq!(
            answer.endpoints,
            (version >= 10).then_some((2, endpoint)).into_iter().collect::<Vec<_>>()
        );
        for end in 0..body.len() {
            walked(version, &[3], &body.slice(..end)).unwrap_err();
        }
    }
}

#[test]
fn each_partition_sent_is_answered_once() {
    let body = answer_bytes(13, vec![partition_answer(13)]);
    let error = |sent: &[i32], body: &Bytes| walked(13, sent, body).unwrap_err().to_string();
    assert!(error(&[2, 3], &body).ends_with("1 of the 2 partitions sent are answered"));
    let twice = answer_bytes(13, vec![partition_answer(13), partition_answer(13)]);
    assert!(error(&[3], &twice).ends_with("more than the 1 partitions sent"));
    assert!(error(&[3, 4], &twice).ends_with("a-3 is answered twice"));
    assert!(error(&[4], &body).ends_with("a-3 was not sent"));
}
