//! The bytes between us and the Java side; `tests/java/Wire.java` describes them.

use std::io::{self, Read, Write};

use serde_json::Value;

use crate::record::{Rec, TimestampType};

/// No record and no answer is larger; a larger length means that the two sides do not agree.
const LARGEST: usize = 1 << 30;

/// What the Java side sends.
#[derive(Debug)]
pub(crate) enum Frame {
    Json(Value),
    Record(Rec),
}

pub(crate) const COMMIT: u8 = b'C';
pub(crate) const ABORT: u8 = b'A';
pub(crate) const END: u8 = b'E';
const JSON: u8 = b'J';
const RECORD: u8 = b'R';

pub(crate) fn write_json(to: &mut impl Write, json: &Value) -> io::Result<()> {
    to.write_all(&[JSON])?;
    write_bytes(to, Some(json.to_string().as_bytes()))
}

pub(crate) fn write_record(to: &mut impl Write, record: &Rec) -> io::Result<()> {
    to.write_all(&[RECORD])?;
    write_bytes(to, Some(record.topic.as_bytes()))?;
    to.write_all(&record.partition.unwrap_or(-1).to_be_bytes())?;
    to.write_all(&record.offset.to_be_bytes())?;
    to.write_all(&record.timestamp.unwrap_or(-1).to_be_bytes())?;
    to.write_all(&[u8::from(record.timestamp_type == TimestampType::LogAppendTime)])?;
    write_bytes(to, record.key.as_deref())?;
    write_bytes(to, record.value.as_deref())?;
    to.write_all(&length_of(record.headers.len())?.to_be_bytes())?;
    for (name, value) in &record.headers {
        write_bytes(to, Some(name.as_bytes()))?;
        write_bytes(to, value.as_deref())?;
    }
    Ok(())
}

pub(crate) fn read_frame(from: &mut impl Read) -> io::Result<Frame> {
    match read_array::<1>(from)? {
        [JSON] => Ok(Frame::Json(serde_json::from_slice(&read_some(from)?)?)),
        [RECORD] => read_record(from).map(Frame::Record),
        [other] => Err(io::Error::other(format!("a frame of unknown kind {other}"))),
    }
}

fn read_record(from: &mut impl Read) -> io::Result<Rec> {
    let topic = read_text(from)?;
    let partition = Some(i32::from_be_bytes(read_array(from)?));
    let offset = i64::from_be_bytes(read_array(from)?);
    let timestamp = Some(i64::from_be_bytes(read_array(from)?));
    let [appended] = read_array(from)?;
    let timestamp_type = if appended == 1 { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
    let (key, value) = (read_bytes(from)?, read_bytes(from)?);
    let count = i32::from_be_bytes(read_array(from)?);
    let headers = (0..count).map(|_| Ok((read_text(from)?, read_bytes(from)?))).collect::<io::Result<_>>()?;
    Ok(Rec { topic, partition, offset, timestamp, timestamp_type, key, value, headers })
}

fn write_bytes(to: &mut impl Write, bytes: Option<&[u8]>) -> io::Result<()> {
    let Some(bytes) = bytes else { return to.write_all(&(-1_i32).to_be_bytes()) };
    to.write_all(&length_of(bytes.len())?.to_be_bytes())?;
    to.write_all(bytes)
}

fn length_of(length: usize) -> io::Result<i32> {
    i32::try_from(length).map_err(io::Error::other)
}

fn read_bytes(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let Ok(length) = usize::try_from(i32::from_be_bytes(read_array(from)?)) else { return Ok(None) };
    if length > LARGEST {
        return Err(io::Error::other(format!("a frame of {length} bytes")));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

fn read_some(from: &mut impl Read) -> io::Result<Vec<u8>> {
    read_bytes(from)?.ok_or_else(|| io::Error::other("null where bytes belong"))
}

fn read_text(from: &mut impl Read) -> io::Result<String> {
    String::from_utf8(read_some(from)?).map_err(io::Error::other)
}

fn read_array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}
