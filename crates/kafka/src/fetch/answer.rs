//! Walks the body of a Fetch answer.

use std::time::Duration;

use bytes::Bytes;

use super::{EpochEnd, FetchAnswer, FetchedPartition};
use crate::code::Code;
use crate::error::Error;
use crate::primitive::Reader;
use crate::topic::{BrokerId, Endpoint, Leader, PartitionKey, Topics};
use crate::versions::Api;

/// The shortest that a topic or a partition can be in any version.
const TOPIC_BYTES_MIN: usize = 6;
const PARTITION_BYTES_MIN: usize = 24;
/// Room made ahead; more comes as it is needed.
const RESERVED_MAX: usize = 256;

/// The session's id and the answer. `topics` are those asked for, `partitions_max` is how many partitions were.
///
/// # Errors
/// [`Error::Malformed`]
pub fn walk(
    body: &Bytes,
    version: i16,
    topics: &Topics,
    partitions_max: usize,
) -> Result<(i32, FetchAnswer), Error> {
    let mut reader = Reader::new(body, "a Fetch answer", Api::Fetch.is_flexible(version));
    let throttle = duration_of(reader.i32()?);
    let (code, id) = if version >= 7 { (Code(reader.i16()?), reader.i32()?) } else { (Code::NONE, 0) };
    let mut answer = FetchAnswer { throttle, code, ..FetchAnswer::default() };
    for _ in 0..reader.count(TOPIC_BYTES_MIN)? {
        let topic = topics.read(&mut reader)?;
        let count = reader.count(PARTITION_BYTES_MIN)?;
        if answer.partitions.len().saturating_add(count) > partitions_max {
            return Err(reader.error(format!("more than the {partitions_max} partitions asked for")));
        }
        answer.partitions.reserve(count.min(RESERVED_MAX));
        for _ in 0..count {
            let key = PartitionKey { topic: topic.clone(), partition: reader.i32()? };
            answer.partitions.push(read_partition(&mut reader, version, key)?);
        }
        reader.skip_tagged()?;
    }
    reader.tagged(|tag, reader| {
        if tag == 0 {
            answer.endpoints = read_endpoints(reader)?;
        }
        Ok(tag == 0)
    })?;
    if reader.remaining() > 0 {
        return Err(reader.error(format!("{} bytes too many", reader.remaining())));
    }
    Ok((id, answer))
}

fn read_partition(
    reader: &mut Reader<'_>,
    version: i16,
    key: PartitionKey,
) -> Result<FetchedPartition, Error> {
    let code = Code(reader.i16()?);
    let high_watermark = reader.i64()?;
    let last_stable_offset = reader.i64()?;
    let log_start_offset = if version >= 5 { reader.i64()? } else { -1 };
    let aborted = read_aborted(reader)?;
    let replica = if version >= 11 { reader.i32()? } else { -1 };
    let records = reader.bytes()?;
    let mut partition = FetchedPartition {
        key,
        code,
        high_watermark,
        last_stable_offset,
        log_start_offset,
        aborted,
        diverging: None,
        current_leader: None,
        preferred_read_replica: (replica >= 0).then_some(replica),
        records,
    };
    reader.tagged(|tag, reader| {
        match tag {
            0 => partition.diverging = read_diverging(reader)?,
            1 => partition.current_leader = read_leader(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(partition)
}

fn read_aborted(reader: &mut Reader<'_>) -> Result<Vec<(i64, i64)>, Error> {
    let count = reader.count(16)?;
    let mut aborted = Vec::with_capacity(count);
    for _ in 0..count {
        aborted.push((reader.i64()?, reader.i64()?));
        reader.skip_tagged()?;
    }
    Ok(aborted)
}

/// A structure of -1s is as good as none.
fn read_diverging(reader: &mut Reader<'_>) -> Result<Option<EpochEnd>, Error> {
    let end = EpochEnd { epoch: reader.i32()?, end_offset: reader.i64()? };
    reader.skip_tagged()?;
    Ok((end.end_offset >= 0).then_some(end))
}

pub(crate) fn read_leader(reader: &mut Reader<'_>) -> Result<Option<Leader>, Error> {
    let leader = Leader { broker: reader.i32()?, epoch: reader.i32()? };
    reader.skip_tagged()?;
    Ok((leader.broker >= 0).then_some(leader))
}

/// Node endpoints (KIP-951).
pub(crate) fn read_endpoints(reader: &mut Reader<'_>) -> Result<Vec<(BrokerId, Endpoint)>, Error> {
    let count = reader.count(11)?;
    let mut endpoints = Vec::with_capacity(count.min(RESERVED_MAX));
    for _ in 0..count {
        let broker = reader.i32()?;
        let host = reader.string()?.to_owned();
        let port = reader.i32()?;
        let port = u16::try_from(port).map_err(|_| reader.error(format!("port {port}")))?;
        reader.nullable_string()?;
        reader.skip_tagged()?;
        endpoints.push((broker, Endpoint { host, port }));
    }
    Ok(endpoints)
}

pub(crate) fn duration_of(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
