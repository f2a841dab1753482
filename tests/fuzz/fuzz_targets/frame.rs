//! Any bytes as answers of a broker, in each version: sizes, headers, and each body that is read by hand. Nothing
//! panics, no memory is reserved for what a length merely says, and records are slices of the frame.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use copyist_kafka::frame::{RequestHead, answer_size};
use copyist_kafka::{
    Api, FetchLimits, FetchSession, Isolation, Metadata, OutgoingBatch, PartitionKey, ProduceFrame, Topic,
    Versions, Wanted, admin, produce, questions,
};
use copyist_model::TopicId;
use libfuzzer_sys::fuzz_target;

const LIMITS: FetchLimits = FetchLimits {
    max_wait: Duration::ZERO,
    min_bytes: 1,
    max_bytes: 1,
    isolation: Isolation::ReadCommitted,
};

const BYTES_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some(([kind, version], rest)) = data.split_first_chunk().map(|(head, rest)| (*head, rest)) else {
        return;
    };
    let body = Bytes::copy_from_slice(rest);
    let api = Api::ALL[usize::from(kind) % Api::ALL.len()];
    let ours = api.ours();
    let version = ours.min + i16::from(version) % (ours.max - ours.min + 1);
    if let Some((prefix, _)) = rest.split_first_chunk() {
        assert!(answer_size(*prefix, BYTES_MAX).unwrap_or(4) <= BYTES_MAX);
    }
    let correlation = rest.first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes));
    if let Ok(body) = (RequestHead { api, version, correlation }).body(&body) {
        assert!(body.len() + 4 <= rest.len());
    }
    match api {
        Api::Produce => produced(&body, version),
        Api::Fetch => fetched(&body, version),
        Api::Metadata => drop(Metadata::read(&body, version)),
        Api::ApiVersions => drop(Versions::read(Arc::from("b"), &body, version)),
        Api::ListOffsets => drop(questions::answers::offset(&body, version, &key(0))),
        Api::InitProducerId => drop(questions::answers::producer_id(&body, version)),
        Api::OffsetForLeaderEpoch => drop(questions::answers::epoch_end(&body, version, &key(0))),
        Api::DescribeProducers => drop(questions::answers::producer_state(&body, &key(0), 1)),
        Api::CreateTopics => drop(admin::answers::created(&body, version)),
        Api::DescribeConfigs => drop(admin::answers::described(&body, version)),
        Api::CreatePartitions => drop(admin::answers::grown(&body, version)),
        Api::IncrementalAlterConfigs => drop(admin::answers::altered(&body, version)),
    }
});

fn key(partition: i32) -> PartitionKey {
    let name = "t".parse().expect("a topic's name");
    PartitionKey { topic: Topic::new(name, TopicId(1)), partition }
}

fn fetched(body: &Bytes, version: i16) {
    let mut session = FetchSession::new(version, "");
    let wanted = Wanted { offset: 0, current_leader_epoch: -1, last_fetched_epoch: -1, max_bytes: 1 };
    session.request(&BTreeMap::from([(key(0), wanted), (key(1), wanted)]), &LIMITS);
    let Ok(answer) = session.answer(body) else { return };
    assert!(answer.partitions.len() <= 2);
    let frame = body.as_ptr_range();
    for partition in answer.partitions {
        let records = partition.records.as_ptr_range();
        assert!(partition.records.is_empty() || (frame.start <= records.start && records.end <= frame.end));
    }
}

fn produced(body: &Bytes, version: i16) {
    let mut frame = ProduceFrame::new();
    for partition in 0..2 {
        let batch = OutgoingBatch { header: [0; produce::BATCH_HEADER_BYTES], payload: Bytes::new() };
        frame.add(key(partition), batch).expect("one batch each");
    }
    let sent = frame.encode(version, Duration::ZERO);
    if let Ok(answer) = produce::walk(body, sent.version, &sent.sent) {
        assert_eq!(answer.partitions.len(), 2);
    }
}
