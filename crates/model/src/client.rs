//! Properties for a Kafka client, as the user wrote them (Kafka's names), with values that do not print.

use std::collections::BTreeMap;
use std::fmt;

/// Kafka client properties by name; of a connector with `${…}` references, until an agent has resolved them. Any of
/// them may be a secret then, so `Debug` shows few.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ClientProperties(pub BTreeMap<String, String>);

impl ClientProperties {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `bootstrap.servers`, or nothing.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        self.get("bootstrap.servers").unwrap_or_default()
    }
}

impl fmt::Debug for ClientProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: [&str; 3] = ["bootstrap.servers", "security.protocol", "sasl.mechanism"];
        let show = |name: &str| SHOWN.contains(&name);
        let shown = self.0.iter().map(|(name, value)| (name, if show(name) { value } else { "[hidden]" }));
        f.debug_map().entries(shown).finish()
    }
}

/// Whether a property's value is a secret, by its name (Kafka's PASSWORD-typed client keys, and anything that
/// is named like one).
#[must_use]
pub fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 8] = [
        "password",
        "secret",
        "jaas",
        "token",
        "credential",
        "keystore.key",
        "ssl.key",
        "basic.auth.user.info",
    ];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_secrets() {
        let properties: BTreeMap<String, String> = [
            ("bootstrap.servers", "b:9092"),
            ("sasl.jaas.config", "S1"),
            ("ssl.key.password", "S2"),
            ("ssl.keystore.key", "S3"),
            ("sasl.oauthbearer.client.secret", "S4"),
            // A reference may stand anywhere.
            ("client.id", "S5"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let shown = format!("{:?}", ClientProperties(properties));
        assert!(shown.contains("b:9092") && shown.contains("[hidden]"), "{shown}");
        assert!(["S1", "S2", "S3", "S4", "S5"].iter().all(|secret| !shown.contains(secret)), "{shown}");
    }
}
