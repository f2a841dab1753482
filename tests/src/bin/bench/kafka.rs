//! The second benchmark: between two real brokers. A filled topic is drained by each copier, once to warm the brokers up
//! and then to be measured; at last records come at a steady rate.

use std::path::Path;
use std::time::Duration;

use copyist_tests::{
    Cluster, ClusterOptions, Deadline, Error, Jars, Kafka, KafkaTool, Process, Progress, Result, wait_until,
};

use crate::copier::{Route, Running, Starter};
use crate::options::{self, Copier};
use crate::stubs::{pass, total_of};
use crate::table::{HEADINGS, Measured, Table};
use crate::usage::{Cpu, peak_memory};

const RECORD_BYTES: u64 = 1000;
const DRAIN_LIMIT: Duration = Duration::from_secs(600);
const FIRST_LIMIT: Duration = Duration::from_secs(120);
/// A JVM compiles, an idle connection falls asleep: latency begins on a copier that has just run.
const SETTLE: Duration = Duration::from_secs(3);

type Outcome<T> = std::result::Result<T, String>;

struct Bench<'a> {
    options: &'a options::Kafka,
    starter: Starter<'a>,
    clusters: &'a (Cluster, Cluster),
    tool: &'a KafkaTool,
}

pub fn run(options: &options::Kafka, logs: &Path) -> Result<()> {
    let jars = Jars::fetch(Progress::Terminal)?;
    let tool = KafkaTool::start(&jars, Progress::Terminal)?;
    let clusters = Cluster::start_two(&jars, cluster("source"), cluster("destination"))?;
    let starter = Starter { jars: &jars, logs, copyist: &options.copyist };
    let bench = Bench { options, starter, clusters: &clusters, tool: &tool };
    bench.fill()?;
    // The brokers' JVMs compile as well: whoever came first would pay for all.
    for copier in &options.copiers {
        Progress::Terminal.say(format_args!("warm-up of the brokers: {}", copier.name()));
        if let Err(error) = bench.drain(*copier) {
            Progress::Terminal.say(format_args!("warm-up: {}", error.chain()));
        }
    }
    let mut drained = Vec::new();
    for round in 1..=options.rounds {
        for copier in &options.copiers {
            quiet()?;
            Progress::Terminal.say(format_args!("drain {round}: {}", copier.name()));
            drained.push((*copier, bench.drain(*copier).map_err(|error| error.chain())));
        }
    }
    let mut latencies = Vec::new();
    for copier in options.copiers.iter().filter(|_| options.rate > 0) {
        quiet()?;
        Progress::Terminal.say(format_args!("latency: {}", copier.name()));
        latencies.push((*copier, bench.latency(*copier).map_err(|error| error.chain())));
    }
    if copyist_tests::interrupted() {
        return Err(Error::Interrupted);
    }
    report(options, &drained, &latencies);
    let failed = drained.iter().filter(|(_, outcome)| outcome.is_err()).count()
        + latencies.iter().filter(|(_, outcome)| outcome.is_err()).count();
    if failed > 0 {
        return Err(Error::Invalid(format!("{failed} measurements failed")));
    }
    Ok(())
}

/// What the one before left for the disk is on it, and not in the way of the next.
fn quiet() -> Result<()> {
    pass(SETTLE)?;
    nix::unistd::sync();
    Ok(())
}

/// Brokers that have warmed up are what counts here, not their start.
fn cluster(name: &str) -> ClusterOptions {
    let jvm_flags = ["-Xms1g", "-Xmx1g"].map(str::to_owned).to_vec();
    // What was deleted is not to be written to the disk while the next one is measured.
    let properties = [("log.segment.delete.delay.ms".to_owned(), "1000".to_owned())].into();
    ClusterOptions { jvm_flags, properties, progress: Progress::Terminal, ..ClusterOptions::named(name) }
}

