//! The protocol's primitive types, read from and written to bytes by hand on the hot path. Pure; never panics.

use bytes::{BufMut, Bytes, BytesMut};
use copyist_model::TopicId;

use crate::error::Error;

/// Reads a frame from front to back. In a flexible frame lengths are varints plus one, and structures end with
/// tagged fields.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    frame: &'a Bytes,
    at: usize,
    what: &'static str,
    flexible: bool,
}

impl<'a> Reader<'a> {
    /// `what` is how errors call the frame.
    #[must_use]
    pub fn new(frame: &'a Bytes, what: &'static str, flexible: bool) -> Self {
        Self { frame, at: 0, what, flexible }
    }

    #[must_use]
    pub fn remaining(&self) -> usize {
        self.frame.len() - self.at
    }

    /// An error at the place reached.
    #[must_use]
    pub fn error(&self, why: impl Into<String>) -> Error {
        Error::Malformed { what: self.what, at: self.at, why: why.into() }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.frame.len());
        let Some(end) = end else {
            return Err(self.error(format!("{length} bytes announced, {} are left", self.remaining())));
        };
        let taken = &self.frame[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| self.error("cut short"))
    }

    /// # Errors
    /// [`Error::Malformed`], as of all that reads.
    pub fn i8(&mut self) -> Result<i8, Error> {
        self.array().map(i8::from_be_bytes)
    }

    /// # Errors
    /// [`Error::Malformed`]
    pub fn bool(&mut self) -> Result<bool, Error> {
        self.i8().map(|byte| byte != 0)
    }

    /// # Errors
    /// [`Error::Malformed`]
    pub fn i16(&mut self) -> Result<i16, Error> {
        self.array().map(i16::from_be_bytes)
    }

    /// # Errors
    /// [`Error::Malformed`]
    pub fn i32(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_be_bytes)
    }

    /// # Errors
    /// [`Error::Malformed`]
    pub fn i64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_be_bytes)
    }

    /// # Errors
    /// [`Error::Malformed`]
    pub fn topic_id(&mut self) -> Result<TopicId, Error> {
        self.array().map(|bytes| TopicId(u128::from_be_bytes(bytes)))
    }

    /// # Errors
    /// [`Error::Malformed`], also for a varint of more than five bytes.
    pub fn unsigned_varint(&mut self) -> Result<u32, Error> {
        let mut value: u32 = 0;
        for shift in [0u32, 7, 14, 21, 28] {
            let [byte] = self.array::<1>()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.error("a varint that does not end within 32 bits"))
    }

    /// A length; `None` is null. `wide`: four bytes where the frame is not flexible, else two.
    fn length(&mut self, wide: bool) -> Result<Option<usize>, Error> {
        let length = if self.flexible {
            i64::from(self.unsigned_varint()?) - 1
        } else if wide {
            self.i32()?.into()
        } else {
            self.i16()?.into()
        };
        match length {
            -1 => Ok(None),
            length => {
                usize::try_from(length).map(Some).map_err(|_| self.error(format!("a length of {length}")))
            }
        }
    }

    /// The number of elements that follow, each of at least `element_bytes_min` bytes: never more than the frame can
    /// hold, so that it may be reserved for. Null counts as none.
    ///
    /// # Errors
    /// [`Error::Malformed`]
    pub fn count(&mut self, element_bytes_min: usize) -> Result<usize, Error> {
        let count = self.length(true)?.unwrap_or(0);
        if count.checked_mul(element_bytes_min.max(1)).is_none_or(|bytes| bytes > self.remaining()) {
            let left = self.remaining();
            return Err(self.error(format!("{count} elements announced, {left} bytes are left")));
        }
        Ok(count)
    }

    /// # Errors
    /// [`Error::Malformed`], also for a null or what is not UTF-8.
    pub fn string(&mut self) -> Result<&'a str, Error> {
        self.nullable_string()?.ok_or_else(|| self.error("null where a string belongs"))
    }

    /// # Errors
    /// [`Error::Malformed`], also for what is not UTF-8.
    pub fn nullable_string(&mut self) -> Result<Option<&'a str>, Error> {
        let Some(length) = self.length(false)? else { return Ok(None) };
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| self.error("a string that is not UTF-8"))
    }

    /// A slice of the frame, without a copy. Null is empty.
    ///
    /// # Errors
    /// [`Error::Malformed`]
    pub fn bytes(&mut self) -> Result<Bytes, Error> {
        let length = self.length(true)?.unwrap_or(0);
        let from = self.at;
        self.take(length)?;
        Ok(self.frame.slice(from..self.at))
    }

    /// The tagged fields at the end of a structure: `field` gets each tag with a reader of its value, and says whether
    /// it knows it; a known one must be read whole. Nothing where the frame is not flexible.
    ///
    /// # Errors
    /// [`Error::Malformed`]
    pub fn tagged(
        &mut self,
        mut field: impl FnMut(u32, &mut Self) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            let length = usize::try_from(self.unsigned_varint()?).unwrap_or(usize::MAX);
            let from = self.at;
            self.take(length)?;
            let end = self.at;
            self.at = from;
            if field(tag, self)? && self.at != end {
                return Err(self.error(format!("tagged field {tag} should end at {end}")));
            }
            self.at = end;
        }
        Ok(())
    }

    /// # Errors
    /// [`Error::Malformed`]
    pub fn skip_tagged(&mut self) -> Result<(), Error> {
        self.tagged(|_, _| Ok(false))
    }
}

