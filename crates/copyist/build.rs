//! Keeps the commit that the program was built from, for `GET /` and `--version`.

use std::process::Command;

fn main() {
    let asked = Command::new("git").args(["rev-parse", "--short=16", "HEAD"]).output();
    let commit = asked
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |commit| commit.trim().to_owned());
    println!("cargo:rustc-env=COPYIST_COMMIT={commit}");
    println!("cargo:rerun-if-changed=../../.git/HEAD");
    println!("cargo:rerun-if-changed=../../.git/refs/heads");
}
