//! The bytes of one request, as they arrive.

use std::io::{self, BufRead, BufReader, Read};
use std::mem::MaybeUninit;
use std::net::TcpStream;

use bytes::Bytes;
use socket2::SockRef;

/// Headers and small payloads are read through a buffer of this size; what is larger goes around it.
const BUFFER_BYTES: usize = 16 * 1024;
/// Small enough to stay in a cache.
const PIECE_BYTES: usize = 256 * 1024;
/// Linux: a TCP socket drops the bytes instead of copying them, recv(2) and tcp(7).
const MSG_TRUNC: i32 = 0x20;

/// What a connection reads from, over all its requests.
pub(crate) struct Inflow<'s> {
    stream: &'s TcpStream,
    from: BufReader<&'s TcpStream>,
    piece: Vec<u8>,
    /// Never written to: the kernel is only told its length.
    void: Vec<MaybeUninit<u8>>,
}

impl<'s> Inflow<'s> {
    pub fn new(stream: &'s TcpStream) -> Inflow<'s> {
        Inflow {
            stream,
            from: BufReader::with_capacity(BUFFER_BYTES, stream),
            piece: Vec::new(),
            void: vec![MaybeUninit::uninit(); PIECE_BYTES],
        }
    }

    /// The next request, once its length has come.
    ///
    /// # Errors
    /// Those of the connection; `InvalidData` for a length that is none, or greater than `max`.
    pub fn next(&mut self, max: usize) -> io::Result<Body<'_, 's>> {
        let mut size = [0; 4];
        self.from.read_exact(&mut size)?;
        let left = usize::try_from(i32::from_be_bytes(size)).ok().filter(|left| *left <= max);
        Ok(Body { left: left.ok_or_else(invalid)?, inflow: self })
    }
}

pub(crate) fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// What is left of a request. Every read beyond its end is `InvalidData`.
pub(crate) struct Body<'a, 's> {
    inflow: &'a mut Inflow<'s>,
    left: usize,
}

impl Body<'_, '_> {
    /// So many bytes are about to be read.
    fn claim(&mut self, bytes: usize) -> io::Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or_else(invalid)?;
        Ok(())
    }

    pub fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.claim(N)?;
        let mut bytes = [0; N];
        self.inflow.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub fn i16(&mut self) -> io::Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> io::Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// At most five bytes, the lowest seven bits first.
    fn uvarint(&mut self) -> io::Result<u32> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| invalid());
            }
        }
        Err(invalid())
    }

    /// The count of an array or of bytes; null is 0.
    pub fn count(&mut self, flexible: bool) -> io::Result<usize> {
        let count =
            if flexible { self.uvarint()?.saturating_sub(1) } else { self.i32()?.max(0).cast_unsigned() };
        usize::try_from(count).map_err(|_| invalid())
    }

    pub fn string(&mut self, flexible: bool) -> io::Result<Option<String>> {
        let length = if flexible { i64::from(self.uvarint()?) - 1 } else { i64::from(self.i16()?) };
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        let mut bytes = Vec::new();
        self.append_to(&mut bytes, length)?;
        String::from_utf8(bytes).map(Some).map_err(|_| invalid())
    }

    /// Skips the tagged fields.
    pub fn tags(&mut self, flexible: bool) -> io::Result<()> {
        if !flexible {
            return Ok(());
        }
        for _ in 0..self.uvarint()? {
            let _tag = self.uvarint()?;
            let bytes = self.uvarint()?;
            self.skip(usize::try_from(bytes).map_err(|_| invalid())?)?;
        }
        Ok(())
    }

    pub fn rest(&mut self) -> io::Result<Bytes> {
        let mut bytes = Vec::with_capacity(self.left);
        self.append_to(&mut bytes, self.left)?;
        Ok(bytes.into())
    }

    pub fn end(&self) -> io::Result<()> {
        if self.left == 0 { Ok(()) } else { Err(invalid()) }
    }

    /// Appends so many bytes to a vector.
    pub fn append_to(&mut self, to: &mut Vec<u8>, bytes: usize) -> io::Result<()> {
        self.claim(bytes)?;
        let read = self.inflow.from.by_ref().take(bytes as u64).read_to_end(to)?;
        if read == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Shows so many bytes, piece by piece.
    pub fn each_piece(&mut self, bytes: usize, mut look: impl FnMut(&[u8])) -> io::Result<()> {
        self.claim(bytes)?;
        let Inflow { from, piece, .. } = &mut *self.inflow;
        piece.resize(PIECE_BYTES, 0);
        let mut left = bytes;
        while left > 0 {
            let read = from.read(&mut piece[..left.min(PIECE_BYTES)])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            look(&piece[..read]);
            left -= read;
        }
        Ok(())
    }

    /// Drops so many bytes; what has not been read yet is never copied out of the kernel.
    pub fn skip(&mut self, bytes: usize) -> io::Result<()> {
        self.claim(bytes)?;
        let Inflow { stream, from, void, .. } = &mut *self.inflow;
        let mut left = bytes;
        while left > 0 {
            let buffered = from.buffer().len().min(left);
            let dropped = if buffered > 0 {
                from.consume(buffered);
                buffered
            } else if left < BUFFER_BYTES {
                let read = from.fill_buf()?.len().min(left);
                from.consume(read);
                read
            } else {
                let wanted = left.min(void.len());
                SockRef::from(*stream).recv_with_flags(&mut void[..wanted], MSG_TRUNC)?
            };
            if dropped == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= dropped;
        }
        Ok(())
    }
}
