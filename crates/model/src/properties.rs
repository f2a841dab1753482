//! Java's property files, as `Properties.load` reads them, with line numbers.

use std::collections::BTreeMap;
use std::fmt;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use java_properties::{LineContent, PropertiesIter};

/// What a property file says: for each key its last value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    pub entries: BTreeMap<String, Entry>,
    /// Keys written more than once, with the line that lost.
    pub overridden: Vec<(String, usize)>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub value: String,
    /// Where it begins, from 1 on.
    pub line: usize,
}

/// Any value may be a secret.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[hidden, line {}]", self.line)
    }
}

/// A line that no Java program could read either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    pub line: usize,
    pub reason: String,
}

impl Properties {
    /// As Java reads a stream of bytes, in Latin-1.
    ///
    /// # Errors
    /// Every malformed line.
    pub fn parse(file: &[u8]) -> Result<Self, Vec<Malformed>> {
        Self::parse_in(WINDOWS_1252, file)
    }

    /// As Java reads text in UTF-8.
    ///
    /// # Errors
    /// Every malformed line.
    pub fn parse_utf8(file: &[u8]) -> Result<Self, Vec<Malformed>> {
        Self::parse_in(UTF_8, file)
    }

    fn parse_in(encoding: &'static Encoding, file: &[u8]) -> Result<Self, Vec<Malformed>> {
        let mut properties = Self::default();
        let mut malformed = Vec::new();
        for line in PropertiesIter::new_with_encoding(without_comments(file).as_slice(), encoding) {
            match line {
                Ok(line) => {
                    let number = line.line_number();
                    if let LineContent::KVPair(key, value) = line.consume_content() {
                        properties.insert(key, Entry { value, line: number });
                    }
                }
                Err(error) => {
                    let line = error.line_number().unwrap_or_default();
                    let reason =
                        "a \\u is not followed by four hexadecimal digits; write a backslash as \\\\"
                            .to_owned();
                    malformed.push(Malformed { line, reason });
                }
            }
        }
        if malformed.is_empty() { Ok(properties) } else { Err(malformed) }
    }

    fn insert(&mut self, key: String, entry: Entry) {
        if let Some(lost) = self.entries.insert(key.clone(), entry) {
            self.overridden.push((key, lost.line));
        }
    }
}

/// The file with its comments blank: the crate that reads it would take a `\u` in a comment for an escape. A
/// line end closes it, without which a last line that ends in a backslash would be lost.
fn without_comments(file: &[u8]) -> Vec<u8> {
    let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
    let mut kept = Vec::with_capacity(file.len() + 1);
    let mut continues = false;
    for line in file.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        let text = line.strip_suffix(b"\n").or_else(|| line.strip_suffix(b"\r")).unwrap_or(line);
        let first = text.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\x0c'));
        if !continues && matches!(first, Some(b'#' | b'!')) {
            kept.extend_from_slice(&line[text.len()..]);
            continue;
        }
        kept.extend_from_slice(line);
        // The \n of a \r\n is an empty line of its own here, and ends nothing.
        if line != b"\n" || !kept.ends_with(b"\r\n") {
            continues = text.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
        }
    }
    kept.push(b'\n');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(file: &str) -> Vec<(String, String, usize)> {
        let properties = Properties::parse(file.as_bytes()).unwrap();
        properties.entries.into_iter().map(|(key, entry)| (key, entry.value, entry.line)).collect()
    }

    type Row = (&'static str, &'static [(&'static str, &'static str, usize)]);

    /// Each row was read by Java's `Properties.load` with the same result.
    #[test]
    fn files_are_read_as_java_does() {
        let rows: &[Row] = &[
            ("", &[]),
            ("a=b", &[("a", "b", 1)]),
            ("  a : b \nc  d\ne", &[("a", "b ", 1), ("c", "d", 2), ("e", "", 3)]),
            ("#x=1\n ! y=2\nz=3", &[("z", "3", 3)]),
            ("# C:\\users\\x\na=1", &[("a", "1", 2)]),
            ("# ends in \\\na=1", &[("a", "1", 2)]),
            ("a=b,\\\n   c,\\\n#d\ne=f", &[("a", "b,c,#d", 1), ("e", "f", 4)]),
            ("a=b\\\r\n  c\r\n# \\u\r\nd=e\r\n", &[("a", "bc", 1), ("d", "e", 4)]),
            ("a=b\\\r#c\rd=e", &[("a", "b#c", 1), ("d", "e", 3)]),
            ("a=b\\", &[("a", "b", 1)]),
            ("a=b\\\\\n# \\u\nc=d", &[("a", "b\\", 1), ("c", "d", 3)]),
            ("a=\\u00e9\\t\\=", &[("a", "é\t=", 1)]),
            ("a=1\nb=2\na=3", &[("a", "3", 3), ("b", "2", 2)]),
            ("a\\ b\\:c=d", &[("a b:c", "d", 1)]),
            ("a=\"b\" # c", &[("a", "\"b\" # c", 1)]),
        ];
        for (file, expected) in rows {
            let expected: Vec<_> =
                expected.iter().map(|&(key, value, line)| (key.to_owned(), value.to_owned(), line)).collect();
            assert_eq!(pairs(file), expected, "{file:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_belongs_to_no_key() {
        assert_eq!(pairs("\u{feff}a=b"), [("a".to_owned(), "b".to_owned(), 1)]);
    }

    #[test]
    fn text_is_in_latin_1_or_in_utf_8() {
        let value = |read: Result<Properties, _>| read.unwrap().entries["a"].value.clone();
        assert_eq!(value(Properties::parse(b"a=\xe9")), "é");
        assert_eq!(value(Properties::parse_utf8("a=é🐞".as_bytes())), "é🐞");
    }

    #[test]
    fn every_malformed_line_is_named() {
        let malformed = Properties::parse(b"a=1\nb=\\users\nc=\\u12\n").unwrap_err();
        assert_eq!(malformed.iter().map(|malformed| malformed.line).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn an_overridden_line_is_kept_for_a_warning() {
        let properties = Properties::parse(b"a=1\nb=2\na=3").unwrap();
        assert_eq!(properties.overridden, [("a".to_owned(), 1)]);
    }

    #[test]
    fn debug_shows_no_value() {
        let properties = Properties::parse(b"sasl.jaas.config=S1\nmistyped.pasword=S2").unwrap();
        let shown = format!("{properties:?}");
        assert!(!shown.contains("S1") && !shown.contains("S2"), "{shown}");
    }
}
