//! Reads what brokers answer to questions. Pure.

use bytes::Bytes;

use super::{OffsetFound, ProducerState};
use crate::code::Code;
use crate::error::Error;
use crate::fetch::EpochEnd;
use crate::primitive::Reader;
use crate::topic::PartitionKey;
use crate::versions::Api;

/// Of DescribeProducers.
///
/// # Errors
/// [`Error::Malformed`], or [`Error::Refused`] with the broker's code.
pub fn producer_state(
    body: &Bytes,
    key: &PartitionKey,
    producer_id: i64,
) -> Result<Option<ProducerState>, Error> {
    let mut reader = Reader::new(body, "a DescribeProducers answer", true);
    let mut found = None;
    let (code, text) = of_partition(&mut reader, key, |reader| {
        let partition = reader.i32()?;
        let code = Code(reader.i16()?);
        let text = reader.nullable_string()?.map(str::to_owned);
        for _ in 0..reader.count(36)? {
            let id = reader.i64()?;
            let state = ProducerState {
                epoch: reader.i32()?,
                last_sequence: reader.i32()?,
                last_timestamp: reader.i64()?,
            };
            // The coordinator's epoch, and where an open transaction begins.
            reader.i32()?;
            reader.i64()?;
            reader.skip_tagged()?;
            if id == producer_id && partition == key.partition {
                found = Some(state);
            }
        }
        Ok((partition, (code, text)))
    })?;
    code.check().map_err(|code| Error::refused(format!("the producers of {key}"), code, text))?;
    Ok(found)
}

/// Of OffsetForLeaderEpoch.
///
/// # Errors
/// [`Error::Malformed`], or [`Error::Refused`] with the broker's code.
pub fn epoch_end(body: &Bytes, version: i16, key: &PartitionKey) -> Result<EpochEnd, Error> {
    let flexible = Api::OffsetForLeaderEpoch.is_flexible(version);
    let mut reader = Reader::new(body, "an OffsetForLeaderEpoch answer", flexible);
    let (code, end) = of_partition(&mut reader, key, |reader| {
        let code = Code(reader.i16()?);
        let partition = reader.i32()?;
        let end = EpochEnd { epoch: reader.i32()?, end_offset: reader.i64()? };
        Ok((partition, (code, end)))
    })?;
    code.check().map_err(|code| Error::refused(format!("the end of {key}"), code, None))?;
    Ok(end)
}

/// Of ListOffsets.
///
/// # Errors
/// [`Error::Malformed`], or [`Error::Refused`] with the broker's code.
pub fn offset(body: &Bytes, version: i16, key: &PartitionKey) -> Result<Option<OffsetFound>, Error> {
    let mut reader = Reader::new(body, "a ListOffsets answer", Api::ListOffsets.is_flexible(version));
    let (code, found) = of_partition(&mut reader, key, |reader| {
        let partition = reader.i32()?;
        let code = Code(reader.i16()?);
        reader.i64()?;
        let found = OffsetFound { offset: reader.i64()?, leader_epoch: reader.i32()? };
        Ok((partition, (code, found)))
    })?;
    code.check().map_err(|code| Error::refused(format!("the offsets of {key}"), code, None))?;
    Ok((found.offset >= 0).then_some(found))
}

/// Of InitProducerId.
///
/// # Errors
/// [`Error::Malformed`], or [`Error::Refused`] with the broker's code.
pub fn producer_id(body: &Bytes, version: i16) -> Result<(i64, i16), Error> {
    let flexible = Api::InitProducerId.is_flexible(version);
    let mut reader = Reader::new(body, "an InitProducerId answer", flexible);
    reader.i32()?;
    let code = Code(reader.i16()?);
    code.check().map_err(|code| Error::refused("a producer id", code, None))?;
    Ok((reader.i64()?, reader.i16()?))
}

/// Reads `throttle, [topic, [partition]]` and keeps what `read` says of this partition. `read` leaves the partition's
/// tagged fields.
fn of_partition<T>(
    reader: &mut Reader<'_>,
    key: &PartitionKey,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<(i32, T), Error>,
) -> Result<T, Error> {
    let mut found = None;
    reader.i32()?;
    for _ in 0..reader.count(6)? {
        let is_ours = reader.string()? == key.topic.name().as_str();
        for _ in 0..reader.count(6)? {
            let (partition, value) = read(reader)?;
            reader.skip_tagged()?;
            if is_ours && partition == key.partition {
                found = Some(value);
            }
        }
        reader.skip_tagged()?;
    }
    reader.skip_tagged()?;
    found.ok_or_else(|| reader.error(format!("{key} is missing")))
}

#[cfg(test)]
mod tests;
