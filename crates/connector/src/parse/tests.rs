use std::collections::BTreeSet;
use std::time::Duration;

use copyist_model::client::is_secret;
use copyist_model::{
    AgentChoice, ClientProperties, Destination, EngineChoice, LossPolicy, OffsetReset, RenameFormat,
    TopicCreation, TopicPattern, TopicSelection, ZooKeeper, ZooKeepers,
};
use proptest::prelude::*;

use super::*;
use crate::clients::{self, HONOURED, Side};
use crate::framework;
use crate::key::{self, Effect};
use crate::kind::Kind;

type Config = BTreeMap<String, Option<String>>;
type Row<'a> = (&'a str, &'a str);

const SOURCE: Row = ("src.kafka.bootstrap.servers", "source:9092");
const MINIMUM: [Row; 3] =
    [("connector.class", "EMRReplicatorSourceConnector"), SOURCE, ("topic.whitelist", "connect")];

fn config(rows: &[Row]) -> Config {
    rows.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect()
}

/// The least that is accepted, and these over it.
fn with(rows: &[Row]) -> Config {
    let mut all = config(&MINIMUM);
    all.extend(config(rows));
    all
}

fn without(key: &str, rows: &[Row]) -> Config {
    let mut all = with(rows);
    all.remove(key);
    all
}

fn accept(rows: &[Row]) -> Parsed {
    parse("c", &with(rows)).unwrap()
}

fn spec(rows: &[Row]) -> ConnectorSpec {
    accept(rows).spec
}

fn messages(config: &Config) -> Vec<String> {
    match parse("c", config) {
        Err(Rejection::Invalid(problems)) => problems.into_iter().map(|problem| problem.message).collect(),
        other => panic!("{config:?}: {other:?}"),
    }
}

