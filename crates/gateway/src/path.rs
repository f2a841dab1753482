//! Decoding of what a URL holds.

use percent_encoding::percent_decode_str;

/// A percent-encoding that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Bad percent-encoding in {0:?}: each '%' must be followed by two hexadecimal digits, and the result must be UTF-8 without NUL"
)]
pub struct BadEncoding(String);

/// The segments of a raw path, decoded, so that `a%2Fb` is one segment. Matrix parameters (from an unencoded `;` on)
/// are dropped, and so is one trailing slash; any other empty segment stays, and matches nothing.
///
/// # Errors
/// When a percent-encoding is broken.
pub fn segments(raw: &str) -> Result<Vec<String>, BadEncoding> {
    let mut segments = Vec::new();
    for segment in raw.strip_prefix('/').unwrap_or(raw).split('/') {
        let plain = segment.split_once(';').map_or(segment, |(plain, _matrix)| plain);
        segments.push(decoded(plain)?);
    }
    if segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    Ok(segments)
}

/// A percent-encoded text, decoded; a plus sign stays one.
///
/// # Errors
/// When a percent-encoding is broken.
pub fn decoded(raw: &str) -> Result<String, BadEncoding> {
    let bad = || BadEncoding(raw.to_owned());
    let hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = raw.as_bytes();
    let broken =
        |(at, byte): (usize, &u8)| *byte == b'%' && !(hex(bytes.get(at + 1)) && hex(bytes.get(at + 2)));
    if bytes.iter().enumerate().any(broken) {
        return Err(bad());
    }
    let text = percent_decode_str(raw).decode_utf8().map_err(|_| bad())?;
    if text.contains('\0') { Err(bad()) } else { Ok(text.into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_before_they_are_decoded() {
        let rows: [(&str, &[&str]); 16] = [
            ("/", &[]),
            ("//", &[""]),
            ("/connectors", &["connectors"]),
            ("/connectors/", &["connectors"]),
            ("/connectors//", &["connectors", ""]),
            ("//connectors", &["", "connectors"]),
            ("/connectors;x=1", &["connectors"]),
            ("/connectors/semi;colon/status;y", &["connectors", "semi", "status"]),
            ("/connectors/semi%3Bcolon", &["connectors", "semi;colon"]),
            ("/connectors/a%2Fb", &["connectors", "a/b"]),
            ("/connectors/100%2525", &["connectors", "100%25"]),
            ("/connectors/a+b%20c%2B", &["connectors", "a+b c+"]),
            ("/connectors/%C3%B1%F0%9F%98%80", &["connectors", "ñ😀"]),
            ("/connectors/..", &["connectors", ".."]),
            ("/connectors/%7Bb%7D%5C", &["connectors", "{b}\\"]),
            ("*", &["*"]),
        ];
        for (raw, expected) in rows {
            assert_eq!(segments(raw).unwrap(), expected, "{raw}");
        }
    }

    #[test]
    fn broken_encodings_are_named() {
        for raw in ["/connectors/%zz", "/a%", "/a%2", "/%00", "/%ff", "/%C3"] {
            let error = segments(raw).unwrap_err().to_string();
            assert!(error.contains(raw.rsplit('/').next().unwrap()), "{error}");
        }
    }
}
