//! The batches of a partition as they lie in a broker's log directory, read with a decoder that is not Copyist's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::stub::Header;

const HEADER_BYTES: usize = 61;
/// What the CRC covers begins here.
const CRC_FROM: usize = 21;
const CODEC_BITS: i16 = 7;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const DELETE_HORIZON: i16 = 1 << 6;
/// What a copy may have otherwise.
const FREE_BITS: i16 = LOG_APPEND_TIME | TRANSACTIONAL | DELETE_HORIZON;

/// A batch of a log.
#[derive(Clone, Debug)]
pub struct StoredBatch {
    pub header: Header,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl StoredBatch {
    pub fn payload(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// As Kafka's tools call it.
    pub fn codec(&self) -> &'static str {
        let bits = usize::from((self.header.attributes & CODEC_BITS).unsigned_abs());
        CODECS.get(bits).copied().unwrap_or("unknown")
    }

    /// Compaction took some of its records.
    pub fn has_gaps(&self) -> bool {
        self.header.count > 0 && self.header.count != self.header.last_offset_delta + 1
    }

    /// Its records were not touched: payload, count, timestamps, codec; and its CRC is right. A destination that stamps
    /// its own time does so in the header.
    pub fn is_identical(&self, copy: &StoredBatch) -> bool {
        let numbers =
            |it: &Header| (it.count, it.last_offset_delta, it.base_timestamp, it.attributes & !FREE_BITS);
        let stamped = copy.header.attributes & LOG_APPEND_TIME != 0;
        self.payload() == copy.payload()
            && numbers(&self.header) == numbers(&copy.header)
            && (stamped || self.header.max_timestamp == copy.header.max_timestamp)
            && [self, copy].iter().all(|it| crc32c::crc32c(&it.bytes[CRC_FROM..]) == it.header.crc)
    }
}

/// How many of the copies are batches of the source, byte for byte.
pub fn identical(source: &[StoredBatch], copies: &[StoredBatch]) -> u64 {
    let payloads: BTreeSet<&[u8]> = source.iter().map(StoredBatch::payload).collect();
    let is_one = |copy: &&StoredBatch| {
        payloads.contains(copy.payload()) && source.iter().any(|batch| batch.is_identical(copy))
    };
    copies.iter().filter(is_one).count() as u64
}

/// Where the only node of a cluster keeps a partition.
pub fn directory(cluster: &Cluster, topic: &str, partition: i32) -> PathBuf {
    cluster.log_path().with_file_name("data").join(format!("{topic}-{partition}"))
}

/// The segments of a partition, in their order.
///
/// # Errors
/// The directory cannot be read.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = || Error::io(format!("read {}", dir.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(read())? {
        let path = entry.map_err(read())?.path();
        if path.extension().is_some_and(|it| it == "log") {
            files.push(path);
        }
    }
    // Their names are offsets of one length.
    files.sort();
    Ok(files)
}

/// All batches of a partition.
///
/// # Errors
/// A segment cannot be read.
pub fn batches(cluster: &Cluster, topic: &str, partition: i32) -> Result<Vec<StoredBatch>> {
    let mut batches = Vec::new();
    for path in files(&directory(cluster, topic, partition))? {
        let bytes = fs::read(&path).map_err(Error::io(format_args!("read {}", path.display())))?;
        let mut rest = bytes.as_slice();
        // What is being written may be cut short.
        while let Some(batch) = first_batch(rest) {
            rest = &rest[batch.bytes.len()..];
            batches.push(batch);
        }
    }
    Ok(batches)
}

/// Takes from a partition all batches from an offset on, as if its disk had never seen them: the cluster must not run.
///
/// # Errors
/// Its last segment cannot be read or written.
pub fn cut(cluster: &Cluster, topic: &str, partition: i32, offset: i64) -> Result<()> {
    let files = files(&directory(cluster, topic, partition))?;
    let path = files.last().ok_or_else(|| Error::Invalid(format!("{topic} has no segment")))?;
    let failed = || Error::io(format!("cut {}", path.display()));
    let bytes = fs::read(path).map_err(failed())?;
    let mut kept = 0;
    while let Some(batch) = first_batch(&bytes[kept..]).filter(|batch| batch.header.base_offset < offset) {
        kept += batch.bytes.len();
    }
    let file = fs::OpenOptions::new().write(true).open(path).map_err(failed())?;
    file.set_len(kept as u64).map_err(failed())
}

fn first_batch(bytes: &[u8]) -> Option<StoredBatch> {
    let header = Header::read(bytes.first_chunk()?);
    let length = usize::try_from(header.total_bytes()).ok().filter(|length| *length >= HEADER_BYTES)?;
    Some(StoredBatch { header, bytes: bytes.get(..length)?.to_vec() })
}
