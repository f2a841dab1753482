//! The leases of agents where the store is embedded: they live in this process. Pure; the driver has the clock.

use std::collections::BTreeMap;

use copyist_model::AgentId;

use crate::core::Holder;

/// Who holds a lease, and since when.
#[derive(Debug)]
pub struct Leases {
    ttl_ms: u64,
    held: BTreeMap<AgentId, (Holder, u64)>,
}

impl Leases {
    #[must_use]
    pub fn new(ttl_ms: u64) -> Self {
        Self { ttl_ms, held: BTreeMap::new() }
    }

    /// A newer process of an agent takes its id at once. Returns the lease that it ends, if there is one.
    pub fn grant(&mut self, holder: Holder, now_ms: u64) -> Option<Holder> {
        let before = self.held.insert(holder.agent.clone(), (holder.clone(), now_ms));
        before.map(|(before, _)| before).filter(|before| *before != holder)
    }

    /// Extends a lease; false when it is gone.
    pub fn renew(&mut self, holder: &Holder, now_ms: u64) -> bool {
        match self.held.get_mut(&holder.agent) {
            Some((held, renewed_ms)) if held == holder => {
                *renewed_ms = now_ms;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Ends the lease of a process, if it is the one that has it; nobody is told.
    pub fn revoke(&mut self, holder: &Holder) {
        if self.held.get(&holder.agent).is_some_and(|(held, _)| held == holder) {
            self.held.remove(&holder.agent);
        }
    }

    /// Ends the leases that were not renewed in time, and says whose.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Holder> {
        let ttl_ms = self.ttl_ms;
        let late = |renewed_ms: u64| now_ms.saturating_sub(renewed_ms) >= ttl_ms;
        let ended: Vec<Holder> =
            self.held.values().filter(|(_, at)| late(*at)).map(|(holder, _)| holder.clone()).collect();
        self.held.retain(|_, (_, renewed_ms)| !late(*renewed_ms));
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(incarnation: &str) -> Holder {
        Holder { agent: "a:1".parse().unwrap(), incarnation: incarnation.into() }
    }

    #[test]
    fn a_lease_lasts_a_ttl_from_its_last_renewal() {
        let mut leases = Leases::new(10);
        assert_eq!(leases.grant(holder("one"), 0), None);
        assert_eq!(leases.expire(9), []);
        assert!(leases.renew(&holder("one"), 9));
        assert_eq!(leases.expire(18), []);
        assert_eq!(leases.expire(19), [holder("one")]);
        assert!(!leases.renew(&holder("one"), 19), "what ended is not renewed");
    }

    #[test]
    fn a_newer_process_takes_the_lease_and_the_older_one_cannot_renew() {
        let mut leases = Leases::new(10);
        leases.grant(holder("one"), 0);
        assert_eq!(leases.grant(holder("one"), 1), None, "the same process says hello again");
        assert_eq!(leases.grant(holder("two"), 2), Some(holder("one")));
        assert!(!leases.renew(&holder("one"), 3) && leases.renew(&holder("two"), 3));
    }

    #[test]
    fn a_process_that_leaves_gives_up_its_own_lease_alone() {
        let mut leases = Leases::new(10);
        leases.grant(holder("two"), 0);
        leases.revoke(&holder("one"));
        assert!(leases.renew(&holder("two"), 1));
        leases.revoke(&holder("two"));
        assert!(!leases.renew(&holder("two"), 2));
        assert_eq!(leases.expire(100), []);
    }
}