fn properties(rows: &[Row]) -> ClientProperties {
    ClientProperties(rows.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

fn zookeeper(connect: &str) -> Option<ZooKeeper> {
    ZooKeeper::parse(connect, Duration::from_secs(6), Duration::from_secs(6)).ok()
}

fn topics<const N: usize>(names: [&str; N]) -> BTreeSet<copyist_model::TopicName> {
    names.map(|name| name.parse().unwrap()).into()
}

#[test]
fn the_documented_request_is_understood() {
    let byte_arrays = "org.apache.kafka.connect.converters.ByteArrayConverter";
    let given = config(&[
        ("connector.class", "EMRReplicatorSourceConnector"),
        ("key.converter", byte_arrays),
        ("value.converter", byte_arrays),
        ("src.kafka.bootstrap.servers", "10.0.0.1:9092"),
        ("src.zookeeper.connect", "10.0.0.1:2181"),
        ("dest.zookeeper.connect", "10.0.0.2:2181"),
        ("topic.whitelist", "connect"),
        ("topic.rename.format", "connect.replica"),
        ("src.kafka.max.poll.records", "300"),
    ]);
    let expected = Parsed {
        name: "connect-test".parse().unwrap(),
        spec: ConnectorSpec {
            selection: TopicSelection {
                whitelist: topics(["connect"]),
                pattern: None,
                blacklist: BTreeSet::new(),
            },
            rename: RenameFormat::parse("connect.replica").unwrap(),
            tasks_max: None,
            source: properties(&[("bootstrap.servers", "10.0.0.1:9092")]),
            destination: Destination::Worker(ClientProperties::default()),
            zookeepers: ZooKeepers {
                source: zookeeper("10.0.0.1:2181"),
                destination: zookeeper("10.0.0.2:2181"),
            },
            offset_reset: OffsetReset::Earliest,
            engine: EngineChoice::Auto,
            loss_policy: LossPolicy::Fail,
            agents: AgentChoice::default(),
            creation: TopicCreation {
                enabled: true,
                replication_factor: None,
                timestamp_type: "CreateTime".to_owned(),
                overrides: BTreeMap::new(),
            },
            poll_interval: Duration::from_secs(120),
        },
        warnings: vec![
            "without effect here (partitions are assigned by tasks, not by a consumer group): \
             src.kafka.max.poll.records"
                .to_owned(),
        ],
    };
    assert_eq!(parse("connect-test", &given), Ok(expected));
}

#[test]
fn classes_are_known_by_full_and_simple_name_and_alias() {
    let known = [
        "EMRReplicatorSourceConnector",
        "EMRReplicatorSource",
        "com.example.connect.EMRReplicatorSourceConnector",
        "CopyistSourceConnector",
        "CopyistSource",
        "io.copyist.CopyistSourceConnector",
        " io.copyist.CopyistSourceConnector ",
    ];
    for class in known {
        assert_eq!(accept(&[("connector.class", class)]).warnings, Vec::<String>::new(), "{class}");
    }
    let unknown = [
        "",
        "emrreplicatorsourceconnector",
        "XEMRReplicatorSourceConnector",
        ".EMRReplicatorSourceConnector",
        "com.example.CopyistSourceConnector",
        "FileStreamSource",
    ];
    for class in unknown {
        let rejection = parse("c", &with(&[("connector.class", class)])).unwrap_err();
        assert_eq!(rejection, Rejection::UnknownClass { class: class.to_owned() });
    }
}

#[test]
fn an_unknown_class_is_told_which_ones_there_are() {
    let text = Rejection::UnknownClass { class: "Nope".to_owned() }.to_string();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        text,
        format!(
            "Failed to find any class that implements Connector and which name matches Nope, available \
             connectors are: PluginDesc{{klass=class EMRReplicatorSourceConnector, \
             name='EMRReplicatorSourceConnector', version='{version}', encodedVersion={version}, type=source, \
             typeName='source', location='classpath'}}, PluginDesc{{klass=class \
             io.copyist.CopyistSourceConnector, name='io.copyist.CopyistSourceConnector', \
             version='{version}', encodedVersion={version}, type=source, typeName='source', \
             location='classpath'}}"
        )
    );
}

#[test]
fn a_config_without_class_is_shown_without_secrets() {
    let rows = [
        ("", &[][..], "{name=}"),
        ("a", &[], "{name=a}"),
        ("a", &[("name", "a"), ("topic.whitelist", "t")], "{name=a, topic.whitelist=t}"),
        (
            "a",
            &[("src.kafka.sasl.jaas.config", "S1"), ("src.kafka.sasl.jas.config", "S2"), ("k", "S3")],
            "{k=[hidden], name=a, src.kafka.sasl.jaas.config=[hidden], src.kafka.sasl.jas.config=[hidden]}",
        ),
    ];
    for (name, given, shown) in rows {
        let text = parse(name, &config(given)).unwrap_err().to_string();
        assert_eq!(text, format!("Connector config {shown} contains no connector type"));
    }
    let null = Config::from([("connector.class".to_owned(), None)]);
    let text = parse("a", &null).unwrap_err().to_string();
    assert_eq!(text, "Connector config {connector.class=null, name=a} contains no connector type");
}

#[test]
fn the_name_of_the_config_is_that_of_the_request() {
    assert_eq!(accept(&[("name", "c")]).name.as_str(), "c");
    let mut null = with(&[]);
    null.insert("name".to_owned(), None);
    assert_eq!(parse("c", &null).unwrap().name.as_str(), "c");
    for (name, text) in [
        ("b", "Connector name configuration (c) doesn't match connector name in the URL (b)"),
        ("", "Connector name configuration (c) doesn't match connector name in the URL ()"),
    ] {
        assert_eq!(parse(name, &config(&[("name", "c")])).unwrap_err().to_string(), text);
    }
    let untrimmed = parse("c", &config(&[("name", " c")])).unwrap_err();
    assert!(matches!(untrimmed, Rejection::NameMismatch { .. }), "before the class is looked for");
}

#[test]
fn a_name_that_is_none_is_refused() {
    let rows = [
        ("", "Invalid value  for configuration name: String may not be empty"),
        ("  ", "Invalid value  for configuration name: String may not be empty"),
        (
            "x\ny",
            "Invalid value x\ny for configuration name: String may not contain control sequences but had the \
             following ASCII chars: 10",
        ),
        (
            "x\r\n\u{7f}y",
            "Invalid value x\r\n\u{7f}y for configuration name: String may not contain control sequences but \
             had the following ASCII chars: 13, 10, 127",
        ),
        ("x\n", "connector name \"x\\n\" is not valid: it may not hold control characters"),
    ];
    for (name, message) in rows {
        let text = parse(name, &with(&[])).unwrap_err().to_string();
        assert_eq!(
            text,
            format!(
                "Connector configuration is invalid and contains the following 1 error(s):\n{message}\nYou can \
                 also find the above list of errors at the endpoint \
                 `/connector-plugins/{{connectorType}}/config/validate`"
            )
        );
    }
}

/// Lines of Kafka Connect 4.3.1's own `ConfigDef.validateAll`, for these very values.
#[test]
fn connects_own_keys_are_judged_in_connects_words() {
    let int = "Not a number of type INT";
    let long = "Not a number of type LONG";
    let boolean = "Expected value to be either true or false";
    let support = "String must be one of (case insensitive): REQUIRED, REQUESTED";
    let boundary = "String must be one of (case insensitive): INTERVAL, POLL, CONNECTOR";
    let rows: [(&str, &str, &str, &str); 22] = [
        ("tasks.max", "0", "0", "Value must be at least 1"),
        ("tasks.max", "-5", "-5", "Value must be at least 1"),
        ("tasks.max", " 0 ", "0", "Value must be at least 1"),
        ("tasks.max", "abc", "abc", int),
        ("tasks.max", "", "", int),
        ("tasks.max", " x ", " x ", int),
        ("tasks.max", "1.5", "1.5", int),
        ("tasks.max", "99999999999", "99999999999", int),
        ("tasks.max.enforce", " x ", " x ", boolean),
        ("errors.tolerance", "some", "some", "String must be one of: none, all"),
        ("errors.tolerance", " x ", "x", "String must be one of: none, all"),
        ("config.action.reload", "x", "x", "String must be one of: none, restart"),
        ("exactly.once.support", "x", "x", support),
        ("transaction.boundary", "", "", boundary),
        ("transaction.boundary.interval.ms", "-5", "-5", "Value must be at least 0"),
        ("transaction.boundary.interval.ms", "x", "x", long),
        ("errors.retry.timeout", "1.5", "1.5", long),
        ("errors.log.enable", "-5", "-5", boolean),
        ("topic.creation.groups", "a,a", "[a, a]", "Duplicate alias provided."),
        ("offsets.storage.topic", " ", "", "String must be non-empty"),
        ("key.converter", "nope", "nope", "Class nope could not be found."),
        ("header.converter", " x ", " x ", "Class  x  could not be found."),
    ];
    for (key, value, shown, rule) in rows {
        let mut expected = vec![format!("Invalid value {shown} for configuration {key}: {rule}")];
        if rule == int {
            expected.push(format!("Invalid value null for configuration {key}: Value must be non-null"));
        }
        assert_eq!(messages(&with(&[(key, value)])), expected);
    }
}

#[test]
fn exactly_once_is_promised_for_the_raw_engine_alone() {
    let expected =
        ["required needs engine=raw: the engine that is taken where raw cannot copy copies at least once"];
    for value in ["required", "Required"] {
        assert_eq!(messages(&with(&[("exactly.once.support", value)])), expected);
        assert_eq!(messages(&with(&[("exactly.once.support", value), ("engine", "librdkafka")])), expected);
        assert!(parse("c", &with(&[("exactly.once.support", value), ("engine", "raw")])).is_ok());
    }
}

#[test]
fn connects_own_keys_take_what_connect_takes() {
    let rows = [
        ("tasks.max", " 007 "),
        ("tasks.max", "+3"),
        ("tasks.max.enforce", "TRUE"),
        ("errors.tolerance", "all"),
        ("exactly.once.support", "Requested"),
        ("transaction.boundary", "Interval"),
        ("transaction.boundary.interval.ms", "0"),
        ("errors.retry.timeout", "-1"),
        ("topic.creation.groups", "a,b"),
        ("transforms", " "),
        ("predicates", ""),
        ("connector.plugin.version", "4.3.1"),
    ];
    for (key, value) in rows {
        assert!(parse("c", &with(&[(key, value)])).is_ok(), "{key}={value}");
    }
}

#[test]
fn nulls_are_refused_unknown_keys_first() {
    let null = "Null value can not be supplied as the configuration value.";
    let rows: [(&str, &[&str]); 6] = [
        ("whatever", &[null]),
        ("src.kafka.client.id", &[null]),
        ("src.kafka.bootstrap.servers", &[null]),
        ("tasks.max", &["Invalid value null for configuration tasks.max: Value must be non-null", null]),
        (
            "errors.tolerance",
            &[
                "Invalid value null for configuration errors.tolerance: String must be one of: none, all",
                null,
            ],
        ),
        ("transforms", &["Invalid value null for configuration transforms: entry must be non null", null]),
    ];
    for (key, expected) in rows {
        let mut given = with(&[]);
        given.insert(key.to_owned(), None);
        assert_eq!(messages(&given), expected, "{key}");
    }
    let mut given = with(&[("tasks.max", "0")]);
    given.insert("zzz".to_owned(), None);
    let Err(Rejection::Invalid(problems)) = parse("c", &given) else { panic!("accepted") };
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["zzz", "tasks.max"]);
}

