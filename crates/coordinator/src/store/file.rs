//! The embedded store's file (redb), for one process. Every key keeps the revision of its last writing, and
//! the revision counter is durable, so that epochs rise over restarts.

use std::path::{Path, PathBuf};

use copyist_model::StoreRevision;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::{Outcome, keys};
use crate::core::view::{Meta, View, Write};
use crate::core::{Commit, Holder};
use crate::error::Error;

/// Key → revision of its last writing, value.
const VALUES: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("values");
/// `revision` → the last commit's revision; `layout` → the version of these tables.
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const LAYOUT: u64 = 1;
/// What goes with the leases.
const OF_LEASES: [&str; 3] = ["agents/", "assignments/", "releases/"];

/// An open store file. Nobody else can open it.
#[derive(Debug)]
pub struct StoreFile {
    database: Database,
}

impl StoreFile {
    /// Opens the file or makes it, and loads what it holds.
    ///
    /// Leases live in the process: whoever opens the file knows that all former ones ended with the process
    /// that had it. So agents and assignments go here, and nobody waits for a former holder's right to end.
    ///
    /// # Errors
    /// [`Error::StoreUnreadable`] when the file is damaged, of another version, or held by another process;
    /// [`Error::Store`] when the disk does not do its part.
    pub fn open(path: &Path) -> Result<(Self, View), Error> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| failed(path, "the folder of the store cannot be made", error))?;
        }
        let database = Database::create(path).map_err(|error| refused_file(path, error))?;
        let store = Self { database };
        store.prepare(path)?;
        let view = store.load()?;
        Ok((store, view))
    }

    fn prepare(&self, path: &Path) -> Result<(), Error> {
        let transaction = self.database.begin_write().map_err(|error| broken("begin", error))?;
        {
            let mut counters = transaction.open_table(COUNTERS).map_err(|error| broken("open", error))?;
            let layout = counters.get("layout").map_err(|error| broken("read", error))?.map(|v| v.value());
            match layout {
                None => drop(counters.insert("layout", LAYOUT).map_err(|error| broken("write", error))?),
                Some(LAYOUT) => {}
                Some(other) => return Err(other_layout(path, other)),
            }
            let mut values = transaction.open_table(VALUES).map_err(|error| broken("open", error))?;
            values
                .retain(|key, _| !OF_LEASES.iter().any(|family| key.starts_with(family)))
                .map_err(|error| broken("write", error))?;
            if values.get("meta").map_err(|error| broken("read", error))?.is_none() {
                let store_id = uuid::Uuid::new_v4().to_string();
                let (key, value) =
                    keys::encode(&Write::Meta(Meta { store_id, incarnation: 1, destination: None }), 1);
                let value = value.unwrap_or_default();
                values.insert(key.as_str(), (0, value.as_slice())).map_err(|error| broken("write", error))?;
            }
        }
        transaction.commit().map_err(|error| broken("commit", error))
    }

    fn load(&self) -> Result<View, Error> {
        let transaction = self.database.begin_read().map_err(|error| broken("begin", error))?;
        let values = transaction.open_table(VALUES).map_err(|error| broken("open", error))?;
        let counters = transaction.open_table(COUNTERS).map_err(|error| broken("open", error))?;
        let mut view = View::default();
        for entry in values.iter().map_err(|error| broken("read", error))? {
            let (key, value) = entry.map_err(|error| broken("read", error))?;
            let (revision, bytes) = value.value();
            keys::decode(&mut view, key.value(), bytes, StoreRevision(revision))?;
        }
        let revision = counters.get("revision").map_err(|error| broken("read", error))?;
        view.revision = StoreRevision(revision.map_or(0, |revision| revision.value()));
        Ok(view)
    }

    /// Stores a commit's writes together, on disk when this returns.
    ///
    /// # Errors
    /// [`Error::Store`]: whether it was stored is not known until the file is opened again.
    pub fn commit(&self, commit: &Commit, incarnation: u64) -> Result<Outcome, Error> {
        let transaction = self.database.begin_write().map_err(|error| broken("begin", error))?;
        let revision;
        {
            let mut values = transaction.open_table(VALUES).map_err(|error| broken("open", error))?;
            let gone = gone(commit, &values)?;
            if !gone.is_empty() {
                return Ok(Outcome::Refused { gone });
            }
            let mut counters = transaction.open_table(COUNTERS).map_err(|error| broken("open", error))?;
            let last = counters.get("revision").map_err(|error| broken("read", error))?;
            revision = last.map_or(0, |last| last.value()) + 1;
            counters.insert("revision", revision).map_err(|error| broken("write", error))?;
            for write in &commit.writes {
                let (key, value) = keys::encode(write, incarnation);
                match value {
                    Some(value) => drop(
                        values
                            .insert(key.as_str(), (revision, value.as_slice()))
                            .map_err(|error| broken("write", error))?,
                    ),
                    None => drop(values.remove(key.as_str()).map_err(|error| broken("write", error))?),
                }
            }
        }
        transaction.commit().map_err(|error| broken("commit", error))?;
        Ok(Outcome::Committed(StoreRevision(revision)))
    }
}

