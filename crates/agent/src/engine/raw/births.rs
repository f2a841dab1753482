//! Lanes are born: what their machines must know is asked for, then they begin. Orders, stops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use copyist_kafka::{Error, PartitionKey};
use copyist_lane::{Birth, Event, Lane, Right, Start};
use copyist_model::{LaneEnd, LaneHeld, LaneId, LaneRecord, LaneStart, OffsetReset, TopicName};

use super::facts::{self, Facts};
use super::lane::{Alive, Ends, LaneCell, LaneNumber, Life};
use super::producing::OWN_TCP_USER_TIMEOUT;
use super::reader::LaneReader;
use super::route::{Happening, Route};
use super::sides::{End, Side};
use super::task::{TaskCell, TaskNumber};
use crate::driver::boot;
use crate::engine::name::{LaneName, named};
use crate::error::chain;
use crate::job::Order;
use crate::positions::{Remembered, Stored};

/// What two topics say of themselves is asked for again after this time, when it could not be had.
const FACTS_RETRY: Duration = Duration::from_secs(2);
/// What was learned is good for lanes that begin within this time.
const FACTS_MAX_AGE: Duration = Duration::from_secs(30);

/// Between a lane that was superseded and the one in its place.
const SUPERSEDED_PAUSE: Duration = Duration::from_secs(1);

/// What is known of a pair of topics.
#[derive(Debug)]
pub enum FactsCell {
    Asked,
    Known { facts: Facts, at: Duration },
    Failed { why: String, at: Duration },
}

impl Route {
    /// A task is to copy these lanes, and no others.
    pub(super) fn order(&mut self, task: TaskNumber, order: Arc<Order>) {
        let Some(cell) = self.tasks.get_mut(&task) else { return };
        let before = std::mem::replace(&mut cell.order, Arc::clone(&order));
        cell.changed = true;
        let retried = order.revision > before.revision;
        let policy_changed = order.spec.loss_policy != before.spec.loss_policy;
        let mut wanted = if order.paused || cell.stopping { BTreeMap::new() } else { named(&order.lanes) };
        for number in self.lanes_of(task) {
            let Some(lane) = self.lanes.get_mut(&number) else { continue };
            let is_wanted = wanted.remove(&lane.name).is_some();
            if !is_wanted || policy_changed {
                lane.again = is_wanted;
                self.leave(number);
            } else if lane.leaving {
                lane.again = true;
            } else if retried && lane.is_stopped() {
                // Made anew: what stopped it may be otherwise now, in the topics' configs also.
                self.replace(number, Duration::ZERO);
            }
        }
        for (name, start) in wanted {
            self.conceive(task, name, start);
        }
        if retried {
            self.facts.retain(|_, cell| matches!(cell, FactsCell::Asked));
        }
        self.refresh(End::Source);
        self.refresh(End::Destination);
        self.give_birth(boot());
    }

    fn conceive(&mut self, task: TaskNumber, name: LaneName, start: LaneStart) -> Option<&mut LaneCell> {
        let cell = self.tasks.get(&task)?;
        let connector = &cell.reporter.id().connector;
        let metrics = self.shared.metrics.lane(connector, &name.source, name.partition);
        self.next_number += 1;
        let lane = LaneCell {
            task,
            name,
            start,
            told_record: None,
            store_is_empty: false,
            not_before: Duration::ZERO,
            life: Life::Unborn { waits_for: "the clusters' answers".to_owned(), asked: false },
            again: false,
            leaving: false,
            metrics,
            reached: false,
            idle_since: Some(boot()),
        };
        Some(self.lanes.entry(LaneNumber(self.next_number)).or_insert(lane))
    }

    pub(super) fn stop(&mut self, task: TaskNumber) {
        if let Some(cell) = self.tasks.get_mut(&task) {
            cell.stopping = true;
            cell.changed = true;
        }
        for number in self.lanes_of(task) {
            self.leave(number);
        }
        self.end_if_empty(task);
    }

