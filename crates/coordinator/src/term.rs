//! A term: from the moment this replica leads until it does so no more. The core decides; here it is stored first, and
//! told second. One loop, one mailbox.

mod joining;
mod telling;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use copyist_model::{AgentId, StoreRevision};
use copyist_proto::control::coordinator_message::Message as Stated;
use copyist_proto::control::query::Question;
use copyist_proto::control::{CoordinatorMessage, Query};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::clock::{boot_ms, now};
use crate::core::{
    AgentShown, Answer, Command, Commit, Core, Event, Failure, Holder, LaneVerdict, Refusal, Send, Statement,
    Ticket, View, Write,
};
use crate::driver::Settings;
use crate::error::Error;
use crate::grpc::agents;
use crate::handle::{self, Answers, Known, Message, SessionNumber};
use crate::journal;
use crate::metrics::Metrics;
use crate::queries::Queries;
use crate::scribe::{Duty, Scribe};
use crate::store::{Outcome, Store};
use crate::traces::{self, Traces};

/// How often time goes by: agents become suspect, and every few ticks statuses are stored.
const TICK: Duration = Duration::from_millis(250);

/// Processes that are remembered as replaced.
const REPLACED_MAX: usize = 64;

/// How often the metrics are brought up to date.
const TICKS_PER_SHOW: u32 = 4;

/// One term. What it knows beside the store goes with it.
pub(crate) struct Term<S> {
    store: S,
    settings: Settings,
    metrics: Metrics,
    core: Core,
    known: Known,
    /// Processes whose id a newer one has, the latest last.
    replaced: VecDeque<Holder>,
    traces: Traces,
    /// Processes that have not reached their destination yet.
    unsettled: BTreeSet<Holder>,
    /// The agents as watchers were told of them last; nothing where nobody watches.
    watched: Vec<AgentShown>,
    /// What this step has stored; nothing where nobody watches.
    stored: Vec<(StoreRevision, Vec<Write>)>,
    sessions: BTreeMap<AgentId, Session>,
    last_session: SessionNumber,
    /// What agents were asked.
    queries: Queries,
    duty: Duty,
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

/// What the loop of a term woke up for.
enum Turn {
    Stopped,
    LeaseEnded(Holder),
    Said(Message),
    Tick,
}

impl<S: Store> Term<S> {
    pub(crate) fn begin(store: S, view: View, settings: Settings, metrics: Metrics) -> Self {
        let queries = Queries::of_term(view.revision.0);
        Self {
            store,
            queries,
            core: Core::new(view, settings.patience()),
            settings,
            metrics,
            known: Known::default(),
            replaced: VecDeque::new(),
            traces: Traces::default(),
            unsettled: BTreeSet::new(),
            watched: Vec::new(),
            stored: Vec::new(),
            sessions: BTreeMap::new(),
            last_session: 0,
            duty: Duty::default(),
            tickets: BTreeMap::new(),
            last_ticket: Ticket(0),
            ticks: 0,
        }
    }

    /// Sessions end, and who waits for an answer learns that there will be none.
    pub(crate) fn end(self) -> S {
        self.metrics.hide();
        self.store
    }

    /// Decides until told to stop.
    ///
    /// # Errors
    /// What ended the term.
    pub(crate) async fn lead(
        &mut self,
        messages: &mut mpsc::Receiver<Message>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            let turn = tokio::select! {
                () = stop.cancelled() => Turn::Stopped,
                ended = self.store.lease_ended() => Turn::LeaseEnded(ended?),
                Some(message) = messages.recv() => Turn::Said(message),
                _ = ticks.tick() => Turn::Tick,
            };
            self.check()?;
            match turn {
                Turn::Stopped => return Ok(()),
                Turn::LeaseEnded(holder) => self.lease_ended(holder).await?,
                Turn::Said(message) => self.take(message, messages).await?,
                Turn::Tick => self.tick().await?,
            }
        }
    }

    /// A leader whose own lease has ended does nothing more.
    fn check(&self) -> Result<(), Error> {
        if self.store.leads() {
            return Ok(());
        }
        Err(Error::TermOver("its lease has ended".to_owned()))
    }

    async fn lease_ended(&mut self, holder: Holder) -> Result<(), Error> {
        tracing::warn!(agent = %holder.agent, "the agent's lease ended");
        self.drop_session(&holder);
        self.step(Event::LeaseEnded(holder)).await
    }

