//! The style of this repository, enforced: budgets of size, the arrows between crates, pure cores, documented
//! contracts. Each rule is a plain function from text to violations, with a sample that it refuses.
//!
//! `cargo test -p copyist-tests --test tidy` lists every violation as `path:line: text`.

#![expect(clippy::expect_used, reason = "a tree that cannot be read or parsed cannot be judged")]

mod arrows;
mod contracts;
mod purity;
mod rust;
mod sizes;
mod texts;
mod tree;

use std::fmt;

use tree::Tree;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    /// Relative to the repository.
    path: String,
    /// From 1.
    line: usize,
    text: String,
}

impl Violation {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Violation {
        Violation { path: path.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

/// Fails with the list of violations, one a line.
fn assert_none(mut violations: Vec<Violation>) {
    violations.sort();
    let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} violations:\n{}\n", list.len(), list.join("\n"));
}

#[test]
fn functions_and_files_are_short() {
    let tree = Tree::read();
    let product = tree.product_rust();
    assert!(product.len() > 50, "the tree was found: {}", product.len());
    assert_none(product.iter().flat_map(|file| sizes::violations(file)).collect());
}

#[test]
fn arrows_between_crates_are_the_designs() {
    let tree = Tree::read();
    let manifests = tree.manifests();
    assert!(manifests.len() > 7, "the tree was found: {}", manifests.len());
    assert_none(manifests.iter().flat_map(|file| arrows::violations(file)).collect());
}

#[test]
fn pure_code_is_pure() {
    let tree = Tree::read();
    let pure: Vec<_> =
        tree.product_rust().into_iter().filter(|file| purity::must_be_pure(&file.path)).collect();
    assert!(
        pure.iter().any(|file| file.path.starts_with("crates/coordinator/src/core")),
        "the core was found"
    );
    assert_none(pure.iter().flat_map(|file| purity::violations(file)).collect());
}

#[test]
fn contracts_are_commented() {
    let tree = Tree::read();
    let contracts = tree.ending(".proto");
    assert!(contracts.len() > 2, "the tree was found: {}", contracts.len());
    assert_none(contracts.iter().flat_map(|file| contracts::violations(file)).collect());
}

#[test]
fn names_say_what_is_inside() {
    let tree = Tree::read();
    assert_none(tree.files.iter().flat_map(|file| texts::vague_name(&file.path)).collect());
    assert_none(tree.ending(".rs").iter().flat_map(|file| texts::vague_modules(file)).collect());
}

#[test]
fn crates_say_what_they_are() {
    let tree = Tree::read();
    let crates = tree.ending("/src/lib.rs");
    assert!(crates.len() > 7, "the tree was found: {}", crates.len());
    assert_none(crates.iter().flat_map(|file| texts::crate_doc(file)).collect());
}

#[test]
fn nothing_is_left_to_be_done() {
    assert_none(Tree::read().files.iter().flat_map(texts::left_to_do).collect());
}

#[test]
fn the_readme_is_short() {
    let tree = Tree::read();
    assert_none(tree.ending("README.md").iter().flat_map(|file| texts::long_readme(file)).collect());
}
