//! What a user should know about a worker file that is accepted: lines for the log.

use super::given::{Given, known_names};
use super::key::Level;
use super::role::Role;
use super::{Settings, StoreSettings, fleet};
use copyist_model::properties::Properties;

/// Unknown keys that get a line of their own with the nearest known one; the search is not free.
const SUGGESTIONS_MAX: usize = 20;
/// Longer names are nobody's typo.
const NAME_MAX: usize = 128;
/// How alike two names must be, from 0 to 1, for one to be a typo of the other.
const LIKENESS_MIN: f64 = 0.8;

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub level: Level,
    pub text: String,
}

/// Warnings first.
pub fn notices(
    place: &str,
    properties: &Properties,
    given: &Given,
    settings: Option<&Settings>,
    role: Role,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    let warning = |text| Notice { level: Level::Warning, text };
    for (key, line) in &properties.overridden {
        notices.push(warning(format!("{place}:{line}: {key} is written again further down, and that holds")));
    }
    notices.extend(unknown(place, properties, &given.unknown).into_iter().map(warning));
    for ((level, reason), names) in &given.without_effect {
        let text = format!("{place}: without effect ({reason}): {}", names.join(", "));
        notices.push(Notice { level: *level, text });
    }
    notices.extend(fleet::notices(place, given, role));
    notices.sort_by_key(|notice| notice.level);
    notices.extend(settings.and_then(|settings| defaults(given, settings)));
    notices
}

/// One line for each unknown key that looks like a known one, one for the others.
fn unknown(place: &str, properties: &Properties, names: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut strangers = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let line = properties.entries.get(name).map_or(0, |entry| entry.line);
        match (index < SUGGESTIONS_MAX).then(|| nearest(name)).flatten() {
            Some(known) => lines.push(format!("{place}:{line}: unknown key {name}; did you mean {known}?")),
            None => strangers.push(name.as_str()),
        }
    }
    if !strangers.is_empty() {
        lines.push(format!("{place}: unknown keys, without effect: {}", strangers.join(", ")));
    }
    lines
}

/// The known key that `name` is most likely a typo of.
fn nearest(name: &str) -> Option<String> {
    if name.len() > NAME_MAX {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let likeness = |known: String| (strsim::normalized_damerau_levenshtein(&name, &known), known);
    let likest = known_names().map(likeness).max_by(|(a, _), (b, _)| a.total_cmp(b));
    likest.filter(|(likeness, _)| *likeness >= LIKENESS_MIN).map(|(_, known)| known)
}

/// What holds for keys that a user may want to set or to remember.
fn defaults(given: &Given, settings: &Settings) -> Option<Notice> {
    let mut shown = vec![("group.id", settings.group_id.clone())];
    if let Some(agent) = &settings.agent {
        let worker = &agent.worker;
        shown.extend([
            ("offset.storage.topic", worker.offset_storage.name.to_string()),
            ("config.storage.topic", worker.config_storage.name.to_string()),
            ("status.storage.topic", worker.status_storage.name.to_string()),
        ]);
    }
    match settings.coordinator.as_ref().map(|coordinator| &coordinator.store) {
        Some(StoreSettings::File(path)) => shown.push(("store.path", path.display().to_string())),
        Some(StoreSettings::Etcd { etcd, advertised, .. }) => {
            shown.push(("etcd.prefix", etcd.prefix.clone()));
            shown.push(("coordinator.advertised.address", advertised.to_string()));
        }
        None => (),
    }
    shown.extend(settings.agent.as_ref().map(|agent| ("agent.id", agent.worker.agent_id.to_string())));
    let absent = shown.into_iter().filter(|(key, _)| given.is_defaulted(key));
    let absent: Vec<_> = absent.map(|(key, value)| format!("{key}={value}")).collect();
    let text = format!("not set, so these hold: {}", absent.join(", "));
    (!absent.is_empty()).then_some(Notice { level: Level::Info, text })
}
