use super::*;
use crate::parse::parse;

type Row<'a> = (&'a str, &'a str);

const MINIMUM: [Row; 4] = [
    ("name", "c"),
    ("connector.class", "EMRReplicatorSourceConnector"),
    ("src.kafka.bootstrap.servers", "source:9092"),
    ("topic.whitelist", "connect"),
];

fn config(rows: &[Row]) -> Config {
    rows.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect()
}

fn with(rows: &[Row]) -> Config {
    let mut all = config(&MINIMUM);
    all.extend(config(rows));
    all
}

fn without(key: &str) -> Config {
    let mut all = with(&[]);
    all.remove(key);
    all
}

fn judged(config: &Config) -> Validation {
    validate("EMRReplicatorSourceConnector", config).unwrap()
}

fn of<'a>(validation: &'a Validation, name: &str) -> &'a ValidatedKey {
    validation.keys.iter().find(|key| key.name == name).unwrap_or_else(|| panic!("{name}: {validation:?}"))
}

fn refusal(plugin: &str, config: &Config) -> String {
    validate(plugin, config).unwrap_err().to_string()
}

/// Each kind of error, on the key that it is about; the count and the texts are those of a refused creation.
#[test]
fn each_mistake_stands_at_its_key_and_is_counted_as_creation_counts() {
    let invalid =
        |key: &str, value: &str, rule: &str| format!("Invalid value {value} for configuration {key}: {rule}");
    let rows: [(Config, &str, Vec<String>); 9] = [
        (with(&[]), "tasks.max", vec![]),
        (with(&[("tasks.max", "0")]), "tasks.max", vec![invalid("tasks.max", "0", "Value must be at least 1")]),
        (
            with(&[("tasks.max", "abc")]),
            "tasks.max",
            vec![
                invalid("tasks.max", "abc", "Not a number of type INT"),
                invalid("tasks.max", "null", "Value must be non-null"),
            ],
        ),
        (
            with(&[("errors.tolerance", "some")]),
            "errors.tolerance",
            vec![invalid("errors.tolerance", "some", "String must be one of: none, all")],
        ),
        (
            without("topic.whitelist"),
            "topic.whitelist",
            vec![
                "Must configure one of topic.whitelist (names, separated by commas) or topic.regex (a regular \
                 expression over names), or both"
                    .to_owned(),
            ],
        ),
        (
            with(&[("producer.override.linger.ms", "x")]),
            "producer.override.linger.ms",
            vec![invalid("producer.override.linger.ms", "x", "Not a number of type LONG")],
        ),
        (
            with(&[("src.kafka.security.protocol", "SASL_SSL"), ("src.kafka.sasl.jaas.config", "x")]),
            "src.kafka.sasl.mechanism",
            vec![
                "Missing required configuration \"src.kafka.sasl.mechanism\": security.protocol is SASL_SSL."
                    .to_owned(),
            ],
        ),
        (with(&[("name", "a\nb")]), "name", vec![invalid("name", "a\nb", "String may not contain control sequences but had the following ASCII chars: 10")]),
        (with(&[("name", "a\n")]), "name", vec!["connector name \"a\\n\" is not valid: it may not hold control characters".to_owned()]),
    ];
    for (config, key, expected) in rows {
        let validation = judged(&config);
        assert_eq!(of(&validation, key).errors, expected, "{key}");
        assert_eq!(validation.error_count(), expected.len(), "{key}");
        let name = config["name"].clone().unwrap_or_default();
        let refused = match parse(&name, &config) {
            Ok(_) => Vec::new(),
            Err(Rejection::Invalid(problems)) => {
                problems.into_iter().map(|problem| problem.message).collect()
            }
            Err(other) => panic!("{other}"),
        };
        assert_eq!(refused, expected, "{key}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let given = config(&[
        ("connector.class", "EMRReplicatorSource"),
        ("tasks.max", "0"),
        ("topic.auto.create", "yes"),
    ]);
    let validation = judged(&given);
    let wrong: Vec<_> =
        validation.keys.iter().filter(|key| !key.errors.is_empty()).map(|key| key.name.as_str()).collect();
    assert_eq!(
        wrong,
        ["name", "tasks.max", "src.kafka.bootstrap.servers", "topic.whitelist", "topic.auto.create"]
    );
    assert_eq!((validation.error_count(), validation.class.as_str()), (5, "EMRReplicatorSource"));
    assert_eq!(
        of(&validation, "name").errors,
        ["Missing required configuration \"name\" which has no default value."]
    );
}

