//! The stub against Kafka's own Java clients, and against requests that no client sends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, ProduceRequest,
    ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::batch::{HEADER_BYTES, Header, Record, Writer, build};
use super::{Action, Api, Codec, Injection, Kind, Options, Stub, TopicSpec};
use crate::record::Rec;
use crate::suite;

const LIMIT: Duration = Duration::from_secs(10);
const PRODUCE: i16 = 8;

fn stub(topics: &[&str]) -> Stub {
    let topics = topics.iter().map(|spec| spec.parse().expect("a topic")).collect();
    Stub::start(Options { topics, ..Options::default() }).expect("a stub")
}

fn connect(stub: &Stub) -> TcpStream {
    let stream = TcpStream::connect(stub.bootstrap()).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    stream
}

fn send(stream: &mut TcpStream, key: ApiKey, version: i16, request: &impl Encodable) {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(7);
    let mut frame = BytesMut::new();
    header.encode(&mut frame, key.request_header_version(version)).expect("encoded");
    request.encode(&mut frame, version).expect("encoded");
    let length = i32::try_from(frame.len()).expect("small");
    stream.write_all(&length.to_be_bytes()).and_then(|()| stream.write_all(&frame)).expect("sent");
}

fn receive<T: Decodable>(stream: &mut TcpStream, key: ApiKey, version: i16) -> T {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).expect("a length")];
    stream.read_exact(&mut frame).expect("a whole answer");
    let mut frame = Bytes::from(frame);
    let header = ResponseHeader::decode(&mut frame, key.response_header_version(version)).expect("a header");
    assert_eq!(header.correlation_id, 7);
    let answer = T::decode(&mut frame, version).expect("an answer");
    assert_eq!(frame.remaining(), 0, "bytes after the answer");
    answer
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// `records` records from sequence `first` on.
fn batch(first: i32, records: usize) -> Bytes {
    let record = Record { key: None, value: Some(vec![b'v'; 20]), timestamp_delta: 0 };
    let writer = Writer { producer_id: 1000, epoch: 0, base_sequence: first };
    build(&vec![record; records], Codec::None, 1_700_000_000_000, writer).expect("built").into()
}

fn produce(stream: &mut TcpStream, batches: &[(i32, Bytes)]) {
    let partition = |(partition, batch): &(i32, Bytes)| {
        PartitionProduceData::default().with_index(*partition).with_records(Some(batch.clone()))
    };
    let data = batches.iter().map(partition).collect();
    let topic = TopicProduceData::default().with_name(name("t")).with_partition_data(data);
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
    send(stream, ApiKey::Produce, PRODUCE, &request);
}

/// Partition, error, base offset of each.
fn produced(stream: &mut TcpStream) -> Vec<(i32, i16, i64)> {
    let answer: ProduceResponse = receive(stream, ApiKey::Produce, PRODUCE);
    let partitions = answer.responses.into_iter().flat_map(|topic| topic.partition_responses);
    partitions.map(|said| (said.index, said.error_code, said.base_offset)).collect()
}

fn produce_one(stream: &mut TcpStream, batch: Bytes) -> (i16, i64) {
    produce(stream, &[(0, batch)]);
    let said = produced(stream);
    (said[0].1, said[0].2)
}

fn fetch(stream: &mut TcpStream, version: i16, session: (i32, i32), offsets: &[(i32, i64)]) -> FetchResponse {
    let partition = |(partition, offset): &(i32, i64)| {
        let wanted = FetchPartition::default().with_partition(*partition).with_fetch_offset(*offset);
        wanted.with_partition_max_bytes(10_000).with_current_leader_epoch(-1).with_last_fetched_epoch(-1)
    };
    let topic = FetchTopic::default().with_topic(name("e"));
    let topic = topic.with_partitions(offsets.iter().map(partition).collect());
    let topics = if offsets.is_empty() { vec![] } else { vec![topic] };
    let request = FetchRequest::default().with_max_bytes(25_000).with_min_bytes(1).with_max_wait_ms(10);
    let request = request.with_session_id(session.0).with_session_epoch(session.1).with_topics(topics);
    send(stream, ApiKey::Fetch, version, &request);
    receive(stream, ApiKey::Fetch, version)
}

/// By partition: the base offsets of its batches.
fn bases(answer: &FetchResponse) -> Vec<(i32, Vec<i64>)> {
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let bases = |records: &Bytes| {
        let (mut at, mut bases) = (0, Vec::new());
        while let Some(start) = records.get(at..at + HEADER_BYTES) {
            let header = Header::read(start.try_into().expect("61 bytes"));
            let end = at + usize::try_from(header.total_bytes()).expect("a length");
            assert_eq!(header.crc, crc32c::crc32c(&records[at + 21..end]));
            bases.push(header.base_offset);
            at = end;
        }
        assert_eq!(at, records.len(), "only whole batches");
        bases
    };
    let records = |records: &Option<Bytes>| records.as_ref().map(bases).unwrap_or_default();
    partitions.map(|said| (said.partition_index, records(&said.records))).collect()
}

