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
    /// Where in the frame batches lie.
    batches: Vec<Range<usize>>,
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
        self.batches.clear();
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

    /// What was put since `begin` bytes is a batch.
    pub fn mark_batch(&mut self, begin: usize) {
        self.batches.push(begin..self.bytes);
    }

    pub fn len(&self) -> usize {
        self.bytes
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
    Closed {
        after: bool,
    },
    /// A length that is none.
    Length(i32),
    /// So many bytes are sent, then the connection is closed.
    Cut(usize),
    /// Some bytes of the answer are others, chosen by the seed.
    Mutated(u64),
    Garbage(u64),
    /// One batch in it is.
    Damaged(u64),
    Flipped {
        byte: usize,
        mask: u8,
    },
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
            Action::Garbage(seed) => self.end = End::Garbage(seed),
            Action::Damage(seed) => self.end = End::Damaged(seed),
            Action::Flip { byte, mask } => self.end = End::Flipped { byte, mask },
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
        End::Garbage(seed) => send_garbage(stream, frame.flat(), seed),
        End::Flipped { byte, mask } => {
            let mut bytes = frame.flat();
            if let Some(at) = frame.batches.first().and_then(|batch| bytes.get_mut(batch.start + byte)) {
                *at ^= mask;
            }
            write_all(stream, &bytes)
        }
        End::Damaged(seed) => write_all(stream, &damaged(frame.flat(), &frame.batches, seed)),
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
    let mut draw = dice(seed);
    for _ in 0..=draw() % 8 {
        // Half of them near the beginning, where lengths and counts are.
        let near = if draw().is_multiple_of(2) { bytes.len().min(64) } else { bytes.len() };
        let at = (draw() % near as u64) as usize;
        bytes[at] ^= (draw() % 255) as u8 + 1;
    }
    bytes
}

/// xorshift64.
fn dice(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// What a broken broker may say, or something else on its port.
fn send_garbage(stream: &TcpStream, mut bytes: Vec<u8>, seed: u64) -> std::io::Result<()> {
    let mut draw = dice(seed);
    let kind = seed % 6;
    let at = 1 + (draw() % (bytes.len() as u64 - 1)) as usize;
    let mut noise = |count: usize| (0..count).map(|_| (draw() >> 32) as u8).collect::<Vec<u8>>();
    match kind {
        // Not even a length.
        0 => write_all(stream, &noise(at.min(4096) + 8)),
        // A frame of the right length, its content noise.
        1 => {
            let noise = noise(bytes.len() - LENGTH_BYTES);
            bytes[LENGTH_BYTES..].copy_from_slice(&noise);
            write_all(stream, &bytes)
        }
        // Shorter than it should be, so that the rest is taken for another frame.
        2 => {
            let length = i32::try_from(at).unwrap_or(i32::MAX).min(i32::MAX - 1);
            bytes[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
            write_all(stream, &bytes)
        }
        // Nearly 2 GiB are promised.
        3 => {
            bytes[..LENGTH_BYTES].copy_from_slice(&(i32::MAX - 7).to_be_bytes());
            write_all(stream, &bytes)
        }
        // A part, then silence for good.
        4 => {
            write_all(stream, &bytes[..at])?;
            close(stream)
        }
        // The answer to a question that nobody asked.
        _ => {
            bytes[LENGTH_BYTES] ^= 0x40;
            write_all(stream, &bytes)
        }
    }
}

/// The base offset and the leader epoch stay: no reader can tell that those are wrong, as no CRC covers them.
fn damaged(mut bytes: Vec<u8>, batches: &[Range<usize>], seed: u64) -> Vec<u8> {
    const BASE_OFFSET_BYTES: usize = 8;
    const LEADER_EPOCH: Range<usize> = 12..16;
    let mut draw = dice(seed);
    if batches.is_empty() {
        return bytes;
    }
    let batch = batches[(draw() % batches.len() as u64) as usize].clone();
    // Half of it in the header.
    let near =
        if draw().is_multiple_of(2) { batch.len().min(super::batch::HEADER_BYTES) } else { batch.len() };
    let at = BASE_OFFSET_BYTES + (draw() % (near.saturating_sub(BASE_OFFSET_BYTES).max(1) as u64)) as usize;
    let at = if LEADER_EPOCH.contains(&at) { LEADER_EPOCH.end } else { at };
    if let Some(byte) = bytes.get_mut(batch.start + at) {
        *byte ^= (draw() % 255) as u8 + 1;
    }
    bytes
}
