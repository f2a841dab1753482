//! How it goes: states and traces for the user, numbers for the dashboard.

use std::collections::BTreeSet;
use std::time::Duration;

use copyist_lane::{Parking, Status, Waiting};
use copyist_model::InstanceState;

use super::births::is_shared;
use super::lane::{LaneCell, Life};
use super::route::Route;
use super::task::{TaskCell, TaskNumber};
use crate::driver::{boot, wall_ms};
use crate::engine::trace::{self, LaneState, View};

/// Time from one setting of the gauges to the next.
pub const MEASURE: Duration = Duration::from_secs(2);

/// Between two looks at what changed.
const MOMENT: Duration = Duration::from_millis(50);
/// Outages are told by the second.
const LOOK: Duration = Duration::from_secs(1);

impl Route {
    /// At once, unless that was a moment ago: then the next tick does it.
    pub(super) fn tell_what_changed(&mut self) {
        let now = boot();
        if now.saturating_sub(self.told_at) >= MOMENT && self.tasks.values().any(|task| task.changed) {
            self.tell(now);
        }
    }

    /// Tells the tasks whose state or trace may have changed; once a second also those whose time alone may change it.
    pub(super) fn tell(&mut self, now: Duration) {
        self.told_at = now;
        let look = now.saturating_sub(self.looked_at) >= LOOK;
        if look {
            self.looked_at = now;
        }
        let down = self.source.down_since.is_some() || self.destination.down_since.is_some();
        let idle: BTreeSet<TaskNumber> = match look {
            true => self.lanes.values().filter(|it| it.idle_since.is_some()).map(|it| it.task).collect(),
            false => BTreeSet::new(),
        };
        let is_due = |number: &TaskNumber, task: &TaskCell| {
            task.changed || (look && (down || !task.was_running || idle.contains(number)))
        };
        let due: Vec<TaskNumber> = self
            .tasks
            .iter()
            .filter(|(number, task)| is_due(number, task))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.tell_one(number, now);
        }
    }

    fn tell_one(&mut self, number: TaskNumber, now: Duration) {
        let positions = self.shared.positions.waits_for();
        let Some(task) = self.tasks.get(&number) else { return };
        let down = |side: &super::sides::Side| side.down_since.map(|since| (since, side.describe()));
        let view = View {
            paused: task.order.paused,
            was_running: task.was_running,
            clusters: [down(&self.source), down(&self.destination)],
            positions,
            now,
        };
        let by_config =
            |lane: &LaneCell| is_shared(task) || task.order.shared.contains(&lane.name.destination);
        let of_task = self.lanes.values().filter(|lane| lane.task == number);
        let trouble = self.shared.positions.trouble();
        let state = |lane| lane_state(lane, task, by_config(lane), trouble.as_deref());
        let states: Vec<LaneState> = of_task.map(state).collect();
        let status = trace::status(&view, &states);
        let Some(task) = self.tasks.get_mut(&number) else { return };
        task.changed = false;
        task.was_running |= status.0 == InstanceState::Running;
        task.told.send_if_modified(|told| {
            let changed = told.status.as_ref() != Some(&status);
            told.status = Some(status);
            changed
        });
    }

    /// Sets the gauges.
    pub(super) fn measure(&mut self) {
        let (now, wall_ms) = (boot(), wall_ms());
        for lane in self.lanes.values_mut() {
            let Life::Alive(alive) = &mut lane.life else { continue };
            let metrics = &lane.metrics;
            let lag = alive.lag_records();
            let newest = Some(alive.newest_timestamp).filter(|timestamp| lag > 0 && *timestamp > 0);
            let age_ms = newest.map_or(0, |timestamp| wall_ms.saturating_sub(timestamp).max(0));
            metrics.lag_records.set(lag);
            metrics.lag_seconds.set(age_ms as f64 / 1e3);
            let position = alive.machine.position().next_offset;
            if lag == 0 || position != alive.measured_offset {
                alive.measured_offset = position;
                alive.moved_at = now;
            }
            metrics.stall_age.set(now.saturating_sub(alive.moved_at).as_secs_f64());
            metrics.count(&alive.reader.take_counts());
        }
    }
}

fn lane_state(
    lane: &LaneCell,
    task: &TaskCell,
    shared_by_config: bool,
    positions: Option<&str>,
) -> LaneState {
    let record = lane.seen().and_then(|alive| alive.machine.record());
    let (stopped, why) = match &lane.life {
        Life::Unborn { waits_for, asked } => {
            let why = positions.filter(|_| *asked).map(|why| format!(": {why}")).unwrap_or_default();
            (None, Some(format!("{waits_for}{why}")))
        }
        Life::Alive(alive) => match &alive.status {
            Some(Status::Stopped(stop)) => (Some(stop.to_string()), None),
            Some(Status::Waiting(waiting)) => (None, waits_for(waiting)),
            Some(Status::Parked(Parking::Overtaken)) => {
                (None, Some("somebody else copies it under a newer assignment".to_owned()))
            }
            Some(Status::Parked(Parking::Superseded)) => {
                (None, Some("its lane record is another now".to_owned()))
            }
            Some(Status::Copying(_) | Status::Released) | None => (None, None),
        },
    };
    LaneState {
        name: lane.name.to_string(),
        reached: lane.reached,
        stopped,
        why,
        idle_since: lane.idle_since,
        found_shared: !shared_by_config && record.is_some_and(|record| record.shared),
        gaps: task.gaps_of(&lane.name),
    }
}

fn waits_for(waiting: &Waiting) -> Option<String> {
    Some(match waiting {
        Waiting::Leaders => "nobody leads one of its partitions".to_owned(),
        Waiting::FormerHolder => "a former holder may still write".to_owned(),
        Waiting::Right => {
            "its right to write has ended, and the destination may have forgotten its producer: it goes on once the \
             coordinator has renewed the right"
                .to_owned()
        }
        Waiting::Store => "its lane record and first position are being stored".to_owned(),
        Waiting::Answers => "the destination is asked what it holds".to_owned(),
        Waiting::Backoff(why) => why.clone(),
    })
}
