//! Records that are right by the protocol, and that no client of Kafka's would write: without a time, older than the
//! batch's first, with header names that are no text. Written by hand, so a mistake of Copyist's cannot hide.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::wait::wait_until;

const PATIENCE: Duration = Duration::from_secs(30);
/// The last without tagged fields.
const PRODUCE: i16 = 8;
const CRC_FROM: usize = 21;

/// A record, to the byte.
#[derive(Clone, Debug, Default)]
pub struct OddRecord {
    /// −1: none.
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Appends one batch without a producer id; its base timestamp is that of its first record.
///
/// # Errors
/// The broker is not there, or refuses it.
pub fn produce(bootstrap: &str, topic: &str, partition: i32, records: &[OddRecord]) -> Result<()> {
    wait_until("a leader", PATIENCE, Progress::Silent, || {
        match produce_once(bootstrap, topic, partition, records).map_err(Error::io("produce a batch"))? {
            0 => Ok(Some(())),
            // The leader does not know yet that it is one.
            3 | 5 | 6 => Ok(None),
            code => Err(Error::Invalid(format!("a batch is refused with error {code}"))),
        }
    })
}

fn produce_once(bootstrap: &str, topic: &str, partition: i32, records: &[OddRecord]) -> io::Result<i16> {
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    let data =
        PartitionProduceData::default().with_index(partition).with_records(Some(batch(records)?.into()));
    let topic = TopicProduceData::default().with_name(name).with_partition_data(vec![data]);
    let request =
        ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![topic]);
    let answer: ProduceResponse = ask(bootstrap, ApiKey::Produce, PRODUCE, &request)?;
    let said = answer.responses.iter().flat_map(|topic| &topic.partition_responses).next();
    said.map(|said| said.error_code).ok_or_else(|| io::Error::other("an answer without a partition"))
}

fn ask<T: Decodable>(bootstrap: &str, key: ApiKey, version: i16, request: &impl Encodable) -> io::Result<T> {
    let mut stream = TcpStream::connect(bootstrap)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let header = RequestHeader::default().with_request_api_key(key as i16).with_request_api_version(version);
    let mut frame = BytesMut::new();
    header.encode(&mut frame, key.request_header_version(version)).map_err(io::Error::other)?;
    request.encode(&mut frame, version).map_err(io::Error::other)?;
    stream.write_all(&i32::try_from(frame.len()).map_err(io::Error::other)?.to_be_bytes())?;
    stream.write_all(&frame)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)?];
    stream.read_exact(&mut answer)?;
    let mut answer = Bytes::from(answer);
    ResponseHeader::decode(&mut answer, key.response_header_version(version)).map_err(io::Error::other)?;
    T::decode(&mut answer, version).map_err(io::Error::other)
}

fn batch(records: &[OddRecord]) -> io::Result<Vec<u8>> {
    let base = records.first().map_or(-1, |record| record.timestamp);
    let newest = records.iter().map(|record| record.timestamp).max().unwrap_or(-1);
    let mut payload = Vec::new();
    for (delta, record) in (0..).zip(records) {
        put_record(&mut payload, record, record.timestamp - base, delta);
    }
    let count = i32::try_from(records.len()).map_err(io::Error::other)?;
    let mut batch = Vec::new();
    batch.extend(0i64.to_be_bytes());
    batch.extend(i32::try_from(49 + payload.len()).map_err(io::Error::other)?.to_be_bytes());
    batch.extend((-1i32).to_be_bytes());
    batch.push(2);
    batch.extend([0; 4]);
    batch.extend(0i16.to_be_bytes());
    batch.extend((count - 1).to_be_bytes());
    batch.extend(base.to_be_bytes());
    batch.extend(newest.to_be_bytes());
    batch.extend((-1i64).to_be_bytes());
    batch.extend((-1i16).to_be_bytes());
    batch.extend((-1i32).to_be_bytes());
    batch.extend(count.to_be_bytes());
    batch.extend(payload);
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Ok(batch)
}

fn put_record(to: &mut Vec<u8>, record: &OddRecord, timestamp_delta: i64, offset_delta: i64) {
    let mut body = vec![0];
    put_varint(&mut body, timestamp_delta);
    put_varint(&mut body, offset_delta);
    put_bytes(&mut body, record.key.as_deref());
    put_bytes(&mut body, record.value.as_deref());
    put_varint(&mut body, length_of(record.headers.len()));
    for (name, value) in &record.headers {
        put_bytes(&mut body, Some(name));
        put_bytes(&mut body, value.as_deref());
    }
    put_varint(to, length_of(body.len()));
    to.extend(body);
}

fn put_bytes(to: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varint(to, bytes.map_or(-1, |bytes| length_of(bytes.len())));
    to.extend(bytes.unwrap_or_default());
}

fn length_of(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// Zigzag, as in protocol buffers.
fn put_varint(to: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        to.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    to.push(rest as u8);
}
