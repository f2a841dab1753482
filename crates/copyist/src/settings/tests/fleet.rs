//! Settings of a fleet's roles.

use copyist_agent::client::providers::Variables;

use super::*;
use crate::settings::etcd::{Credentials, Identity, Tls};

/// What a test needs of a file in PEM, certificate and key.
pub const PEM: &str = "-----BEGIN CERTIFICATE-----\nS1\n-----END CERTIFICATE-----\n\
                       -----BEGIN EC PRIVATE KEY-----\nS2\n-----END EC PRIVATE KEY-----\n";

fn of(role: Role, lines: &str) -> Settings {
    read_as(role, &format!("{SHARED}{lines}")).0.unwrap()
}

fn problems_of(role: Role, text: &str) -> Vec<String> {
    read_as(role, text).0.unwrap_err()
}

fn etcd(lines: &str) -> EtcdSettings {
    let store = of(Role::Coordinator, lines).coordinator.unwrap().store;
    let StoreSettings::Etcd { etcd, .. } = store else { panic!("{store:?}") };
    etcd
}

#[test]
fn one_file_serves_all_roles_and_each_reads_its_own() {
    let rows = [
        (Role::Distributed, (true, true, true)),
        (Role::Coordinator, (true, false, false)),
        (Role::Agent, (false, true, false)),
        (Role::Gateway, (false, false, true)),
    ];
    for (role, expected) in rows {
        let file = "store.path=x\nagent.listen=a:1\ngateway.listen=g:2\nrest.extension.classes=\nplugin.path=/x\n\
                    agent.id=me\netcd.prefix=/p\ncoordinator.advertised.address=c:9083";
        let (settings, notices) = read_as(role, &format!("{SHARED}{file}"));
        let settings = settings.unwrap();
        let has = (settings.coordinator.is_some(), settings.agent.is_some(), settings.gateway.is_some());
        assert_eq!(has, expected, "{}", role.name());
        assert_eq!(settings.group_id, "g");
        assert_eq!(settings.coordinators, ["c:9083".parse().unwrap()]);
        assert_eq!(texts(&notices, Level::Warning), [""; 0], "{}", role.name());
        let listens =
            [settings.agent.and_then(|agent| agent.listen), settings.gateway.and_then(|own| own.listen)];
        let listens = listens.map(|address| address.map(|address| address.to_string()));
        let alone = |own, address: &str| (role == own).then(|| address.to_owned());
        assert_eq!(listens, [alone(Role::Agent, "a:1"), alone(Role::Gateway, "g:2")], "{}", role.name());
    }
}

#[test]
fn what_a_role_does_not_read_may_be_missing_or_wrong() {
    let gateway = "group.id=g\ncoordinator.endpoints=c:9083\nagent.lease.ttl.ms=x\nsasl.jaas.config=${file:a:b}\n\
                   producer.compression.type=lzma\netcd.endpoints=://";
    let (settings, notices) = read_as(Role::Gateway, gateway);
    assert!(settings.is_ok(), "{settings:?}");
    assert_eq!(notices, []);
    assert!(read_as(Role::Coordinator, "group.id=g\netcd.endpoints=e:1\ncoordinator.listen=h:1").0.is_ok());
    let agent = "group.id=g\nbootstrap.servers=b:1\ncoordinator.endpoints=c:9083\netcd.user=u\nlisteners=x";
    assert!(read_as(Role::Agent, agent).0.is_ok());
}

