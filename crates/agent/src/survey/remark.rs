//! What a survey has to say about topics, and to whom: a human, whoever waits, or the log.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{ClusterId, TopicName};

use super::course::Again;

/// Names shown in one remark, and remarks shown in one trace; the rest is counted.
const SHOWN_MAX: usize = 10;

/// One thing to say about some topics; the weightiest sort first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remark {
    /// A human is needed.
    Problem(Problem),
    /// It goes on by itself once something else has happened.
    Wait(Wait),
    /// It goes on, but not as one might think.
    Warning(Warning),
    /// The normal course: it answers "why is this topic not copied?".
    Note(Note),
}

/// Topics are the source's where no other is said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// Named by the user, but Kafka's own.
    InternalNamed,
    /// Named by the user, but a storage topic of this worker.
    StorageNamed,
    OntoItself {
        cluster: ClusterId,
    },
    /// The new name is none that Kafka takes.
    BadName {
        problem: String,
    },
    /// The new name is an internal or a storage topic.
    IntoInternal {
        destination: TopicName,
    },
    /// The source shows no configs, so that the topic cannot be created alike.
    ConfigsUnreadable,
    /// Topics of the destination.
    CreationRefused {
        why: String,
    },
    /// Topics of the destination.
    GrowthRefused {
        why: String,
    },
}

/// Topics are the destination's where no other is said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    /// Listed topics that are not at the source.
    Missing,
    NothingMatches {
        pattern: String,
    },
    /// Topics of the source without a partition so far.
    WithoutPartitions,
    /// The connector may not create them.
    NotCreated,
    /// The connector may not grow them: the source's partitions `from..to` wait.
    NotGrown {
        from: u32,
        to: u32,
    },
    /// On their way.
    NotReady {
        why: String,
    },
}

/// Topics are the destination's where no other is said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// Topics of the source that all go into one.
    Shared {
        destination: TopicName,
    },
    MorePartitions {
        source: u32,
        destination: u32,
    },
    FactorBounded {
        wanted: u16,
        created: u16,
    },
    ConfigsRefused {
        names: BTreeSet<String>,
    },
    /// The source topics that go into one do not agree on these.
    ConfigsDiffer {
        names: BTreeSet<String>,
    },
    /// The source's brokers are too old to tell any.
    ConfigsUntold,
    /// About no topic: the brokers that are asked are not those that the ZooKeeper given knows.
    OtherCluster {
        role: &'static str,
        zookeeper: String,
        told: ClusterId,
        found: ClusterId,
    },
}

/// Why a selected source topic is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    Internal,
    Storage,
    /// It looks like a product of this connector's own renaming, on one cluster.
    OwnCopy,
}

/// Remarks with the topics they are about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remarks(BTreeMap<Remark, BTreeSet<TopicName>>);

impl Remarks {
    pub fn add(&mut self, remark: impl Into<Remark>, topic: &TopicName) {
        self.0.entry(remark.into()).or_default().insert(topic.clone());
    }

    /// A remark about no topic in particular.
    pub fn add_general(&mut self, remark: impl Into<Remark>) {
        self.0.entry(remark.into()).or_default();
    }