impl Bench<'_> {
    fn source(&self) -> Kafka<'_> {
        self.tool.at(&self.clusters.0.bootstrap())
    }

    fn destination(&self) -> Kafka<'_> {
        self.tool.at(&self.clusters.1.bootstrap())
    }

    /// MirrorMaker 2 keeps the name with its IdentityReplicationPolicy.
    fn route(&self, copier: Copier, topic: &str) -> Route {
        let destination_topic = match copier {
            Copier::MirrorMaker => topic.to_owned(),
            Copier::Raw | Copier::Librdkafka | Copier::Java => format!("{topic}.{}", copier.name()),
        };
        Route {
            source: self.clusters.0.bootstrap(),
            destination: self.clusters.1.bootstrap(),
            source_topic: topic.to_owned(),
            destination_topic,
            codec: "none",
        }
    }

    fn fill(&self) -> Result<()> {
        let (records, partitions) = (self.options.records, self.options.partitions);
        Progress::Terminal
            .say(format_args!("Filling the source with {records} records of {RECORD_BYTES} bytes"));
        self.source().create_topic("bench", partitions)?;
        let class = "org.apache.kafka.tools.ProducerPerformance";
        let spec =
            self.starter.jars.java("ProducerPerformance", class, &self.starter.logs.join("fill.log"))?;
        let (records, size) = (records.to_string(), RECORD_BYTES.to_string());
        let spec = spec.args(["--topic", "bench", "--throughput", "-1", "--num-records", &records]);
        let spec = spec.args(["--record-size", &size, "--bootstrap-server", &self.clusters.0.bootstrap()]);
        let spec =
            spec.args(["--command-property", "batch.size=65536", "linger.ms=20", "compression.type=none"]);
        Process::run(&spec, DRAIN_LIMIT, Progress::Terminal)
    }

    fn arrived(&self, topic: &str) -> Result<u64> {
        let ends = self.destination().end_offsets(topic)?;
        Ok(ends.values().map(|end| end.cast_unsigned()).sum())
    }

    /// From a tenth of the records at the destination to the last: until then a JVM compiles.
    fn drain(&self, copier: Copier) -> Result<Measured> {
        let route = self.route(copier, "bench");
        let topic = route.destination_topic.as_str();
        self.destination().create_topic(topic, self.options.partitions)?;
        let running = self.starter.start(copier, &route)?;
        let measured = self.watch(&running, topic);
        let measured =
            measured.map_err(|error| Error::Invalid(format!("{}\n{}", error.chain(), running.status())));
        drop(running);
        // Its pages are the next one's.
        self.destination().delete_topic(topic)?;
        measured
    }

    fn brokers(&self) -> Result<[u32; 2]> {
        let pids = [self.clusters.0.pids(), self.clusters.1.pids()];
        let [[source], [destination]] = pids.each_ref().map(Vec::as_slice) else {
            return Err(Error::Invalid("a broker does not run".to_owned()));
        };
        Ok([*source, *destination])
    }

    fn watch(&self, running: &Running, topic: &str) -> Result<Measured> {
        let pid = running.pid()?;
        let first = wait_until("a tenth of the records", FIRST_LIMIT, Progress::Terminal, || {
            Ok(Some(self.arrived(topic)?).filter(|arrived| *arrived >= self.options.records / 10))
        })?;
        let brokers = self.brokers()?;
        let others = total_of(brokers)?;
        let (cpu, clock) = (Cpu::of(pid)?, Deadline::after(DRAIN_LIMIT));
        wait_until("every record", DRAIN_LIMIT, Progress::Terminal, || {
            Ok((self.arrived(topic)? >= self.options.records).then_some(()))
        })?;
        let (seconds, cpu) = (clock.elapsed().as_secs_f64(), Cpu::of(pid)?.since(cpu));
        let now = total_of(brokers)?;
        let records = self.options.records.saturating_sub(first);
        if records < self.options.records / 2 {
            return Err(Error::Invalid(format!(
                "{first} records came before the first look: use more --records"
            )));
        }
        let bytes = records * RECORD_BYTES;
        Ok(Measured {
            seconds,
            records,
            payload_bytes: bytes,
            wire_bytes: bytes,
            cpu,
            peak_bytes: peak_memory(pid)?,
            cluster_cpu: [now[0] - others[0], now[1] - others[1]],
        })
    }

    fn latency(&self, copier: Copier) -> Result<Latency> {
        let route = self.route(copier, &format!("steady-{}", copier.name()));
        self.source().create_topic(&route.source_topic, self.options.partitions)?;
        self.destination().create_topic(&route.destination_topic, self.options.partitions)?;
        let running = self.starter.start(copier, &route)?;
        let pid = running.pid()?;
        let measured = pass(SETTLE).and_then(|()| {
            let cpu = Cpu::of(pid)?;
            let line = self.starter.latency(&route, self.options.rate, self.options.seconds)?;
            Latency::parse(&line, Cpu::of(pid)?.since(cpu))
        });
        measured.map_err(|error| Error::Invalid(format!("{}\n{}", error.chain(), running.status())))
    }
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Latency {
    p50: f64,
    p95: f64,
    p99: f64,
    p999: f64,
    max: f64,
    /// Of the copier, over the warm-up and the measurement.
    cpu: Cpu,
}