#[test]
fn connects_own_file_is_told_the_two_lines_that_make_a_fleet_of_it() {
    let expected = "w: etcd.endpoints is missing: coordinators keep in etcd what the fleet knows; add these two lines, \
                    with the right addresses:\n  etcd.endpoints=http://127.0.0.1:2379\n  \
                    coordinator.listen=10.1.2.3:9083";
    let alone = "\n  Without etcd, one process does everything: copyist standalone w";
    assert_eq!(problems_of(Role::Distributed, DISTRIBUTED), [format!("{expected}{alone}")]);
    assert_eq!(problems_of(Role::Coordinator, DISTRIBUTED), [expected]);
    let alone =
        Machine { address: "127.0.0.1".into(), directory: "/dir".into(), variables: Variables::default() };
    let properties = |text: &str| Properties::parse(text.as_bytes()).unwrap();
    let problems = Settings::read("w", &properties(DISTRIBUTED), &alone, Role::Coordinator).0.unwrap_err();
    let shown = problems[0].to_string();
    let lines: Vec<_> = shown.lines().skip(1).map(str::trim).collect();
    assert_eq!(lines, ["etcd.endpoints=http://127.0.0.1:2379", "coordinator.endpoints=127.0.0.1:9083"]);
    let text = format!("{DISTRIBUTED}\n{}", lines.join("\n"));
    assert!(Settings::read("w", &properties(&text), &alone, Role::Distributed).0.is_ok());
    let lines = "etcd.endpoints=http://127.0.0.1:2379\ncoordinator.listen=10.1.2.3:9083";
    let (settings, notices) = read_as(Role::Distributed, &format!("{DISTRIBUTED}\n{lines}"));
    let settings = settings.unwrap();
    assert_eq!(settings.coordinators, []);
    assert_eq!(texts(&notices, Level::Warning), [""; 0]);
    let info = texts(&notices, Level::Info);
    assert_eq!(
        info[1],
        "not set, so these hold: etcd.prefix=/copyist, coordinator.advertised.address=10.1.2.3:9083, \
         agent.id=10.1.2.3:8083"
    );
    let store = settings.coordinator.unwrap().store;
    let etcd = EtcdSettings {
        endpoints: vec!["http://127.0.0.1:2379".into()],
        prefix: "/copyist".into(),
        credentials: None,
        tls: None,
    };
    let advertised = "10.1.2.3:9083".parse().unwrap();
    assert_eq!(store, StoreSettings::Etcd { etcd, lease_ttl: Duration::from_secs(2), advertised });
}

/// Role, lines, and how the problems begin.
const MISSING: &[(Role, &str, &[&str])] = &[
    (
        Role::Agent,
        "",
        &[
            "w: bootstrap.servers is missing: ",
            "w: group.id is missing: the name of the fleet",
            "w: coordinator.endpoints is missing: where the agent finds the coordinators",
        ],
    ),
    (
        Role::Gateway,
        "group.id=",
        &["w: group.id is missing: ", "w: coordinator.endpoints is missing: where the gateway finds"],
    ),
    (
        Role::Gateway,
        "group.id=g\ncoordinator.endpoints=c",
        &["w:2: coordinator.endpoints=c: entry \"c\" has no port"],
    ),
    (
        Role::Coordinator,
        "coordinator.listen=h:1",
        &[
            "w: group.id is missing: ",
            "w: etcd.endpoints is missing: coordinators keep in etcd what the fleet knows; add this line, with etcd's \
             own address:\n  etcd.endpoints=http://127.0.0.1:2379",
        ],
    ),
];

#[test]
fn what_a_role_needs_and_does_not_get_is_named_at_once() {
    for (role, text, expected) in MISSING {
        let problems = problems_of(*role, text);
        assert_eq!(problems.len(), expected.len(), "{text}: {problems:?}");
        for (problem, beginning) in problems.iter().zip(*expected) {
            assert!(problem.starts_with(beginning), "{text}: {problem}");
        }
    }
}

