//! A route: all lanes of an agent from one cluster to another, on one thread. It performs what their machines want.
//!
//! Everything that takes time is a future in `doings`; what comes of it is a [`Happening`]. One turn of the loop takes
//! what happened, steps the machines concerned, and then sends what they gave out, so that one request carries the
//! batches of many lanes. `births` makes machines, `stepping` steps them, `fetching` and `producing` move bytes,
//! `telling` says how it goes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use copyist_kafka::{ClientOptions, Cluster, Error, Fetcher, Metadata, ProduceAnswer, Producer};
use copyist_lane::{Action, Answer, Event};
use copyist_model::{LaneRecord, Position, TopicName};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::births::FactsCell;
use super::budget::Budget;
use super::facts::Facts;
use super::fetching::{FetcherCell, FetcherId};
use super::firsts::Firsts;
use super::kill::KillSwitch;
use super::lane::{LaneCell, LaneNumber};
use super::producing::{FrameNumber, Frames, ProducerCell, ProducerId};
use super::sides::{End, Side};
use super::task::{TaskCell, TaskNumber, Told};
use crate::driver::boot;
use crate::job::{Order, Reporter, Unanswered, Verdict};
use crate::metrics::Metrics;
use crate::positions::{Positions, Remembered};

/// How often states are told and gauges are set, at most.
const TICK: Duration = Duration::from_millis(250);
/// Happenings taken in one turn, before what they gave out is sent.
const TURN_MAX: usize = 64;
/// Leaders are asked for anew at least so often.
const METADATA_MAX_AGE: Duration = Duration::from_secs(60);

/// What a task's shell wants of a route.
#[derive(Debug)]
pub enum Command {
    Attach {
        task: TaskNumber,
        reporter: Box<Reporter>,
        order: Arc<Order>,
        told: watch::Sender<Told>,
    },
    Order {
        task: TaskNumber,
        order: Arc<Order>,
    },
    /// The right changed.
    Right {
        task: TaskNumber,
    },
    /// Drain the lanes, store their positions, say that it ended.
    Stop {
        task: TaskNumber,
    },
    /// The time for that is over: write nothing more.
    Abandon {
        task: TaskNumber,
    },
}

/// What came of something that took time.
#[derive(Debug)]
pub enum Happening {
    Connected(End, Result<Cluster, Error>),
    Refreshed(End, Result<Arc<Metadata>, Error>),
    Facts(TopicName, TopicName, Result<Facts, Error>),
    Looked(LaneNumber, Result<Remembered, String>),
    FetcherOpened(FetcherId, Result<Fetcher, Error>),
    Fetched(FetcherId, u64, Result<Bytes, Error>),
    /// A pause is over.
    FetchAgain(LaneNumber),
    Range(LaneNumber, u32, Result<(i64, i64), Error>),
    ProducerOpened(ProducerId, Result<Producer, Error>),
    ProducerEnded(ProducerId, u64),
    Produced(FrameNumber, Result<ProduceAnswer, Error>),
    OwnOpened(LaneNumber, Result<Producer, Error>),
    OwnProduced(LaneNumber, u64, Result<ProduceAnswer, Error>),
    Answered(LaneNumber, u32, Answer),
    Proposed(LaneNumber, Box<LaneRecord>, Option<Result<Verdict, Unanswered>>),
    PositionPut(LaneNumber, Position, bool),
    ReadBack(TopicName, Result<Option<String>, Error>),
    /// Nothing of a task that was abandoned is on its way any more.
    Abandoned(TaskNumber),
    Closed,
}

/// Something that takes time.
pub type Doing = Pin<Box<dyn Future<Output = Happening> + Send>>;

/// What the routes of an agent share.
#[derive(Debug, Clone)]
pub struct Shared {
    pub positions: Positions,
    pub metrics: Metrics,
    pub budget: Budget,
    /// Longest time between two stored positions of a lane that moves.
    pub flush_interval: Duration,
}

