//! What the tests have in common: one process with everything, a fleet, and what the kernel says of a process.

use std::sync::{Mutex, MutexGuard, OnceLock};

use copyist_tests::{Copyist, CopyistOptions, Etcd, EtcdOptions, Fleet, FleetOptions, suite};
use serde_json::{Value, json};

/// Nobody is there.
pub const NOWHERE: &str = "127.0.0.1:1";

/// A leader that is killed is missed for so long: longer than a gateway is patient.
const LEASE_MS: u64 = 13_000;

/// A process with all roles; its connectors reach nothing.
pub fn standalone() -> Copyist {
    suite::must("copyist", Copyist::start(NOWHERE, CopyistOptions::default()))
}

/// Three coordinators, an agent and a gateway.
pub struct Stage {
    pub fleet: Fleet,
    _etcd: Etcd,
}

/// The fleet, for one test at a time.
pub fn fleet() -> MutexGuard<'static, Stage> {
    static STAGE: OnceLock<Mutex<Stage>> = OnceLock::new();
    let stage = STAGE.get_or_init(|| {
        let etcd = suite::must("etcd", Etcd::start(EtcdOptions::named("rest-etcd")));
        let mut options = FleetOptions { agents: 1, gateways: 1, ..FleetOptions::named("rest") };
        options.environment.clear();
        options.properties.insert("coordinator.lease.ttl.ms".to_owned(), LEASE_MS.to_string());
        let fleet = suite::must("a fleet", Fleet::start(&etcd, NOWHERE, &options));
        Mutex::new(Stage { fleet, _etcd: etcd })
    });
    // What a failed test leaves behind is of use to nobody, but says so itself.
    stage.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A config that is valid, with a mark that means nothing to Copyist. (A key that nobody knows costs a search for its like.)
pub fn config(mark: &str) -> Value {
    json!({
        "connector.class": "EMRReplicatorSourceConnector",
        "src.kafka.bootstrap.servers": NOWHERE,
        "topic.regex": "none.*",
        "key.converter.mark": mark,
    })
}

/// A line of `/proc/<pid>/status` in MiB: `VmRSS`, `VmHWM` (the peak).
pub fn memory_mib(pid: u32, line: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let found = text.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(':')).expect("the line");
    found.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// A number from the environment.
pub fn count(name: &str, default: u64) -> u64 {
    suite::count(&format!("COPYIST_TEST_{name}"), default)
}

/// On two threads.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads").block_on(work)
}

pub fn assert_no_panic(log: &str) {
    let bad = ["panic", "task broke"];
    let line = log.lines().find(|line| bad.iter().any(|word| line.contains(word)));
    assert_eq!(line, None);
}
