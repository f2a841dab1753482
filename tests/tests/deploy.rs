//! `deploy/`: what systemd, Kubernetes and builders of images read fits the real binary.

#![expect(clippy::expect_used, reason = "a test that cannot start a process has failed, and says why")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use copyist_tests::{Etcd, EtcdOptions, Process, Progress, Rest, Scratch, Spec, copyist_binary, free_port};
use serde::Deserialize;
use serde_json::Value;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const LIMIT: Duration = Duration::from_secs(60);

/// The keys that say where a port is listened on.
const LISTEN: [&str; 5] =
    ["listeners", "coordinator.listen", "metrics.listen", "agent.listen", "gateway.listen"];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

fn read(path: &str) -> String {
    let path = deploy(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of all manifests, as JSON.
fn manifests() -> Vec<Value> {
    let entries = fs::read_dir(deploy("kubernetes")).expect("the folder").flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    let parse = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a file");
        let documents = serde_yaml_ng::Deserializer::from_str(&text);
        let parsed =
            documents.map(|document| Value::deserialize(document).map_err(|error| error.to_string()));
        parsed.collect::<Result<Vec<_>, _>>().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    files.iter().flat_map(parse).collect()
}

fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> Vec<&'a Value> {
    manifests.iter().filter(|manifest| manifest["kind"] == kind).collect()
}

fn workloads(manifests: &[Value]) -> Vec<&Value> {
    ["StatefulSet", "Deployment"].iter().flat_map(|kind| of_kind(manifests, kind)).collect()
}

fn container(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]["containers"][0]
}

/// The worker file that all pods share.
fn worker_file(manifests: &[Value]) -> BTreeMap<String, String> {
    let secrets = of_kind(manifests, "Secret");
    let text = secrets[0]["stringData"]["worker.properties"].as_str().expect("the worker file");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
        (key.to_owned(), value.to_owned())
    };
    lines.map(pair).collect()
}

fn port_of(address: &str) -> u64 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{address}"))
}

/// A pod on this machine: its role by the shared worker file, with free ports instead of the manifest's.
struct Pod {
    ports: BTreeMap<u64, u16>,
    process: Process,
    _scratch: Scratch,
}

impl Pod {
    fn start(role: &str, file: &BTreeMap<String, String>, more: &[(&str, String)]) -> Pod {
        let scratch = Scratch::new(role).expect("a directory");
        let (mut own, mut ports) = (file.clone(), BTreeMap::new());
        for key in LISTEN {
            let given = own.get_mut(key).unwrap_or_else(|| panic!("the worker file lacks {key}"));
            let port = free_port().expect("a free port");
            ports.insert(port_of(given), port);
            let scheme = if key == "listeners" { "http://" } else { "" };
            *given = format!("{scheme}127.0.0.1:{port}");
        }
        own.insert("bootstrap.servers".to_owned(), "127.0.0.1:1".to_owned());
        own.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        let text: String = own.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        let path = scratch.path().join("worker.properties");
        fs::write(&path, text).expect("written");
        let binary = copyist_binary().expect("the binary");
        let spec = Spec::new(role, binary, scratch.path().join("log")).arg(role).arg(&path);
        let process = Process::spawn(&spec).expect("started");
        Pod { ports, process, _scratch: scratch }
    }

    /// Waits for a probe of the manifest to succeed.
    fn probe(&mut self, container: &Value, probe: &Value) {
        let port = |port: &Value| {
            let named = || {
                let ports = container["ports"].as_array().expect("ports");
                let found = ports.iter().find(|known| known["name"] == *port);
                found.and_then(|found| found["containerPort"].as_u64())
            };
            let number = port.as_u64().or_else(named).unwrap_or_else(|| panic!("{port} is no port"));
            self.ports.get(&number).copied().unwrap_or_else(|| panic!("nothing listens on {number}"))
        };
        let what = format!("the probe {probe} to succeed");
        if let Some(grpc) = probe.get("grpc") {
            let at = port(&grpc["port"]);
            self.process.wait_for(&what, LIMIT, Progress::Silent, || Ok(is_serving(at).then_some(())))
        } else {
            let (at, path) =
                (port(&probe["httpGet"]["port"]), probe["httpGet"]["path"].as_str().expect("a path"));
            let rest = Rest::new(format!("http://127.0.0.1:{at}")).expect("a client");
            let answers = || rest.get_text(path).is_ok_and(|(status, _)| (200..400).contains(&status));
            self.process.wait_for(&what, LIMIT, Progress::Silent, || Ok(answers().then_some(())))
        }
        .unwrap_or_else(|error| panic!("{}", error.chain()));
    }
}

