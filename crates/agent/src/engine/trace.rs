//! A task's state and its trace, as the user reads them. Pure.

use std::time::Duration;

use copyist_model::InstanceState;

/// Time after which a running task's trace speaks of an outage.
pub const OUTAGE: Duration = Duration::from_secs(30);
/// Lanes that a trace names.
const NAMED_MAX: usize = 10;

/// One lane, as far as its task's state depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaneState {
    pub name: String,
    /// It has reached both its leaders, once.
    pub reached: bool,
    /// A human is needed.
    pub stopped: Option<String>,
    /// What it waits for, when it does not copy.
    pub why: Option<String>,
    /// Since when it has not been copying.
    pub idle_since: Option<Duration>,
    /// Somebody else was found to write into its destination partition.
    pub found_shared: bool,
    /// What was lost by the user's policy.
    pub gaps: Vec<String>,
}

/// What a task's state depends on besides its lanes.
#[derive(Debug, Clone)]
pub struct View {
    pub paused: bool,
    /// The task was RUNNING before: an outage does not take it back.
    pub was_running: bool,
    /// Source and destination: since when nothing answers, and how it is called, with what is wrong.
    pub clusters: [Option<(Duration, String)>; 2],
    /// What the positions wait for.
    pub positions: Option<String>,
    pub now: Duration,
}

/// The state, and the trace: empty when there is nothing to say.
#[must_use]
pub fn status(view: &View, lanes: &[LaneState]) -> (InstanceState, String) {
    let stopped: Vec<String> = lanes.iter().filter_map(|lane| named(lane, lane.stopped.as_deref())).collect();
    if view.paused {
        (InstanceState::Paused, String::new())
    } else if !stopped.is_empty() {
        (InstanceState::Failed, listed(&stopped, "needs help", "need help"))
    } else if view.was_running || lanes.iter().all(|lane| lane.reached) {
        (InstanceState::Running, running(view, lanes))
    } else {
        (InstanceState::Unassigned, waits(view, lanes))
    }
}

fn named(lane: &LaneState, why: Option<&str>) -> Option<String> {
    why.map(|why| format!("{}: {why}", lane.name))
}

fn waits(view: &View, lanes: &[LaneState]) -> String {
    let mut parts: Vec<String> = view.clusters.iter().flatten().map(|(_, name)| name.clone()).collect();
    parts.extend(view.positions.clone());
    // Where a cluster does not answer, each lane would say the same again.
    if parts.is_empty() {
        let unready = lanes.iter().filter(|lane| !lane.reached);
        let why: Vec<String> = unready.filter_map(|lane| named(lane, lane.why.as_deref())).collect();
        match why.is_empty() {
            true => parts.push("the first answers of both clusters".to_owned()),
            false => parts.push(listed(&why, "is not ready", "are not ready")),
        }
    }
    format!("waiting for {}", parts.join("; "))
}

fn running(view: &View, lanes: &[LaneState]) -> String {
    let long = |since: Duration| view.now.saturating_sub(since) >= OUTAGE;
    let mut parts = Vec::new();
    let silent: Vec<&str> = view
        .clusters
        .iter()
        .flatten()
        .filter(|(since, _)| long(*since))
        .map(|(_, name)| name.as_str())
        .collect();
    if !silent.is_empty() {
        parts.push(format!("no connection for more than {} s to {}", OUTAGE.as_secs(), silent.join(" and ")));
    }
    let idle: Vec<String> = lanes
        .iter()
        .filter(|lane| lane.idle_since.is_some_and(long))
        .map(|lane| named(lane, lane.why.as_deref()).unwrap_or_else(|| lane.name.clone()))
        .collect();
    if !idle.is_empty() {
        let counted = format!("for more than {} s", OUTAGE.as_secs());
        parts.push(listed(&idle, &format!("has not moved {counted}"), &format!("have not moved {counted}")));
    }
    let gaps: Vec<String> =
        lanes.iter().flat_map(|lane| lane.gaps.iter().map(|gap| format!("{}: {gap}", lane.name))).collect();
    if !gaps.is_empty() {
        parts.push(listed(&gaps, "went past a loss", "went past losses"));
    }
    let shared: Vec<String> = lanes.iter().filter(|it| it.found_shared).map(|it| it.name.clone()).collect();
    if !shared.is_empty() {
        let what = "the destination partition with another writer";
        parts.push(listed(&shared, &format!("shares {what}"), &format!("share {what}")));
    }
    parts.join("; ")
}

