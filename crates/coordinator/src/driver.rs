//! Performs what the core decides: one loop, one mailbox. Stores first, tells second.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use copyist_model::AgentId;
use copyist_proto::control::CoordinatorMessage;
use rand::RngExt;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::core::View;
use crate::core::{
    Answer, Commit, Core, Event, Failure, Holder, LaneVerdict, Now, Patience, Proposal, Refusal, Send,
    Statement, Ticket,
};
use crate::error::Error;
use crate::grpc::agents;
use crate::handle::{Handle, Hello, Known, Message, Opened, Renewal, SessionNumber};
use crate::journal::{self, Line};
use crate::leases::Leases;
use crate::metrics::Metrics;
use crate::store::Outcome;
use crate::store::embedded::Embedded;

/// Messages that wait for the driver; beyond that, who asks waits.
const MAILBOX: usize = 1024;

/// Proposals that the core is told at once: their verdicts must fit an agent's outbox.
const PROPOSALS_MAX: usize = 1024;

/// How often time goes by: agents become suspect, leases end, and every few ticks statuses are stored.
const TICK: Duration = Duration::from_millis(250);

/// More than a job takes to end once its autonomy is over: a tick of its agent and a clean stop.
const STOP_MAX: Duration = Duration::from_secs(60);

/// How often the metrics are brought up to date.
const TICKS_PER_SHOW: u32 = 4;

/// What the coordinator is told by its worker file.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file of the embedded store.
    pub store_path: PathBuf,
    /// How long an agent's right lasts.
    pub lease_ttl: Duration,
    /// What a lane with a weak fence waits beyond the former right.
    pub lease_margin: Duration,
    /// How long an agent may go on by itself.
    pub autonomy_max: Duration,
    /// How often an agent should say that it is there.
    pub heartbeat_interval: Duration,
    /// After which silence of an agent its parts go to others.
    pub suspect: Duration,
}

impl Settings {
    /// How long a lane whose fence is not intact must wait after a holder that did not confirm its release.
    #[must_use]
    pub fn previous_right_wait(&self) -> Duration {
        self.lease_ttl + self.lease_margin
    }

    fn patience(&self) -> Patience {
        // Its lease may have ended early by a ttl, its clock may be slow by a hundredth, and its jobs end in their time.
        let by_itself = self.lease_ttl + self.autonomy_max + STOP_MAX;
        Patience {
            suspect_ms: millis(self.suspect),
            released_after_ms: millis(by_itself + by_itself / 50 + self.lease_margin),
        }
    }
}

/// The coordinator, ready to run.
pub struct Coordinator {
    settings: Settings,
    metrics: Metrics,
    messages: mpsc::Receiver<Message>,
    handle: Handle,
    term: Term,
}

/// One holding of the store: ends with its first I/O error, and another begins.
struct Term {
    store: Embedded,
    core: Core,
    known: Known,
    leases: Leases,
    sessions: BTreeMap<AgentId, Session>,
    last_session: SessionNumber,
    tickets: BTreeMap<Ticket, oneshot::Sender<Result<Answer, Failure>>>,
    last_ticket: Ticket,
    ticks: u32,
}

/// An open session, and where its statements go.
struct Session {
    number: SessionNumber,
    holder: Holder,
    outbox: mpsc::Sender<CoordinatorMessage>,
}

impl Term {
    fn begin(settings: &Settings) -> Result<Self, Error> {
        let (store, view) = Embedded::open(&settings.store_path)?;
        Ok(Self {
            store,
            core: Core::new(view, settings.patience()),
            known: Known::default(),
            leases: Leases::new(millis(settings.lease_ttl)),
            sessions: BTreeMap::new(),
            last_session: 0,
            tickets: BTreeMap::new(),
            last_ticket: Ticket(0),
            ticks: 0,
        })
    }
}

