//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use copyist_tests::stub::Shape;

/// Measures copiers side by side in one run: on stub brokers, which cost little, and on real ones.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub struct Options {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Debug, Subcommand)]
pub enum What {
    /// Endless topics from a stub broker to another that checks and drops them.
    Stubs(Stubs),
    /// The drain of a filled topic from a Kafka broker to another, then latency at a steady rate.
    Kafka(Kafka),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Copier {
    /// Copyist with engine=raw.
    Raw,
    /// Copyist with engine=librdkafka.
    Librdkafka,
    /// tests/java/CopyLoop.java: a Java consumer, a Java producer, nothing between.
    Java,
    /// MirrorMaker 2 of Kafka 4.3.1, on real brokers alone.
    #[value(name = "mm2")]
    MirrorMaker,
}

impl Copier {
    pub fn name(self) -> &'static str {
        match self {
            Copier::Raw => "raw",
            Copier::Librdkafka => "librdkafka",
            Copier::Java => "java",
            Copier::MirrorMaker => "mm2",
        }
    }
}

#[derive(Debug, Args)]
pub struct Stubs {
    /// What a batch is: RECORDSxBYTES:CODEC, the codec none, gzip, lz4 or zstd.
    #[arg(long, value_delimiter = ',', default_values = ["64x1000:none", "64x1000:lz4", "640x100:none", "1x1000:none"])]
    pub shapes: Vec<Shape>,
    /// In which order they run.
    #[arg(long, value_delimiter = ',', default_values = ["raw", "librdkafka", "java"])]
    pub copiers: Vec<Copier>,
    #[arg(long, default_value_t = 16)]
    pub partitions: u32,
    /// How long a copier runs before it is measured: a JVM compiles meanwhile.
    #[arg(long, default_value_t = 20)]
    pub warm_up: u64,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// The destination checks every CRC, which costs it a little.
    #[arg(long)]
    pub check_crc: bool,
    #[command(flatten)]
    pub copyist: OfCopyist,
}

#[derive(Debug, Args)]
pub struct Kafka {
    #[arg(long, value_delimiter = ',', default_values = ["raw", "librdkafka", "java", "mm2"])]
    pub copiers: Vec<Copier>,
    #[arg(long, default_value_t = 10)]
    pub partitions: u32,
    /// Of 1,000 bytes, uncompressed, that lie at the source before the drain.
    #[arg(long, default_value_t = 2_000_000)]
    pub records: u64,
    /// How often each copier's drain is measured, in turn; the fastest counts.
    #[arg(long, default_value_t = 2)]
    pub rounds: u32,
    /// A second, for the latency; 0: no latency.
    #[arg(long, default_value_t = 10_000)]
    pub rate: u32,
    /// How long latency is measured, after as long a warm-up.
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
    #[command(flatten)]
    pub copyist: OfCopyist,
}

#[derive(Clone, Debug, Args)]
pub struct OfCopyist {
    /// The binary; COPYIST_BIN, else the one beside this program, unless given.
    #[arg(long)]
    pub copyist: Option<PathBuf>,
    /// A key of the worker file, KEY=VALUE.
    #[arg(long, value_parser = pair)]
    pub worker: Vec<(String, String)>,
    /// A key of the connector, KEY=VALUE.
    #[arg(long, value_parser = pair)]
    pub connector: Vec<(String, String)>,
    /// Where the processes keep their logs; a directory that goes away unless given.
    #[arg(long)]
    pub logs: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