#[test]
fn kafkas_client_reads_a_topic_from_memory() {
    for codec in Codec::ALL {
        let stub = stub(&[&format!("e:2:endless:10x100:{}:1000", codec.name())]);
        let records = suite::tool().at(&stub.bootstrap()).dump("e").expect("read");
        assert_eq!(records.len(), 2000, "{codec:?}");
        assert!(records.iter().all(|record| record.value.as_ref().is_some_and(|value| value.len() == 92)));
        let counts = stub.counts();
        assert!(counts.fetched_records >= 2000 && counts.fault_count() == 0, "{counts}");
    }
}

#[test]
fn kafkas_client_reads_back_what_it_produced() {
    let stub = stub(&[]);
    let kafka = suite::tool().at(&stub.bootstrap());
    kafka.create_topic("made", 3).expect("created");
    let record = |n: i32| Rec::new("made", n % 3).key(format!("k{n}")).value(format!("v{n}"));
    let records: Vec<Rec> = (0..300).map(record).collect();
    kafka.produce_with(&[("compression.type", "zstd")], &records).expect("produced");
    let read = kafka.dump("made").expect("read");
    let values = |records: &[Rec], partition: i32| -> Vec<_> {
        let own = records.iter().filter(|record| record.partition == Some(partition));
        own.map(|record| (record.key.clone(), record.value.clone())).collect()
    };
    for partition in 0..3 {
        assert_eq!(values(&read, partition), values(&records, partition), "{partition}");
    }
    assert_eq!(kafka.end_offsets("made").expect("offsets").values().sum::<i64>(), 300);
    assert_eq!(stub.counts().fault_count(), 0, "{}", stub.counts());
}

#[test]
fn a_session_tells_only_news_and_serves_in_turn() {
    for version in [7, 12] {
        let stub = stub(&["e:3:endless:10x100:none:40"]);
        let mut stream = connect(&stub);
        let first = fetch(&mut stream, version, (0, 0), &[(0, 0), (1, 40), (2, 25)]);
        // Batches are of 1.1 kB; the fetch offset 25 lies in the batch 20 to 29; the end of 1 is reached.
        let expected = vec![(0, vec![0, 10, 20, 30]), (1, vec![]), (2, vec![20, 30])];
        assert_eq!(bases(&first), expected, "version {version}");
        let session = first.session_id;
        // Partition 0 moves on, 2 stays; 1 has no news. What was served comes behind what was not.
        let second = fetch(&mut stream, version, (session, 1), &[(0, 30)]);
        assert_eq!(bases(&second), [(0, vec![30]), (2, vec![20, 30])]);
        assert_eq!(fetch(&mut stream, version, (session, 1), &[]).error_code, 71);
        assert_eq!(fetch(&mut stream, version, (session + 9, 1), &[]).error_code, 70);
        stub.command("truncate e 1 30").expect("truncated");
        let third = fetch(&mut stream, version, (session, 2), &[]);
        let errors = third.responses.iter().flat_map(|topic| &topic.partitions);
        let errors: Vec<(i32, i16)> = errors
            .map(|said| (said.partition_index, said.error_code))
            .filter(|(_, code)| *code != 0)
            .collect();
        assert_eq!(errors, [(1, 1)]);
    }
}

#[test]
fn a_limit_leaves_out_what_does_not_fit_but_never_the_first_batch() {
    let stub = stub(&["e:3:endless:100x100:none"]);
    let mut stream = connect(&stub);
    // 11 kB batches against 10,000 bytes a partition.
    let answer = fetch(&mut stream, 11, (0, -1), &[(0, 0), (1, 0), (2, 0)]);
    assert_eq!(bases(&answer), [(0, vec![0]), (1, vec![]), (2, vec![])]);
}

#[test]
fn a_client_of_another_history_is_told_where_they_part() {
    let stub = stub(&["e:1:endless:10x100:none:100"]);
    stub.command("truncate e 0 50").expect("truncated");
    let wanted = FetchPartition::default().with_fetch_offset(80).with_partition_max_bytes(10_000);
    let wanted = wanted.with_current_leader_epoch(1).with_last_fetched_epoch(0);
    let topic = FetchTopic::default().with_topic(name("e")).with_partitions(vec![wanted]);
    let request =
        FetchRequest::default().with_max_bytes(10_000).with_session_epoch(-1).with_topics(vec![topic]);
    let mut stream = connect(&stub);
    send(&mut stream, ApiKey::Fetch, 12, &request);
    let answer: FetchResponse = receive(&mut stream, ApiKey::Fetch, 12);
    let diverging = &answer.responses[0].partitions[0].diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (0, 50));
}

