//! What a body has to be: JSON in its order, with these words in it:
//!
//! | word | stands for |
//! |---|---|
//! | `"<any>"`, `"<number>"`, `"<string>"` | any value, number, string |
//! | `"~a*b"` | a string; `*` is any text |
//! | `{"a?": …}` | a field that may be absent |
//! | `{"* any order": 0, …}`, `["* any order", …]` | these, in any order; of a map with `connector.class` it goes without saying |
//! | `{"* and others": 0, …}`, `["* and others", …]` | these and maybe more, in any order |
//! | `["* each like", x]` | one or more, all like `x` |

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// JSON whose objects keep their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        serde_json::Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("no number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = seq.next_element()? {
            all.push(value);
        }
        Ok(Json::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut all: Vec<(String, Json)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Json>()? {
            // The last of two wins.
            match all.iter_mut().find(|(known, _)| *known == key) {
                Some(known) => known.1 = value,
                None => all.push((key, value)),
            }
        }
        Ok(Json::Object(all))
    }
}

const ANY_ORDER: &str = "* any order";
const AND_OTHERS: &str = "* and others";
const EACH_LIKE: &str = "* each like";

/// `Err` says where it is not so; `at` is where these two stand.
pub fn fits(shape: &Json, json: &Json, at: &str) -> Result<(), String> {
    let differs = || Err(format!("{at}: {json:?} is not {shape:?}"));
    match (shape, json) {
        (Json::String(word), _) if word == "<any>" => Ok(()),
        (Json::String(word), Json::Number(_)) if word == "<number>" => Ok(()),
        (Json::String(word), Json::String(_)) if word == "<string>" => Ok(()),
        (Json::String(word), Json::String(text)) if word.starts_with('~') => {
            if glob(&word[1..], text) {
                Ok(())
            } else {
                differs()
            }
        }
        (Json::Array(shapes), Json::Array(values)) => array(shapes, values, at),
        (Json::Object(shapes), Json::Object(values)) => object(shapes, values, at),
        (_, _) if shape == json => Ok(()),
        (_, _) => differs(),
    }
}

fn array(shapes: &[Json], values: &[Json], at: &str) -> Result<(), String> {
    let word = match shapes.first() {
        Some(Json::String(word)) if [ANY_ORDER, AND_OTHERS, EACH_LIKE].contains(&&**word) => &**word,
        Some(_) | None => return in_order(shapes, values, at),
    };
    let shapes = &shapes[1..];
    if word == EACH_LIKE {
        return match values {
            [] => Err(format!("{at} is empty")),
            [_, ..] => values
                .iter()
                .enumerate()
                .try_for_each(|(n, value)| fits(&shapes[0], value, &format!("{at}[{n}]"))),
        };
    }
    for (n, shape) in shapes.iter().enumerate() {
        if !values.iter().any(|value| fits(shape, value, at).is_ok()) {
            return Err(format!("{at}: nothing of {values:?} fits {n}: {shape:?}"));
        }
    }
    if word == ANY_ORDER && shapes.len() != values.len() {
        return Err(format!("{at} has {} elements, not {}", values.len(), shapes.len()));
    }
    Ok(())
}

fn in_order(shapes: &[Json], values: &[Json], at: &str) -> Result<(), String> {
    if shapes.len() != values.len() {
        return Err(format!("{at} has {} elements, not {}: {values:?}", values.len(), shapes.len()));
    }
    let mut pairs = shapes.iter().zip(values).enumerate();
    pairs.try_for_each(|(n, (shape, value))| fits(shape, value, &format!("{at}[{n}]")))
}