/// Who of the processes that the commit counts on has no lease any more.
fn gone(
    commit: &Commit,
    values: &impl ReadableTable<&'static str, (u64, &'static [u8])>,
) -> Result<Vec<Holder>, Error> {
    let mut gone = Vec::new();
    for holder in &commit.alive {
        let (key, _) = keys::encode(&Write::Agent(holder.agent.clone(), None), 0);
        let mut view = View::default();
        if let Some(value) = values.get(key.as_str()).map_err(|error| broken("read", error))? {
            let (revision, bytes) = value.value();
            keys::decode(&mut view, &key, bytes, StoreRevision(revision))?;
        }
        if !view.is_alive(holder) {
            gone.push(holder.clone());
        }
    }
    Ok(gone)
}

fn broken(step: &str, error: impl Into<redb::Error>) -> Error {
    Error::Store { what: format!("the store failed to {step}"), source: Box::new(error.into()) }
}

fn failed(path: &Path, what: &str, error: std::io::Error) -> Error {
    Error::Store { what: format!("{what} ({})", path.display()), source: Box::new(error) }
}

fn other_layout(path: &Path, layout: u64) -> Error {
    Error::StoreUnreadable(format!(
        "the store file {} has layout {layout}, and this version of copyist reads layout {LAYOUT}: run the \
         version that wrote it, or point store.path at another file",
        path.display()
    ))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "redb's enum is non-exhaustive")]
