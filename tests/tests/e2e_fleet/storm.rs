//! Everything at once: while 40 partitions are written and copied, each part of the fleet is killed, stopped or cut off.

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_tests::exact::{Age, Copies, Dice, Tally, check, dice, while_written};
use copyist_tests::{FleetOptions, suite};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::stage::Stage;

const PARTITIONS: u32 = 40;

/// A right, which is shorter here, and what comes after it.
const LEASE_TTL: Duration = Duration::from_secs(3);

/// How long agents are cut from all coordinators; a minute in tests/soak.
fn isolation() -> Duration {
    Duration::from_secs(suite::count("COPYIST_TEST_ISOLATION_SECONDS", 12))
}

fn options(name: &str) -> FleetOptions {
    let mut options = FleetOptions::named(name);
    let own = [("agent.lease.ttl.ms", "3000"), ("offset.flush.interval.ms", "2000")];
    options.properties.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    options
}

/// What may happen to a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    LeaderKilled,
    AgentKilled,
    LeaderAndAgentKilled,
    LeaderStopped,
    AgentStopped,
    CoordinatorCutFromEtcd,
    EtcdKilled,
    AgentsCutFromCoordinators,
    RollingRestart,
    ConnectorChanged,
}

const FAULTS: [Fault; 10] = [
    Fault::LeaderKilled,
    Fault::AgentKilled,
    Fault::LeaderAndAgentKilled,
    Fault::LeaderStopped,
    Fault::AgentStopped,
    Fault::CoordinatorCutFromEtcd,
    Fault::EtcdKilled,
    Fault::AgentsCutFromCoordinators,
    Fault::RollingRestart,
    Fault::ConnectorChanged,
];

impl Stage {
    fn suffer(&mut self, fault: Fault, dice: &mut Dice) {
        // What is on its way from one agent to another copies only once it is there, for which etcd is needed.
        self.wait_running(&self.topic.clone(), self.partitions as usize);
        self.wait_balanced();
        self.wait_all_lanes_moving();
        self.tell(format!("{fault:?}"));
        match fault {
            Fault::LeaderKilled => self.kill(Some(()), None),
            Fault::AgentKilled => self.kill(None, Some(dice.index(4))),
            Fault::LeaderAndAgentKilled => self.kill(Some(()), Some(dice.index(4))),
            Fault::LeaderStopped => self.stop_leader(),
            Fault::AgentStopped => self.stop_agent(dice.index(4)),
            Fault::CoordinatorCutFromEtcd => self.cut_leader_from_etcd(),
            Fault::EtcdKilled => self.kill_etcd(),
            Fault::AgentsCutFromCoordinators => self.isolate_agents(),
            Fault::RollingRestart => self.restart_all(),
            Fault::ConnectorChanged => self.change_connector(),
        }
        self.wait_moving();
    }

    /// Waits until each agent has its share of the tasks, so that none is about to move.
    fn wait_balanced(&self) {
        let balanced = self.fleet.wait("the tasks to be balanced", || {
            let mut spread: BTreeMap<usize, usize> = BTreeMap::new();
            self.fleet
                .holders(&self.topic)?
                .into_values()
                .for_each(|agent| *spread.entry(agent).or_default() += 1);
            let (least, most) = (spread.values().min().copied(), spread.values().max().copied());
            // A survey counts as a task of one lane.
            let even = spread.len() == self.fleet.agents.len() && most <= least.map(|least| least + 2);
            Ok(even.then_some(()))
        });
        self.must("balanced", balanced);
    }

    fn kill(&mut self, leader: Option<()>, agent: Option<usize>) {
        let leader = leader.map(|()| self.must("a leader", self.fleet.wait_leader()));
        leader.into_iter().for_each(|leader| self.fleet.coordinators[leader].kill_9());
        agent.into_iter().for_each(|agent| self.fleet.agents[agent].kill_9());
        self.wait_moving();
        if let Some(agent) = agent {
            self.wait_all_lanes_moving();
            self.forget(agent);
        }
        for member in self.fleet.members_mut() {
            suite::must("started again", member.launch());
        }
    }

    /// Beyond its right and the margin; then it goes on as if nothing had been.
    fn stop_agent(&mut self, agent: usize) {
        self.fleet.agents[agent].signal(Signal::SIGSTOP);
        self.pass(LEASE_TTL * 3);
        self.wait_all_lanes_moving();
        self.fleet.agents[agent].signal(Signal::SIGCONT);
    }

    fn cut_leader_from_etcd(&mut self) {
        let leader = self.must("a leader", self.fleet.wait_leader());
        self.fleet.etcd_ways[leader].cut(true);
        self.wait_other_leader(leader);
        self.fleet.etcd_ways[leader].cut(false);
    }

    /// Until another one leads; then it goes on as if nothing had been.
    fn stop_leader(&mut self) {
        let leader = self.must("a leader", self.fleet.wait_leader());
        self.fleet.coordinators[leader].signal(Signal::SIGSTOP);
        self.wait_other_leader(leader);
        self.wait_all_lanes_moving();
        self.fleet.coordinators[leader].signal(Signal::SIGCONT);
    }

    fn wait_other_leader(&self, than: usize) {
        let fleet = &self.fleet;
        let leads = |at: usize| at != than && fleet.leads(at);
        let other = fleet.wait("another leader", || Ok((0..fleet.coordinators.len()).find(|at| leads(*at))));
        self.must("another leader", other);
    }

    /// Without a right a lane goes on whose producer the destination remembers, and no other.
    fn wait_lanes_without_rights(&self) {
        if self.is_weak {
            let before = self.copied();
            self.pass(LEASE_TTL);
            assert_eq!(self.copied(), before, "something is copied without a right");
        } else {
            self.wait_all_lanes_moving();
        }
    }

