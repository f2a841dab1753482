//! How a coordinator reaches etcd.

use std::fmt;

use super::address::{Address, read_endpoint, read_entries};
use super::given::Given;
use super::machine::Machine;
use super::secret::Secret;

/// How a coordinator reaches etcd. `Debug` shows no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdSettings {
    /// `http://host:port`, or all of them `https://host:port`; at least one.
    pub endpoints: Vec<String>,
    /// Begins with a slash and does not end with one. `group.id` comes next.
    pub prefix: String,
    pub credentials: Option<Credentials>,
    /// There iff the endpoints are `https`.
    pub tls: Option<Tls>,
}

/// A user of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: Secret,
}

/// Texts in PEM; hidden, as one file may hold a certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub ca: Secret,
    /// The coordinator's own, where etcd asks for one.
    pub identity: Option<Identity>,
}

/// Texts in PEM; hidden, as one file may hold both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub certificate: Secret,
    pub key: Secret,
}

/// An entry of `etcd.endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub scheme: Option<Scheme>,
    pub address: Address,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

const CA: &str = "etcd.tls.ca.file";
const CERTIFICATE: &str = "etcd.tls.cert.file";
const KEY: &str = "etcd.tls.key.file";

/// `http://host:port`, `https://host:port` or `host:port` entries, separated by commas; at least one.
///
/// # Errors
/// One text for each entry that is wrong.
pub fn read_endpoints(text: &str) -> Result<Vec<Endpoint>, Vec<String>> {
    const FORM: &str = "http://HOST:PORT or https://HOST:PORT";
    if text.contains('@') {
        return Err(vec!["has a user in it; write that by etcd.user and etcd.password".to_owned()]);
    }
    read_entries(text, FORM, |entry| {
        let (scheme, address) = match entry.split_once("://") {
            None => (None, entry),
            Some((scheme, address)) if scheme.eq_ignore_ascii_case("http") => (Some(Scheme::Http), address),
            Some((scheme, address)) if scheme.eq_ignore_ascii_case("https") => (Some(Scheme::Https), address),
            Some(_) => return Err(format!("has an unknown scheme; write {FORM}")),
        };
        let address = read_endpoint(address.strip_suffix('/').unwrap_or(address))?;
        Ok(Endpoint { scheme, address })
    })
}

/// What keys in etcd begin with, without slashes at its end.
///
/// # Errors
/// What would be right.
pub fn read_prefix(text: &str) -> Result<String, String> {
    let prefix = text.trim_end_matches('/');
    if !text.starts_with('/') {
        return Err("must begin with a slash, as in /copyist".to_owned());
    }
    if prefix.is_empty() {
        return Err("must name something after the slash, as in /copyist".to_owned());
    }
    if prefix.chars().any(char::is_control) {
        return Err("must have no control characters".to_owned());
    }
    Ok(prefix.to_owned())
}

/// Reads the `etcd.*` keys, and the files that they name.
///
/// # Errors
/// Everything that is wrong beyond single values; nothing, where only values are.
pub fn read(given: &Given, machine: &Machine) -> Result<EtcdSettings, Vec<String>> {
    let mut problems = Vec::new();
    let endpoints = given.etcd_endpoints("etcd.endpoints");
    let scheme = endpoints.as_deref().and_then(|endpoints| scheme(given, endpoints, &mut problems));
    let tls = read_tls(given, machine, &mut problems);
    if scheme == Some(Scheme::Https) && given.is_defaulted(CA) {
        problems
            .push(format!("{CA} is missing: by it the members of etcd are known, which are asked by https"));
    }
    let credentials = credentials(given, &mut problems);
    let assembled = endpoints.zip(scheme).zip(given.text("etcd.prefix"));
    match assembled {
        Some(((endpoints, scheme), prefix)) if problems.is_empty() => Ok(EtcdSettings {
            endpoints: endpoints.iter().map(|endpoint| format!("{scheme}://{}", endpoint.address)).collect(),
            prefix: prefix.to_owned(),
            credentials,
            tls,
        }),
        Some(_) | None => Err(problems),
    }
}

/// One for all members: what they say, else what the keys for TLS make likely.
fn scheme(given: &Given, endpoints: &[Endpoint], problems: &mut Vec<String>) -> Option<Scheme> {
    let says = |scheme| endpoints.iter().any(|endpoint| endpoint.scheme == Some(scheme));
    let for_tls = [CA, CERTIFICATE, KEY].into_iter().find(|key| !given.is_defaulted(key));
    match (says(Scheme::Http), says(Scheme::Https), for_tls) {
        (true, true, _) => {
            problems.push("etcd.endpoints says http and https; write one of them for all members".to_owned());
            None
        }
        (true, false, Some(key)) => {
            problems
                .push(format!("{key} is of no use: etcd.endpoints says http; write https, or leave it out"));
            None
        }
        (true, false, None) | (false, false, None) => Some(Scheme::Http),
        (false, true, _) | (false, false, Some(_)) => Some(Scheme::Https),
    }
}

fn credentials(given: &Given, problems: &mut Vec<String>) -> Option<Credentials> {
    const USER: &str = "etcd.user";
    const PASSWORD: &str = "etcd.password";
    match (given.is_defaulted(USER), given.is_defaulted(PASSWORD)) {
        (false, true) => problems.push(format!("{PASSWORD} is missing: {USER} has one")),
        (true, false) => problems.push(format!("{USER} is missing: {PASSWORD} is somebody's")),
        (true, true) | (false, false) => (),
    }
    let user = given.text(USER)?.to_owned();
    Some(Credentials { user, password: given.secret(PASSWORD)? })
}

fn read_tls(given: &Given, machine: &Machine, problems: &mut Vec<String>) -> Option<Tls> {
    let mut file = |key: &str, what: &str| {
        let name = given.text(key)?;
        let read = machine.read(name).map_err(|error| format!("cannot be read: {error}"));
        let checked = read.and_then(|text| check_pem(text, what));
        let checked = checked.map(Secret::new);
        checked.map_err(|wrong| problems.push(format!("{key}={name}: the file {wrong}"))).ok()
    };
    let ca = file(CA, "CERTIFICATE");
    let certificate = file(CERTIFICATE, "CERTIFICATE");
    let key = file(KEY, "PRIVATE KEY");
    for (one, other) in [(CERTIFICATE, KEY), (KEY, CERTIFICATE)] {
        if !given.is_defaulted(one) && given.is_defaulted(other) {
            problems.push(format!("{other} is missing: {one} is of no use without it"));
        }
    }
    let identity = certificate.zip(key).map(|(certificate, key)| Identity { certificate, key });
    ca.map(|ca| Tls { ca, identity })
}

/// Whether the text holds a PEM section of that name; what is in it, the handshake shows.
fn check_pem(text: String, what: &str) -> Result<String, String> {
    let begins = |name: &str| {
        let line = format!("{name}-----");
        text.lines().any(|given| given.starts_with("-----BEGIN ") && given.trim_end().ends_with(&line))
    };
    if begins("ENCRYPTED PRIVATE KEY") {
        return Err("holds an encrypted key; store it without a password".to_owned());
    }
    if !begins(what) {
        return Err(format!("is not PEM with a line -----BEGIN {what}-----"));
    }
    Ok(text)
}
