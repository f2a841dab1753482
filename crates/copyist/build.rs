//! Keeps the commit that the program was built from, for `GET /` and `--version`.

use std::process::Command;

/// For where there is no repository: an image is built from the files alone.
const GIVEN: &str = "COPYIST_COMMIT";

fn main() {
    let given = std::env::var_os(GIVEN).and_then(|commit| commit.into_string().ok());
    let commit = given.filter(|commit| !commit.is_empty()).unwrap_or_else(ask);
    println!("cargo:rustc-env=COPYIST_COMMIT={commit:.16}");
    println!("cargo:rerun-if-env-changed={GIVEN}");
    println!("cargo:rerun-if-changed=../../.git/HEAD");
    println!("cargo:rerun-if-changed=../../.git/refs/heads");
}

fn ask() -> String {
    let asked = Command::new("git").args(["rev-parse", "--short=16", "HEAD"]).output();
    let commit = asked.ok().filter(|output| output.status.success());
    let commit = commit.and_then(|output| String::from_utf8(output.stdout).ok());
    commit.map_or_else(|| "unknown".to_owned(), |commit| commit.trim().to_owned())
}
