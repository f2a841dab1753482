//! What a machine adds to the settings.

use std::fs;
use std::io;
use std::net::ToSocketAddrs;
use std::path::PathBuf;

use copyist_agent::client::providers::Variables;

/// Where the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// By which others may reach it, when nobody says better.
    pub address: String,
    /// Where relative paths begin.
    pub directory: PathBuf,
    /// For references to them.
    pub variables: Variables,
}

impl Machine {
    /// This one. As in Connect, its address is the first one of its own name.
    #[must_use]
    pub fn ours() -> Self {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let addresses = (name.trim(), 0).to_socket_addrs();
        let address = addresses.ok().and_then(|mut addresses| addresses.next());
        Self {
            address: address.map_or_else(|| "127.0.0.1".to_owned(), |address| address.ip().to_string()),
            directory: std::env::current_dir().unwrap_or_default(),
            variables: std::env::vars_os().collect(),
        }
    }
    /// The text of a file.
    ///
    /// # Errors
    /// When it is not there, or is no text.
    pub fn read(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.directory.join(path))
    }
}
