//! An answer on its way out: bytes of its own, and slices of batches that are shared by all connections; and what an
//! injection does to it.

use std::io::{IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::injection::Action;

/// A frame to send: bytes in order, none copied that can be shared. It begins with [`Pieces::begin`].
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    own: Vec<u8>,
    parts: Vec<Part>,
    bytes: usize,
}

const LENGTH_BYTES: usize = 4;

#[derive(Debug)]
enum Part {
    /// Of `own`.
    Own(Range<usize>),
    Shared(Bytes),
}

impl Pieces {
    /// Empties it for another frame, whose length is written last.
    pub fn begin(&mut self) {
        self.own.clear();
        self.parts.clear();
        self.bytes = 0;
        self.put(&[0; LENGTH_BYTES]);
    }

    fn set_length(&mut self) -> std::io::Result<()> {
        let length = i32::try_from(self.bytes - LENGTH_BYTES).map_err(std::io::Error::other)?;
        self.own[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    pub fn put(&mut self, bytes: &[u8]) {
        let begin = self.own.len();
        self.own.extend_from_slice(bytes);
        self.bytes += bytes.len();
        match self.parts.last_mut() {
            Some(Part::Own(range)) => range.end = self.own.len(),
            Some(Part::Shared(_)) | None => self.parts.push(Part::Own(begin..self.own.len())),
        }
    }

    pub fn share(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.parts.push(Part::Shared(bytes));
    }

    fn flat(&self) -> Vec<u8> {
        let mut flat = Vec::with_capacity(self.bytes);
        for part in &self.parts {
            flat.extend_from_slice(self.slice(part));
        }
        flat
    }

    fn slice<'a>(&'a self, part: &'a Part) -> &'a [u8] {
        match part {
            Part::Own(range) => &self.own[range.clone()],
            Part::Shared(bytes) => bytes,
        }
    }

    fn write_to(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut slices: Vec<IoSlice> = self.parts.iter().map(|part| IoSlice::new(self.slice(part))).collect();
        let mut left = slices.as_mut_slice();
        while !left.is_empty() {
            match stream.write_vectored(left) {
                Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What is done to the answer of one request, as injections say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    pub throttle_ms: i32,
    pub stall: Duration,
    pub end: End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum End {
    #[default]
    Sent,
    /// The connection is closed; whether the request had an effect first.
    Closed { after: bool },
    /// A length that is none.
    Length(i32),
    /// So many bytes are sent, then the connection is closed.
    Cut(usize),
    /// Some bytes of the answer are others, chosen by the seed.
    Mutated(u64),
}

impl Fate {
    /// Takes what concerns the whole answer; the error or the shift that concerns one partition is returned.
    pub fn take(&mut self, action: Action) -> Option<Action> {
        match action {
            Action::Error { .. } | Action::Shift(_) => return Some(action),
            Action::Drop { after } => self.end = End::Closed { after },
            Action::Stall(time) => self.stall = time,
            Action::Throttle(ms) => self.throttle_ms = ms,
            Action::Length(length) => self.end = End::Length(length),
            Action::Cut(bytes) => self.end = End::Cut(bytes),
            Action::Mutate(seed) => self.end = End::Mutated(seed),
        }
        None
    }

    pub fn closes_before(&self) -> bool {
        self.end == End::Closed { after: false }
    }
}

/// Sends a frame as its fate says.
///
/// # Errors
/// Those of the connection, and an error where the fate is its end.
pub(crate) fn send(stream: &TcpStream, frame: &mut Pieces, fate: Fate) -> std::io::Result<()> {
    frame.set_length()?;
    match fate.end {
        End::Sent => frame.write_to(stream),
        End::Closed { .. } => close(stream),
        End::Length(length) => {
            let mut bytes = frame.flat();
            bytes[..4].copy_from_slice(&length.to_be_bytes());
            write_all(stream, &bytes)
        }
        End::Cut(count) => {
            let bytes = frame.flat();
            write_all(stream, &bytes[..count.min(bytes.len())])?;
            close(stream)
        }
        End::Mutated(seed) => write_all(stream, &mutated(frame.flat(), seed)),
    }
}

fn write_all(mut stream: &TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes)
}

fn close(stream: &TcpStream) -> std::io::Result<()> {
    stream.shutdown(Shutdown::Both)?;
    Err(std::io::Error::other("closed by an injection"))
}

/// One to eight bytes, length and correlation id included, become others.
fn mutated(mut bytes: Vec<u8>, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..=draw() % 8 {
        // Half of them near the beginning, where lengths and counts are.
        let near = if draw() % 2 == 0 { bytes.len().min(64) } else { bytes.len() };
        let at = (draw() % near as u64) as usize;
        bytes[at] ^= (draw() % 255) as u8 + 1;
    }
    bytes
}
