use std::collections::BTreeSet;

use super::key::{Effect, Level};
use super::role;
use super::*;

mod fleet;
use fleet::PEM;

const DISTRIBUTED: &str = include_str!("../../tests/data/connect-distributed.properties");
const STANDALONE: &str = include_str!("../../tests/data/connect-standalone.properties");

fn read(text: &str) -> (Result<Settings, Vec<String>>, Vec<Notice>) {
    read_as(Role::Standalone, text)
}

fn read_as(role: Role, text: &str) -> (Result<Settings, Vec<String>>, Vec<Notice>) {
    let properties = Properties::parse(text.as_bytes()).unwrap();
    let machine = Machine {
        address: "10.1.2.3".into(),
        directory: "/dir".into(),
        variables: [("RACK".into(), "r7".into())].into_iter().collect(),
    };
    let (settings, notices) = Settings::read("w", &properties, &machine, role);
    (settings.map_err(|problems| problems.iter().map(ToString::to_string).collect()), notices)
}

/// A right file, with these lines after `bootstrap.servers`.
fn settings(lines: &str) -> Settings {
    read(&format!("bootstrap.servers=b:9092\n{lines}")).0.unwrap()
}

fn worker(lines: &str) -> Worker {
    settings(lines).agent.unwrap().worker
}

fn problems(lines: &str) -> Vec<String> {
    read(&format!("bootstrap.servers=b:9092\n{lines}")).0.unwrap_err()
}

fn texts(notices: &[Notice], level: Level) -> Vec<&str> {
    notices.iter().filter(|notice| notice.level == level).map(|notice| notice.text.as_str()).collect()
}

fn notices(lines: &str, level: Level) -> Vec<String> {
    let all = read(&format!("bootstrap.servers=b:9092\nagent.id=a\n{lines}")).1;
    let defaults = |text: &&&str| !text.starts_with("not set");
    texts(&all, level).iter().filter(defaults).map(|text| (*text).to_owned()).collect()
}

#[test]
fn connects_distributed_sample_is_taken_as_it_is() {
    let (settings, notices) = read(DISTRIBUTED);
    let settings = settings.unwrap();
    let worker = &settings.agent.unwrap().worker;
    let storage =
        |storage: &StorageTopic| (storage.name.to_string(), storage.partitions, storage.replication_factor);
    assert_eq!(settings.group_id, "connect-cluster");
    assert_eq!(storage(&worker.offset_storage), ("connect-offsets".into(), 25, 1));
    assert_eq!(storage(&worker.config_storage), ("connect-configs".into(), 1, 1));
    assert_eq!(storage(&worker.status_storage), ("connect-status".into(), 5, 1));
    assert_eq!(worker.cluster.bootstrap_servers(), "localhost:9092");
    assert_eq!(texts(&notices, Level::Warning), [""; 0]);
    assert_eq!(
        texts(&notices, Level::Info),
        [
            "w: without effect (records are copied byte by byte and never converted): key.converter, \
             key.converter.schemas.enable, value.converter, value.converter.schemas.enable",
            "not set, so these hold: store.path=/dir/copyist-data/store.redb, agent.id=10.1.2.3:8083",
        ]
    );
}

#[test]
fn connects_standalone_sample_is_taken_as_it_is() {
    let (settings, notices) = read(STANDALONE);
    let worker = settings.unwrap().agent.unwrap().worker;
    assert_eq!((worker.offset_storage.partitions, worker.offset_storage.replication_factor), (25, 3));
    assert_eq!((worker.config_storage.partitions, worker.config_storage.replication_factor), (1, 3));
    assert_eq!((worker.status_storage.partitions, worker.status_storage.replication_factor), (5, 3));
    assert_eq!(texts(&notices, Level::Warning), [""; 0]);
    let info = texts(&notices, Level::Info);
    assert_eq!(info.len(), 3, "{info:?}");
    assert_eq!(
        info[2],
        "not set, so these hold: group.id=copyist, offset.storage.topic=connect-offsets, \
         config.storage.topic=connect-configs, status.storage.topic=connect-status, \
         store.path=/dir/copyist-data/store.redb, agent.id=10.1.2.3:8083"
    );
}

