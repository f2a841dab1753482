//! The connector classes: by which names they are known, and which keys they have.

use copyist_model::ConnectorSpec;

use crate::clients::{self, ClientKey, IgnoredKey, Side};
use crate::framework;
use crate::given::Given;
use crate::key::{Key, Section, keys};
use crate::rejection::Problem;
use crate::replicator;

/// A connector class.
#[derive(Debug)]
pub struct Class {
    pub simple_name: &'static str,
    /// As plugins are listed.
    pub full_name: &'static str,
    /// Whether the simple name is known in every Java package.
    pub any_package: bool,
    pub sections: &'static [Section],
    /// Keys known by how they begin; the more special beginning stands first.
    pub families: &'static [Family],
    /// What is wrong with the keys together, each of them being right.
    pub rules: fn(&Given<'_>) -> Vec<Problem>,
    /// The spec and its warnings, of a config without problems.
    pub assemble: fn(&Given<'_>) -> (ConnectorSpec, Vec<String>),
}

/// All keys that begin alike.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    pub prefix: &'static str,
    pub members: Members,
}

/// What may follow a family's prefix.
#[derive(Debug, Clone, Copy)]
pub enum Members {
    /// Any Kafka client key, for the clients of one side.
    Clients(Side),
    /// Anything, without effect for this reason.
    Ignored(&'static str),
}

/// What a class knows about a key.
#[derive(Debug, Clone, Copy)]
pub enum Definition {
    /// In Connect's or the class's table.
    Own(&'static Key),
    /// A client key, under a prefix for the clients of `side`.
    Client {
        key: &'static ClientKey,
        side: Side,
    },
    /// A client key of Kafka's without effect.
    IgnoredClient(IgnoredKey),
    /// Whatever begins so has no effect, for this reason.
    Ignored(&'static str),
    Unknown,
}

impl Definition {
    /// Why this value of the key has no effect, if it is known and has none.
    #[must_use]
    pub fn ignores(self, value: &str) -> Option<&'static str> {
        match self {
            Self::Own(key) if key.effect.ignores(value) => key.effect.reason(key.documentation),
            Self::Client { key, side } if !key.side.includes(side) => Some(side.has_no_such_key()),
            Self::Client { key, .. } if key.effect.ignores(value) => key.effect.reason(key.documentation),
            Self::IgnoredClient(IgnoredKey { reason, .. }) | Self::Ignored(reason) => Some(reason),
            Self::Own(_) | Self::Client { .. } | Self::Unknown => None,
        }
    }
}

pub static CLASSES: [&Class; 2] = [
    &Class {
        simple_name: "EMRReplicatorSourceConnector",
        full_name: "EMRReplicatorSourceConnector",
        any_package: true,
        sections: replicator::SECTIONS,
        families: replicator::FAMILIES,
        rules: replicator::rules,
        assemble: replicator::assemble,
    },
    &Class {
        simple_name: "CopyistSourceConnector",
        full_name: "io.copyist.CopyistSourceConnector",
        any_package: false,
        sections: replicator::SECTIONS,
        families: replicator::FAMILIES,
        rules: replicator::rules,
        assemble: replicator::assemble,
    },
];

impl Class {
    /// By full name, or by one of Connect's aliases: the simple name, with or without `Connector` at its end.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        let name = name.trim();
        CLASSES.into_iter().find(|class| {
            let (package, simple) = name.rsplit_once('.').unwrap_or(("", name));
            name == class.full_name
                || name == class.simple_name
                || name == class.alias()
                || (class.any_package && !package.is_empty() && simple == class.simple_name)
        })
    }

    /// The keys that a config of this class can have by full name: Connect's first, then the class's own.
    pub fn own_keys(&self) -> impl Iterator<Item = &'static Key> {
        keys(framework::SECTIONS).chain(keys(self.sections))
    }

    /// The families of Connect's and of this class.
    pub fn families(&self) -> impl Iterator<Item = &'static Family> {
        framework::FAMILIES.iter().chain(self.families)
    }

    /// The name that Connect lets one write for short.
    #[must_use]
    pub fn alias(&self) -> &'static str {
        self.simple_name.strip_suffix("Connector").unwrap_or(self.simple_name)
    }

    #[must_use]
    pub fn define(&self, name: &str) -> Definition {
        if let Some(key) = self.own_keys().find(|key| key.name == name) {
            return Definition::Own(key);
        }
        let member = |family: &'static Family| {
            let rest = name.strip_prefix(family.prefix).filter(|rest| !rest.is_empty())?;
            Some((family, rest))
        };
        let Some((family, rest)) = self.families().find_map(member) else { return Definition::Unknown };
        match family.members {
            Members::Ignored(reason) => Definition::Ignored(reason),
            Members::Clients(side) => match (clients::find(rest), clients::ignored(rest)) {
                (Some(key), _) => Definition::Client { key, side },
                (None, Some(ignored)) => Definition::IgnoredClient(ignored),
                (None, None) => Definition::Unknown,
            },
        }
    }
}