impl Latency {
    /// `p50 p95 p99 p99.9 max of N of N`: all must have arrived.
    fn parse(line: &str, cpu: Cpu) -> Result<Latency> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let wrong = || Error::Invalid(format!("the latency is {line:?}"));
        let [p50, p95, p99, p999, max, "of", arrived, "of", expected] = words.as_slice() else {
            return Err(wrong());
        };
        if arrived != expected {
            return Err(Error::Invalid(format!("{arrived} of {expected} records arrived")));
        }
        let number = |word: &str| word.parse::<f64>().map_err(|_| wrong());
        let (p50, p95, p99) = (number(p50)?, number(p95)?, number(p99)?);
        Ok(Latency { p50, p95, p99, p999: number(p999)?, max: number(max)?, cpu })
    }
}

fn report(
    options: &options::Kafka,
    drained: &[(Copier, Outcome<Measured>)],
    latencies: &[(Copier, Outcome<Latency>)],
) {
    let say = |line: String| Progress::Terminal.say(line);
    let (records, partitions) = (options.records, options.partitions);
    say(format!(
        "\nReal brokers, {partitions} partitions, {records} records of {RECORD_BYTES} bytes, uncompressed\n"
    ));
    let mut table = Table::new(["drain"].into_iter().chain(HEADINGS));
    for (copier, outcome) in drained {
        match outcome {
            Ok(measured) => table.row(std::iter::once(copier.name().to_owned()).chain(measured.cells())),
            Err(_) => table.row([copier.name(), "failed"]),
        }
    }
    table.print();
    if !latencies.is_empty() {
        say(format!("\n{} records/s, from send to poll, in ms\n", options.rate));
        let mut table = Table::new(["latency", "p50", "p95", "p99", "p99.9", "max", "CPU-s"]);
        for (copier, outcome) in latencies {
            match outcome {
                Ok(Latency { p50, p95, p99, p999, max, cpu }) => {
                    let figures = [*p50, *p95, *p99, *p999, *max, cpu.total()].map(|ms| format!("{ms:.2}"));
                    table.row(std::iter::once(copier.name().to_owned()).chain(figures));
                }
                Err(_) => table.row([copier.name(), "failed"]),
            }
        }
        table.print();
    }
    say(String::new());
    goals(drained, latencies);
    let failures = drained.iter().map(|(copier, outcome)| (copier, outcome.as_ref().err()));
    let failures = failures.chain(latencies.iter().map(|(copier, outcome)| (copier, outcome.as_ref().err())));
    for (copier, why) in failures {
        if let Some(why) = why {
            say(format!("{} failed: {why}", copier.name()));
        }
    }
}

fn of<T>(outcomes: &[(Copier, Outcome<T>)], copier: Copier) -> Option<&T> {
    outcomes.iter().find(|(name, _)| *name == copier)?.1.as_ref().ok()
}

/// Of a copier's drains the fastest: the machine's other work only slows down.
fn best(drained: &[(Copier, Outcome<Measured>)], copier: Copier) -> Option<&Measured> {
    let own =
        drained.iter().filter(|(name, _)| *name == copier).filter_map(|(_, outcome)| outcome.as_ref().ok());
    own.max_by(|one, other| one.gb_per_second().total_cmp(&other.gb_per_second()))
}

/// Raw against MirrorMaker 2: the ratios that are asked for.
fn goals(drained: &[(Copier, Outcome<Measured>)], latencies: &[(Copier, Outcome<Latency>)]) {
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    if let (Some(raw), Some(mirror)) = (best(drained, Copier::Raw), best(drained, Copier::MirrorMaker)) {
        let speed = raw.gb_per_second() / mirror.gb_per_second();
        let cpu = mirror.cpu_per_gb() / raw.cpu_per_gb();
        Progress::Terminal.say(format_args!(
            "raw: {speed:.2} x MirrorMaker 2's throughput (goal 2.5 x: {}), 1/{cpu:.1} of its CPU per GB (goal 1/20: {})",
            verdict(speed >= 2.5),
            verdict(cpu >= 20.0)
        ));
    }
    if let (Some(raw), Some(mirror)) = (of(latencies, Copier::Raw), of(latencies, Copier::MirrorMaker)) {
        let part = raw.p99 / mirror.p99;
        Progress::Terminal.say(format_args!(
            "raw: {part:.2} of MirrorMaker 2's p99 latency (goal 0.33: {})",
            verdict(part <= 1.0 / 3.0)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_only_when_all_arrived() {
        let cpu = Cpu::default();
        let parsed = Latency::parse("1.00 2.00 3.00 4.00 5.50 of 10 of 10", cpu).expect("a latency");
        assert_eq!(parsed, Latency { p50: 1.0, p95: 2.0, p99: 3.0, p999: 4.0, max: 5.5, cpu });
        let error = Latency::parse("1 2 3 4 5 of 9 of 10", cpu).expect_err("one is missing").to_string();
        assert_eq!(error, "9 of 10 records arrived");
        assert!(Latency::parse("NaN", cpu).is_err());
    }
}