    async fn session_ended(&mut self, holder: Holder, number: SessionNumber) -> Result<(), Error> {
        let current = self.sessions.get(&holder.agent);
        // A session that a newer one of the same process took over must not end that.
        if current.is_none_or(|session| session.number != number) {
            return Ok(());
        }
        let leaves = self.core.is_leaving_the_fleet(&holder);
        self.drop_session(&holder);
        self.step(Event::SessionEnded(holder.clone())).await?;
        // What still holds something may be at work: its right must run out.
        if leaves && self.core.is_without_parts(&holder) && self.store.revoke(&holder).await {
            self.check()?;
            tracing::info!(agent = %holder.agent, "the agent has left");
            return self.step(Event::LeaseEnded(holder)).await;
        }
        Ok(())
    }

    fn drop_session(&mut self, holder: &Holder) {
        self.unsettled.remove(holder);
        self.queries.lose(holder);
        if self.sessions.get(&holder.agent).is_some_and(|session| session.holder == *holder) {
            self.sessions.remove(&holder.agent);
        }
    }

    async fn tick(&mut self) -> Result<(), Error> {
        self.step(Event::Tick).await?;
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(TICKS_PER_SHOW) {
            self.metrics.show(&self.core);
            self.known.failovers.forget_the_gone(self.core.view());
            self.tell_of_agents();
        }
        Ok(())
    }

    async fn take(&mut self, message: Message, messages: &mut mpsc::Receiver<Message>) -> Result<(), Error> {
        let Message::Proposed(first) = message else { return self.hear(message).await };
        let (proposals, next) = handle::gather(first, messages);
        self.step(Event::Proposed(proposals)).await?;
        match next {
            Some(next) => self.hear(next).await,
            None => Ok(()),
        }
    }

