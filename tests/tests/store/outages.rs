//! etcd's members are killed, stopped, wiped, restored from a copy, and filled up.

use std::time::Duration;

use copyist_coordinator::Error;
use copyist_coordinator::core::Status;
use copyist_coordinator::store::Store;
use copyist_coordinator::store::etcd::{Leader, Renewed, Settings};
use copyist_tests::EtcdOptions;
use tokio::time::Instant;

use crate::fixture::{
    Process, assigned, blocking, chain, holder, prefix, settings, soon, start, status, survey, trace,
};

/// Commits, whatever etcd goes through, and leads again where the term ended.
async fn commit_at_last(process: &mut Process, connector: &str, text: &str) -> u32 {
    let mut failed = 0;
    soon("a commit", async {
        loop {
            match process.commit(vec![status(connector, text)]).await {
                Ok(_) => return failed,
                Err(error) => println!("  {}", chain(&error)),
            }
            failed += 1;
            process.lead().await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_etcd_that_comes_back_goes_on_as_before() {
    let mut etcd = start(EtcdOptions::named("killed"));
    let prefix = prefix();
    let endpoints = etcd.endpoints();
    let settings = |name: &str| Settings {
        leader_ttl: Duration::from_secs(5),
        agent_ttl: Duration::from_secs(120),
        ..settings(endpoints.clone(), &prefix, name)
    };
    let (mut one, first) = Process::leading(settings("one")).await;
    let two = Process::open(settings("two"));
    let a = holder("a:1", "i");
    one.join(&a).await;
    let revision = one.commit_well(vec![assigned("c", &a)]).await;
    let mut failures = 0;
    for round in 0..3 {
        two.leader_is(Leader::Other("one:7447".into())).await;
        blocking(|| etcd.kill_9(0));
        let error = one.commit(vec![status("c", "while it is down")]).await.expect_err("nobody is there");
        println!("down: {}", chain(&error));
        assert!(chain(&error).contains("cannot be reached"), "{}", chain(&error));
        soon("the end of the term", async {
            while one.store.leads() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        two.leader_is(Leader::Unknown).await;
        blocking(|| etcd.restart());
        let began = Instant::now();
        let view = one.lead().await;
        println!("leads again {} ms after etcd's return", began.elapsed().as_millis());
        assert_eq!(view.meta, first.meta);
        failures += commit_at_last(&mut one, "c", &format!("round {round}")).await;
        two.sees("the commit", |view| trace(view, "c") == Some(format!("round {round}"))).await;
        let renewed = soon("a renewal", two.replica.renew(&a)).await.expect("an answer");
        let Renewed::Held(held) = renewed else { panic!("its lease outlived etcd's process: {renewed:?}") };
        assert_eq!(held[&survey("c")].revision, revision);
    }
    println!("3 times killed and back, {failures} more terms ended");
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_members_any_one_may_die_or_hang() {
    let mut etcd = start(EtcdOptions { members: 3, ..EtcdOptions::named("three") });
    let prefix = prefix();
    let (mut one, _) = Process::leading(settings(etcd.endpoints(), &prefix, "one")).await;
    let two = Process::open(settings(etcd.endpoints(), &prefix, "two"));
    let a = holder("a:1", "i");
    one.join(&a).await;
    let mut longest = Duration::ZERO;
    for member in 0..3 {
        for hangs in [false, true] {
            if hangs {
                blocking(|| etcd.pause(member));
            } else {
                blocking(|| etcd.kill_9(member));
            }
            let began = Instant::now();
            let text = format!("without {member}, which hangs: {hangs}");
            let failed = commit_at_last(&mut one, "c", &text).await;
            let took = began.elapsed();
            longest = longest.max(took);
            println!("{text}: committed after {} ms and {failed} failures", took.as_millis());
            two.sees("the commit", |view| trace(view, "c").as_deref() == Some(&text)).await;
            soon("a renewal", async { while two.replica.renew(&a).await.is_err() {} }).await;
            if hangs {
                blocking(|| etcd.resume(member));
            }
            blocking(|| etcd.restart());
        }
    }
    println!("longest time without a commit: {} ms", longest.as_millis());
    blocking(|| etcd.kill_9(0));
    blocking(|| etcd.kill_9(1));
    let error = soon("an error", async {
        loop {
            if let Err(error) = two.replica.view().await {
                return error;
            }
        }
    })
    .await;
    println!("without a majority: {}", chain(&error));
    assert!(chain(&error).contains("majority"), "{}", chain(&error));
    two.leader_is(Leader::Unknown).await;
    blocking(|| etcd.restart());
    commit_at_last(&mut one, "c", "with all").await;
    two.sees("the commit", |view| trace(view, "c").as_deref() == Some("with all")).await;
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_etcd_is_another_store() {
    let mut etcd = start(EtcdOptions::named("wiped"));
    let prefix = prefix();
    let (mut one, first) = Process::leading(settings(etcd.endpoints(), &prefix, "one")).await;
    let two = Process::open(settings(etcd.endpoints(), &prefix, "two"));
    for round in 0..20 {
        one.commit_well(vec![status("c", &format!("round {round}"))]).await;
    }
    let a = holder("a:1", "i");
    one.join(&a).await;
    let last = one.commit_well(vec![assigned("c", &a)]).await;
    two.sees("the last commit", |view| view.revision >= last).await;
    blocking(|| etcd.wipe());
    let error = one.commit(vec![status("c", "into the void")]).await.expect_err("this is another store");
    println!("told: {}", chain(&error));
    let view = one.lead().await;
    assert!(view.meta.store_id != first.meta.store_id && view.revision < last, "{:?}", view.meta);
    assert!(view.statuses.is_empty() && view.assignments.is_empty(), "{view:?}");
    let seen = two.sees("the new store", |seen| seen.meta == view.meta).await;
    assert!(seen.statuses.is_empty() && seen.assignments.is_empty(), "{seen:?}");
    assert_eq!(soon("a renewal", two.replica.renew(&a)).await.expect("an answer"), Renewed::Lost);
    one.commit_well(vec![status("c", "anew")]).await;
    two.sees("the commit", |view| trace(view, "c").as_deref() == Some("anew")).await;
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_etcd_ends_the_term_and_rights_that_it_does_not_know() {
    let mut etcd = start(EtcdOptions::named("restored"));
    let prefix = prefix();
    let (mut one, first) = Process::leading(settings(etcd.endpoints(), &prefix, "one")).await;
    let two = Process::open(settings(etcd.endpoints(), &prefix, "two"));
    let a = holder("a:1", "i");
    one.join(&a).await;
    let kept = one.commit_well(vec![status("c", "kept"), assigned("kept", &a)]).await;
    let copy = blocking(|| etcd.save());
    one.commit_well(vec![status("c", "lost"), assigned("lost", &a)]).await;
    two.sees("the lost commit", |view| trace(view, "c").as_deref() == Some("lost")).await;
    blocking(|| etcd.restore(&copy));
    // Others of this etcd move its revisions beyond all that was seen.
    for _ in 0..10 {
        blocking(|| etcd.etcdctl(&["put", "others", "x"]));
    }
    let mut told = Vec::new();
    let error = soon("the end of the term", async {
        loop {
            match one.commit(vec![status("c", "after")]).await {
                Err(error @ Error::TermOver(_)) => return error,
                Err(error) => told.push(chain(&error)),
                Ok(outcome) => panic!("a commit into another history: {outcome:?}"),
            }
        }
    })
    .await;
    println!("told: {} after {told:?}", chain(&error));
    let view = one.lead().await;
    assert_eq!((trace(&view, "c").as_deref(), &view.meta), (Some("kept"), &first.meta));
    let seen = two.sees("what was kept", |view| trace(view, "c").as_deref() == Some("kept")).await;
    assert!(!seen.assignments.contains_key(&survey("lost")), "{:?}", seen.assignments);
    match soon("a renewal", two.replica.renew(&a)).await.expect("an answer") {
        Renewed::Held(held) => {
            assert_eq!(held.keys().collect::<Vec<_>>(), [&survey("kept")]);
            assert_eq!(held[&survey("kept")].revision, kept);
        }
        // Its lease may have ended meanwhile.
        Renewed::NotYet | Renewed::Lost => {}
    }
    commit_at_last(&mut one, "c", "anew").await;
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_etcd_says_what_to_do_and_goes_on_once_there_is_space() {
    let flags = vec!["--quota-backend-bytes=8388608".to_owned()];
    let mut etcd = start(EtcdOptions { flags, ..EtcdOptions::named("full") });
    let prefix = prefix();
    let (mut one, first) = Process::leading(settings(etcd.endpoints(), &prefix, "one")).await;
    let a = holder("a:1", "i");
    one.join(&a).await;
    let two = Process::open(settings(etcd.endpoints(), &prefix, "two"));
    let mut stored = 0;
    let error = soon("etcd to be full", async {
        loop {
            let long = "x".repeat(Status::TRACE_BYTES_MAX);
            let writes = (0..90).map(|number| status(&format!("c{number}"), &long)).collect();
            match one.commit(writes).await {
                Ok(_) => stored += 1,
                Err(error) => return error,
            }
        }
    })
    .await;
    println!("after {stored} commits: {}", chain(&error));
    let expected = ["no space", "etcdctl defrag", "--quota-backend-bytes", "alarm disarm"];
    assert!(expected.iter().all(|text| chain(&error).contains(text)), "{}", chain(&error));
    let error = soon("an answer", one.store.lead()).await.expect_err("there is still no space");
    assert!(chain(&error).contains("no space"), "{}", chain(&error));
    let renewed = soon("a renewal", two.replica.renew(&a)).await.expect("rights go on");
    assert!(matches!(renewed, Renewed::Held(_)), "{renewed:?}");
    blocking(|| etcd.stop());
    etcd.set_flags(&["--quota-backend-bytes=100000000"]);
    blocking(|| etcd.restart_with_alarm());
    blocking(|| etcd.etcdctl(&["alarm", "disarm"]));
    let view = one.lead().await;
    assert_eq!(view.meta, first.meta);
    commit_at_last(&mut one, "c", "there is space").await;
    two.sees("the commit", |view| trace(view, "c").as_deref() == Some("there is space")).await;
    one.end().await;
    two.end().await;
}