#[test]
fn everything_that_is_left_out_has_its_default() {
    let settings = settings("");
    assert_eq!(settings.metrics_listen.to_string(), "127.0.0.1:9084");
    assert_eq!(settings.log_format, LogFormat::Text);
    assert_eq!(settings.coordinators, []);
    let gateway = GatewaySettings {
        listeners: vec![":8083".parse().unwrap()],
        administration: Administration::Beside,
        tracking: TopicTracking { enabled: true, may_be_reset: true },
        listen: None,
    };
    assert_eq!(settings.gateway, Some(gateway));
    let agent = settings.agent.unwrap();
    assert_eq!((agent.listen, agent.lease_ttl), (None, Duration::from_secs(10)));
    assert_eq!(agent.worker.flush_interval, Duration::from_secs(10));
    assert_eq!(agent.worker.stop_timeout, Duration::from_secs(5));
    let expected = CoordinatorSettings {
        listen: "127.0.0.1:9083".parse().unwrap(),
        store: StoreSettings::File("/dir/copyist-data/store.redb".into()),
        agent_lease_ttl: Duration::from_secs(10),
        suspect: Duration::from_millis(1500),
        autonomy_max: Duration::from_secs(600),
        lease_margin: Duration::from_secs(7),
    };
    assert_eq!(settings.coordinator, Some(expected));
}

#[test]
fn every_key_of_ours_is_honoured() {
    let settings = settings(
        "group.id=g\nstore.path=/s/x.redb\ncoordinator.listen=:1\nmetrics.listen=[::1]:2\nagent.rack=r\n\
         agent.labels=a=1,b=2\nagent.lease.ttl.ms=2000\nagent.suspect.ms=300\n\
         agent.autonomy.max.ms=4\nlease.margin.ms=5\nlog.format=JSON\noffset.flush.interval.ms=6\n\
         task.shutdown.graceful.timeout.ms=7\nagent.id=me\noffset.storage.topic=o\noffset.storage.partitions=8\n\
         config.storage.topic=c\nstatus.storage.topic=s\nstatus.storage.partitions=9\n\
         status.storage.replication.factor=2",
    );
    let millis = Duration::from_millis;
    assert_eq!(settings.group_id, "g");
    assert_eq!(
        (settings.metrics_listen.to_string(), settings.log_format),
        ("[::1]:2".into(), LogFormat::Json)
    );
    let expected = CoordinatorSettings {
        listen: ":1".parse().unwrap(),
        store: StoreSettings::File("/s/x.redb".into()),
        agent_lease_ttl: millis(2000),
        suspect: millis(300),
        autonomy_max: millis(4),
        lease_margin: millis(5),
    };
    assert_eq!(settings.coordinator, Some(expected));
    let agent = settings.agent.unwrap();
    assert_eq!(agent.lease_ttl, millis(2000));
    let worker = agent.worker;
    assert_eq!((worker.rack.as_str(), worker.labels.len()), ("r", 2));
    assert_eq!((worker.agent_id.as_str(), worker.stop_timeout), ("me", millis(7)));
    assert_eq!(worker.flush_interval, millis(6));
    assert_eq!((worker.offset_storage.name.as_str(), worker.offset_storage.partitions), ("o", 8));
    assert_eq!(worker.config_storage.name.as_str(), "c");
    let status = worker.status_storage;
    assert_eq!((status.name.as_str(), status.partitions, status.replication_factor), ("s", 9, 2));
}

#[test]
fn administration_is_beside_everything_else_or_elsewhere_or_nowhere() {
    let rows = [
        ("", Administration::Beside),
        ("admin.listeners=", Administration::Off),
        ("admin.listeners= \n", Administration::Off),
        (
            "admin.listeners=http://127.0.0.1:1,http://:2",
            Administration::At(vec!["127.0.0.1:1".parse().unwrap(), ":2".parse().unwrap()]),
        ),
    ];
    for (lines, expected) in rows {
        assert_eq!(settings(lines).gateway.unwrap().administration, expected, "{lines}");
    }
    let refused = problems("admin.listeners=https://:1");
    assert!(refused.len() == 1 && refused[0].starts_with("w:2: admin.listeners=https://:1: "), "{refused:?}");
}

