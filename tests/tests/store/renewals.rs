//! Rights are extended by any replica, and only what is stored is confirmed.

use std::time::Duration;

use copyist_coordinator::core::{Commit, Holder};
use copyist_coordinator::store::Store;
use copyist_coordinator::store::etcd::{Leader, Renewed, Settings};
use copyist_model::StoreRevision;

use crate::fixture::{
    Process, agent, assigned, blocking, commit, committed, holder, prefix, settings, shared, soon, status,
    survey, trace,
};

async fn renew(process: &Process, holder: &Holder) -> Renewed {
    soon("a renewal", process.replica.renew(holder)).await.expect("an answer")
}

fn epoch(renewed: &Renewed, connector: &str) -> Option<StoreRevision> {
    match renewed {
        Renewed::Held(held) => held.get(&survey(connector)).map(|epoch| epoch.revision),
        Renewed::NotYet | Renewed::Lost => panic!("{renewed:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_replica_renews_and_says_what_is_stored_just_then() {
    let prefix = prefix();
    let (mut leader, _) = Process::leading(settings(shared().endpoints(), &prefix, "one")).await;
    let follower = Process::open(settings(shared().endpoints(), &prefix, "two"));
    let (a, b) = (holder("a:1", "i"), holder("b:1", "i"));
    assert_eq!(renew(&follower, &a).await, Renewed::Lost);
    leader.store.grant(&a, None).await.expect("a lease");
    assert_eq!(renew(&follower, &a).await, Renewed::NotYet, "its lease alone gives no right");
    leader.commit_well(vec![agent(&a)]).await;
    leader.join(&b).await;
    for round in 0..100 {
        let (now, then) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let to = Commit { alive: vec![now.clone()], ..commit(vec![assigned("c", now)]) };
        let revision = committed(leader.store.commit(&to, 1).await);
        let asked = if round % 3 == 0 { &leader } else { &follower };
        assert_eq!(epoch(&renew(asked, then).await, "c"), None, "round {round}: it was taken from it");
        assert_eq!(epoch(&renew(asked, now).await, "c"), Some(revision), "round {round}");
    }
    println!("100 moves, each known to any replica at once");
    let next = holder("a:1", "j");
    leader.store.grant(&next, Some(&a)).await.expect("a lease");
    leader.commit_well(vec![agent(&next)]).await;
    assert_eq!(renew(&follower, &a).await, Renewed::Lost);
    assert_eq!(epoch(&renew(&follower, &next).await, "c"), None, "the next process holds nothing of it");
    leader.end().await;
    follower.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_lives_by_the_renewals_of_any_replica_and_ends_without() {
    let prefix = prefix();
    let agent_ttl = Duration::from_secs(6);
    let settings = |name: &str| Settings { agent_ttl, ..settings(shared().endpoints(), &prefix, name) };
    let (mut leader, _) = Process::leading(settings("one")).await;
    let follower = Process::open(settings("two"));
    let (kept, left) = (holder("kept:1", "i"), holder("left:1", "i"));
    leader.join(&kept).await;
    leader.join(&left).await;
    let renewing = async {
        loop {
            assert!(matches!(renew(&follower, &kept).await, Renewed::Held(_)), "it is renewed in time");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let ended = tokio::select! {
        ended = soon("the end of a lease", leader.store.lease_ended()) => ended.expect("it is told"),
        () = renewing => unreachable!("it renews for ever"),
    };
    assert_eq!(ended, left);
    let counts_on_it = Commit { alive: vec![left.clone()], ..commit(vec![status("c", "x")]) };
    let refused = leader.store.commit(&counts_on_it, 1);
    assert_eq!(
        refused.await.expect("an answer"),
        copyist_coordinator::store::Outcome::Refused { gone: vec![left.clone()] }
    );
    let put = leader.commit(vec![agent(&left), status("c", "x")]).await.expect("an answer");
    assert_eq!(
        put,
        copyist_coordinator::store::Outcome::Refused { gone: vec![left] },
        "no key without a lease"
    );
    let view = leader.sees("one agent", |view| view.agents.len() == 1).await;
    assert_eq!(trace(&view, "c"), None);
    leader.end().await;
    follower.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fleets_do_not_see_one_another() {
    let (one, other) = (prefix(), prefix());
    // One's prefix begins like the other's.
    let inner = format!("{one}/x");
    let mut fleets = Vec::new();
    for prefix in [&one, &other, &inner, &format!("{one}0")] {
        fleets.push(Process::leading(settings(shared().endpoints(), prefix, "same")).await);
    }
    let mut stores: Vec<String> = fleets.iter().map(|(_, view)| view.meta.store_id.clone()).collect();
    let same = holder("a:1", "i");
    for (at, (fleet, _)) in fleets.iter_mut().enumerate() {
        fleet.join(&same).await;
        fleet.commit_well(vec![status("c", &at.to_string()), assigned(&format!("c{at}"), &same)]).await;
    }
    for (at, (mut fleet, _)) in fleets.into_iter().enumerate() {
        let view = fleet.lead().await;
        assert_eq!(trace(&view, "c"), Some(at.to_string()));
        assert_eq!(view.statuses.len(), 1);
        let Renewed::Held(held) = renew(&fleet, &same).await else { panic!("its lease was just renewed") };
        assert_eq!(held.keys().collect::<Vec<_>>(), [&survey(&format!("c{at}"))]);
        fleet.leader_is(Leader::Ours).await;
        fleet.end().await;
    }
    stores.sort();
    stores.dedup();
    assert_eq!(stores.len(), 4);
}

/// Between what is loaded and what is watched nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_ends_while_a_term_begins_is_seen_or_told() {
    let prefix = prefix();
    let (mut one, _) = Process::leading(settings(shared().endpoints(), &prefix, "one")).await;
    let (mut seen, mut told) = (0, 0);
    for round in 0..12 {
        let ends = holder("ends:1", &format!("i{round}"));
        one.join(&ends).await;
        let key = format!("{prefix}/agents/ends%3A1");
        let fields = blocking(|| shared().etcdctl(&["get", &key, "--write-out=fields"]));
        let lease = fields.lines().find_map(|line| line.strip_prefix("\"Lease\" : ")).expect("a lease");
        let lease: i64 = lease.trim().parse().expect("a number");
        let revoking = tokio::task::spawn_blocking(move || {
            shared().etcdctl(&["lease", "revoke", &format!("{lease:x}")]).map(drop)
        });
        loop {
            let has_ended = revoking.is_finished();
            let view = one.lead().await;
            if !view.agents.contains_key(&ends.agent) {
                seen += 1;
                break;
            }
            assert!(!has_ended, "its lease had ended before this was loaded");
            let listening = tokio::time::timeout(Duration::from_millis(20), one.store.lease_ended());
            if let Ok(ended) = listening.await {
                assert_eq!(ended.expect("it is told"), ends);
                told += 1;
                break;
            }
        }
        revoking.await.expect("no panic").expect("revoked");
    }
    println!("seen in what was loaded: {seen} times, told: {told} times");
    one.end().await;
}