#[test]
fn batches_are_judged_appended_and_counted() {
    let stub = stub(&["t:2:kept"]);
    let mut stream = connect(&stub);
    assert_eq!(produce_one(&mut stream, batch(0, 5)), (0, 0));
    assert_eq!(produce_one(&mut stream, batch(5, 5)), (0, 5));
    assert_eq!(produce_one(&mut stream, batch(5, 5)), (0, 5));
    assert_eq!(produce_one(&mut stream, batch(11, 1)), (45, -1));
    let counts = stub.counts();
    assert_eq!((counts.produced_records, counts.duplicates, counts.fault_count()), (10, 1, 0));
    assert_eq!(counts.refused.get(&45), Some(&1));
    stub.command("forget-producers t 0").expect("forgotten");
    assert_eq!(produce_one(&mut stream, batch(11, 1)), (0, 10));
}

#[test]
fn a_partition_listed_twice_loses_its_first_batch_as_at_a_broker() {
    let stub = stub(&["t:1:kept"]);
    let mut stream = connect(&stub);
    produce(&mut stream, &[(0, batch(0, 5)), (0, batch(100, 1))]);
    assert_eq!(produced(&mut stream), [(0, 0, 0)]);
    assert_eq!(stub.offsets("t", 0), Some((0, 1, 0)));
    assert_eq!(stub.counts().faults.get("a partition twice in one request"), Some(&1));
}

#[test]
fn what_no_client_sends_is_refused_and_counted() {
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = batch(0, 2).to_vec();
        change(&mut bytes);
        Bytes::from(bytes)
    };
    let two = [batch(0, 2), batch(2, 2)].concat();
    for (bytes, code, fault) in [
        (with(&|bytes| bytes[7] = 1), 87, "a base offset other than 0"),
        (with(&|bytes| bytes[16] = 1), 87, "a magic other than 2"),
        (with(&|bytes| bytes[22] = 0x20), 87, "a control batch"),
        (with(&|bytes| bytes[22] = 0x10), 53, "a transactional batch"),
        (with(&|bytes| bytes[26] = 7), 87, "an offset range other than the count"),
        (with(&|bytes| bytes[60] = 0), 87, "an empty batch"),
        (with(&|bytes| bytes[53] = 0xff), 87, "a negative sequence"),
        (with(&|bytes| bytes[70] ^= 1), 2, "a wrong CRC"),
        (with(&|bytes| bytes[11] += 1), 2, "a batch longer than its entry"),
        (Bytes::from(two), 87, "two batches for one partition"),
    ] {
        for kind in [Kind::KEPT, Kind::Dropped] {
            let topics = vec![TopicSpec::new("t", 1, kind)];
            let stub = Stub::start(Options { topics, ..Options::default() }).expect("a stub");
            assert_eq!(produce_one(&mut connect(&stub), bytes.clone()), (code, -1), "{fault}");
            assert_eq!(stub.counts().faults.get(fault), Some(&1), "{}", stub.counts());
            assert_eq!(stub.offsets("t", 0), Some((0, 0, 0)), "{fault}");
        }
    }
}

#[test]
fn an_error_is_injected_before_or_after_the_append() {
    let stub = stub(&["t:2:kept"]);
    let mut stream = connect(&stub);
    stub.command("inject produce t 0 error 7 after").expect("taken");
    stub.command("inject produce t 1 error 6").expect("taken");
    produce(&mut stream, &[(0, batch(0, 5)), (1, batch(0, 5))]);
    assert_eq!(produced(&mut stream), [(0, 7, -1), (1, 6, -1)]);
    let ends = [stub.offsets("t", 0), stub.offsets("t", 1)].map(|offsets| offsets.map(|(_, end, _)| end));
    assert_eq!(ends, [Some(5), Some(0)]);
    stub.command("inject produce shift 3").expect("taken");
    stub.inject(Injection { api: None, partition: None, action: Action::Throttle(250), times: 1 });
    produce(&mut stream, &[(1, batch(0, 5))]);
    let answer: ProduceResponse = receive(&mut stream, ApiKey::Produce, PRODUCE);
    assert_eq!(answer.responses[0].partition_responses[0].base_offset, 3);
    assert_eq!(stub.injections_waiting(), 1, "one request meets one injection of each target");
}

#[test]
fn a_connection_ends_before_or_after_the_append() {
    for (command, end) in [("drop", 0), ("drop after", 5), ("cut 6", 5)] {
        let stub = stub(&["t:1:kept"]);
        let mut stream = connect(&stub);
        stub.command(&format!("inject produce t 0 {command}")).expect("taken");
        produce(&mut stream, &[(0, batch(0, 5))]);
        let mut got = Vec::new();
        let _reset_or_end = stream.read_to_end(&mut got);
        assert_eq!(got.len(), if command.starts_with("cut") { 6 } else { 0 }, "{command}");
        assert_eq!(stub.offsets("t", 0), Some((0, end, 0)), "{command}");
    }
}

