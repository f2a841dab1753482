//! Sessions against a broker's side made of `kafka-protocol`'s decoder and KIP-227's rules.

use super::*;
use crate::fetch::Isolation;
use copyist_model::TopicName;
use kafka_protocol::messages::fetch_request::FetchRequest;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    NodeEndpoint, PartitionData,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;
use std::time::Duration;
use uuid::Uuid;

use crate::fetch::{EpochEnd, FetchedPartition};
use crate::topic::{Endpoint, Leader};

const LIMITS: FetchLimits = FetchLimits {
    max_wait: Duration::from_millis(500),
    min_bytes: 1,
    max_bytes: 1 << 20,
    isolation: Isolation::ReadCommitted,
};

fn key(topic: &str, id: u128, partition: i32) -> PartitionKey {
    let name: TopicName = topic.parse().unwrap();
    PartitionKey { topic: Topic::new(name, TopicId(id)), partition }
}

fn from(offset: i64) -> Wanted {
    Wanted { offset, current_leader_epoch: 5, last_fetched_epoch: 4, max_bytes: 1000 }
}

fn wanted(list: &[(PartitionKey, i64)]) -> BTreeMap<PartitionKey, Wanted> {
    list.iter().map(|(key, offset)| (key.clone(), from(*offset))).collect()
}

fn decoded(request: &EncodedFetch) -> FetchRequest {
    let mut body = request.body.clone();
    let decoded = FetchRequest::decode(&mut body, request.version).unwrap();
    assert!(body.is_empty());
    decoded
}

