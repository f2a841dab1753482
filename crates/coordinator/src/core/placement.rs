//! Which agent takes a part.

use std::collections::BTreeMap;

use copyist_model::AgentId;

/// The agent with the least to do, in lanes (a survey weighs as one); the first by name of several. `load`
/// names every living agent.
#[must_use]
pub fn place(load: &BTreeMap<AgentId, usize>) -> Option<AgentId> {
    load.iter().min_by_key(|(_, lanes)| **lanes).map(|(agent, _)| agent.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idlest_agent_takes_it() {
        let placed = |rows: &[(&str, usize)]| {
            let load = rows.iter().map(|(name, lanes)| (name.parse().unwrap(), *lanes)).collect();
            place(&load).map(|agent: AgentId| agent.to_string())
        };
        assert_eq!(placed(&[]), None);
        assert_eq!(placed(&[("a", 3), ("b", 1)]).as_deref(), Some("b"));
        assert_eq!(placed(&[("b", 2), ("a", 2)]).as_deref(), Some("a"));
    }
}
