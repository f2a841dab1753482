//! `copyist distributed` for people who have Connect's own worker file: what it says is missing, added to the file, makes
//! a fleet, and a second worker takes over when the first is killed.

#![expect(clippy::expect_used, reason = "a test that cannot start a process has failed, and says why")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use copyist_tests::{
    Etcd, EtcdOptions, Process, Progress, Rest, Scratch, Spec, copyist_binary, free_port, wait_until,
};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(90);

fn connects_own() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/copyist/tests/data/connect-distributed.properties");
    fs::read_to_string(path).expect("Connect's own file")
}

/// The lines to add, as the refusal of a file shows them.
fn lines_to_add(file: &Path) -> Vec<String> {
    let refused = Command::new(copyist_binary().expect("the binary")).arg("distributed").arg(file).output();
    let refused = refused.expect("it starts");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    let shown = said.lines().filter_map(|line| line.strip_prefix("  "));
    let lines: Vec<_> = shown.filter(|line| line.contains('=')).map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{said}");
    lines
}

struct Worker {
    process: Process,
    rest: Rest,
}

impl Worker {
    fn start(scratch: &Scratch, name: &str, lines: &str) -> Worker {
        let port = free_port().expect("a free port");
        let dir = scratch.path().join(name);
        fs::create_dir_all(&dir).expect("made");
        let file: PathBuf = dir.join("connect-distributed.properties");
        let own = format!("listeners=http://127.0.0.1:{port}\nmetrics.listen=127.0.0.1:0\n{lines}\n");
        fs::write(&file, format!("{}\n{own}", connects_own())).expect("written");
        let spec = Spec::new(name, copyist_binary().expect("the binary"), dir.join("log"));
        let process = Process::spawn(&spec.arg("distributed").arg(&file)).expect("started");
        let rest = Rest::new(format!("http://127.0.0.1:{port}")).expect("a client");
        Worker { process, rest }
    }

    fn wait_healthy(&mut self) {
        let rest = self.rest.clone();
        let healthy = self.process.wait_for("it to be healthy", LIMIT, Progress::Silent, || {
            Ok(rest.get("/health").is_ok_and(|(status, _)| status == 200).then_some(()))
        });
        healthy.unwrap_or_else(|error| panic!("{}", error.chain()));
    }
}

#[test]
fn connects_own_file_and_two_lines_make_a_fleet_that_outlives_a_worker() {
    let scratch = Scratch::new("distributed").expect("a directory");
    let file = scratch.path().join("connect-distributed.properties");
    fs::write(&file, connects_own()).expect("written");
    let lines = lines_to_add(&file).join("\n");
    println!("added to Connect's own file:\n{lines}");
    let etcd = Etcd::start(EtcdOptions::named("distributed")).expect("etcd");
    let ports = [(); 2].map(|()| free_port().expect("a free port"));
    let own = |port: u16| {
        let all = format!("127.0.0.1:{},127.0.0.1:{}", ports[0], ports[1]);
        let lines = lines.replace("http://127.0.0.1:2379", &etcd.endpoints().join(","));
        // On a machine with an address of its own the second line has that; here it has two workers.
        let lines =
            lines.replace("coordinator.endpoints=127.0.0.1:9083", &format!("coordinator.endpoints={all}"));
        format!("{lines}\ncoordinator.endpoints={all}\ncoordinator.listen=127.0.0.1:{port}")
    };
    let mut first = Worker::start(&scratch, "worker-1", &own(ports[0]));
    first.wait_healthy();
    let mut second = Worker::start(&scratch, "worker-2", &own(ports[1]));
    second.wait_healthy();
    let body = json!({ "name": "c", "config": {
        "connector.class": "EMRReplicatorSourceConnector",
        "src.kafka.bootstrap.servers": "127.0.0.1:1",
        "topic.whitelist": "t",
    }});
    let (status, answer) = second.rest.post("/connectors", &body).expect("an answer");
    assert_eq!(status, 201, "through the worker that does not lead: {answer}");
    first.process.kill_9();
    let taken_over = wait_until("the second worker to lead", LIMIT, Progress::Silent, || {
        Ok(second.process.log_text()?.contains("this coordinator leads").then_some(()))
    });
    taken_over.unwrap_or_else(|error| panic!("{}", error.chain()));
    let (status, connectors) = second.rest.get("/connectors").expect("an answer");
    println!("worker-1 killed; worker-2 leads and has {connectors}");
    assert_eq!((status, connectors), (200, json!(["c"])));
    let stopped = second.process.stop(LIMIT).expect("it ends");
    assert!(stopped.success(), "{stopped}");
}