/// Appends a request's fields to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    pub into: &'a mut BytesMut,
    pub flexible: bool,
}

impl Writer<'_> {
    pub fn i8(&mut self, value: i8) {
        self.into.put_i8(value);
    }

    pub fn i16(&mut self, value: i16) {
        self.into.put_i16(value);
    }

    pub fn i32(&mut self, value: i32) {
        self.into.put_i32(value);
    }

    pub fn i64(&mut self, value: i64) {
        self.into.put_i64(value);
    }

    pub fn topic_id(&mut self, id: TopicId) {
        self.into.put_u128(id.0);
    }

    pub fn unsigned_varint(&mut self, mut value: u32) {
        while value > 0x7f {
            self.into.put_u8(low_seven_bits(value) | 0x80);
            value >>= 7;
        }
        self.into.put_u8(low_seven_bits(value));
    }

    /// The number of elements that follow, or the length of bytes that follow.
    pub fn count(&mut self, count: usize) {
        if self.flexible {
            self.unsigned_varint(u32::try_from(count).unwrap_or(u32::MAX - 1) + 1);
        } else {
            self.i32(i32::try_from(count).unwrap_or(i32::MAX));
        }
    }

    pub fn string(&mut self, text: &str) {
        if self.flexible {
            self.count(text.len());
        } else {
            self.i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
        }
        self.into.put_slice(text.as_bytes());
    }

    pub fn null_string(&mut self) {
        if self.flexible {
            self.unsigned_varint(0);
        } else {
            self.i16(-1);
        }
    }

    /// None follow.
    pub fn no_tagged(&mut self) {
        if self.flexible {
            self.unsigned_varint(0);
        }
    }
}

fn low_seven_bits(value: u32) -> u8 {
    value.to_le_bytes()[0] & 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(value: u32, text in "\\PC{0,20}", flexible: bool, count in 0usize..3) {
            let mut bytes = BytesMut::new();
            let mut writer = Writer { into: &mut bytes, flexible };
            writer.unsigned_varint(value);
            writer.string(&text);
            writer.null_string();
            writer.count(count);
            writer.into.put_slice(&[7; 3]);
            let frame = bytes.freeze();
            let mut reader = Reader::new(&frame, "a test", flexible);
            prop_assert_eq!(reader.unsigned_varint().unwrap(), value);
            prop_assert_eq!(reader.string().unwrap(), text);
            prop_assert_eq!(reader.nullable_string().unwrap(), None);
            prop_assert_eq!(reader.count(1).unwrap(), count);
            prop_assert_eq!(reader.remaining(), 3);
        }
    }

    #[test]
    fn hostile_lengths_are_errors() {
        let rows: [(&[u8], bool, &str); 6] = [
            (&[0xff, 0xff, 0xff, 0xff, 0x10], true, "a varint that does not end within 32 bits"),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f, 1], true, "4294967294 elements announced, 1 bytes are left"),
            (&[0x7f, 0xff, 0xff, 0xff], false, "2147483647 elements announced, 0 bytes are left"),
            (&[0xff, 0xff, 0xff, 0xfe], false, "a length of -2"),
            (&[0, 0], false, "4 bytes announced, 2 are left"),
            (&[], true, "1 bytes announced, 0 are left"),
        ];
        for (bytes, flexible, expected) in rows {
            let frame = Bytes::copy_from_slice(bytes);
            let error = Reader::new(&frame, "a test", flexible).count(4).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }

    #[test]
    fn unknown_tagged_fields_are_skipped_and_known_ones_read_whole() {
        let frame = Bytes::from_static(&[2, 9, 1, 0xaa, 3, 4, 0, 0, 0, 5, 77]);
        let mut reader = Reader::new(&frame, "a test", true);
        let mut seen = None;
        reader
            .tagged(|tag, reader| {
                if tag == 3 {
                    seen = Some(reader.i32()?);
                }
                Ok(tag == 3)
            })
            .unwrap();
        assert_eq!((seen, reader.remaining()), (Some(5), 1));
        let mut reader = Reader::new(&frame, "a test", true);
        let error = reader.tagged(|tag, reader| reader.i16().map(|_| tag == 9)).unwrap_err();
        assert!(error.to_string().contains("tagged field 9 should end at 4"), "{error}");
    }
}
