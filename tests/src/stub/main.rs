//! A stub broker as a process. It prints its address, then what it does each second in which something happened, and
//! takes the commands of `copyist_tests::stub` (its module `control`) on a port of its own, one a line.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use copyist_tests::stub::{Limits, Options, Snapshot, Stub, TopicSpec};
use copyist_tests::{Deadline, Error, Result, free_port, wait_until};

/// A stub of one Kafka broker: endless topics from memory, topics that are checked and dropped, and answers on demand.
#[derive(Debug, Parser)]
#[command(name = "stub-broker")]
struct Arguments {
    /// Port of Kafka's protocol on 127.0.0.1; a free one unless given.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the commands; a free one unless given.
    #[arg(long, default_value_t = 0)]
    control: u16,
    #[arg(long, default_value = "stub")]
    cluster_id: String,
    /// NAME:PARTITIONS:endless:64x1000:lz4[:RECORDS], NAME:PARTITIONS:kept, NAME:PARTITIONS:dropped.
    #[arg(long)]
    topic: Vec<TopicSpec>,
    /// Highest version offered of an API, as KEY=VERSION; -1 withholds the API.
    #[arg(long, value_parser = limit)]
    limit: Vec<(i16, i16)>,
    /// Leave the CRC of what is produced unchecked.
    #[arg(long)]
    no_crc: bool,
    /// Cut the last batch of a partition where the client's limit is, as brokers do.
    #[arg(long)]
    cut_tails: bool,
    /// An unknown producer must begin with sequence 0, as before Kafka 2.5.
    #[arg(long)]
    strict_producers: bool,
    /// Age of the records of endless topics.
    #[arg(long, default_value_t = 0)]
    record_age_ms: u64,
}

fn limit(text: &str) -> std::result::Result<(i16, i16), String> {
    let (key, version) = text.split_once('=').ok_or("it is KEY=VERSION")?;
    let number = |text: &str| text.parse::<i16>().map_err(|error| format!("{text}: {error}"));
    Ok((number(key)?, number(version)?))
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.chain());
            ExitCode::FAILURE
        }
    }
}

/// Runs until it is killed.
fn run(arguments: Arguments) -> Result<()> {
    let stub = Arc::new(Stub::start(Options {
        port: arguments.port,
        cluster_id: arguments.cluster_id,
        topics: arguments.topic,
        limits: Limits::from_iter(arguments.limit),
        check_crc: !arguments.no_crc,
        cut_tails: arguments.cut_tails,
        strict_producers: arguments.strict_producers,
        record_age: Duration::from_millis(arguments.record_age_ms),
        ..Options::default()
    })?);
    let port = if arguments.control == 0 { free_port()? } else { arguments.control };
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(Error::io("listen for commands"))?;
    let own = Arc::clone(&stub);
    let thread = std::thread::Builder::new().name("control".to_owned());
    // Ends with the process.
    let _commands =
        thread.spawn(move || take_commands(&listener, &own)).map_err(Error::io("start a thread"))?;
    say(&format!("stub-broker serves on {}, commands on 127.0.0.1:{port}", stub.bootstrap()));
    let mut before = Snapshot::default();
    loop {
        let second = Deadline::after(Duration::from_secs(1));
        wait_until("a second", Duration::from_secs(5), copyist_tests::Progress::Silent, || {
            Ok(second.passed().then_some(()))
        })?;
        let now = stub.counts();
        if now != before {
            say(&now.line(&before, second.elapsed().as_secs_f64()));
        }
        before = now;
    }
}

fn take_commands(listener: &TcpListener, stub: &Arc<Stub>) {
    for stream in listener.incoming().flatten() {
        // One client at a time; its end is no news.
        let _gone = serve(&stream, stub);
    }
}

fn serve(mut stream: &TcpStream, stub: &Stub) -> std::io::Result<()> {
    for line in BufReader::new(stream).lines() {
        let answer = match stub.command(&line?) {
            Ok(answer) => format!("ok {answer}\n"),
            Err(wrong) => format!("error {wrong}\n"),
        };
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

fn say(line: &str) {
    // Whoever reads it may be gone.
    let _lost = writeln!(std::io::stdout().lock(), "{line}");
}
