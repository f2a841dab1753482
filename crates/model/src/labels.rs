//! Labels: what an agent says of itself, and what a connector wants to hear.

use std::collections::BTreeMap;

/// What is wrong with an entry of a list of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelFault<'t> {
    /// The entry, which is not `name=value`.
    NoPair(&'t str),
    /// The name, which an entry before has as well.
    Twice(&'t str),
}

/// Reads `name=value` entries, separated by commas; blank ones do not count.
///
/// # Errors
/// Everything that is wrong, in the order of the entries.
pub fn read_labels(text: &str) -> Result<BTreeMap<String, String>, Vec<LabelFault<'_>>> {
    let mut labels = BTreeMap::new();
    let mut faults = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        match entry.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some((name, value)) if !name.is_empty() => {
                if labels.insert(name.to_owned(), value.to_owned()).is_some() {
                    faults.push(LabelFault::Twice(name));
                }
            }
            Some(_) | None => faults.push(LabelFault::NoPair(entry)),
        }
    }
    if faults.is_empty() { Ok(labels) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs_with_names_of_their_own() {
        let labels = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(read_labels(" a = b,, c="), labels(&[("a", "b"), ("c", "")]));
        assert_eq!(read_labels(" , "), labels(&[]));
        let faults = vec![LabelFault::NoPair("a"), LabelFault::Twice("b"), LabelFault::NoPair("=c")];
        assert_eq!(read_labels("a, b=1, b=2, =c"), Err(faults));
    }
}
