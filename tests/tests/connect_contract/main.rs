//! Connect's REST API, section by section, as tables of requests and answers: asked of Copyist, and by
//! `tests/connect-parity` of Kafka Connect itself, so that both are seen to answer alike. An intended difference stands
//! in its table with the reason.
//!
//! Start reading at `sections/04-create.txt`, then `case.rs`, which has the tables' language.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test whose step fails has failed, and says why; what was compared is told"
)]

mod case;
mod shape;
mod stage;
mod wire;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use copyist_tests::{Deadline, Subject};

use crate::case::Case;
use crate::stage::Stage;

/// Sections that Copyist does not fulfil yet: some of their cases must fail. Empty it when it does.
const NOT_YET: &[&str] = &[];

/// Cases that Copyist answers wrongly so far: section, title, reason. Each must fail.
const WRONG_SO_FAR: &[(&str, &str, &str)] = &[];

#[test]
fn general_rules() {
    section("01-general");
}

#[test]
fn names() {
    section("01-names");
}

#[test]
fn root_and_health() {
    section("03-root-and-health");
}

#[test]
fn creating() {
    section("04-create");
}

#[test]
fn configuring() {
    section("04-configure");
}

#[test]
fn reading() {
    section("05-reading");
}

#[test]
fn active_topics() {
    section("05-topics");
}

#[test]
fn status() {
    section("06-status");
}

#[test]
fn actions() {
    section("07-actions");
}

#[test]
fn offsets() {
    section("08-offsets");
}

#[test]
fn forwarding() {
    section("09-forwarding");
}

#[test]
fn plugins() {
    section("10-plugins");
}

#[test]
fn validation() {
    section("10-validate");
}

#[test]
fn loggers() {
    section("10-loggers");
}

#[test]
fn semantics() {
    section("11-semantics");
}

#[test]
fn internal_topics() {
    section("13-topics");
}

#[test]
fn every_table_is_asked() {
    let asked = include_str!("main.rs");
    let tables = fs::read_dir(directory()).expect("the tables").flatten();
    let names: Vec<String> =
        tables.filter_map(|table| table.path().file_stem()?.to_str().map(str::to_owned)).collect();
    assert!(names.len() > 10, "the tables were found: {names:?}");
    for name in &names {
        assert!(asked.contains(&format!("    section(\"{name}\");")), "no test asks {name}");
    }
    for name in NOT_YET.iter().chain(WRONG_SO_FAR.iter().map(|(name, ..)| name)) {
        assert!(names.iter().any(|known| known == name), "no table is called {name}");
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/connect_contract/sections")
}

/// How long what is `eventually` so may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The same where it is known not to come.
const SHORT_LIMIT: Duration = Duration::from_secs(1);

fn section(name: &str) {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/connect_contract/sections/{name}.txt"));
    let table = fs::read_to_string(file).expect("the section's table");
    let stage = Stage::enter();
    let cases = case::parse(&stage.expand(&table));
    let is_copyist = matches!(stage.subject, Subject::Copyist(_));
    let wrong = |title: &str| WRONG_SO_FAR.iter().any(|known| (known.0, known.1) == (name, title));
    let excused = |title: &str| is_copyist && (NOT_YET.contains(&name) || wrong(title));
    let begin = Deadline::after(LIMIT);
    let (mut asked, mut failed) = (0, Vec::new());
    for case in &cases {
        let limit = if excused(&case.title) { SHORT_LIMIT } else { LIMIT };
        let Some(result) = stage.check(case, limit) else { continue };
        asked += 1;
        if let Err(error) = result {
            failed.push((case, error));
        }
    }
    stage.clear();
    let differences = cases.iter().filter(|case| case.differs()).count();
    println!(
        "{name}: {} answered {} of {asked} cases as expected ({differences} intended differences) in {:.1} s",
        stage.subject.name(),
        asked - failed.len(),
        begin.elapsed().as_secs_f32()
    );
    let unexpected = if is_copyist { excuse(name, &mut failed) } else { String::new() };
    drop(stage);
    let failures = failed.iter().fold(unexpected, |mut text, (case, error)| {
        let _infallible = writeln!(text, "\n{name}: {}\n{}\n{error}", case.title, case.request.line);
        text
    });
    assert!(failures.is_empty(), "{failures}");
}

/// Takes out what is known to fail, and says what should have failed and did not.
fn excuse(name: &str, failed: &mut Vec<(&Case, String)>) -> String {
    if NOT_YET.contains(&name) {
        let all_fine = if failed.is_empty() {
            format!("{name} is fulfilled: take it from NOT_YET")
        } else {
            String::new()
        };
        failed.clear();
        return all_fine;
    }
    let known = WRONG_SO_FAR.iter().filter(|(section, ..)| *section == name);
    let mut unexpected = String::new();
    for (_, title, _) in known {
        let before = failed.len();
        failed.retain(|(case, _)| case.title != *title);
        if failed.len() == before {
            let _infallible =
                writeln!(unexpected, "{name}: {title:?} is right now: take it from WRONG_SO_FAR");
        }
    }
    unexpected
}