/// As the kubelet asks.
fn is_serving(port: u16) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).expect("an address");
        let mut client = HealthClient::new(endpoint.timeout(Duration::from_secs(3)).connect_lazy());
        let answer = client.check(HealthCheckRequest::default()).await;
        answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
    })
}

#[test]
fn the_probes_of_kubernetes_succeed_at_the_real_binary() {
    let manifests = manifests();
    let file = worker_file(&manifests);
    let etcd = Etcd::start(EtcdOptions::named("deploy")).expect("etcd");
    let shared = [("etcd.endpoints", etcd.endpoints().join(","))];
    // The others find this one.
    let at = format!("127.0.0.1:{}", free_port().expect("a free port"));
    let loopback = [shared.as_slice(), &[("coordinator.endpoints", at.clone())]].concat();
    let leader = [loopback.as_slice(), &[("coordinator.listen", at)]].concat();
    let _leader = Pod::start("coordinator", &file, &leader);
    let mut probes = 0;
    // All at once, as in a cluster: a gateway is ready when an agent has come.
    let mut pods = Vec::new();
    for workload in workloads(&manifests) {
        let container = container(workload);
        let arguments = container["args"].as_array().expect("arguments");
        assert_eq!(arguments[1], "/etc/copyist/worker.properties");
        assert_eq!(container["volumeMounts"][0]["mountPath"], "/etc/copyist");
        let role = arguments[0].as_str().expect("a role");
        let mut pod = Pod::start(role, &file, &loopback);
        for kind in ["livenessProbe", "readinessProbe"] {
            pod.probe(container, &container[kind]);
            probes += 1;
        }
        println!("{role}: both probes succeeded");
        pods.push((role, pod));
    }
    for (role, mut pod) in pods {
        let log = pod.process.log_text().expect("a log");
        assert!(!log.contains("\"WARN\",\"message\":\"worker"), "{role}: {log}");
        let stopped = pod.process.stop(LIMIT).expect("it ends");
        assert!(stopped.success(), "{role}: {stopped}");
    }
    assert_eq!(probes, 6);
}

#[test]
fn manifests_agree_with_one_another() {
    let manifests = manifests();
    let file = worker_file(&manifests);
    let listened: Vec<u64> = LISTEN.iter().map(|key| port_of(&file[*key])).collect();
    let roles: Vec<_> = workloads(&manifests)
        .into_iter()
        .map(|workload| {
            let pod = &workload["spec"]["template"];
            let labels = &pod["metadata"]["labels"];
            let (container, name) = (container(workload), &workload["metadata"]["name"]);
            assert_eq!(&workload["spec"]["selector"]["matchLabels"], labels, "{name}");
            for port in container["ports"].as_array().expect("ports") {
                let number = port["containerPort"].as_u64().expect("a number");
                assert!(listened.contains(&number), "{name}: nothing listens on {number}");
            }
            for resource in ["cpu", "memory"] {
                assert!(container["resources"]["requests"][resource].is_string(), "{name}: {resource}");
            }
            assert!(pod["spec"]["affinity"]["podAntiAffinity"].is_object(), "{name}");
            let budgets = of_kind(&manifests, "PodDisruptionBudget");
            let budget = budgets.iter().find(|budget| &budget["spec"]["selector"]["matchLabels"] == labels);
            assert!(budget.is_some(), "{name} has no budget");
            labels["app.kubernetes.io/component"].as_str().expect("a role").to_owned()
        })
        .collect();
    assert_eq!(roles, ["coordinator", "agent", "gateway"]);
    for service in of_kind(&manifests, "Service") {
        let labels = &service["spec"]["selector"];
        let mut workloads = workloads(&manifests).into_iter();
        let workload = workloads.find(|workload| &workload["spec"]["selector"]["matchLabels"] == labels);
        let ports = container(workload.expect("whom it is for"))["ports"].as_array().expect("ports");
        for port in service["spec"]["ports"].as_array().expect("ports") {
            assert!(ports.iter().any(|known| known["containerPort"] == port["port"]), "{service}");
        }
    }
    let coordinators = &of_kind(&manifests, "StatefulSet")[0];
    let name = coordinators["metadata"]["name"].as_str().expect("a name");
    let service = coordinators["spec"]["serviceName"].as_str().expect("a service");
    let pods = 0..coordinators["spec"]["replicas"].as_u64().expect("a number");
    let endpoints: Vec<_> = pods.map(|pod| format!("{name}-{pod}.{service}:9083")).collect();
    assert_eq!(file["coordinator.endpoints"], endpoints.join(","));
}

