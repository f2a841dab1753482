//! The records of a batch, once decompressed (Kafka's `DefaultRecord`): length, attributes, timestamp delta, offset
//! delta, key, value, headers; lengths and deltas are varints.

use crate::batch::Batch;
use crate::error::{Error, Fault};
use crate::varint;

/// The records of a batch, in order: as many as its header counts, and no byte more. After an error there is no more.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    base_offset: i64,
    index: i32,
    count: i32,
    failed: bool,
}

/// One record as a whole, its fields not yet looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Unused by Kafka.
    pub attributes: u8,
    /// Against the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Against the batch's base offset.
    pub offset_delta: i32,
    /// Key, value and headers as they are.
    pub body: &'a [u8],
    base_offset: i64,
    index: i32,
    /// Where the body begins.
    at: usize,
}

/// One record's fields. Null is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordView<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// A record's headers, in order: each key as its raw bytes, each value null or not. They were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Records<'a> {
    /// Over `plain`, the decompressed records of `batch` (its [`Batch::records`] when its codec is none).
    #[must_use]
    pub fn new(batch: &Batch<'_>, plain: &'a [u8]) -> Self {
        Self::of(plain, batch.base_offset(), batch.count())
    }

    pub(crate) fn of(bytes: &'a [u8], base_offset: i64, count: i32) -> Self {
        Self { bytes, at: 0, base_offset, index: 0, count, failed: false }
    }

    fn step(&mut self) -> Result<Record<'a>, Fault> {
        if self.at >= self.bytes.len() {
            return Err(Fault::Missing);
        }
        let length = varint::int(self.bytes, &mut self.at)?;
        let end = end_of(self.bytes, self.at, length)?;
        let whole = &self.bytes[..end];
        let attributes = *whole.get(self.at).ok_or(Fault::CutVarint)?;
        let mut at = self.at + 1;
        let timestamp_delta = varint::long(whole, &mut at)?;
        let offset_delta = varint::int(whole, &mut at)?;
        let (base_offset, index) = (self.base_offset, self.index);
        let body = &whole[at..];
        self.at = end;
        Ok(Record { attributes, timestamp_delta, offset_delta, body, base_offset, index, at })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.bytes.len() - self.at;
        if self.failed || (self.index >= self.count && left == 0) {
            return None;
        }
        let found = if self.index < self.count { self.step() } else { Err(Fault::Leftover(left)) };
        let found = found.map_err(|fault| {
            self.failed = true;
            Error::Record { base_offset: self.base_offset, index: self.index, at: self.at, fault }
        });
        self.index += 1;
        Some(found)
    }
}

impl<'a> Record<'a> {
    /// Whether its key is null; the rest of the body may still be anything.
    ///
    /// # Errors
    /// [`Error::Record`]: there is no length of a key.
    pub fn has_null_key(&self) -> Result<bool, Error> {
        let key = varint::int(self.body, &mut 0).map_err(|fault| self.error(0, fault))?;
        Ok(key < 0)
    }

    /// Its fields.
    ///
    /// # Errors
    /// [`Error::Record`]: a length is wrong, or bytes are left over.
    pub fn view(&self) -> Result<RecordView<'a>, Error> {
        let mut at = 0;
        self.fields(&mut at).map_err(|fault| self.error(at, fault))
    }

    fn fields(&self, at: &mut usize) -> Result<RecordView<'a>, Fault> {
        let key = nullable(self.body, at)?;
        let value = nullable(self.body, at)?;
        let given = varint::int(self.body, at)?;
        let left = self.body.len() - *at;
        // A header takes two bytes at least.
        let count = usize::try_from(given)
            .ok()
            .filter(|count| *count <= left / 2)
            .ok_or(Fault::HeaderCount { given: given.into(), left })?;
        let headers = Headers { bytes: self.body, at: *at, left: count };
        for _ in 0..count {
            let length = varint::int(self.body, at)?;
            *at = end_of(self.body, *at, length)?;
            nullable(self.body, at)?;
        }
        match self.body.len() - *at {
            0 => {}
            left => return Err(Fault::Leftover(left)),
        }
        let Self { timestamp_delta, offset_delta, .. } = *self;
        Ok(RecordView { timestamp_delta, offset_delta, key, value, headers })
    }

    fn error(&self, at: usize, fault: Fault) -> Error {
        Error::Record { base_offset: self.base_offset, index: self.index, at: self.at + at, fault }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let key = nullable(self.bytes, &mut self.at).ok()??;
        let value = nullable(self.bytes, &mut self.at).ok()?;
        Some((key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// A length and so many bytes; a negative length is null.
fn nullable<'a>(bytes: &'a [u8], at: &mut usize) -> Result<Option<&'a [u8]>, Fault> {
    let length = varint::int(bytes, at)?;
    if length < 0 {
        return Ok(None);
    }
    let from = *at;
    *at = end_of(bytes, from, length)?;
    Ok(Some(&bytes[from..*at]))
}

fn end_of(bytes: &[u8], from: usize, length: i32) -> Result<usize, Fault> {
    let left = bytes.len() - from;
    let given = usize::try_from(length).ok().filter(|given| *given <= left);
    given.map(|given| from + given).ok_or(Fault::RecordLength { given: length.into(), left })
}
