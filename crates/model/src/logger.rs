//! Loggers, as Connect's `/admin/loggers` sees them: which there are, and from which level on each of them writes.
//!
//! A logger stands for the targets of log lines that begin with its name. Tools know dots between the parts of a name,
//! targets of this program have `::` there: both are accepted, and dots are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// The logger that stands for all.
pub const ROOT: &str = "root";

/// Loggers that may have a level of their own beside those in use, so that nobody fills the memory with names.
const OWN_MAX: usize = 4_096;

/// Longer names are no part of any program.
const NAME_MAX: usize = 256;

/// From which severity on a logger writes; the first writes all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    /// Nothing here is worse than an error: those are written.
    Fatal,
    Off,
}

impl LogLevel {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Off => "OFF",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a logger's level was not set; in Connect's words where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoggerFault {
    #[error("invalid log level '{0}'.")]
    UnknownLevel(String),
    #[error("the logger has no name")]
    Nameless,
    #[error("the logger's name is longer than {NAME_MAX} bytes")]
    TooLong,
    #[error("{OWN_MAX} loggers have a level of their own already: set one that stands for several of them")]
    TooMany,
}

impl FromStr for LogLevel {
    type Err = LoggerFault;

    /// Any case. ALL, which log4j2 knows as well, is the same as TRACE here.
    fn from_str(level: &str) -> Result<Self, LoggerFault> {
        match level.to_ascii_uppercase().as_str() {
            "TRACE" | "ALL" => Ok(Self::Trace),
            "DEBUG" => Ok(Self::Debug),
            "INFO" => Ok(Self::Info),
            "WARN" => Ok(Self::Warn),
            "ERROR" => Ok(Self::Error),
            "FATAL" => Ok(Self::Fatal),
            "OFF" => Ok(Self::Off),
            _ => Err(LoggerFault::UnknownLevel(level.to_owned())),
        }
    }
}

/// A logger as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logger {
    pub name: String,
    /// Its own, or the one that it has from a shorter name.
    pub level: LogLevel,
    /// When it was last changed by a request, in milliseconds since 1970.
    pub last_modified_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Setting {
    level: LogLevel,
    last_modified_ms: Option<i64>,
}

impl Setting {
    fn given(level: LogLevel) -> Self {
        Self { level, last_modified_ms: None }
    }
}

/// The loggers of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loggers {
    root: Setting,
    /// By name, with dots.
    own: BTreeMap<String, Setting>,
    /// Those in use, with dots.
    seen: BTreeSet<String>,
}

impl Loggers {
    /// As the process began: the level of all, and those of some, by target or name.
    pub fn new(root: LogLevel, own: impl IntoIterator<Item = (String, LogLevel)>) -> Self {
        let own = own.into_iter().map(|(target, level)| (dotted(&target), Setting::given(level)));
        Self { root: Setting::given(root), own: own.collect(), seen: BTreeSet::new() }
    }

    /// A target is in use.
    pub fn see(&mut self, target: &str) {
        self.seen.insert(dotted(target));
    }

    /// From which level on a target writes.
    #[must_use]
    pub fn level_of(&self, target: &str) -> LogLevel {
        self.inherited(&dotted(target)).level
    }

    /// All in use, those with a level of their own, and the root; ordered by name.
    #[must_use]
    pub fn all(&self) -> Vec<Logger> {
        let mut all: Vec<Logger> = self.known("").into_iter().map(|name| self.shown(name)).collect();
        all.push(self.shown(ROOT.to_owned()));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// One that is in use, or has a level of its own, or stands for such.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Logger> {
        let name = canonical(name);
        let is_known = name == ROOT || (!name.is_empty() && !self.known(&name).is_empty());
        is_known.then(|| self.shown(name))
    }