#[test]
fn the_agent_is_named_as_connect_names_a_worker() {
    let rows = [
        ("", "10.1.2.3:8083"),
        ("listeners=http://0.0.0.0:8084", "10.1.2.3:8084"),
        ("listeners=http://[::]:8084", "10.1.2.3:8084"),
        ("listeners=http://h1:1,http://h2:2", "h1:1"),
        ("listeners=http://[::1]:1", "[::1]:1"),
        ("listeners=http://h1:1\nrest.advertised.host.name=a", "a:1"),
        ("rest.advertised.host.name=a\nrest.advertised.port=7\nrest.advertised.listener=HTTP", "a:7"),
        ("rest.advertised.host.name=\nrest.advertised.port=7", "10.1.2.3:7"),
        ("rest.host.name=old\nrest.port=9", "old:9"),
        ("rest.port=9\nlisteners=http://h:1", "h:1"),
        ("agent.id=me\nrest.advertised.host.name=a", "me"),
    ];
    for (lines, id) in rows {
        assert_eq!(worker(lines).agent_id.as_str(), id, "{lines}");
    }
}

#[test]
fn client_keys_reach_the_clients_they_are_for() {
    let worker = worker(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config=S1\nclient.id=w\n\
         producer.client.id=p\nproducer.linger.ms= 5 \nproducer.compression.type=zstd\nproducer.acks=all\n\
         consumer.fetch.min.bytes=7\nconsumer.isolation.level=read_committed\n\
         admin.security.protocol=SASL_PLAINTEXT\nproducer.bootstrap.servers=b:9092",
    );
    let shared =
        ["bootstrap.servers", "client.id", "sasl.jaas.config", "sasl.mechanism", "security.protocol"];
    let names = |properties: &copyist_model::ClientProperties| {
        properties.0.keys().cloned().collect::<BTreeSet<String>>()
    };
    let expected = |more: &[&str]| {
        shared.iter().chain(more).map(|name| (*name).to_owned()).collect::<BTreeSet<String>>()
    };
    assert_eq!(names(&worker.cluster), expected(&[]));
    assert_eq!(names(&worker.producer), expected(&["linger.ms", "compression.type"]));
    assert_eq!(names(&worker.consumer), expected(&["fetch.min.bytes"]));
    let ids =
        [&worker.cluster, &worker.producer, &worker.consumer].map(|properties| properties.get("client.id"));
    assert_eq!(ids, [Some("w"), Some("p"), Some("w")]);
    assert_eq!(worker.producer.get("linger.ms"), Some("5"));
}

/// Lines, and how the problems begin.
const WRONG: &[(&str, &[&str])] = &[
    (
        "offset.flush.interval.ms=10s",
        &["w:2: offset.flush.interval.ms=10s: must be a whole number from 1 to 86400000 (milliseconds)"],
    ),
    (
        "x=1\nlisteners=https://:8443\nmetrics.listen=9084\nlog.format=xml",
        &[
            "w:3: listeners=https://:8443: entry \"https://:8443\" is not possible: the REST API is served over HTTP",
            "w:4: metrics.listen=9084: has no port; write HOST:PORT",
            "w:5: log.format=xml: must be one of: text, json",
        ],
    ),
    ("rest.advertised.listener=https", &["w:2: rest.advertised.listener=https: must be one of: http"]),
    (
        "offset.storage.topic=a/b",
        &["w:2: offset.storage.topic=a/b: topic name \"a/b\" is not valid: only ASCII"],
    ),
    (
        "offset.storage.replication.factor=0",
        &[
            "w:2: offset.storage.replication.factor=0: must be a whole number from 1 to 32767 (replicas), or -1",
        ],
    ),
    (
        "producer.compression.type=lzma",
        &["w:2: producer.compression.type=lzma: String must be one of: none, gzip"],
    ),
    (
        "producer.bootstrap.servers=c:1",
        &["w:2: producer.bootstrap.servers=c:1: records go to the cluster of"],
    ),
    (
        "sasl.jaas.config=${file:/s:jaas}",
        &[
            "w:2: sasl.jaas.config: ${file:/s:jaas} cannot be resolved: the worker file names no provider file",
        ],
    ),
    ("group.id=${env:GROUP}", &["w:2: group.id: ${env:GROUP} cannot be resolved: the worker file names no"]),
    (
        "config.providers=v\nconfig.providers.v.class=a.B",
        &["w:3: config.providers.v.class: a.B is not here: Java classes"],
    ),
    (
        "security.protocol=SASL_SSL",
        &["w: sasl.mechanism is missing: security.protocol asks for SASL", "w: sasl.jaas.config is missing"],
    ),
    (
        "sasl.mechanism=PLAIN\nproducer.security.protocol=sasl_ssl",
        &["w: producer.sasl.jaas.config is missing: producer.security.protocol asks for SASL"],
    ),
    (
        "config.storage.topic=t\noffset.storage.topic=t",
        &["w: offset.storage.topic and config.storage.topic are both t; each needs a topic of its own"],
    ),
    (
        "status.storage.topic=connect-configs",
        &["w: config.storage.topic and status.storage.topic are both connect-configs"],
    ),
    (
        "agent.lease.ttl.ms=1500",
        &["w: agent.suspect.ms is 1500; it must be less than agent.lease.ttl.ms, which is 1500"],
    ),
    ("agent.id=a b", &["w:2: agent.id=a b: agent id \"a b\" is not valid"]),
    ("agent.labels=x", &["w:2: agent.labels=x: entry \"x\" is not NAME=VALUE"]),
];