    /// Whoever comes next waits for nothing once the task has ended. So it ends only when a batch of a lane whose fence
    /// is weak, and which is still on its way, has arrived or never will.
    pub(super) fn abandon(&mut self, task: TaskNumber) {
        let lanes = self.lanes_of(task);
        let flies = |number| self.lanes.get(number).is_some_and(LaneCell::has_weak_in_flight);
        let weak: Vec<LaneNumber> = lanes.iter().filter(|number| flies(number)).copied().collect();
        weak.iter().for_each(|number| self.abort_own(*number));
        lanes.into_iter().for_each(|number| self.forget(number));
        if weak.is_empty() {
            self.end_if_empty(task);
        } else {
            self.do_later(async move {
                tokio::time::sleep(OWN_TCP_USER_TIMEOUT).await;
                Happening::Abandoned(task)
            });
        }
    }

    fn leave(&mut self, number: LaneNumber) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        lane.leaving = true;
        match lane.life {
            Life::Alive(_) => self.events.push_back((number, Event::Stop)),
            Life::Unborn { .. } => self.released(number),
        }
    }

    /// A lane writes nothing more under this epoch.
    pub(super) fn released(&mut self, number: LaneNumber) {
        let Some(lane) = self.lanes.get(&number) else { return };
        let (task, name, start, again) = (lane.task, lane.name.clone(), lane.start, lane.again);
        self.forget(number);
        if again {
            self.conceive(task, name, start);
        }
        self.end_if_empty(task);
    }

    /// Another record holds: a lane made from that one takes its place, in a while.
    pub(super) fn superseded(&mut self, number: LaneNumber) {
        match self.lanes.get(&number) {
            Some(lane) if lane.leaving => self.released(number),
            Some(_) | None => self.replace(number, boot() + SUPERSEDED_PAUSE),
        }
    }

    /// A lane that has nothing on its way begins anew.
    fn replace(&mut self, number: LaneNumber, not_before: Duration) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        let (task, name, start) = (lane.task, lane.name.clone(), lane.start);
        let (told_record, reached) = (lane.told_record.take(), lane.reached);
        self.forget(number);
        if let Some(lane) = self.conceive(task, name, start) {
            (lane.told_record, lane.reached) = (told_record, reached);
            lane.not_before = not_before;
        }
    }

    fn forget(&mut self, number: LaneNumber) {
        self.unfetch(number);
        if let Some(lane) = self.lanes.remove(&number)
            && let Life::Alive(alive) = lane.life
        {
            if let Some(at) = alive.wake_at {
                self.timers.remove(&(at, number));
            }
            self.close_own(alive.own);
        }
        self.busy.remove(&number);
    }

    pub(super) fn end_if_empty(&mut self, task: TaskNumber) {
        let has_lanes = self.lanes.values().any(|lane| lane.task == task);
        if let Some(cell) = self.tasks.get_mut(&task).filter(|cell| cell.stopping && !has_lanes) {
            cell.told.send_modify(|told| told.ended = true);
            self.tasks.remove(&task);
        }
    }

    /// Begins lanes for which everything is known, and asks for what is missing.
    pub(super) fn give_birth(&mut self, now: Duration) {
        let unborn = self.lanes_where(|lane| matches!(lane.life, Life::Unborn { asked: false, .. }));
        for number in unborn {
            let waits = self.approach(number, now).err().unwrap_or_default();
            let Some(lane) = self.lanes.get_mut(&number) else { continue };
            if let Life::Unborn { waits_for, .. } = &mut lane.life
                && *waits_for != waits
            {
                *waits_for = waits;
                if let Some(task) = self.tasks.get_mut(&lane.task) {
                    task.changed = true;
                }
            }
        }
    }

    /// One lane's next step towards its birth; `Err` says what it waits for.
    fn approach(&mut self, number: LaneNumber, now: Duration) -> Result<(), String> {
        let Some(lane) = self.lanes.get(&number) else { return Ok(()) };
        if now < lane.not_before {
            let waits_for = if lane.told_record.is_some() {
                "its lane record, which is another now"
            } else {
                "the end of the former holder's right"
            };
            return Err(waits_for.to_owned());
        }
        let name = lane.name.clone();
        self.keys(&name)?;
        self.facts_of(&name, now)?;
        let Some(id) = self.lane_id(number) else {
            return Err("the source cluster does not tell its id".to_owned());
        };
        if let Some(LaneCell { life: Life::Unborn { asked, .. }, .. }) = self.lanes.get_mut(&number) {
            *asked = true;
        }
        let positions = self.shared.positions.clone();
        let held = self.held(number, &id).cloned();
        let is_takeover = now < self.free_at(number);
        self.do_later(async move {
            let found = positions.found(&id, held.as_ref(), is_takeover).await.map_err(|error| chain(&error));
            Happening::Looked(number, found)
        });
        Err("its position".to_owned())
    }

    /// What the coordinator's store holds of a lane, as far as it was told here.
    fn held(&self, number: LaneNumber, id: &LaneId) -> Option<&LaneHeld> {
        let lane = self.lanes.get(&number)?;
        let stated = self.tasks.get(&lane.task).and_then(|task| task.order.records.get(id));
        [lane.told_record.as_ref(), stated].into_iter().flatten().max_by_key(|held| held.generation())
    }

    /// Until when a former holder of the task may be at work.
    fn free_at(&self, number: LaneNumber) -> Duration {
        let task = self.lanes.get(&number).and_then(|lane| self.tasks.get(&lane.task));
        task.map(|task| task.reporter.right().borrow().free_at).unwrap_or_default()
    }

    /// Both partitions, where both clusters have them; `Err` says what is waited for.
    fn keys(&self, name: &LaneName) -> Result<[PartitionKey; 2], String> {
        let source = self.source.partition(&name.source, name.partition)?;
        Ok([source, self.destination.partition(&name.destination, name.partition)?])
    }

    pub(super) fn lane_id(&self, number: LaneNumber) -> Option<LaneId> {
        let lane = self.lanes.get(&number)?;
        Some(LaneId {
            connector: self.tasks.get(&lane.task)?.reporter.id().connector.clone(),
            source_cluster: self.source.cluster.as_ref()?.id().ok()?,
            topic: lane.name.source.clone(),
            partition: lane.name.partition,
        })
    }

    fn facts_of(&mut self, name: &LaneName, now: Duration) -> Result<Facts, String> {
        let key = (name.source.clone(), name.destination.clone());
        match self.facts.get(&key) {
            Some(FactsCell::Known { facts, at }) if now.saturating_sub(*at) < FACTS_MAX_AGE => {
                return Ok(*facts);
            }
            Some(FactsCell::Asked) => return Err("the configs of both topics".to_owned()),
            Some(FactsCell::Failed { why, at }) if now.saturating_sub(*at) < FACTS_RETRY => {
                return Err(why.clone());
            }
            Some(FactsCell::Known { .. } | FactsCell::Failed { .. }) | None => {}
        }
        let (Some(source), Some(destination)) = (&self.source.cluster, &self.destination.cluster) else {
            return Err("both clusters".to_owned());
        };
        let (source, destination) = (source.clone(), destination.clone());
        let (of, to) = key.clone();
        self.facts.insert(key, FactsCell::Asked);
        self.do_later(async move {
            let facts = facts::ask(&source, &of, &destination, &to).await;
            Happening::Facts(of, to, facts)
        });
        Err("the configs of both topics".to_owned())
    }

    pub(super) fn facts_known(
        &mut self,
        source: TopicName,
        destination: TopicName,
        result: Result<Facts, Error>,
    ) {
        let at = boot();
        let cell = match result {
            Ok(facts) => FactsCell::Known { facts, at },
            Err(error) => FactsCell::Failed { why: chain(&error), at },
        };
        self.facts.insert((source, destination), cell);
        self.give_birth(at);
    }

    pub(super) fn looked_up(&mut self, number: LaneNumber, result: Result<Remembered, String>) {
        let now = boot();
        let born = result.and_then(|found| {
            self.is_settled(number, &found, now)?;
            let gaps = found.stored.as_ref().map(|stored| stored.gaps().to_vec());
            self.remember_gaps(number, gaps.unwrap_or_default());
            self.birth(number, &found, now)
        });
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        match born {
            Ok(alive) => {
                let [source, destination] =
                    [alive.source_leader, alive.destination_leader].map(|leader| leader.is_some());
                lane.life = Life::Alive(Box::new(alive));
                self.events.push_back((number, Event::Leaders { source, destination }));
            }
            Err(waits_for) => lane.life = Life::Unborn { waits_for, asked: false },
        }
    }

    /// Whether the lane can begin by what was found; else it is looked up again when the former holder's right has ended.
    fn is_settled(&mut self, number: LaneNumber, found: &Remembered, now: Duration) -> Result<(), String> {
        let free_at = self.free_at(number);
        let id = self.lane_id(number);
        let held = id.and_then(|id| self.held(number, &id));
        if !found.may_be_outdone(held, now < free_at) {
            return Ok(());
        }
        if let Some(lane) = self.lanes.get_mut(&number) {
            lane.not_before = free_at;
        }
        Err("the end of the former holder's right".to_owned())
    }

    fn birth(&mut self, number: LaneNumber, found: &Remembered, now: Duration) -> Result<Alive, String> {
        let id = self.lane_id(number).ok_or("the source cluster's id")?;
        let Some(name) = self.lanes.get(&number).map(|lane| lane.name.clone()) else {
            return Err(String::new());
        };
        let [source, destination] = self.keys(&name)?;
        let facts = self.facts_of(&name, now)?;
        let Some(lane) = self.lanes.get(&number) else { return Err(String::new()) };
        let task = self.tasks.get(&lane.task).ok_or("its task")?;
        let held = self.held(number, &id);
        let altered = held.and_then(LaneHeld::altered).unwrap_or_default();
        let told = [held.and_then(LaneHeld::record), record_of(found.stored.as_ref())];
        let right = *task.reporter.right().borrow();
        let birth = Birth {
            source: lane_end(&source, &self.source)?,
            destination: lane_end(&destination, &self.destination)?,
            record: newest(told).cloned(),
            altered,
            stored: stored_of(found.stored.as_ref()),
            newest_generation: found.newest,
            start: start_of(lane.start, task),
            loss_policy: task.order.spec.loss_policy,
            shared: is_shared(task) || task.order.shared.contains(&name.destination),
            source_compacted: facts.source_compacted,
            facts: facts.destination,
            right: Right { epoch: task.reporter.epoch(), ends_at: right.ends_at, free_at: right.free_at },
            flush_interval: self.shared.flush_interval,
            lane: id,
        };
        let source_leader = self.source.view().leader(&source);
        let destination_leader = self.destination.view().leader(&destination);
        let slot = self.free_slot(&source);
        let ends = Ends { source, destination, source_leader, destination_leader };
        Ok(Alive::new(Lane::new(birth), LaneReader::new(facts.policy()), ends, right, slot))
    }

    /// Lanes of one source partition are fetched for by as many fetchers.
    fn free_slot(&self, source: &PartitionKey) -> u32 {
        let used: BTreeSet<u32> = self
            .lanes
            .values()
            .filter_map(LaneCell::seen)
            .filter(|alive| alive.source == *source)
            .map(|alive| alive.slot)
            .collect();
        (0..).find(|slot| !used.contains(slot)).unwrap_or(0)
    }
}

