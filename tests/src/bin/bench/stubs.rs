//! The first benchmark: between stub brokers, which leave the machine to the copier.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use copyist_tests::stub::{Codec, Shape, Snapshot};
use copyist_tests::{Deadline, Error, Jars, Process, Progress, Result, Spec, free_port, wait_until};

use crate::copier::{Route, Running, Starter};
use crate::options::{Copier, Stubs};
use crate::table::{HEADINGS, Measured, Table};
use crate::usage::{Cpu, peak_memory};

const START_LIMIT: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
const TOPIC: &str = "bench";

/// A result, or why there is none.
type Outcome = std::result::Result<Measured, String>;

pub fn run(options: &Stubs, logs: &Path) -> Result<()> {
    let jars = Jars::fetch(Progress::Terminal)?;
    let starter = Starter { jars: &jars, logs, copyist: &options.copyist };
    let mut all: Vec<(Shape, Vec<(Copier, Outcome)>)> = Vec::new();
    for shape in &options.shapes {
        let mut outcomes = Vec::new();
        for copier in &options.copiers {
            Progress::Terminal.say(format_args!("{shape}: {}", copier.name()));
            let outcome = measure(options, &starter, *shape, *copier);
            if copyist_tests::interrupted() {
                return Err(Error::Interrupted);
            }
            outcomes.push((*copier, outcome.map_err(|error| error.chain())));
        }
        all.push((*shape, outcomes));
    }
    report(options, &all);
    let failed =
        all.iter().flat_map(|(_, outcomes)| outcomes).filter(|(_, outcome)| outcome.is_err()).count();
    if failed > 0 {
        return Err(Error::Invalid(format!("{failed} measurements failed")));
    }
    Ok(())
}

