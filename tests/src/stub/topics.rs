//! The topics of a stub.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::data::Data;
use super::shape::{Batches, Shape};

/// Where an endless partition ends: nobody gets there.
const FAR: i64 = 1_000_000_000_000_000;
/// What a kept partition holds unless its specification says otherwise.
const KEPT_BYTES: usize = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Serves this shape; `records` is the length of each partition (rounded down to whole batches), `None` endless.
    Endless { shape: Shape, records: Option<i64> },
    /// Holds what is produced, in each partition the newest so many bytes.
    Kept { bytes_max: usize },
    /// Checks and counts; keeps only the first MiB of each producer and partition.
    Dropped,
}

/// `NAME:PARTITIONS:endless:64x1000:lz4[:RECORDS]`, `NAME:PARTITIONS:kept` or `NAME:PARTITIONS:dropped`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: u32,
    pub kind: Kind,
}

impl TopicSpec {
    pub fn new(name: &str, partitions: u32, kind: Kind) -> TopicSpec {
        TopicSpec { name: name.to_owned(), partitions, kind }
    }
}

impl Kind {
    pub const KEPT: Kind = Kind::Kept { bytes_max: KEPT_BYTES };
}

impl FromStr for TopicSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<TopicSpec, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let wrong =
            "it is NAME:PARTITIONS:endless:SHAPE[:RECORDS], NAME:PARTITIONS:kept or NAME:PARTITIONS:dropped";
        let (name, partitions, kind) = match parts.as_slice() {
            [name, partitions, "kept"] => (name, partitions, Kind::KEPT),
            [name, partitions, "dropped"] => (name, partitions, Kind::Dropped),
            [name, partitions, "endless", sizes, codec, records @ ..] if records.len() <= 1 => {
                let shape = format!("{sizes}:{codec}").parse()?;
                let records = records.first().map(|count| count.parse::<i64>());
                let records = records.transpose().map_err(|_| format!("{text}: {wrong}"))?;
                (name, partitions, Kind::Endless { shape, records })
            }
            _ => return Err(format!("{text} is no topic; {wrong}")),
        };
        let partitions = partitions.parse().map_err(|_| format!("{text}: {wrong}"))?;
        Ok(TopicSpec { name: (*name).to_owned(), partitions, kind })
    }
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub name: String,
    pub id: Uuid,
    pub kind: Kind,
    /// What was given at its creation.
    pub configs: BTreeMap<String, String>,
    pub partitions: Vec<Mutex<Data>>,
}

impl Topic {
    /// `timestamp`: of endless records, in milliseconds since 1970.
    ///
    /// # Errors
    /// Those of the shape's codec.
    pub fn new(
        spec: &TopicSpec,
        configs: BTreeMap<String, String>,
        timestamp: i64,
    ) -> std::io::Result<Topic> {
        let data: Box<dyn Fn() -> Data> = match spec.kind {
            Kind::Endless { shape, records } => {
                let batches = Arc::new(Batches::build(shape, timestamp)?);
                let end = records.unwrap_or(FAR) / batches.records_per_batch * batches.records_per_batch;
                Box::new(move || Data::endless(Arc::clone(&batches), end))
            }
            Kind::Kept { bytes_max } => Box::new(move || Data::kept(bytes_max)),
            Kind::Dropped => Box::new(Data::dropped),
        };
        let partitions = (0..spec.partitions).map(|_| Mutex::new(data())).collect();
        Ok(Topic { name: spec.name.clone(), id: Uuid::new_v4(), kind: spec.kind, configs, partitions })
    }

    pub fn partition(&self, index: i32) -> Option<&Mutex<Data>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Topics {
    pub by_name: BTreeMap<String, Arc<Topic>>,
    names: BTreeMap<Uuid, String>,
}

impl Topics {
    pub fn insert(&mut self, topic: Topic) {
        self.remove(&topic.name);
        self.names.insert(topic.id, topic.name.clone());
        self.by_name.insert(topic.name.clone(), Arc::new(topic));
    }

    pub fn remove(&mut self, name: &str) -> Option<Arc<Topic>> {
        let topic = self.by_name.remove(name)?;
        self.names.remove(&topic.id);
        Some(topic)
    }

    pub fn by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.by_name.get(self.names.get(&id)?)
    }
}
