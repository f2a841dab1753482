//! The repository's files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::rust;

/// A text file.
#[derive(Clone, Debug)]
pub struct File {
    /// Relative to the repository, with `/`.
    pub path: String,
    pub text: String,
}

#[derive(Debug)]
pub struct Tree {
    pub files: Vec<File>,
}

impl Tree {
    /// All text files but those of version control and of builds.
    pub fn read() -> Tree {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = Vec::new();
        collect(&root, "", &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Tree { files }
    }

    pub fn ending(&self, suffix: &str) -> Vec<&File> {
        self.files.iter().filter(|file| format!("/{}", file.path).ends_with(suffix)).collect()
    }

    pub fn manifests(&self) -> Vec<&File> {
        let of_packages = |file: &&File| file.path != "Cargo.toml";
        self.ending("/Cargo.toml").into_iter().filter(of_packages).collect()
    }

    /// What is shipped, and the launcher: no tests.
    pub fn product_rust(&self) -> Vec<&File> {
        let rust = self.ending(".rs");
        let for_tests: BTreeSet<String> =
            rust.iter().flat_map(|file| rust::test_only_modules(&file.path, &file.text)).collect();
        rust.into_iter().filter(|file| !is_test(&file.path, &for_tests)).collect()
    }
}

/// A file of tests alone: by its place, its name, or the `#[cfg(test)] mod name;` that declares it.
fn is_test(path: &str, for_tests: &BTreeSet<String>) -> bool {
    // The package `tests` has the launcher in its own `src`.
    let inside = path.strip_prefix("tests/").unwrap_or(path);
    let by_place = format!("/{inside}").contains("/tests/") || inside.ends_with("/tests.rs");
    let module = path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
    by_place || for_tests.iter().any(|name| module == name || module.starts_with(&format!("{name}/")))
}

fn collect(dir: &Path, relative: &str, files: &mut Vec<File>) {
    let entries = fs::read_dir(dir).expect("the repository can be listed");
    for entry in entries {
        let entry = entry.expect("the repository can be listed");
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let path = if relative.is_empty() { name.clone() } else { format!("{relative}/{name}") };
        if entry.file_type().expect("it is there").is_dir() {
            if !matches!(name.as_str(), ".git" | "target") {
                collect(&entry.path(), &path, files);
            }
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            // What is not UTF-8 is an image or an archive.
            files.push(File { path, text });
        }
    }
}

#[test]
fn tests_are_told_from_what_is_shipped() {
    let for_tests = BTreeSet::from(["crates/a/src/double".to_owned()]);
    let tests = ["crates/a/tests/x.rs", "crates/a/src/core/tests.rs", "crates/a/src/parse/tests/deep.rs"];
    let declared = ["crates/a/src/double.rs", "crates/a/src/double/mod.rs", "crates/a/src/double/x.rs"];
    for path in tests.iter().chain(&declared).chain(&["tests/tests/tidy/main.rs"]) {
        assert!(is_test(path, &for_tests), "{path}");
    }
    for path in ["crates/a/src/lib.rs", "crates/a/src/doubled.rs", "tests/src/cluster.rs"] {
        assert!(!is_test(path, &for_tests), "{path}");
    }
}