fn answer_bytes(answer: &FetchResponse, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    answer.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

fn answered(session: &mut FetchSession, version: i16, code: i16, id: i32) -> FetchAnswer {
    let answer = FetchResponse::default().with_error_code(code).with_session_id(id);
    session.answer(&answer_bytes(&answer, version)).unwrap()
}

/// (session id, epoch, changed as (topic, partition, offset), forgotten)
type Said = (i32, i32, Vec<(String, i32, i64)>, Vec<(String, i32)>);

fn said(request: &EncodedFetch) -> Said {
    let decoded = decoded(request);
    let called =
        |name: &StrBytes, id: Uuid| if name.is_empty() { id.as_u128().to_string() } else { name.to_string() };
    let changed = decoded.topics.iter().flat_map(|topic| {
        let name = called(&topic.topic.0, topic.topic_id);
        topic.partitions.iter().map(move |it| (name.clone(), it.partition, it.fetch_offset))
    });
    let forgotten = decoded.forgotten_topics_data.iter().flat_map(|topic| {
        let name = called(&topic.topic.0, topic.topic_id);
        topic.partitions.iter().map(move |partition| (name.clone(), *partition))
    });
    (decoded.session_id, decoded.session_epoch, changed.collect(), forgotten.collect())
}

#[test]
fn only_changes_are_told_within_a_session() {
    let mut session = FetchSession::new(13, "");
    let all = wanted(&[(key("a", 1, 0), 10), (key("a", 1, 1), 20), (key("b", 2, 0), 30)]);
    let one = |topic: &str, partition, offset| (topic.to_owned(), partition, offset);
    let first = session.request(&all, &LIMITS);
    assert_eq!(said(&first), (0, 0, vec![one("1", 0, 10), one("1", 1, 20), one("2", 0, 30)], vec![]));
    answered(&mut session, 13, 0, 77);
    assert!(session.is_incremental());
    assert_eq!(said(&session.request(&all, &LIMITS)), (77, 1, vec![], vec![]));
    answered(&mut session, 13, 0, 77);
    let moved = wanted(&[(key("a", 1, 1), 25), (key("b", 2, 0), 30), (key("c", 3, 7), 0)]);
    let expected = (77, 2, vec![one("1", 1, 25), one("3", 7, 0)], vec![("1".to_owned(), 0)]);
    assert_eq!(said(&session.request(&moved, &LIMITS)), expected);
    assert_eq!(*session.held(), moved);
    answered(&mut session, 13, 0, 77);
    let epoch_only: BTreeMap<_, _> =
        moved.iter().map(|(key, it)| (key.clone(), Wanted { current_leader_epoch: 6, ..*it })).collect();
    assert_eq!(said(&session.request(&epoch_only, &LIMITS)).2.len(), 3, "a leader epoch is a change");
}

#[test]
fn what_ends_a_session_begins_a_full_one() {
    let all = wanted(&[(key("a", 1, 0), 10)]);
    let rows = [
        // Code, answered id, next id, next epoch.
        (0, 77, 77, 2),
        (0, 0, 0, 0),
        (70, 0, 0, 0),
        (71, 0, 77, 0),
        (106, 0, 77, 0),
        (31, 0, 77, 0),
    ];
    for (code, id, next_id, next_epoch) in rows {
        let mut session = FetchSession::new(13, "");
        session.request(&all, &LIMITS);
        answered(&mut session, 13, 0, 77);
        session.request(&all, &LIMITS);
        assert_eq!(answered(&mut session, 13, code, id).code, Code(code));
        let (session_id, epoch, changed, _) = said(&session.request(&all, &LIMITS));
        assert_eq!((session_id, epoch), (next_id, next_epoch), "{code}");
        assert_eq!(changed.len(), usize::from(next_epoch == 0), "{code}");
    }
}

#[test]
fn an_answer_that_never_came_or_made_no_sense_begins_a_full_one() {
    let all = wanted(&[(key("a", 1, 0), 10)]);
    let mut session = FetchSession::new(13, "");
    session.request(&all, &LIMITS);
    answered(&mut session, 13, 0, 77);
    session.request(&all, &LIMITS);
    assert!(!session.is_incremental());
    assert_eq!(said(&session.request(&all, &LIMITS)).1, 0);
    answered(&mut session, 13, 0, 78);
    session.request(&all, &LIMITS);
    session.answer(&Bytes::from_static(&[1, 2, 3])).unwrap_err();
    assert_eq!(said(&session.request(&all, &LIMITS)).1, 0);
}

#[test]
fn epochs_wrap_past_the_one_that_begins_a_session() {
    let all = wanted(&[(key("a", 1, 0), 10)]);
    let mut session = FetchSession::new(13, "");
    session.request(&all, &LIMITS);
    answered(&mut session, 13, 0, 77);
    session.epoch = i32::MAX;
    session.request(&all, &LIMITS);
    answered(&mut session, 13, 0, 77);
    assert_eq!(said(&session.request(&all, &LIMITS)).1, 1);
}

#[test]
fn topics_go_by_name_where_one_has_no_id_and_a_change_begins_a_full_session() {
    let mut session = FetchSession::new(17, "");
    let request = session.request(&wanted(&[(key("a", 1, 0), 10), (key("b", 0, 0), 5)]), &LIMITS);
    assert_eq!((request.version, said(&request).2[0].0.as_str()), (12, "a"));
    answered(&mut session, 12, 0, 77);
    let request = session.request(&wanted(&[(key("a", 1, 0), 10)]), &LIMITS);
    assert_eq!(request.version, 17);
    assert_eq!(said(&request), (77, 0, vec![("1".to_owned(), 0, 10)], vec![]));
}

#[test]
fn a_topic_created_anew_is_not_forgotten_where_topics_go_by_name() {
    for (version, forgotten) in [(11, vec![]), (13, vec![("1".to_owned(), 0)])] {
        let mut session = FetchSession::new(version, "");
        session.request(&wanted(&[(key("a", 1, 0), 10)]), &LIMITS);
        answered(&mut session, version, 0, 77);
        let (.., changed, told) = said(&session.request(&wanted(&[(key("a", 2, 0), 0)]), &LIMITS));
        assert_eq!((changed.len(), told), (1, forgotten), "{version}");
    }
}

#[test]
fn without_a_session_each_partition_comes_first_at_times() {
    let all = wanted(&[(key("a", 1, 0), 0), (key("a", 1, 1), 0), (key("b", 2, 0), 0)]);
    let mut session = FetchSession::new(13, "");
    let mut first = BTreeSet::new();
    for _ in 0..3 {
        let (_, epoch, changed, _) = said(&session.request(&all, &LIMITS));
        assert_eq!((epoch, changed.len()), (0, 3));
        first.insert(changed[0].clone());
        answered(&mut session, 13, 0, 0);
    }
    assert_eq!(first.len(), 3);
    let mut single = FetchSession::single(13);
    for _ in 0..2 {
        assert_eq!(said(&single.request(&all, &LIMITS)).1, -1);
        answered(&mut single, 13, 0, 0);
    }
}

#[test]
fn each_version_carries_all_that_it_can() {
    for version in 4..=18 {
        let mut session = FetchSession::new(version, "rack 1");
        let request = session.request(&wanted(&[(key("a", 1, 3), 10), (key("b", 2, 0), 30)]), &LIMITS);
        assert_eq!(request.version, version);
        let decoded = decoded(&request);
        assert_eq!((decoded.max_wait_ms, decoded.min_bytes, decoded.max_bytes), (500, 1, 1 << 20));
        assert_eq!((decoded.isolation_level, decoded.replica_id.0), (1, -1));
        assert_eq!(&*decoded.rack_id, if version >= 11 { "rack 1" } else { "" });
        assert_eq!(decoded.topics.len(), 2);
        let topic = &decoded.topics[0];
        assert_eq!(topic.topic.0.as_str(), if version >= 13 { "" } else { "a" });
        assert_eq!(topic.topic_id.as_u128(), u128::from(version >= 13));
        let partition = &topic.partitions[0];
        assert_eq!((partition.partition, partition.fetch_offset), (3, 10));
        assert_eq!((partition.partition_max_bytes, partition.log_start_offset), (1000, -1));
        assert_eq!(partition.current_leader_epoch, if version >= 9 { 5 } else { -1 });
        assert_eq!(partition.last_fetched_epoch, if version >= 12 { 4 } else { -1 });
    }
}

fn full_partition(version: i16) -> PartitionData {
    let mut data = PartitionData::default()
        .with_partition_index(3)
        .with_error_code(6)
        .with_high_watermark(100)
        .with_last_stable_offset(90)
        .with_records(Some(Bytes::from_static(b"records")));
    let aborted =
        |id: i64, first| AbortedTransaction::default().with_producer_id(id.into()).with_first_offset(first);
    data.aborted_transactions = Some(vec![aborted(7, 50), aborted(8, 40)]);
    if version >= 5 {
        data.log_start_offset = 9;
    }
    if version >= 11 {
        data.preferred_read_replica = 2.into();
    }
    if version >= 12 {
        data.diverging_epoch = EpochEndOffset::default().with_epoch(3).with_end_offset(80);
        data.current_leader = LeaderIdAndEpoch::default().with_leader_id(5.into()).with_leader_epoch(11);
        data.unknown_tagged_fields.insert(9, Bytes::from_static(b"future"));
    }
    data
}

fn topic_answer(version: i16, partitions: Vec<PartitionData>) -> FetchableTopicResponse {
    let topic = FetchableTopicResponse::default().with_partitions(partitions);
    if version >= 13 {
        topic.with_topic_id(Uuid::from_u128(1))
    } else {
        topic.with_topic(StrBytes::from_static_str("a").into())
    }
}

#[test]
fn each_field_of_an_answer_is_read_in_each_version() {
    for version in 4..=18 {
        let mut session = FetchSession::new(version, "");
        session.request(&wanted(&[(key("a", 1, 3), 10), (key("a", 1, 4), 10)]), &LIMITS);
        let empty = PartitionData::default().with_partition_index(4).with_records(None);
        let mut answer = FetchResponse::default()
            .with_throttle_time_ms(250)
            .with_responses(vec![topic_answer(version, vec![full_partition(version), empty])]);
        if version >= 16 {
            let host = StrBytes::from_static_str("b5");
            answer.node_endpoints =
                vec![NodeEndpoint::default().with_node_id(5.into()).with_host(host).with_port(9092)];
        }
        let bytes = answer_bytes(&answer, version);
        let walked = session.answer(&bytes).unwrap();
        assert_eq!(walked.throttle, Duration::from_millis(250));
        let expected = FetchedPartition {
            key: key("a", 1, 3),
            code: Code(6),
            high_watermark: 100,
            last_stable_offset: 90,
            log_start_offset: if version >= 5 { 9 } else { -1 },
            aborted: vec![(7, 50), (8, 40)],
            diverging: (version >= 12).then_some(EpochEnd { epoch: 3, end_offset: 80 }),
            current_leader: (version >= 12).then_some(Leader { broker: 5, epoch: 11 }),
            preferred_read_replica: (version >= 11).then_some(2),
            records: Bytes::from_static(b"records"),
        };
        assert_eq!(walked.partitions[0], expected, "{version}");
        assert_eq!(walked.partitions.len(), 2);
        let rest = &walked.partitions[1];
        assert!(rest.records.is_empty() && rest.diverging.is_none() && rest.current_leader.is_none());
        let endpoint = Endpoint { host: "b5".to_owned(), port: 9092 };
        let endpoints: Vec<_> = (version >= 16).then_some((5, endpoint)).into_iter().collect();
        assert_eq!(walked.endpoints, endpoints);
        let inside = bytes.as_ptr_range().contains(&walked.partitions[0].records.as_ptr());
        assert!(inside, "records are a slice of the frame");
    }
}

#[test]
fn answers_to_what_was_not_asked_are_errors() {
    let ask = || {
        let mut session = FetchSession::new(13, "");
        session.request(&wanted(&[(key("a", 1, 3), 10)]), &LIMITS);
        session
    };
    let one = FetchResponse::default().with_responses(vec![topic_answer(13, vec![full_partition(13)])]);
    let mut foreign = one.clone();
    foreign.responses[0].topic_id = Uuid::from_u128(9);
    let mut twice = one.clone();
    twice.responses.extend(one.responses.clone());
    for (answer, why) in [(foreign, "was not asked for"), (twice, "more than the 1 partitions asked for")] {
        let error = ask().answer(&answer_bytes(&answer, 13)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let whole = answer_bytes(&one, 13);
    let longer: Bytes = [&whole[..], &[0]].concat().into();
    assert!(ask().answer(&longer).unwrap_err().to_string().ends_with("1 bytes too many"));
    for end in 0..whole.len() {
        ask().answer(&whole.slice(..end)).unwrap_err();
    }
}

/// A broker as KIP-227 has it: one session, its partitions by topic (id or name) and number.
#[derive(Default)]
struct Broker {
    id: i32,
    epoch: i32,
    reads: BTreeMap<(String, i32), i64>,
}

impl Broker {
    /// The code and the session's id.
    fn take(&mut self, request: &EncodedFetch, has_room: bool) -> (i16, i32) {
        let (id, epoch, changed, forgotten) = said(request);
        let changed = changed.into_iter().map(|(topic, number, offset)| ((topic, number), offset));
        if epoch == 0 {
            self.reads = changed.collect();
            self.id = if has_room { self.id + 1 } else { 0 };
            self.epoch = 1;
            return (0, self.id);
        }
        if self.id == 0 || id != self.id {
            return (70, 0);
        }
        if epoch != self.epoch {
            return (71, 0);
        }
        self.epoch += 1;
        self.reads.extend(changed);
        for gone in forgotten {
            assert!(self.reads.remove(&gone).is_some(), "{gone:?} was not read");
        }
        (0, self.id)
    }
}

proptest! {
    /// Whatever is wanted and whatever is lost, after a request that the broker took it reads what is wanted.
    #[test]
    fn a_broker_reads_what_is_wanted(
        version in prop_oneof![Just(11i16), Just(12), Just(13), Just(17)],
        steps in prop::collection::vec(
            (prop::collection::btree_map((0u8..3, 1u128..3, 0i32..3), 0i64..3, 0..8), 0u8..12),
            1..40,
        ),
    ) {
        let mut session = FetchSession::new(version, "");
        let mut broker = Broker::default();
        for (partitions, chance) in steps {
            let mut want = BTreeMap::new();
            for ((topic, id, number), offset) in partitions {
                // A topic created anew has another id. Only by id may both be read at once.
                let id = if version < 13 { u128::from(chance % 2) } else { id };
                want.insert(key(&format!("t{topic}"), 1 + id + 10 * u128::from(topic), number), from(offset));
            }
            let request = session.request(&want, &LIMITS);
            if chance == 0 {
                // Lost on the way there.
                continue;
            }
            if chance == 1 {
                // It was restarted, or needed the room.
                broker.id = 0;
            }
            let (code, id) = broker.take(&request, chance != 3);
            if code == 0 {
                let reads: BTreeMap<_, _> = want
                    .iter()
                    .map(|(key, it)| {
                        let called = if version >= 13 { key.topic.id().0.to_string() } else { key.topic.to_string() };
                        ((called, key.partition), it.offset)
                    })
                    .collect();
                prop_assert_eq!(&broker.reads, &reads);
            }
            if chance == 2 {
                // Lost on the way back.
                continue;
            }
            answered(&mut session, request.version, code, id);
        }
    }

    #[test]
    fn whatever_comes_is_no_panic(bytes: Vec<u8>, version in 4i16..=18) {
        let mut session = FetchSession::new(version, "");
        session.request(&wanted(&[(key("a", 1, 3), 10)]), &LIMITS);
        let _ = session.answer(&Bytes::from(bytes));
    }

    /// A single byte changed: an error or an answer, never more memory than the frame.
    #[test]
    fn a_damaged_answer_is_no_panic(version in 4i16..=18, at: prop::sample::Index, byte: u8) {
        let mut session = FetchSession::new(version, "");
        session.request(&wanted(&[(key("a", 1, 3), 10)]), &LIMITS);
        let answer = FetchResponse::default().with_responses(vec![topic_answer(version, vec![full_partition(version)])]);
        let mut bytes = answer_bytes(&answer, version).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = session.answer(&Bytes::from(bytes));
    }
}
