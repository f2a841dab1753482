//! Which engine copies a connector's lanes, and why. Pure.

use copyist_kafka::ClientOptions;
use copyist_model::{ClientProperties, EngineChoice};

/// What was chosen.
#[derive(Debug, Clone)]
pub enum Choice {
    /// With how to connect to source and destination.
    Raw(Box<[ClientOptions; 2]>),
    Librdkafka,
    /// The user asked for what cannot be.
    Impossible(String),
}

impl Choice {
    /// As the status says it.
    #[must_use]
    pub fn sentence(&self, why: &str) -> String {
        match self {
            Self::Raw(_) => format!("copied exactly once by the raw engine ({why})"),
            Self::Librdkafka => format!("copied at least once by the librdkafka engine ({why})"),
            Self::Impossible(what) => format!("not copied: {what}"),
        }
    }
}

/// Chooses, and says why in words for the user.
#[must_use]
pub fn choose(
    asked: EngineChoice,
    source: &ClientProperties,
    destination: &ClientProperties,
    client_id: &str,
) -> (Choice, String) {
    let options = |role: &str, properties: &ClientProperties| {
        let mut options =
            ClientOptions::parse(properties).map_err(|error| format!("the {role}'s clients: {error}"))?;
        if properties.get("client.id").is_none() {
            client_id.clone_into(&mut options.connection.client_id);
        }
        Ok::<_, String>(options)
    };
    let both = match (options("source", source), options("destination", destination)) {
        (Ok(source), Ok(destination)) => Ok(Box::new([source, destination])),
        (Err(one), Err(other)) => Err(format!("{one}; {other}")),
        (Err(why), Ok(_)) | (Ok(_), Err(why)) => Err(why),
    };
    match (asked, both) {
        (EngineChoice::Librdkafka, _) => (Choice::Librdkafka, "engine=librdkafka".to_owned()),
        (EngineChoice::Raw, Ok(options)) => (Choice::Raw(options), "engine=raw".to_owned()),
        (EngineChoice::Raw, Err(why)) => (Choice::Impossible(format!("engine=raw cannot copy: {why}")), why),
        (EngineChoice::Auto, Ok(options)) => {
            (Choice::Raw(options), "engine=auto, and it can speak to both clusters".to_owned())
        }
        (EngineChoice::Auto, Err(why)) => (Choice::Librdkafka, format!("engine=auto, and raw cannot: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> ClientProperties {
        ClientProperties(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn each_row() {
        let plain = properties(&[("bootstrap.servers", "a:1")]);
        let sasl = properties(&[("bootstrap.servers", "b:1"), ("security.protocol", "SASL_PLAINTEXT")]);
        let rows = [
            (EngineChoice::Auto, &plain, &plain, "raw", "engine=auto, and it can"),
            (
                EngineChoice::Auto,
                &sasl,
                &plain,
                "librdkafka",
                "the source's clients: security.protocol SASL_PLAINTEXT",
            ),
            (EngineChoice::Auto, &plain, &sasl, "librdkafka", "the destination's clients"),
            (EngineChoice::Raw, &plain, &plain, "raw", "engine=raw"),
            (EngineChoice::Raw, &sasl, &sasl, "impossible", "SASL_PLAINTEXT"),
            (EngineChoice::Librdkafka, &plain, &plain, "librdkafka", "engine=librdkafka"),
        ];
        for (asked, source, destination, expected, reason) in rows {
            let (choice, why) = choose(asked, source, destination, "me");
            let chosen = match &choice {
                Choice::Raw(_) => "raw",
                Choice::Librdkafka => "librdkafka",
                Choice::Impossible(_) => "impossible",
            };
            assert_eq!(chosen, expected, "{asked:?}: {why}");
            assert!(why.contains(reason), "{why}");
            let sentence = choice.sentence(&why);
            let once = sentence.contains("exactly once by the raw");
            assert_eq!(
                (once, sentence.contains("not copied")),
                (expected == "raw", expected == "impossible")
            );
            assert!(sentence.contains(reason), "{sentence}");
        }
    }

    #[test]
    fn clients_are_named_unless_the_user_did() {
        let plain = properties(&[("bootstrap.servers", "a:1")]);
        let named = properties(&[("bootstrap.servers", "a:1"), ("client.id", "mine")]);
        let (choice, _) = choose(EngineChoice::Auto, &plain, &named, "ours");
        let Choice::Raw(options) = choice else { panic!("{choice:?}") };
        let [source, destination] = *options;
        assert_eq!(
            (source.connection.client_id.as_str(), destination.connection.client_id.as_str()),
            ("ours", "mine")
        );
    }
}
