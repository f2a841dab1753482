//! What a connector wants, typed. The crate `connector` makes it out of Connect's keys; agents get it as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::time::Duration;

use crate::client::ClientProperties;
use crate::name::TopicName;
use crate::rename::RenameFormat;
use crate::zookeeper::ZooKeeper;

/// A regular expression that must match a topic's whole name, as Java's `Pattern.matches` does.
#[derive(Debug, Clone)]
pub struct TopicPattern {
    text: String,
    compiled: fancy_regex::Regex,
}

impl TopicPattern {
    /// # Errors
    /// What is wrong with the expression.
    pub fn parse(text: &str) -> Result<Self, String> {
        let compile = |text: &str| fancy_regex::Regex::new(text).map_err(|error| reason(&error));
        // Alone first: `a)|(b` would become valid by the brackets around it.
        compile(text)?;
        let compiled = compile(&format!("^(?:{text})$"))?;
        Ok(Self { text: text.to_owned(), compiled })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// An expression that gives up on a name (too much backtracking) does not match it.
    #[must_use]
    pub fn matches(&self, topic: &TopicName) -> bool {
        self.compiled.is_match(topic.as_str()).unwrap_or(false)
    }
}

/// In one line. The engine below hides its own reason in a source, whose last line says it.
fn reason(error: &fancy_regex::Error) -> String {
    if let fancy_regex::Error::CompileError(compile) = error
        && let fancy_regex::CompileError::InnerError(build) = compile.as_ref()
        && let Some(source) = build.source()
    {
        let text = source.to_string();
        let last = text.lines().last().unwrap_or_default().trim();
        return last.strip_prefix("error: ").unwrap_or(last).to_owned();
    }
    error.to_string()
}

impl PartialEq for TopicPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TopicPattern {}

/// Which source topics: the blacklist wins, then a name that is listed or that the pattern matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicSelection {
    pub whitelist: BTreeSet<TopicName>,
    pub pattern: Option<TopicPattern>,
    pub blacklist: BTreeSet<TopicName>,
}

impl TopicSelection {
    #[must_use]
    pub fn selects(&self, topic: &TopicName) -> bool {
        if self.blacklist.contains(topic) {
            return false;
        }
        self.whitelist.contains(topic) || self.pattern.as_ref().is_some_and(|pattern| pattern.matches(topic))
    }
}

/// Where a lane without a stored position starts, when it was there at the connector's first survey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    Earliest,
    Latest,
}

/// Where the records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The cluster of the agent's own worker file, with its `producer.*` settings; these override them.
    Worker(ClientProperties),
    /// A cluster of its own (`dest.kafka.bootstrap.servers`).
    Cluster(ClientProperties),
}

/// The ZooKeepers of a connector's clusters, as far as they are given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZooKeepers {
    /// Says where the source's brokers are, when the client properties do not.
    pub source: Option<ZooKeeper>,
    /// Of the destination, whose brokers are always known otherwise: it says whether that is the cluster meant.
    pub destination: Option<ZooKeeper>,
}

/// How destination topics come to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicCreation {
    /// Create and grow destination topics; else missing ones are only waited for.
    pub enabled: bool,
    /// Replication factor of created topics; nothing: the source topic's.
    pub replication_factor: Option<u16>,
    /// `message.timestamp.type` of created topics: `CreateTime` keeps the records' own timestamps.
    pub timestamp_type: String,
    /// Topic configs to set on created topics, over those of the source.
    pub overrides: BTreeMap<String, String>,
}

/// Which engine the user asks for; the one in effect is each lane's own, in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EngineChoice {
    /// Raw where it can be, else the compatibility engine.
    #[default]
    Auto,
    Raw,
    Librdkafka,
}

impl EngineChoice {
    pub const ALL: [Self; 3] = [Self::Auto, Self::Raw, Self::Librdkafka];

    /// As in the key `engine`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Raw => "raw",
            Self::Librdkafka => "librdkafka",
        }
    }
}

/// What a lane does when records are lost to it: the source was truncated or created anew, its retention overtook
/// the copy, or the destination lost what it had acknowledged. Never a silent jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LossPolicy {
    /// Stops and says which offsets.
    #[default]
    Fail,
    /// Goes on behind the gap, which is recorded with its offsets and shown.
    Continue,
    /// Begins a new generation at the source's first offset.
    Restart,
}

impl LossPolicy {
    pub const ALL: [Self; 3] = [Self::Fail, Self::Continue, Self::Restart];

    /// As in the key `loss.policy`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Continue => "continue",
            Self::Restart => "restart",
        }
    }
}

/// On which agents a connector's survey and tasks should run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentChoice {
    /// Only on agents that have all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Rather in one of these racks than elsewhere.
    pub racks: BTreeSet<String>,
}

