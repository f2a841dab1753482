//! Who listens on a TCP port of this machine, as far as `/proc` shows it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortHolder {
    /// This process, by another of its listeners.
    Ourselves,
    Process {
        pid: u32,
        command: String,
    },
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ourselves => write!(f, "another listener of this very process"),
            Self::Process { pid, command } => write!(f, "process {pid} ({command})"),
        }
    }
}

/// Nothing, when nobody listens there or the process belongs to somebody else.
#[must_use]
pub fn find(port: u16) -> Option<PortHolder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inodes: BTreeSet<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.into_iter().find(|pid| holds_any(*pid, &inodes))?;
    if pid == std::process::id() {
        return Some(PortHolder::Ourselves);
    }
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(PortHolder::Process { pid, command: command.trim_end().to_owned() })
}

/// The inodes of the sockets that listen on a port, of a table in the format of `/proc/net/tcp`.
fn listening(table: &str, port: u16) -> Vec<String> {
    /// `TCP_LISTEN` of the kernel's `tcp_states.h`.
    const LISTEN: &str = "0A";
    let inode = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let listens = fields.get(3) == Some(&LISTEN) && u16::from_str_radix(local_port, 16) == Ok(port);
        listens.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn holds_any(pid: u32, inodes: &BTreeSet<String>) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let inode_of = |path: &Path| {
        let target = fs::read_link(path).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        Some(inode.to_owned())
    };
    let mut descriptors = descriptors.filter_map(Result::ok);
    descriptors.any(|entry| inode_of(&entry.path()).is_some_and(|inode| inodes.contains(&inode)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn listening_sockets_of_the_port_are_found_in_the_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
           0: 0100007F:1F93 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100\n\
           1: 0100007F:1F93 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100\n\
           2: 00000000000000000000000000000000:1F93 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 333 1 0\n\
           3: 0100007F:1F94 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 444 1 0 100\n\
           4: short\n";
        assert_eq!(listening(table, 8083), ["111", "333"]);
        assert_eq!(listening(table, 8084), ["444"]);
        assert!(listening(table, 80).is_empty());
    }

    #[test]
    fn our_own_listener_is_found_until_it_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(find(port), Some(PortHolder::Ourselves));
        drop(listener);
        assert_eq!(find(port), None);
    }
}
