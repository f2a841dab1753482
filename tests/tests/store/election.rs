//! One of several leads; who led before writes nothing.

use std::time::Duration;

use copyist_coordinator::Error;
use copyist_coordinator::store::Store;
use copyist_coordinator::store::etcd::Leader;
use tokio::time::Instant;

use crate::fixture::{Process, blocking, chain, prefix, settings, shared, soon, status, trace};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_leads_and_another_follows_at_once() {
    let prefix = prefix();
    let open = |name: &str| Process::open(settings(shared().endpoints(), &prefix, name));
    let mut waiting = vec![("one", open("one")), ("two", open("two")), ("three", open("three"))];
    let mut led = Vec::new();
    while !waiting.is_empty() {
        let began = Instant::now();
        let (at, view) = first_to_lead(&mut waiting).await;
        let (name, mut leader) = waiting.remove(at);
        println!("{name} leads after {} ms", began.elapsed().as_millis());
        leader.leader_is(Leader::Ours).await;
        for (other, process) in &mut waiting {
            process.leader_is(Leader::Other(format!("{name}:7447"))).await;
            let stands = tokio::time::timeout(Duration::from_secs(1), process.store.lead()).await;
            assert!(stands.is_err(), "{other} leads as well");
        }
        assert_eq!(trace(&view, "c"), led.last().map(|before: &&str| (*before).to_owned()));
        leader.commit_well(vec![status("c", name)]).await;
        led.push(name);
        leader.end().await;
    }
    led.sort_unstable();
    assert_eq!(led, ["one", "three", "two"]);
}

async fn first_to_lead(waiting: &mut [(&str, Process)]) -> (usize, copyist_coordinator::core::View) {
    let standing = waiting.iter_mut().map(|(_, process)| Box::pin(process.store.lead()));
    let first = soon("somebody to lead", futures::future::select_all(standing)).await;
    (first.1, first.0.expect("a view"))
}

/// The lease of the leader's key.
fn lease_of(key: &str) -> i64 {
    let fields = blocking(|| shared().etcdctl(&["get", key, "--write-out=fields"]));
    let lease = fields.lines().find_map(|line| line.strip_prefix("\"Lease\" : "));
    lease.expect("a lease").trim().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_led_before_writes_nothing() {
    let prefix = prefix();
    let (mut one, _) = Process::leading(settings(shared().endpoints(), &prefix, "one")).await;
    one.commit_well(vec![status("c", "one")]).await;
    let lease = lease_of(&format!("{prefix}/leader"));
    blocking(|| shared().etcdctl(&["lease", "revoke", &format!("{lease:x}")]));
    let (mut two, view) = Process::leading(settings(shared().endpoints(), &prefix, "two")).await;
    assert_eq!(trace(&view, "c").as_deref(), Some("one"));
    let error = one.commit(vec![status("c", "one, deposed")]).await.expect_err("it leads no more");
    println!("the deposed leader is told: {}", chain(&error));
    assert!(matches!(error, Error::TermOver(_)), "{error:?}");
    soon("its lease to be known as over", async {
        while one.store.leads() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    two.sees("what the first one wrote", |view| trace(view, "c").as_deref() == Some("one")).await;
    two.commit_well(vec![status("c", "two")]).await;
    let standing = tokio::time::timeout(Duration::from_secs(1), one.store.lead()).await;
    assert!(standing.is_err(), "two lead");
    two.end().await;
    let view = one.lead().await;
    assert_eq!(trace(&view, "c").as_deref(), Some("two"));
    one.end().await;
}

/// A second life under the same lease and key must not be taken for the first one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_term_that_begins_anew_by_itself_is_another_term() {
    let prefix = prefix();
    let (mut one, first) = Process::leading(settings(shared().endpoints(), &prefix, "one")).await;
    let put = |key: &str| {
        let fields = blocking(|| shared().etcdctl(&["get", key, "--write-out=fields"]));
        let revision = fields.lines().find_map(|line| line.strip_prefix("\"ModRevision\" : "));
        revision.expect("a revision").trim().parse::<i64>().expect("a number")
    };
    let key = format!("{prefix}/leader");
    let (before, lease) = (put(&key), lease_of(&key));
    let second = one.lead().await;
    assert!(put(&key) > before, "the leader's key was put again");
    assert_eq!(lease_of(&key), lease, "under the same lease");
    assert_eq!(second.meta, first.meta);
    one.commit_well(vec![status("c", "x")]).await;
    one.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_a_newer_version_wrote_is_refused_and_left_to_others() {
    let prefix = prefix();
    let (mut one, _) = Process::leading(settings(shared().endpoints(), &prefix, "one")).await;
    one.commit_well(vec![status("c", "x")]).await;
    one.end().await;
    // Field 1 is the format version in every value.
    let key = format!("{prefix}/status/c/connector");
    blocking(|| shared().etcdctl(&["put", &key, "\u{8}\u{2}"]));
    let mut two = Process::open(settings(shared().endpoints(), &prefix, "two"));
    let error = soon("an answer", two.store.lead()).await.expect_err("it cannot be read");
    println!("told: {error}");
    assert!(matches!(error, Error::StoreUnreadable(_)), "{error:?}");
    assert!(error.to_string().contains("status/c/connector"), "{error}");
    assert!(error.to_string().contains("version 2"), "{error}");
    two.store.resign().await;
    two.leader_is(Leader::Nobody).await;
    let error = two.replica.view().await.expect_err("it cannot be read by others either");
    assert!(matches!(error, Error::StoreUnreadable(_)), "{error:?}");
    blocking(|| shared().etcdctl(&["del", &key]));
    let view = two.lead().await;
    assert_eq!(trace(&view, "c"), None);
    two.end().await;
}

/// Whoever waits to lead may give up at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standing_for_leader_may_be_given_up_at_any_moment() {
    let prefix = prefix();
    let mut one = Process::open(settings(shared().endpoints(), &prefix, "one"));
    let (mut given_up, mut led, mut limit) = (0, 0, Duration::ZERO);
    soon("to lead in a time that grows", async {
        while led < 20 {
            match tokio::time::timeout(limit, one.store.lead()).await {
                Ok(_) => led += 1,
                Err(_) => given_up += 1,
            }
            limit += Duration::from_micros(500);
        }
    })
    .await;
    println!("given up {given_up} times, led {led} times");
    assert!(given_up > 0);
    let view = one.lead().await;
    let revision = one.commit_well(vec![status("c", "x")]).await;
    assert!(revision > view.revision);
    one.end().await;
    let left = blocking(|| shared().etcdctl(&["get", &format!("{prefix}/leader")]));
    assert_eq!(left, "", "the leader's key went with the leader");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_keys_are_loaded_in_pages() {
    let prefix = prefix();
    let (mut one, _) = Process::leading(settings(shared().endpoints(), &prefix, "one")).await;
    let two = Process::open(settings(shared().endpoints(), &prefix, "two"));
    for batch in 0..25 {
        let writes = (0..100).map(|number| status(&format!("c{batch}-{number}"), "x")).collect();
        one.commit_well(writes).await;
    }
    let began = Instant::now();
    let view = one.lead().await;
    println!("{} keys loaded after {} ms", view.statuses.len(), began.elapsed().as_millis());
    assert_eq!(view.statuses.len(), 2_500);
    assert_eq!(two.replica.view().await.expect("a view").statuses, view.statuses);
    let late = Process::open(settings(shared().endpoints(), &prefix, "late"));
    assert_eq!(late.replica.view().await.expect("a view").statuses, view.statuses);
    for process in [one, two, late] {
        process.end().await;
    }
}
