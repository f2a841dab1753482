//! Clients of Connect's REST API that others wrote, unmodified and unattended: each leads a connector through its life,
//! and what each call comes to is compared with `tests/clients/table.txt`. `tests/connect-parity` does the same with
//! Kafka Connect itself; with `COPYIST_TEST_WRITE_TABLE=1` the table is written from what was seen.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test whose step fails has failed, and says why; what was compared is told"
)]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use copyist_tests::suite::{jars, must, tool};
use copyist_tests::{
    Cluster, ClusterOptions, Deadline, Jars, KAFKA_VERSION, Process, Progress, Scratch, Spec, Subject,
    cache_dir, free_port,
};
use serde_json::{Value, json};

/// Client (as its driver in `tests/clients` is called) and call: what Copyist does not give yet, and must not give.
const NOT_YET: &[(&str, &str)] = &[];

const LIMIT: Duration = Duration::from_secs(400);
const PYTHON_CLIENTS: [&str; 4] = [
    "kafka_connect_py",
    "kafka_connect_api_cluster",
    "kafka_connect_python_helper",
    "kafka_connect_healthcheck_server",
];
const JAVA_CLIENT: &str = "SourceLab";

#[test]
fn unmodified_clients_see_what_connect_would_show_them() {
    let stage = Stage::start();
    let seen = stage.run();
    let table = directory().join("table.txt");
    if std::env::var_os("COPYIST_TEST_WRITE_TABLE").is_some_and(|value| !value.is_empty()) {
        fs::write(&table, format!("{HEAD}{}\n", seen.join("\n"))).expect("the table is written");
    }
    let table = fs::read_to_string(table).expect("the table");
    let expected: Vec<&str> = table.lines().filter(|line| !line.starts_with('#')).collect();
    let pending: &[(&str, &str)] = match stage.subject {
        Subject::Copyist(_) => NOT_YET,
        Subject::Connect(_) => &[],
    };
    let differences = differences(&expected, &seen, pending);
    println!("{} calls of 5 clients, asked of {}", seen.len(), stage.subject.name());
    assert!(differences.is_empty(), "- is expected, + was seen:\n{differences}{}", stage.logs());
}

const HEAD: &str = "# Client | call | outcome, in the order of the calls. Written by the test third_party_clients, see there.\n";

