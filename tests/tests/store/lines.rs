//! What a coordinator logs: what is odd once, what goes on seldom, and nothing while all is well.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;
use std::time::Duration;

use copyist_coordinator::store::Store;
use copyist_coordinator::store::etcd::Settings;
use copyist_tests::suite::must;
use copyist_tests::{Etcd, EtcdOptions, free_port};

use crate::fixture::{Process, chain, holder, prefix, settings, status};

thread_local! {
    /// What is logged on a thread that somebody listens to.
    static HEARD: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Writes into what is heard on this thread, if anybody listens.
struct Heard;

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        HEARD.with_borrow_mut(|heard| {
            if let Some(heard) = heard {
                heard.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is logged at info and above by what runs on this thread. The subscriber is one for all, as one for a thread does
/// not hear what another thread's first use of a line has turned off.
fn logged(work: impl Future<Output = ()>) -> Vec<String> {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| tracing_subscriber::fmt().with_writer(|| Heard).with_ansi(false).init());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    HEARD.set(Some(Vec::new()));
    runtime.block_on(work);
    let bytes = HEARD.take().unwrap_or_default();
    String::from_utf8(bytes).expect("text").lines().map(str::to_owned).collect()
}

#[test]
fn nothing_is_said_while_all_is_well_and_odd_lease_times_once() {
    let etcd = must("etcd", Etcd::start(EtcdOptions::named("lines")));
    let run = |ttl: Duration| {
        let (prefix, endpoints) = (prefix(), etcd.endpoints());
        logged(async move {
            let settings = Settings { agent_ttl: ttl, ..settings(endpoints, &prefix, "one") };
            let (mut one, _) = Process::leading(settings).await;
            for number in 0..5 {
                one.join(&holder(&format!("a:{number}"), "i")).await;
                one.commit_well(vec![status("c", "x")]).await;
                one.store.lead().await.expect("a view");
            }
            one.end().await;
        })
    };
    assert_eq!(run(Duration::from_secs(5)), Vec::<String>::new());
    let lines = run(Duration::from_secs(1));
    println!("{lines:?}");
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("WARN") && lines[0].contains("agent's lease last 2 s, where 1 s"), "{lines:?}");
}

#[test]
fn an_etcd_that_stays_away_is_said_once_in_a_while_and_its_return_once() {
    let mut etcd = must("etcd", Etcd::start(EtcdOptions::named("away")));
    must("etcd", etcd.kill_9(0));
    let dead = free_port().expect("a port");
    let endpoints = vec![format!("http://127.0.0.1:{dead}"), etcd.endpoints().remove(0)];
    let lines = logged(async move {
        let process = Process::open(settings(endpoints, &prefix(), "one"));
        for _ in 0..2 {
            let error = process.replica.view().await.expect_err("etcd is away");
            assert!(chain(&error).contains("cannot be reached"), "{}", chain(&error));
        }
        // What waits for processes must not wait on a runtime's thread.
        let back = std::thread::spawn(move || etcd.restart().map(|()| etcd));
        while !back.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _etcd = must("etcd", back.join().expect("no panic"));
        process.sees("an empty store", |view| view.meta.store_id.is_empty()).await;
        process.end().await;
    });
    println!("{lines:#?}");
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains("WARN") && lines[0].contains("cannot be reached"), "{lines:?}");
    assert!(lines[1].contains("INFO") && lines[1].contains("etcd is reached at"), "{lines:?}");
}