fn refused_file(path: &Path, error: DatabaseError) -> Error {
    let file: PathBuf = path.into();
    let unreadable = |why: String| {
        Error::StoreUnreadable(format!(
            "the store file {} cannot be used: {why}; restore it from a copy, or move it away and create the \
             connectors again (positions are kept in Kafka)",
            file.display()
        ))
    };
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::StoreUnreadable(format!(
            "the store file {} is in use by another process: stop it, or give this one a store.path of its own",
            file.display()
        )),
        DatabaseError::UpgradeRequired(version) => {
            unreadable(format!("it is of redb's file format {version}, which is another version's"))
        }
        DatabaseError::RepairAborted => unreadable("it is damaged".to_owned()),
        DatabaseError::Storage(StorageError::Corrupted(why)) => unreadable(format!("it is damaged ({why})")),
        DatabaseError::Storage(StorageError::Io(error))
            if matches!(
                error.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            unreadable(format!("it is no store file, or cut short ({error})"))
        }
        other => broken("open its file", other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::view::{Agent, Status};
    use copyist_model::{
        AssignmentId, Engine, InstanceState, LaneEnd, LaneGeneration, LaneId, LaneRecord, TopicId,
    };
    use std::collections::BTreeMap;

    fn commit(writes: Vec<Write>) -> Commit {
        Commit { writes, ..Commit::default() }
    }

    fn status(trace: &str) -> Write {
        let id = AssignmentId::survey(&"c".parse().unwrap());
        Write::Status(id, Some(Status::new(InstanceState::Running, None, trace.to_owned())))
    }

    fn agent(incarnation: &str) -> Write {
        let agent = Agent {
            incarnation: incarnation.into(),
            rack: String::new(),
            labels: BTreeMap::new(),
            drained: false,
        };
        Write::Agent("a:1".parse().unwrap(), Some(agent))
    }

    #[test]
    fn what_was_committed_is_there_after_reopening_and_revisions_rise() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/store");
        let (store, empty) = StoreFile::open(&path).unwrap();
        assert_eq!(
            store.commit(&commit(vec![status("1")]), 1).unwrap(),
            Outcome::Committed(StoreRevision(1))
        );
        assert_eq!(
            store.commit(&commit(vec![status("2")]), 1).unwrap(),
            Outcome::Committed(StoreRevision(2))
        );
        drop(store);
        let (_, view) = StoreFile::open(&path).unwrap();
        assert_eq!(view.statuses.values().next().unwrap().trace, "2");
        assert_eq!(view.revision, StoreRevision(2));
        assert_eq!(view.meta, empty.meta);
        assert!(!view.meta.store_id.is_empty());
    }

    fn lane(connector: &str, cluster: &str) -> LaneRecord {
        let end = |cluster: &str| LaneEnd {
            cluster: cluster.parse().unwrap(),
            topic: "t".parse().unwrap(),
            topic_id: TopicId::NONE,
            partition: 0,
        };
        let (connector, source_cluster) = (connector.parse().unwrap(), cluster.parse().unwrap());
        LaneRecord {
            lane: LaneId { connector, source_cluster, topic: "t".parse().unwrap(), partition: 0 },
            generation: LaneGeneration(1),
            engine: Engine::Librdkafka,
            source: end(cluster),
            destination: end("d"),
            producer_id: -1,
            base_n: 0,
            base_offset: 0,
            base_source_offset: 0,
            shared: false,
        }
    }

    #[test]
    fn lane_records_of_oddly_named_lanes_are_there_after_reopening_and_go_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (store, _) = StoreFile::open(&path).unwrap();
        let records = [lane("a/b", "ñ"), lane("a", "b/ñ"), lane("a b%", "/")];
        let write = |record: &LaneRecord| Write::Lane(record.lane.clone(), Some(record.clone().into()));
        store.commit(&commit(records.iter().map(write).collect()), 1).unwrap();
        drop(store);
        let (store, view) = StoreFile::open(&path).unwrap();
        assert_eq!(view.lanes, records.iter().map(|it| (it.lane.clone(), it.clone().into())).collect());
        store.commit(&commit(vec![Write::Lane(records[0].lane.clone(), None)]), 1).unwrap();
        drop(store);
        let (_, view) = StoreFile::open(&path).unwrap();
        assert_eq!(view.lanes.len(), 2);
        assert!(!view.lanes.contains_key(&records[0].lane));
    }

    #[test]
    fn a_commit_counts_on_living_processes_and_leases_end_with_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (store, _) = StoreFile::open(&path).unwrap();
        let alive = |incarnation: &str| Commit {
            alive: vec![Holder { agent: "a:1".parse().unwrap(), incarnation: incarnation.into() }],
            writes: vec![status("x")],
            sends: Vec::new(),
        };
        let refused = |incarnation: &str| Outcome::Refused { gone: alive(incarnation).alive };
        assert_eq!(store.commit(&alive("one"), 1).unwrap(), refused("one"));
        store.commit(&commit(vec![agent("one")]), 1).unwrap();
        assert_eq!(store.commit(&alive("two"), 1).unwrap(), refused("two"));
        assert_eq!(store.commit(&alive("one"), 1).unwrap(), Outcome::Committed(StoreRevision(2)));
        drop(store);
        let (_, view) = StoreFile::open(&path).unwrap();
        assert!(view.agents.is_empty());
    }

    #[test]
    fn a_second_process_is_told_who_is_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let _held = StoreFile::open(&path).unwrap();
        let error = StoreFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("in use") && error.contains("store.path"), "{error}");
    }

    #[test]
    fn files_that_are_cut_short_foreign_or_of_another_version_end_in_one_clear_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let (store, _) = StoreFile::open(&path).unwrap();
        store.commit(&commit(vec![status("x")]), 1).unwrap();
        drop(store);
        let whole = std::fs::read(&path).unwrap();
        for length in [1, 100, 4096, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = StoreFile::open(&path).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{length}: {error}");
        }
        std::fs::write(&path, "bootstrap.servers=localhost:9092\n".repeat(500)).unwrap();
        assert!(matches!(StoreFile::open(&path), Err(Error::StoreUnreadable(_))));

        std::fs::remove_file(&path).unwrap();
        let (store, _) = StoreFile::open(&path).unwrap();
        let transaction = store.database.begin_write().unwrap();
        transaction.open_table(COUNTERS).unwrap().insert("layout", 9).unwrap();
        transaction.commit().unwrap();
        drop(store);
        let error = StoreFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("layout 9"), "{error}");
    }
}
