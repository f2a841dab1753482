//! The codecs of a batch's records, as Kafka's Java client and librdkafka write and read them.

use std::fmt;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use crate::batch::Batch;
use crate::error::Error;

/// How a batch's records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// How snappy-java's `SnappyOutputStream` begins: its name, version 1, compatible with 1. Blocks follow, each raw snappy
/// behind its length.
const XERIAL: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// The part of it that is the same in all versions.
const XERIAL_NAME_BYTES: usize = 8;
/// As snappy-java, which also bounds what readers must buffer.
const SNAPPY_BLOCK_BYTES: usize = 32 * 1024;
/// zstd's own default, and that of Kafka's producers.
const ZSTD_LEVEL: i32 = 3;

impl Codec {
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// From bits 0 to 2 of a batch's attributes.
    pub(crate) const fn from_bits(bits: i16) -> Result<Self, i16> {
        match bits {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(other),
        }
    }

    /// As in a batch's attributes.
    #[must_use]
    pub const fn bits(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// As `compression.type` calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Appends the batch's records, decompressed, to `out`: at most `limit_bytes`.
///
/// # Errors
/// [`Error::Decompress`], [`Error::Bomb`]; `out` then has some of it at its end.
pub fn decompress(batch: &Batch<'_>, out: &mut Vec<u8>, limit_bytes: usize) -> Result<(), Error> {
    let (codec, base_offset) = (batch.codec(), batch.base_offset());
    match decompress_as(codec, batch.records(), out, limit_bytes) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Bomb { base_offset, codec, limit_bytes }),
        Err(error) => Err(Error::Decompress { base_offset, codec, why: error.to_string() }),
    }
}

/// Appends `plain`, compressed, to `out`.
///
/// # Errors
/// [`Error::Compress`], which memory running out may cause.
pub fn compress(codec: Codec, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let done = match codec {
        Codec::None => out.write_all(plain),
        Codec::Gzip => {
            let mut encoder = GzEncoder::new(out, Compression::default());
            encoder.write_all(plain).and_then(|()| encoder.finish().map(drop))
        }
        Codec::Snappy => compress_xerial(plain, out),
        Codec::Lz4 => {
            // As Kafka's Lz4 streams: blocks of 64 KiB, each alone. They refuse linked blocks.
            let frame = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
            let mut encoder = FrameEncoder::with_frame_info(frame, out);
            encoder.write_all(plain).and_then(|()| encoder.finish().map(drop).map_err(io::Error::other))
        }
        Codec::Zstd => zstd::stream::copy_encode(plain, out, ZSTD_LEVEL),
    };
    done.map_err(|error| Error::Compress { codec, why: error.to_string() })
}

/// `Ok(false)`: there was more than `limit`.
fn decompress_as(codec: Codec, bytes: &[u8], out: &mut Vec<u8>, limit: usize) -> io::Result<bool> {
    match codec {
        Codec::None => {
            let fits = bytes.len() <= limit;
            out.extend_from_slice(if fits { bytes } else { &[] });
            Ok(fits)
        }
        Codec::Gzip => read_bounded(MultiGzDecoder::new(bytes), out, limit),
        Codec::Snappy => decompress_snappy(bytes, out, limit),
        Codec::Lz4 => read_bounded(FrameDecoder::new(bytes), out, limit),
        Codec::Zstd => read_bounded(zstd::stream::read::Decoder::with_buffer(bytes)?, out, limit),
    }
}

fn read_bounded(decoder: impl Read, out: &mut Vec<u8>, limit: usize) -> io::Result<bool> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    let read = decoder.take(most.saturating_add(1)).read_to_end(out)?;
    Ok(read <= limit)
}

fn decompress_snappy(mut bytes: &[u8], out: &mut Vec<u8>, limit: usize) -> io::Result<bool> {
    let end = out.len().saturating_add(limit);
    if !bytes.starts_with(&XERIAL[..XERIAL_NAME_BYTES]) {
        return snappy_block(bytes, out, end);
    }
    while !bytes.is_empty() {
        // Streams written one behind the other are one stream.
        if bytes.starts_with(&XERIAL[..XERIAL_NAME_BYTES]) {
            bytes = bytes.get(XERIAL.len()..).ok_or_else(|| invalid("the framing's header is cut"))?;
            continue;
        }
        let (length, rest) = bytes.split_first_chunk().ok_or_else(|| invalid("a block's length is cut"))?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (block, rest) = rest.split_at_checked(length).ok_or_else(|| invalid("a block is cut"))?;
        if !snappy_block(block, out, end)? {
            return Ok(false);
        }
        bytes = rest;
    }
    Ok(true)
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>, end: usize) -> io::Result<bool> {
    let from = out.len();
    let to = from.saturating_add(snap::raw::decompress_len(block)?);
    if to > end {
        return Ok(false);
    }
    // A byte of snappy gives 64 at most (a copy of 3 bytes, 64 long), so a length beyond that needs no memory to refuse.
    if (to - from) / 64 > block.len() {
        return Err(invalid("a block claims to be longer than it can be"));
    }
    out.resize(to, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[from..])?;
    Ok(true)
}

fn compress_xerial(plain: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&XERIAL);
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(SNAPPY_BLOCK_BYTES) {
        let length_at = out.len();
        let from = length_at + 4;
        out.resize(from + snap::raw::max_compress_len(block.len()), 0);
        let written = encoder.compress(block, &mut out[from..])?;
        out.truncate(from + written);
        let length = i32::try_from(written).map_err(io::Error::other)?;
        out[length_at..from].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