/// The first ten, a line each, and how many more. What they do is said of one and of several.
pub(super) fn listed(all: &[String], one: &str, many: &str) -> String {
    let counted = match all.len() {
        1 => format!("1 lane {one}"),
        count => format!("{count} lanes {many}"),
    };
    let mut text = format!("{}:", counted.trim_end());
    for line in all.iter().take(NAMED_MAX) {
        text.push_str("\n  ");
        text.push_str(line);
    }
    if let Some(more) = all.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        text.push_str(&format!("\n  and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View {
            paused: false,
            was_running: false,
            clusters: [None, None],
            positions: None,
            now: Duration::ZERO,
        }
    }

    fn lane(partition: u32) -> LaneState {
        LaneState { name: format!("t-{partition}"), reached: true, ..LaneState::default() }
    }

    fn unready(partition: u32, why: &str) -> LaneState {
        LaneState { reached: false, why: Some(why.to_owned()), ..lane(partition) }
    }

    fn stopped(partition: u32) -> LaneState {
        LaneState { stopped: Some(format!("reason {partition}")), ..lane(partition) }
    }

    #[test]
    fn it_runs_once_each_lane_has_reached_both_leaders() {
        assert_eq!(status(&view(), &[lane(0), lane(1)]), (InstanceState::Running, String::new()));
        assert_eq!(status(&view(), &[]).0, InstanceState::Running);
        let (state, trace) = status(&view(), &[lane(0), unready(1, "no topic")]);
        assert_eq!(state, InstanceState::Unassigned);
        assert_eq!(trace, "waiting for 1 lane is not ready:\n  t-1: no topic");
    }

    #[test]
    fn before_that_the_trace_says_what_it_waits_for() {
        let silent = Some((Duration::ZERO, "the source cluster at s:1: refused".to_owned()));
        let world = View { clusters: [silent, None], positions: Some("the positions".to_owned()), ..view() };
        let (_, trace) = status(&world, &[unready(0, "x")]);
        assert_eq!(trace, "waiting for the source cluster at s:1: refused; the positions");
        let quiet = LaneState { reached: false, ..lane(0) };
        assert_eq!(status(&view(), &[quiet]).1, "waiting for the first answers of both clusters");
    }

    #[test]
    fn an_outage_keeps_it_running_and_is_told_after_a_while() {
        let silent = Some((Duration::ZERO, "the destination cluster at d:2".to_owned()));
        let mut world = View { was_running: true, clusters: [None, silent], ..view() };
        let idle = LaneState { idle_since: Some(Duration::ZERO), ..unready(1, "no answer") };
        world.now = Duration::from_secs(29);
        assert_eq!(status(&world, std::slice::from_ref(&idle)), (InstanceState::Running, String::new()));
        world.now = Duration::from_secs(30);
        let (state, trace) = status(&world, &[idle, lane(0)]);
        assert_eq!(state, InstanceState::Running);
        assert_eq!(
            trace,
            "no connection for more than 30 s to the destination cluster at d:2; 1 lane has not moved for more than 30 s:\n  \
             t-1: no answer"
        );
    }

    #[test]
    fn a_stopped_lane_fails_the_task_and_ten_are_named() {
        let lanes: Vec<LaneState> = (0..12).map(stopped).chain([lane(12)]).collect();
        let (state, trace) = status(&view(), &lanes);
        assert_eq!(state, InstanceState::Failed);
        assert!(trace.starts_with("12 lanes need help:\n  t-0: reason 0\n"), "{trace}");
        assert!(trace.contains("t-9: reason 9\n  and 2 more") && !trace.contains("t-10"), "{trace}");
    }

    #[test]
    fn a_loss_stays_in_sight() {
        let lost = LaneState { gaps: vec!["offsets 3 to 5 are lost".to_owned()], ..lane(4) };
        let (state, trace) = status(&view(), &[lost]);
        assert_eq!(state, InstanceState::Running);
        assert_eq!(trace, "1 lane went past a loss:\n  t-4: offsets 3 to 5 are lost");
    }

    #[test]
    fn another_writer_is_told() {
        let shared = LaneState { found_shared: true, ..lane(4) };
        let (state, trace) = status(&view(), &[shared, lane(5)]);
        assert_eq!(state, InstanceState::Running);
        assert_eq!(trace, "1 lane shares the destination partition with another writer:\n  t-4");
    }

    #[test]
    fn pause_wins() {
        let paused = View { paused: true, ..view() };
        assert_eq!(status(&paused, &[stopped(0)]), (InstanceState::Paused, String::new()));
    }
}
