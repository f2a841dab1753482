//! TLS stores and SASL logins: Java's properties in librdkafka's.

use std::collections::BTreeMap;

use copyist_model::ClientProperties;

use super::{Draft, Problem, jaas};

const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// Handles what concerns security and returns the other properties.
pub(super) fn take(properties: &ClientProperties, draft: &mut Draft) -> BTreeMap<String, String> {
    let mut rest = properties.0.clone();
    trust_store(&mut rest, draft);
    key_store(&mut rest, draft);
    sasl(&mut rest, draft);
    if let Some(algorithm) = rest.remove("ssl.endpoint.identification.algorithm") {
        let name = "ssl.endpoint.identification.algorithm";
        draft.set(name, name, if algorithm.trim().is_empty() { "none" } else { algorithm.trim() });
    }
    rest
}

/// A store's type in capitals; Java's default is JKS.
fn store_type(rest: &mut BTreeMap<String, String>, name: &str) -> String {
    rest.remove(name).map_or_else(|| "JKS".to_owned(), |kind| kind.trim().to_ascii_uppercase())
}

/// A store's type as a text may show it: what is none may be anything.
fn known(kind: &str) -> &str {
    if ["JKS", "PKCS12", "PEM"].contains(&kind) { kind } else { "foreign" }
}

fn trust_store(rest: &mut BTreeMap<String, String>, draft: &mut Draft) {
    let kind = store_type(rest, "ssl.truststore.type");
    rest.remove("ssl.truststore.password");
    if let Some(pem) = rest.remove("ssl.truststore.certificates") {
        draft.set("ssl.ca.pem", "ssl.truststore.certificates", &pem);
    }
    let Some(location) = rest.remove("ssl.truststore.location") else { return };
    if kind == "PEM" {
        draft.set("ssl.ca.location", "ssl.truststore.location", &location);
    } else {
        let name = "ssl.truststore.location";
        let text = format!(
            "{name}: a {} trust store cannot be read here; convert to PEM (keytool -list -rfc -keystore \
             {location}) and set ssl.truststore.type=PEM",
            known(&kind)
        );
        draft.problems.push(Problem::showing(name, text));
    }
}

fn key_store(rest: &mut BTreeMap<String, String>, draft: &mut Draft) {
    let kind = store_type(rest, "ssl.keystore.type");
    let password = rest.remove("ssl.keystore.password");
    if let Some(pem) = rest.remove("ssl.keystore.certificate.chain") {
        draft.set("ssl.certificate.pem", "ssl.keystore.certificate.chain", &pem);
    }
    if let Some(pem) = rest.remove("ssl.keystore.key") {
        draft.set("ssl.key.pem", "ssl.keystore.key", &pem);
    }
    let Some(location) = rest.remove("ssl.keystore.location") else { return };
    let name = "ssl.keystore.location";
    match kind.as_str() {
        "PEM" => {
            draft.set("ssl.certificate.location", name, &location);
            draft.set("ssl.key.location", name, &location);
        }
        "PKCS12" => {
            draft.set("ssl.keystore.location", name, &location);
            if let Some(password) = password {
                draft.set("ssl.keystore.password", "ssl.keystore.password", &password);
            }
        }
        _ => draft.problems.push(Problem::showing(name, format!(
            "{name}: a {} key store cannot be read here; convert to PEM and set ssl.keystore.type=PEM, or to \
             PKCS12 (keytool -importkeystore -deststoretype PKCS12 -srckeystore {location}) and set \
             ssl.keystore.type=PKCS12", known(&kind)
        ))),
    }
}

fn sasl(rest: &mut BTreeMap<String, String>, draft: &mut Draft) {
    let protocol = rest.get("security.protocol").map(|protocol| protocol.trim().to_ascii_uppercase());
    let wants = protocol.is_some_and(|protocol| protocol.starts_with("SASL"));
    let mechanism = rest.get("sasl.mechanism").or_else(|| rest.get("sasl.mechanisms"));
    let mechanism = mechanism.map(|mechanism| mechanism.trim().to_ascii_uppercase());
    let known = mechanism.as_deref().is_some_and(|mechanism| MECHANISMS.contains(&mechanism));
    if (wants || mechanism.is_some()) && !known {
        let shown = mechanism.unwrap_or_else(|| "GSSAPI (the default)".to_owned());
        let name = "sasl.mechanism";
        let text = format!("{name}: {shown} is not supported here; use one of {MECHANISMS:?}");
        draft.problems.push(Problem::showing(name, text));
    }
    let Some(text) = rest.remove("sasl.jaas.config") else { return };
    match jaas::parse(&text) {
        Err(fault) => draft.problems.push(Problem::blind(format!("sasl.jaas.config: {fault}"))),
        Ok(login) => set_login(&login, draft),
    }
}

