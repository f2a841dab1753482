//! A request's query parameters.

use crate::path::{BadEncoding, decoded};

/// Names and values in the order sent, decoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what follows the `?`.
    ///
    /// # Errors
    /// When a percent-encoding is broken.
    pub fn parse(raw: Option<&str>) -> Result<Self, BadEncoding> {
        let form = |text: &str| decoded(&text.replace('+', "%20"));
        let mut pairs = Vec::new();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((form(name)?, form(value)?));
        }
        Ok(Self(pairs))
    }

    /// All values of a parameter; `None` when it does not occur.
    pub fn all(&self, name: &str) -> Option<Vec<&str>> {
        let values: Vec<_> =
            self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then_some(values)
    }

    /// The first value of a parameter.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A boolean parameter as Java reads it: `true` in any case is true, everything else is false.
    pub fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// The same, with what holds when the parameter does not occur.
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        self.first(name).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_is_true() {
        let rows = [
            ("f=true", true),
            ("f=TRUE", true),
            ("f=yes", false),
            ("f=1", false),
            ("f=", false),
            ("f", false),
            ("F=true", false),
            ("f=no&f=true", false),
            ("x=1&f=%74rue", true),
        ];
        for (raw, expected) in rows {
            assert_eq!(Query::parse(Some(raw)).unwrap().flag("f"), expected, "{raw}");
        }
        assert!(!Query::parse(None).unwrap().flag("f"));
        for (raw, expected) in
            [(None, true), (Some("f=true"), true), (Some("f=false"), false), (Some("f"), false)]
        {
            assert_eq!(Query::parse(raw).unwrap().flag_or("f", true), expected, "{raw:?}");
        }
    }

    #[test]
    fn a_parameter_may_be_repeated_and_be_empty() {
        let query = Query::parse(Some("expand=info&&expand=a+b&x&expand")).unwrap();
        assert_eq!(query.all("expand"), Some(vec!["info", "a b", ""]));
        assert_eq!(query.all("none"), None);
        assert!(Query::parse(Some("expand=%zz")).is_err());
    }
}
