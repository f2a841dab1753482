//! What an accepted config says that does not happen: unknown keys, and keys without effect.

use std::collections::BTreeMap;

use crate::class::{Class, Definition, Members};
use crate::clients;
use crate::given::Given;

/// Unknown keys that get a line of their own with the nearest known one; the search is not free.
const SUGGESTIONS_MAX: usize = 20;
/// Names in one line.
const NAMES_MAX: usize = 100;
/// Longer names are nobody's typo.
const NAME_MAX: usize = 128;
/// How alike two names must be, from 0 to 1, for one to be a typo of the other.
const LIKENESS_MIN: f64 = 0.8;

/// One line for each unknown key that looks like a known one, one for the other unknown keys, one for the keys
/// without effect for each reason.
pub(crate) fn warnings(given: &Given<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let unknown = given.written().filter(|(_, _, definition)| matches!(definition, Definition::Unknown));
    let mut strangers = Vec::new();
    for (index, (name, _, _)) in unknown.enumerate() {
        let known = (index < SUGGESTIONS_MAX).then(|| nearest(given.class(), name)).flatten();
        match known {
            Some(known) => warnings.push(format!("unknown key {name}; did you mean {known}?")),
            None => strangers.push(name),
        }
    }
    warnings.extend(line("unknown keys, without effect: ", &strangers));
    let mut without: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value, definition) in given.written() {
        if let Some(reason) = definition.ignores(value) {
            without.entry(reason).or_default().push(name);
        }
    }
    let line = |(reason, names): (&str, Vec<_>)| line(&format!("without effect here ({reason}): "), &names);
    warnings.extend(without.into_iter().filter_map(line));
    warnings
}

fn line(beginning: &str, names: &[&str]) -> Option<String> {
    let shown = names.get(..NAMES_MAX).unwrap_or(names).join(", ");
    let more = names.len().saturating_sub(NAMES_MAX);
    match (names, more) {
        ([], _) => None,
        (_, 0) => Some(format!("{beginning}{shown}")),
        (_, more) => Some(format!("{beginning}{shown} and {more} more")),
    }
}

/// The known key that `name` is most likely a typo of.
fn nearest(class: &'static Class, name: &str) -> Option<String> {
    if name.len() > NAME_MAX {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let own = class.own_keys().map(|key| key.name.to_owned());
    let members = class.families().filter(|family| matches!(family.members, Members::Clients(_)));
    let members = members.flat_map(|family| clients::names().map(|key| format!("{}{key}", family.prefix)));
    let likeness = |known: String| (strsim::normalized_damerau_levenshtein(&name, &known), known);
    let likest = own.chain(members).map(likeness).max_by(|(a, _), (b, _)| a.total_cmp(b));
    likest.filter(|(likeness, _)| *likeness >= LIKENESS_MIN).map(|(_, known)| known)
}