fn set_login(login: &jaas::Login, draft: &mut Draft) {
    let name = "sasl.jaas.config";
    if !["PlainLoginModule", "ScramLoginModule"].contains(&login.module.as_str()) {
        let shown = if login.module.ends_with("LoginModule") { &login.module } else { "the login module" };
        let text = format!("{name}: {shown} is not supported here; use PlainLoginModule or ScramLoginModule");
        draft.problems.push(Problem::showing(name, text));
        return;
    }
    for (option, target) in [("username", "sasl.username"), ("password", "sasl.password")] {
        match login.options.get(option) {
            Some(value) => draft.set(target, name, value),
            None => draft.problems.push(Problem::blind(format!("{name}: it has no {option}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Role, config};
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> ClientProperties {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ClientProperties(pairs.chain([("bootstrap.servers".into(), "b:9092".into())]).collect())
    }

    type Row = (&'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)]);

    #[test]
    fn logins_and_pem_stores_are_translated() {
        let rows: [Row; 6] = [
            (
                &[
                    ("security.protocol", "SASL_PLAINTEXT"),
                    ("sasl.mechanism", "SCRAM-SHA-512"),
                    ("sasl.jaas.config", "a.ScramLoginModule required username=\"u\" password=\"p\";"),
                ],
                &[("sasl.mechanisms", "SCRAM-SHA-512"), ("sasl.username", "u"), ("sasl.password", "p")],
            ),
            (
                &[("ssl.truststore.type", "pem"), ("ssl.truststore.location", "/ca.pem")],
                &[("ssl.ca.location", "/ca.pem")],
            ),
            (&[("ssl.truststore.type", "PEM"), ("ssl.truststore.certificates", "C")], &[("ssl.ca.pem", "C")]),
            (
                &[("ssl.keystore.type", "PEM"), ("ssl.keystore.location", "/k"), ("ssl.key.password", "s")],
                &[("ssl.certificate.location", "/k"), ("ssl.key.location", "/k"), ("ssl.key.password", "s")],
            ),
            (
                &[
                    ("ssl.keystore.type", "PKCS12"),
                    ("ssl.keystore.location", "/k"),
                    ("ssl.keystore.password", "s"),
                ],
                &[("ssl.keystore.location", "/k"), ("ssl.keystore.password", "s")],
            ),
            (
                &[("ssl.endpoint.identification.algorithm", "")],
                &[("ssl.endpoint.identification.algorithm", "none")],
            ),
        ];
        for (written, expected) in rows {
            let (made, without_effect) = config(&properties(written), Role::Admin).unwrap();
            for (name, value) in expected {
                assert_eq!(made.get(name), Some(*value), "{name}");
            }
            assert!(without_effect.is_empty(), "{without_effect:?}");
        }
    }

    #[test]
    fn librdkafka_was_built_with_what_is_offered() {
        for mechanism in MECHANISMS {
            let login = "x.ScramLoginModule required username=\"u\" password=\"p\";";
            let written = properties(&[
                ("security.protocol", "SASL_SSL"),
                ("sasl.mechanism", mechanism),
                ("sasl.jaas.config", login),
            ]);
            let (config, _) = config(&written, Role::Admin).unwrap();
            let made = config.create::<rdkafka::producer::BaseProducer>();
            assert_eq!(made.map(drop).map_err(|error| error.to_string()), Ok(()), "{mechanism}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_how_to_convert_it() {
        let rows: [(&[(&str, &str)], &str); 6] = [
            (&[("ssl.truststore.location", "/t.jks")], "convert to PEM"),
            (&[("ssl.keystore.location", "/k.jks")], "ssl.keystore.type=PKCS12"),
            (&[("security.protocol", "SASL_SSL")], "GSSAPI"),
            (&[("sasl.mechanism", "OAUTHBEARER")], "SCRAM-SHA-512"),
            (&[("sasl.jaas.config", "x.Krb5LoginModule required;")], "Krb5LoginModule"),
            (&[("sasl.jaas.config", "x.PlainLoginModule required username=\"u\";")], "no password"),
        ];
        for (written, expected) in rows {
            let shown = config(&properties(written), Role::Admin).unwrap_err().to_string();
            assert!(shown.contains(expected), "{shown}");
        }
    }
}
