//! Versions of the agents' protocol: an agent and a coordinator one version apart work side by side, so that a fleet
//! can be upgraded one process at a time. Pure.
//!
//! Fields and messages may be added without a new version: what one side does not know it skips. A new version is for
//! a change of meaning, and the code that speaks it keeps speaking the version before.

/// The newest version that this program speaks.
pub const CONTROL_PROTOCOL_VERSION: u32 = 1;

/// The oldest version that this program speaks.
pub const CONTROL_PROTOCOL_OLDEST: u32 = 1;

/// Two programs that have no version of the protocol in common.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the agent speaks the versions {agent} of the protocol, and the coordinator {coordinator}: versions of copyist \
     that work side by side are at most one version of the protocol apart"
)]
pub struct NoCommonVersion {
    agent: String,
    coordinator: String,
}

/// The version of a session: the newest that both speak. For the coordinator, with what `Hello` says.
///
/// `agent_oldest` is 0 where an agent does not say it: it speaks `agent_newest` alone.
///
/// # Errors
/// When there is none.
pub fn negotiate(agent_oldest: u32, agent_newest: u32) -> Result<u32, NoCommonVersion> {
    let oldest = if agent_oldest == 0 { agent_newest } else { agent_oldest };
    common((oldest, agent_newest), (CONTROL_PROTOCOL_OLDEST, CONTROL_PROTOCOL_VERSION))
}

/// The version of a session, for the agent, with what `Welcome` says; 0 where a coordinator does not say it: that one
/// speaks version 1.
///
/// # Errors
/// When this program does not speak it.
pub fn agreed(welcomed: u32) -> Result<u32, NoCommonVersion> {
    let version = welcomed.max(1);
    common((CONTROL_PROTOCOL_OLDEST, CONTROL_PROTOCOL_VERSION), (version, version))
}

fn common(agent: (u32, u32), coordinator: (u32, u32)) -> Result<u32, NoCommonVersion> {
    let newest = agent.1.min(coordinator.1);
    if newest >= agent.0.max(coordinator.0) {
        return Ok(newest);
    }
    let text = |(oldest, newest)| format!("{oldest} to {newest}");
    Err(NoCommonVersion { agent: text(agent), coordinator: text(coordinator) })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::control::{AgentMessage, CoordinatorMessage};

    #[test]
    fn the_newest_version_that_both_speak_is_taken() {
        let rows = [
            ((1, 1), (1, 1), Some(1)),
            ((1, 2), (1, 1), Some(1)),
            ((1, 1), (1, 2), Some(1)),
            ((1, 2), (1, 2), Some(2)),
            ((2, 3), (1, 2), Some(2)),
            ((1, 2), (2, 3), Some(2)),
            ((3, 4), (1, 2), None),
            ((1, 2), (3, 4), None),
            // An agent that contradicts itself.
            ((2, 1), (1, 2), None),
        ];
        for (agent, coordinator, expected) in rows {
            assert_eq!(common(agent, coordinator).ok(), expected, "{agent:?} {coordinator:?}");
        }
    }

    #[test]
    fn what_is_not_said_has_its_meaning() {
        assert_eq!(negotiate(0, CONTROL_PROTOCOL_VERSION), Ok(CONTROL_PROTOCOL_VERSION));
        assert!(negotiate(0, CONTROL_PROTOCOL_VERSION + 1).is_err());
        assert_eq!(negotiate(1, CONTROL_PROTOCOL_VERSION + 1), Ok(CONTROL_PROTOCOL_VERSION));
        assert_eq!(agreed(0), agreed(1));
        assert_eq!(agreed(CONTROL_PROTOCOL_VERSION), Ok(CONTROL_PROTOCOL_VERSION));
    }

    #[test]
    fn a_message_of_a_newer_version_is_one_without_content() {
        // Field 50, empty.
        let newer = [0x92, 0x03, 0x00];
        assert_eq!(CoordinatorMessage::decode(&newer[..]), Ok(CoordinatorMessage { message: None }));
        assert_eq!(AgentMessage::decode(&newer[..]), Ok(AgentMessage { message: None }));
    }

    #[test]
    fn a_refusal_names_both_sides() {
        let text = common((3, 4), (1, 2)).unwrap_err().to_string();
        assert!(text.contains("3 to 4") && text.contains("1 to 2"), "{text}");
        assert!(agreed(CONTROL_PROTOCOL_VERSION + 1).is_err());
    }
}
