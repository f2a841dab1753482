//! A line of JAAS configuration, as `sasl.jaas.config` holds it (Kafka's `JaasConfig`).

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// `<module> <flag> <option>="<value>"…;`
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The login module's class name without its package.
    pub module: String,
    pub options: BTreeMap<String, String>,
}

/// Reads the first entry. Errors say what is missing and never show the text: it holds a password.
///
/// # Errors
/// What is wrong with the form.
pub fn parse(text: &str) -> Result<Login, &'static str> {
    let mut words = Words(text.chars().peekable());
    let class = words.next()?.ok_or("it is empty")?;
    let flag = words.next()?.ok_or("a control flag such as 'required' must follow the login module")?;
    if !["required", "requisite", "sufficient", "optional"].contains(&flag.to_ascii_lowercase().as_str()) {
        return Err("a control flag such as 'required' must follow the login module");
    }
    let mut options = BTreeMap::new();
    while let Some(name) = words.next()? {
        if !words.equals_sign() {
            return Err("each option must be written name=\"value\"");
        }
        let value = words.next()?.ok_or("an option has no value")?;
        options.insert(name, value);
    }
    if !words.semicolon() {
        return Err("it must end with ';'");
    }
    let module = class.rsplit('.').next().unwrap_or(&class).to_owned();
    Ok(Login { module, options })
}

struct Words<'t>(Peekable<Chars<'t>>);

impl Words<'_> {
    /// The next word, bare or in quotes; nothing before a `;` or at the end.
    fn next(&mut self) -> Result<Option<String>, &'static str> {
        self.blanks();
        match self.0.peek() {
            None | Some(';') => Ok(None),
            Some(&quote @ ('"' | '\'')) => self.quoted(quote).map(Some),
            Some(_) => Ok(Some(self.bare())),
        }
    }

    fn bare(&mut self) -> String {
        let mut word = String::new();
        let inside = |c: &char| !c.is_whitespace() && !matches!(c, '=' | ';' | '"' | '\'');
        while let Some(c) = self.0.next_if(inside) {
            word.push(c);
        }
        if word.is_empty() {
            word.extend(self.0.next());
        }
        word
    }

    fn quoted(&mut self, quote: char) -> Result<String, &'static str> {
        self.0.next();
        let mut word = String::new();
        while let Some(c) = self.0.next() {
            match c {
                _ if c == quote => return Ok(word),
                '\\' => word.extend(self.0.next()),
                _ => word.push(c),
            }
        }
        Err("a quote is not closed")
    }

    fn blanks(&mut self) {
        while self.0.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn equals_sign(&mut self) -> bool {
        self.blanks();
        self.0.next_if_eq(&'=').is_some()
    }

    fn semicolon(&mut self) -> bool {
        self.blanks();
        self.0.next_if_eq(&';').is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_with_quotes_and_escapes() {
        let text = "org.apache.kafka.common.security.scram.ScramLoginModule required\n username=\"us er\" \
                    password = 'p\"=;\\'x' tokenauth=true ;";
        let login = parse(text).ok().unwrap();
        assert_eq!(login.module, "ScramLoginModule");
        let expected = [("password", "p\"=;'x"), ("tokenauth", "true"), ("username", "us er")];
        assert_eq!(
            login.options,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect()
        );
    }

    #[test]
    fn each_fault_is_named() {
        let rows = [
            ("", "empty"),
            ("M", "control flag"),
            ("M username=\"u\";", "control flag"),
            ("M required username \"u\";", "name=\"value\""),
            ("M required username=;", "no value"),
            ("M required username=\"u;", "not closed"),
            ("M required username=\"u\"", "end with ';'"),
        ];
        for (text, expected) in rows {
            let fault = parse(text).err().unwrap();
            assert!(fault.contains(expected), "{text}: {fault}");
        }
    }
}
