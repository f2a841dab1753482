//! A task's state and its trace, as the user reads them. Pure.

use std::time::Duration;

use copyist_model::InstanceState;

use super::lane::{Lane, Phase};
use crate::engine::trace::{OUTAGE, listed};

/// One of the two clusters, as the task's client there sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// `source` or `destination`.
    pub role: &'static str,
    pub servers: String,
    /// What librdkafka complained of since it last had a connection.
    pub trouble: Option<String>,
    /// What it complained of last: shown when it next says that it has none, so that the trace does not flicker.
    next_trouble: Option<String>,
    /// A broker was connected when the client last looked.
    pub connected: bool,
    /// Since when there is no connection to any broker.
    pub down_since: Option<Duration>,
}

impl Side {
    #[must_use]
    pub fn new(role: &'static str, servers: &str) -> Self {
        let servers = servers.to_owned();
        Self { role, servers, trouble: None, next_trouble: None, connected: false, down_since: None }
    }

    /// What the client's statistics say: whether a broker is connected.
    pub fn see(&mut self, connected: bool, now: Duration) {
        self.connected = connected;
        if connected {
            (self.trouble, self.next_trouble, self.down_since) = (None, None, None);
        } else {
            self.down_since.get_or_insert(now);
            self.trouble = self.next_trouble.take().or(self.trouble.take());
        }
    }

    pub fn complain(&mut self, trouble: String) {
        match self.trouble {
            None => self.trouble = Some(trouble),
            Some(_) => self.next_trouble = Some(trouble),
        }
    }

    fn name(&self) -> String {
        let trouble = self.trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
        format!("the {} cluster at {}{trouble}", self.role, self.servers)
    }
}

/// What a task's state depends on.
#[derive(Debug)]
pub struct View<'v> {
    pub paused: bool,
    /// The task was RUNNING before: an outage does not take it back.
    pub was_running: bool,
    /// Its right to write has ended, and so nothing is copied.
    pub right_ended: bool,
    pub source: &'v Side,
    pub destination: &'v Side,
    /// What the positions wait for.
    pub positions: Option<&'v str>,
    pub now: Duration,
}

const RIGHT_ENDED: &str = "its right to write has ended, and this engine has nothing else to keep two writers apart: it \
                           copies on once the coordinator has renewed the right";

/// The state, and the trace: empty when there is nothing to say.
#[must_use]
pub fn status<'l>(view: &View<'_>, lanes: impl Iterator<Item = &'l Lane> + Clone) -> (InstanceState, String) {
    let stopped: Vec<String> = lanes.clone().filter_map(stop_of).collect();
    let reached = |lane: &Lane| lane.reached() == (true, true);
    let is_running = view.was_running || lanes.clone().all(reached);
    if view.paused {
        (InstanceState::Paused, String::new())
    } else if !stopped.is_empty() {
        (InstanceState::Failed, listed(&stopped, "needs help", "need help"))
    } else if view.right_ended {
        (if is_running { InstanceState::Running } else { InstanceState::Unassigned }, RIGHT_ENDED.to_owned())
    } else if is_running {
        (InstanceState::Running, outage(view, lanes))
    } else {
        (InstanceState::Unassigned, waits(view, lanes))
    }
}

fn stop_of(lane: &Lane) -> Option<String> {
    match lane.phase() {
        Phase::Stopped { reason } => Some(format!("{}: {reason}", lane.name)),
        Phase::Waiting { .. } | Phase::Reading => None,
    }
}

fn why_of(lane: &Lane) -> Option<String> {
    match lane.phase() {
        Phase::Waiting { why } => why.as_ref().map(|why| format!("{}: {why}", lane.name)),
        Phase::Stopped { .. } | Phase::Reading => None,
    }
}

