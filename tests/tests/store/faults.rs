//! What becomes of a commit is not known; what was watched is forgotten. The network is cut at the worst moments.

use std::time::Duration;

use copyist_coordinator::Error;
use copyist_coordinator::store::Store;
use copyist_coordinator::store::etcd::{Leader, Settings};
use copyist_tests::{Etcd, EtcdOptions};

use crate::fixture::{
    Process, blocking, chain, holder, prefix, settings, shared, soon, start, status, trace,
};
use crate::gate::Gate;

async fn gate(etcd: &Etcd) -> Gate {
    Gate::before(etcd.port(0).expect("a member")).await
}

/// What may go wrong takes longer than a term.
fn patient(endpoints: Vec<String>, prefix: &str, name: &str) -> Settings {
    Settings {
        leader_ttl: Duration::from_secs(60),
        agent_ttl: Duration::from_secs(60),
        ..settings(endpoints, prefix, name)
    }
}

fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::Store { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_found_by_the_next_term() {
    let (prefix, gate) = (prefix(), gate(shared()).await);
    let (mut one, _) = Process::leading(settings(gate.endpoints(), &prefix, "one")).await;
    one.commit_well(vec![status("c", "before")]).await;
    gate.mute();
    let error = one.commit(vec![status("c", "unknown")]).await.expect_err("no answer comes");
    println!("told: {}", chain(&error));
    assert!(is_unknown(&error), "{error:?}");
    let view = one.lead().await;
    assert_eq!(trace(&view, "c").as_deref(), Some("unknown"), "it came through, and was loaded");
    let next = one.commit_well(vec![status("c", "after")]).await;
    assert!(next > view.revision);
    one.end().await;
}

/// The same delay twice: a commit that arrives late is taken as long as its term was not fenced, and never after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_arrives_after_the_next_term_began_is_refused() {
    let etcd = start(EtcdOptions::named("late"));
    for is_fenced in [false, true] {
        let (prefix, gate) = (prefix(), gate(&etcd).await);
        let (mut one, _) = Process::leading(patient(gate.endpoints(), &prefix, "one")).await;
        let observer = Process::open(settings(etcd.endpoints(), &prefix, "observer"));
        one.commit_well(vec![status("c", "before")]).await;
        let before = gate.kept();
        gate.keep();
        let error = one.commit(vec![status("c", "late")]).await.expect_err("no answer comes");
        assert!(is_unknown(&error), "{error:?}");
        assert!(gate.kept() > before, "nothing is on its way");
        let mut expected = "late";
        if is_fenced {
            let view = one.lead().await;
            assert_eq!(trace(&view, "c").as_deref(), Some("before"));
            expected = "before";
        }
        let handled = "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Txn\"";
        let txns = || blocking(|| etcd.metric(0, handled));
        let already = txns();
        gate.open();
        soon("the late commit to arrive", async {
            while txns() <= already {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        println!("fenced: {is_fenced}; {} bytes arrived late", gate.kept());
        let view = observer.sees("what is stored", |view| trace(view, "c").is_some()).await;
        assert_eq!(trace(&view, "c").as_deref(), Some(expected));
        if is_fenced {
            one.commit_well(vec![status("c", "after")]).await;
        }
        one.end().await;
        observer.end().await;
    }
}

/// Nothing of what happens while a replica hears nothing is missed, though etcd forgets how it came about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_cut_off_beyond_a_compaction_reads_anew() {
    let etcd = start(EtcdOptions::named("compacted"));
    let (prefix, gate) = (prefix(), gate(&etcd).await);
    let (mut one, _) = Process::leading(patient(etcd.endpoints(), &prefix, "one")).await;
    let two = Process::open(settings(gate.endpoints(), &prefix, "two"));
    one.commit_well(vec![status("goes", "x"), status("stays", "x")]).await;
    two.sees("the first commit", |view| trace(view, "goes").is_some()).await;
    two.leader_is(Leader::Other("one:7447".into())).await;
    gate.close();
    two.leader_is(Leader::Unknown).await;
    let error = two.replica.view().await.expect_err("etcd is not reached");
    println!("cut off: {}", chain(&error));
    assert!(chain(&error).contains("cannot be reached"), "{}", chain(&error));
    let gone = copyist_coordinator::core::Write::Status(crate::fixture::survey("goes"), None);
    one.commit_well(vec![gone]).await;
    for round in 0..50 {
        one.commit_well(vec![status("stays", &format!("round {round}"))]).await;
    }
    compact(&etcd, &prefix);
    gate.open();
    let view = two.sees("the last commit", |view| trace(view, "stays").as_deref() == Some("round 49")).await;
    assert_eq!(trace(&view, "goes"), None);
    two.leader_is(Leader::Other("one:7447".into())).await;
    one.end().await;
    two.end().await;
}

/// A leader hears of a lease that ended while it heard nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_ended_unheard_is_told_though_etcd_forgot_how() {
    let etcd = start(EtcdOptions::named("unheard"));
    let (prefix, gate) = (prefix(), gate(&etcd).await);
    let (mut one, _) = Process::leading(patient(gate.endpoints(), &prefix, "one")).await;
    let (ends, stays) = (holder("ends:1", "i"), holder("stays:1", "i"));
    one.join(&ends).await;
    one.join(&stays).await;
    for is_compacted in [false, true] {
        gate.close();
        let lease = lease_of(&etcd, &format!("{prefix}/agents/ends%3A1"));
        blocking(|| etcd.etcdctl(&["lease", "revoke", &format!("{lease:x}")]));
        if is_compacted {
            blocking(|| etcd.etcdctl(&["put", "anything", "x"]));
            compact(&etcd, "anything");
        }
        gate.open();
        let told = soon("the end of the lease", one.store.lease_ended()).await.expect("it is told");
        println!("compacted: {is_compacted}; told: {told:?}");
        assert_eq!(told, ends);
        assert!(one.store.leads());
        one.join(&ends).await;
    }
    one.end().await;
}

fn field(etcd: &Etcd, key: &str, name: &str) -> i64 {
    let fields = blocking(|| etcd.etcdctl(&["get", key, "--write-out=fields"]));
    let value =
        fields.lines().find_map(|line| line.strip_prefix(&format!("\"{name}\" : ")).map(str::to_owned));
    value.expect(name).trim().parse().expect("a number")
}

fn lease_of(etcd: &Etcd, key: &str) -> i64 {
    field(etcd, key, "Lease")
}

/// Forgets all but the last revision.
fn compact(etcd: &Etcd, key: &str) {
    let revision = field_of_header(etcd, key);
    blocking(|| etcd.etcdctl(&["compact", &revision.to_string()]));
}

fn field_of_header(etcd: &Etcd, key: &str) -> i64 {
    field(etcd, key, "Revision")
}

/// A leader that is cut off knows that it leads no more before another one can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_stops_before_the_next_one_leads() {
    let (prefix, gate) = (prefix(), gate(shared()).await);
    for round in 0..3 {
        let leader_ttl = Duration::from_secs(5);
        let own = Settings { leader_ttl, ..settings(gate.endpoints(), &prefix, "one") };
        let (mut one, _) = Process::leading(own).await;
        let mut two = Process::open(settings(shared().endpoints(), &prefix, "two"));
        two.leader_is(Leader::Other("one:7447".into())).await;
        assert!(one.store.leads());
        gate.close();
        let cut = tokio::time::Instant::now();
        let watched = &one.store;
        let stopping = async {
            while watched.leads() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            cut.elapsed()
        };
        let leading = async {
            let view = two.store.lead().await;
            (view, watched.leads(), cut.elapsed())
        };
        let both = soon("the next one to lead", async { tokio::join!(stopping, leading) });
        let (stopped, (view, two_lead, led)) = both.await;
        assert!(!two_lead, "two lead");
        view.expect("a view");
        println!("round {round}: cut off, stopped after {stopped:?}, the next one led after {led:?}");
        gate.open();
        let error = one.commit(vec![status("c", "late")]).await.expect_err("it leads no more");
        println!("told: {}", chain(&error));
        two.end().await;
        one.end().await;
    }
}