/// Lines, and what others are told; or how the problem begins.
const ADVERTISED: &[(&str, Result<&str, &str>)] = &[
    ("coordinator.listen=h:9", Ok("h:9")),
    ("coordinator.listen=h:0", Ok("h:0")),
    ("coordinator.listen=:9", Ok("10.1.2.3:9")),
    ("coordinator.listen=0.0.0.0:9", Ok("10.1.2.3:9")),
    ("coordinator.listen=127.0.0.1:9\ncoordinator.advertised.address=h:1", Ok("h:1")),
    (
        "coordinator.listen=127.0.0.1:9",
        Err(
            "w: coordinator.listen: 127.0.0.1:9 is reached from this machine only: name by coordinator.listen or \
             coordinator.advertised.address an address that the others of the fleet reach, or, where all of it is on \
             this machine, all coordinators by coordinator.endpoints, as in coordinator.endpoints=127.0.0.1:9",
        ),
    ),
    ("", Err("w: coordinator.listen: 127.0.0.1:9083 is reached from this machine only")),
    (
        "coordinator.listen=h:9\ncoordinator.advertised.address=localhost:1",
        Err("w: coordinator.advertised.address: localhost:1 is reached from this machine only: name by \
             coordinator.advertised.address an address"),
    ),
    ("coordinator.endpoints=127.0.0.1:1,[::1]:2", Ok("127.0.0.1:9083")),
    ("coordinator.endpoints=127.0.0.1:1,h:2", Err("w: coordinator.listen: 127.0.0.1:9083 is reached from")),
    (
        "coordinator.listen=h:1\ncoordinator.advertised.address=:1",
        Err("w:6: coordinator.advertised.address=:1: names no host; write HOST:PORT"),
    ),
];

#[test]
fn what_leads_each_process_to_itself_is_not_advertised() {
    for (lines, expected) in ADVERTISED {
        let text = format!("bootstrap.servers=b:1\ngroup.id=g\netcd.endpoints=e:1\nagent.id=a\n{lines}");
        for role in role::REPLICAS {
            let (settings, _) = read_as(*role, &text);
            let advertised = settings.map(|settings| match settings.coordinator.unwrap().store {
                StoreSettings::Etcd { advertised, .. } => advertised.to_string(),
                StoreSettings::File(path) => panic!("{path:?}"),
            });
            match (advertised, expected) {
                (Ok(advertised), Ok(expected)) => assert_eq!(advertised, *expected, "{lines}"),
                (Err(problems), Err(beginning)) => {
                    assert_eq!(problems.len(), 1, "{lines}: {problems:?}");
                    assert!(problems[0].starts_with(beginning), "{lines}: {problems:?}");
                }
                (advertised, _) => panic!("{lines}: {advertised:?}"),
            }
        }
    }
}

#[test]
fn an_agent_without_a_rest_api_is_named_by_its_own_listener() {
    let rows = [
        ("", "10.1.2.3:9085"),
        ("agent.listen=127.0.0.1:7", "10.1.2.3:7"),
        ("agent.listen=:7", "10.1.2.3:7"),
        ("agent.listen=h:7", "h:7"),
        ("listeners=http://other:1", "10.1.2.3:9085"),
        ("rest.advertised.host.name=a", "a:9085"),
        ("agent.id=me", "me"),
    ];
    for (lines, id) in rows {
        assert_eq!(of(Role::Agent, lines).agent.unwrap().worker.agent_id.as_str(), id, "{lines}");
    }
    let distributed = of(Role::Distributed, "listeners=http://h:8").agent.unwrap();
    assert_eq!(distributed.worker.agent_id.as_str(), "h:8");
}

#[test]
fn etcd_is_reached_as_the_file_says() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.pem");
    std::fs::write(&file, PEM).unwrap();
    let file = file.display();
    let plain = |endpoints: &[&str]| EtcdSettings {
        endpoints: endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect(),
        prefix: "/copyist".into(),
        credentials: None,
        tls: None,
    };
    assert_eq!(etcd("etcd.endpoints=a:1, HTTP://b:2/,"), plain(&["http://a:1", "http://b:2"]));
    let prefixed = EtcdSettings { prefix: "/p/q".into(), ..plain(&["http://e:2379"]) };
    assert_eq!(etcd("etcd.prefix=/p/q/"), prefixed);
    let credentials = Some(Credentials { user: "u".into(), password: Secret::new("p") });
    assert_eq!(
        etcd("etcd.user=u\netcd.password=p"),
        EtcdSettings { credentials, ..plain(&["http://e:2379"]) }
    );
    let tls = Some(Tls { ca: Secret::new(PEM), identity: None });
    let secured = EtcdSettings { tls, ..plain(&["https://a:1"]) };
    assert_eq!(etcd(&format!("etcd.endpoints=a:1\netcd.tls.ca.file={file}")), secured);
    assert_eq!(etcd(&format!("etcd.endpoints=https://a:1\netcd.tls.ca.file={file}")), secured);
    let identity = Some(Identity { certificate: Secret::new(PEM), key: Secret::new(PEM) });
    let tls = Some(Tls { ca: Secret::new(PEM), identity });
    let lines = format!("etcd.tls.ca.file={file}\netcd.tls.cert.file={file}\netcd.tls.key.file={file}");
    assert_eq!(etcd(&lines), EtcdSettings { tls, ..plain(&["https://e:2379"]) });
}