#[test]
fn answers_are_spoilt_on_demand() {
    let stub = stub(&["t:1:kept"]);
    let ask = |command: &str| {
        stub.command(command).expect("taken");
        let mut stream = connect(&stub);
        let partition = ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(-1);
        let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_topics(vec![topic]);
        send(&mut stream, ApiKey::ListOffsets, 5, &request);
        stream
    };
    let error = |mut stream: TcpStream| {
        let answer: ListOffsetsResponse = receive(&mut stream, ApiKey::ListOffsets, 5);
        answer.topics[0].partitions[0].error_code
    };
    assert_eq!(error(ask("inject list-offsets t 0 error 78")), 78);
    assert_eq!(error(ask("inject list-offsets error 6 x2")), 6);
    assert_eq!(error(ask("clear")), 0);
    let mut length = [0; 4];
    ask("inject any length -5").read_exact(&mut length).expect("a length");
    assert_eq!(i32::from_be_bytes(length), -5);
    let whole = |mut stream: TcpStream| {
        let mut bytes = [0; 49];
        stream.read_exact(&mut bytes).map(|()| bytes.to_vec()).ok()
    };
    let sound = whole(ask("clear"));
    assert!(sound.is_some());
    assert_ne!(whole(ask("inject list-offsets mutate 1")), sound);
    assert_eq!(stub.injections_waiting(), 0);
}

#[test]
fn a_topic_made_anew_is_empty_and_has_another_id() {
    let stub = stub(&["t:1:kept"]);
    assert_eq!(produce_one(&mut connect(&stub), batch(0, 5)), (0, 0));
    stub.command("foreign t 0 2").expect("written");
    assert_eq!(stub.offsets("t", 0), Some((0, 7, 0)));
    stub.command("delete-before t 0 5").expect("deleted");
    assert_eq!(stub.command("offsets t 0"), Ok("5 7 0".to_owned()));
    stub.command("recreate t").expect("made");
    assert_eq!(stub.offsets("t", 0), Some((0, 0, 0)));
}

#[test]
fn wrong_commands_and_topics_are_explained() {
    let stub = stub(&["t:1:kept"]);
    for (line, wrong) in [
        ("", "\"\" is no command"),
        ("inject nothing error 1", "nothing is no API; it is any, produce, fetch"),
        ("inject produce error", "\"error\" is no action"),
        ("inject produce t 0 error x", "x is no number that fits here"),
        ("offsets t 1", "no partition 1"),
        ("offsets u 0", "no topic u"),
        ("create x:1:heap", "x:1:heap is no topic; it is NAME:PARTITIONS:endless"),
        ("create x:1:endless:0x10:none", "0x10:none: at least 1 record"),
    ] {
        let said = stub.command(line).expect_err("it is wrong");
        assert!(said.starts_with(wrong), "{line}: {said}");
    }
    assert!(Api::ALL.iter().all(|api| Api::of(api.key() as i16) == Some(*api)));
}

#[test]
fn an_empty_log_begins_where_it_is_told() {
    let stub = stub(&["t:1:kept"]);
    stub.command("advance t 0 100").expect("it is empty");
    assert_eq!(stub.offsets("t", 0), Some((100, 100, 0)));
    stub.command("foreign t 0 3").expect("appended");
    assert_eq!(stub.offsets("t", 0), Some((100, 103, 0)));
    assert_eq!(stub.command("advance t 0 200"), Err("it is not empty, or ends behind that".to_owned()));
    assert_eq!(stub.command("producers t 0"), Ok(String::new()));
}

#[test]
fn a_batch_is_flipped_where_it_is_told() {
    let stub = stub(&["e:1:endless:2x100:none:8"]);
    let first = |answer: &FetchResponse| {
        let records = answer.responses[0].partitions[0].records.clone().unwrap_or_default();
        records.first_chunk::<HEADER_BYTES>().map(Header::read).expect("a batch")
    };
    let mut stream = connect(&stub);
    let sound = first(&fetch(&mut stream, 11, (0, -1), &[(0, 0)]));
    stub.command("inject fetch flip 22 32").expect("injected");
    let flipped = first(&fetch(&mut stream, 11, (0, -1), &[(0, 0)]));
    assert!(!sound.is_control() && flipped.is_control());
    assert_eq!(flipped, Header { attributes: flipped.attributes, ..sound });
    assert_eq!((stub.injections_met(), stub.injections_waiting()), (1, 0));
}
