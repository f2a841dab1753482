//! What decides has no async, clock or randomness, and its maps are ordered: the same input gives the same decision,
//! in a test and at night.

use proc_macro2::{Ident, TokenStream, TokenTree};

use crate::Violation;
use crate::rust;
use crate::tree::File;

/// Whole crates, and the cores of the two that also have drivers.
const PURE: [&str; 6] = [
    "crates/model/src/",
    "crates/wire/src/",
    "crates/lane/src/",
    "crates/connector/src/",
    "crates/coordinator/src/core",
    "crates/agent/src/core",
];

const BANNED: [&str; 7] = ["async", "await", "tokio", "SystemTime", "rand", "HashMap", "HashSet"];

pub fn must_be_pure(path: &str) -> bool {
    PURE.iter().any(|prefix| path.starts_with(prefix))
}

/// Words in comments and texts do not count, nor does what is for tests.
pub fn violations(file: &File) -> Vec<Violation> {
    let tests = rust::test_lines(&rust::parse(&file.path, &file.text));
    let tokens: TokenStream = file.text.parse().expect("syn took it");
    let mut found = Vec::new();
    banned(tokens, &mut found);
    let shipped = found.into_iter().filter(|(line, _)| !tests.iter().any(|lines| lines.contains(line)));
    shipped
        .map(|(line, word)| Violation::new(&file.path, line, format!("{word} in code that must be pure")))
        .collect()
}

fn banned(tokens: TokenStream, found: &mut Vec<(usize, String)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => banned(group.stream(), found),
            TokenTree::Ident(ident) if BANNED.iter().any(|word| ident == word) => {
                found.push((line(ident), ident.to_string()));
            }
            TokenTree::Ident(ident) if ident == "Instant" && is_call_of_now(&tokens[at + 1..]) => {
                found.push((line(ident), "Instant::now".to_owned()));
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

fn line(ident: &Ident) -> usize {
    ident.span().start().line
}

fn is_call_of_now(tokens: &[TokenTree]) -> bool {
    let [TokenTree::Punct(a), TokenTree::Punct(b), TokenTree::Ident(now), ..] = tokens else { return false };
    a.as_char() == ':' && b.as_char() == ':' && now == "now"
}

#[test]
fn each_impurity_is_found_in_code_alone() {
    let found = |text: &str| {
        let file = File { path: "x.rs".to_owned(), text: text.to_owned() };
        violations(&file).into_iter().map(|found| (found.line, found.text)).collect::<Vec<_>>()
    };
    for (text, word) in [
        ("async fn f() {}", "async"),
        ("fn f() { g().await }", "await"),
        ("use tokio::task;", "tokio"),
        ("fn f() { std::time::Instant::now(); }", "Instant::now"),
        ("fn f(at: SystemTime) {}", "SystemTime"),
        ("macro_rules! m { () => { rand::rng() } }", "rand"),
        ("struct X(HashMap<u8, u8>);", "HashMap"),
        ("use std::collections::HashSet;", "HashSet"),
    ] {
        let expected = format!("{word} in code that must be pure");
        assert_eq!(found(&format!("\n{text}")), [(2, expected)], "{text}");
    }
    let innocent = "//! No async, no tokio.\nfn f(now: Instant) { \"rand\"; let hash_map = now; Instant::max(); }\n\
                    #[cfg(test)] mod tests { use std::collections::HashMap; }";
    assert_eq!(found(innocent), []);
}

#[test]
fn cores_and_pure_crates_are_known() {
    for path in ["crates/wire/src/crc.rs", "crates/coordinator/src/core/view.rs", "crates/agent/src/core.rs"]
    {
        assert!(must_be_pure(path), "{path}");
    }
    for path in ["crates/coordinator/src/driver.rs", "crates/kafka/src/lib.rs", "tests/src/lib.rs"] {
        assert!(!must_be_pure(path), "{path}");
    }
}
