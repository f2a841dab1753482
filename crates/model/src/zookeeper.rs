//! Where a cluster's ZooKeeper is, as `zookeeper.connect` says it.

use std::fmt;
use std::time::Duration;

/// ZooKeeper's own port.
const PORT: u16 = 2181;

/// The servers of a ZooKeeper, and under which path of it a cluster keeps what it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZooKeeper {
    /// `host:port`, at least one.
    pub servers: Vec<String>,
    /// `/kafka`; empty: the root.
    pub chroot: String,
    /// For a connection to one of the servers.
    pub connection_timeout: Duration,
    /// After this silence it forgets us, and we it.
    pub session_timeout: Duration,
}

impl ZooKeeper {
    /// Reads `host1:2181,host2:2181/chroot`.
    ///
    /// # Errors
    /// One rule for each thing that is wrong.
    pub fn parse(
        text: &str,
        connection_timeout: Duration,
        session_timeout: Duration,
    ) -> Result<Self, Vec<String>> {
        let (list, path) = text.split_once('/').map_or((text, ""), |(list, path)| (list, path.trim()));
        let mut problems = Vec::new();
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let mut servers = Vec::new();
        for entry in entries {
            match server(entry) {
                Ok(server) => servers.push(server),
                Err(why) => problems.push(format!("entry {entry:?} {why}; {RIGHT}")),
            }
        }
        if servers.is_empty() && problems.is_empty() {
            problems.push(format!("no server is named; {RIGHT}"));
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.split('/').any(|part| matches!(part, "." | "..")) || path.contains("//") || path.contains(',')
        {
            problems.push(format!("/{path} is no path of ZooKeeper; {RIGHT}"));
        }
        let chroot = if path.is_empty() { String::new() } else { format!("/{path}") };
        let read = Self { servers, chroot, connection_timeout, session_timeout };
        if problems.is_empty() { Ok(read) } else { Err(problems) }
    }
}

const RIGHT: &str =
    "write host:port, several separated by commas, and behind the last one the cluster's path, if it has one";

/// With a port.
fn server(entry: &str) -> Result<String, &'static str> {
    let (host, port) = match entry.rsplit_once(':') {
        // The colons of an IPv6 address without a port are within its brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (entry, None),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match ipv6 {
        Some(ipv6) => ipv6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(legal),
    };
    if !is_host {
        return Err("has no valid host name");
    }
    let port = port.map_or(Some(PORT), |port| port.parse().ok().filter(|port| *port > 0));
    let port = port.ok_or("has a port that is not a number from 1 to 65535")?;
    Ok(format!("{host}:{port}"))
}

/// As `zookeeper.connect` says it.
impl fmt::Display for ZooKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.servers.join(","), self.chroot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, Vec<String>> {
        ZooKeeper::parse(text, Duration::from_secs(6), Duration::from_secs(6)).map(|it| it.to_string())
    }

    #[test]
    fn servers_have_ports_and_the_last_one_may_have_a_path() {
        let rows = [
            ("z:2181", "z:2181"),
            ("z", "z:2181"),
            (" z1:1 , z2,", "z1:1,z2:2181"),
            ("z1:1,z2:2/kafka", "z1:1,z2:2/kafka"),
            ("z:1/", "z:1"),
            ("z:1/a/b/", "z:1/a/b"),
            ("[::1]:1,[::2]", "[::1]:1,[::2]:2181"),
        ];
        for (text, expected) in rows {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn each_fault_is_named() {
        let rows = [
            ("", "no server is named"),
            ("/kafka", "no server is named"),
            ("z:0", "entry \"z:0\" has a port"),
            ("z:x", "entry \"z:x\" has a port"),
            (":1", "entry \":1\" has no valid host"),
            ("a b:1", "entry \"a b:1\" has no valid host"),
            ("[x]:1", "entry \"[x]:1\" has no valid host"),
            ("z:1/a//b", "/a//b is no path"),
            ("z:1/../b", "/../b is no path"),
            ("z1:1/a,z2:1/a", "/a,z2:1/a is no path"),
        ];
        for (text, expected) in rows {
            let problems = read(text).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with(expected) && problems[0].contains("host:port"), "{problems:?}");
        }
        assert_eq!(read("z:0,:1").unwrap_err().len(), 2);
    }
}
