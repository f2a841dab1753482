//! Coordinators' ends of an etcd, and what is written there.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use copyist_coordinator::Error;
use copyist_coordinator::core::view::{Agent, Assignment};
use copyist_coordinator::core::{Commit, Holder, View, Write};
use copyist_coordinator::store::etcd::{self, Leader, Replica, Settings};
use copyist_coordinator::store::{Outcome, Store};
use copyist_model::{AssignmentEpoch, AssignmentId, InstanceState, StoreRevision};
use copyist_tests::suite::must;
use copyist_tests::{Etcd, EtcdOptions};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing here takes so long on a machine that is not overloaded beyond all measure.
pub const LIMIT: Duration = Duration::from_secs(60);

/// An etcd that the tests share; each has a prefix of its own, and harms nobody.
pub fn shared() -> &'static Etcd {
    static ETCD: OnceLock<Etcd> = OnceLock::new();
    ETCD.get_or_init(|| start(EtcdOptions::named("etcd")))
}

pub fn start(options: EtcdOptions) -> Etcd {
    blocking(|| Etcd::start(options))
}

/// What waits for processes.
pub fn blocking<T>(work: impl FnOnce() -> copyist_tests::Result<T>) -> T {
    tokio::task::block_in_place(|| must("etcd", work()))
}

/// A prefix that nobody else has.
pub fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("copyist/fleet-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What a coordinator knows of etcd. Leases outlast whatever a busy machine does to a test that waits for no end of one.
pub fn settings(endpoints: Vec<String>, prefix: &str, name: &str) -> Settings {
    Settings {
        endpoints,
        prefix: prefix.to_owned(),
        user: None,
        tls: None,
        leader_ttl: Duration::from_secs(15),
        agent_ttl: Duration::from_secs(60),
        address: format!("{name}:7447"),
        incarnation: name.to_owned(),
    }
}

/// A coordinator's end of etcd.
pub struct Process {
    pub store: etcd::Etcd,
    pub replica: Replica,
    stop: CancellationToken,
    tasks: JoinHandle<()>,
}

impl Process {
    pub fn open(settings: Settings) -> Process {
        let stop = CancellationToken::new();
        let (store, replica, tasks) = etcd::open(settings, stop.clone());
        Process { store, replica, stop, tasks: tokio::spawn(tasks) }
    }

    /// One that leads, and what it loaded.
    pub async fn leading(settings: Settings) -> (Process, View) {
        let mut process = Process::open(settings);
        let view = process.lead().await;
        (process, view)
    }

    /// Leads, whatever etcd goes through meanwhile.
    pub async fn lead(&mut self) -> View {
        soon("to lead", async {
            loop {
                match self.store.lead().await {
                    Ok(view) => return view,
                    Err(Error::StoreUnreadable(why)) => panic!("{why}"),
                    Err(error) => println!("  cannot lead: {}", chain(&error)),
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
        .await
    }

    pub async fn commit(&mut self, writes: Vec<Write>) -> Result<Outcome, Error> {
        self.store.commit(&commit(writes), 1).await
    }

    pub async fn commit_well(&mut self, writes: Vec<Write>) -> StoreRevision {
        committed(self.commit(writes).await)
    }

    /// An agent's process with its lease and its key.
    pub async fn join(&mut self, holder: &Holder) {
        self.store.grant(holder, None).await.expect("a lease");
        self.commit_well(vec![agent(holder)]).await;
    }

    /// What any replica reads, once it is as expected.
    pub async fn sees(&self, what: &str, is_expected: impl Fn(&View) -> bool) -> View {
        soon(what, async {
            loop {
                match self.replica.view().await {
                    Ok(view) if is_expected(&view) => return view,
                    Ok(_) => {}
                    Err(error) => println!("  cannot read: {}", chain(&error)),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }

    pub async fn leader_is(&self, expected: Leader) {
        let mut leader = self.replica.leader();
        let what = format!("{expected:?} to be told");
        soon(&what, leader.wait_for(|leader| *leader == expected)).await.expect("it is told");
    }

    pub async fn end(mut self) {
        self.store.resign().await;
        self.stop.cancel();
        soon("the end of its tasks", self.tasks).await.expect("no panic");
    }
}

/// A condition with a wide deadline.
pub async fn soon<T>(what: &str, condition: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, condition).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come about within {} s", LIMIT.as_secs()),
    }
}

pub fn chain(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

pub fn holder(agent: &str, incarnation: &str) -> Holder {
    Holder { agent: agent.parse().expect("an agent's id"), incarnation: incarnation.into() }
}

pub fn commit(writes: Vec<Write>) -> Commit {
    Commit { writes, ..Commit::default() }
}

pub fn committed(outcome: Result<Outcome, Error>) -> StoreRevision {
    match outcome {
        Ok(Outcome::Committed(revision)) => revision,
        Ok(Outcome::Refused { gone }) => panic!("refused: {gone:?}"),
        Err(error) => panic!("{}", chain(&error)),
    }
}

pub fn survey(connector: &str) -> AssignmentId {
    AssignmentId::survey(&connector.parse().expect("a name"))
}

pub fn status(connector: &str, trace: &str) -> Write {
    let status = copyist_coordinator::core::Status::new(InstanceState::Running, None, trace.to_owned());
    Write::Status(survey(connector), Some(status))
}

/// The trace stored for a connector.
pub fn trace(view: &View, connector: &str) -> Option<String> {
    view.statuses.get(&survey(connector)).map(|status| status.trace.clone())
}

pub fn agent(holder: &Holder) -> Write {
    let agent = Agent {
        incarnation: holder.incarnation.clone(),
        rack: String::new(),
        labels: BTreeMap::new(),
        drained: false,
    };
    Write::Agent(holder.agent.clone(), Some(agent))
}

pub fn assigned(connector: &str, holder: &Holder) -> Write {
    let epoch = AssignmentEpoch::default();
    let assignment = Assignment { holder: holder.clone(), epoch, former: Vec::new(), pinned: false };
    Write::Assignment(survey(connector), Some(assignment))
}
