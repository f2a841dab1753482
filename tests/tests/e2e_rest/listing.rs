//! A thousand connectors, listed in one call.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use copyist_tests::{Deadline, suite};
use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{assert_no_panic, config, count, memory_mib, run, standalone};
use crate::web::Web;

/// Of each config, so that the listing exceeds what gRPC takes by default.
const PADDING: usize = 4_300;
const CLIENTS: u64 = 16;

#[test]
fn a_thousand_connectors_are_listed_whole_in_one_call() {
    let copyist = standalone();
    let connectors = count("CONNECTORS", 1_000);
    let web = Web::new(copyist.rest().base());
    let clock = Deadline::after(std::time::Duration::from_secs(600));
    let listing = run(async {
        let next = Arc::new(AtomicU64::new(0));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (web, next) = (web.clone(), next.clone());
                tokio::spawn(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= connectors {
                            return;
                        }
                        create(&web, number).await;
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.expect("a client");
        }
        let created = clock.elapsed();
        let (status, names) = web.ask(Method::GET, "/connectors", None).await;
        assert_eq!((status, names.as_array().map(Vec::len)), (200, Some(connectors as usize)));
        let began = clock.elapsed();
        let (status, listing) = web.ask(Method::GET, "/connectors?expand=status&expand=info", None).await;
        assert_eq!(status, 200);
        println!(
            "{connectors} connectors created in {created:.1?}, listed in {:.1?}",
            clock.elapsed() - began
        );
        listing
    });
    let listed = listing.as_object().expect("a map");
    let names: BTreeSet<String> = listed.keys().cloned().collect();
    assert_eq!(names, (0..connectors).map(name).collect::<BTreeSet<_>>());
    for (name, entry) in listed {
        assert_eq!(entry["info"]["name"], *name);
        assert_eq!(
            entry["info"]["config"]["key.converter.padding"].as_str().map(str::len),
            Some(PADDING),
            "{name}"
        );
        assert_eq!(entry["info"]["config"]["key.converter.mark"], *name);
        assert_eq!((&entry["info"]["type"], &entry["status"]["name"]), (&json!("source"), &json!(name)));
        assert!(entry["status"]["connector"]["state"].is_string(), "{entry}");
        assert!(entry["status"]["tasks"].is_array(), "{entry}");
    }
    let bytes = listing.to_string().len();
    let pid = copyist.pid().expect("it runs");
    println!("the listing has {} MiB; peak memory {} MiB", bytes >> 20, memory_mib(pid, "VmHWM"));
    assert!(bytes > 4 << 20 || connectors < 1_000, "it is no test of gRPC's limits");
    assert_no_panic(&suite::must("the log", copyist.log_text()));
}

fn name(number: u64) -> String {
    format!("listed-{number:05}")
}

async fn create(web: &Web, number: u64) {
    let mut config = config(&name(number));
    config["key.converter.padding"] = Value::String("p".repeat(PADDING));
    // A few that run will do: each of the others is one write.
    let state = match number % 20 {
        0 => "RUNNING",
        odd if odd % 2 == 1 => "PAUSED",
        _ => "STOPPED",
    };
    let body = json!({"name": name(number), "config": config, "initial_state": state});
    let (status, answer) = web.ask(Method::POST, "/connectors", Some(&body)).await;
    assert_eq!(status, 201, "{answer}");
}
