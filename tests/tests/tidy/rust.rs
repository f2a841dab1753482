//! What the rules need to know of Rust source: which lines are tests, and which modules.

use std::ops::RangeInclusive;

use proc_macro2::TokenTree;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta};

pub fn parse(path: &str, text: &str) -> syn::File {
    syn::parse_file(text).map_err(|error| format!("{path}: {error}")).expect("the compiler takes it too")
}

/// `#[test]`, or `#[cfg(…)]` with `test` in it, not negated.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            let words: Vec<String> = list.tokens.clone().into_iter().flat_map(words).collect();
            words.iter().any(|word| word == "test") && !words.iter().any(|word| word == "not")
        }
        Meta::List(_) | Meta::NameValue(_) => false,
    })
}

fn words(token: TokenTree) -> Vec<String> {
    match token {
        TokenTree::Group(group) => group.stream().into_iter().flat_map(words).collect(),
        TokenTree::Ident(ident) => vec![ident.to_string()],
        TokenTree::Punct(_) | TokenTree::Literal(_) => Vec::new(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "syn may add items; shipped code is the strict side")]
fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The lines of items that are compiled for tests only, their attributes included.
pub fn test_lines(file: &syn::File) -> Vec<RangeInclusive<usize>> {
    struct Lines(Vec<RangeInclusive<usize>>);
    impl<'ast> Visit<'ast> for Lines {
        fn visit_item(&mut self, item: &'ast Item) {
            if is_for_tests(attributes(item)) {
                self.0.push(item.span().start().line..=item.span().end().line);
            } else {
                visit::visit_item(self, item);
            }
        }
    }
    let mut lines = Lines(Vec::new());
    lines.visit_file(file);
    lines.0
}

/// The paths, without `.rs`, of the modules that a file declares for tests only.
pub fn test_only_modules(path: &str, text: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let (parent, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let dir = if matches!(name, "mod" | "lib" | "main") { parent } else { stem };
    let declared = parse(path, text).items.into_iter().filter_map(|item| {
        let Item::Mod(module) = item else { return None };
        (module.content.is_none() && is_for_tests(&module.attrs)).then_some(module.ident)
    });
    declared.map(|name| format!("{dir}/{name}")).collect()
}

#[test]
fn finds_what_is_for_tests() {
    let text = "fn a() {}\n\n/// Doc.\n#[cfg(all(test, unix))]\nmod tests {\n    fn b() {}\n}\n\
                #[test]\nfn c() {\n}\n#[cfg(not(test))]\nfn d() {}\n";
    assert_eq!(test_lines(&parse("x.rs", text)), [3..=7, 8..=10]);
    let text = "#[cfg(test)] mod tests; mod shipped; #[cfg(test)] mod inline {}";
    assert_eq!(test_only_modules("a/src/lib.rs", text), ["a/src/tests"]);
    assert_eq!(test_only_modules("a/src/core/mod.rs", text), ["a/src/core/tests"]);
    assert_eq!(test_only_modules("a/src/parse.rs", text), ["a/src/parse/tests"]);
}
