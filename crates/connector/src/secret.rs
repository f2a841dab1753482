//! What of a value may be shown.

use copyist_model::client::is_secret;

/// What Kafka's clients show of a password.
pub(crate) const HIDDEN: &str = "[hidden]";

/// A key's value without secrets: nothing of it where the key is named like a secret, and no login within a URL.
pub(crate) fn shown(name: &str, value: &str) -> String {
    if is_secret(name) {
        return HIDDEN.to_owned();
    }
    value.split(',').map(without_login).collect::<Vec<_>>().join(",")
}

/// `https://user:password@host/path` without user and password.
fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{HIDDEN}@{host}{path}"),
        None => url.to_owned(),
    }
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
            ("schema.registry.url", "https://u:S@h:1/p?q=a@b", "https://[hidden]@h:1/p?q=a@b"),
            ("schema.registry.url", "http://h,http://S@i", "http://h,http://[hidden]@i"),
            ("schema.registry.url", "http://u:S@S@h", "http://[hidden]@h"),
            ("schema.registry.url", "http://h/@", "http://h/@"),
            ("src.kafka.bootstrap.servers", "SASL_SSL://b:9092", "SASL_SSL://b:9092"),
        ];
        for (name, value, expected) in rows {
            assert_eq!(shown(name, value), expected);
        }
    }
}
