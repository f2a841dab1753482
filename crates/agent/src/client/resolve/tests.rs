use std::fs;

use copyist_model::{ZooKeeper, ZooKeepers};

use super::super::providers::{AllowedPaths, Provider};
use super::*;
use crate::job::Order;

const JAAS: &str = "x.PlainLoginModule required username=\"u\" password=\"P\";";

fn properties(pairs: &[(&str, &str)]) -> ClientProperties {
    ClientProperties(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

/// A worker whose providers find what `secrets` holds, in `${file:/…/secrets:…}`.
fn worker(secrets: &str) -> (Worker, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secrets"), secrets).unwrap();
    let file = Provider::File(AllowedPaths::default());
    let worker = Worker {
        cluster: properties(&[("bootstrap.servers", "w:1"), ("linger.ms", "1"), ("retry.backoff.ms", "9")]),
        producer: properties(&[("linger.ms", "2"), ("compression.type", "lz4")]),
        providers: Providers::new([("file".to_owned(), file)].into()),
        ..Worker::nowhere()
    };
    (worker, dir)
}

fn spec(source: &[(&str, &str)], destination: Destination) -> ConnectorSpec {
    let spec = std::sync::Arc::unwrap_or_clone(Order::from_nowhere("auto").spec);
    ConnectorSpec { source: properties(source), destination, ..spec }
}

fn into_worker() -> Destination {
    Destination::Worker(ClientProperties::default())
}

async fn refused(worker: &Worker, spec: &ConnectorSpec) -> String {
    match Resolver::default().resolve(worker, spec).await {
        Err(Error::Stuck(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn references_are_resolved_each_time_and_the_workers_cluster_lies_below() {
    let (worker, dir) = worker("brokers=s:1\npassword=P\n");
    let at = |key: &str| format!("${{file:{}:{key}}}", dir.path().join("secrets").display());
    let overrides =
        properties(&[("compression.type", "zstd"), ("sasl.jaas.config", &JAAS.replace('P', "Q"))]);
    let spec = spec(
        &[
            ("bootstrap.servers", &at("brokers")),
            ("sasl.jaas.config", &JAAS.replace("\"P\"", &format!("\"{}\"", at("password")))),
        ],
        Destination::Worker(overrides),
    );
    let mut resolver = Resolver::default();
    let clients = resolver.resolve(&worker, &spec).await.unwrap();
    assert_eq!(clients.source, properties(&[("bootstrap.servers", "s:1"), ("sasl.jaas.config", JAAS)]));
    let rows = [
        ("bootstrap.servers", "w:1"),
        ("retry.backoff.ms", "9"),
        ("linger.ms", "2"),
        ("compression.type", "zstd"),
    ];
    for (name, value) in rows {
        assert_eq!(clients.destination.get(name), Some(value), "{name}");
    }
    assert_eq!(clients.destination_admin.get("linger.ms"), Some("1"));
    assert_eq!(clients.destination_admin.get("compression.type"), Some("zstd"));

    fs::write(dir.path().join("secrets"), "brokers=s:2\npassword=P\n").unwrap();
    assert_eq!(resolver.resolve(&worker, &spec).await.unwrap().source.bootstrap_servers(), "s:2");
    assert!(!format!("{clients:?}").contains("password"), "{clients:?}");
}

#[tokio::test]
async fn a_connectors_own_destination_has_nothing_of_the_workers() {
    let (worker, dir) = worker("id=me\n");
    let id = format!("${{file:{}:id}}", dir.path().join("secrets").display());
    let own = properties(&[("bootstrap.servers", "d:1"), ("client.id", &id)]);
    let spec = spec(&[("bootstrap.servers", "s:1")], Destination::Cluster(own));
    let clients = Resolver::default().resolve(&worker, &spec).await.unwrap();
    let expected = properties(&[("bootstrap.servers", "d:1"), ("client.id", "me")]);
    assert_eq!((&clients.destination, &clients.destination_admin), (&expected, &expected));
    assert_eq!(destination_servers(&worker, &spec), "d:1");
}

#[tokio::test]
async fn what_stands_for_nothing_is_named_for_both_sides_at_once() {
    let (worker, dir) = worker("password=P\n");
    let path = dir.path().join("secrets");
    let at = format!("${{file:{}:passwrod}}", path.display());
    let spec = spec(
        &[("bootstrap.servers", "s:1"), ("sasl.jaas.config", &at)],
        Destination::Worker(properties(&[("client.id", "${vault:a:b}")])),
    );
    let why = refused(&worker, &spec).await;
    let expected = format!(
        "the source's sasl.jaas.config: {at} cannot be resolved: {} has no key passwrod; the destination's \
         client.id: ${{vault:a:b}} cannot be resolved: config.providers of the worker file names no provider vault, \
         only file",
        path.display()
    );
    assert_eq!(why, expected);
}

/// A mistaken key puts a secret where it does not belong: the texts about that do not show it.
#[tokio::test]
async fn what_no_client_takes_is_told_without_its_value() {
    let (worker, dir) = worker("canary=HUNTER2\njaas=HUNTER2 required;\nhalf=x.PlainLoginModule required\n");
    let at = |key: &str| format!("${{file:{}:{key}}}", dir.path().join("secrets").display());
    let not_shown = "what its reference stands for is not possible here (it is not shown)";
    let no_file = "what its reference stands for is no file that can be read here";
    let rows = [
        ("bootstrap.servers", "canary", not_shown),
        ("security.protocol", "canary", not_shown),
        ("sasl.mechanism", "canary", not_shown),
        ("sasl.jaas.config", "jaas", not_shown),
        ("request.timeout.ms", "canary", not_shown),
        ("ssl.truststore.location", "canary", no_file),
        ("ssl.keystore.location", "canary", no_file),
    ];
    for (name, key, expected) in rows {
        let mut spec = spec(&[("bootstrap.servers", "s:1"), (name, &at(key))], into_worker());
        let told = refused(&worker, &spec).await;
        assert_eq!(told, format!("the source's {name}: {expected}"));
        spec.source = properties(&[("bootstrap.servers", "s:1")]);
        spec.destination = Destination::Worker(properties(&[(name, &at(key))]));
        assert_eq!(refused(&worker, &spec).await, format!("the destination's {name}: {expected}"));
    }
    // What is told of these shows no value anyway, and whoever makes the client tells it.
    for (name, key) in [("ssl.truststore.type", "canary"), ("sasl.jaas.config", "half")] {
        let store = ("ssl.truststore.location", "/t");
        let spec = spec(&[("bootstrap.servers", "s:1"), store, (name, &at(key))], into_worker());
        let clients = Resolver::default().resolve(&worker, &spec).await.unwrap();
        let told = super::super::config(&clients.source, Role::Consumer).unwrap_err().to_string();
        assert!(!told.contains("HUNTER2") && !told.contains("hunter2"), "{told}");
    }
}

#[tokio::test]
async fn without_servers_zookeeper_is_asked_and_named_when_it_does_not_answer() {
    let (worker, _dir) = worker("");
    let second = Duration::from_secs(1);
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let connect = format!("127.0.0.1:{port}/kafka");
    let source = ZooKeeper::parse(&connect, second, second).ok();
    let asked =
        ConnectorSpec { zookeepers: ZooKeepers { source, destination: None }, ..spec(&[], into_worker()) };
    assert_eq!(source_servers(&asked), format!("ZooKeeper {connect}"));
    let mut resolver = Resolver::default();
    match resolver.resolve(&worker, &asked).await {
        Err(Error::Retry { what, .. }) => {
            let beginning =
                format!("the source's brokers: ZooKeeper {connect} does not answer (127.0.0.1:{port}: ");
            assert!(what.starts_with(&beginning) && what.contains("refused"), "{what}");
        }
        other => panic!("{other:?}"),
    }
    resolver.found = Some("s:9".to_owned());
    let clients = resolver.resolve(&worker, &asked).await.unwrap();
    assert_eq!(clients.source.bootstrap_servers(), "s:9", "what was found before holds");

    let named = ConnectorSpec { source: properties(&[("bootstrap.servers", "s:1")]), ..asked };
    assert_eq!(source_servers(&named), "s:1");
    let clients = Resolver::default().resolve(&worker, &named).await.unwrap();
    assert_eq!(clients.source.bootstrap_servers(), "s:1", "ZooKeeper is not asked");
}