impl Coordinator {
    /// Opens the store. Nothing runs yet.
    ///
    /// # Errors
    /// [`Error::StoreUnreadable`] when a human must look at the store; [`Error::Store`] when the disk fails.
    pub fn open(settings: Settings, metrics: Metrics) -> Result<Self, Error> {
        let (sender, messages) = mpsc::channel(MAILBOX);
        let term = Term::begin(&settings)?;
        Ok(Self { settings, metrics, messages, handle: Handle::new(sender), term })
    }

    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until told to stop. A term that loses its store is followed by another, with backoff.
    ///
    /// # Errors
    /// [`Error::StoreUnreadable`] when the store cannot be used any more.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut backoff = Duration::from_millis(100);
        loop {
            let error = match self.lead(&stop).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            tracing::error!(error = %chain(&error), "the store failed; opening it again");
            let jitter = rand_jitter();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(backoff.mul_f64(jitter)) => {}
            }
            backoff = (backoff * 2).min(Duration::from_secs(10));
            let Self { settings, metrics, messages, handle, term } = self;
            // The file must be closed before it can be opened again, and what waits must learn that the term ended.
            drop(term);
            let term = reopen(&settings, &stop).await?;
            let Some(term) = term else { return Ok(()) };
            self = Self { settings, metrics, messages, handle, term };
        }
    }

    async fn lead(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            let message = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                message = self.messages.recv() => message,
                _ = ticks.tick() => {
                    self.tick()?;
                    continue;
                }
            };
            let Some(message) = message else { return Ok(()) };
            self.take(message)?;
        }
    }

    fn tick(&mut self) -> Result<(), Error> {
        for holder in self.term.leases.expire(now().boot_ms) {
            tracing::warn!(agent = %holder.agent, "the agent's lease ended");
            self.term.sessions.remove(&holder.agent);
            self.step(Event::LeaseEnded(holder))?;
        }
        self.step(Event::Tick)?;
        self.term.ticks = self.term.ticks.wrapping_add(1);
        if self.term.ticks.is_multiple_of(TICKS_PER_SHOW) {
            self.metrics.show(&self.term.core);
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Command(command, reply) => {
                let ticket = Ticket(self.term.last_ticket.0 + 1);
                self.term.last_ticket = ticket;
                self.term.tickets.retain(|_, reply| !reply.is_closed());
                self.term.tickets.insert(ticket, reply);
                self.step(Event::Command(ticket, command))
            }
            Message::Read(question) => {
                question(&self.term.core, &self.term.known);
                Ok(())
            }
            Message::Hello(hello) => self.hello(hello),
            Message::Said(event) => self.step(event),
            Message::Proposed(first) => {
                let (proposals, next) = self.gather(first);
                self.step(Event::Proposed(proposals))?;
                next.map_or(Ok(()), |next| self.take(next))
            }
            Message::Unreadable { holder, lane, generation, because } => {
                let holds = self.term.core.view().lanes.get(&lane).cloned().map(Box::new);
                let verdict = LaneVerdict { lane, generation, refusal: Some(Refusal { because, holds }) };
                self.deliver(Send::Statement(holder, Statement::Verdict(Box::new(verdict))));
                Ok(())
            }
            Message::Heartbeat { holder, worker_cluster_id } => {
                self.learn_cluster(&holder, worker_cluster_id);
                self.step(Event::Heartbeat(holder))
            }
            Message::SessionEnded(holder, number) => {
                let current = self.term.sessions.get(&holder.agent);
                // A session that a newer one of the same process took over must not end that.
                if current.is_some_and(|session| session.number == number) {
                    self.term.sessions.remove(&holder.agent);
                    return self.step(Event::SessionEnded(holder));
                }
                Ok(())
            }
            Message::Renew(holder, reply) => {
                let alive = self.term.leases.renew(&holder, now().boot_ms);
                // The agent may have given up waiting.
                drop(reply.send(renewed(alive, self.term.core.view(), &holder)));
                Ok(())
            }
        }
    }

    /// A proposal with those that came right behind it, while a commit kept this loop; and what came after them.
    fn gather(&mut self, first: Proposal) -> (Vec<Proposal>, Option<Message>) {
        let mut proposals = vec![first];
        while proposals.len() < PROPOSALS_MAX {
            match self.messages.try_recv() {
                Ok(Message::Proposed(next)) => proposals.push(next),
                Ok(other) => return (proposals, Some(other)),
                Err(_) => break,
            }
        }
        (proposals, None)
    }

    fn hello(&mut self, hello: Hello) -> Result<(), Error> {
        let Hello { hello, worker_cluster_id, outbox, opened } = hello;
        let holder = hello.holder.clone();
        tracing::info!(agent = %holder.agent, "agent connected");
        if let Some(former) = self.term.leases.grant(holder.clone(), now().boot_ms) {
            self.step(Event::LeaseEnded(former))?;
        }
        self.term.known.agents_seen = true;
        self.learn_cluster(&holder, worker_cluster_id);
        self.term.last_session += 1;
        let number = self.term.last_session;
        let store_id = self.term.core.view().meta.store_id.clone();
        if opened.send(Opened { store_id, session: number }).is_ok() {
            let session = Session { number, holder: holder.clone(), outbox };
            self.term.sessions.insert(holder.agent.clone(), session);
            self.step(Event::Hello(Box::new(hello)))?;
        }
        Ok(())
    }

    fn learn_cluster(&mut self, holder: &Holder, worker_cluster_id: String) {
        let known = &mut self.term.known.worker_cluster_id;
        if worker_cluster_id.is_empty() || *known == worker_cluster_id {
            return;
        }
        if !known.is_empty() {
            tracing::warn!(agent = %holder.agent, was = %known, is = %worker_cluster_id,
                "the agent's worker cluster is another one than the fleet's");
        }
        *known = worker_cluster_id;
    }

    /// Feeds the core, and performs what it decides until nothing is left to do.
    fn step(&mut self, event: Event) -> Result<(), Error> {
        let mut events = std::collections::VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let decision = self.term.core.step(now(), event);
            for commit in decision.commits {
                if !commit.writes.is_empty() {
                    let lines = journal::lines(self.term.core.view(), &commit.writes);
                    match self.commit(&commit)? {
                        Outcome::Committed(revision) => {
                            lines.iter().for_each(tell);
                            events.push_back(Event::Committed(revision));
                        }
                        Outcome::Refused => {
                            events.push_back(Event::Refused);
                            break;
                        }
                    }
                }
                for send in commit.sends {
                    self.deliver(send);
                }
            }
        }
        Ok(())
    }

    /// A commit is a few milliseconds of disk: the loop waits for it, since nothing may be decided meanwhile.
    fn commit(&mut self, commit: &Commit) -> Result<Outcome, Error> {
        let incarnation = self.term.core.view().meta.incarnation;
        let outcome = tokio::task::block_in_place(|| self.term.store.commit(commit, incarnation))?;
        self.metrics.committed();
        Ok(outcome)
    }

    fn deliver(&mut self, send: Send) {
        match send {
            Send::Reply(ticket, answer) => {
                if let Some(reply) = self.term.tickets.remove(&ticket) {
                    // Whoever asked may have gone away; the answer is stored for a repeated request.
                    drop(reply.send(answer));
                }
            }
            Send::Statement(holder, statement) => {
                let message = agents::statement(statement, &self.settings);
                let Some(session) = self.term.sessions.get(&holder.agent) else { return };
                if session.holder != holder {
                    return;
                }
                match session.outbox.try_send(message) {
                    Ok(()) => {}
                    // The agent left; its listener is about to say so.
                    Err(mpsc::error::TrySendError::Closed(_)) => {}
                    Err(mpsc::error::TrySendError::Full(_)) => {
                        tracing::warn!(agent = %holder.agent, "the agent does not keep up; its session ends");
                        self.term.sessions.remove(&holder.agent);
                    }
                }
            }
        }
    }
}