    pub fn extend(&mut self, other: Self) {
        for (remark, topics) in other.0 {
            self.0.entry(remark).or_default().extend(topics);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Remark, &BTreeSet<TopicName>)> {
        self.0.iter()
    }

    /// The warnings, and the rest.
    #[must_use]
    pub fn split_warnings(self) -> (Self, Self) {
        let (warnings, rest) =
            self.0.into_iter().partition(|(remark, _)| matches!(remark, Remark::Warning(_)));
        (Self(warnings), Self(rest))
    }

    #[must_use]
    pub fn has_problem(&self) -> bool {
        self.0.keys().any(|remark| matches!(remark, Remark::Problem(_)))
    }

    #[must_use]
    pub fn has_wait(&self) -> bool {
        self.0.keys().any(|remark| matches!(remark, Remark::Wait(_)))
    }

    /// Whether something keeps `topic` from being ready.
    #[must_use]
    pub fn hold(&self, topic: &TopicName) -> bool {
        let holds = |remark: &Remark| matches!(remark, Remark::Problem(_) | Remark::Wait(_));
        self.0.iter().any(|(remark, topics)| holds(remark) && topics.contains(topic))
    }

    /// When it is worth looking again.
    #[must_use]
    pub fn again(&self) -> Again {
        self.0.keys().map(Remark::again).max().unwrap_or(Again::AtPoll)
    }

    /// All but the notes, the weightiest first, as one line.
    #[must_use]
    pub fn trace(&self) -> String {
        let shown = self.0.iter().filter(|(remark, _)| !matches!(remark, Remark::Note(_)));
        let texts: Vec<String> = shown.map(|(remark, topics)| remark.sentence(topics)).collect();
        listed(&texts, "; ")
    }
}

impl Remark {
    fn again(&self) -> Again {
        match self {
            Self::Wait(wait) => wait.again(),
            Self::Problem(_) | Self::Warning(_) | Self::Note(_) => Again::AtPoll,
        }
    }

    #[must_use]
    pub fn sentence(&self, topics: &BTreeSet<TopicName>) -> String {
        let names: Vec<String> = topics.iter().map(ToString::to_string).collect();
        let names = listed(&names, ", ");
        match self {
            Self::Problem(problem) => problem.sentence(&names),
            Self::Wait(wait) => wait.sentence(&names),
            Self::Warning(warning) => warning.sentence(&names),
            Self::Note(note) => note.sentence(&names),
        }
    }
}

impl Wait {
    fn again(&self) -> Again {
        match self {
            Self::NotReady { .. } | Self::WithoutPartitions => Again::Soon,
            // A broker that has just started does not know all topics yet, nor does one when topics were just created.
            Self::Missing | Self::NothingMatches { .. } => Again::SoonAtFirst,
            Self::NotCreated | Self::NotGrown { .. } => Again::AtPoll,
        }
    }
}

impl Problem {
    fn sentence(&self, names: &str) -> String {
        match self {
            Self::InternalNamed => format!("internal topics are never copied: {names}"),
            Self::StorageNamed => format!("storage topics of this worker are never copied: {names}"),
            Self::OntoItself { cluster } => format!(
                "source and destination are the same cluster ({cluster}), so that these topics would be copied \
                 onto themselves: {names} (topic.rename.format must give them another name)"
            ),
            Self::BadName { problem } => format!("{names} cannot be renamed: {problem}"),
            Self::IntoInternal { destination } => {
                format!("{names} cannot be copied into {destination}: that topic is internal")
            }
            Self::ConfigsUnreadable => format!(
                "the source does not show the configs of {names} (it takes the right to DescribeConfigs, or \
                 destination topics that were created by hand)"
            ),
            Self::CreationRefused { why } => format!("the destination refuses to create {names}: {why}"),
            Self::GrowthRefused { why } => {
                format!("the destination refuses to add partitions to {names}: {why}")
            }
        }
    }
}

impl Wait {
    fn sentence(&self, names: &str) -> String {
        match self {
            Self::Missing => format!(
                "waits for topics that do not exist at the source, or that may not be described: {names}"
            ),
            Self::NothingMatches { pattern } => {
                format!("waits for a topic at the source that matches {pattern:?} and may be copied")
            }
            Self::WithoutPartitions => format!("waits for partitions at the source of {names}"),
            Self::NotCreated => {
                format!("waits for destination topics (this connector may not create them): {names}")
            }
            Self::NotGrown { from, to } => format!(
                "partitions from {from} on of the source's {to} wait for partitions at the destination (this \
                 connector may not add them): {names}"
            ),
            Self::NotReady { why } => format!("waits for destination topics: {names} ({why})"),
        }
    }
}

impl Warning {
    fn sentence(&self, names: &str) -> String {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        match self {
            Self::Shared { destination } => {
                format!("several topics are copied into the one topic {destination}: {names}")
            }
            Self::MorePartitions { source, destination } => format!(
                "the destination has more partitions ({destination}) than the source ({source}), and the \
                 others stay without copies: {names}"
            ),
            Self::FactorBounded { wanted, created } => format!(
                "created with replication factor {created} instead of {wanted}, for want of brokers: {names}"
            ),
            Self::ConfigsRefused { names: configs } => {
                format!("created without configs that the destination refuses ({}): {names}", list(configs))
            }
            Self::ConfigsDiffer { names: configs } => format!(
                "created without configs on which the source topics do not agree ({}): {names}",
                list(configs)
            ),
            Self::ConfigsUntold => format!(
                "created without configs, which the source does not tell (Kafka before 0.11): {names}"
            ),
            Self::OtherCluster { role, zookeeper, told, found } => format!(
                "the {role}'s brokers are those of cluster {found}, but its ZooKeeper {zookeeper} is that of \
                 cluster {told}: what the brokers say holds"
            ),
        }
    }
}

impl Note {
    fn sentence(self, names: &str) -> String {
        match self {
            Self::Internal => format!("left out as internal: {names}"),
            Self::Storage => format!("left out as storage topics of this worker: {names}"),
            Self::OwnCopy => {
                format!("left out as copies, by their names, that this connector made itself: {names}")
            }
        }
    }
}

impl From<Problem> for Remark {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Wait> for Remark {
    fn from(wait: Wait) -> Self {
        Self::Wait(wait)
    }
}

impl From<Warning> for Remark {
    fn from(warning: Warning) -> Self {
        Self::Warning(warning)
    }
}

impl From<Note> for Remark {
    fn from(note: Note) -> Self {
        Self::Note(note)
    }
}

/// The first ten, and how many more there are.
fn listed(texts: &[String], separator: &str) -> String {
    let shown = texts.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join(separator);
    match texts.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown}{separator}and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        name.parse().unwrap()
    }

