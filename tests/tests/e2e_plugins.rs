//! Plugins and validation through a whole process that reaches no cluster: what forms and operators ask before they create
//! anything, beside what Kafka Connect 4.3.1 itself answered.

use std::collections::{BTreeMap, BTreeSet};

use copyist_tests::Scenario;
use serde_json::{Map, Value, json};

/// Nobody listens there: nothing of a test waits for it.
const NOWHERE: &str = "127.0.0.1:1";
const SECRET: &str = "S3CR3T";

/// Literal answers of a worker of Kafka Connect 4.3.1 but for the documentation: the framework's part of
/// `GET /connector-plugins/FileStreamSource/config`, the groups of a validation, and `ProducerConfig`'s keys as
/// `producer.override.*` shows them (without defaults: the agents' clients have their own).
const CONNECT: &str = include_str!("data/connect-4.3.1-keys.json");

/// Where the framework's definitions differ, and why.
const INTENDED: [(&str, &str, &str); 2] = [
    // By itself there are as many tasks as partitions, up to 256.
    ("tasks.max", "default_value", "null"),
    // The version of the plugin, which is not Kafka's.
    ("connector.plugin.version", "default_value", concat!("\"", env!("CARGO_PKG_VERSION"), "\"")),
];

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(|text| text.as_str().unwrap_or_default()).collect()
}

/// Definitions by name.
fn by_name(definitions: &[Value]) -> BTreeMap<&str, &Map<String, Value>> {
    let named = definitions.iter().filter_map(Value::as_object);
    named.map(|definition| (definition["name"].as_str().unwrap_or_default(), definition)).collect()
}

/// Each field of `theirs` that `ours` has otherwise, as (key, field, what ours has).
fn differences(theirs: &[Value], ours: &[Value]) -> BTreeSet<(String, String, String)> {
    let ours = by_name(ours);
    let fields = theirs.iter().filter_map(Value::as_object).flat_map(|theirs| {
        let name = theirs["name"].as_str().unwrap_or_default();
        theirs.iter().map(move |(field, value)| (name, field, value))
    });
    let differing = fields.filter_map(|(name, field, value)| {
        let here = ours.get(name).and_then(|definition| definition.get(field));
        (here != Some(value)).then(|| {
            let here = here.map_or_else(|| "nothing".to_owned(), Value::to_string);
            (name.to_owned(), field.clone(), here)
        })
    });
    differing.collect()
}

fn minimal() -> Value {
    json!({
        "name": "c",
        "connector.class": "EMRReplicatorSourceConnector",
        "src.kafka.bootstrap.servers": NOWHERE,
        "topic.whitelist": "t",
    })
}

fn with(pairs: &[(&str, &str)]) -> Value {
    let mut config = minimal();
    pairs.iter().for_each(|(key, value)| config[*key] = json!(value));
    config
}

fn validated(scenario: &Scenario, config: &Value) -> Value {
    let path = "/connector-plugins/EMRReplicatorSourceConnector/config/validate";
    scenario.expect(200, scenario.copyist.rest().put(path, config))
}

fn definitions(validation: &Value) -> Vec<Value> {
    list(&validation["configs"]).iter().map(|config| config["definition"].clone()).collect()
}

fn value_of<'a>(validation: &'a Value, key: &str) -> &'a Value {
    let values = list(&validation["configs"]).iter().map(|config| &config["value"]);
    values.into_iter().find(|value| value["name"] == key).unwrap_or(&Value::Null)
}

