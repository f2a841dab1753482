//! Passwords that no config holds: `${file:…}`, `${env:…}` and `${dir:…}` instead, in connectors and in the worker file.
//! Nothing that can be read shows what they stand for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use copyist_tests::grpc::Grpc;
use copyist_tests::scenario::{config, connector_state, numbered, source};
use copyist_tests::{
    Cluster, ClusterOptions, Copyist, CopyistOptions, Scenario, ScramUser, Scratch, Side, suite,
};
use serde_json::{Value, json};

const CANARY: &str = "canary-Pa55-4711";
const WRONG: &str = "canary-wrong-0815";
const RECORDS: usize = 50;
const CLASSES: &str = "org.apache.kafka.common.config.provider";

fn properties(dir: &Path) -> BTreeMap<String, String> {
    let at = dir.display().to_string();
    let pairs = [
        ("config.providers", "file,env,dir".to_owned()),
        ("config.providers.file.class", format!("{CLASSES}.FileConfigProvider")),
        ("config.providers.file.param.allowed.paths", at.clone()),
        ("config.providers.dir.class", format!("{CLASSES}.DirectoryConfigProvider")),
        ("config.providers.dir.param.allowed.paths", at),
        ("config.providers.env.class", format!("{CLASSES}.EnvVarConfigProvider")),
        ("config.providers.env.param.allowlist.pattern", "^COPYIST_SECRET$".to_owned()),
        ("security.protocol", "SASL_PLAINTEXT".to_owned()),
        ("sasl.mechanism", "SCRAM-SHA-256".to_owned()),
        ("sasl.jaas.config", jaas("${env:COPYIST_SECRET}")),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

fn jaas(password: &str) -> String {
    let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
    format!("{module} required username=\"alice\" password=\"{password}\";")
}

fn connector(cluster: &Cluster, name: &str, jaas: &str) -> Value {
    json!({
        "connector.class": "EMRReplicatorSourceConnector",
        "src.kafka.bootstrap.servers": cluster.sasl_bootstrap(),
        "src.kafka.security.protocol": "SASL_PLAINTEXT",
        "src.kafka.sasl.mechanism": "SCRAM-SHA-256",
        "src.kafka.sasl.jaas.config": jaas,
        "src.kafka.client.id": "${dir:DIR:id}",
        "topic.whitelist": "secrets",
        "topic.rename.format": format!("secrets.{name}"),
        "topic.poll.interval.ms": "1000",
    })
}

fn trace_of(status: &Value) -> &str {
    status["connector"]["trace"].as_str().unwrap_or_default()
}

#[test]
fn passwords_come_from_files_and_variables_and_are_shown_nowhere() {
    let scratch = suite::must("a directory", Scratch::new("secrets"));
    let dir = scratch.path();
    let file = dir.join("login.properties");
    fs::write(&file, format!("password = {CANARY}\njaas = {}\n", jaas(CANARY))).expect("written");
    fs::write(dir.join("password"), CANARY).expect("written");
    fs::write(dir.join("id"), "the-copier").expect("written");

    let user = ScramUser { name: "alice".to_owned(), password: CANARY.to_owned() };
    let options = ClusterOptions { scram: Some(user), ..ClusterOptions::named("secrets") };
    let cluster = suite::must("a cluster", Cluster::start(suite::jars(), options));
    let kafka = suite::tool().at(&cluster.bootstrap());
    suite::must("a topic", kafka.create_topic("secrets", 2));
    suite::must("records", kafka.produce(&numbered("secrets", 2, "s", RECORDS)));

    let environment = [("COPYIST_SECRET", CANARY), ("RUST_LOG", "debug")];
    let environment = environment.map(|(name, value)| (OsString::from(name), Some(OsString::from(value))));
    let options = CopyistOptions {
        properties: properties(dir),
        environment: environment.into(),
        ..CopyistOptions::default()
    };
    let started = suite::must("a Copyist", Copyist::start(&cluster.sasl_bootstrap(), options));
    let scenario = Scenario { copyist: started };
    let at = |text: &str| text.replace("DIR", &dir.display().to_string());
    let create = |name: &str, jaas: &str| {
        let mut config = connector(&cluster, name, &at(jaas));
        config["src.kafka.client.id"] = at("${dir:DIR:id}").into();
        scenario.create(name, &config);
        config
    };
    let equal = |name: &str| {
        let copy = format!("secrets.{name}");
        scenario.wait_equal(
            Side { at: &kafka, topic: "secrets" },
            Side { at: &kafka, topic: &copy },
            RECORDS as u64,
        );
        scenario.wait_running(name, 2);
    };
    let ways = [
        ("by-file", jaas("${file:DIR/login.properties:password}")),
        ("whole", "${file:DIR/login.properties:jaas}".to_owned()),
        ("by-env", jaas("${env:COPYIST_SECRET}")),
        ("by-dir", jaas("${dir:DIR:password}")),
    ];
    for (name, jaas) in &ways {
        let mut config = create(name, jaas);
        equal(name);
        config["name"] = (*name).into();
        assert_eq!(scenario.get(&format!("/connectors/{name}/config")), config, "as it was given");
    }

    what_stands_for_nothing_is_told_until_it_is_there(&scenario, &file, create, &at);
    equal("missing");
    a_changed_password_is_taken_by_a_restart(&scenario, dir, create);
    equal("stale");
    let refused = scenario.copyist.rest().post(
        "/connectors",
        &json!({"name": "elsewhere", "config": {
            "connector.class": "EMRReplicatorSourceConnector",
            "src.kafka.bootstrap.servers": "b:1",
            "topic.whitelist": at("${file:DIR/login.properties:password}"),
        }}),
    );
    let refused = scenario.expect(400, refused).to_string();
    assert!(refused.contains("topic.whitelist: a reference to a config provider"), "{refused}");
    nothing_shows_a_secret(&scenario, ["by-file", "whole", "missing", "stale"]);
}

/// The raw engine drains, goes over to the other address and resumes: nothing is lost, nothing comes twice.
#[test]
fn brokers_that_a_reference_names_anew_are_taken_by_a_restart() {
    let scratch = suite::must("a directory", Scratch::new("moved"));
    let file = scratch.path().join("brokers.properties");
    let address = suite::pair().0.bootstrap();
    fs::write(&file, format!("at={address}\n")).expect("written");
    source().create_topic("moved", 2).expect("created");
    source().produce(&numbered("moved", 2, "first", 500)).expect("produced");
    let class = format!("{CLASSES}.FileConfigProvider");
    let providers = [("config.providers", "f"), ("config.providers.f.class", &*class)];
    let scenario = Scenario::start_with("moved", &suite::pair().1.bootstrap(), &providers);
    let reference = format!("${{f:{}:at}}", file.display());
    let own = [("src.kafka.bootstrap.servers", &*reference), ("topic.whitelist", "moved"), ("engine", "raw")];
    scenario.create("moved", &config(&own));
    scenario.wait_copied("moved", "moved", 500);
    fs::write(&file, format!("at={}\n", address.replace("127.0.0.1", "localhost"))).expect("written");
    let restarted = scenario.copyist.rest().post("/connectors/moved/restart?includeTasks=true", &Value::Null);
    scenario.expect(202, restarted);
    scenario.wait_logged(&["moved", "what its clients need has changed"]);
    source().produce(&numbered("moved", 2, "second", 500)).expect("produced");
    scenario.wait_copied("moved", "moved", 1_000);
    scenario.wait_running("moved", 2);
}

#[expect(clippy::expect_used, reason = "a test whose step fails has failed, and says why")]
fn what_stands_for_nothing_is_told_until_it_is_there(
    scenario: &Scenario,
    file: &Path,
    create: impl Fn(&str, &str) -> Value,
    at: &impl Fn(&str) -> String,
) {
    create("missing", &jaas("${file:DIR/login.properties:later}"));
    let trace = scenario.wait_failed("missing");
    let reference = at("${file:DIR/login.properties:later}");
    let expected = format!(
        "the source's sasl.jaas.config: {reference} cannot be resolved: {} has no key later",
        file.display()
    );
    assert!(trace.contains(&expected), "{trace}");
    let text = fs::read_to_string(file).expect("read");
    fs::write(file, format!("{text}later = {CANARY}\n")).expect("written");
    // Nobody has to ask for it.
    scenario.wait_running("missing", 2);
}

/// The wrong one is refused by the broker, in its own words.
#[expect(clippy::expect_used, reason = "a test whose step fails has failed, and says why")]
fn a_changed_password_is_taken_by_a_restart(
    scenario: &Scenario,
    dir: &Path,
    create: impl Fn(&str, &str) -> Value,
) {
    fs::write(dir.join("stale"), WRONG).expect("written");
    create("stale", &jaas("${dir:DIR:stale}"));
    let refused = scenario.wait_status("stale", "the refusal of the password", |status| {
        trace_of(status).to_ascii_lowercase().contains("authentication")
    });
    assert_ne!(connector_state(&refused), "RUNNING");
    fs::write(dir.join("stale"), CANARY).expect("written");
    let restarted = scenario.copyist.rest().post("/connectors/stale/restart?includeTasks=true", &Value::Null);
    scenario.expect(202, restarted);
    scenario.wait_running("stale", 2);
}

#[expect(clippy::expect_used, reason = "a test whose step fails has failed, and says why")]
fn nothing_shows_a_secret(scenario: &Scenario, connectors: [&str; 4]) {
    let rest = scenario.copyist.rest();
    let grpc = Grpc::at(&scenario.copyist.grpc_address());
    let mut texts = vec![
        ("the log", scenario.copyist.log_text().expect("a log")),
        ("the metrics", scenario.copyist.metrics().expect("metrics")),
        ("the list", scenario.get("/connectors?expand=info&expand=status").to_string()),
    ];
    assert!(texts[0].1.contains("DEBUG"), "the log tells everything");
    for name in connectors {
        for part in ["", "/config", "/status", "/tasks", "/tasks/0/status", "/topics", "/offsets"] {
            let (_, text) = rest.get_text(&format!("/connectors/{name}{part}")).expect("an answer");
            texts.push(("REST", text));
        }
        let validated = rest.put(
            "/connector-plugins/EMRReplicatorSourceConnector/config/validate",
            &scenario.get(&format!("/connectors/{name}/config")),
        );
        texts.push(("the validation", format!("{:?}", validated.expect("an answer"))));
        let asked = json!({"name": name});
        for method in ["GetConnector", "GetConnectorStatus", "ListTasks"] {
            let method = format!("ConnectorService/{method}");
            texts.push(("gRPC", grpc.ask(&method, &asked).expect("an answer").to_string()));
        }
    }
    let fleet = grpc.ask("FleetService/GetFleet", &json!({})).expect("an answer");
    texts.push(("the fleet", fleet.to_string()));
    let store = fs::read(scenario.copyist.store_path()).expect("a store");
    texts.push(("the store", String::from_utf8_lossy(&store).into_owned()));
    for (place, text) in texts {
        assert!(!text.is_empty(), "{place}");
        for secret in [CANARY, WRONG] {
            assert!(!text.contains(secret), "{secret} in {place}");
        }
    }
}
