//! Three coordinators over three members of etcd, whose members die, hang and come back, and whose network is cut, all at
//! once: each leader counts on from what it loaded, and no number is ever given twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use copyist_coordinator::store::etcd::Settings;
use copyist_coordinator::store::{Outcome, Store};
use copyist_tests::suite::count;
use copyist_tests::{Etcd, EtcdOptions};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Process, blocking, prefix, settings, soon, start, status, trace};
use crate::gate::Gate;

/// Numbers that were stored for certain, and by whom; how many terms there were.
#[derive(Default)]
struct Story {
    given: BTreeMap<u64, String>,
    terms: u64,
    unknown: u64,
    /// Who led last, by its place.
    leader: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_is_given_twice_whatever_happens() {
    let seconds = (60 * count("COPYIST_TEST_MINUTES", 0)).max(25);
    let mut etcd = start(EtcdOptions { members: 3, ..EtcdOptions::named("storm") });
    let prefix = prefix();
    let (stop, story) = (CancellationToken::new(), Arc::new(Mutex::new(Story::default())));
    let mut gates: Vec<Vec<Gate>> = Vec::new();
    let mut coordinators = JoinSet::new();
    for (place, name) in ["one", "two", "three"].into_iter().enumerate() {
        let mut own = Vec::new();
        for member in 0..3 {
            own.push(Gate::before(etcd.port(member).expect("a member")).await);
        }
        let endpoints = own.iter().flat_map(Gate::endpoints).collect();
        gates.push(own);
        let settings = Settings { leader_ttl: Duration::from_secs(2), ..settings(endpoints, &prefix, name) };
        coordinators.spawn(coordinate(settings, (place, name), stop.clone(), Arc::clone(&story)));
    }
    let faults = rage(&mut etcd, &gates, &story, Duration::from_secs(seconds)).await;
    let before = story.lock().unwrap_or_else(PoisonError::into_inner).given.len();
    soon("numbers to be given when all is well again", async {
        while story.lock().unwrap_or_else(PoisonError::into_inner).given.len() < before + 20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    stop.cancel();
    soon("the coordinators to end", coordinators.join_all()).await;
    let (mut last, view) = Process::leading(settings(etcd.endpoints(), &prefix, "last")).await;
    let stored = number(&trace(&view, "c").unwrap_or_default());
    last.commit_well(vec![status("c", "end")]).await;
    last.end().await;
    let story = story.lock().unwrap_or_else(PoisonError::into_inner);
    let highest = story.given.keys().max().copied().unwrap_or_default();
    println!(
        "{} numbers given, up to {highest}, in {} terms, {} of unknown outcome; {faults:?}",
        story.given.len(),
        story.terms,
        story.unknown
    );
    assert!(stored >= highest, "number {highest} was given and is lost: {stored} is stored");
    assert!(story.terms > 1 && faults.values().all(|times| *times > 0), "nothing happened");
}

fn number(trace: &str) -> u64 {
    trace.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Leads whenever it can, and counts.
async fn coordinate(
    settings: Settings,
    who: (usize, &str),
    stop: CancellationToken,
    story: Arc<Mutex<Story>>,
) {
    let (place, name) = who;
    let mut process = Process::open(settings);
    while !stop.is_cancelled() {
        let led = tokio::select! {
            () = stop.cancelled() => break,
            led = process.store.lead() => led,
        };
        let Ok(view) = led else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        {
            let mut story = story.lock().unwrap_or_else(PoisonError::into_inner);
            story.terms += 1;
            story.leader = place;
        }
        let mut last = number(&trace(&view, "c").unwrap_or_default());
        while process.store.leads() && !stop.is_cancelled() {
            let next = last + 1;
            match process.commit(vec![status("c", &format!("{next} by {name}"))]).await {
                Ok(Outcome::Committed(_)) => {
                    let mut story = story.lock().unwrap_or_else(PoisonError::into_inner);
                    let twice = story.given.insert(next, name.to_owned());
                    assert_eq!(twice, None, "{next} is given by {name} as well");
                    last = next;
                }
                Ok(Outcome::Refused { gone }) => panic!("refused: {gone:?}"),
                Err(copyist_coordinator::Error::Store { .. }) => {
                    story.lock().unwrap_or_else(PoisonError::into_inner).unknown += 1;
                    break;
                }
                Err(_) => break,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    process.end().await;
}

/// One fault after the other; how often each happened.
async fn rage(
    etcd: &mut Etcd,
    gates: &[Vec<Gate>],
    story: &Mutex<Story>,
    how_long: Duration,
) -> BTreeMap<&'static str, u32> {
    let mut faults = BTreeMap::from([("killed", 0), ("hung", 0), ("cut", 0), ("muted", 0)]);
    let began = Instant::now();
    let mut dice = count("COPYIST_TEST_SEED", 7);
    for kind in ["killed", "hung", "cut", "muted"].into_iter().cycle() {
        let has_all = faults.values().all(|times| *times > 0);
        if has_all && began.elapsed() > how_long {
            break;
        }
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The network is cut before who leads, where it hurts.
        let whose = story.lock().unwrap_or_else(PoisonError::into_inner).leader;
        let member = (dice >> 33) as usize % 3;
        let lasts = Duration::from_millis(500 + (dice >> 45) % 3_000);
        match kind {
            "killed" => blocking(|| etcd.kill_9(member)),
            "hung" => blocking(|| etcd.pause(member)),
            "cut" => gates[whose].iter().for_each(Gate::close),
            _ => gates[whose].iter().for_each(Gate::mute),
        }
        *faults.entry(kind).or_default() += 1;
        tokio::time::sleep(lasts).await;
        match kind {
            "killed" => blocking(|| etcd.restart()),
            "hung" => blocking(|| etcd.resume(member)),
            _ => gates[whose].iter().for_each(Gate::open),
        }
    }
    faults
}
