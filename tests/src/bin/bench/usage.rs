//! What a process used, as proc(5) says.

use std::fs;

use copyist_tests::{Error, Result};

/// The kernel tells times in units of 1/100 s, whatever its own tick is.
const UNITS_PER_SECOND: f64 = 100.0;

/// CPU time so far, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    pub user: f64,
    pub system: f64,
}

impl Cpu {
    pub fn of(pid: u32) -> Result<Cpu> {
        let text = read(pid, "stat")?;
        parse_stat(&text).ok_or_else(|| Error::Invalid(format!("/proc/{pid}/stat is {text:?}")))
    }

    pub fn since(self, before: Cpu) -> Cpu {
        Cpu { user: self.user - before.user, system: self.system - before.system }
    }

    pub fn total(self) -> f64 {
        self.user + self.system
    }
}

/// The largest resident set so far, in bytes.
pub fn peak_memory(pid: u32) -> Result<u64> {
    let text = read(pid, "status")?;
    parse_peak(&text).ok_or_else(|| Error::Invalid(format!("/proc/{pid}/status has no VmHWM")))
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(Error::io(format!("read {path}: the process has ended")))
}

/// Fields 14 and 15; the name, field 2, may hold anything.
fn parse_stat(text: &str) -> Option<Cpu> {
    let mut fields = text.rsplit_once(") ")?.1.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / UNITS_PER_SECOND);
    Some(Cpu { user: seconds()?, system: seconds()? })
}

fn parse_peak(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_whatever_the_name_is() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 2 3 4 250 125 0 0 20 0 9 0 100 1 2";
        assert_eq!(parse_stat(stat), Some(Cpu { user: 2.5, system: 1.25 }));
        assert_eq!(parse_stat("7 (a"), None);
        assert_eq!(parse_peak("Name:\tx\nVmHWM:\t    2048 kB\n"), Some(2 << 20));
    }
}
