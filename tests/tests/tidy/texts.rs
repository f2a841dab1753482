//! Names, documents, and what must not be left lying about.

use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ItemMod, Lit, Meta};

use crate::Violation;
use crate::rust;
use crate::tree::File;

const VAGUE: [&str; 5] = ["util", "utils", "common", "helpers", "misc"];
const README_MAX_LINES: usize = 200;

/// A file or directory named after nothing in particular.
pub fn vague_name(path: &str) -> Option<Violation> {
    let vague = path.split('/').find(|part| VAGUE.contains(&part.split('.').next().unwrap_or_default()))?;
    Some(Violation::new(path, 1, format!("{vague} does not say what is inside")))
}

/// The same of inline modules.
pub fn vague_modules(file: &File) -> Vec<Violation> {
    struct Modules(Vec<(usize, String)>);
    impl<'ast> Visit<'ast> for Modules {
        fn visit_item_mod(&mut self, module: &'ast ItemMod) {
            self.0.push((module.ident.span().start().line, module.ident.to_string()));
            visit::visit_item_mod(self, module);
        }
    }
    let mut modules = Modules(Vec::new());
    modules.visit_file(&rust::parse(&file.path, &file.text));
    let vague = modules.0.into_iter().filter(|(_, name)| VAGUE.contains(&name.as_str()));
    vague
        .map(|(line, name)| Violation::new(&file.path, line, format!("{name} does not say what is inside")))
        .collect()
}

/// The doc of a crate says what is not in it, and where its reader begins.
pub fn crate_doc(file: &File) -> Vec<Violation> {
    let doc: String = rust::parse(&file.path, &file.text).attrs.iter().filter_map(doc_text).collect();
    let wanted = [
        ("Absent on purpose", doc.contains("Absent on purpose")),
        ("Start with", doc.contains("Start with") || doc.contains("Start reading")),
    ];
    let missing = wanted.into_iter().filter(|(_, there)| !there);
    missing
        .map(|(what, _)| Violation::new(&file.path, 1, format!("the crate's doc does not say \"{what}\"")))
        .collect()
}

fn doc_text(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    let Expr::Lit(literal) = &pair.value else { return None };
    let Lit::Str(text) = &literal.lit else { return None };
    pair.path.is_ident("doc").then(|| text.value() + "\n")
}

/// What is to be done is done, or is an issue.
pub fn left_to_do(file: &File) -> Vec<Violation> {
    // In parts, so that this file does not name itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let lines = file.text.lines().enumerate();
    let found = lines.filter_map(|(at, line)| {
        let mark = marks.iter().find(|mark| line.contains(*mark))?;
        Some(Violation::new(&file.path, at + 1, format!("{mark}: do it, or file it")))
    });
    found.collect()
}

pub fn long_readme(file: &File) -> Option<Violation> {
    let lines = file.text.lines().count();
    let text = format!("{lines} lines, at most {README_MAX_LINES}");
    (lines > README_MAX_LINES).then(|| Violation::new(&file.path, README_MAX_LINES + 1, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File { path: "x.rs".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn vague_names_are_found() {
        for path in ["a/src/util.rs", "a/src/utils/deep.rs", "common.rs", "a/common/mod.rs", "deploy/misc.sh"]
        {
            assert!(vague_name(path).is_some(), "{path}");
        }
        for path in ["a/src/utility.rs", "docs/common-questions.md", "a/src/commonly.rs"] {
            assert_eq!(vague_name(path), None, "{path}");
        }
        let found = vague_modules(&file("mod a {\n    mod utils {}\n}\nmod useful {}\n"));
        assert_eq!(found, [Violation::new("x.rs", 2, "utils does not say what is inside")]);
    }

    #[test]
    fn a_crate_without_the_two_sentences_is_found() {
        let missing = |text: &str| crate_doc(&file(text)).len();
        assert_eq!(
            missing("//! It is.\n//!\n//! Absent on purpose: x.\n//!\n//! Start with y.\nmod y;\n"),
            0
        );
        assert_eq!(missing("//! It is.\n//! Start with y.\n"), 1);
        assert_eq!(missing("// Absent on purpose: x. Start with y.\n"), 2);
        assert_eq!(missing("/// Absent on purpose: x. Start with y.\nmod y;\n"), 2);
    }

    #[test]
    fn what_is_left_to_do_is_found() {
        let text = format!("fine\n// {}: later\n{}\n", concat!("TO", "DO"), concat!("FIX", "ME"));
        let lines: Vec<usize> = left_to_do(&file(&text)).into_iter().map(|found| found.line).collect();
        assert_eq!(lines, [2, 3]);
    }

    #[test]
    fn a_long_readme_is_found() {
        assert_eq!(long_readme(&file(&"line\n".repeat(200))), None);
        assert!(long_readme(&file(&"line\n".repeat(201))).is_some());
    }
}