#[test]
fn nulls_of_keys_that_nobody_defines_come_first() {
    let null = "Null value can not be supplied as the configuration value.";
    let mut given = with(&[("unknown", "x"), ("tasks.max", "1")]);
    for key in ["zzz", "producer.override.linger.ms", "tasks.max", "name", "schema.registry.topic"] {
        given.insert(key.to_owned(), None);
    }
    let validation = judged(&given);
    let names: Vec<_> = validation.keys.iter().take(3).map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["producer.override.linger.ms", "zzz", "name"]);
    for key in &validation.keys[..2] {
        assert_eq!((&key.definition, &key.value), (&None, &None));
        assert_eq!(key.errors, [null]);
    }
    let again = validation.keys.iter().filter(|key| key.name == "producer.override.linger.ms").count();
    assert_eq!(again, 1, "a null has no second entry among the client keys");
    assert_eq!(of(&validation, "tasks.max").errors.len(), 2);
    assert_eq!(of(&validation, "name").errors, [null]);
    assert!(of(&validation, "schema.registry.topic").definition.is_some());
    assert!(!validation.keys.iter().any(|key| key.name == "unknown"), "it has a value: a warning names it");
}

#[test]
fn values_are_shown_by_type_whether_possible_or_not() {
    let converter = "org.apache.kafka.connect.json.JsonConverter";
    let rows = [
        ("tasks.max", " 007 ", Some("7")),
        ("tasks.max", "-1", Some("-1")),
        ("tasks.max", "x", None),
        ("tasks.max.enforce", " TRUE", Some("true")),
        ("tasks.max.enforce", "False", Some("false")),
        ("tasks.max.enforce", "yes", None),
        ("topic.preserve.partitions", "FALSE", Some("false")),
        ("topic.whitelist", " a , b,,", Some("a,b")),
        ("transforms", "x, y", Some("x,y")),
        ("src.kafka.bootstrap.servers", " a:1 ,b:2 ", Some("a:1,b:2")),
        ("src.kafka.bootstrap.servers", "${file:/s, t:b}", Some("${file:/s, t:b}")),
        ("agent.labels", "a=b , c=", Some("a=b,c=")),
        ("errors.tolerance", " some ", Some("some")),
        ("key.converter", converter, Some(converter)),
        ("key.converter", "nope", None),
        ("key.converter", "ByteArray", Some("ByteArray")),
        ("schema.registry.url", "https://u:S@r", Some("https://[hidden]@r")),
        ("schema.registry.client.basic.auth.user.info", "u:S", Some("[hidden]")),
        ("src.kafka.request.timeout.ms", "${env:T}", Some("${env:T}")),
        ("src.kafka.request.timeout.ms", "5", Some("5")),
        ("src.kafka.sasl.jaas.config", "S", Some("[hidden]")),
        ("dest.kafka.ssl.keystore.password", "${file:/s:p}", Some("[hidden]")),
        ("src.kafka.sasl.oauthbearer.client.credentials.client.secret", "S", Some("[hidden]")),
        ("src.kafka.interceptor.classes", "x.Y", Some("x.Y")),
    ];
    for (key, value, expected) in rows {
        let validation = judged(&with(&[(key, value)]));
        assert_eq!(of(&validation, key).value.as_deref(), expected, "{key}={value}");
        assert!(!format!("{validation:?}").contains(":S@"), "{key}");
    }
    let defaults = judged(&with(&[]));
    for (key, expected) in [("errors.tolerance", Some("none")), ("transforms", Some("")), ("tasks.max", None)]
    {
        assert_eq!(of(&defaults, key).value.as_deref(), expected, "{key}");
    }
}

#[test]
fn client_keys_appear_when_they_are_set_and_known() {
    let validation = judged(&with(&[
        ("producer.override.linger.ms", "5"),
        ("producer.override.buffer.memory", "5"),
        ("producer.override.foo", "S"),
        ("src.consumer.fetch.min.bytes", "1"),
        ("key.converter.basic.auth.password", "S"),
        ("admin.override.client.id", "a"),
    ]));
    let at = validation.keys.iter().position(|key| key.name == "agent.racks").unwrap();
    let definitions = validation.keys.iter().filter_map(|key| key.definition.as_ref());
    let clients = definitions.filter(|definition| definition.group.is_none());
    let clients: Vec<_> = clients.map(|it| (it.name.as_str(), it.display_name)).collect();
    assert_eq!(
        clients,
        [
            ("producer.override.buffer.memory", "buffer.memory"),
            ("producer.override.linger.ms", "linger.ms"),
            ("src.consumer.fetch.min.bytes", "fetch.min.bytes"),
        ]
    );
    let first_client =
        validation.keys.iter().position(|key| key.name == "producer.override.buffer.memory").unwrap();
    assert!(at < first_client, "after the tables");
    assert_eq!(validation.error_count(), 0);
}

