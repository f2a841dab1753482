//! Media types: what a request says its body is, and what it wants to get. Pure.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

/// What a request's Content-Type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    Nothing,
    Json,
    Other,
    /// Not a media type.
    Malformed,
}

/// What a request's Accept headers allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acceptable {
    /// The Content-Type that a JSON answer gets; `None` when JSON is excluded.
    pub json: Option<&'static str>,
    /// Whether plain text is allowed, and not liked less than JSON.
    pub text: bool,
}

/// The Content-Type of JSON, where nothing else is asked for.
pub const JSON: &str = "application/json";
const JSON_UTF8: &str = "application/json;charset=utf-8";

struct Range {
    kind: String,
    subtype: String,
    quality: f32,
    charset: Option<String>,
}

/// Reads the Content-Type.
pub fn declared(headers: &HeaderMap) -> Declared {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Declared::Nothing;
    };
    match value.to_str().ok().and_then(range) {
        Some(range) if range.kind == "application" && range.subtype == "json" => Declared::Json,
        Some(_) => Declared::Other,
        None => Declared::Malformed,
    }
}

/// Reads the Accept headers; none, or empty ones, allow everything.
pub fn acceptable(headers: &HeaderMap) -> Acceptable {
    let values: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let entries =
        || values.iter().flat_map(|value| value.split(',')).filter(|entry| !entry.trim().is_empty());
    if entries().next().is_none() {
        return Acceptable { json: Some(JSON), text: true };
    }
    let ranges: Vec<Range> = entries().filter_map(range).collect();
    let (json, charset) = preference(&ranges, "application", "json");
    let (text, _) = preference(&ranges, "text", "plain");
    let utf8 = charset.is_some_and(|charset| charset.eq_ignore_ascii_case("utf-8"));
    Acceptable {
        json: (json > 0.0).then_some(if utf8 { JSON_UTF8 } else { JSON }),
        text: text > 0.0 && text >= json,
    }
}

/// How much a media type is liked, 0 to 1, and the charset it is asked for in: the most specific range decides.
fn preference<'a>(ranges: &'a [Range], kind: &str, subtype: &str) -> (f32, Option<&'a str>) {
    let specificity = |range: &Range| match (range.kind.as_str(), range.subtype.as_str()) {
        ("*", "*") => Some(0),
        (k, "*") if k == kind => Some(1),
        (k, s) if k == kind && s == subtype => Some(2),
        _ => None,
    };
    let fitting = ranges.iter().filter_map(|range| Some((specificity(range)?, range)));
    let best =
        fitting.max_by(|(a, first), (b, second)| a.cmp(b).then(first.quality.total_cmp(&second.quality)));
    best.map_or((0.0, None), |(_, range)| (range.quality, range.charset.as_deref()))
}

fn range(text: &str) -> Option<Range> {
    let mut parts = text.split(';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let token = |text: &str| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(legal)
    };
    if !token(kind) || !token(subtype) {
        return None;
    }
    let mut range = Range {
        kind: kind.to_ascii_lowercase(),
        subtype: subtype.to_ascii_lowercase(),
        quality: 1.0,
        charset: None,
    };
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => range.quality = value.parse().ok()?,
            "charset" => range.charset = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn content_types_ignore_case_and_parameters() {
        let rows = [
            ("application/json", Declared::Json),
            ("application/JSON; charset=utf-8", Declared::Json),
            ("application/merge-patch+json", Declared::Other),
            ("application/vnd.x+json", Declared::Other),
            ("text/plain", Declared::Other),
            ("application/x-www-form-urlencoded", Declared::Other),
            ("garbage", Declared::Malformed),
            ("a/b/c", Declared::Malformed),
            ("", Declared::Malformed),
        ];
        for (value, expected) in rows {
            assert_eq!(declared(&headers(CONTENT_TYPE, &[value])), expected, "{value}");
        }
        assert_eq!(declared(&HeaderMap::new()), Declared::Nothing);
    }

    #[test]
    fn accept_allows_json_or_does_not() {
        let rows: [(&[&str], Option<&str>, bool); 14] = [
            (&[], Some(JSON), true),
            (&[""], Some(JSON), true),
            (&["*/*"], Some(JSON), true),
            (&["application/*"], Some(JSON), false),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], Some(JSON), true),
            (&["text/plain", "application/json"], Some(JSON), true),
            (&["text/plain"], None, true),
            (&["application/xml"], None, false),
            (&["application/vnd.api+json"], None, false),
            (&["application/json;q=0, */*"], None, true),
            (&["application/json, */*;q=0.5"], Some(JSON), false),
            (&["application/json;charset=utf-8"], Some(JSON_UTF8), false),
            (&["application/json;charset=latin1"], Some(JSON), false),
            (&["garbage"], None, false),
        ];
        for (values, json, text) in rows {
            assert_eq!(acceptable(&headers(ACCEPT, values)), Acceptable { json, text }, "{values:?}");
        }
    }
}
