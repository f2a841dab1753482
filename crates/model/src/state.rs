//! States, as Connect names them.

use std::fmt;
use std::str::FromStr;

/// What the user wants of a connector. Kept apart from its config, as in Connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetState {
    Running,
    Paused,
    Stopped,
}

impl TargetState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Stopped => "STOPPED",
        }
    }
}

impl FromStr for TargetState {
    type Err = String;

    /// Any case, as Connect's `initial_state`.
    fn from_str(state: &str) -> Result<Self, String> {
        match state.to_ascii_uppercase().as_str() {
            "RUNNING" => Ok(Self::Running),
            "PAUSED" => Ok(Self::Paused),
            "STOPPED" => Ok(Self::Stopped),
            _ => Err(format!("initial_state {state:?} is none of RUNNING, PAUSED, STOPPED")),
        }
    }
}

/// What a connector or a task is doing (Connect's `AbstractStatus.State` without DESTROYED).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceState {
    /// Not with an agent, or not at both ends yet; the trace says what it waits for.
    Unassigned,
    /// Each lane has reached both its leaders. An outage keeps it; the trace then says so.
    Running,
    Paused,
    Stopped,
    /// A human is needed; the trace says for what.
    Failed,
    Restarting,
}

impl InstanceState {
    pub const ALL: [Self; 6] =
        [Self::Unassigned, Self::Running, Self::Paused, Self::Stopped, Self::Failed, Self::Restarting];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unassigned => "UNASSIGNED",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Stopped => "STOPPED",
            Self::Failed => "FAILED",
            Self::Restarting => "RESTARTING",
        }
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_states_parse_in_any_case_and_print_as_connect_does() {
        for state in [TargetState::Running, TargetState::Paused, TargetState::Stopped] {
            assert_eq!(state.as_str().to_lowercase().parse(), Ok(state));
        }
        let refused = "WHAT".parse::<TargetState>().unwrap_err();
        assert!(refused.contains("WHAT") && refused.contains("PAUSED"), "{refused}");
    }

    #[test]
    fn instance_states_print_as_connect_does() {
        let names: Vec<_> = InstanceState::ALL.iter().map(|state| state.as_str()).collect();
        assert_eq!(names, ["UNASSIGNED", "RUNNING", "PAUSED", "STOPPED", "FAILED", "RESTARTING"]);
    }
}
