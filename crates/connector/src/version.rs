//! Which versions of a plugin a request is content with, in Maven's notation, as Connect takes it.

use std::cmp::Ordering;

/// Versions from one to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange {
    low: Bound,
    high: Bound,
}

/// An end of a range; without a version it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound {
    version: Option<String>,
    included: bool,
}

/// A text that is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid version specification: {0}")]
pub struct InvalidRange(String);

impl VersionRange {
    /// `[1.0,2.0)`, `(,2.0]`, `[1.0]`, or a plain version, which is that one alone.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Self, InvalidRange> {
        let invalid = || InvalidRange(text.to_owned());
        let spec = text.trim();
        let bound = |version: &str, included| {
            let version = version.trim();
            let bad = version.contains(['[', ']', '(', ')', ',']);
            let version = (!version.is_empty()).then(|| version.to_owned());
            if bad { Err(invalid()) } else { Ok(Bound { version, included }) }
        };
        let Some(inner) = spec.strip_prefix(['[', '(']) else {
            return Ok(Self { low: bound(spec, true)?, high: bound(spec, true)? });
        };
        let inner = inner.strip_suffix([']', ')']).ok_or_else(invalid)?;
        let (from, to) = (spec.starts_with('['), spec.ends_with(']'));
        match inner.split_once(',') {
            Some((low, high)) => Ok(Self { low: bound(low, from)?, high: bound(high, to)? }),
            None if from && to && !inner.trim().is_empty() => {
                Ok(Self { low: bound(inner, true)?, high: bound(inner, true)? })
            }
            None => Err(invalid()),
        }
    }

    #[must_use]
    pub fn includes(&self, version: &str) -> bool {
        let fits =
            |bound: &Bound, inside: Ordering| match bound.version.as_deref().map(|end| compare(version, end))
            {
                None => true,
                Some(Ordering::Equal) => bound.included,
                Some(order) => order == inside,
            };
        fits(&self.low, Ordering::Greater) && fits(&self.high, Ordering::Less)
    }
}

/// As Connect writes it.
impl std::fmt::Display for VersionRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bound: &Bound| bound.version.clone().unwrap_or_default();
        let (open, close) =
            (if self.low.included { '[' } else { '(' }, if self.high.included { ']' } else { ')' });
        write!(f, "{open}{},{}{close}", text(&self.low), text(&self.high))
    }
}

/// By the numbers between the dots, a missing one being 0; what is no number comes before any.
fn compare(left: &str, right: &str) -> Ordering {
    let parts =
        |version: &str| version.split(['.', '-']).map(|part| part.parse::<u64>().ok()).collect::<Vec<_>>();
    let (mut left, mut right) = (parts(left), parts(right));
    let length = left.len().max(right.len());
    left.resize(length, Some(0));
    right.resize(length, Some(0));
    left.cmp(&right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_takes_versions_and_says_so_as_connect_does() {
        let rows = [
            ("4.3.1", "[4.3.1,4.3.1]", &["4.3.1"][..], &["4.3", "4.3.2", "9.9"][..]),
            ("[4.0,)", "[4.0,)", &["4.0", "4", "4.0.0", "10.0"], &["3.9.9"]),
            ("(4.0,5)", "(4.0,5)", &["4.0.1", "4.9"], &["4.0", "5", "5.0.0"]),
            (" (,4.0] ", "(,4.0]", &["4.0", "0.1"], &["4.0.1"]),
            ("[4]", "[4,4]", &["4.0"], &["4.1"]),
            ("abc", "[abc,abc]", &["abc"], &["4.3.1"]),
            ("[0.1.0-alpha,)", "[0.1.0-alpha,)", &["0.1.0"], &["0.0.9"]),
        ];
        for (text, written, inside, outside) in rows {
            let range = VersionRange::parse(text).unwrap();
            assert_eq!(range.to_string(), written);
            assert!(inside.iter().all(|version| range.includes(version)), "{text}: {inside:?}");
            assert!(!outside.iter().any(|version| range.includes(version)), "{text}: {outside:?}");
        }
    }

    #[test]
    fn what_is_no_range_is_told() {
        for text in ["[1,", "[", "(1)", "[]", "[1,2,3]", "1,2", "[1", "1]", "[[1],2]", "[1,2"] {
            let error = VersionRange::parse(text).unwrap_err();
            assert_eq!(error.to_string(), format!("Invalid version specification: {text}"));
        }
    }
}