#[test]
fn systemd_takes_the_unit_for_every_role() {
    let scratch = Scratch::new("systemd").expect("a directory");
    let binary = copyist_binary().expect("the binary");
    let unit = read("systemd/copyist@.service").replace("/usr/bin/copyist", &binary.display().to_string());
    assert!(unit.contains(&*binary.display().to_string()), "the unit starts /usr/bin/copyist");
    for role in ["standalone", "distributed", "coordinator", "agent", "gateway"] {
        let path = scratch.path().join(format!("copyist@{role}.service"));
        fs::write(&path, &unit).expect("written");
        let output = Command::new("systemd-analyze").arg("verify").arg(&path).output();
        let output = output.expect("systemd-analyze, of Debian's package systemd");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{role}: {said}");
        // What the unit calls by its instance is a command of the binary.
        let help = Command::new(&binary).args([role, "--help"]).output().expect("the binary");
        assert!(help.status.success(), "{role}");
    }
}

#[test]
fn the_image_is_built_from_what_is_there() {
    let file = read("container/Containerfile");
    let ignored = read("container/Containerfile.dockerignore");
    let repository = deploy("..");
    for kept in ignored.lines().filter_map(|line| line.strip_prefix('!')) {
        assert!(repository.join(kept).exists(), "{kept} is kept for the image, and is not there");
    }
    let members = fs::read_to_string(repository.join("Cargo.toml")).expect("a workspace");
    assert!(
        members.contains("members = [\"crates/*\", \"tests\"]"),
        "the image needs all members: {ignored}"
    );
    // The libraries that the binary is linked to are those of the packages that the image installs.
    let output = Command::new("ldd").arg(copyist_binary().expect("the binary")).output().expect("ldd");
    let linked = String::from_utf8_lossy(&output.stdout);
    let libraries = linked.lines().filter_map(|line| line.split_whitespace().next());
    let of_the_system = [
        "linux-vdso",
        "libc.so",
        "libm.so",
        "libgcc_s.so",
        "/lib64/ld-linux",
        "libdl.so",
        "libpthread.so",
        "librt.so",
    ];
    for library in libraries.filter(|name| !of_the_system.iter().any(|known| name.starts_with(known))) {
        let package = match library {
            "libssl.so.3" | "libcrypto.so.3" => "libssl3",
            "libz.so.1" => "zlib1g",
            other => panic!("the image has no {other}"),
        };
        assert!(file.contains(package), "{library} is of {package}");
    }
}

#[test]
fn the_fleets_script_tells_its_usage() {
    let output = Command::new(deploy("fleet")).arg("--help").output().expect("the script");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("deploy/fleet"), "{text}");
    let wrong = Command::new(deploy("fleet")).arg("--nonsense").output().expect("the script");
    assert_eq!(wrong.status.code(), Some(2));
}