pub struct Route {
    pub(super) shared: Shared,
    pub(super) source: Side,
    pub(super) destination: Side,
    pub(super) tasks: BTreeMap<TaskNumber, TaskCell>,
    pub(super) lanes: BTreeMap<LaneNumber, LaneCell>,
    pub(super) facts: BTreeMap<(TopicName, TopicName), FactsCell>,
    pub(super) fetchers: BTreeMap<FetcherId, FetcherCell>,
    pub(super) producers: BTreeMap<ProducerId, ProducerCell>,
    pub(super) frames: Frames,
    pub(super) doings: FuturesUnordered<Doing>,
    pub(super) timers: BTreeSet<(Duration, LaneNumber)>,
    /// Events that were caused by others, in order.
    pub(super) events: VecDeque<(LaneNumber, Event)>,
    /// Lanes that may have something to offer, or to fetch.
    pub(super) busy: BTreeSet<LaneNumber>,
    pub(super) actions: Vec<Action>,
    pub(super) next_number: u64,
    /// When the metadata was last asked for by itself.
    refreshed_at: Duration,
    measured_at: Duration,
    pub(super) looked_at: Duration,
    pub(super) told_at: Duration,
    pub(super) kill_switch: Option<KillSwitch>,
    /// Destination topics whose first batch is being read back, or was as it was sent.
    pub(super) checked: BTreeSet<TopicName>,
}

impl Route {
    #[must_use]
    pub fn new(shared: Shared, source: ClientOptions, destination: ClientOptions) -> Self {
        Self {
            shared,
            source: Side::new(End::Source, source),
            destination: Side::new(End::Destination, destination),
            tasks: BTreeMap::new(),
            lanes: BTreeMap::new(),
            facts: BTreeMap::new(),
            fetchers: BTreeMap::new(),
            producers: BTreeMap::new(),
            frames: Frames::default(),
            doings: FuturesUnordered::new(),
            timers: BTreeSet::new(),
            events: VecDeque::new(),
            busy: BTreeSet::new(),
            actions: Vec::new(),
            next_number: 0,
            refreshed_at: boot(),
            measured_at: Duration::ZERO,
            looked_at: Duration::ZERO,
            told_at: Duration::ZERO,
            kill_switch: KillSwitch::armed(),
            checked: BTreeSet::new(),
        }
    }