#[test]
fn what_is_wrong_is_said_at_once_with_its_line() {
    for (lines, expected) in WRONG {
        let problems = problems(lines);
        assert_eq!(problems.len(), expected.len(), "{lines}: {problems:?}");
        for (problem, beginning) in problems.iter().zip(*expected) {
            assert!(problem.starts_with(beginning), "{lines}: {problem}");
        }
    }
}

#[test]
fn the_destination_must_be_named() {
    for text in ["", "bootstrap.servers=", "bootstrap.server=b:9092"] {
        let (settings, notices) = read(text);
        let problems = settings.unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with("w: bootstrap.servers is missing: The brokers of the"),
            "{problems:?}"
        );
        let hint = ["w:1: unknown key bootstrap.server; did you mean bootstrap.servers?"];
        let expected = if text.starts_with("bootstrap.server=") { &hint[..] } else { &[] };
        assert_eq!(texts(&notices, Level::Warning), expected, "{text}");
    }
    let problems = read("bootstrap.servers=b").0.unwrap_err();
    assert!(problems[0].starts_with("w:1: bootstrap.servers=b: entry \"b\" has no port"), "{problems:?}");
}

/// Lines, and all notices of a level.
const WITHOUT_EFFECT: &[(&str, Level, &[&str])] = &[
    ("plugin.path=/x", Level::Info, &["w: without effect (Java plugins are not loaded): plugin.path"]),
    (
        "session.timeout.ms=1\nrebalance.timeout.ms=2",
        Level::Info,
        &["w: without effect (the coordinator places tasks, not a consumer group of workers): \
               rebalance.timeout.ms, session.timeout.ms"],
    ),
    ("key.converter=org.apache.kafka.connect.converters.ByteArrayConverter", Level::Info, &[]),
    (
        "offset.storage.partitions=-1",
        Level::Info,
        &[
            "w: without effect (-1, the brokers' own default, is not asked for: the default of Connect holds): offset.storage.partitions",
        ],
    ),
    ("rest.extension.classes=", Level::Warning, &[]),
    (
        "rest.extension.classes=a.B",
        Level::Warning,
        &[
            "w: without effect (REST extensions are not loaded: whoever reaches the listeners may use the REST API): rest.extension.classes",
        ],
    ),
    (
        "exactly.once.source.support=enabled",
        Level::Info,
        &[
            "w: without effect (the raw engine copies exactly once without transactions): exactly.once.source.support",
        ],
    ),
    (
        "config.providers.file.class=a.B",
        Level::Warning,
        &["w: without effect (no provider reads it): config.providers.file.class"],
    ),
    (
        "producer.acks=1",
        Level::Warning,
        &["w: without effect (Every in-sync replica acknowledges, always): producer.acks"],
    ),
    (
        "producer.fetch.min.bytes=1\nconsumer.linger.ms=1",
        Level::Warning,
        &[
            "w: without effect (consumers have no such key): consumer.linger.ms",
            "w: without effect (producers have no such key): producer.fetch.min.bytes",
        ],
    ),
    (
        "admin.client.id=x",
        Level::Warning,
        &["w: without effect (admin clients go by the keys without a prefix): admin.client.id"],
    ),
    (
        "consumer.auto.offset.reset=latest",
        Level::Warning,
        &[
            "w: without effect (where a partition starts is said by each connector): consumer.auto.offset.reset",
        ],
    ),
    (
        "producer.transactional.id=x",
        Level::Warning,
        &["w: without effect (each record goes into the partition that it came from, and there are no \
               transactions): producer.transactional.id"],
    ),
];