#[test]
fn all_mistakes_are_told_at_once_and_in_order() {
    let given = config(&[
        ("connector.class", "EMRReplicatorSourceConnector"),
        ("tasks.max", "abc"),
        ("errors.tolerance", "some"),
        ("value.converter", "io.confluent.connect.avro.AvroConverter"),
        ("topic.rename.format", "a b"),
        ("dest.topic.replication.factor", "-1"),
        ("dest.kafka.linger.ms", "soon"),
        ("src.consumer.auto.offset.reset", "none"),
    ]);
    let text = parse("c", &given).unwrap_err().to_string();
    assert_eq!(
        text,
        "Connector configuration is invalid and contains the following 10 error(s):\n\
         Invalid value abc for configuration tasks.max: Not a number of type INT\n\
         Invalid value null for configuration tasks.max: Value must be non-null\n\
         Invalid value io.confluent.connect.avro.AvroConverter for configuration value.converter: records are \
         copied byte by byte and never decoded; write org.apache.kafka.connect.converters.ByteArrayConverter, \
         or leave the key out\n\
         Invalid value some for configuration errors.tolerance: String must be one of: none, all\n\
         Invalid value a b for configuration topic.rename.format: topic name \"a b\" is not valid: only ASCII \
         letters, digits, '.', '_' and '-' are allowed\n\
         Invalid value -1 for configuration dest.topic.replication.factor: Value must be at least 0\n\
         Missing required configuration \"src.kafka.bootstrap.servers\": it has no default value. Brokers as \
         host:port, separated by commas, or in its stead src.zookeeper.connect, where they are found.\n\
         Must configure one of topic.whitelist (names, separated by commas) or topic.regex (a regular \
         expression over names), or both\n\
         Invalid value soon for configuration dest.kafka.linger.ms: Not a number of type LONG\n\
         Invalid value none for configuration src.consumer.auto.offset.reset: String must be one of: earliest, \
         latest; a partition without a stored position must start somewhere\n\
         You can also find the above list of errors at the endpoint \
         `/connector-plugins/{connectorType}/config/validate`"
    );
}