fn lane_end(key: &PartitionKey, side: &Side) -> Result<LaneEnd, String> {
    let cluster = side.cluster.as_ref().and_then(|cluster| cluster.id().ok());
    Ok(LaneEnd {
        cluster: cluster.ok_or("a cluster does not tell its id")?,
        topic: key.topic.name().clone(),
        topic_id: key.topic.id(),
        partition: key.partition,
    })
}

/// A lost store costs nothing: positions carry their record as well.
fn newest(records: [Option<&LaneRecord>; 2]) -> Option<&LaneRecord> {
    records.into_iter().flatten().max_by_key(|record| record.generation)
}

fn record_of(stored: Option<&Stored>) -> Option<&LaneRecord> {
    Some(&stored?.exact.as_ref()?.record)
}

fn stored_of(stored: Option<&Stored>) -> copyist_lane::Stored {
    match stored {
        None => copyist_lane::Stored::Nothing,
        Some(Stored { next_offset, exact: None }) => {
            copyist_lane::Stored::Start { next_offset: *next_offset }
        }
        Some(Stored { exact: Some(exact), .. }) => copyist_lane::Stored::Position(exact.position),
    }
}

fn start_of(start: LaneStart, task: &TaskCell) -> Start {
    match (start, task.order.spec.offset_reset) {
        (LaneStart::Earliest, _) | (LaneStart::Reset, OffsetReset::Earliest) => Start::Earliest,
        (LaneStart::Reset, OffsetReset::Latest) => Start::Latest,
    }
}

/// A name without the source topic in it: all topics go into one.
pub(super) fn is_shared(task: &TaskCell) -> bool {
    !task.order.spec.rename.as_str().contains("${topic}")
}
