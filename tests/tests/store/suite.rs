//! What every store must do, whatever keeps it.

use std::time::Duration;

use copyist_coordinator::Error;
use copyist_coordinator::core::Commit;
use copyist_coordinator::core::Holder;
use copyist_coordinator::store::embedded::Embedded;
use copyist_coordinator::store::etcd::Settings;
use copyist_coordinator::store::{Outcome, Store};

use crate::fixture::{
    Process, agent, assigned, commit, committed, holder, prefix, settings, shared, soon, status, survey,
    trace,
};

/// Of agents' leases.
const TTL: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_passes() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Embedded::open(&folder.path().join("store"), TTL).expect("a store");
    suite("embedded", store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_passes() {
    let settings = Settings { agent_ttl: TTL, ..settings(shared().endpoints(), &prefix(), "one") };
    let process = Process::open(settings);
    suite("etcd", process.store).await;
}

async fn suite<S: Store>(which: &str, mut store: S) {
    let view = soon("to lead", store.lead()).await.expect("a view");
    assert!(!view.meta.store_id.is_empty() && view.meta.incarnation == 1, "{:?}", view.meta);
    assert!(store.leads());
    let (one, two) = (holder("a:1", "one"), holder("a:1", "two"));
    revisions_rise(&mut store).await;
    unknown_processes_are_refused(&mut store, &one).await;
    a_process_joins(&mut store, &one).await;
    the_next_one_takes_over(&mut store, &one, &two).await;
    let left = a_process_leaves(&mut store, &one, &two).await;
    a_lease_ends(&mut store, &two, &left).await;
    as_much_as_one_commit_may_hold(&mut store).await;

    let last = committed(store.commit(&commit(vec![status("last", "x")]), 1).await);
    let again = soon("to lead again", store.lead()).await.expect("a view");
    assert_eq!(again.meta, view.meta);
    assert!(again.revision >= last, "{:?} {last:?}", again.revision);
    assert_eq!(trace(&again, "last").as_deref(), Some("x"));
    assert_eq!(trace(&again, "gone"), None);
    let next = committed(store.commit(&commit(vec![status("last", "y")]), 1).await);
    assert!(next > again.revision, "{next:?} {:?}", again.revision);
    store.resign().await;
    println!("{which}: revisions up to {next:?}");
}

async fn revisions_rise<S: Store>(store: &mut S) {
    let mut before = None;
    for round in 0..5 {
        let mut writes = vec![status("c", &format!("round {round}"))];
        writes.extend((0..99).map(|number| status(&format!("c{number}"), "many in one commit")));
        let revision = committed(store.commit(&commit(writes), 1).await);
        assert!(before < Some(revision), "{before:?} {revision:?}");
        before = Some(revision);
    }
    committed(store.commit(&commit(vec![status("gone", "x")]), 1).await);
    let gone = copyist_coordinator::core::Write::Status(survey("gone"), None);
    committed(store.commit(&commit(vec![gone.clone()]), 1).await);
    committed(store.commit(&commit(vec![gone]), 1).await);
}

async fn refused<S: Store>(store: &mut S, commit: &Commit) -> Vec<Holder> {
    match store.commit(commit, 1).await {
        Ok(Outcome::Refused { gone }) => gone,
        Ok(Outcome::Committed(revision)) => panic!("committed at {revision:?}"),
        Err(error) => panic!("{error}"),
    }
}

/// To a process that nobody knows nothing is assigned.
async fn unknown_processes_are_refused<S: Store>(store: &mut S, one: &Holder) {
    let to_one =
        Commit { alive: vec![one.clone()], ..commit(vec![assigned("c", one), status("gone", "refused")]) };
    assert_eq!(refused(store, &to_one).await, std::slice::from_ref(one));
    assert!(!store.keep_alive(one).await.expect("an answer"));
}

async fn a_process_joins<S: Store>(store: &mut S, one: &Holder) {
    store.grant(one, None).await.expect("a lease");
    // It says hello again.
    store.grant(one, None).await.expect("a lease");
    committed(store.commit(&commit(vec![agent(one)]), 1).await);
    let to_one = Commit { alive: vec![one.clone()], ..commit(vec![assigned("c", one)]) };
    committed(store.commit(&to_one, 1).await);
    assert!(store.keep_alive(one).await.expect("an answer"));
}

async fn the_next_one_takes_over<S: Store>(store: &mut S, one: &Holder, two: &Holder) {
    store.grant(two, Some(one)).await.expect("a lease");
    assert!(!store.keep_alive(one).await.expect("an answer"), "the lease of the former process is over");
    assert!(store.keep_alive(two).await.expect("an answer"));
    committed(store.commit(&commit(vec![agent(two)]), 1).await);
    let alive = |holder: &Holder| Commit { alive: vec![holder.clone()], ..commit(vec![status("c", "x")]) };
    assert_eq!(refused(store, &alive(one)).await, std::slice::from_ref(one));
    committed(store.commit(&alive(two), 1).await);
}

/// It ends its own lease alone, and may come back. Returns who has left in the end.
async fn a_process_leaves<S: Store>(store: &mut S, one: &Holder, two: &Holder) -> Holder {
    let (agent_two, left) = (agent(two), holder("b:1", "one"));
    for _ in 0..2 {
        store.grant(&left, None).await.expect("a lease");
        committed(store.commit(&commit(vec![agent(&left)]), 1).await);
        assert!(store.keep_alive(&left).await.expect("an answer"));
        assert!(store.revoke(&left).await);
        assert!(!store.keep_alive(&left).await.expect("an answer"));
        let forgotten = copyist_coordinator::core::Write::Agent(left.agent.clone(), None);
        committed(store.commit(&commit(vec![forgotten]), 1).await);
        let to_it = Commit { alive: vec![left.clone()], ..commit(vec![assigned("c", &left)]) };
        assert_eq!(refused(store, &to_it).await, std::slice::from_ref(&left));
        assert!(store.revoke(&left).await, "there is none any more");
    }
    assert!(store.revoke(one).await);
    assert!(store.keep_alive(two).await.expect("an answer"), "of the next process of the agent");
    committed(store.commit(&Commit { alive: vec![two.clone()], ..commit(vec![agent_two]) }, 1).await);
    left
}

/// It counts on as many processes as it has writes.
async fn as_much_as_one_commit_may_hold<S: Store>(store: &mut S) {
    let all: Vec<Holder> =
        (0..Commit::WRITES_MAX).map(|number| holder(&format!("many:{number}"), "i")).collect();
    for holder in &all {
        store.grant(holder, None).await.expect("a lease");
    }
    committed(store.commit(&commit(all.iter().map(agent).collect()), 1).await);
    let long = "x".repeat(copyist_coordinator::core::Status::TRACE_BYTES_MAX);
    let writes = (0..Commit::WRITES_MAX).map(|number| status(&format!("c{number}"), &long)).collect();
    committed(store.commit(&Commit { alive: all, ..commit(writes) }, 1).await);
}

/// Nobody renews it any more. Of who has left nothing is told.
async fn a_lease_ends<S: Store>(store: &mut S, two: &Holder, left: &Holder) {
    let ended = soon("the end of a lease", async {
        loop {
            let ended = store.lease_ended().await?;
            assert_ne!(ended, *left);
            // That of the former process was told already, by whoever granted the next one.
            if ended == *two {
                return Ok::<_, Error>(ended);
            }
        }
    });
    assert_eq!(ended.await.expect("it is told"), *two);
    assert!(store.leads(), "whose own lease goes on");
    assert!(!store.keep_alive(two).await.expect("an answer"));
}