/// Lines, and how the problems begin.
const WRONG_ETCD: &[(&str, &[&str])] = &[
    (
        "etcd.endpoints=ftp://a:1,b,http://:2,c:0,d:1,d:1",
        &[
            "w:6: etcd.endpoints=ftp://a:1,b,http://:2,c:0,d:1,d:1: entry \"ftp://a:1\" has an unknown scheme; write \
             http://HOST:PORT or https://HOST:PORT",
            "w:6: etcd.endpoints=ftp://a:1,b,http://:2,c:0,d:1,d:1: entry \"b\" has no port",
            "w:6: etcd.endpoints=ftp://a:1,b,http://:2,c:0,d:1,d:1: entry \"http://:2\" names no host",
            "w:6: etcd.endpoints=ftp://a:1,b,http://:2,c:0,d:1,d:1: entry \"c:0\" has port 0",
            "w:6: etcd.endpoints=ftp://a:1,b,http://:2,c:0,d:1,d:1: entry \"d:1\" is there twice",
        ],
    ),
    ("etcd.endpoints=http://a:1,https://b:1", &["w: etcd.endpoints says http and https; write one of them"]),
    ("etcd.endpoints=https://a:1", &["w: etcd.tls.ca.file is missing: "]),
    (
        "etcd.endpoints=http://a:1\netcd.tls.ca.file=/none.pem",
        &[
            "w: etcd.tls.ca.file is of no use: etcd.endpoints says http",
            "w: etcd.tls.ca.file=/none.pem: the file cannot be read: No such file",
        ],
    ),
    (
        "etcd.tls.ca.file=/proc/self/comm\netcd.tls.cert.file=/none.pem\netcd.user=u",
        &[
            "w: etcd.tls.ca.file=/proc/self/comm: the file is not PEM with a line -----BEGIN CERTIFICATE-----",
            "w: etcd.tls.cert.file=/none.pem: the file cannot be read",
            "w: etcd.tls.key.file is missing: etcd.tls.cert.file is of no use without it",
            "w: etcd.password is missing: etcd.user has one",
        ],
    ),
    ("etcd.password=S1", &["w: etcd.user is missing: etcd.password is somebody's"]),
    (
        "etcd.password=${file:a:b}\netcd.user=u",
        &["w:6: etcd.password: ${file:a:b} cannot be resolved: the worker file names no provider file"],
    ),
    (
        "etcd.endpoints=http://u:S1@e:2379",
        &["w:6: etcd.endpoints=[hidden]: has a user in it; write that by etcd.user and etcd.password"],
    ),
    ("etcd.prefix=x", &["w:6: etcd.prefix=x: must begin with a slash, as in /copyist"]),
    (
        "agent.lease.ttl.ms=1999\ncoordinator.lease.ttl.ms=1000",
        &[
            "w: agent.lease.ttl.ms is 1999; etcd grants no lease shorter than 2000 ms",
            "w: coordinator.lease.ttl.ms is 1000; etcd grants no lease shorter than 2000 ms",
        ],
    ),
];

