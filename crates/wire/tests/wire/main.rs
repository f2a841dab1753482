//! The crate against encoders and decoders that are not ours: a naive encoder (`sample`), `kafka-protocol`, and batches
//! that Kafka's Java client wrote (`corpus/java-*.batch`, 300 records each, by its `MemoryRecordsBuilder`).

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

mod building;
mod codecs;
mod committing;
mod headers;
mod planning;
mod rewriting;
mod sample;
mod sequences;
mod speed;
