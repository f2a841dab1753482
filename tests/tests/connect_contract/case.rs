//! The tables' language.
//!
//! ```text
//! # A remark.
//! == A title, unique in its file            or: == [connect] for one subject alone
//! PUT /connectors/a/config
//! Accept: text/plain                        headers, where they differ from the usual ones
//!
//! {"a": "b"}                                a body; `hex: 7b7d` stands for bytes
//! -> 200                                    what both answer; or `-> eventually 200`
//! Location: ~http://*/connectors/a          a header; `Name: -` says that it is absent
//! {"name": "a", "tasks": "<any>"}           the body, see shape.rs; `...` is any, no line is none
//! ```
//!
//! `! text` stands for the error document with that message. An intended difference is written as two answers:
//! `-> connect 500` and `-> copyist 400: why it differs`. `$NAME` is filled in before, see stage.rs.

use crate::shape::Json;

#[derive(Debug)]
pub struct Case {
    pub title: String,
    /// For this subject alone.
    pub only: Option<String>,
    pub request: Request,
    pub answers: Vec<Expected>,
}

#[derive(Debug, Default)]
pub struct Request {
    /// `METHOD /path`, with a protocol where that is not HTTP/1.1.
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug)]
pub struct Expected {
    /// Of this subject; `None`: of both.
    pub of: Option<String>,
    pub eventually: bool,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    Empty,
    Any,
    Json(Json),
    /// A glob.
    Text(String),
}

impl Case {
    /// What this subject has to answer; `None`: it is not asked.
    pub fn of(&self, subject: &str) -> Option<&Expected> {
        if self.only.as_deref().is_some_and(|only| only != subject) {
            return None;
        }
        self.answers.iter().find(|answer| answer.of.as_deref().is_none_or(|of| of == subject))
    }

    pub fn differs(&self) -> bool {
        self.only.is_some() || self.answers.len() > 1
    }
}

/// All cases of a table.
pub fn parse(text: &str) -> Vec<Case> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let blocks: Vec<&[&str]> = split(&lines, "== ").collect();
    let cases: Vec<Case> = blocks.into_iter().map(case).collect();
    for (at, one) in cases.iter().enumerate() {
        assert!(cases[..at].iter().all(|other| other.title != one.title), "twice: {}", one.title);
    }
    cases
}

/// The pieces that begin with a line that begins with `mark`.
fn split<'a>(lines: &'a [&'a str], mark: &'a str) -> impl Iterator<Item = &'a [&'a str]> {
    let starts: Vec<usize> =
        lines.iter().enumerate().filter(|(_, line)| line.starts_with(mark)).map(|(at, _)| at).collect();
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([lines.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| trimmed(&lines[start..end]))
}

fn trimmed<'a>(lines: &'a [&'a str]) -> &'a [&'a str] {
    let end = lines.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |last| last + 1);
    &lines[..end]
}

fn case(lines: &[&str]) -> Case {
    let title = lines[0].trim_start_matches("== ");
    let (only, title) = match title.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((only, title)) => (Some(subject(only)), title),
        None => (None, title),
    };
    let request = lines.iter().position(|line| line.starts_with("-> "));
    let request = request.unwrap_or_else(|| panic!("{title}: no answer"));
    let answers: Vec<Expected> = split(lines, "-> ").map(|lines| expected(title, lines)).collect();
    let whose: Vec<Option<&str>> = answers.iter().map(|answer| answer.of.as_deref()).collect();
    assert!(matches!(whose[..], [None] | [Some("connect"), Some("copyist")]), "{title}: whose answers?");
    Case { title: title.to_owned(), only, request: self::request(trimmed(&lines[1..request])), answers }
}

fn subject(name: &str) -> String {
    assert!(matches!(name, "connect" | "copyist"), "{name} is no subject");
    name.to_owned()
}

fn request(lines: &[&str]) -> Request {
    let blank = lines.iter().position(|line| line.is_empty()).unwrap_or(lines.len());
    let headers = lines[1..blank].iter().map(|line| header(line).expect("a header")).collect();
    let body = lines.get(blank + 1..).unwrap_or_default().join("\n");
    let body = match body.strip_prefix("hex: ") {
        Some(hex) => bytes(hex),
        None => body.into_bytes(),
    };
    Request { line: lines[0].to_owned(), headers, body }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).filter_map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(": ")?;
    let is_name = name.starts_with(char::is_uppercase) && !name.contains([' ', '"', '<']);
    is_name.then(|| (name.to_owned(), value.to_owned()))
}

fn expected(title: &str, lines: &[&str]) -> Expected {
    let (head, reason) = match lines[0].trim_start_matches("-> ").split_once(": ") {
        Some((head, reason)) => (head, Some(reason)),
        None => (lines[0].trim_start_matches("-> "), None),
    };
    let mut words: Vec<&str> = head.split(' ').collect();
    let status = words.pop().and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("{title}: {head:?} has no status"));
    let eventually = words.last() == Some(&"eventually") && words.pop().is_some();
    let of = words.pop().map(subject);
    assert!(words.is_empty(), "{title}: {head:?}");
    assert_eq!(of.as_deref() == Some("copyist"), reason.is_some(), "{title}: only a difference has a reason");
    let headers: Vec<_> = lines[1..].iter().map_while(|line| header(line)).collect();
    let body = body(status, &lines[1 + headers.len()..]);
    Expected { of, eventually, status, headers, body }
}

fn body(status: u16, lines: &[&str]) -> Body {
    let text = lines.join("\n");
    if let Some(message) = text.strip_prefix("! ") {
        let message = serde_json::to_string(message).expect("a string").replace("\\\\", "\\");
        let text = format!("{{\"error_code\":{status},\"message\":{message}}}");
        return Body::Json(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}")));
    }
    match &*text {
        "" => Body::Empty,
        "..." => Body::Any,
        text => serde_json::from_str(text).map_or_else(|_| Body::Text(text.to_owned()), Body::Json),
    }
}

#[test]
fn a_table_is_read() {
    let text = "# remark\n== One\nGET /a\nAccept: -\n\n{\"a\":1}\n-> 201\nLocation: ~x*\n[1]\n\n== [connect] Two\nPUT /b\n\nhex: 7bff\n\
        -> eventually 404\n! no \\n\n\n== Three\nGET /\n-> connect 500\n...\n-> copyist 400: better\n";
    let cases = parse(text);
    let first = &cases[0];
    assert_eq!((&*first.request.line, first.request.body.len(), first.answers[0].status), ("GET /a", 7, 201));
    assert_eq!(first.request.headers, [("Accept".to_owned(), "-".to_owned())]);
    assert_eq!(first.answers[0].headers, [("Location".to_owned(), "~x*".to_owned())]);
    assert!(matches!(first.answers[0].body, Body::Json(Json::Array(_))));
    assert!(cases[1].of("copyist").is_none() && cases[1].of("connect").is_some_and(|it| it.eventually));
    assert_eq!(cases[1].request.body, [0x7b, 0xff]);
    assert!(matches!(cases[1].answers[0].body, Body::Json(Json::Object(_))));
    assert_eq!(cases[2].of("copyist").map(|it| it.status), Some(400));
    assert!(matches!(cases[2].of("copyist").map(|it| &it.body), Some(Body::Empty)) && cases[2].differs());
}