fn measure(options: &Stubs, starter: &Starter<'_>, shape: Shape, copier: Copier) -> Result<Measured> {
    let partitions = options.partitions;
    let source =
        StubProcess::start(starter.logs, "source", &[&format!("{TOPIC}:{partitions}:endless:{shape}")])?;
    let mut flags = vec![format!("{TOPIC}:{partitions}:dropped")];
    if !options.check_crc {
        flags.push("--no-crc".to_owned());
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let destination = StubProcess::start(starter.logs, "destination", &flags)?;
    let route = Route {
        source: source.bootstrap.clone(),
        destination: destination.bootstrap.clone(),
        source_topic: TOPIC.to_owned(),
        destination_topic: TOPIC.to_owned(),
        codec: shape.codec.name(),
    };
    let mut stats = destination.control()?;
    let running = starter.start(copier, &route)?;
    let found = wait_until("the first records", START_LIMIT, Progress::Terminal, || {
        Ok((stats.ask()?.produced_records > 0).then_some(()))
    });
    let measured = found.and_then(|()| {
        pass(Duration::from_secs(options.warm_up))?;
        let clusters = [source.process.pid(), destination.process.pid()];
        over(&running, clusters, &mut stats, (shape, Duration::from_secs(options.seconds)))
    });
    measured.map_err(|error| Error::Invalid(format!("{}\n{}", error.chain(), running.status())))
}

fn over(
    running: &Running,
    clusters: [u32; 2],
    stats: &mut Control,
    (shape, time): (Shape, Duration),
) -> Result<Measured> {
    let pid = running.pid()?;
    let others = total_of(clusters)?;
    let (cpu, before, clock) = (Cpu::of(pid)?, stats.ask()?, Deadline::after(time));
    pass(time)?;
    let (after, seconds, cpu) = (stats.ask()?, clock.elapsed().as_secs_f64(), Cpu::of(pid)?.since(cpu));
    let now = total_of(clusters)?;
    if after.fault_count() > 0 {
        return Err(Error::Invalid(format!("the destination found faults: {after}")));
    }
    let records = after.produced_records - before.produced_records;
    if records == 0 {
        return Err(Error::Invalid("nothing arrived".to_owned()));
    }
    Ok(Measured {
        seconds,
        records,
        payload_bytes: records * u64::from(shape.record_bytes),
        wire_bytes: after.produced_bytes - before.produced_bytes,
        cpu,
        peak_bytes: peak_memory(pid)?,
        cluster_cpu: [now[0] - others[0], now[1] - others[1]],
    })
}

/// CPU seconds so far of each.
pub fn total_of(pids: [u32; 2]) -> Result<[f64; 2]> {
    Ok([Cpu::of(pids[0])?.total(), Cpu::of(pids[1])?.total()])
}

/// Lets time pass; ends early on an interrupt.
pub fn pass(time: Duration) -> Result<()> {
    let end = Deadline::after(time);
    wait_until("time to pass", time + START_LIMIT, Progress::Silent, || Ok(end.passed().then_some(())))
}

fn report(options: &Stubs, all: &[(Shape, Vec<(Copier, Outcome)>)]) {
    let seconds = options.seconds;
    Progress::Terminal.say(format_args!(
        "\nStub brokers, {} partitions, {seconds} s each after {} s of warm-up. GB are keys and values, uncompressed; \
         CPU is the copier's alone.\n",
        options.partitions, options.warm_up
    ));
    let mut table = Table::new(["shape, copier"].into_iter().chain(HEADINGS));
    for (shape, outcomes) in all {
        for (copier, outcome) in outcomes {
            let name = format!("{shape} {}", copier.name());
            match outcome {
                Ok(measured) => table.row(std::iter::once(name).chain(measured.cells())),
                Err(_) => table.row([name, "failed".to_owned()]),
            }
        }
    }
    table.print();
    Progress::Terminal.say("");
    for (shape, outcomes) in all {
        goals(*shape, outcomes);
    }
    for (shape, outcomes) in all {
        for (copier, outcome) in outcomes {
            if let Err(why) = outcome {
                Progress::Terminal.say(format_args!("{shape} {} failed: {why}", copier.name()));
            }
        }
    }
}

/// Raw against the Java loop: the ratios that are asked for.
fn goals(shape: Shape, outcomes: &[(Copier, Outcome)]) {
    let of = |copier| outcomes.iter().find(|(name, _)| *name == copier)?.1.as_ref().ok();
    let (Some(raw), Some(java)) = (of(Copier::Raw), of(Copier::Java)) else { return };
    let speed = raw.records_per_second() / java.records_per_second();
    let cpu = raw.cpu_per_gb() / java.cpu_per_gb();
    let wanted_speed = match shape {
        Shape { records_per_batch: 1, .. } => 1.0,
        Shape { codec: Codec::None, record_bytes, .. } if record_bytes >= 500 => 4.0,
        Shape { .. } => 12.0,
    };
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    let mut lines = vec![format!(
        "{speed:.2} x the Java loop's records/s (goal {wanted_speed} x: {})",
        verdict(speed >= wanted_speed)
    )];
    if shape.records_per_batch == 1 {
        lines.push(format!("{cpu:.2} of its CPU per GB (goal 0.5: {})", verdict(cpu <= 0.5)));
    } else if shape.codec == Codec::None && shape.record_bytes >= 500 {
        let per_gb = raw.cpu_per_gb();
        lines.push(format!("{per_gb:.3} CPU-s/GB (goal 0.25: {})", verdict(per_gb <= 0.25)));
    } else {
        lines.push(format!("{cpu:.3} of its CPU per GB"));
    }
    Progress::Terminal.say(format_args!("{shape} raw: {}", lines.join(", ")));
}

/// A `stub-broker`, from beside this program.
struct StubProcess {
    bootstrap: String,
    control: String,
    process: Process,
}

impl StubProcess {
    /// `topic` first, then further arguments.
    fn start(logs: &Path, name: &str, rest: &[&str]) -> Result<StubProcess> {
        let spec =
            Spec::new(format!("the stub {name}"), beside("stub-broker")?, logs.join(format!("{name}.log")));
        let (port, control) = (free_port()?.to_string(), free_port()?.to_string());
        let cluster = format!("stub-{name}");
        let spec = spec.args(["--port", &port, "--control", &control, "--cluster-id", &cluster, "--topic"]);
        let mut process = Process::spawn(&spec.args(rest.iter().copied()))?;
        let log = process.log_path().to_owned();
        process.wait_for("the stub to serve", START_LIMIT, Progress::Silent, || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            Ok(text.contains(&format!("serves on 127.0.0.1:{port}")).then_some(()))
        })?;
        let address = |port: &str| format!("127.0.0.1:{port}");
        Ok(StubProcess { bootstrap: address(&port), control: address(&control), process })
    }

    fn control(&self) -> Result<Control> {
        let stream = TcpStream::connect(&self.control).map_err(Error::io("reach a stub"))?;
        stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(Error::io("set a timeout"))?;
        Ok(Control { from: BufReader::new(stream) })
    }
}

/// The commands of a stub.
struct Control {
    from: BufReader<TcpStream>,
}

impl Control {
    fn ask(&mut self) -> Result<Snapshot> {
        let mut line = String::new();
        self.from.get_mut().write_all(b"stats\n").map_err(Error::io("ask a stub"))?;
        self.from.read_line(&mut line).map_err(Error::io("hear from a stub"))?;
        let json = line.strip_prefix("ok ").unwrap_or_default();
        serde_json::from_str(json).map_err(|error| Error::Invalid(format!("a stub said {line:?}: {error}")))
    }
}

fn beside(program: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(Error::io("find our own executable"))?;
    Ok(own.with_file_name(program))
}