#[test]
fn what_has_no_effect_is_said_as_loudly_as_it_matters() {
    for (lines, level, expected) in WITHOUT_EFFECT {
        assert_eq!(notices(lines, *level), *expected, "{lines}");
    }
}

#[test]
fn unknown_keys_are_named_with_the_nearest_known_one() {
    let rows: &[(&str, &[&str])] = &[
        ("grup.id=x", &["w:3: unknown key grup.id; did you mean group.id?"]),
        (
            "offset.storage.topik=x",
            &["w:3: unknown key offset.storage.topik; did you mean offset.storage.topic?"],
        ),
        ("Listeners=http://:1", &["w:3: unknown key Listeners; did you mean listeners?"]),
        ("metrics.listn=:1", &["w:3: unknown key metrics.listn; did you mean metrics.listen?"]),
        (
            "producer.compresion.type=lz4",
            &["w:3: unknown key producer.compresion.type; did you mean producer.compression.type?"],
        ),
        ("sasl.mechanisms=PLAIN", &["w:3: unknown key sasl.mechanisms; did you mean sasl.mechanism?"]),
        ("zzz=1\nfoo.bar=2", &["w: unknown keys, without effect: foo.bar, zzz"]),
        ("group.id=a\ngroup.id=b", &["w:3: group.id is written again further down, and that holds"]),
    ];
    for (lines, expected) in rows {
        assert_eq!(notices(lines, Level::Warning), *expected, "{lines}");
    }
    let many: String = (0..10_000).map(|n| format!("producer.linger.msx{n}=1\n")).collect();
    assert!(notices(&many, Level::Warning).len() <= 21);
}

#[test]
fn secrets_are_never_shown() {
    let lines = "sasl.jaas.config=S1\nssl.key.password=S2\nproducer.ssl.keystore.key=S3\nsasl.mechanism=PLAIN\n\
                 mistyped.pasword=S4";
    let (settings, notices) = read(&format!("bootstrap.servers=b:1\n{lines}"));
    let shown = format!("{settings:?} {notices:?}");
    assert!(["S1", "S2", "S3", "S4"].iter().all(|secret| !shown.contains(secret)), "{shown}");
    assert!(shown.contains("[hidden]"), "{shown}");
}

/// A file that every role takes.
const SHARED: &str = "bootstrap.servers=b:9092\ngroup.id=g\netcd.endpoints=e:2379\ncoordinator.endpoints=c:9083\n\
                      coordinator.listen=h:9083\n";

/// Every honoured key with a value of its own, so that a row that nothing reads is found, or one that others read.
#[test]
fn no_honoured_key_is_forgotten() {
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&ca, PEM).unwrap();
    let pem = ca.path().display().to_string();
    let all = |role, more: &str| {
        let text = format!("{SHARED}agent.suspect.ms=1400\n{more}");
        format!("{:?}", read_as(role, &text).0.unwrap())
    };
    for key in table::KEYS.iter().filter(|key| key.effect == Effect::Honoured) {
        let name = key.name;
        let value = match name {
            "bootstrap.servers" => "other:1",
            // A role that has no connectors needs providers only while it reads this file.
            "rest.advertised.listener" | "config.providers" => continue,
            "listeners" | "admin.listeners" => "http://h:1",
            "log.format" => "json",
            "topic.tracking.enable" | "topic.tracking.allow.reset" => "False",
            "coordinator.endpoints" | "etcd.endpoints" | "coordinator.advertised.address" => "h:1",
            "agent.labels" => "a=1",
            "agent.memory.bytes" => "1048576",
            "etcd.prefix" => "/other",
            "etcd.user" => "u\netcd.password=1",
            "etcd.password" => "1\netcd.user=u",
            "etcd.tls.ca.file" => &pem,
            "etcd.tls.cert.file" => &format!("{pem}\netcd.tls.key.file={pem}\netcd.tls.ca.file={pem}"),
            "etcd.tls.key.file" => &format!("{pem}\netcd.tls.cert.file={pem}\netcd.tls.ca.file={pem}"),
            name if name.ends_with(".listen") => "h:1",
            name if name.ends_with("ttl.ms") => "4000",
            name if name.ends_with(".ms") => "1499",
            name if name.ends_with("port") => "1",
            name if name.ends_with("partitions") || name.ends_with("factor") => "2",
            _ => "other",
        };
        for role in role::ALL {
            let changed = all(*role, &format!("{name}={value}")) != all(*role, "");
            assert_eq!(changed, role.is_one_of(key.roles), "{}: {name}={value}", role.name());
        }
    }
}