fn waits<'l>(view: &View<'_>, lanes: impl Iterator<Item = &'l Lane> + Clone) -> String {
    let mut parts = Vec::new();
    for (side, reached) in [
        (view.source, lanes.clone().all(|lane| lane.reached().0)),
        (view.destination, lanes.clone().all(|lane| lane.reached().1)),
    ] {
        // A side that answers is not what is waited for: the lanes say what is.
        if !reached && !side.connected {
            parts.push(side.name());
        }
    }
    parts.extend(view.positions.map(str::to_owned));
    let whys: Vec<String> = lanes.filter_map(why_of).collect();
    if !whys.is_empty() {
        parts.push(listed(&whys, "", ""));
    }
    if parts.is_empty() {
        parts.push("the first answers of both clusters".into());
    }
    format!("waiting for {}", parts.join("; "))
}

fn outage<'l>(view: &View<'_>, lanes: impl Iterator<Item = &'l Lane> + Clone) -> String {
    let long = |since: Duration| view.now.saturating_sub(since) >= OUTAGE;
    let mut parts: Vec<String> = [view.source, view.destination]
        .into_iter()
        .filter(|side| side.down_since.is_some_and(long))
        .map(|side| format!("no connection for more than 30 s to {}", side.name()))
        .collect();
    let down = [view.source, view.destination].iter().any(|side| side.down_since.is_some());
    // A side that is down explains the lanes without a reason of their own.
    let reason = |lane: &Lane| why_of(lane).or_else(|| (!down).then(|| lane.name.to_string()));
    let stalled: Vec<String> =
        lanes.filter(|lane| lane.stall_age(view.now) >= OUTAGE).filter_map(reason).collect();
    if !stalled.is_empty() {
        parts.extend(view.positions.map(|positions| format!("waiting for {positions}")));
        parts.push(listed(&stalled, "has not moved for more than 30 s", "have not moved for more than 30 s"));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::name::LaneName;
    use copyist_model::LaneStart;

    fn lane(partition: i32) -> Lane {
        let name = LaneName { source: "t".parse().unwrap(), partition, destination: "d".parse().unwrap() };
        Lane::new(name, LaneStart::Reset, Duration::ZERO)
    }

    fn reached(partition: i32) -> Lane {
        let mut lane = lane(partition);
        lane.begin(0, Duration::ZERO);
        lane.reach_destination();
        lane.reach_end();
        lane
    }

    fn stopped(partition: i32) -> Lane {
        let mut lane = reached(partition);
        lane.stop(format!("reason {partition}"));
        lane
    }

    fn waiting(partition: i32) -> Lane {
        let mut lane = reached(partition);
        lane.wait("no topic".into());
        lane
    }

    struct World {
        source: Side,
        destination: Side,
        positions: Option<&'static str>,
        paused: bool,
        was_running: bool,
        right_ended: bool,
        second: u64,
    }

    fn world() -> World {
        let (source, destination) = (Side::new("source", "s:1"), Side::new("destination", "d:2"));
        World {
            source,
            destination,
            positions: None,
            paused: false,
            was_running: false,
            right_ended: false,
            second: 0,
        }
    }

    fn tell(world: &World, lanes: &[Lane]) -> (InstanceState, String) {
        let view = View {
            paused: world.paused,
            was_running: world.was_running,
            right_ended: world.right_ended,
            source: &world.source,
            destination: &world.destination,
            positions: world.positions,
            now: Duration::from_secs(world.second),
        };
        status(&view, lanes.iter())
    }

    #[test]
    fn it_runs_once_each_lane_has_reached_both_leaders() {
        let (state, trace) = tell(&world(), &[reached(0), reached(1)]);
        assert_eq!((state, trace.as_str()), (InstanceState::Running, ""));
        assert_eq!(tell(&world(), &[]).0, InstanceState::Running);
        assert_eq!(tell(&world(), &[reached(0), lane(1)]).0, InstanceState::Unassigned);
    }

    #[test]
    fn before_that_the_trace_says_what_it_waits_for() {
        let mut world = world();
        world.source.complain("Connection refused".into());
        let (_, trace) = tell(&world, &[lane(0)]);
        assert_eq!(
            trace,
            "waiting for the source cluster at s:1: Connection refused; the destination cluster at d:2"
        );
        let mut half = lane(0);
        half.reach_end();
        half.wait("the topic is not there".into());
        world.positions = Some("the positions");
        let (_, trace) = tell(&world, &[half]);
        assert!(trace.contains("d:2; the positions; 1 lane:\n  t-0: the topic is not there"), "{trace}");
        assert!(!trace.contains("s:1"), "{trace}");
        world.destination.see(true, Duration::ZERO);
        world.positions = None;
        assert_eq!(
            tell(&world, &[lane(0)]).1,
            "waiting for the source cluster at s:1: Connection refused",
            "the destination answers"
        );
        world.source.see(true, Duration::ZERO);
        assert_eq!(tell(&world, &[lane(0)]).1, "waiting for the first answers of both clusters");
    }

    #[test]
    fn an_outage_keeps_it_running_and_is_told_after_a_while() {
        let mut world = world();
        world.was_running = true;
        world.source.see(false, Duration::ZERO);
        world.source.complain("gone".into());
        world.second = 29;
        assert_eq!(tell(&world, &[lane(0), reached(1)]), (InstanceState::Running, String::new()));
        world.second = 30;
        let (state, trace) = tell(&world, &[lane(0), waiting(1), reached(2)]);
        assert_eq!(state, InstanceState::Running);
        assert!(trace.starts_with("no connection for more than 30 s to the source cluster at s:1: gone; "));
        assert!(trace.contains("1 lane has not moved") && trace.contains(":\n  t-1: no topic"), "{trace}");
        assert!(!trace.contains("t-0") && !trace.contains("t-2") && !trace.contains("d:2"), "{trace}");
        world.source.see(true, Duration::from_secs(31));
        assert_eq!(tell(&world, &[reached(1)]), (InstanceState::Running, String::new()));
        world.second = 61;
        let (_, trace) = tell(&world, &[lane(0), reached(1)]);
        assert_eq!(trace, "1 lane has not moved for more than 30 s:\n  t-0");
    }

    #[test]
    fn a_complaint_stays_until_the_next_look() {
        let mut side = Side::new("source", "s:1");
        side.complain("a".into());
        side.complain("b".into());
        assert_eq!(side.trouble.as_deref(), Some("a"));
        side.see(false, Duration::ZERO);
        side.see(false, Duration::ZERO);
        assert_eq!(side.trouble.as_deref(), Some("b"));
        side.see(true, Duration::ZERO);
        assert_eq!((side.trouble, side.down_since), (None, None));
    }

    #[test]
    fn a_stopped_lane_fails_the_task_and_ten_are_named() {
        let lanes: Vec<Lane> = (0..12).map(stopped).chain([reached(12)]).collect();
        let (state, trace) = tell(&world(), &lanes);
        assert_eq!(state, InstanceState::Failed);
        assert!(trace.starts_with("12 lanes need help:\n  t-0: reason 0\n"), "{trace}");
        assert!(trace.contains("t-9: reason 9\n  and 2 more") && !trace.contains("t-10"), "{trace}");
    }

    #[test]
    fn a_right_that_has_ended_is_told_at_once_and_changes_no_state() {
        let mut world = world();
        world.right_ended = true;
        assert_eq!(tell(&world, &[lane(0)]), (InstanceState::Unassigned, RIGHT_ENDED.into()));
        assert_eq!(tell(&world, &[reached(0)]), (InstanceState::Running, RIGHT_ENDED.into()));
        world.was_running = true;
        assert_eq!(tell(&world, &[lane(0)]), (InstanceState::Running, RIGHT_ENDED.into()));
        assert_eq!(tell(&world, &[stopped(0)]).0, InstanceState::Failed);
        world.paused = true;
        assert_eq!(tell(&world, &[lane(0)]), (InstanceState::Paused, String::new()));
    }

    #[test]
    fn pause_wins() {
        let mut world = world();
        world.paused = true;
        assert_eq!(tell(&world, &[stopped(0), lane(1)]), (InstanceState::Paused, String::new()));
    }
}
