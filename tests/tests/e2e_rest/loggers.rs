//! `/admin/loggers` with effect: on the process that serves REST, and on those of a fleet.

use copyist_tests::{Fleet, Member, suite, wait_until};
use copyist_tests::{Progress, Rest};
use serde_json::{Value, json};
use std::time::Duration;

use crate::stage::{fleet, standalone};

const LIMIT: Duration = Duration::from_secs(60);

fn set(rest: &Rest, logger: &str, level: &str) -> (u16, Value) {
    suite::must("an answer", rest.put(&format!("/admin/loggers/{logger}"), &json!({"level": level})))
}

#[test]
fn a_level_holds_for_the_process_from_the_answer_on() {
    let copyist = standalone();
    let rest = copyist.rest();
    let told = || suite::must("the log", copyist.log_text()).matches("request answered").count();
    let ask = || suite::must("an answer", rest.get("/connectors"));
    ask();
    assert_eq!(told(), 0, "debug lines are not written by default");
    let (status, changed) = set(rest, "copyist_gateway", "debug");
    assert_eq!(status, 200);
    assert!(changed.as_array().is_some_and(|all| all.contains(&json!("copyist_gateway"))), "{changed}");
    ask();
    let wait = wait_until("a debug line", LIMIT, Progress::Silent, || Ok((told() > 0).then_some(())));
    suite::must("a debug line", wait);
    assert_eq!(set(rest, "copyist_gateway", "OFF").0, 200);
    let before = told();
    for _ in 0..5 {
        ask();
    }
    let (_, all) = suite::must("the loggers", rest.get("/admin/loggers"));
    println!("{} loggers are in use", all.as_object().map_or(0, serde_json::Map::len));
    assert_eq!(all["copyist_gateway"]["level"], "OFF");
    assert!(all["copyist_gateway"]["last_modified"].is_u64() && all["root"]["last_modified"].is_null());
    assert_eq!(told(), before, "and not any more");
}

#[test]
fn a_level_of_the_cluster_reaches_every_coordinator_and_agent_but_not_by_another_scope() {
    let stage = fleet();
    let fleet: &Fleet = &stage.fleet;
    suite::must("a leader", fleet.wait_leader());
    let says = |member: &Member, level: &str| {
        let text = format!("log level changed logger=\"copyist_x\" level={level}");
        suite::must("a log", member.log_text()).contains(&text)
    };
    let others: Vec<&Member> = fleet.coordinators.iter().chain(&fleet.agents).collect();
    assert_eq!(set(fleet.rest(0), "copyist_x", "ERROR"), (200, json!(["copyist_x"])));
    suite::must(
        "at the gateway",
        fleet.wait("its line", || Ok(says(&fleet.gateways[0], "ERROR").then_some(()))),
    );
    let everywhere = fleet.wait("the cluster to be told", || {
        Ok((set(fleet.rest(0), "copyist_x?scope=cluster", "WARN").0 == 204).then_some(()))
    });
    suite::must("told", everywhere);
    for member in &others {
        suite::must(&member.name, fleet.wait("its line", || Ok(says(member, "WARN").then_some(()))));
        assert!(!says(member, "ERROR"), "{} was told of a level of the gateway alone", member.name);
    }
    // With effect in another process.
    let debug = |member: &Member| suite::must("a log", member.log_text()).contains(" DEBUG copyist_agent");
    let agent = &fleet.agents[0];
    assert!(!debug(agent));
    assert_eq!(set(fleet.rest(0), "copyist_agent?scope=cluster", "DEBUG").0, 204);
    suite::must("a debug line", fleet.wait("a debug line of the agent", || Ok(debug(agent).then_some(()))));
    assert_eq!(set(fleet.rest(0), "copyist_agent?scope=cluster", "INFO").0, 204);
}