    async fn hear(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Command(command, caller, reply) => self.command(command, &caller, reply).await,
            Message::Read(question) => {
                question(&self.core, &self.known);
                Ok(())
            }
            Message::Hello(hello) => self.hello(hello).await,
            Message::Said(event) => {
                let span = self.traces.heard(&event, boot_ms());
                self.step(event).instrument(span).await
            }
            Message::Proposed(proposal) => self.step(Event::Proposed(vec![proposal])).await,
            Message::Unreadable { holder, lane, generation, because } => {
                let holds = self.core.view().lanes.get(&lane).cloned();
                let verdict = LaneVerdict { lane, generation, refusal: Some(Refusal { because, holds }) };
                self.deliver(Send::Statement(holder, Statement::Verdict(Box::new(verdict))));
                Ok(())
            }
            Message::Ask(question, reply) => {
                self.ask(question, reply);
                Ok(())
            }
            Message::Answered(holder, answer) => {
                self.queries.answered(&holder, answer);
                Ok(())
            }
            Message::Heartbeat { holder, destination } => self.heartbeat(holder, destination).await,
            Message::SessionEnded(holder, number) => self.session_ended(holder, number).await,
            Message::ToAgents(message, told) => {
                // Whoever asked may have gone away.
                let _ = told.send(self.tell_agents(&message));
                Ok(())
            }
            Message::Renew(holder, reply) => {
                let alive = self.store.keep_alive(&holder).await?;
                // The agent may have given up waiting.
                drop(reply.send(handle::renewal(alive, self.core.view(), &holder)));
                Ok(())
            }
        }
    }

    async fn command(
        &mut self,
        command: Command,
        caller: &Span,
        reply: oneshot::Sender<Result<Answer, Failure>>,
    ) -> Result<(), Error> {
        let ticket = Ticket(self.last_ticket.0 + 1);
        self.last_ticket = ticket;
        self.tickets.retain(|_, reply| !reply.is_closed());
        self.tickets.insert(ticket, reply);
        let span = self.traces.command(&command, caller, boot_ms());
        self.step(Event::Command(ticket, command)).instrument(span).await
    }

    fn ask(&mut self, question: Question, reply: oneshot::Sender<Answers>) {
        if reply.is_closed() {
            return;
        }
        let session = self
            .core
            .respondent()
            .and_then(|holder| self.sessions.get(&holder.agent).filter(|session| session.holder == holder));
        let Some(session) = session else {
            let text = "no agent is connected that could answer, try again".to_owned();
            // Who asked may have gone.
            drop(reply.send(Err(Failure::Unavailable(text))));
            return;
        };
        let Some(id) = self.queries.ask(&session.holder, reply) else { return };
        let query = Stated::Query(Query { id, question: Some(question) });
        // Where there is no room its session is about to end, and who asked learns it then.
        drop(session.outbox.try_send(CoordinatorMessage { message: Some(query) }));
    }

    /// Feeds the core, and performs what it decides until nothing is left to do.
    async fn step(&mut self, event: Event) -> Result<(), Error> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            if let Some(failover) = self.known.failovers.hear(&event, boot_ms()) {
                self.metrics.resumed(&failover);
            }
            let decided_ms = boot_ms();
            let decision = self.core.step(now(), event);
            for commit in decision.commits {
                if !self.store(&commit, decided_ms, &mut events).await? {
                    break;
                }
                for send in commit.sends {
                    self.deliver(send);
                }
            }
        }
        self.tell_of_stored();
        self.state_scribe();
        Ok(())
    }

    fn state_scribe(&mut self) {
        let holder = self.core.scribe();
        let session = holder.as_ref().and_then(|holder| self.sessions.get(&holder.agent));
        let number = session.filter(|it| Some(&it.holder) == holder.as_ref()).map(|it| it.number);
        let mark = || self.core.scribes_mark();
        let scribe = holder.zip(number).map(|(holder, session)| Scribe { holder, session, mark: mark() });
        for (told, message) in self.duty.pass(scribe) {
            if self.sessions.get(&told.holder.agent).is_some_and(|it| it.number == told.session) {
                self.say(&told.holder, message);
            }
        }
    }

    /// Stores what a commit writes; says whether what follows from it holds.
    async fn store(
        &mut self,
        commit: &Commit,
        decided_ms: u64,
        events: &mut VecDeque<Event>,
    ) -> Result<bool, Error> {
        if commit.writes.is_empty() {
            self.check()?;
            return Ok(true);
        }
        let lines = journal::lines(self.core.view(), &commit.writes);
        let incarnation = self.core.view().meta.incarnation;
        let span = traces::commit(commit.writes.len());
        let outcome = self.store.commit(commit, incarnation).instrument(span).await?;
        self.check()?;
        match outcome {
            Outcome::Committed(revision) => {
                self.metrics.committed();
                lines.iter().for_each(journal::tell);
                let view = self.core.view();
                let taken =
                    self.known.failovers.assign(view, &commit.writes, revision, decided_ms, boot_ms());
                taken.iter().for_each(|failover| self.metrics.assigned(failover));
                if self.known.changes.receiver_count() > 0 {
                    self.stored.push((revision, commit.writes.clone()));
                }
                events.push_back(Event::Committed(revision));
                Ok(true)
            }
            Outcome::Refused { gone } => {
                // Known before the core plans again, or it would plan the same.
                for holder in gone {
                    self.drop_session(&holder);
                    events.push_back(Event::LeaseEnded(holder));
                }
                events.push_back(Event::Refused);
                Ok(false)
            }
        }
    }

    fn deliver(&mut self, send: Send) {
        match send {
            Send::Reply(ticket, answer) => {
                if let Some(reply) = self.tickets.remove(&ticket) {
                    // Whoever asked may have gone away; the answer is stored for a repeated request.
                    drop(reply.send(answer));
                }
            }
            Send::Statement(holder, statement) => {
                let trace = self.traces.of(&statement, boot_ms());
                let message = agents::statement(statement, trace, &self.settings);
                self.say(&holder, message);
            }
        }
    }

    /// To a process that has a session; another one of its agent is not told.
    fn say(&mut self, holder: &Holder, message: CoordinatorMessage) {
        let Some(session) = self.sessions.get(&holder.agent) else { return };
        if session.holder != *holder {
            return;
        }
        match session.outbox.try_send(message) {
            Ok(()) => {}
            // The agent left; its listener is about to say so.
            Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::warn!(agent = %holder.agent, "the agent does not keep up; its session ends");
                self.drop_session(holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use copyist_model::{
        AssignmentEpoch, AssignmentId, ConnectorName, Engine, LaneEnd, LaneGeneration, LaneId, LaneRecord,
        TargetState, TopicId,
    };
    use copyist_proto::control::{Assignment, LaneRecordVerdict};
    use copyist_proto::record;

    use crate::core::{Destination, Findings, FoundTopic, Proposal};
    use crate::grpc::watch;
    use crate::handle::{Handle, Hello, Opened};
    use crate::store::embedded::Embedded;

    const PARTITIONS: i32 = 150;

    /// A term over a store file, its mailbox, and one agent's end of its session.
    struct Fleet {
        term: Term<Embedded>,
        handle: Handle,
        messages: mpsc::Receiver<Message>,
        holder: Holder,
        inbox: mpsc::Receiver<CoordinatorMessage>,
        registry: prometheus::Registry,
    }

    impl Fleet {
        async fn open(path: &std::path::Path) -> Self {
            let settings = settings();
            let registry = prometheus::Registry::new();
            let metrics = Metrics::new(&registry).unwrap();
            let mut store = Embedded::open(path, settings.lease_ttl).unwrap();
            let view = store.lead().await.unwrap();
            let term = Term::begin(store, view, settings, metrics);
            let (sender, messages) = mpsc::channel(1024);
            let holder = Holder { agent: "a:1".parse().unwrap(), incarnation: "one".into() };
            let (outbox, inbox) = mpsc::channel(4096);
            let handle = Handle::new(sender);
            let mut fleet = Self { term, handle, messages, holder: holder.clone(), inbox, registry };
            let opened = fleet.hello(holder, "ours", Some(destination("W")), outbox).await;
            assert!(matches!(opened, Ok(Ok(_))));
            fleet
        }

        /// What a process is told that says hello.
        async fn hello(
            &mut self,
            holder: Holder,
            group_id: &str,
            destination: Option<Destination>,
            outbox: mpsc::Sender<CoordinatorMessage>,
        ) -> Result<Result<Opened, String>, oneshot::error::TryRecvError> {
            let (opened, mut answer) = oneshot::channel();
            self.take(said_hello(holder, group_id, destination, outbox, opened)).await;
            answer.try_recv()
        }

        /// As [`Fleet::hello`] of agent a:1, in words: nothing, where the session is open.
        async fn refusal(&mut self, incarnation: &str, cluster: &str) -> Option<String> {
            let holder = Holder { agent: "a:1".parse().unwrap(), incarnation: incarnation.into() };
            let (outbox, _) = mpsc::channel(64);
            self.hello(holder, "ours", Some(destination(cluster)), outbox).await.unwrap().err()
        }

        async fn take(&mut self, message: Message) {
            self.term.take(message, &mut self.messages).await.unwrap();
        }

        /// Connector `c` copies `t` of S into `t` of D, in one task.
        async fn create(&mut self) {
            let config = [
                ("connector.class", "EMRReplicatorSourceConnector"),
                ("src.kafka.bootstrap.servers", "s:9092"),
                ("topic.regex", ".*"),
                ("tasks.max", "1"),
            ];
            let config = config.iter().map(|(key, value)| ((*key).into(), Some((*value).into()))).collect();
            let (request, name, initial) = (String::new(), "c".to_owned(), TargetState::Running);
            let (reply, _kept) = oneshot::channel();
            self.take(Message::Command(
                Command::Create { request, name, config, initial },
                Span::none(),
                reply,
            ))
            .await;
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
            self.take(Message::Said(Event::Surveyed { holder, connector: connector(), epoch, findings }))
                .await;
        }

        fn epoch(&self, id: &AssignmentId) -> AssignmentEpoch {
            self.term.core.view().assignments[id].epoch
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

        /// What watchers are told of agents within a second in which nothing is stored.
        async fn agents_told(
            &mut self,
            changes: &mut tokio::sync::broadcast::Receiver<Arc<Vec<copyist_proto::connect::WatchEvent>>>,
        ) -> Vec<copyist_proto::connect::FleetAgent> {
            use copyist_proto::connect::watch_event::Event as Seen;
            for _ in 0..TICKS_PER_SHOW {
                self.term.tick().await.unwrap();
            }
            let mut told = Vec::new();
            while let Ok(events) = changes.try_recv() {
                let events = events.iter().filter_map(|event| event.event.clone());
                told.extend(
                    events
                        .filter_map(|event| if let Seen::Agent(agent) = event { Some(agent) } else { None }),
                );
            }
            told
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
            self.term.core.view().revision.0
        }
    }

    fn settings() -> Settings {
        Settings {
            group_id: "ours".into(),
            lease_ttl: Duration::from_secs(10),
            lease_margin: Duration::from_secs(7),
            autonomy_max: Duration::from_secs(600),
            heartbeat_interval: Duration::from_millis(500),
            suspect: Duration::from_millis(1500),
            destination_may_change: false,
        }
    }

    fn said_hello(
        holder: Holder,
        group_id: &str,
        destination: Option<Destination>,
        outbox: mpsc::Sender<CoordinatorMessage>,
        opened: oneshot::Sender<Result<Opened, String>>,
    ) -> Message {
        let hello = crate::core::Hello {
            holder,
            rack: String::new(),
            labels: BTreeMap::new(),
            running: Vec::new(),
            store_id: String::new(),
            is_settled: false,
        };
        let group_id = group_id.to_owned();
        Message::Hello(Hello { hello, group_id, destination, outbox, opened })
    }

    /// A store that takes its time to grant a lease: its term ends meanwhile, or who asked for the lease goes away.
    struct Slow {
        store: Embedded,
        leads: bool,
        asks: Option<oneshot::Receiver<Result<Opened, String>>>,
    }

    impl Store for Slow {
        async fn lead(&mut self) -> Result<View, Error> {
            self.store.lead().await
        }

        fn leads(&self) -> bool {
            self.leads
        }

        async fn commit(&mut self, commit: &Commit, incarnation: u64) -> Result<Outcome, Error> {
            self.store.commit(commit, incarnation).await
        }

        async fn grant(&mut self, holder: &Holder, former: Option<&Holder>) -> Result<(), Error> {
            self.leads = self.asks.take().is_some();
            self.store.grant(holder, former).await
        }

        async fn keep_alive(&mut self, holder: &Holder) -> Result<bool, Error> {
            self.store.keep_alive(holder).await
        }

        async fn lease_ended(&mut self) -> Result<Holder, Error> {
            self.store.lease_ended().await
        }

        async fn revoke(&mut self, holder: &Holder) -> bool {
            self.store.revoke(holder).await
        }

        async fn resign(&mut self) {}
    }

    fn destination(cluster: &str) -> Destination {
        Destination { cluster_id: cluster.to_owned(), offset_storage_topic: "o".to_owned() }
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
        let mut fleet = Fleet::open(&path).await;
        fleet.create().await;
        fleet.heard();
        let handle = fleet.handle.clone();
        for partition in 1..PARTITIONS {
            handle.tell(Message::Proposed(fleet.proposal(partition))).await.unwrap();
        }
        let heartbeat =
            Message::Heartbeat { holder: fleet.holder.clone(), destination: Some(destination("W")) };
        handle.tell(heartbeat).await.unwrap();
        handle.tell(Message::Proposed(fleet.proposal(0))).await.unwrap();
        let before = fleet.revision();
        let first = fleet.proposal(0);
        fleet.take(Message::Proposed(first)).await;
        assert_eq!(fleet.revision() - before, 2, "150 records go into two commits");
        let heard = fleet.term.core.view().meta.destination.clone();
        assert_eq!(heard, Some(destination("W")), "what came behind them is heard as well");
        let verdicts = fleet.verdicts();
        assert_eq!(verdicts.len(), 150);
        assert!(verdicts.iter().all(|verdict| verdict.refused_because.is_empty()));
        assert!(fleet.messages.try_recv().is_ok(), "and what came behind that waits for its turn");

        drop(fleet);
        let mut fleet = Fleet::open(&path).await;
        let runs = fleet.assignments();
        let task = runs.iter().find(|run| !run.lanes.is_empty()).unwrap();
        let records: Vec<LaneRecord> =
            task.lane_records.iter().map(|bytes| record::decode(bytes).unwrap()).collect();
        assert_eq!(records, (0..PARTITIONS).map(lane_record).collect::<Vec<_>>());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_cannot_be_read_is_refused_with_the_record_that_holds() {
        let folder = tempfile::tempdir().unwrap();
        let mut fleet = Fleet::open(&folder.path().join("store")).await;
        fleet.create().await;
        let first = fleet.proposal(4);
        fleet.take(Message::Proposed(first)).await;
        fleet.heard();
        for (partition, holds) in [(4, record::encode(&lane_record(4))), (5, Vec::new())] {
            let unreadable = Message::Unreadable {
                holder: fleet.holder.clone(),
                lane: lane_record(partition).lane,
                generation: LaneGeneration(2),
                because: "why".into(),
            };
            fleet.take(unreadable).await;
            let verdict = fleet.verdicts().pop().unwrap();
            assert_eq!((verdict.refused_because.as_str(), verdict.generation), ("why", 2));
            assert_eq!(verdict.holds, holds);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_process_whose_id_a_newer_one_has_taken_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut fleet = Fleet::open(&folder.path().join("store")).await;
        assert_eq!(fleet.refusal("two", "W").await, None, "it takes the id");
        let told = fleet.refusal("one", "W").await.unwrap();
        assert!(told.contains("a:1") && told.contains("agent.id"), "{told}");
        assert_eq!(fleet.refusal("two", "W").await, None, "and goes on");
        assert!(fleet.term.core.view().agents.values().all(|agent| agent.incarnation == "two"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_session_of_a_replaced_process_ends_though_the_newer_one_waits_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Embedded::open(&folder.path().join("store"), settings().lease_ttl).unwrap();
        let view = store.lead().await.unwrap();
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let mut term = Term::begin(Slow { store, leads: true, asks: None }, view, settings(), metrics);
        let says = |incarnation: &str, outbox, opened| {
            let holder = Holder { agent: "a:1".parse().unwrap(), incarnation: incarnation.into() };
            said_hello(holder, "ours", Some(destination("W")), outbox, opened)
        };
        // Nobody waits for this one: it costs no question to the store.
        let ((outbox, _), (opened, _)) = (mpsc::channel(64), oneshot::channel());
        term.hear(says("none", outbox, opened)).await.unwrap();
        assert!(term.store.leads, "its store was asked for a lease");

        let (first, _waits) = oneshot::channel();
        term.store.asks = Some(oneshot::channel().1);
        let (outbox, mut inbox) = mpsc::channel(64);
        term.hear(says("one", outbox, first)).await.unwrap();
        assert_eq!(term.sessions.len(), 1);
        let (opened, asks) = oneshot::channel();
        term.store.asks = Some(asks);
        let (outbox, _) = mpsc::channel(64);
        term.hear(says("two", outbox, opened)).await.unwrap();
        assert_eq!(term.sessions.len(), 0, "else it would wait for words that never come");
        while inbox.try_recv().is_ok() {}
        assert!(matches!(inbox.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn nothing_is_told_once_the_term_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Embedded::open(&folder.path().join("store"), settings().lease_ttl).unwrap();
        let view = store.lead().await.unwrap();
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let mut term = Term::begin(Slow { store, leads: true, asks: None }, view, settings(), metrics);
        let nobody = || Command::ForgetAgent { agent: "b:1".parse().unwrap() };
        let (reply, mut answer) = oneshot::channel();
        term.hear(Message::Command(nobody(), Span::none(), reply)).await.unwrap();
        assert!(answer.try_recv().is_ok(), "an answer that stores nothing");

        let holder = Holder { agent: "a:1".parse().unwrap(), incarnation: "one".into() };
        let (outbox, mut inbox) = mpsc::channel(64);
        let (opened, mut hears) = oneshot::channel();
        let over = term.hear(said_hello(holder, "ours", Some(destination("W")), outbox, opened)).await;
        assert!(matches!(over, Err(Error::TermOver(_))), "the lease was granted too late");
        assert!(hears.try_recv().is_err() && inbox.try_recv().is_err());
        let (reply, mut answer) = oneshot::channel();
        let over = term.hear(Message::Command(nobody(), Span::none(), reply)).await;
        assert!(matches!(over, Err(Error::TermOver(_))));
        assert!(answer.try_recv().is_err(), "another leader may know better");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn an_agent_of_another_destination_takes_no_part() {
        let folder = tempfile::tempdir().unwrap();
        let mut fleet = Fleet::open(&folder.path().join("store")).await;
        let heartbeat = |cluster: &str| Message::Heartbeat {
            holder: Holder { agent: "a:1".parse().unwrap(), incarnation: "one".into() },
            destination: Some(destination(cluster)),
        };
        fleet.take(heartbeat("W")).await;
        let told = fleet.refusal("two", "V").await.unwrap();
        for part in ["cluster W", "cluster V", "bootstrap.servers", "group.id"] {
            assert!(told.contains(part), "{told}");
        }
        assert_eq!(fleet.term.sessions.len(), 1);
        fleet.take(heartbeat("V")).await;
        assert_eq!(fleet.term.sessions.len(), 0, "who turns out to be one is left");
        fleet.term.settings.destination_may_change = true;
        assert_eq!(fleet.refusal("one", "V").await, None);
        assert_eq!(fleet.term.core.view().meta.destination, Some(destination("V")));
        fleet.take(heartbeat("U")).await;
        assert_eq!(
            fleet.term.core.view().meta.destination,
            Some(destination("U")),
            "by its word of later as well"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_process_that_leaves_gives_up_its_lease_once_it_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        // Whether it says that it leaves; how many parts it holds; of how many it confirms the release; whether it says
        // that nothing of it runs.
        let rows = [
            (true, 2, 2, false, true),
            (true, 2, 1, false, false),
            (true, 2, 0, false, false),
            (true, 2, 0, true, true),
            (true, 0, 0, false, true),
            (false, 0, 0, false, false),
        ];
        for (drains, holds, confirms, has_drained, goes) in rows {
            let row = format!("{drains} {holds} {confirms} {has_drained}");
            let mut fleet = Fleet::open(&folder.path().join(&row)).await;
            if holds > 0 {
                fleet.create().await;
            }
            let holder = fleet.holder.clone();
            if drains {
                fleet.take(Message::Said(Event::Draining(holder.clone()))).await;
            }
            assert_eq!(fleet.term.core.view().held_by(&holder).len(), holds, "{row}");
            let parts = [AssignmentId::survey(&connector()), AssignmentId::task(&connector(), 0)];
            for id in parts.into_iter().take(confirms) {
                let (holder, epoch) = (holder.clone(), fleet.epoch(&id));
                fleet.take(Message::Said(Event::Released { holder, id, epoch })).await;
            }
            if has_drained {
                fleet.take(Message::Said(Event::Drained(holder.clone()))).await;
            }
            fleet.take(Message::SessionEnded(holder.clone(), 7)).await;
            assert!(fleet.term.core.view().is_alive(&holder), "{row}: of another session");
            fleet.take(Message::SessionEnded(holder.clone(), 1)).await;
            assert_eq!(!fleet.term.core.view().is_alive(&holder), goes, "{row}");
            assert_eq!(!fleet.term.store.keep_alive(&holder).await.unwrap(), goes, "{row}");
            let released = fleet.term.core.view().releases.values().map(std::collections::BTreeSet::len);
            let over = if has_drained { holds } else { confirms };
            assert_eq!(released.sum::<usize>(), over, "{row}: what it said is stored");
            let (outbox, mut inbox) = mpsc::channel(64);
            let next = Holder { incarnation: "two".into(), ..holder };
            fleet.hello(next.clone(), "ours", Some(destination("W")), outbox).await.unwrap().unwrap();
            assert_eq!(fleet.term.replaced.is_empty(), goes, "{row}: it takes over from nobody");
            assert!(inbox.try_recv().is_ok() && fleet.term.core.view().is_alive(&next), "{row}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn who_leads_no_more_shows_no_states() {
        let folder = tempfile::tempdir().unwrap();
        let mut fleet = Fleet::open(&folder.path().join("store")).await;
        fleet.create().await;
        for _ in 0..TICKS_PER_SHOW {
            fleet.term.tick().await.unwrap();
        }
        let registry = fleet.registry.clone();
        let shown = || {
            let families = registry.gather();
            families.iter().filter(|family| family.name().starts_with("copyist_connector_")).count()
        };
        assert_eq!(shown(), 2);
        drop(fleet.term.end());
        assert_eq!(shown(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn an_agent_of_another_fleet_takes_no_part() {
        let folder = tempfile::tempdir().unwrap();
        let mut fleet = Fleet::open(&folder.path().join("store")).await;
        let said = [("theirs", "b:1"), ("ours", "b:2"), ("", "b:3")];
        let mut refusals = Vec::new();
        for (group_id, agent) in said {
            let holder = Holder { agent: agent.parse().unwrap(), incarnation: "one".into() };
            let (outbox, _) = mpsc::channel(64);
            let opened = fleet.hello(holder, group_id, Some(destination("W")), outbox).await.unwrap();
            refusals.extend(opened.err());
        }
        let [told] = &refusals[..] else { panic!("{refusals:?}") };
        for part in ["fleet ours", "fleet theirs", "group.id", "coordinator.endpoints"] {
            assert!(told.contains(part), "{told}");
        }
        let there: Vec<_> = fleet.term.core.view().agents.keys().map(ToString::to_string).collect();
        assert_eq!(there, ["a:1", "b:2", "b:3"], "one that does not say it is of an older version");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn one_agent_is_told_that_it_is_the_scribe_and_when_it_is_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let mut fleet = Fleet::open(&folder.path().join("store")).await;
        let scribes = |heard: Vec<Stated>| -> Vec<(bool, String)> {
            let duty = |heard| if let Stated::Scribe(duty) = heard { Some(duty) } else { None };
            heard.into_iter().filter_map(duty).map(|duty| (duty.is_scribe, duty.mark)).collect()
        };
        let mark = format!("{}/1", fleet.term.core.view().meta.store_id);
        assert_eq!(scribes(fleet.heard()), [(true, mark.clone())]);
        let (outbox, mut inbox) = mpsc::channel(64);
        let before = Holder { agent: "a:0".parse().unwrap(), incarnation: "one".into() };
        fleet.hello(before.clone(), "ours", Some(destination("W")), outbox).await.unwrap().unwrap();
        let told: Vec<_> = std::iter::from_fn(|| inbox.try_recv().ok()?.message).collect();
        assert_eq!(scribes(told), [(true, mark.clone())], "the first by id");
        assert_eq!(scribes(fleet.heard()), [(false, mark.clone())]);
        let number = fleet.term.last_session;
        fleet.take(Message::SessionEnded(before, number)).await;
        assert_eq!(scribes(fleet.heard()), [(true, mark)]);
        fleet.term.tick().await.unwrap();
        assert_eq!(scribes(fleet.heard()), [], "it knows");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn watchers_are_told_what_is_and_what_changes() {
        use copyist_proto::connect::watch_event::Event as Seen;
        let folder = tempfile::tempdir().unwrap();
        let mut fleet = Fleet::open(&folder.path().join("store")).await;
        let before = watch::everything(&fleet.term.core);
        let before: Vec<Seen> = before.into_iter().filter_map(|event| event.event).collect();
        assert!(
            matches!(&before[..], [Seen::Agent(agent), Seen::Synced(_)] if agent.agent_id == "a:1"),
            "{before:?}"
        );
        let mut changes = fleet.term.known.changes.subscribe();
        fleet.create().await;
        let mut seen = Vec::new();
        while let Ok(events) = changes.try_recv() {
            seen.extend(events.iter().filter_map(|event| event.event.clone()));
        }
        let connector =
            |event: &Seen| matches!(event, Seen::Connector(it) if it.name == "c" && it.tasks == [0]);
        let task = |event: &Seen| matches!(event, Seen::Part(it) if it.agent_id == "a:1" && it.part.as_ref().is_some_and(|part| part.task == Some(0)));
        assert!(seen.iter().any(connector) && seen.iter().any(task), "{seen:?}");
        let everything = watch::everything(&fleet.term.core);
        let of_others: Vec<_> = everything.iter().filter(|event| !watch::is_of(event, "c")).collect();
        assert!(of_others.iter().all(|event| matches!(event.event, Some(Seen::Agent(_)))), "{of_others:?}");
        let told = fleet.agents_told(&mut changes).await;
        assert!(matches!(&told[..], [agent] if agent.connected && agent.parts == 2), "{told:?}");
        assert_eq!(fleet.agents_told(&mut changes).await, [], "nothing is told twice");
        let ended = Message::SessionEnded(fleet.holder.clone(), fleet.term.last_session);
        fleet.take(ended).await;
        let told = fleet.agents_told(&mut changes).await;
        assert!(matches!(&told[..], [agent] if !agent.connected), "{told:?}");
        drop(fleet);
        assert!(matches!(changes.try_recv(), Err(tokio::sync::broadcast::error::TryRecvError::Closed)));
    }
}