#[test]
fn the_three_kinds_of_key_are_told_apart() {
    let validation = judged(&with(&[
        ("topic.poll.interval.ms", "5000"),
        ("schema.registry.topic", "_schemas"),
        ("topic.whitelst", "t"),
        ("some.stranger", "x"),
    ]));
    assert_eq!(validation.error_count(), 0, "Connect tolerates them all");
    assert_eq!(
        validation.warnings,
        [
            "unknown key topic.whitelst; did you mean topic.whitelist?",
            "unknown keys, without effect: some.stranger",
            "without effect here (schemas are not copied): schema.registry.topic",
        ]
    );
    let documentation = |key: &str| of(&validation, key).definition.as_ref().unwrap().documentation.clone();
    assert_eq!(
        documentation("schema.registry.topic"),
        "The source's topic of schemas. Without effect here: schemas are not copied."
    );
    assert!(!documentation("topic.poll.interval.ms").contains("effect"));
}

#[test]
fn warnings_are_those_of_the_status() {
    let rows = [
        with(&[("topic.timestamp.type", "LogAppendTime"), ("errors.tolerance", "all")]),
        with(&[("topic.rename.format", "one"), ("topic.regex", "b.*")]),
    ];
    for given in rows {
        let validation = judged(&given);
        assert!(!validation.warnings.is_empty());
        assert_eq!(parse("c", &given).unwrap().warnings, validation.warnings);
    }
    // What a config without a spec would do is not said; its keys are.
    let broken =
        judged(&with(&[("topic.timestamp.type", "LogAppendTime"), ("tasks.max", "0"), ("zzz.qqq", "")]));
    assert_eq!(broken.warnings, ["unknown keys, without effect: zzz.qqq"]);
}

#[test]
fn a_request_is_for_a_class_by_any_of_its_names() {
    let fits = [
        ("EMRReplicatorSourceConnector", "EMRReplicatorSourceConnector"),
        ("EMRReplicatorSource", "EMRReplicatorSourceConnector"),
        ("EMRReplicatorSourceConnector", "EMRReplicatorSource"),
        ("Source", "EMRReplicatorSourceConnector"),
        ("EMRReplicatorSource", "com.example.EMRReplicatorSourceConnector"),
        ("com.example.EMRReplicatorSourceConnector", "EMRReplicatorSource"),
        ("io.copyist.CopyistSourceConnector", "CopyistSource"),
        ("CopyistSource", "io.copyist.CopyistSourceConnector"),
        ("CopyistSource", " CopyistSource "),
    ];
    for (plugin, class) in fits {
        let validation = validate(plugin, &with(&[("connector.class", class)])).unwrap();
        assert_eq!((validation.class.as_str(), validation.error_count()), (class, 0));
    }
    let other = [
        ("nope", "EMRReplicatorSourceConnector"),
        ("CopyistSource", "EMRReplicatorSourceConnector"),
        ("EMRReplicatorSourceConnector", "Nope"),
        ("ByteArrayConverter", "CopyistSource"),
    ];
    for (plugin, class) in other {
        let expected = format!("Included connector type {class} does not match request type {plugin}");
        assert_eq!(refusal(plugin, &with(&[("connector.class", class)])), expected);
    }
}

#[test]
fn without_a_known_class_nothing_can_be_judged() {
    assert_eq!(refusal("nope", &Config::new()), "Connector config {} contains no connector type");
    let secret = config(&[("src.kafka.sasl.jaas.config", "S"), ("schema.registry.url", "http://u:S@r")]);
    assert_eq!(
        refusal("CopyistSource", &secret),
        "Connector config {schema.registry.url=http://[hidden]@r, src.kafka.sasl.jaas.config=[hidden]} contains \
         no connector type"
    );
    let null = Config::from([("connector.class".to_owned(), None)]);
    assert_eq!(refusal("x", &null), "Connector config {connector.class=null} contains no connector type");
    let unknown = refusal("Nope", &with(&[("connector.class", "Nope")]));
    assert!(
        unknown
            .starts_with("Failed to find any class that implements Connector and which name matches Nope,")
    );
}
