//! References to config providers in values, `${provider:path:key}` or `${provider:key}`, as Kafka's
//! `ConfigTransformer` finds them.

use std::fmt;

/// What stands in a value for another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The provider's name in `config.providers`.
    pub provider: String,
    /// Empty: none is written.
    pub path: String,
    pub key: String,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, path, key } = self;
        match path.as_str() {
            "" => write!(f, "${{{provider}:{key}}}"),
            path => write!(f, "${{{provider}:{path}:{key}}}"),
        }
    }
}

/// A value's parts, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'t> {
    Text(&'t str),
    Reference(Reference),
}

/// Takes a value apart. What has no colon (`${topic}`) or no end is text.
#[must_use]
pub fn pieces(value: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut text_from, mut look_from) = (0, 0);
    while let Some(start) = value[look_from..].find("${").map(|at| look_from + at) {
        let inside = start + 2;
        let Some(end) = value[inside..].find('}').map(|at| inside + at) else { break };
        let Some((provider, rest)) = value[inside..end].split_once(':') else {
            look_from = inside;
            continue;
        };
        let (path, key) = rest.split_once(':').unwrap_or(("", rest));
        if text_from < start {
            pieces.push(Piece::Text(&value[text_from..start]));
        }
        let [provider, path, key] = [provider, path, key].map(str::to_owned);
        pieces.push(Piece::Reference(Reference { provider, path, key }));
        (text_from, look_from) = (end + 1, end + 1);
    }
    if text_from < value.len() {
        pieces.push(Piece::Text(&value[text_from..]));
    }
    pieces
}

/// Whether a value holds a reference.
#[must_use]
pub fn has_reference(value: &str) -> bool {
    pieces(value).iter().any(|piece| matches!(piece, Piece::Reference(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> String {
        let show = |piece: &Piece<'_>| match piece {
            Piece::Text(text) => format!("<{text}>"),
            Piece::Reference(Reference { provider, path, key }) => format!("[{provider}|{path}|{key}]"),
        };
        pieces(value).iter().map(show).collect()
    }

    /// As Java's `\$\{([^}]*?):(([^}]*?):)?([^}]*?)\}` finds them.
    #[test]
    fn values_are_taken_apart_as_kafka_does() {
        let rows = [
            ("", ""),
            ("plain", "<plain>"),
            ("${file:/p:k}", "[file|/p|k]"),
            ("${env:K}", "[env||K]"),
            ("a ${env:K} b${dir:/d:f}", "<a >[env||K]< b>[dir|/d|f]"),
            ("${file:C:/p:k}", "[file|C|/p:k]"),
            ("${::}", "[||]"),
            ("${topic}", "<${topic}>"),
            ("${topic}.${env:K}", "<${topic}.>[env||K]"),
            ("${a${env:K}", "[a${env||K]"),
            ("${env:K", "<${env:K>"),
            ("$${env:K}}", "<$>[env||K]<}>"),
            ("é${env:é}é", "<é>[env||é]<é>"),
        ];
        for (value, expected) in rows {
            assert_eq!(shown(value), expected, "{value:?}");
            assert_eq!(has_reference(value), expected.contains('['), "{value:?}");
        }
    }

    #[test]
    fn a_reference_is_written_as_it_was_read() {
        for text in ["${file:/p:k}", "${env:K}", "${file:/p:a:b}"] {
            assert!(matches!(&pieces(text)[..], [Piece::Reference(it)] if it.to_string() == text), "{text}");
        }
    }
}