/// Values of the class's keys that are wrong: key, value, and the lines after `Invalid value … : `.
#[test]
fn wrong_values_of_the_classs_keys_are_refused_with_the_reason() {
    let rules = "only ASCII letters, digits, '.', '_' and '-' are allowed";
    let rows: [(&str, &str, &[&str]); 18] = [
        (
            "src.kafka.bootstrap.servers",
            "a:1,b,c:x",
            &["entry \"b\" has no port", "entry \"c:x\" has a port"],
        ),
        ("src.zookeeper.connect", "z:0,:1", &["entry \"z:0\" has a port", "entry \":1\" has no valid host"]),
        ("dest.zookeeper.connect", "/kafka", &["no server is named; write host:port"]),
        ("dest.kafka.bootstrap.servers", "b", &["entry \"b\" has no port"]),
        ("topic.whitelist", "ok,a b,c/d", &["topic name \"a b\" is not", "topic name \"c/d\" is not"]),
        ("topic.blacklist", "log.*", &["topic name \"log.*\" is not valid: "]),
        ("topic.regex", "a(", &["not a regular expression: "]),
        ("topic.rename.format", "", &["topic name \"\" is not valid: it must have 1 to 249 characters"]),
        ("topic.rename.format", "${topik}", &["the only placeholder is ${topic}"]),
        ("topic.rename.format", "${topic}/a", &["with \"x\" for ${topic}, topic name \"x/a\" is not valid"]),
        ("topic.auto.create", "yes", &["Expected value to be either true or false"]),
        ("topic.preserve.partitions", "false", &["each record goes into the partition that it came from"]),
        ("topic.preserve.partitions", "no", &["Expected value to be either true or false"]),
        ("topic.poll.interval.ms", "0", &["Value must be at least 1"]),
        ("dest.topic.replication.factor", "40000", &["Not a number of type SHORT"]),
        ("topic.timestamp.type", "createtime", &["String must be one of: CreateTime, LogAppendTime"]),
        ("topic.config.sync", "x", &["Expected value to be either true or false"]),
        ("src.header.converter", "SimpleHeaderConverter", &["records are copied byte by byte"]),
    ];
    for (key, value, expected) in rows {
        let lines = messages(&with(&[(key, value)]));
        assert_eq!(lines.len(), expected.len(), "{key}={value}: {lines:?}");
        for (line, rule) in lines.iter().zip(expected) {
            let beginning = format!("Invalid value {} for configuration {key}: {rule}", value.trim());
            assert!(line.starts_with(&beginning), "{line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }
    assert!(
        messages(&with(&[("topic.blacklist", "log.*")]))[0].ends_with("a pattern belongs into topic.regex")
    );
    assert!(messages(&with(&[("topic.whitelist", "a b")]))[0].contains(rules));
}

#[test]
fn labels_that_are_none_are_named() {
    let lines = messages(&with(&[("agent.labels", "a, b=1, b=2, =c")]));
    let of = "Invalid value a, b=1, b=2, =c for configuration agent.labels: ";
    let rules = ["a is not NAME=VALUE", "label b is there twice", "=c is not NAME=VALUE"];
    assert_eq!(lines, rules.map(|rule| format!("{of}{rule}")));
}

#[test]
fn transformations_are_refused() {
    let lines = messages(&with(&[("transforms", "a, b"), ("transforms.a.type", "X"), ("predicates", "p")]));
    assert_eq!(
        lines,
        [
            "Invalid value [a, b] for configuration transforms: transformations are not supported, since copies \
             are exact; leave the key out",
            "Invalid value [p] for configuration predicates: predicates belong to transformations, which are \
             not supported, since copies are exact; leave the key out",
        ]
    );
}

#[test]
fn only_byte_arrays_convert() {
    let keys = [
        "key.converter",
        "value.converter",
        "header.converter",
        "src.key.converter",
        "src.value.converter",
        "src.header.converter",
    ];
    let good = [
        "org.apache.kafka.connect.converters.ByteArrayConverter",
        "io.confluent.connect.replicator.util.ByteArrayConverter",
        " ByteArrayConverter ",
        "ByteArray",
    ];
    let bad = [
        "org.apache.kafka.connect.json.JsonConverter",
        "org.apache.kafka.connect.storage.SimpleHeaderConverter",
        "MyByteArrayConverter",
        "",
    ];
    for key in keys {
        for class in good {
            assert_eq!(accept(&[(key, class)]).warnings, Vec::<String>::new(), "{key}={class}");
        }
        for class in bad {
            assert_eq!(messages(&with(&[(key, class)])).len(), 1, "{key}={class}");
        }
    }
}

#[test]
fn topics_are_selected_by_list_and_pattern() {
    let selection = spec(&[("topic.whitelist", " a , b,,"), ("topic.blacklist", "c")]).selection;
    let expected = TopicSelection { whitelist: topics(["a", "b"]), pattern: None, blacklist: topics(["c"]) };
    assert_eq!(selection, expected);

    let given = without("topic.whitelist", &[("topic.regex", " log-.* ")]);
    let selection = parse("c", &given).unwrap().spec.selection;
    assert_eq!(selection.pattern, Some(TopicPattern::parse("log-.*").unwrap()));
    assert!(selection.whitelist.is_empty());

    for nothing in [&[][..], &[("topic.whitelist", " , ")], &[("topic.regex", "")]] {
        let lines = messages(&without("topic.whitelist", nothing));
        assert!(
            lines.len() == 1 && lines[0].starts_with("Must configure one of topic.whitelist"),
            "{lines:?}"
        );
    }
}

#[test]
fn renaming_follows_the_format() {
    let rows = [
        ("${topic}", "${topic}"),
        (" dc1.${topic} ", "dc1.${topic}"),
        ("\\${topic}.replica", "${topic}.replica"),
        ("connect.replica", "connect.replica"),
    ];
    for (format, expected) in rows {
        assert_eq!(spec(&[("topic.rename.format", format)]).rename, RenameFormat::parse(expected).unwrap());
    }
    assert!(spec(&[]).rename.is_identity());
}

#[test]
fn one_name_for_several_topics_is_warned_about() {
    let warns = |rows: &[Row]| {
        let warnings = accept(rows).warnings;
        assert!(warnings.len() <= 1, "{warnings:?}");
        warnings.first().is_some_and(|line| line.starts_with("topic.rename.format is the name one "))
    };
    let one = ("topic.rename.format", "one");
    assert!(!warns(&[one]));
    assert!(warns(&[one, ("topic.whitelist", "a,b")]));
    assert!(warns(&[one, ("topic.regex", "b.*")]));
    assert!(!warns(&[("topic.rename.format", "${topic}.x"), ("topic.whitelist", "a,b")]));
    let warnings = accept(&[one, ("topic.whitelist", "a,b"), ("topic.blacklist", "b")]).warnings;
    assert_eq!(warnings, ["not copied, since topic.blacklist wins over topic.whitelist: b"]);
}

type Reading = (&'static str, &'static str, fn(&ConnectorSpec) -> bool);

#[test]
fn typed_keys_reach_the_spec() {
    let rows: [Reading; 22] = [
        ("tasks.max", " 4 ", |spec| spec.tasks_max == Some(4)),
        ("tasks.max", "2147483647", |spec| spec.tasks_max == Some(2_147_483_647)),
        ("topic.auto.create", "False", |spec| !spec.creation.enabled),
        ("topic.auto.create", "true", |spec| spec.creation.enabled),
        ("dest.topic.replication.factor", "3", |spec| spec.creation.replication_factor == Some(3)),
        ("dest.topic.replication.factor", "0", |spec| spec.creation.replication_factor.is_none()),
        ("topic.timestamp.type", "LogAppendTime", |spec| spec.creation.timestamp_type == "LogAppendTime"),
        ("topic.poll.interval.ms", "500", |spec| spec.poll_interval == Duration::from_millis(500)),
        ("topic.preserve.partitions", "true", |spec| *spec == self::spec(&[])),
        ("engine", "raw", |spec| spec.engine == EngineChoice::Raw),
        ("loss.policy", "restart", |spec| spec.loss_policy == LossPolicy::Restart),
        ("agent.labels", " a = b, c=", |spec| {
            spec.agents.labels == [("a", "b"), ("c", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
        }),
        ("agent.racks", "r, s", |spec| spec.agents.racks == ["r", "s"].map(str::to_owned).into()),
        ("agent.racks", "", |spec| spec.agents == AgentChoice::default()),
        ("src.kafka.auto.offset.reset", "latest", |spec| spec.offset_reset == OffsetReset::Latest),
        ("src.kafka.auto.offset.reset", "earliest", |spec| spec.offset_reset == OffsetReset::Earliest),
        ("src.consumer.auto.offset.reset", "latest", |spec| spec.offset_reset == OffsetReset::Latest),
        ("src.kafka.auto.offset.reset", "latest", |spec| spec.source == self::spec(&[]).source),
        ("src.kafka.bootstrap.servers", " a:1 , b:2 ", |spec| spec.source.bootstrap_servers() == "a:1,b:2"),
        ("src.kafka.bootstrap.servers", "${file:/etc/s:brokers}", |spec| {
            spec.source.bootstrap_servers() == "${file:/etc/s:brokers}"
        }),
        ("dest.kafka.bootstrap.servers", "d:1", |spec| {
            spec.destination == Destination::Cluster(properties(&[("bootstrap.servers", "d:1")]))
        }),
        ("dest.kafka.bootstrap.servers", " ", |spec| {
            spec.destination == Destination::Worker(ClientProperties::default())
        }),
    ];
    for (key, value, holds) in rows {
        assert!(holds(&spec(&[(key, value)])), "{key}={value}");
    }
}

#[test]
fn brokers_may_be_found_in_zookeeper() {
    for blank in [None, Some(""), Some(" , ")] {
        let mut given =
            without("src.kafka.bootstrap.servers", &[("src.zookeeper.connect", "z1, z2:1/kafka")]);
        given.extend(blank.map(|servers| (SOURCE.0.to_owned(), Some(servers.to_owned()))));
        let spec = parse("c", &given).unwrap().spec;
        assert_eq!(
            (spec.source.bootstrap_servers(), spec.zookeepers.source),
            ("", zookeeper("z1,z2:1/kafka"))
        );
        given.remove("src.zookeeper.connect");
        let lines = messages(&given);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.starts_with("Missing required configuration \"src.kafka.bootstrap.servers\""), "{line}");
        assert!(line.contains("src.zookeeper.connect"), "{line}");
    }
    let both = spec(&[("src.zookeeper.connect", "z"), ("src.zookeeper.session.timeout.ms", "7")]);
    let read = both.zookeepers.source.unwrap();
    assert_eq!((read.connection_timeout.as_millis(), read.session_timeout.as_millis()), (6_000, 7));
    assert_eq!(spec(&[("dest.zookeeper.connect", " ")]).zookeepers, ZooKeepers::default());
}

/// It would not be resolved there, and its text taken as it is.
#[test]
fn only_client_keys_may_hold_references() {
    let rows = [
        "topic.whitelist",
        "topic.rename.format",
        "tasks.max",
        "src.zookeeper.connect",
        "key.converter",
        "topic.auto.create",
        "agent.labels",
    ];
    for key in rows {
        let lines = messages(&with(&[(key, "${file:/s:k}")]));
        let [line] = &lines[..] else { panic!("{key}: {lines:?}") };
        let beginning =
            format!("Invalid value ${{file:/s:k}} for configuration {key}: a reference to a config");
        assert!(line.starts_with(&beginning) && line.contains("src.kafka., src.consumer."), "{line}");
    }
    for key in ["src.kafka.client.id", "src.consumer.client.id", "dest.kafka.client.id", SOURCE.0] {
        accept(&[(key, "${file:/s:k}")]);
    }
    accept(&[("topic.rename.format", "${topic}.copy"), ("producer.override.client.id", "${env:K}")]);
}

#[test]
fn client_keys_pass_through_the_special_prefix_over_the_general_one() {
    let spec = spec(&[
        ("src.kafka.fetch.min.bytes", "10"),
        ("src.kafka.fetch.max.wait.ms", "20"),
        ("src.consumer.fetch.min.bytes", "30"),
        ("src.consumer.auto.offset.reset", "earliest"),
        ("src.kafka.auto.offset.reset", "latest"),
        ("src.kafka.sasl.jaas.config", "${file:/etc/s:jaas}"),
        ("src.kafka.request.timeout.ms", "${env:TIMEOUT}"),
        ("src.kafka.ssl.endpoint.identification.algorithm", ""),
        ("src.kafka.acks", "all"),
        ("src.kafka.linger.ms", "5"),
        ("dest.kafka.linger.ms", "5"),
        ("dest.kafka.compression.type", "lz4"),
        ("dest.kafka.fetch.min.bytes", "9"),
        ("producer.override.linger.ms", "7"),
        ("producer.override.acks", "all"),
    ]);
    let source = [
        ("bootstrap.servers", "source:9092"),
        ("fetch.min.bytes", "30"),
        ("fetch.max.wait.ms", "20"),
        ("sasl.jaas.config", "${file:/etc/s:jaas}"),
        ("request.timeout.ms", "${env:TIMEOUT}"),
        ("ssl.endpoint.identification.algorithm", ""),
    ];
    assert_eq!(spec.source, properties(&source));
    let destination = [("linger.ms", "7"), ("compression.type", "lz4")];
    assert_eq!(spec.destination, Destination::Worker(properties(&destination)));
    assert_eq!(spec.offset_reset, OffsetReset::Earliest);
}

/// Each honoured client key under each prefix: it passes where it concerns that side, and is named where not.
#[test]
fn each_client_key_passes_on_its_side_only() {
    let sample = |key: &clients::ClientKey| match key.name {
        "bootstrap.servers" => "h:1",
        "client.dns.lookup" => "use_all_dns_ips",
        "security.protocol" => "ssl",
        "sasl.mechanism" => "SCRAM-SHA-256",
        "compression.type" => "zstd",
        "check.crcs" => "true",
        _ => "5",
    };
    let prefixes = [
        ("src.kafka.", Side::Source),
        ("src.consumer.", Side::Source),
        ("dest.kafka.", Side::Destination),
        ("producer.override.", Side::Destination),
    ];
    let passing = HONOURED.iter().filter(|key| key.effect == Effect::Honoured);
    for key in passing.filter(|key| key.name != "auto.offset.reset") {
        for (prefix, side) in prefixes {
            let name = format!("{prefix}{}", key.name);
            let Parsed { spec, warnings, .. } = accept(&[(&name, sample(key))]);
            let found = match (side, &spec.destination) {
                (Side::Source, _) => spec.source.get(key.name),
                (_, Destination::Worker(properties) | Destination::Cluster(properties)) => {
                    properties.get(key.name)
                }
            };
            if key.side.includes(side) {
                assert_eq!(found, Some(sample(key)), "{name}");
                assert_eq!(warnings, Vec::<String>::new());
            } else {
                assert_eq!(found, None, "{name}");
                let who = if side == Side::Source { "consumers" } else { "producers" };
                assert_eq!(warnings, [format!("without effect here ({who} have no such key): {name}")]);
            }
        }
    }
}

#[test]
fn client_values_are_checked() {
    let rows = [
        ("src.kafka.fetch.min.bytes", "abc", "Not a number of type INT"),
        ("src.kafka.fetch.min.bytes", "-1", "Value must be at least 0"),
        ("src.consumer.check.crcs", "1", "Expected value to be either true or false"),
        ("src.kafka.sasl.mechanism", "GSSAPI", "String must be one of: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        (
            "src.kafka.security.protocol",
            "TLS",
            "String must be one of (case insensitive): SASL_SSL, PLAINTEXT, SSL, SASL_PLAINTEXT",
        ),
        ("producer.override.linger.ms", "abc", "Not a number of type LONG"),
        ("producer.override.max.in.flight.requests.per.connection", "6", "Value must be no more than 5"),
        ("producer.override.compression.type", "lz5", "String must be one of: none, gzip, snappy, lz4, zstd"),
        ("dest.kafka.acks", "2", "String must be one of: all, -1, 0, 1"),
    ];
    for (key, value, rule) in rows {
        let expected = format!("Invalid value {value} for configuration {key}: {rule}");
        assert_eq!(messages(&with(&[(key, value)])), [expected]);
    }
    let lines = messages(&with(&[("producer.override.bootstrap.servers", "b")]));
    assert!(lines[0].contains("entry \"b\" has no port"), "{lines:?}");
}

#[test]
fn sasl_needs_its_mechanism_and_login() {
    let missing =
        |key: &str| format!("Missing required configuration \"{key}\": security.protocol is SASL_SSL.");
    let source = with(&[("src.kafka.security.protocol", "sasl_ssl")]);
    let both = [missing("src.kafka.sasl.mechanism"), missing("src.kafka.sasl.jaas.config")];
    assert_eq!(messages(&source), both);
    let login =
        with(&[("src.kafka.security.protocol", "SASL_SSL"), ("src.consumer.sasl.mechanism", "PLAIN")]);
    assert_eq!(messages(&login), [missing("src.kafka.sasl.jaas.config")]);
    let destination = [("dest.kafka.security.protocol", "SASL_SSL"), ("dest.kafka.sasl.mechanism", "PLAIN")];
    // The worker's own settings can have the rest.
    assert_eq!(accept(&destination).warnings, Vec::<String>::new());
    let cluster = [&destination[..], &[("dest.kafka.bootstrap.servers", "d:1")]].concat();
    assert_eq!(messages(&with(&cluster)), [missing("dest.kafka.sasl.jaas.config")]);
    let complete = [
        ("src.kafka.security.protocol", "SASL_SSL"),
        ("src.kafka.sasl.mechanism", "PLAIN"),
        ("src.kafka.sasl.jaas.config", "x.PlainLoginModule required username=\"u\" password=\"SECRET\";"),
    ];
    assert!(!format!("{:?}", accept(&complete)).contains("SECRET"));
}

#[test]
fn what_has_no_effect_is_named_with_the_reason() {
    let warnings = accept(&[
        ("src.kafka.interceptor.classes", "x.Y"),
        ("src.consumer.group.id", "g"),
        ("src.kafka.timestamps.topic.replication.factor", "1"),
        ("admin.override.client.id", "a"),
        ("key.converter.schemas.enable", "false"),
        ("topic.config.sync", "true"),
        ("errors.tolerance", "all"),
        ("producer.override.acks", "1"),
        ("topic.creation.default.partitions", "3"),
        ("topic.creation.groups", "a"),
    ])
    .warnings;
    assert_eq!(
        warnings,
        [
            (
                "A created topic has the configs of its source topic; later changes are not followed",
                "topic.config.sync"
            ),
            ("A record that cannot be copied stops its partition, and is never skipped", "errors.tolerance"),
            ("Every in-sync replica acknowledges, always", "producer.override.acks"),
            ("Java classes are not loaded", "src.kafka.interceptor.classes"),
            ("a byte-array converter has no settings", "key.converter.schemas.enable"),
            (
                "created topics take after their source topics",
                "topic.creation.default.partitions, topic.creation.groups"
            ),
            (
                "offsets of consumer groups are not translated",
                "src.kafka.timestamps.topic.replication.factor"
            ),
            ("partitions are assigned by tasks, not by a consumer group", "src.consumer.group.id"),
            ("topics are created by the same settings as records are written", "admin.override.client.id"),
        ]
        .map(|(reason, names)| format!("without effect here ({reason}): {names}"))
    );
}

#[test]
fn asking_for_what_is_done_anyway_is_silent() {
    let rows = [
        ("tasks.max.enforce", "true"),
        ("errors.tolerance", "none"),
        ("exactly.once.support", "requested"),
        ("topic.config.sync", "FALSE"),
        ("offset.start", "connect"),
        ("src.kafka.isolation.level", "read_committed"),
        ("src.consumer.enable.auto.commit", "false"),
        ("producer.override.acks", "-1"),
        ("producer.override.enable.idempotence", "true"),
    ];
    for (key, value) in rows {
        assert_eq!(accept(&[(key, value)]).warnings, Vec::<String>::new(), "{key}={value}");
    }
    assert_eq!(
        accept(&[("src.kafka.isolation.level", "read_uncommitted")]).warnings,
        ["without effect here (Records of aborted transactions are never copied): src.kafka.isolation.level"]
    );
    let appended = accept(&[("topic.timestamp.type", "LogAppendTime")]).warnings;
    assert!(appended[0].starts_with("topic.timestamp.type=LogAppendTime"), "{appended:?}");
}

#[test]
fn unknown_keys_are_told_the_nearest_known_one() {
    let rows = [
        ("topic.whitlist", "topic.whitelist"),
        ("Topic.Blacklist", "topic.blacklist"),
        ("task.max", "tasks.max"),
        ("src.kafka.bootstrap.server", "src.kafka.bootstrap.servers"),
        ("src.kafka.fetch.min.byte", "src.kafka.fetch.min.bytes"),
        ("src.consumer.max.pol.records", "src.consumer.max.poll.records"),
        ("producer.overide.linger.ms", "producer.override.linger.ms"),
        ("dest.kafka.sasl.jas.config", "dest.kafka.sasl.jaas.config"),
    ];
    for (key, known) in rows {
        let warnings = accept(&[(key, "SECRET")]).warnings;
        assert_eq!(warnings, [format!("unknown key {key}; did you mean {known}?")]);
    }
    let warnings = accept(&[("color", "x"), ("src.kafka.color", "x"), ("src.kafka.", "x")]).warnings;
    assert_eq!(warnings, ["unknown keys, without effect: color, src.kafka., src.kafka.color"]);
}

#[test]
fn warnings_are_bounded() {
    let names: Vec<_> = (0..150).map(|index| format!("src.kafka.fetch.min.byte{index:03}")).collect();
    let rows: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let warnings = accept(&rows).warnings;
    assert_eq!(warnings.len(), 21);
    assert!(warnings[19].ends_with("byte019; did you mean src.kafka.fetch.min.bytes?"), "{}", warnings[19]);
    let last = &warnings[20];
    assert!(last.starts_with("unknown keys, without effect: src.kafka.fetch.min.byte020, "), "{last}");
    assert!(last.ends_with("byte119 and 30 more"), "{last}");
}

#[test]
fn the_tables_agree_with_themselves() {
    for class in CLASSES {
        let mut names = BTreeSet::new();
        for key in class.own_keys() {
            assert!(names.insert(key.name), "{} is there twice", key.name);
            if let Some(value) = key.default.value() {
                assert!(key.kind.read(value).is_ok(), "{}: the default {value:?} is refused", key.name);
            }
            if let Effect::Always(values) = key.effect {
                assert!(values.iter().all(|value| key.kind.read(value).is_ok()), "{}", key.name);
            }
            let sentence = key.documentation;
            assert!(sentence.ends_with('.') && sentence.len() > 20, "{}: {sentence}", key.name);
        }
        // Whatever begins like a family is judged by the first one in the list.
        let prefixes: Vec<_> = class.families().map(|family| family.prefix).collect();
        for (index, prefix) in prefixes.iter().enumerate() {
            let hidden = prefixes[..index].iter().find(|earlier| prefix.starts_with(**earlier));
            assert_eq!(hidden, None, "{prefix}");
        }
    }
    let typed = CLASSES.into_iter().flat_map(Class::own_keys).map(|key| (key.name, key.kind));
    for (name, kind) in typed.chain(HONOURED.iter().map(|key| (key.name, key.kind))) {
        // A secret is never refused, and so never shown in a refusal.
        assert!(!is_secret(name) || matches!(kind, Kind::Text | Kind::Password), "{name}");
        assert!(kind != Kind::Password || is_secret(name) || name.contains("certificate"), "{name}");
    }
    let names: Vec<_> = clients::names().collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    assert_eq!(key::keys(framework::SECTIONS).count(), 24);
}

fn some_key() -> impl Strategy<Value = String> {
    let own: Vec<_> = CLASSES[0].own_keys().map(|key| key.name.to_owned()).collect();
    let clients: Vec<_> = clients::names().map(|name| format!("src.kafka.{name}")).collect();
    prop_oneof![
        prop::sample::select(own),
        prop::sample::select(clients),
        "\\PC{0,12}",
        "src\\.kafka\\..{0,8}"
    ]
}

fn some_value() -> impl Strategy<Value = Option<String>> {
    prop::option::weighted(
        0.9,
        prop_oneof![
            "\\PC{0,16}",
            "[-0-9]{1,20}",
            "[a-z(\\[{*?|,:$}]{0,12}",
            prop::sample::select(vec![
                "true".to_owned(),
                "a:1".to_owned(),
                "t".to_owned(),
                "${topic}".to_owned(),
                "${file:x}".to_owned(),
            ]),
        ],
    )
}

proptest! {
    #[test]
    fn any_config_gets_an_answer(
        name in "\\PC{0,4}|c",
        rest in prop::collection::btree_map(some_key(), some_value(), 0..24),
        classed in prop::bool::weighted(0.9),
    ) {
        let mut given = rest;
        if classed {
            given.insert("connector.class".to_owned(), Some("CopyistSource".to_owned()));
        }
        match parse(&name, &given) {
            Ok(parsed) => {
                let has_servers = !parsed.spec.source.bootstrap_servers().is_empty();
                prop_assert!(has_servers || parsed.spec.zookeepers.source.is_some());
                prop_assert!(
                    !parsed.spec.selection.whitelist.is_empty() || parsed.spec.selection.pattern.is_some()
                );
            }
            Err(Rejection::Invalid(problems)) => prop_assert!(!problems.is_empty()),
            Err(rejection) => prop_assert!(!rejection.to_string().is_empty()),
        }
    }

    /// Whatever else is wrong or odd, what was written as a secret is in no text.
    #[test]
    fn secrets_are_never_shown(
        rest in prop::collection::btree_map(some_key(), some_value(), 0..12),
        key in prop::sample::select(vec![
            "src.kafka.sasl.jaas.config",
            "dest.kafka.ssl.keystore.password",
            "producer.override.sasl.jaas.config",
            "schema.registry.client.basic.auth.user.info",
            "src.kafka.sasl.jas.config",
        ]),
        classed in any::<bool>(),
    ) {
        let mut given = rest;
        given.extend(with(&[]));
        if !classed {
            given.remove("connector.class");
        }
        given.insert(key.to_owned(), Some("S3CR3T".to_owned()));
        let shown = match parse("c", &given) {
            Ok(parsed) => format!("{parsed:?}"),
            Err(rejection) => format!("{rejection} {rejection:?}"),
        };
        prop_assert!(!shown.contains("S3CR3T"), "{shown}");
    }
}

proptest! {
    // The search for the nearest known key takes its time here.
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A validation finds what a creation would, and shows no secret.
    #[test]
    fn any_config_can_be_validated(rest in prop::collection::btree_map(some_key(), some_value(), 0..12)) {
        let mut given = rest;
        given.insert("connector.class".to_owned(), Some("CopyistSource".to_owned()));
        given.insert("name".to_owned(), Some("c".to_owned()));
        given.insert("src.kafka.sasl.jaas.config".to_owned(), Some("S3CR3T".to_owned()));
        given.insert("src.kafka.sasl.jas.config".to_owned(), Some("S3CR3T".to_owned()));
        let validation = crate::validate("CopyistSource", &given).unwrap();
        match parse("c", &given) {
            Ok(parsed) => prop_assert_eq!((validation.error_count(), &validation.warnings), (0, &parsed.warnings)),
            Err(Rejection::Invalid(problems)) => prop_assert_eq!(validation.error_count(), problems.len()),
            Err(rejection) => prop_assert!(false, "{}", rejection),
        }
        let shown = format!("{validation:?}");
        prop_assert!(!shown.contains("S3CR3T"), "{}", shown);
    }
}