fn object(shapes: &[(String, Json)], values: &[(String, Json)], at: &str) -> Result<(), String> {
    let is_config = shapes.iter().any(|(key, _)| key == "connector.class");
    let word = shapes.first().map(|(key, _)| &**key).filter(|key| [ANY_ORDER, AND_OTHERS].contains(key));
    let there = |key: &str| values.iter().any(|(name, _)| name == key);
    let named =
        shapes[usize::from(word.is_some())..].iter().filter_map(|(key, shape)| match key.strip_suffix('?') {
            Some(optional) => there(optional).then(|| (optional.to_owned(), shape.clone())),
            None => Some((key.clone(), shape.clone())),
        });
    let shapes: &[(String, Json)] = &named.collect::<Vec<_>>();
    let keys = |of: &[(String, Json)]| of.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    let (mut wanted, mut found) = (keys(shapes), keys(values));
    if word == Some(AND_OTHERS) {
        found.retain(|key| wanted.contains(key));
    }
    if word.is_some() || is_config {
        wanted.sort();
        found.sort();
    }
    if wanted != found {
        return Err(format!("{at} has {found:?}, not {wanted:?}"));
    }
    shapes.iter().try_for_each(|(key, shape)| {
        let value = values.iter().find(|(name, _)| name == key).map_or(&Json::Null, |(_, value)| value);
        fits(shape, value, &format!("{at}.{key}"))
    })
}

/// `*` stands for any text.
pub fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(left) = text.strip_prefix(head) else { return false };
    left.char_indices().map(|(at, _)| at).chain([left.len()]).any(|at| glob(rest, &left[at..]))
}

#[test]
fn shapes_fit_what_they_should() {
    let rows = [
        (r#"{"a":1,"b":"<any>"}"#, r#"{"a":1,"b":[2]}"#, true),
        (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, false),
        (r#"{"* any order":0,"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, true),
        (r#"{"* any order":0,"a":1}"#, r#"{"b":2,"a":1}"#, false),
        (r#"{"* and others":0,"a":1}"#, r#"{"b":2,"a":1}"#, true),
        (r#"{"* and others":0,"a":1}"#, r#"{"b":2}"#, false),
        (r#"{"connector.class":"C","a":"1"}"#, r#"{"a":"1","connector.class":"C"}"#, true),
        (r#"{"connector.class":"C"}"#, r#"{"a":"1","connector.class":"C"}"#, false),
        (r#"{"a?":1,"b":2}"#, r#"{"b":2}"#, true),
        (r#"{"a?":1,"b":2}"#, r#"{"a":1,"b":2}"#, true),
        (r#"{"a?":1,"b":2}"#, r#"{"a":2,"b":2}"#, false),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#, true),
        (r#"["a","b"]"#, r#"["b","a"]"#, false),
        (r#"["* any order","a","b"]"#, r#"["b","a"]"#, true),
        (r#"["* any order","a"]"#, r#"["b","a"]"#, false),
        (r#"["* and others","a"]"#, r#"["b","a"]"#, true),
        (r#"["* and others","c"]"#, r#"["b","a"]"#, false),
        (r#"["* each like",{"a":"<number>"}]"#, r#"[{"a":1},{"a":2}]"#, true),
        (r#"["* each like",{"a":"<number>"}]"#, r#"[{"a":1},{"a":"2"}]"#, false),
        (r#"["* each like","<any>"]"#, "[]", false),
        (r#""~a*c""#, r#""abbc""#, true),
        (r#""~a*c""#, r#""abb""#, false),
        (r#""<string>""#, "1", false),
        ("1", "2", false),
        ("null", "null", true),
        ("[1]", "[1,2]", false),
    ];
    for (shape, json, expected) in rows {
        let read = |text: &str| serde_json::from_str::<Json>(text).expect("JSON");
        let result = fits(&read(shape), &read(json), "it");
        assert_eq!(result.is_ok(), expected, "{shape} and {json}: {result:?}");
    }
}

#[test]
fn globs_match() {
    let rows = [
        ("", "", true),
        ("a", "ab", false),
        ("a*", "ab", true),
        ("*b*", "abc", true),
        ("*é", "aé", true),
        ("a*b*c", "acb", false),
    ];
    for (pattern, text, expected) in rows {
        assert_eq!(glob(pattern, text), expected, "{pattern} and {text}");
    }
}