    /// Sets the level of a logger, and of all whose names begin with its name; returns those for which this is another
    /// level than before, ordered by name.
    ///
    /// # Errors
    /// When there is no name, or there are too many.
    pub fn set(&mut self, now_ms: i64, name: &str, level: LogLevel) -> Result<Vec<String>, LoggerFault> {
        let name = canonical(name);
        if name.is_empty() {
            return Err(LoggerFault::Nameless);
        }
        if name.len() > NAME_MAX {
            return Err(LoggerFault::TooLong);
        }
        let prefix = if name == ROOT { "" } else { name.as_str() };
        let mut affected = self.known(prefix);
        affected.insert(name);
        let changed: Vec<String> =
            affected.into_iter().filter(|name| self.setting(name).level != level).collect();
        let unused = |name: &&String| !self.seen.contains(*name) && !self.own.contains_key(*name);
        if self.own.len() + changed.iter().filter(unused).count() > OWN_MAX + self.seen.len() {
            return Err(LoggerFault::TooMany);
        }
        let setting = Setting { level, last_modified_ms: Some(now_ms) };
        for name in &changed {
            if name == ROOT {
                self.root = setting;
            } else {
                self.own.insert(name.clone(), setting);
            }
        }
        Ok(changed)
    }

    /// Those whose names begin so.
    fn known(&self, prefix: &str) -> BTreeSet<String> {
        let all = self.seen.iter().chain(self.own.keys());
        all.filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    fn shown(&self, name: String) -> Logger {
        let Setting { level, .. } = self.setting(&name);
        let own = if name == ROOT { Some(&self.root) } else { self.own.get(&name) };
        let last_modified_ms = own.and_then(|own| own.last_modified_ms);
        Logger { name, level, last_modified_ms }
    }

    fn setting(&self, name: &str) -> Setting {
        if name == ROOT { self.root } else { self.inherited(name) }
    }

    /// Its own, or that of the longest name that it begins with.
    fn inherited(&self, dotted: &str) -> Setting {
        let shorter = self.own.iter().filter(|(name, _)| dotted.starts_with(name.as_str()));
        shorter.max_by_key(|(name, _)| name.len()).map_or(self.root, |(_, setting)| *setting)
    }
}

fn canonical(name: &str) -> String {
    let name = dotted(name);
    if name.eq_ignore_ascii_case(ROOT) { ROOT.to_owned() } else { name }
}

fn dotted(target: &str) -> String {
    target.replace("::", ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loggers() -> Loggers {
        let own = [("copyist_agent::engine".to_owned(), LogLevel::Warn)];
        let mut loggers = Loggers::new(LogLevel::Info, own);
        for target in ["copyist_agent::engine::raw", "copyist_agent::driver", "h2", "h2::proto"] {
            loggers.see(target);
        }
        loggers
    }

    fn shown(loggers: &Loggers) -> Vec<String> {
        let text = |it: &Logger| {
            let changed = it.last_modified_ms.map(|at| format!("@{at}")).unwrap_or_default();
            format!("{}={}{changed}", it.name, it.level)
        };
        loggers.all().iter().map(text).collect()
    }

    #[test]
    fn levels_are_read_in_any_case() {
        let rows = [
            ("trace", "TRACE"),
            ("ALL", "TRACE"),
            ("Debug", "DEBUG"),
            ("INFO", "INFO"),
            ("warn", "WARN"),
            ("ERROR", "ERROR"),
            ("fatal", "FATAL"),
            ("OFF", "OFF"),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse::<LogLevel>().unwrap().as_str(), expected, "{text}");
        }
        for wrong in ["HIGH", "", " INFO", "WARNING"] {
            let error = wrong.parse::<LogLevel>().unwrap_err().to_string();
            assert_eq!(error, format!("invalid log level '{wrong}'."));
        }
    }

    #[test]
    fn all_in_use_are_shown_with_the_level_of_the_longest_name_that_has_one() {
        let expected = [
            "copyist_agent.driver=INFO",
            "copyist_agent.engine=WARN",
            "copyist_agent.engine.raw=WARN",
            "h2=INFO",
            "h2.proto=INFO",
            "root=INFO",
        ];
        assert_eq!(shown(&loggers()), expected);
    }

    #[test]
    fn a_level_holds_for_all_whose_names_begin_so_and_what_was_so_already_is_no_change() {
        let mut loggers = loggers();
        let rows: [(&str, LogLevel, &[&str]); 8] = [
            ("copyist_agent", LogLevel::Warn, &["copyist_agent", "copyist_agent.driver"]),
            ("copyist_agent", LogLevel::Warn, &[]),
            ("x.y", LogLevel::Info, &[]),
            ("x::y", LogLevel::Debug, &["x.y"]),
            ("copyist_agent::driver", LogLevel::Trace, &["copyist_agent.driver"]),
            ("h", LogLevel::Off, &["h", "h2", "h2.proto"]),
            (
                "ROOT",
                LogLevel::Info,
                &[
                    "copyist_agent",
                    "copyist_agent.driver",
                    "copyist_agent.engine",
                    "copyist_agent.engine.raw",
                    "h",
                    "h2",
                    "h2.proto",
                    "x.y",
                ],
            ),
            (
                "root",
                LogLevel::Error,
                &[
                    "copyist_agent",
                    "copyist_agent.driver",
                    "copyist_agent.engine",
                    "copyist_agent.engine.raw",
                    "h",
                    "h2",
                    "h2.proto",
                    "root",
                    "x.y",
                ],
            ),
        ];
        for (now_ms, (name, level, changed)) in (1..).zip(rows) {
            assert_eq!(loggers.set(now_ms, name, level).unwrap(), changed, "{name}={level}");
        }
        assert!(shown(&loggers).iter().all(|shown| shown.ends_with("=ERROR@8")), "{:?}", shown(&loggers));
    }

    #[test]
    fn what_was_set_holds_for_targets_that_are_seen_later() {
        let mut loggers = loggers();
        loggers.set(7, "copyist_agent", LogLevel::Debug).unwrap();
        for target in ["copyist_agent::engine::new", "copyist_agent", "copyist_agent::driver"] {
            assert_eq!(loggers.level_of(target), LogLevel::Debug, "{target}");
        }
        assert_eq!(loggers.level_of("copyist_coordinator"), LogLevel::Info);
        loggers.set(8, ROOT, LogLevel::Off).unwrap();
        assert_eq!(loggers.level_of("anything"), LogLevel::Off);
    }

    #[test]
    fn a_single_logger_is_one_in_use_or_what_stands_for_some() {
        let mut loggers = loggers();
        let level = |loggers: &Loggers, name: &str| loggers.get(name).map(|it| (it.name, it.level));
        let rows = [
            ("Root", Some(("root", LogLevel::Info))),
            ("h2", Some(("h2", LogLevel::Info))),
            ("copyist_agent::engine", Some(("copyist_agent.engine", LogLevel::Warn))),
            ("copyist_agent", Some(("copyist_agent", LogLevel::Info))),
            ("no.such", None),
            ("", None),
        ];
        for (name, expected) in rows {
            let expected = expected.map(|(name, level)| (name.to_owned(), level));
            assert_eq!(level(&loggers, name), expected, "{name}");
        }
        loggers.set(3, "no.such", LogLevel::Off).unwrap();
        let expected = Logger { name: "no.such".to_owned(), level: LogLevel::Off, last_modified_ms: Some(3) };
        assert_eq!(loggers.get("no::such"), Some(expected));
        assert_eq!(loggers.set(4, "", LogLevel::Off), Err(LoggerFault::Nameless));
    }

    #[test]
    fn names_are_no_way_to_fill_the_memory() {
        let mut loggers = loggers();
        let refused = (0..2 * OWN_MAX).find_map(|number| {
            loggers.set(1, &format!("name{number}x"), LogLevel::Off).err().map(|fault| (number, fault))
        });
        let (number, fault) = refused.unwrap();
        assert_eq!(fault, LoggerFault::TooMany);
        assert!((OWN_MAX - 1..=OWN_MAX + loggers.seen.len()).contains(&number), "{number}");
        assert!(loggers.set(1, "h2", LogLevel::Off).is_ok(), "one in use can be set all the same");
    }
}
