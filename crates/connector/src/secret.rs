//! What of a value may be shown.

use copyist_model::client::is_secret;

/// What Kafka's clients show of a password.
pub(crate) const HIDDEN: &str = "[hidden]";

/// A key's value without secrets: nothing of it where the key is named like a secret, and no login within a URL.
pub(crate) fn shown(name: &str, value: &str) -> String {
    if is_secret(name) {
        return HIDDEN.to_owned();
    }
    without_logins(value)
}

/// A list of `https://user:password@host/path` without users and passwords. A password may hold any of the characters that
/// end it elsewhere: rather too much is hidden, all from a scheme to the last `@` before the next one.
fn without_logins(urls: &str) -> String {
    let mut parts = urls.split("://");
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut rest = parts.peekable();
    while let Some(part) = rest.next() {
        text.push_str("://");
        // Before the next `://` stands its scheme, behind the comma that begins its entry.
        let next = rest.peek().and_then(|_| part.rfind(',')).unwrap_or(part.len());
        let (url, behind) = part.split_at(next);
        match url.rsplit_once('@') {
            Some((_, host)) => {
                text.push_str(HIDDEN);
                text.push('@');
                text.push_str(host);
            }
            None => text.push_str(url),
        }
        text.push_str(behind);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_secrets_nor_logins_are_shown() {
        let rows = [
            ("topic.whitelist", "a,b", "a,b"),
            ("src.kafka.sasl.jaas.config", "S", "[hidden]"),
            ("x.password", "", "[hidden]"),
            ("schema.registry.url", "https://u:S@h:1/p", "https://[hidden]@h:1/p"),
            ("schema.registry.url", "https://u:S,S/S@h:1/p,http://i", "https://[hidden]@h:1/p,http://i"),
            ("schema.registry.url", "http://h,http://S@i", "http://h,http://[hidden]@i"),
            ("schema.registry.url", "http://u:S@S@h", "http://[hidden]@h"),
            ("schema.registry.url", "http://h/@", "http://[hidden]@"),
            ("src.kafka.bootstrap.servers", "SASL_SSL://b:9092", "SASL_SSL://b:9092"),
        ];
        for (name, value, expected) in rows {
            assert_eq!(shown(name, value), expected);
        }
    }
}
