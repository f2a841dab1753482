//! What a person gets to read when etcd cannot be used, and that nothing need be restarted once it can.

use copyist_coordinator::store::Store;
use copyist_coordinator::store::etcd::{Credentials, Identity, Settings, Tls};
use copyist_tests::{Certificates, Etcd, EtcdOptions, free_port};

use crate::fixture::{Process, blocking, chain, prefix, settings, shared, soon, start, status, trace};

/// What a replica says when it is asked.
async fn refusal(process: &Process) -> String {
    soon("an error", async {
        loop {
            match process.replica.view().await {
                // Until its connection is tried again.
                Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                Err(error) => return chain(&error),
            }
        }
    })
    .await
}

fn assert_says(text: &str, expected: &[&str]) {
    println!("told: {text}");
    for part in expected {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_address_is_named() {
    let port = free_port().expect("a port");
    for (endpoint, cause) in [
        (format!("http://127.0.0.1:{port}"), "refused"),
        ("http://no-such-host.invalid:2379".to_owned(), "lookup"),
        ("http://not an address".to_owned(), "invalid uri"),
        ("https://127.0.0.1:1".to_owned(), "certificate of the authority"),
    ] {
        let process = Process::open(settings(vec![endpoint.clone()], &prefix(), "one"));
        assert_says(&refusal(&process).await, &[&endpoint, cause, "check"]);
        process.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_may_come_later_and_dead_members_are_passed_over() {
    let dead = free_port().expect("a port");
    let endpoints = vec![format!("http://127.0.0.1:{dead}"), shared().endpoints().remove(0)];
    for _ in 0..4 {
        let (process, _) = Process::leading(settings(endpoints.clone(), &prefix(), "one")).await;
        process.end().await;
    }
    let mut etcd = start(EtcdOptions::named("later"));
    blocking(|| etcd.kill_9(0));
    let mut process = Process::open(settings(etcd.endpoints(), &prefix(), "one"));
    refusal(&process).await;
    blocking(|| etcd.restart());
    process.lead().await;
    process.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_named_and_a_right_one_outlives_its_token() {
    let mut etcd = start(EtcdOptions::named("users"));
    let prefix = prefix();
    blocking(|| etcd.enable_users("copyist", "pass", &format!("{prefix}/")));
    let with = |name: &str, password: &str, prefix: &str| Settings {
        user: Some(Credentials { name: name.into(), password: password.into() }),
        ..settings(etcd.endpoints(), prefix, "one")
    };
    let wrong = Process::open(with("copyist", "wrong-secret", &prefix));
    let text = refusal(&wrong).await;
    assert_says(&text, &["refuses the login", "check the user and the password", &etcd.endpoints()[0]]);
    assert!(!text.contains("wrong-secret"), "{text}");
    wrong.end().await;
    let nobody = Process::open(settings(etcd.endpoints(), &prefix, "one"));
    assert_says(&refusal(&nobody).await, &["refuses the login", "user name is empty"]);
    nobody.end().await;
    let elsewhere = Process::open(with("copyist", "pass", "elsewhere"));
    assert_says(&refusal(&elsewhere).await, &["does not permit", "role"]);
    elsewhere.end().await;

    let (mut right, _) = Process::leading(with("copyist", "pass", &prefix)).await;
    right.commit_well(vec![status("c", "x")]).await;
    // Tokens are lost with the process.
    blocking(|| etcd.kill_9(0));
    blocking(|| etcd.restart());
    right.sees("what was stored", |view| trace(view, "c").as_deref() == Some("x")).await;
    right.lead().await;
    right.commit_well(vec![status("c", "y")]).await;
    // A password that is changed meanwhile is the operator's to tell; one that is right again needs no restart.
    blocking(|| etcd.set_password("copyist", "other"));
    blocking(|| etcd.kill_9(0));
    blocking(|| etcd.restart());
    assert_says(&refusal(&right).await, &["refuses the login"]);
    blocking(|| etcd.set_password("copyist", "pass"));
    right.sees("what was stored", |view| trace(view, "c").as_deref() == Some("y")).await;
    right.end().await;
}

fn tls(etcd: &Etcd, with_identity: bool) -> Option<Tls> {
    let made: &Certificates = etcd.certificates().expect("certificates");
    let text = |name: &str| blocking(|| made.text(name));
    let identity = Identity { certificate: text("client.pem"), key: text("client.key") };
    Some(Tls { ca: text("ca.pem"), identity: with_identity.then_some(identity) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_named_and_a_new_one_needs_no_restart() {
    let etcd = start(EtcdOptions { tls: true, ..EtcdOptions::named("tls") });
    let prefix = prefix();
    let with = |tls: Option<Tls>| Settings { tls, ..settings(etcd.endpoints(), &prefix, "one") };
    let made = etcd.certificates().expect("certificates");
    let good = tls(&etcd, true);
    let (mut first, _) = Process::leading(with(good.clone())).await;
    first.commit_well(vec![status("c", "x")]).await;
    first.end().await;

    blocking(|| made.expire_server(true));
    let mut process = Process::open(with(good.clone()));
    assert_says(&refusal(&process).await, &["TLS", "expired", &etcd.endpoints()[0]]);
    blocking(|| made.expire_server(false));
    process.sees("what was stored", |view| trace(view, "c").as_deref() == Some("x")).await;
    soon("to lead", process.store.lead()).await.expect("a view");
    process.end().await;

    let anonymous = Process::open(with(tls(&etcd, false)));
    assert_says(&refusal(&anonymous).await, &["TLS", "certificate", &etcd.endpoints()[0]]);
    anonymous.end().await;
    let foreign = start(EtcdOptions { tls: true, ..EtcdOptions::named("foreign") });
    let stranger = Process::open(with(tls(&foreign, true)));
    assert_says(&refusal(&stranger).await, &["TLS", "certificate"]);
    stranger.end().await;
    blocking(|| made.expire_client(true));
    let expired = Process::open(with(tls(&etcd, true)));
    assert_says(&refusal(&expired).await, &["TLS", "certificate"]);
    expired.end().await;
}
