//! Where a fleet's keys lie in etcd, and which leases its agents have. Pure.

use std::time::Duration;

use copyist_model::AgentId;

use crate::core::{Holder, Write};
use crate::store::keys;

/// The keys of one fleet: all begin with its prefix and a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keyspace {
    /// With the slash.
    prefix: String,
}

/// From the first key, to before the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: Vec<u8>,
    pub(super) to: Vec<u8>,
}

/// Which of a fleet's keys somebody follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All that the store holds.
    All,
    /// All but lane records and answers to requests, which only a leader needs, and which are many.
    Placement,
    /// The agents.
    Agents,
}

impl Keyspace {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: format!("{}/", prefix.trim_end_matches('/')) }
    }

    /// Who leads, under the leader's lease.
    pub(super) fn leader(&self) -> String {
        self.full("leader")
    }

    /// Written by every commit: its revision is that of the last one.
    pub(super) fn head(&self) -> String {
        self.full("head")
    }

    pub(super) fn agent(&self, id: &AgentId) -> String {
        self.full(&keys::encode(&Write::Agent(id.clone(), None), 0).0)
    }

    /// The key of `store::keys` in etcd.
    pub(super) fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// A key as `store::keys` knows it; nothing: it is none of this fleet's.
    pub(super) fn own<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)
    }

    /// What must be read to know all of a scope.
    pub(super) fn ranges(&self, scope: Scope) -> Vec<Range> {
        match scope {
            Scope::All => vec![self.family("")],
            Scope::Agents => vec![self.family("agents/")],
            Scope::Placement => {
                let (lanes, requests) = (self.family("lanes/"), self.family("requests/"));
                let all = self.family("");
                vec![
                    Range { from: all.from, to: lanes.from },
                    Range { from: lanes.to, to: requests.from },
                    Range { from: requests.to, to: all.to },
                ]
            }
        }
    }

    /// What must be watched: one range, as only within one a commit is told as a whole.
    pub(super) fn watched(&self, scope: Scope) -> Range {
        match scope {
            Scope::All | Scope::Placement => self.family(""),
            Scope::Agents => self.family("agents/"),
        }
    }

    fn family(&self, family: &str) -> Range {
        let from = self.full(family).into_bytes();
        // It ends in a slash; what follows a slash in a key's order is '0'.
        let mut to = from.clone();
        to.pop();
        to.push(b'/' + 1);
        Range { from, to }
    }

    /// The lease of an agent's process: any replica can keep it alive without looking it up.
    pub(super) fn lease(&self, holder: &Holder) -> i64 {
        let mut hash = Fnv::default();
        for part in [self.prefix.as_str(), holder.agent.as_str(), holder.incarnation.as_str()] {
            hash.take(&(part.len() as u64).to_be_bytes());
            hash.take(part.as_bytes());
        }
        hash.lease()
    }
}

impl Scope {
    /// Whether a key, as `store::keys` knows it, is of this scope.
    pub(super) fn has(self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Placement => !key.starts_with("lanes/") && !key.starts_with("requests/"),
            Self::Agents => key.starts_with("agents/"),
        }
    }
}

/// FNV-1a with a final mix: the same on every machine and in every version.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// etcd takes 63 bits, and 0 would mean "choose one".
    fn lease(self) -> i64 {
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^= mixed >> 33;
        i64::try_from(mixed >> 1).unwrap_or(i64::MAX).max(1)
    }
}

/// etcd counts leases in whole seconds; what is asked is rounded up.
pub(super) fn lease_seconds(ttl: Duration) -> i64 {
    let whole = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    if ttl.subsec_nanos() == 0 { whole.max(1) } else { whole.saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(agent: &str, incarnation: &str) -> Holder {
        Holder { agent: agent.parse().unwrap(), incarnation: incarnation.into() }
    }

    #[test]
    fn keys_lie_below_the_prefix_and_are_found_again() {
        let keyspace = Keyspace::new("copyist/fleet");
        assert_eq!(keyspace.head(), "copyist/fleet/head");
        assert_eq!(keyspace.agent(&"a:1".parse().unwrap()), "copyist/fleet/agents/a%3A1");
        assert_eq!(keyspace.own(b"copyist/fleet/agents/x"), Some("agents/x"));
        for foreign in ["copyist/fleet2/meta", "copyist/fleet", "other"] {
            assert_eq!(keyspace.own(foreign.as_bytes()), None, "{foreign}");
        }
        assert_eq!(Keyspace::new("copyist/fleet/"), keyspace);
    }

    #[test]
    fn the_ranges_of_a_scope_hold_its_keys_and_no_others() {
        let keyspace = Keyspace::new("p");
        let families = [
            "agents/x",
            "assignments/c/1",
            "connectors/c",
            "head",
            "lanes/c/s/t/1",
            "leader",
            "meta",
            "releases/c/1",
            "requests/1",
            "status/c/1",
            "tasks/c/1",
        ];
        for scope in [Scope::All, Scope::Placement, Scope::Agents] {
            let ranges = keyspace.ranges(scope);
            let is_in = |key: &str| {
                let within =
                    |range: &Range| range.from.as_slice() <= key.as_bytes() && key.as_bytes() < &range.to[..];
                ranges.iter().filter(|range| within(range)).count()
            };
            for family in families {
                let expected = usize::from(scope.has(family));
                assert_eq!(is_in(&keyspace.full(family)), expected, "{scope:?} {family}");
            }
            for foreign in ["p", "p0", "o/meta", "p2/meta", "p/"] {
                assert!(is_in(foreign) == 0 || foreign == "p/", "{scope:?} {foreign}");
            }
        }
        let names = |scope: Scope| families.iter().filter(|family| scope.has(family)).count();
        assert_eq!((names(Scope::All), names(Scope::Placement), names(Scope::Agents)), (11, 9, 1));
    }

    #[test]
    fn leases_are_of_one_process_of_one_agent_of_one_fleet_and_stay_the_same() {
        let (one, other) = (Keyspace::new("p"), Keyspace::new("p2"));
        let mut leases = vec![other.lease(&holder("a:1", "i"))];
        for (agent, incarnation) in [("a:1", "i"), ("a:1", "j"), ("a:2", "i"), ("a:1i", "j"), ("a:11", "i")] {
            leases.push(one.lease(&holder(agent, incarnation)));
        }
        assert!(leases.iter().all(|lease| *lease > 0));
        leases.sort_unstable();
        leases.dedup();
        assert_eq!(leases.len(), 6);
        // Another version of this program must find the same.
        assert_eq!(one.lease(&holder("a:1", "i")), PINNED);
    }

    const PINNED: i64 = 1_508_445_721_866_635_552;

    #[test]
    fn lease_times_are_rounded_up_to_seconds() {
        for (ms, seconds) in [(1, 1), (999, 1), (1000, 1), (1001, 2), (10_000, 10), (0, 1)] {
            assert_eq!(lease_seconds(Duration::from_millis(ms)), seconds, "{ms}");
        }
    }
}
