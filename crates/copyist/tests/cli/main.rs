//! The binary, as people start and stop it.

#![expect(clippy::expect_used, reason = "what a test needs and does not get, fails it")]

mod roles;
mod support;
mod traces;

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use copyist::settings::LogFormat;
use nix::sys::signal::Signal;
use support::{Running, address, copyist, directory, end, free_port, free_ports, get, until};

const CONNECTS_OWN: &str = include_str!("../data/connect-distributed.properties");

#[test]
fn help_and_version_are_as_usual() {
    let dir = directory(&[]);
    let rows: &[(&[&str], i32, &str, &str)] = &[
        (&["--help"], 0, "Usage: copyist <COMMAND>", "standalone   Run all roles in one process"),
        (
            &["--help"],
            0,
            "distributed  Run a coordinator, an agent and a gateway",
            "gateway      Serve Kafka Connect",
        ),
        (&["--help"], 0, "coordinator  Decide which agent", "agent        Copy what the coordinators"),
        (&["coordinator", "--help"], 0, "Usage: copyist coordinator <WORKER.properties>", "etcd.endpoints"),
        (&["agent", "--help"], 0, "Usage: copyist agent <WORKER.properties>", "coordinator.endpoints"),
        (
            &["gateway", "--help"],
            0,
            "Usage: copyist gateway <WORKER.properties>",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        (&["distributed", "--help"], 0, "Usage: copyist distributed <WORKER.properties>", "etcd.endpoints"),
        (&["standalone", "--help"], 0, "Usage: copyist standalone <WORKER.properties>", "RUST_LOG"),
        (&["--version"], 0, concat!("copyist ", env!("CARGO_PKG_VERSION")), ""),
    ];
    for (arguments, status, one, two) in rows {
        let (code, stdout, stderr) = end(copyist(&dir, arguments));
        assert_eq!((code, stderr.as_str()), (Some(*status), ""), "{arguments:?}");
        assert!(stdout.contains(one) && stdout.contains(two), "{arguments:?}: {stdout}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_how() {
    let dir = directory(&[]);
    for arguments in [
        &[][..],
        &["standalone"],
        &["standallone", "x"],
        &["standalone", "--nonsense", "x"],
        &["agent"],
        &["distributed", "w.properties", "c.json"],
    ] {
        let (code, _, stderr) = end(copyist(&dir, arguments));
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains("Usage: copyist"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn all_that_is_wrong_in_all_files_is_said_at_once() {
    let worker =
        "bootstrap.server=b:9092\nlisteners=https://:8083\noffset.flush.interval.ms=soon\nplugin.path=/x\n";
    let dir = directory(&[
        ("w.properties", worker),
        ("a.json", "{\"name\": \"a\", \"config\": {\"x\": [1]}}"),
        ("b.json", "{\"name\": "),
    ]);
    let mut command = copyist(&dir, &["standalone", "w.properties", "a.json", "b.json", "none.json"]);
    command.env("RUST_LOG", "copyist=loud");
    let (code, stdout, stderr) = end(command);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    let expected = [
        "warning: w.properties:1: unknown key bootstrap.server; did you mean bootstrap.servers?",
        "error: w.properties: bootstrap.servers is missing: ",
        "error: w.properties:2: listeners=https://:8083: entry \"https://:8083\" is not possible: ",
        "error: w.properties:3: offset.flush.interval.ms=soon: must be a whole number from 1 to ",
        "error: a.json: x is a list; a value must be text, a number, a boolean or null",
        "error: b.json:1: not a JSON object: EOF",
        "error: none.json: cannot be read: No such file or directory",
        "error: RUST_LOG: \"copyist=loud\": ",
    ];
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{stderr}");
    for (line, beginning) in lines.iter().zip(expected) {
        assert!(line.starts_with(beginning), "{line}");
    }
}

#[test]
fn a_worker_file_that_is_not_there_or_not_one_is_refused() {
    let dir = directory(&[("broken.properties", "bootstrap.servers=b:9092\nstore.path=C:\\users\n")]);
    for (file, message) in [
        ("none.properties", "error: none.properties: cannot be read: No such file"),
        (".", "error: .: cannot be read: Is a directory"),
        ("broken.properties", "error: broken.properties:2: a \\u is not followed by four hexadecimal digits"),
    ] {
        let (code, _, stderr) = end(copyist(&dir, &["standalone", file]));
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.starts_with(message) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn connects_own_file_is_told_what_makes_it_a_fleets() {
    let dir = directory(&[("connect-distributed.properties", CONNECTS_OWN)]);
    let (code, stdout, stderr) = end(copyist(&dir, &["distributed", "connect-distributed.properties"]));
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{stderr}");
    let file = "connect-distributed.properties";
    assert!(lines[0].starts_with(&format!("error: {file}: etcd.endpoints is missing: ")), "{stderr}");
    assert_eq!(lines[1], "  etcd.endpoints=http://127.0.0.1:2379");
    assert!(lines[2].starts_with("  coordinator.") && lines[2].ends_with(":9083"), "{stderr}");
    assert!(lines[3].ends_with(&format!("copyist standalone {file}")), "{stderr}");
}

/// Role, file, and how the lines of stderr begin.
const WRONG_FOR_ROLE: &[(&str, &str, &[&str])] = &[
    (
        "agent",
        "agent.listen=x\n",
        &[
            "error: w: bootstrap.servers is missing: ",
            "error: w:1: agent.listen=x: has no port; write HOST:PORT",
            "error: w: group.id is missing: ",
            "error: w: coordinator.endpoints is missing: where the agent finds",
        ],
    ),
    (
        "gateway",
        "group.id=g\ncoordinator.endpoint=c:9083\nlisteners=https://:1\n",
        &[
            "warning: w:2: unknown key coordinator.endpoint; did you mean coordinator.endpoints?",
            "error: w:3: listeners=https://:1: entry \"https://:1\" is not possible: ",
            "error: w: coordinator.endpoints is missing: where the gateway finds",
        ],
    ),
    (
        "coordinator",
        "group.id=g\netcd.endpoints=http://e:2379\netcd.user=u\nagent.lease.ttl.ms=1000\nagent.suspect.ms=1000\n\
         etcd.tls.ca.file=none.pem\n",
        &[
            "error: w: agent.suspect.ms is 1000; it must be less than agent.lease.ttl.ms, which is 1000",
            "error: w: coordinator.listen: 127.0.0.1:9083 is reached from this machine only: ",
            "error: w: agent.lease.ttl.ms is 1000; etcd grants no lease shorter than 2000 ms",
            "error: w: etcd.tls.ca.file is of no use: etcd.endpoints says http; ",
            "error: w: etcd.tls.ca.file=none.pem: the file cannot be read: No such file",
            "error: w: etcd.password is missing: ",
        ],
    ),
];

#[test]
fn all_that_is_wrong_for_a_role_is_said_at_once() {
    for (role, file, expected) in WRONG_FOR_ROLE {
        let dir = directory(&[("w", file)]);
        let (code, stdout, stderr) = end(copyist(&dir, &[role, "w"]));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{role}: {stderr}");
        let lines: Vec<_> = stderr.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{role}: {stderr}");
        for (line, beginning) in lines.iter().zip(*expected) {
            assert!(line.starts_with(beginning), "{role}: {line}");
        }
    }
}

#[test]
fn ports_in_use_are_named_with_who_holds_them() {
    let one = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let two = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let [one, two] = [&one, &two].map(|listener| listener.local_addr().expect("an address").port());
    let worker = free_ports(&format!("listeners=http://:{one}\nmetrics.listen=127.0.0.1:{two}\nagent.id=a"));
    let dir = directory(&[("w.properties", &worker)]);
    let (code, _, stderr) = end(copyist(&dir, &["standalone", "w.properties"]));
    assert_eq!(code, Some(1), "{stderr}");
    let comm = fs::read_to_string("/proc/self/comm").expect("our own name");
    let holder = format!("the port is in use by process {} ({})", std::process::id(), comm.trim_end());
    for (key, address) in [("listeners", format!(":{one}")), ("metrics.listen", format!("127.0.0.1:{two}"))] {
        let message = format!("{key}: cannot listen on {address}: {holder}; choose another address by {key}");
        assert!(stderr.contains(&message), "{message}\n{stderr}");
    }
    assert!(
        !stderr.contains("(coordinator.listen)"),
        "a listener is announced although none stays:\n{stderr}"
    );
}

#[test]
fn two_listeners_on_one_port_are_told_apart_from_a_stranger() {
    let port = free_port();
    let worker =
        free_ports(&format!("listeners=http://127.0.0.1:{port}\ncoordinator.listen=127.0.0.1:{port}"));
    let dir = directory(&[("w.properties", &worker)]);
    let (code, _, stderr) = end(copyist(&dir, &["standalone", "w.properties"]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("the port is in use by another listener of this very process"), "{stderr}");
}

#[test]
fn each_listener_has_a_line_and_metrics_are_prometheus_text() {
    let dir = directory(&[("w.properties", &free_ports(""))]);
    let mut running = Running::start(&dir, &[]);
    let log = running.wait_for("(metrics.listen)");
    for line in ["REST API: http://127.0.0.1:", "gRPC: 127.0.0.1:", "metrics: http://127.0.0.1:"] {
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
    assert!(!log.contains('\u{1b}'), "colours in a file:\n{log}");
    assert!(
        log.contains(&format!("store.path={}", dir.path().join("copyist-data/store.redb").display())),
        "{log}"
    );
    let metrics = address(&log, "metrics: http://", "/metrics");
    let answer = get(&metrics, "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("\nprocess_resident_memory_bytes "), "{answer}");
    for path in ["/", "/connectors"] {
        assert!(get(&metrics, path).starts_with("HTTP/1.1 404"), "{path}");
    }
}

#[test]
fn a_signal_stops_it_cleanly() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let dir = directory(&[("w.properties", &free_ports(""))]);
        let mut running = Running::start(&dir, &[]);
        running.wait_for("(metrics.listen)");
        running.signal(signal);
        assert_eq!(running.exit_status(), Some(0), "{}", running.text());
        let log = running.text();
        assert!(log.contains(&format!("{}: stopping within 10 s", signal.as_str())), "{log}");
        assert!(log.trim_end().ends_with("stopped"), "{log}");
    }
}

#[test]
fn a_second_signal_aborts() {
    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let dir = directory(&[("w.properties", &free_ports("task.shutdown.graceful.timeout.ms=3600000"))]);
        let mut running = Running::start(&dir, &[]);
        let log = running.wait_for("(metrics.listen)");
        let metrics = address(&log, "metrics: http://", "/metrics");
        // A request that is not complete delays the end; when the next one was answered, it was taken.
        let mut stuck = TcpStream::connect(&metrics).expect("a listener");
        stuck.write_all(b"GET /metr").expect("half a request");
        assert!(get(&metrics, "/metrics").contains("200 OK"));
        running.signal(Signal::SIGTERM);
        running.wait_for("SIGTERM: stopping within 3605 s");
        running.signal(signal);
        assert_eq!(running.exit_status(), Some(status), "{}", running.text());
    }
}

#[test]
fn a_half_sent_request_does_not_hinder_a_clean_stop() {
    let dir = directory(&[("w.properties", &free_ports(""))]);
    let mut running = Running::start(&dir, &[]);
    let log = running.wait_for("(metrics.listen)");
    let metrics = address(&log, "metrics: http://", "/metrics");
    let mut stuck = TcpStream::connect(&metrics).expect("a listener");
    stuck.write_all(b"GET /metr").expect("half a request");
    assert!(get(&metrics, "/metrics").contains("200 OK"));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.exit_status(), Some(0), "{}", running.text());
}

#[test]
fn log_lines_are_json_on_request() {
    let dir = directory(&[("w.properties", &free_ports("log.format=json"))]);
    let mut running = Running::start(&dir, &[]);
    let log = running.wait_for("(metrics.listen)");
    for line in log.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("a JSON line");
        for field in ["timestamp", "level", "message", "target"] {
            assert!(object.get(field).is_some_and(serde_json::Value::is_string), "{field} in {line}");
        }
    }
}

#[test]
fn rust_log_says_what_is_logged() {
    let secret = "agent.id=a\nsasl.jaas.config=S1\nproducer.ssl.key.password=S2";
    let dir = directory(&[("w.properties", &free_ports(secret))]);
    let mut running = Running::start(&dir, &[("RUST_LOG", "debug")]);
    let log = running.wait_for("(metrics.listen)");
    assert!(log.contains("DEBUG") && log.contains("[hidden]"), "{log}");
    assert!(!log.contains("S1") && !log.contains("S2"), "{log}");

    let port = free_port();
    let dir =
        directory(&[("w.properties", &free_ports(&format!("metrics.listen=127.0.0.1:{port}\nagent.id=a")))]);
    let mut quiet = Running::start(&dir, &[("RUST_LOG", "error")]);
    until(|| TcpStream::connect(("127.0.0.1", port)).ok());
    quiet.signal(Signal::SIGTERM);
    assert_eq!(quiet.exit_status(), Some(0));
    assert!(!quiet.text().contains("INFO"), "{}", quiet.text());
}

#[test]
fn panics_are_log_lines() {
    let said = logged_by_itself("panics_are_log_lines", LogFormat::Json, || {
        let panicked = thread::spawn(|| panic!("boom {}", 1)).join();
        assert!(panicked.is_err());
    });
    let Some(stderr) = said else { return };
    let line: serde_json::Value = serde_json::from_str(&stderr).expect("one JSON line, and nothing else");
    assert_eq!(line["level"], "ERROR", "{line}");
    assert!(line["message"].as_str().is_some_and(|message| message.starts_with("panic: boom 1")), "{line}");
    assert!(line["place"].as_str().is_some_and(|place| place.contains("cli/main.rs")), "{line}");
}

/// As librdkafka's client asks, and as `tracing` lets one ask: what stands next in the log is not lost.
#[test]
fn a_question_about_a_level_loses_no_line() {
    let said = logged_by_itself("a_question_about_a_level_loses_no_line", LogFormat::Text, || {
        for _ in 0..2 {
            assert!(!tracing::enabled!(tracing::Level::DEBUG));
            tracing::info!("behind tracing's question");
            assert!(!log::log_enabled!(target: "librdkafka", log::Level::Debug));
            tracing::warn!("behind the question of log");
            log::debug!("too fine");
            log::warn!("said by log");
        }
    });
    let Some(stderr) = said else { return };
    for line in [
        "INFO cli: behind tracing's question",
        "WARN cli: behind the question of log",
        "WARN cli: said by log",
    ] {
        assert_eq!(stderr.matches(line).count(), 2, "{line}: {stderr}");
    }
    assert_eq!(stderr.lines().count(), 6, "{stderr}");
}

/// Has a test's `body` log by itself, in a process of its own: a log and its panic hook are the whole process's. Returns what
/// that wrote to stderr; nothing: this is that process.
fn logged_by_itself(test: &str, format: LogFormat, body: impl FnOnce()) -> Option<String> {
    const CHILD: &str = "LOGS_BY_ITSELF";
    if std::env::var_os(CHILD).is_some() {
        let loggers = copyist::telemetry::loggers_of_environment().expect("loggers");
        copyist::telemetry::install(format, loggers, None);
        body();
        return None;
    }
    let mut command = Command::new(std::env::current_exe().expect("this test's file"));
    command.args(["--exact", test, "--nocapture"]).env(CHILD, "1").env_remove("RUST_LOG");
    let (code, _, stderr) = end(command);
    assert_eq!(code, Some(0), "{stderr}");
    Some(stderr)
}
