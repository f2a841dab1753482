//! Walks the body of a Produce answer.

use bytes::Bytes;

use super::{ProduceAnswer, ProducedPartition, Sent};
use crate::code::Code;
use crate::error::Error;
use crate::fetch::{duration_of, read_endpoints, read_leader};
use crate::primitive::Reader;
use crate::topic::PartitionKey;
use crate::versions::Api;

const TOPIC_BYTES_MIN: usize = 6;
const PARTITION_BYTES_MIN: usize = 14;
/// Kept of one batch: the first ones tell what is wrong.
const RECORD_ERRORS_MAX: usize = 100;

/// Each partition sent must be answered once.
///
/// # Errors
/// [`Error::Malformed`]
pub fn walk(body: &Bytes, version: i16, sent: &Sent) -> Result<ProduceAnswer, Error> {
    let mut reader = Reader::new(body, "a Produce answer", Api::Produce.is_flexible(version));
    let partitions = sent.keys.len();
    let mut answered = vec![false; partitions];
    let mut answer = ProduceAnswer { partitions: Vec::with_capacity(partitions), ..ProduceAnswer::default() };
    for _ in 0..reader.count(TOPIC_BYTES_MIN)? {
        let topic = sent.topics.read(&mut reader)?;
        let count = reader.count(PARTITION_BYTES_MIN)?;
        if answer.partitions.len().saturating_add(count) > partitions {
            return Err(reader.error(format!("more than the {partitions} partitions sent")));
        }
        for _ in 0..count {
            let key = PartitionKey { topic: topic.clone(), partition: reader.i32()? };
            let at = sent.keys.binary_search(&key).ok().and_then(|at| answered.get_mut(at));
            let at = at.ok_or_else(|| reader.error(format!("{key} was not sent")))?;
            if std::mem::replace(at, true) {
                return Err(reader.error(format!("{key} is answered twice")));
            }
            answer.partitions.push(read_partition(&mut reader, version, key)?);
        }
        reader.skip_tagged()?;
    }
    answer.throttle = duration_of(reader.i32()?);
    reader.tagged(|tag, reader| {
        if tag == 0 {
            answer.endpoints = read_endpoints(reader)?;
        }
        Ok(tag == 0)
    })?;
    if reader.remaining() > 0 {
        return Err(reader.error(format!("{} bytes too many", reader.remaining())));
    }
    if answer.partitions.len() < partitions {
        let answered = answer.partitions.len();
        return Err(reader.error(format!("{answered} of the {partitions} partitions sent are answered")));
    }
    Ok(answer)
}

fn read_partition(
    reader: &mut Reader<'_>,
    version: i16,
    key: PartitionKey,
) -> Result<ProducedPartition, Error> {
    let code = Code(reader.i16()?);
    let base_offset = reader.i64()?;
    let log_append_time = reader.i64()?;
    let log_start_offset = if version >= 5 { reader.i64()? } else { -1 };
    let mut partition = ProducedPartition {
        key,
        code,
        base_offset,
        log_append_time,
        log_start_offset,
        record_errors: Vec::new(),
        error_message: None,
        current_leader: None,
    };
    if version >= 8 {
        for _ in 0..reader.count(5)? {
            let index = reader.i32()?;
            let message = reader.nullable_string()?.map(str::to_owned);
            reader.skip_tagged()?;
            if partition.record_errors.len() < RECORD_ERRORS_MAX {
                partition.record_errors.push((index, message));
            }
        }
        partition.error_message = reader.nullable_string()?.map(str::to_owned);
    }
    reader.tagged(|tag, reader| {
        if tag == 0 {
            partition.current_leader = read_leader(reader)?;
        }
        Ok(tag == 0)
    })?;
    Ok(partition)
}