    #[test]
    fn a_trace_has_the_weightiest_first_names_ten_topics_and_keeps_notes_out() {
        let mut remarks = Remarks::default();
        remarks.add(Note::OwnCopy, &topic("t.replica"));
        remarks.add(Warning::MorePartitions { source: 2, destination: 3 }, &topic("wide"));
        (0..12).for_each(|n| remarks.add(Wait::Missing, &topic(&format!("m{n:02}"))));
        remarks.add(Problem::InternalNamed, &topic("__x"));
        assert_eq!(
            remarks.trace(),
            "internal topics are never copied: __x; waits for topics that do not exist at the source, or that \
             may not be described: m00, m01, m02, m03, m04, m05, m06, m07, m08, m09, and 2 more; the \
             destination has more partitions (3) than the source (2), and the others stay without copies: wide"
        );
        assert!(remarks.has_problem() && remarks.has_wait());
    }

    #[test]
    fn what_is_or_may_be_on_its_way_is_worth_another_look_soon() {
        let rows: [(Remark, Again); 9] = [
            (Wait::NotReady { why: "x".into() }.into(), Again::Soon),
            (Wait::WithoutPartitions.into(), Again::Soon),
            (Wait::Missing.into(), Again::SoonAtFirst),
            (Wait::NothingMatches { pattern: "x".into() }.into(), Again::SoonAtFirst),
            (Wait::NotCreated.into(), Again::AtPoll),
            (Wait::NotGrown { from: 1, to: 2 }.into(), Again::AtPoll),
            (Problem::ConfigsUnreadable.into(), Again::AtPoll),
            (Warning::MorePartitions { source: 1, destination: 2 }.into(), Again::AtPoll),
            (Note::Internal.into(), Again::AtPoll),
        ];
        assert_eq!(Remarks::default().again(), Again::AtPoll);
        let mut all = Remarks::default();
        rows.iter().for_each(|(remark, _)| all.add(remark.clone(), &topic("t")));
        assert_eq!(all.again(), Again::Soon);
        for (remark, again) in rows {
            let mut remarks = Remarks::default();
            remarks.add(remark.clone(), &topic("t"));
            assert_eq!(remarks.again(), again, "{remark:?}");
            assert_eq!(remarks.trace().is_empty(), matches!(remark, Remark::Note(_)), "{remark:?}");
        }
    }
}
