//! Records as Kafka's clients see them.

/// A header: names may repeat, values may be null.
pub type Header = (String, Option<Vec<u8>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// A record, to be produced or as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rec {
    pub topic: String,
    /// Produced with `None`: the producer's partitioner chooses. Always there in what was read.
    pub partition: Option<i32>,
    /// Of what was read; without meaning in what is produced.
    pub offset: i64,
    /// Milliseconds since 1970. Produced with `None`: the producer's clock. Always there in what was read.
    pub timestamp: Option<i64>,
    /// Of what was read; without meaning in what is produced.
    pub timestamp_type: TimestampType,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
}

/// What must be the same at both ends of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content<'a> {
    pub partition: Option<i32>,
    pub timestamp: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header],
}

impl Rec {
    /// Null key and value, no headers.
    pub fn new(topic: &str, partition: i32) -> Rec {
        Rec {
            topic: topic.to_owned(),
            partition: Some(partition),
            offset: 0,
            timestamp: None,
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Rec {
        self.key = Some(key.into());
        self
    }

    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Rec {
        self.value = Some(value.into());
        self
    }

    pub fn header(mut self, name: &str, value: Option<&[u8]>) -> Rec {
        self.headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
        self
    }

    pub fn timestamp(mut self, timestamp: i64) -> Rec {
        self.timestamp = Some(timestamp);
        self
    }

    /// All but topic, offset and timestamp type.
    pub fn content(&self) -> Content<'_> {
        Content {
            partition: self.partition,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
        }
    }
}

/// What a transactional producer does, in order. A transaction begins with its first record.
#[derive(Clone, Debug)]
pub enum Step {
    Record(Rec),
    Commit,
    /// The records are written, then aborted.
    Abort,
}