/// Without its key an agent is gone for everybody else: its lease alone gives no right.
fn renewed(alive: bool, view: &View, holder: &Holder) -> Renewal {
    if alive && !view.is_alive(holder) {
        return Err(Failure::Unavailable(format!("agent {} is not known yet", holder.agent)));
    }
    Ok(alive.then(|| view.held_by(holder)))
}

fn tell(line: &Line) {
    let Line { is_warning, connector, text } = line;
    if *is_warning {
        tracing::warn!(%connector, "{text}");
    } else {
        tracing::info!(%connector, "{text}");
    }
}

async fn reopen(settings: &Settings, stop: &CancellationToken) -> Result<Option<Term>, Error> {
    let mut backoff = Duration::from_millis(200);
    loop {
        match Term::begin(settings) {
            Ok(term) => return Ok(Some(term)),
            Err(error @ (Error::StoreUnreadable(_) | Error::Serve(_))) => return Err(error),
            Err(error @ Error::Store { .. }) => {
                tracing::error!(error = %chain(&error), "the store cannot be opened; trying again");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(backoff.mul_f64(rand_jitter())) => {}
        }
        backoff = (backoff * 2).min(Duration::from_secs(10));
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver draws the randomness of backoffs")]
fn rand_jitter() -> f64 {
    rand::rng().random_range(0.5..1.5)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The driver's two clocks.
#[expect(clippy::disallowed_methods, reason = "the driver reads the clocks for the core")]
fn now() -> Now {
    let boot = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(Duration::from);
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Now {
        // Linux has this clock since 2.6.39; a kernel without it cannot run tokio either.
        boot_ms: boot.map(millis).unwrap_or_default(),
        wall_ms: wall.map(millis).unwrap_or_default(),
    }
}

/// An error with its causes, as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A duration for the wire.
pub(crate) fn millis_u32(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use copyist_model::{
        AssignmentEpoch, AssignmentId, ConnectorName, Engine, LaneEnd, LaneGeneration, LaneId, LaneRecord,
        TargetState, TopicId,
    };
    use copyist_proto::control::coordinator_message::Message as Stated;
    use copyist_proto::control::{Assignment, LaneRecordVerdict};
    use copyist_proto::record;

    use crate::core::{Command, Findings, FoundTopic};

    const PARTITIONS: i32 = 150;

    /// A coordinator over a store file, and one agent's end of its session.
    struct Fleet {
        coordinator: Coordinator,
        holder: Holder,
        inbox: mpsc::Receiver<CoordinatorMessage>,
    }

    impl Fleet {
        fn open(path: &std::path::Path) -> Self {
            let settings = Settings {
                store_path: path.to_owned(),
                lease_ttl: Duration::from_secs(10),
                lease_margin: Duration::from_secs(7),
                autonomy_max: Duration::from_secs(600),
                heartbeat_interval: Duration::from_millis(500),
                suspect: Duration::from_millis(1500),
            };
            let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
            let coordinator = Coordinator::open(settings, metrics).unwrap();
            let holder = Holder { agent: "a:1".parse().unwrap(), incarnation: "one".into() };
            let (outbox, inbox) = mpsc::channel(4096);
            let mut fleet = Self { coordinator, holder: holder.clone(), inbox };
            let (opened, _kept) = oneshot::channel();
            let hello = Hello {
                hello: crate::core::Hello {
                    holder,
                    rack: String::new(),
                    labels: BTreeMap::new(),
                    running: Vec::new(),
                    store_id: String::new(),
                },
                worker_cluster_id: String::new(),
                outbox,
                opened,
            };
            fleet.take(Message::Hello(hello));
            fleet
        }

        fn take(&mut self, message: Message) {
            self.coordinator.take(message).unwrap();
        }

        /// Connector `c` copies `t` of S into `t` of D, in one task.
        fn create(&mut self) {
            let config = [
                ("connector.class", "EMRReplicatorSourceConnector"),
                ("src.kafka.bootstrap.servers", "s:9092"),
                ("topic.regex", ".*"),
                ("tasks.max", "1"),
            ];
            let config = config.iter().map(|(key, value)| ((*key).into(), Some((*value).into()))).collect();
            let (request, name, initial) = (String::new(), "c".to_owned(), TargetState::Running);
            let (reply, _kept) = oneshot::channel();
            self.take(Message::Command(Command::Create { request, name, config, initial }, reply));
            let survey = AssignmentId::survey(&connector());
            let topic = FoundTopic {
                source: "t".parse().unwrap(),
                destination: "t".parse().unwrap(),
                partitions: PARTITIONS.unsigned_abs(),
                literal: false,
            };
            let findings = Findings {
                generation: copyist_model::ConnectorGeneration(1),
                source: "S".parse().unwrap(),
                destination: "D".parse().unwrap(),
                topics: vec![topic],
            };
            let (holder, epoch) = (self.holder.clone(), self.epoch(&survey));
            self.take(Message::Said(Event::Surveyed { holder, connector: connector(), epoch, findings }));
        }

        fn epoch(&self, id: &AssignmentId) -> AssignmentEpoch {
            self.coordinator.term.core.view().assignments[id].epoch
        }

        fn proposal(&self, partition: i32) -> Proposal {
            let id = AssignmentId::task(&connector(), 0);
            let (holder, epoch) = (self.holder.clone(), self.epoch(&id));
            Proposal {
                holder,
                id,
                epoch,
                replaces: LaneGeneration(0),
                record: Box::new(lane_record(partition)),
            }
        }

        fn heard(&mut self) -> Vec<Stated> {
            std::iter::from_fn(|| self.inbox.try_recv().ok()).filter_map(|heard| heard.message).collect()
        }

        fn verdicts(&mut self) -> Vec<LaneRecordVerdict> {
            let heard = self.heard().into_iter();
            heard
                .filter_map(
                    |heard| if let Stated::LaneRecord(verdict) = heard { Some(verdict) } else { None },
                )
                .collect()
        }

        fn assignments(&mut self) -> Vec<Assignment> {
            let heard = self.heard().into_iter();
            heard
                .filter_map(|heard| if let Stated::Assignment(run) = heard { Some(run) } else { None })
                .collect()
        }

        fn revision(&self) -> u64 {
            self.coordinator.term.core.view().revision.0
        }
    }

    fn connector() -> ConnectorName {
        "c".parse().unwrap()
    }

    fn lane_record(partition: i32) -> LaneRecord {
        let end = |cluster: &str| LaneEnd {
            cluster: cluster.parse().unwrap(),
            topic: "t".parse().unwrap(),
            topic_id: TopicId::NONE,
            partition,
        };
        let source = end("S");
        let lane = LaneId {
            connector: connector(),
            source_cluster: source.cluster.clone(),
            topic: source.topic.clone(),
            partition,
        };
        LaneRecord {
            lane,
            generation: LaneGeneration(1),
            engine: Engine::Raw,
            source,
            destination: end("D"),
            producer_id: i64::from(partition),
            base_n: 0,
            base_offset: 0,
            base_source_offset: 0,
            shared: false,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn proposals_that_are_waiting_are_fixed_together_and_stated_by_the_next_term() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mut fleet = Fleet::open(&path);
        fleet.create();
        fleet.heard();
        let handle = fleet.coordinator.handle();
        for partition in 1..PARTITIONS {
            handle.tell(Message::Proposed(fleet.proposal(partition))).await.unwrap();
        }
        let heartbeat = Message::Heartbeat { holder: fleet.holder.clone(), worker_cluster_id: "W".into() };
        handle.tell(heartbeat).await.unwrap();
        handle.tell(Message::Proposed(fleet.proposal(0))).await.unwrap();
        let before = fleet.revision();
        let first = fleet.proposal(0);
        fleet.take(Message::Proposed(first));
        assert_eq!(fleet.revision() - before, 2, "150 records go into two commits");
        assert_eq!(
            fleet.coordinator.term.known.worker_cluster_id, "W",
            "what came behind them is heard as well"
        );
        let verdicts = fleet.verdicts();
        assert_eq!(verdicts.len(), 150);
        assert!(verdicts.iter().all(|verdict| verdict.refused_because.is_empty()));
        assert!(
            fleet.coordinator.messages.try_recv().is_ok(),
            "and what came behind that waits for its turn"
        );

        drop(fleet);
        let mut fleet = Fleet::open(&path);
        let runs = fleet.assignments();
        let task = runs.iter().find(|run| !run.lanes.is_empty()).unwrap();
        let records: Vec<LaneRecord> =
            task.lane_records.iter().map(|bytes| record::decode(bytes).unwrap()).collect();
        assert_eq!(records, (0..PARTITIONS).map(lane_record).collect::<Vec<_>>());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_cannot_be_read_is_refused_with_the_record_that_holds() {
        let folder = tempfile::tempdir().unwrap();
        let mut fleet = Fleet::open(&folder.path().join("store"));
        fleet.create();
        let first = fleet.proposal(4);
        fleet.take(Message::Proposed(first));
        fleet.heard();
        for (partition, holds) in [(4, record::encode(&lane_record(4))), (5, Vec::new())] {
            let unreadable = Message::Unreadable {
                holder: fleet.holder.clone(),
                lane: lane_record(partition).lane,
                generation: LaneGeneration(2),
                because: "why".into(),
            };
            fleet.take(unreadable);
            let verdict = fleet.verdicts().pop().unwrap();
            assert_eq!((verdict.refused_because.as_str(), verdict.generation), ("why", 2));
            assert_eq!(verdict.holds, holds);
        }
    }
}