#[test]
fn plugins_and_their_keys_are_told_as_connect_tells_them() {
    let scenario = Scenario::start_with("plugins", NOWHERE, &[]);
    let connect: Value = serde_json::from_str(CONNECT).expect("JSON");
    let version = env!("CARGO_PKG_VERSION");
    let plugins = scenario.get("/connector-plugins");
    let source = |class: &str| json!({"class": class, "type": "source", "version": version});
    let classes = ["EMRReplicatorSourceConnector", "io.copyist.CopyistSourceConnector"];
    assert_eq!(list(&plugins), classes.map(source));
    let all = scenario.get("/connector-plugins?connectorsOnly=false");
    let kinds: Vec<_> = list(&all).iter().map(|plugin| plugin["type"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["source", "source", "converter", "converter", "header_converter", "header_converter"]);
    for plugin in list(&all) {
        let class = plugin["class"].as_str().unwrap_or_default();
        assert!(!list(&scenario.get(&format!("/connector-plugins/{class}/config"))).is_empty(), "{class}");
    }

    let keys = scenario.get("/connector-plugins/EMRReplicatorSourceConnector/config");
    for name in [
        "EMRReplicatorSource",
        "com.example.EMRReplicatorSourceConnector",
        "io.copyist.CopyistSourceConnector",
    ] {
        assert_eq!(scenario.get(&format!("/connector-plugins/{name}/config?version=%5B0,)")), keys, "{name}");
    }
    let intended = INTENDED.map(|(key, field, here)| (key.to_owned(), field.to_owned(), here.to_owned()));
    assert_eq!(differences(list(&connect["framework"]), list(&keys)), BTreeSet::from(intended));
    let names: Vec<_> = list(&keys).iter().map(|key| &key["name"]).collect();
    let frameworks: Vec<_> = list(&connect["framework"]).iter().map(|key| &key["name"]).collect();
    assert!(names.ends_with(&frameworks), "the connector's own keys, then Connect's in its order: {names:?}");
    assert!(
        list(&keys).iter().all(|key| key["order"] == key["order_in_group"]),
        "older clients ask for order"
    );

    let none = format!(
        "Plugin {} not found that matches the version range [9.9,9.9], available versions: [",
        classes[0]
    );
    for (path, status, message) in [
        ("/connector-plugins/nope/config", 404, "Unknown plugin nope."),
        ("/connector-plugins/EMRReplicatorSource/config?version=9.9", 400, &none),
    ] {
        let answer = scenario.expect(status, scenario.copyist.rest().get(path));
        assert!(answer["message"].as_str().is_some_and(|text| text.starts_with(message)), "{answer}");
    }
}

#[test]
fn a_config_is_judged_before_it_becomes_a_connector() {
    let scenario = Scenario::start_with("validation", NOWHERE, &[]);
    let connect: Value = serde_json::from_str(CONNECT).expect("JSON");
    let rest = scenario.copyist.rest();

    // All that the producer of Kafka knows: with Connect's definition where it has an effect, else as a text.
    let mut overrides = minimal();
    for key in list(&connect["producer_overrides"]) {
        overrides[key["name"].as_str().unwrap_or_default()] = json!("1");
    }
    let answer = validated(&scenario, &overrides);
    assert_eq!(texts(&answer["groups"])[..7], texts(&connect["groups"]));
    let ours = definitions(&answer);
    let ignored = |name: &str| {
        let definition = ours.iter().find(|definition| definition["name"] == name);
        let told = definition.and_then(|it| it["documentation"].as_str()).unwrap_or_default();
        told.starts_with("A key of Kafka's clients. Without effect here: ")
    };
    let differing = differences(list(&connect["producer_overrides"]), &ours);
    let unintended: Vec<_> = differing
        .iter()
        .filter(|(name, field, _)| !(ignored(name) && matches!(field.as_str(), "type" | "importance")))
        .collect();
    assert!(unintended.is_empty(), "{unintended:?}");

    let bad = with(&[
        ("tasks.max", "abc"),
        ("topic.regex", "a(b"),
        ("dest.kafka.linger.ms", "soon"),
        ("src.kafka.sasl.jaas.config", SECRET),
        ("src.kafka.sasl.jas.config", SECRET),
        ("src.kafka.security.protocol", "SASL_SSL"),
        ("schema.registry.topic", "s"),
    ]);
    let answer = validated(&scenario, &bad);
    let errors: BTreeSet<_> =
        list(&answer["configs"]).iter().flat_map(|config| texts(&config["value"]["errors"])).collect();
    let refused = scenario.expect(400, rest.post("/connectors", &json!({"name": "c", "config": bad})));
    let lines: Vec<_> = refused["message"].as_str().unwrap_or_default().lines().collect();
    assert_eq!(answer["error_count"], 5, "{answer}");
    assert_eq!(errors, lines[1..lines.len() - 1].iter().copied().collect(), "{refused}");
    assert_eq!(value_of(&answer, "src.kafka.sasl.jaas.config")["value"], "[hidden]");
    assert_eq!(
        value_of(&answer, "src.kafka.sasl.mechanism")["errors"][0],
        "Missing required configuration \"src.kafka.sasl.mechanism\": security.protocol is SASL_SSL."
    );
    assert_eq!(value_of(&answer, "tasks.max")["value"], Value::Null);
    assert!(!answer.to_string().contains(SECRET), "{answer}");

    let path = "/connector-plugins/EMRReplicatorSource/config/validate";
    let refused = scenario.expect(400, rest.put(path, &json!({})));
    assert_eq!(refused["message"], "Connector config {} contains no connector type");
    assert_eq!(scenario.get("/connectors"), json!([]), "a validation creates nothing");
}

#[test]
fn what_would_have_no_effect_is_told_before_and_after() {
    let scenario = Scenario::start_with("warned", NOWHERE, &[]);
    let config =
        with(&[("schema.registry.topic", "s"), ("topic.whitelst", "t"), ("errors.tolerance", "all")]);
    let answer = validated(&scenario, &config);
    let expected = [
        "unknown key topic.whitelst; did you mean topic.whitelist?",
        "without effect here (A record that cannot be copied stops its partition, and is never skipped): \
         errors.tolerance",
        "without effect here (schemas are not copied): schema.registry.topic",
    ];
    assert_eq!((&answer["error_count"], texts(&answer["warnings"])), (&json!(0), expected.to_vec()));
    assert!(validated(&scenario, &minimal()).get("warnings").is_none(), "Connect's own document");
    scenario.create("c", &config);
    scenario.wait_status("c", "the same warnings", |status| {
        let trace = status["connector"]["trace"].as_str().unwrap_or_default();
        expected.iter().all(|warning| trace.lines().any(|line| line == format!("warning: {warning}")))
    });
}