const PROVIDERS: &str = "config.providers=file\n\
     config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider\n";

/// As Connect does for its whole worker file, when it starts.
#[test]
fn references_in_the_worker_file_are_resolved() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets.properties");
    std::fs::write(
        &path,
        "group=fleet-7\njaas=a.PlainLoginModule required username=\"u\" password=\"HUNTER2\";\n",
    )
    .unwrap();
    let at = |key: &str| format!("${{file:{}:{key}}}", path.display());
    let lines = format!(
        "{PROVIDERS}group.id={}\nproducer.sasl.jaas.config={}\nproducer.security.protocol=SASL_SSL\n\
         sasl.mechanism=PLAIN\nproducer.client.id=the-${{topic}}",
        at("group"),
        at("jaas")
    );
    let settings = settings(&lines);
    let worker = &settings.agent.as_ref().unwrap().worker;
    assert_eq!(settings.group_id, "fleet-7");
    assert!(worker.producer.get("sasl.jaas.config").unwrap().contains("HUNTER2"));
    assert_eq!(worker.producer.get("client.id"), Some("the-${topic}"));
    assert!(!format!("{settings:?}").contains("HUNTER2"));
    assert_eq!(worker.providers.resolve(&at("group")), Ok(Some("fleet-7".to_owned())));
}

#[test]
fn what_a_reference_stands_for_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets.properties");
    std::fs::write(&path, "canary=HUNTER2\njaas=HUNTER2 required;\n").unwrap();
    let at = |key: &str| format!("${{file:{}:{key}}}", path.display());
    let rows = [
        ("listeners", "canary"),
        ("offset.flush.interval.ms", "canary"),
        ("security.protocol", "canary"),
        ("sasl.jaas.config", "jaas"),
        ("producer.linger.ms", "canary"),
        ("ssl.truststore.location", "canary"),
    ];
    for (name, key) in rows {
        let told = problems(&format!("{PROVIDERS}{name}={}", at(key)));
        assert!(told.iter().all(|text| !text.contains("HUNTER2")), "{told:?}");
        let property = name.trim_start_matches("producer.");
        assert!(
            told.iter().any(|text| text.contains(property) && text.contains("its reference")),
            "{told:?}"
        );
    }
    let told = problems(&format!("{PROVIDERS}agent.rack={}", at("cnary")));
    let expected =
        format!("w:4: agent.rack: {} cannot be resolved: {} has no key cnary", at("cnary"), path.display());
    assert_eq!(told, [expected]);
}

#[test]
fn variables_are_those_of_the_machine() {
    let env = "config.providers=env\n\
               config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider\n";
    assert_eq!(worker(&format!("{env}agent.rack=${{env:RACK}}")).rack, "r7");
    let told = problems(&format!("{env}agent.rack=${{env:PATH}}"));
    assert!(told[0].contains("no variable PATH"), "{told:?}");
}

/// A coordinator may have no file that only agents need.
#[test]
fn only_keys_that_a_role_reads_are_resolved() {
    let text =
        format!("{PROVIDERS}group.id=g\ncoordinator.endpoints=c:1\nbootstrap.servers=${{file:/none:a}}");
    assert!(read_as(Role::Gateway, &text).0.is_ok());
    assert!(read_as(Role::Agent, &text).0.is_err());
}