/// A connector's config, typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorSpec {
    pub selection: TopicSelection,
    pub rename: RenameFormat,
    /// Upper bound of tasks; nothing: one per lane up to [`ConnectorSpec::TASKS_AUTO_MAX`].
    pub tasks_max: Option<u32>,
    /// How to reach the source: properties for every client there. Without `bootstrap.servers`, `zookeepers` has it.
    pub source: ClientProperties,
    pub destination: Destination,
    pub zookeepers: ZooKeepers,
    pub offset_reset: OffsetReset,
    pub engine: EngineChoice,
    pub loss_policy: LossPolicy,
    pub creation: TopicCreation,
    /// Time from one survey to the next.
    pub poll_interval: Duration,
    /// The coordinator's business: agents are not told.
    pub agents: AgentChoice,
}

impl ConnectorSpec {
    /// Tasks of a connector that sets no `tasks.max`: enough to spread over a fleet, few enough to read.
    pub const TASKS_AUTO_MAX: u32 = 256;

    #[must_use]
    pub fn tasks_bound(&self) -> u32 {
        self.tasks_max.unwrap_or(Self::TASKS_AUTO_MAX)
    }

    /// Whether going from `self` to `other` changes what the tasks are (selection, renaming, `tasks.max`,
    /// clients, engine), so that all of them are released and made anew; any other change reaches running tasks.
    #[must_use]
    pub fn needs_new_generation(&self, other: &Self) -> bool {
        let identity = |spec: &Self| {
            let Self { selection, rename, tasks_max, source, destination, zookeepers, engine, .. } =
                spec.clone();
            (selection, rename, tasks_max, source, destination, zookeepers, engine)
        };
        identity(self) != identity(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        name.parse().unwrap()
    }

    #[test]
    fn the_blacklist_wins_then_the_list_or_the_pattern() {
        let selection = TopicSelection {
            whitelist: [topic("listed"), topic("both")].into(),
            pattern: Some(TopicPattern::parse("log-.*|x").unwrap()),
            blacklist: [topic("both"), topic("log-b")].into(),
        };
        let rows = [
            ("listed", true),
            ("both", false),
            ("log-a", true),
            ("log-b", false),
            ("x", true),
            ("xy", false),
            ("my-log-a", false),
        ];
        for (name, selected) in rows {
            assert_eq!(selection.selects(&topic(name)), selected, "{name}");
        }
        assert!(!TopicSelection::default().selects(&topic("listed")));
    }

    #[test]
    fn patterns_know_javas_lookahead_and_say_what_is_wrong() {
        let pattern = TopicPattern::parse("(?!secret)[a-z]+").unwrap();
        assert!(pattern.matches(&topic("open")) && !pattern.matches(&topic("secretx")));
        assert!(TopicPattern::parse("a(").is_err());
        assert!(TopicPattern::parse("a)|(b").is_err());
        let reversed = TopicPattern::parse("[z-a]").unwrap_err();
        assert!(reversed.starts_with("invalid character class range"), "{reversed}");
    }

    type Change = (&'static str, fn(&mut ConnectorSpec), bool);

    #[test]
    fn only_what_the_tasks_are_needs_a_new_generation() {
        let spec = ConnectorSpec {
            selection: TopicSelection::default(),
            rename: RenameFormat::identity(),
            tasks_max: None,
            source: ClientProperties::default(),
            destination: Destination::Worker(ClientProperties::default()),
            zookeepers: ZooKeepers::default(),
            offset_reset: OffsetReset::Earliest,
            engine: EngineChoice::Auto,
            loss_policy: LossPolicy::Fail,
            creation: TopicCreation {
                enabled: true,
                replication_factor: None,
                timestamp_type: "CreateTime".into(),
                overrides: BTreeMap::new(),
            },
            poll_interval: Duration::from_secs(120),
            agents: AgentChoice::default(),
        };
        const SECOND: Duration = Duration::from_secs(1);
        let rows: [Change; 13] = [
            ("nothing", |_| (), false),
            ("selection", |s| s.selection.whitelist = [topic("t")].into(), true),
            ("rename", |s| s.rename = RenameFormat::parse("x").unwrap(), true),
            ("tasks.max", |s| s.tasks_max = Some(3), true),
            ("source", |s| drop(s.source.0.insert("a".into(), "b".into())), true),
            ("destination", |s| s.destination = Destination::Cluster(ClientProperties::default()), true),
            ("zookeepers", |s| s.zookeepers.source = ZooKeeper::parse("z", SECOND, SECOND).ok(), true),
            ("reset", |s| s.offset_reset = OffsetReset::Latest, false),
            ("engine", |s| s.engine = EngineChoice::Raw, true),
            ("loss policy", |s| s.loss_policy = LossPolicy::Continue, false),
            ("creation", |s| s.creation.enabled = false, false),
            ("agents", |s| s.agents.racks = ["r".to_owned()].into(), false),
            ("interval", |s| s.poll_interval = Duration::from_secs(1), false),
        ];
        for (label, change, expected) in rows {
            let mut changed = spec.clone();
            change(&mut changed);
            assert_eq!(spec.needs_new_generation(&changed), expected, "{label}");
        }
        assert_eq!(spec.tasks_bound(), 256);
    }
}
