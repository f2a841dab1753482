//! Which agent takes which part: one pure function from what there is ([`Fleet`]) to what is to change ([`Plan`]).
//!
//! The rules, in order; lanes are the load, and a survey weighs as one lane:
//! - a part stays with its holder; one without a holder that lives goes to the agent with the least lanes, the heaviest
//!   part first, the first agent by name of several;
//! - an agent takes only parts whose wanted labels it has, and nothing while it drains or is not connected;
//! - what is with an agent that drains, or that lacks the labels, goes to another one; it stays if no other may have it;
//! - a rack that a part prefers is taken before others up to an equal share, and beyond that among equals;
//! - a part that an operator put somewhere is moved for no balance;
//! - an agent gives parts away as long as it has more lanes on top of the idlest agent than its heaviest part.
//!
//! The heaviest part is what is tolerated, not the lightest: else the parts of an agent that left, added to others,
//! would push away what those had. So a plan moves nothing that its own result would move again, what an agent leaves
//! behind moves alone, and who comes takes from the others no more than its share and one part.

mod balance;
mod loads;

use std::collections::BTreeMap;

use copyist_model::{AgentId, AssignmentId};

/// What an agent says of itself, or what a part wants to hear.
pub type Labels = BTreeMap<String, String>;

/// All living agents, and all parts that should run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fleet {
    pub agents: BTreeMap<AgentId, Candidate>,
    pub parts: BTreeMap<AssignmentId, Placed>,
}

/// A living agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub standing: Standing,
    /// Empty: none.
    pub rack: String,
    pub labels: Labels,
}

/// What an agent may do with parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Takes parts, and gives some away for balance.
    Takes,
    /// Keeps what it has, and takes nothing: it could not be told.
    Keeps,
    /// Gives all away.
    Drains,
}

/// A part, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// In lanes; nothing weighs less than one.
    pub weight: usize,
    pub hold: Hold,
    /// Only an agent that has all of these may take the part.
    pub wants: Labels,
    /// Racks that the part is rather in than elsewhere.
    pub prefers: Vec<String>,
    /// Whether an operator put it where it is, or where it goes.
    pub pinned: bool,
}

/// Who has a part. An agent that is not in the fleet does not live, and has nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    Nobody,
    Agent(AgentId),
    /// `from` was told to release it. It counts where it goes.
    Moving {
        from: AgentId,
        to: AgentId,
    },
}

/// What is to change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Parts without a living holder, and who takes them. A part that is not here may go to no agent.
    pub taken: BTreeMap<AssignmentId, AgentId>,
    /// In the order in which they do the most good, if not all are done at once.
    pub moves: Vec<Move>,
}

/// A part that its living holder is to release for another agent; one that moves already only goes elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub id: AssignmentId,
    pub from: AgentId,
    pub to: AgentId,
}

/// Where everything goes.
#[must_use]
pub fn place(fleet: &Fleet) -> Plan {
    let mut work = balance::Work::new(fleet);
    work.place_homeless();
    work.balance();
    work.plan()
}

#[cfg(test)]
mod figures;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