/// A diff; empty when all is as it should be.
fn differences(expected: &[&str], seen: &[String], pending: &[(&str, &str)]) -> String {
    let key = |row: &str| row.split(" | ").take(2).map(str::to_owned).collect::<Vec<_>>();
    let find = |row: &str| seen.iter().find(|other| key(other) == key(row));
    let mut text = String::new();
    let mut line = |mark: &str, row: &str| {
        let _infallible = writeln!(text, "{mark} {row}");
    };
    for row in expected {
        let is_pending = pending.iter().any(|(client, call)| key(row) == [*client, *call]);
        match (find(row), is_pending) {
            (Some(found), false) if found == row => (),
            (Some(found), true) if found == row => line("no longer to be in NOT_YET:", row),
            (Some(_) | None, true) => (),
            (Some(found), false) => {
                line("-", row);
                line("+", found);
            }
            (None, false) => line("-", row),
        }
    }
    for row in seen.iter().filter(|row| !expected.iter().any(|other| key(other) == key(row))) {
        line("+", row);
    }
    text
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

#[derive(Debug)]
struct Stage {
    subject: Subject,
    cluster: Cluster,
    scratch: Scratch,
}

impl Stage {
    fn start() -> Stage {
        let cluster = std::thread::scope(|scope| {
            let tools = scope.spawn(tool);
            let cluster = must("a cluster", Cluster::start(jars(), ClusterOptions::named("clients")));
            tools.join().expect("Kafka's Java clients started");
            cluster
        });
        let subject = must("the subject", Subject::start(&cluster.bootstrap()));
        Stage { subject, cluster, scratch: must("a directory", Scratch::new("clients")) }
    }

    /// The rows of all clients. Connect gets them one after the other: it refuses what comes during a rebalance.
    fn run(&self) -> Vec<String> {
        let clients: Vec<(&str, Spec)> = PYTHON_CLIENTS
            .into_iter()
            .chain([JAVA_CLIENT])
            .map(|client| (client, self.spec(client)))
            .collect();
        let rows: Vec<Vec<String>> = match self.subject {
            Subject::Connect(_) => clients.iter().map(|(client, spec)| rows(client, spec)).collect(),
            Subject::Copyist(_) => std::thread::scope(|scope| {
                let all: Vec<_> =
                    clients.iter().map(|(client, spec)| scope.spawn(|| rows(client, spec))).collect();
                all.into_iter().map(|one| one.join().expect("its rows")).collect()
            }),
        };
        rows.concat()
    }

    fn spec(&self, client: &str) -> Spec {
        let facts = self.scratch.path().join(format!("{client}.json"));
        fs::write(&facts, self.facts(client).to_string()).expect("facts are written");
        let log = self.scratch.path().join(format!("{client}.log"));
        if client == JAVA_CLIENT {
            let jars = must("the Java client", Jars::fetch_rest_client(Progress::Silent));
            let program = directory().join(format!("{client}.java"));
            return must("java", jars.command(client, &program.display().to_string(), &log)).arg(facts);
        }
        let python = must("the cache", cache_dir()).join("connect-clients/bin/python");
        assert!(python.is_file(), "{} is not there: tests/run makes it", python.display());
        let mut spec =
            Spec::new(client, python, log).arg(directory().join(format!("{client}.py"))).arg(facts);
        // No cache of compiled modules beside our sources, and no proxy to loopback.
        for (name, value) in [("PYTHONDONTWRITEBYTECODE", "1"), ("NO_PROXY", "127.0.0.1")] {
            spec.environment.insert(name.into(), Some(value.into()));
        }
        spec
    }

    fn facts(&self, client: &str) -> Value {
        let bootstrap = self.cluster.bootstrap();
        let topic = format!("of-{}", client.replace('_', "-"));
        let config = must("a source", self.subject.source(&bootstrap, &topic));
        let server_version = match self.subject {
            Subject::Copyist(_) => format!("{KAFKA_VERSION}-copyist-{}", env!("CARGO_PKG_VERSION")),
            Subject::Connect(_) => KAFKA_VERSION.to_string(),
        };
        let version = match self.subject {
            Subject::Copyist(_) => env!("CARGO_PKG_VERSION").to_owned(),
            Subject::Connect(_) => KAFKA_VERSION.to_string(),
        };
        json!({
            "url": self.subject.rest().base(),
            "name": format!("c-{topic}"),
            "topic": topic,
            "config": config,
            "failing": self.subject.failing(&bootstrap),
            "class": config["connector.class"],
            "worker": self.subject.worker_id(),
            "version": version,
            "server_version": server_version,
            "cluster_id": must("the cluster's id", tool().at(&bootstrap).cluster_id()),
            "port": must("a port", free_port()),
        })
    }

    /// What the clients printed.
    fn logs(&self) -> String {
        let clients = PYTHON_CLIENTS.into_iter().chain([JAVA_CLIENT]);
        let logs = clients.map(|client| {
            let text =
                fs::read_to_string(self.scratch.path().join(format!("{client}.log"))).unwrap_or_default();
            let others: Vec<&str> = text.lines().filter(|line| !line.contains(" | ")).collect();
            format!("\n{client}:\n{}", others.join("\n"))
        });
        logs.collect()
    }
}

/// A driver prints `call | outcome` among other lines.
fn rows(client: &str, spec: &Spec) -> Vec<String> {
    let mut text = String::new();
    let begin = Deadline::after(LIMIT);
    must(client, Process::run_telling(spec, LIMIT, |log| log.clone_into(&mut text)));
    println!("{client}: {:.1} s", begin.elapsed().as_secs_f32());
    text.lines().filter(|line| line.contains(" | ")).map(|line| format!("{client} | {line}")).collect()
}

#[test]
fn a_drop_and_a_change_are_seen() {
    let expected = ["a | x | 1", "a | y | 2", "a | z | 3"];
    let seen = |rows: [&str; 3]| rows.map(str::to_owned);
    assert_eq!(differences(&expected, &seen(expected), &[]), "");
    assert_eq!(differences(&expected, &seen(expected)[..2], &[]), "- a | z | 3\n");
    let changed = seen(["a | x | 1", "a | y | 4", "a | w | 5"]);
    assert_eq!(differences(&expected, &changed, &[]), "- a | y | 2\n+ a | y | 4\n- a | z | 3\n+ a | w | 5\n");
    assert_eq!(differences(&expected, &changed, &[("a", "y"), ("a", "z")]), "+ a | w | 5\n");
    let fulfilled = differences(&expected, &seen(expected), &[("a", "y")]);
    assert_eq!(fulfilled, "no longer to be in NOT_YET: a | y | 2\n");
}
