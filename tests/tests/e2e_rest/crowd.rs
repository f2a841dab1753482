//! Hundreds of clients at once, while leaders die: what was acknowledged is there, exactly once, and reads go on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use copyist_tests::exact::Dice;
use copyist_tests::{Fleet, suite};
use reqwest::Method;
use tokio::task::JoinHandle;

use crate::clients::{End, Expected, Writer};
use crate::stage::{assert_no_panic, count, fleet, run};
use crate::web::{Tally, Web};

/// Clients that want the same name.
const SHARERS: u64 = 4;

/// What reads are asked for while nobody leads.
const READS: [&str; 5] = [
    "/connectors",
    "/connectors/steady",
    "/connectors/steady/config",
    "/connectors/steady/tasks",
    "/connectors/steady/status",
];

#[test]
fn two_hundred_clients_get_what_they_were_acknowledged_while_leaders_die() {
    let mut stage = fleet();
    let (clients, kills, seed) = (count("CLIENTS", 200), count("KILLS", 1), count("SEED", 1));
    let web = Web::new(stage.fleet.rest(0).base());
    let clock = copyist_tests::Deadline::after(Duration::from_secs(600));
    let outcome = run(async {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut first = writer(&web, u64::MAX, seed, &acknowledged);
        assert_eq!(first.create("steady", "steady").await, End::Done);
        let over = Arc::new(AtomicBool::new(false));
        let crowd: Vec<_> =
            (0..clients).map(|number| join(writer(&web, number, seed, &acknowledged), &over)).collect();
        let mut reads = Tally::default();
        let mut slowest = Duration::ZERO;
        for _ in 0..kills {
            let begun = acknowledged.load(Ordering::Relaxed) + 2 * clients;
            while acknowledged.load(Ordering::Relaxed) < begun && !crowd.iter().any(JoinHandle::is_finished) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let (told, slow) = tokio::task::block_in_place(|| kill_the_leader(&mut stage.fleet));
            reads.add(&told);
            slowest = slowest.max(slow);
        }
        over.store(true, Ordering::Relaxed);
        Outcome::of(crowd).await.with(reads, slowest)
    });
    let Outcome { expected, shared, tally, retries, unknown, reads, slowest } = outcome;
    println!(
        "seed {seed}: {clients} clients in {:.1?}, {kills} leaders killed, {retries} writes repeated, {unknown} of unknown \
         outcome\n\
         {tally}between leaders, the slowest read after {slowest:.1?}:\n{reads}",
        clock.elapsed()
    );
    assert_eq!(tally.total(|status| status == 500), 0, "no 500 at all");
    assert!(kills > 0 && retries > 0, "nothing happened: {kills} elections, {retries} repeated writes");
    assert_eq!(reads.total(|status| status != 200), 0, "reads go on between leaders");
    assert!(reads.total(|status| status == 200) >= 10 * kills, "hardly anything was read between leaders");
    for (name, winners) in &shared {
        assert!(*winners <= 1, "{name} was created {winners} times");
        assert!(*winners == 1 || unknown > 0, "{name} was created by nobody");
    }
    let there = run(web.ask(Method::GET, "/connectors?expand=info", None)).1;
    let there = there.as_object().expect("a map");
    let wanted: Vec<&String> = expected.keys().chain(shared.keys()).collect();
    let others: Vec<_> = there.keys().filter(|name| !wanted.contains(name) && *name != "steady").collect();
    assert!(others.is_empty(), "nobody was acknowledged {others:?}");
    for name in wanted {
        let config = &there.get(name).unwrap_or_else(|| panic!("{name} is missing"))["info"]["config"];
        let Some(Expected { mark, patched, .. }) = expected.get(name) else { continue };
        assert_eq!(
            (config["key.converter.mark"].as_str(), config["key.converter.patched"].as_str()),
            (Some(&**mark), Some(&**patched))
        );
    }
    wait_stopped(&stage.fleet, &expected);
    for member in stage.fleet.members_mut() {
        assert_no_panic(&suite::must("a log", member.log_text()));
    }
}

