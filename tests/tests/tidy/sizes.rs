//! Long functions hide decisions, long files hide functions. The tail is limited, not the average.

use std::ops::RangeInclusive;

use proc_macro2::Span;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use crate::Violation;
use crate::rust;
use crate::tree::File;

/// From the signature to the closing brace.
const FUNCTION_MAX_LINES: usize = 70;
/// Without its tests.
const FILE_MAX_LINES: usize = 500;

pub fn violations(file: &File) -> Vec<Violation> {
    let parsed = rust::parse(&file.path, &file.text);
    let tests = rust::test_lines(&parsed);
    let mut functions = Functions { tests: &tests, found: Vec::new() };
    functions.visit_file(&parsed);
    let long = functions.found.into_iter().filter(|function| function.lines > FUNCTION_MAX_LINES);
    let mut violations: Vec<Violation> = long
        .map(|Function { name, line, lines }| {
            let text = format!("function {name} has {lines} lines, at most {FUNCTION_MAX_LINES}");
            Violation::new(&file.path, line, text)
        })
        .collect();
    let of_tests: usize = tests.iter().map(|lines| lines.end() - lines.start() + 1).sum();
    let lines = file.text.lines().count() - of_tests;
    if lines > FILE_MAX_LINES {
        let text = format!("{lines} lines without tests, at most {FILE_MAX_LINES}");
        violations.push(Violation::new(&file.path, 1, text));
    }
    violations
}

struct Function {
    name: String,
    line: usize,
    lines: usize,
}

struct Functions<'a> {
    tests: &'a [RangeInclusive<usize>],
    found: Vec<Function>,
}

impl Functions<'_> {
    fn add(&mut self, signature: &Signature, block: &Block) {
        let line = start_line(signature);
        if !self.tests.iter().any(|lines| lines.contains(&line)) {
            let lines = block.brace_token.span.close().end().line - line + 1;
            self.found.push(Function { name: signature.ident.to_string(), line, lines });
        }
    }
}

fn start_line(signature: &Signature) -> usize {
    let span: Span = signature.fn_token.span;
    span.start().line
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: String) -> Vec<(usize, String)> {
        let file = File { path: "x.rs".to_owned(), text };
        violations(&file).into_iter().map(|found| (found.line, found.text)).collect()
    }

    fn function(name: &str, lines: usize) -> String {
        format!("    fn {name}() {{\n{}    }}\n", "        call();\n".repeat(lines - 2))
    }

    #[test]
    fn a_long_function_is_found_wherever_it_is() {
        assert_eq!(found(function("free", 70)), []);
        let text = |kind: &str| format!("{kind} {{\n{}}}\n", function("long", 71));
        for kind in ["impl X", "trait X", "mod x", "impl X for Y", "fn outer()"] {
            let expected = (2, "function long has 71 lines, at most 70".to_owned());
            assert!(found(text(kind)).contains(&expected), "{kind}");
        }
        assert_eq!(found(text("#[cfg(test)] mod tests")), []);
    }

    #[test]
    fn a_long_file_is_found_without_its_tests() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    const X: u8 = 1;\n".repeat(600));
        let shipped = |lines: usize| "const X: u8 = 1;\n".repeat(lines);
        assert_eq!(found(shipped(500) + &tests), []);
        assert_eq!(found(shipped(501) + &tests), [(1, "501 lines without tests, at most 500".to_owned())]);
    }
}