#[test]
fn what_is_wrong_about_etcd_is_said_at_once_and_shows_no_secret() {
    for (lines, expected) in WRONG_ETCD {
        let (settings, notices) = read_as(Role::Coordinator, &format!("{SHARED}{lines}"));
        let problems = settings.unwrap_err();
        assert_eq!(problems.len(), expected.len(), "{lines}: {problems:?}");
        for (problem, beginning) in problems.iter().zip(*expected) {
            assert!(problem.starts_with(beginning), "{lines}: {problem}");
        }
        assert!(!format!("{problems:?}{notices:?}").contains("S1"), "{lines}: {problems:?}");
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.pem");
    std::fs::write(&file, PEM.replace("EC PRIVATE", "ENCRYPTED PRIVATE")).unwrap();
    let file = file.display();
    let lines =
        format!("{SHARED}etcd.tls.ca.file={file}\netcd.tls.cert.file={file}\netcd.tls.key.file={file}");
    let problems = problems_of(Role::Coordinator, &lines);
    assert!(
        problems
            .iter()
            .all(|problem| problem.ends_with("holds an encrypted key; store it without a password"))
    );
    std::fs::write(directory.path().join("x.pem"), PEM).unwrap();
    let shown =
        format!("{:?}", read_as(Role::Coordinator, &format!("{lines}\netcd.user=u\netcd.password=S3")));
    assert!(shown.contains("[hidden]") && !shown.contains("S2") && !shown.contains("S3"), "{shown}");
}

#[test]
fn leases_are_what_etcd_can_keep_and_that_is_said() {
    let lines = format!(
        "{SHARED}agent.id=a\nagent.lease.ttl.ms=2500\ncoordinator.lease.ttl.ms=3001\netcd.prefix=/p\n\
                         coordinator.advertised.address=h:1"
    );
    let (settings, notices) = read_as(Role::Distributed, &lines);
    let coordinator = settings.unwrap().coordinator.unwrap();
    assert_eq!(coordinator.agent_lease_ttl, Duration::from_secs(3));
    let StoreSettings::Etcd { lease_ttl, .. } = coordinator.store else { panic!("{coordinator:?}") };
    assert_eq!(lease_ttl, Duration::from_secs(4));
    let info = texts(&notices, Level::Info);
    assert_eq!(
        info[..2],
        [
            "w: agent.lease.ttl.ms is 2500; etcd counts whole seconds, so 3000 holds",
            "w: coordinator.lease.ttl.ms is 3001; etcd counts whole seconds, so 4000 holds",
        ]
    );
    assert_eq!(texts(&notices, Level::Warning), [""; 0]);
    let (_, notices) = read_as(Role::Agent, &lines);
    assert!(notices.iter().all(|notice| !notice.text.contains("ttl")), "{notices:?}");
}

#[test]
fn a_margin_that_is_too_small_for_weak_lanes_is_warned_of() {
    let rows = [("6100", false), ("6099", true), ("0", true)];
    for (margin, warned) in rows {
        let (_, notices) = read_as(Role::Coordinator, &format!("{SHARED}lease.margin.ms={margin}"));
        let warnings = texts(&notices, Level::Warning);
        assert_eq!(warnings.len(), usize::from(warned), "{margin}: {warnings:?}");
        let beginning = format!("w: lease.margin.ms is {margin}, less than the 6100 that a write under way");
        assert!(warnings.iter().all(|warning| warning.starts_with(&beginning)), "{warnings:?}");
        assert_eq!(read_as(Role::Gateway, &format!("{SHARED}lease.margin.ms={margin}")).1, []);
    }
}

#[test]
fn a_fleets_keys_are_without_effect_in_a_standalone_process() {
    let lines =
        "etcd.endpoints=x\netcd.password=S1\ncoordinator.endpoints=c:1\ngateway.listen=x\netcd.prefix=";
    let expected = "w: without effect (a standalone process is its own coordinator, with its own store): \
                    coordinator.endpoints, etcd.endpoints, etcd.password, gateway.listen";
    assert_eq!(notices(lines, Level::Warning), [expected]);
}
