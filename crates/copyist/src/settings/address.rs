//! Addresses to listen on.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A host and a TCP port to listen on. An empty host is every interface, port 0 any free port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// A name, or an address; IPv6 without brackets.
    pub host: String,
    pub port: u16,
}

impl Address {
    #[must_use]
    pub fn is_every_interface(&self) -> bool {
        self.host.is_empty() || self.host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_unspecified())
    }

    /// Whether another machine could reach it by its host.
    #[must_use]
    pub fn names_a_host(&self) -> bool {
        !self.host.is_empty() && !self.host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
    }

    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>().map(|address| address.to_canonical());
        self.host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    }

    /// `host:port`, an IPv6 address in brackets, of a host that is not this address's own.
    #[must_use]
    pub fn join(host: &str, port: u16) -> String {
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Self::join(&self.host, self.port))
    }
}

impl FromStr for Address {
    type Err = &'static str;

    /// `host:port`, `:port`, `[ipv6]:port`; the error says what is wrong.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or("has no port")?;
        let digits = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
        let port =
            port.parse().ok().filter(|_| digits).ok_or("has a port that is not a number up to 65535")?;
        if let Some(literal) = host.strip_prefix('[') {
            let literal = literal.strip_suffix(']').ok_or("has no ']' after its address")?;
            let address: Ipv6Addr = literal.parse().map_err(|_| "has no IPv6 address in its brackets")?;
            return Ok(Self { host: address.to_string(), port });
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if !host.chars().all(legal) {
            return Err("has no valid host name (an IPv6 address goes into brackets)");
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// `host:port` by which somebody else is reached.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn read_endpoint(text: &str) -> Result<Address, String> {
    const FORM: &str = "write HOST:PORT";
    let address: Address = text.parse().map_err(|reason| format!("{reason}; {FORM}"))?;
    match address {
        Address { port: 0, .. } => Err(format!("has port 0; {FORM}")),
        address if address.names_a_host() => Ok(address),
        _ => Err(format!("names no host; {FORM}")),
    }
}

/// `host:port` entries, separated by commas; at least one.
///
/// # Errors
/// One text for each entry that is wrong.
pub fn read_endpoints(text: &str) -> Result<Vec<Address>, Vec<String>> {
    read_entries(text, "HOST:PORT", read_endpoint)
}

/// Entries that are separated by commas, each there once; at least one. `form` is how an entry is written.
///
/// # Errors
/// One text for each entry that is wrong.
pub fn read_entries<T: PartialEq>(
    text: &str,
    form: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Vec<String>> {
    let mut entries = Vec::new();
    let mut wrong = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match read(entry) {
            Ok(read) if entries.contains(&read) => wrong.push(format!("entry {entry:?} is there twice")),
            Ok(read) => entries.push(read),
            Err(reason) => wrong.push(format!("entry {entry:?} {reason}")),
        }
    }
    if entries.is_empty() && wrong.is_empty() {
        wrong.push(format!("has no entry; write {form}"));
    }
    if wrong.is_empty() { Ok(entries) } else { Err(wrong) }
}

/// Connect's `listeners`: `http://host:port` entries, separated by commas.
///
/// # Errors
/// One text for each entry that is wrong.
pub fn read_listeners(text: &str) -> Result<Vec<Address>, Vec<String>> {
    read_entries(text, "http://HOST:PORT", read_listener)
}

fn read_listener(entry: &str) -> Result<Address, String> {
    const FORM: &str = "write http://HOST:PORT, or http://:PORT for every interface";
    let (scheme, address) = entry.split_once("://").ok_or_else(|| format!("has no scheme; {FORM}"))?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" => (),
        "https" => {
            return Err(
                "is not possible: the REST API is served over HTTP; write http://HOST:PORT, and let a \
                        proxy in front of it speak TLS"
                    .to_owned(),
            );
        }
        _ => return Err(format!("has an unknown scheme; {FORM}")),
    }
    let address = address.strip_suffix('/').unwrap_or(address);
    address.parse().map_err(|reason| format!("{reason}; {FORM}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_print_as_they_were() {
        for (text, host, port) in [
            ("127.0.0.1:9083", "127.0.0.1", 9083),
            ("localhost:0", "localhost", 0),
            (":9083", "", 9083),
            ("[::1]:65535", "::1", 65535),
            ("a_b.c-d:1", "a_b.c-d", 1),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(
                (address.host.as_str(), address.port, address.to_string().as_str()),
                (host, port, text)
            );
        }
    }

    #[test]
    fn wrong_addresses_are_refused_with_what_is_wrong() {
        for (text, reason) in [
            ("localhost", "has no port"),
            ("", "has no port"),
            ("h:", "has a port"),
            ("h:65536", "has a port"),
            ("h:+1", "has a port"),
            ("h:-1", "has a port"),
            ("::1:80", "has no valid host"),
            ("a b:80", "has no valid host"),
            ("[::1:80", "has no ']'"),
            ("[b]:80", "has no IPv6 address"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.starts_with(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn every_interface_has_several_spellings() {
        for (text, every, named) in [
            (":1", true, false),
            ("[::]:1", true, false),
            ("0.0.0.0:1", false, false),
            ("[::1]:1", false, true),
            ("h:1", false, true),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.is_every_interface(), address.names_a_host()), (every, named), "{text}");
        }
    }

    #[test]
    fn loopback_is_what_no_other_machine_reaches() {
        for (text, loopback) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("LocalHost:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("10.1.2.3:1", false),
            ("h:1", false),
            (":1", false),
            ("0.0.0.0:1", false),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().is_loopback(), loopback, "{text}");
        }
    }

    /// Addresses, or the beginnings of what is wrong.
    type Expected = Result<&'static [&'static str], &'static [&'static str]>;

    #[test]
    fn listeners_are_connects() {
        let rows: &[(&str, Expected)] = &[
            ("http://:8083", Ok(&[":8083"])),
            ("HTTP://h:1/ , http://[::1]:2,", Ok(&["h:1", "[::1]:2"])),
            ("h:1", Err(&["entry \"h:1\" has no scheme; write http://HOST:PORT"])),
            (
                "https://h:1,ftp://h:2",
                Err(&["entry \"https://h:1\" is not possible: the", "entry \"ftp://h:2\" has an unknown"]),
            ),
            ("http://h", Err(&["entry \"http://h\" has no port; write http"])),
            ("http://h:1,http://h:1", Err(&["entry \"http://h:1\" is there twice"])),
        ];
        for (text, expected) in rows {
            match (read_listeners(text), expected) {
                (Ok(read), Ok(expected)) => {
                    assert_eq!(read.iter().map(Address::to_string).collect::<Vec<_>>(), *expected, "{text}");
                }
                (Err(read), Err(expected)) => {
                    assert_eq!(read.len(), expected.len(), "{text}: {read:?}");
                    let all = read.iter().zip(*expected).all(|(read, beginning)| read.starts_with(beginning));
                    assert!(all, "{text}: {read:?}");
                }
                (read, expected) => panic!("{text}: {read:?}, not {expected:?}"),
            }
        }
    }
}