    /// No decisions, and copying goes on.
    fn kill_etcd(&mut self) {
        suite::must("killed", self.etcd.kill_9(0));
        self.pass(LEASE_TTL * 2);
        self.wait_lanes_without_rights();
        suite::must("started again", self.etcd.restart());
        self.must("a leader", self.fleet.wait_leader());
    }

    fn isolate_agents(&mut self) {
        self.fleet.ways.iter().for_each(|way| way.cut(true));
        self.pass(isolation());
        self.wait_lanes_without_rights();
        self.fleet.ways.iter().for_each(|way| way.cut(false));
    }

    fn restart_all(&mut self) {
        for at in 0..self.fleet.coordinators.len() {
            let ended = self.fleet.coordinators[at].stop();
            assert!(self.must("stopped", ended).success());
            suite::must("started again", self.fleet.coordinators[at].launch());
            self.must("a leader", self.fleet.wait_leader());
        }
        for at in 0..self.fleet.agents.len() {
            let ended = self.fleet.agents[at].stop();
            assert!(self.must("stopped", ended).success(), "{}", self.fleet.tails());
            suite::must("started again", self.fleet.agents[at].launch());
            self.wait_all_lanes_moving();
        }
        for at in 0..self.fleet.gateways.len() {
            let ended = self.fleet.gateways[at].stop();
            assert!(self.must("stopped", ended).success());
            suite::must("started again", self.fleet.gateways[at].launch());
            let healthy = self.fleet.wait_healthy();
            self.must("healthy", healthy);
        }
    }

    /// The connector is stopped, resumed and changed; another one comes and goes, while the leader is killed.
    fn change_connector(&mut self) {
        let topic = self.topic.clone();
        let path = |rest: &str| format!("/connectors/{topic}/{rest}");
        let (status, body) = self.must("stopped", self.fleet.rest(1).put(&path("stop"), &json!({})));
        assert_eq!(status, 204, "{body}");
        let leader = self.must("a leader", self.fleet.wait_leader());
        self.fleet.coordinators[leader].kill_9();
        let (status, body) = self.must("resumed", self.fleet.rest(1).put(&path("resume"), &json!({})));
        assert_eq!(status, 202, "{body}{}", self.fleet.tails());
        suite::must("started again", self.fleet.coordinators[leader].launch());
        self.wait_running(&topic, self.partitions as usize);
        let mut config = Stage::config(&topic);
        config["topic.poll.interval.secs"] = json!("7");
        let (status, body) = self.must("changed", self.fleet.rest(0).put(&path("config"), &config));
        assert_eq!(status, 200, "{body}");
        let other = format!("{topic}-other");
        suite::must("created", self.source.create_topic(&other, 3));
        self.create(&other, &other);
        self.wait_running(&other, 3);
        let (status, body) = self.must("deleted", self.fleet.rest(1).delete(&format!("/connectors/{other}")));
        assert_eq!(status, 204, "{body}");
    }
}

#[test]
fn forty_partitions_are_copied_exactly_whatever_happens_to_the_fleet() {
    const TOPIC: &str = "fleet-now";
    let stage = Stage::open(TOPIC, PARTITIONS, options(TOPIC));
    weather(stage, Age::Fresh);
}

/// No lane of them has a fence: what is exact here is so by leases, rights and margins.
#[test]
fn records_that_the_destination_forgets_are_copied_exactly_whatever_happens_to_the_fleet() {
    const TOPIC: &str = "fleet-old";
    let stage = Stage { is_weak: true, ..Stage::open(TOPIC, 8, options(TOPIC)) };
    let tally = weather(stage, Age::TwoDays);
    assert!(tally.expired > 0, "the destination forgot nobody:\n{tally}");
}

/// Every fault once, or several times, while the topic is written.
fn weather(mut stage: Stage, age: Age) -> Tally {
    let mut dice = dice(&stage.topic);
    let feed = stage.feed(age, 10 * u64::from(stage.partitions));
    let rounds = suite::count("COPYIST_TEST_KILLS", 1).max(1);
    let written = while_written(&feed, dice.clone(), || {
        for _ in 0..rounds {
            let mut faults = FAULTS.to_vec();
            dice.shuffle(&mut faults);
            for fault in faults {
                stage.suffer(fault, &mut dice);
            }
        }
    });
    finish(&stage, written)
}

/// And is it exact?
fn finish(stage: &Stage, written: u64) -> Tally {
    stage.wait_copied(written);
    // What comes too late is too much.
    stage.pass(LEASE_TTL);
    let copies = Copies { at: stage.destination.clone(), topic: &stage.topic, deleted: BTreeMap::new() };
    let tally = stage.tally();
    let terms = stage.said("this coordinator leads store=");
    let equal = match check(&stage.source, &stage.topic, &copies) {
        Ok(equal) => equal,
        Err(wrong) => {
            let window = if stage.is_weak {
                "\nopen and documented: a process stopped between its last check and its write, and a broker or an etcd \
                 leader that stood still for longer than lease.margin.ms"
            } else {
                ""
            };
            let Stage { topic, story, fleet, .. } = stage;
            panic!("{topic}: not exact{wrong}{window}\n{tally}\n{story:?}{}", fleet.tails())
        }
    };
    println!(
        "{}: {equal} records in {} partitions, 0 missing, 0 twice, in order\n  {:?}\n  terms: {terms}\n{tally}",
        stage.topic, stage.partitions, stage.story
    );
    assert_eq!(equal, written);
    assert!(terms > 3, "leaders were killed, and {terms} terms began");
    assert!(tally.takeovers > 0, "agents were killed, and nothing was taken over:\n{tally}");
    tally
}