fn writer(web: &Web, number: u64, seed: u64, acknowledged: &Arc<AtomicU64>) -> Writer {
    let dice = Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(number));
    let (web, tally, acknowledged) = (web.clone(), Tally::default(), acknowledged.clone());
    Writer { web, number, dice, tally, acknowledged, retries: 0, unknown: 0 }
}

/// What one client found out: its name and what is to be there, the shared name and whether it created that.
type Lived = (Writer, Option<Expected>, String, bool);

fn join(mut writer: Writer, over: &Arc<AtomicBool>) -> JoinHandle<Lived> {
    let over = over.clone();
    tokio::spawn(async move {
        let shared = format!("shared-{}", writer.number / SHARERS);
        let before = writer.unknown;
        let created = writer.create(&shared, "shared").await;
        // With an unknown outcome nobody can say whose it is.
        let is_winner = created == End::Done && writer.unknown == before;
        let expected = writer.live(over).await;
        (writer, expected, shared, is_winner)
    })
}

struct Outcome {
    expected: BTreeMap<String, Expected>,
    shared: BTreeMap<String, u64>,
    tally: Tally,
    retries: u64,
    unknown: u64,
    reads: Tally,
    slowest: Duration,
}

impl Outcome {
    async fn of(crowd: Vec<JoinHandle<Lived>>) -> Outcome {
        let (mut expected, mut shared) = (BTreeMap::new(), BTreeMap::new());
        let (mut tally, mut retries, mut unknown) = (Tally::default(), 0, 0);
        for client in crowd {
            let (writer, own, name, is_winner) = client.await.expect("a client");
            tally.add(&writer.tally);
            retries += writer.retries;
            unknown += writer.unknown;
            expected.extend(own.map(|own| (writer.name(), own)));
            *shared.entry(name).or_default() += u64::from(is_winner);
        }
        let (reads, slowest) = (Tally::default(), Duration::ZERO);
        Outcome { expected, shared, tally, retries, unknown, reads, slowest }
    }

    fn with(self, reads: Tally, slowest: Duration) -> Outcome {
        Outcome { reads, slowest, ..self }
    }
}

/// Reads until another coordinator leads; the killed one follows from then on.
fn kill_the_leader(fleet: &mut Fleet) -> (Tally, Duration) {
    let leader = suite::must("a leader", fleet.wait_leader());
    fleet.coordinators[leader].kill_9();
    let (mut reads, mut slowest) = (Tally::default(), Duration::ZERO);
    let mut turn = 0;
    let next = fleet.wait("another leader", || {
        let next = (0..fleet.coordinators.len()).find(|at| *at != leader && fleet.leads(*at));
        if next.is_none() {
            let clock = copyist_tests::Deadline::after(Duration::from_secs(600));
            let path = READS[turn % READS.len()];
            turn += 1;
            reads.count(&format!("GET {path}"), fleet.rest(0).get(path)?.0);
            slowest = slowest.max(clock.elapsed());
        }
        Ok(next)
    });
    suite::must("another leader", next);
    suite::must("started again", fleet.coordinators[leader].launch());
    (reads, slowest)
}

/// The state of a connector follows its target.
fn wait_stopped(fleet: &Fleet, expected: &BTreeMap<String, Expected>) {
    let mut wrong = Vec::new();
    let settled = fleet.wait("the states", || {
        let (_, listing) = fleet.rest(0).get("/connectors?expand=status")?;
        let is_stopped = |name: &str| listing[name]["status"]["connector"]["state"] == "STOPPED";
        wrong = expected
            .iter()
            .filter(|(name, expected)| is_stopped(name) != expected.stopped)
            .map(|(name, expected)| format!("{name}: {expected:?}: {}", listing[name]))
            .collect();
        Ok(wrong.is_empty().then_some(()))
    });
    suite::must(&format!("{} states: {wrong:#?}", wrong.len()), settled);
}
