//! A topic to create, and what to change when the destination refuses it.

use rdkafka::types::RDKafkaErrorCode;

use super::configs::{self, Configs};

/// What a topic is created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blueprint {
    pub partitions: u32,
    pub replication_factor: u16,
    pub configs: Configs,
}

/// What to do about a broker's answer to a creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// It is there, by us or by somebody else.
    Done,
    /// Ask again with as many replicas.
    BoundFactor(u16),
    /// Find out which configs are refused, and ask again without them.
    DropConfigs,
    /// Only a human can change it.
    Refused(String),
    /// Ask again later.
    Later(String),
}

/// Whether the answer is about the topic's configs (a policy may be about them too).
#[must_use]
pub fn refuses_configs(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::InvalidConfig | RDKafkaErrorCode::PolicyViolation)
}

/// Whether only a human can lift the refusal.
#[must_use]
pub fn needs_human(code: RDKafkaErrorCode) -> bool {
    const CODES: [RDKafkaErrorCode; 10] = [
        RDKafkaErrorCode::Authentication,
        RDKafkaErrorCode::SaslAuthenticationFailed,
        RDKafkaErrorCode::UnsupportedSASLMechanism,
        RDKafkaErrorCode::TopicAuthorizationFailed,
        RDKafkaErrorCode::ClusterAuthorizationFailed,
        RDKafkaErrorCode::PolicyViolation,
        RDKafkaErrorCode::InvalidTopic,
        RDKafkaErrorCode::InvalidPartitions,
        RDKafkaErrorCode::InvalidReplicationFactor,
        RDKafkaErrorCode::InvalidConfig,
    ];
    CODES.contains(&code)
}

impl Blueprint {
    #[must_use]
    pub fn reaction(&self, answer: Result<(), RDKafkaErrorCode>, brokers: u16) -> Reaction {
        let code = match answer {
            Ok(()) | Err(RDKafkaErrorCode::TopicAlreadyExists) => return Reaction::Done,
            Err(code) => code,
        };
        let too_many_replicas = code == RDKafkaErrorCode::InvalidReplicationFactor;
        if too_many_replicas && (1..self.replication_factor).contains(&brokers) {
            return Reaction::BoundFactor(brokers);
        }
        if refuses_configs(code) && !self.configs.is_empty() {
            return Reaction::DropConfigs;
        }
        if needs_human(code) {
            return Reaction::Refused(explained(code));
        }
        Reaction::Later(code.to_string())
    }

    pub fn bound_factor(&mut self, brokers: u16) {
        self.replication_factor = brokers;
        configs::bound_in_sync(&mut self.configs, brokers);
    }
}

/// A code with what would help, where that is known.
#[must_use]
pub fn explained(code: RDKafkaErrorCode) -> String {
    let authorization =
        [RDKafkaErrorCode::TopicAuthorizationFailed, RDKafkaErrorCode::ClusterAuthorizationFailed];
    if authorization.contains(&code) {
        return format!(
            "{code}; it takes the right to Create and Alter on the topic, or Create on the cluster"
        );
    }
    if code == RDKafkaErrorCode::InvalidTopic {
        return format!("{code}; a topic whose name differs only in '.' and '_' may exist");
    }
    code.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use RDKafkaErrorCode as Code;

    fn blueprint(replication_factor: u16, configs: &[(&str, &str)]) -> Blueprint {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Blueprint { partitions: 1, replication_factor, configs: configs.iter().map(owned).collect() }
    }

    #[test]
    fn each_answer_has_its_reaction() {
        let plain = blueprint(3, &[]);
        let with_configs = blueprint(3, &[("a", "b")]);
        let label = |reaction: Reaction| match reaction {
            Reaction::Done => "done".to_owned(),
            Reaction::BoundFactor(factor) => format!("factor {factor}"),
            Reaction::DropConfigs => "configs".to_owned(),
            Reaction::Refused(_) => "refused".to_owned(),
            Reaction::Later(_) => "later".to_owned(),
        };
        let rows = [
            (&plain, Ok(()), 1, "done"),
            (&plain, Err(Code::TopicAlreadyExists), 1, "done"),
            (&plain, Err(Code::InvalidReplicationFactor), 2, "factor 2"),
            (&plain, Err(Code::InvalidReplicationFactor), 3, "refused"),
            (&plain, Err(Code::InvalidReplicationFactor), 0, "refused"),
            (&with_configs, Err(Code::InvalidConfig), 3, "configs"),
            (&with_configs, Err(Code::PolicyViolation), 3, "configs"),
            (&plain, Err(Code::InvalidConfig), 3, "refused"),
            (&plain, Err(Code::PolicyViolation), 3, "refused"),
            (&plain, Err(Code::TopicAuthorizationFailed), 3, "refused"),
            (&plain, Err(Code::ClusterAuthorizationFailed), 3, "refused"),
            (&plain, Err(Code::InvalidTopic), 3, "refused"),
            (&plain, Err(Code::InvalidPartitions), 3, "refused"),
            (&plain, Err(Code::RequestTimedOut), 3, "later"),
            (&plain, Err(Code::NotController), 3, "later"),
        ];
        for (blueprint, answer, brokers, expected) in rows {
            assert_eq!(label(blueprint.reaction(answer, brokers)), expected, "{answer:?} with {brokers}");
        }
        assert!(
            matches!(plain.reaction(Err(Code::InvalidTopic), 3), Reaction::Refused(why) if why.contains("'.'"))
        );
    }

    #[test]
    fn fewer_replicas_bound_those_in_sync() {
        let mut bounded = blueprint(3, &[("min.insync.replicas", "2")]);
        bounded.bound_factor(1);
        assert_eq!(bounded, blueprint(1, &[("min.insync.replicas", "1")]));
    }
}