    /// Serves its tasks until nobody is left to give orders: each of them has ended, or was given up.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.connect(End::Source, Duration::ZERO);
        self.connect(End::Destination, Duration::ZERO);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake_at = self.next_wake();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                Some(happening) = self.doings.next() => self.happened(happening),
                () = sleep_until(wake_at) => self.wake(),
                _ = ticks.tick() => self.tick(),
            }
            // What is here already belongs into the same turn.
            for _ in 0..TURN_MAX {
                let Some(Some(happening)) = self.doings.next().now_or_never() else { break };
                self.happened(happening);
            }
            self.settle();
            self.tell_what_changed();
        }
    }

    fn next_wake(&self) -> Instant {
        let far = Duration::from_secs(3_600);
        let first = self.timers.first().map_or(far, |(at, _)| at.saturating_sub(boot()));
        Instant::now() + first.min(far)
    }

    fn wake(&mut self) {
        let now = boot();
        while let Some((at, number)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, number));
            if let Some(alive) = self.lanes.get_mut(&number).and_then(LaneCell::alive) {
                alive.wake_at = None;
            }
            self.events.push_back((number, Event::Tick));
            self.busy.insert(number);
        }
    }

    fn tick(&mut self) {
        let now = boot();
        self.give_birth(now);
        if now.saturating_sub(self.refreshed_at) > METADATA_MAX_AGE {
            self.refreshed_at = now;
            self.refresh(End::Source);
            self.refresh(End::Destination);
        }
        self.refresh_while_leaderless();
        self.close_idle_connections();
        if now.saturating_sub(self.measured_at) > super::telling::MEASURE {
            self.measured_at = now;
            self.measure();
        }
        self.tell(now);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Attach { task, reporter, order, told } => {
                let firsts = Firsts::begin(reporter.id(), &order.traceparent);
                let cell = TaskCell {
                    firsts,
                    reporter: *reporter,
                    order: Arc::clone(&order),
                    told,
                    gaps: BTreeMap::new(),
                    was_running: false,
                    stopping: false,
                    changed: true,
                };
                self.tasks.insert(task, cell);
                self.order(task, order);
            }
            Command::Order { task, order } => self.order(task, order),
            Command::Right { task } => {
                for number in self.lanes_of(task) {
                    // The machine is told of the right with each event.
                    self.events.push_back((number, Event::Tick));
                }
            }
            Command::Stop { task } => self.stop(task),
            Command::Abandon { task } => self.abandon(task),
        }
    }

    pub(super) fn lanes_of(&self, task: TaskNumber) -> Vec<LaneNumber> {
        self.lanes_where(|lane| lane.task == task)
    }

    pub(super) fn lanes_where(&self, is_meant: impl Fn(&LaneCell) -> bool) -> Vec<LaneNumber> {
        self.lanes.iter().filter(|(_, lane)| is_meant(lane)).map(|(number, _)| *number).collect()
    }

    fn happened(&mut self, happening: Happening) {
        if let Some(switch) = &mut self.kill_switch {
            switch.pass(&happening);
        }
        match happening {
            Happening::Connected(end, result) => self.connected(end, result),
            Happening::Refreshed(end, result) => self.refreshed(end, result),
            Happening::Facts(source, destination, result) => self.facts_known(source, destination, result),
            Happening::Looked(number, result) => self.looked_up(number, result),
            Happening::FetcherOpened(id, result) => self.fetcher_opened(id, result),
            Happening::Fetched(id, opening, result) => self.fetched(id, opening, result),
            Happening::FetchAgain(number) => {
                self.busy.insert(number);
            }
            Happening::Range(number, reading, result) => self.range_known(number, reading, result),
            Happening::ProducerOpened(id, result) => self.producer_opened(id, result),
            Happening::ProducerEnded(id, opening) => self.producer_ended(id, opening),
            Happening::Produced(frame, result) => self.produced(frame, result),
            Happening::OwnOpened(number, result) => self.own_opened(number, result),
            Happening::OwnProduced(number, token, result) => self.own_produced(number, token, result),
            Happening::Answered(number, question, answer) => {
                if !matches!(answer, Answer::Contents { .. }) {
                    tracing::debug!(lane = %self.name(number), ?answer, "was answered");
                }
                self.events.push_back((number, Event::Answer { question, answer }));
            }
            Happening::Proposed(number, record, verdict) => self.proposed(number, *record, verdict),
            Happening::PositionPut(number, position, true) => {
                self.events.push_back((number, Event::PositionStored(position)));
            }
            Happening::PositionPut(number, _, false) => {
                self.events.push_back((number, Event::PositionFailed));
            }
            Happening::ReadBack(topic, result) => self.read_back(topic, result),
            Happening::Abandoned(task) => self.end_if_empty(task),
            Happening::Closed => {}
        }
    }

    /// Steps machines until none has anything more to do, then sends.
    fn settle(&mut self) {
        loop {
            while let Some((number, event)) = self.events.pop_front() {
                self.step(number, event);
            }
            let Some(number) = self.busy.pop_first() else { break };
            self.pump(number);
        }
        self.send_frames();
        self.send_fetches();
    }

    pub(super) fn side(&mut self, end: End) -> &mut Side {
        match end {
            End::Source => &mut self.source,
            End::Destination => &mut self.destination,
        }
    }

    pub(super) fn do_later(&mut self, doing: impl Future<Output = Happening> + Send + 'static) {
        self.doings.push(Box::pin(doing));
    }
}
