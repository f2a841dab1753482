//! How long tasks stand still when their agent is killed, and when the leader dies with it: seen at the destination, and
//! by what the fleet itself tells of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use copyist_tests::exact::{Age, dice, while_written};
use copyist_tests::{FleetOptions, suite};

use crate::stage::Stage;

const PARTITIONS: u32 = 12;

/// What is measured of each kind.
#[derive(Default)]
struct Times {
    /// From the kill to the first new record in the last of the agent's partitions.
    stood_still: Vec<Duration>,
    /// By the status of the tasks: noticed, assigned, resumed.
    told: BTreeMap<&'static str, Vec<f64>>,
}

impl Times {
    fn tell(&mut self, what: &str) -> String {
        self.stood_still.sort();
        let seconds = |time: Option<&Duration>| time.map(Duration::as_secs_f64).unwrap_or_default();
        let median = seconds(self.stood_still.get(self.stood_still.len() / 2));
        let parts: Vec<String> = self
            .told
            .iter_mut()
            .map(|(part, times)| {
                times.sort_by(f64::total_cmp);
                let worst = times.last().copied().unwrap_or_default();
                // A leader that is new has never heard the lost agent: it does not know when it fell silent.
                let median = times.get(times.len() / 2).copied().unwrap_or_default();
                format!("{part} {median:.2} (worst {worst:.2})")
            })
            .collect();
        format!(
            "{what}, {} times: without copying {median:.2} s (worst {:.2} s); by the fleet's own account: {}",
            self.stood_still.len(),
            seconds(self.stood_still.last()),
            parts.join(", ")
        )
    }
}

/// What stands between `after` and ` s` in a task's trace: "… noticed after 1.602 s, …".
fn seconds_after(trace: &str, word: &str) -> Option<f64> {
    trace.split_once(&format!("{word} after "))?.1.split_once(" s")?.0.parse().ok()
}

impl Stage {
    /// Kills the agent of some task, and measures.
    #[expect(clippy::disallowed_methods, reason = "it is what is measured")]
    fn fail_over(&mut self, with_leader: bool, times: &mut Times) {
        let topic = self.topic.clone();
        self.wait_running(&topic, PARTITIONS as usize);
        self.wait_spread();
        // Of a lane that has copied nothing the destination remembers nothing: it waits for its former holder's right.
        self.wait_all_lanes_moving();
        let holders = self.must("holders", self.fleet.holders(&topic));
        let agent = holders.values().copied().next().unwrap_or_default();
        let lanes = self.lanes_of(agent);
        assert!(!lanes.is_empty(), "agent {agent} has no task: {holders:?}");
        let leader = self.must("a leader", self.fleet.wait_leader());
        let killed = Instant::now();
        if with_leader {
            self.fleet.coordinators[leader].kill_9();
        }
        self.fleet.agents[agent].kill_9();
        let before = suite::must("offsets", self.destination.end_offsets(&topic));
        let mut standing: BTreeSet<i32> = lanes;
        let moved = self.fleet.wait("the lanes of the killed agent to move", || {
            let now = self.destination.end_offsets(&topic)?;
            standing.retain(|lane| now.get(lane) == before.get(lane));
            Ok(standing.is_empty().then_some(()))
        });
        self.must(&format!("lanes {standing:?} stand still"), moved);
        times.stood_still.push(killed.elapsed());
        self.read_account(times);
        suite::must("started again", self.fleet.agents[agent].launch());
        if with_leader {
            suite::must("started again", self.fleet.coordinators[leader].launch());
        }
    }

    /// The partitions that an agent's tasks have.
    fn lanes_of(&self, agent: usize) -> BTreeSet<i32> {
        let id = format!("agent-{}:8083", agent + 1);
        let (_, tasks) =
            self.must("tasks", self.fleet.rest(0).get(&format!("/connectors/{}/tasks", self.topic)));
        let holders = self.must("holders", self.fleet.holders(&self.topic));
        let of_task = |task: &serde_json::Value| {
            let number = task["id"]["task"].as_u64()?;
            (holders.get(&number) == Some(&agent)).then_some(())?;
            let lanes = task["config"]["task.lanes"].as_str()?.rsplit_once(':')?.1.to_owned();
            lanes.parse::<i32>().ok()
        };
        let lanes = tasks.as_array().into_iter().flatten().filter_map(of_task).collect::<BTreeSet<i32>>();
        assert!(!lanes.is_empty(), "no lanes of {id} in {tasks:#}");
        lanes
    }

    /// Waits until each agent has a task.
    fn wait_spread(&self) {
        let spread = self.fleet.wait("every agent to have a task", || {
            let holders = self.fleet.holders(&self.topic)?;
            Ok((holders.values().collect::<BTreeSet<_>>().len() == self.fleet.agents.len()).then_some(()))
        });
        self.must("every agent has a task", spread);
    }

    /// Waits until the fleet tells that tasks were taken over and resumed.
    fn read_account(&self, times: &mut Times) {
        let path = format!("/connectors/{}/status", self.topic);
        let told = self.fleet.wait("the account of the failover", || {
            let (_, status) = self.fleet.rest(0).get(&path)?;
            let traces = status["tasks"].as_array().cloned().unwrap_or_default();
            let traces: Vec<String> =
                traces.iter().filter_map(|task| Some(task["trace"].as_str()?.to_owned())).collect();
            let resumed: Vec<String> =
                traces.iter().filter(|trace| trace.contains("taken over")).cloned().collect();
            let all = !resumed.is_empty() && resumed.iter().all(|trace| trace.contains("resumed after"));
            Ok(all.then_some(resumed))
        });
        for trace in self.must("an account", told) {
            for word in ["noticed", "assigned", "resumed"] {
                times.told.entry(word).or_default().extend(seconds_after(&trace, word));
            }
        }
    }

    /// Who led through a failover counts its parts.
    fn read_metrics(&self) {
        let leader = self.must("a leader", self.fleet.wait_leader());
        let metrics = self.must("metrics", self.fleet.coordinators[leader].metrics());
        for phase in ["noticed", "assigned", "resumed"] {
            let name = format!("copyist_failover_seconds_count{{phase=\"{phase}\"}} ");
            let counted = metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok());
            assert!(counted > Some(0), "the metrics tell of no failover: {phase}\n{metrics}");
        }
    }
}

#[test]
fn tasks_of_a_killed_agent_copy_again_soon_also_when_the_leader_dies_with_it() {
    const TOPIC: &str = "fleet-failover";
    let dice = dice(TOPIC);
    let kills = suite::count("COPYIST_TEST_KILLS", 2).max(1);
    let mut stage = Stage::open(TOPIC, PARTITIONS, FleetOptions::named(TOPIC));
    let feed = stage.feed(Age::Fresh, 200);
    let (mut alone, mut together) = (Times::default(), Times::default());
    let written = while_written(&feed, dice, || {
        for _ in 0..kills {
            stage.fail_over(false, &mut alone);
            stage.read_metrics();
            stage.fail_over(true, &mut together);
        }
    });
    stage.wait_copied(written);
    println!("{TOPIC}: {}", alone.tell("an agent killed"));
    println!("{TOPIC}: {}", together.tell("an agent and the leader killed"));
}
