//! The arrows between crates are the design's section 2: who may know whom.

use toml::{Table, Value};

use crate::Violation;
use crate::tree::File;

/// Every room of the repository, with the rooms that it may depend on.
const ARROWS: [(&str, &[&str]); 12] = [
    ("copyist", &["coordinator", "agent", "gateway", "connector", "proto", "model"]),
    ("coordinator", &["connector", "proto", "model"]),
    ("agent", &["kafka", "lane", "wire", "proto", "model"]),
    ("gateway", &["proto", "model"]),
    // A part of `tests` with a workspace of its own: its compiler flags are not for the rest.
    ("fuzz", &["kafka", "model", "wire"]),
    ("kafka", &["wire", "model"]),
    ("lane", &["wire", "model"]),
    ("connector", &["model"]),
    ("proto", &["model"]),
    ("wire", &[]),
    ("model", &[]),
    // Drives Copyist from outside; its tests alone may look inside.
    ("tests", &[]),
];

/// Who must not know which of others' crates, beyond what the arrows say.
const WALLS: [(&str, &[&str]); 8] = [
    ("model", &["tokio", "tonic", "prost", "rand", "rdkafka", "redb"]),
    ("wire", &["tokio", "tonic", "prost", "rand", "rdkafka", "redb"]),
    ("lane", &["tokio", "tonic", "prost", "rand", "rdkafka", "redb"]),
    ("connector", &["tokio", "tonic", "prost", "rand", "rdkafka", "redb"]),
    // An unreachable cluster can never block a decision.
    ("coordinator", &["rdkafka", "kafka-protocol", "axum"]),
    // Agents speak gRPC alone to the control plane.
    ("agent", &["etcd-client", "redb", "axum"]),
    // No Kafka, no store.
    ("gateway", &["rdkafka", "kafka-protocol", "etcd-client", "redb"]),
    ("kafka", &["tonic", "prost", "etcd-client", "redb", "axum"]),
];

pub fn violations(manifest: &File) -> Vec<Violation> {
    let table: Table = manifest.text.parse().expect("cargo takes it too");
    let directory = manifest.path.trim_end_matches("/Cargo.toml");
    let room = directory.rsplit('/').next().unwrap_or_default();
    let Some((_, arrows)) = ARROWS.iter().find(|(name, _)| *name == room) else {
        return vec![Violation::new(&manifest.path, 1, format!("{room} is no room of the design"))];
    };
    let mut violations = Vec::new();
    let name = table.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
    let expected = if room == "copyist" { room.to_owned() } else { format!("copyist-{room}") };
    if name != Some(expected.as_str()) {
        violations.push(Violation::new(
            &manifest.path,
            1,
            format!("the package of {directory} is {expected}"),
        ));
    }
    let walls = WALLS.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, walls)| walls);
    for (key, value) in dependencies(&table) {
        // `x = { package = "y" }` gives the crate y another name.
        let of = value.get("package").and_then(Value::as_str).unwrap_or(key);
        let ours = of.strip_prefix("copyist-").or((of == "copyist").then_some(of));
        let forbidden = match ours {
            Some(other) => !arrows.contains(&other),
            None => walls.contains(&of),
        };
        if forbidden {
            let text = format!("{room} must not know {}", ours.unwrap_or(of));
            violations.push(Violation::new(&manifest.path, line_of(&manifest.text, key), text));
        }
    }
    violations
}

/// Those of the crate itself, for all targets; its tests and its build script may use others.
fn dependencies(table: &Table) -> impl Iterator<Item = (&String, &Value)> {
    let of_targets = table.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = of_targets.filter_map(|target| target.get("dependencies")).chain(table.get("dependencies"));
    tables.filter_map(Value::as_table).flatten()
}

/// `key.workspace = true`, `"key" = …` or `[dependencies.key]`.
fn line_of(text: &str, key: &str) -> usize {
    let names = |line: &str| {
        let begin = line.trim_start_matches([' ', '"']);
        let rest = begin.strip_prefix(key).unwrap_or("x");
        rest.starts_with([' ', '.', '=', '"']) || line.contains(&format!("dependencies.{key}]"))
    };
    text.lines().position(names).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        violations(&file).into_iter().map(|found| (found.line, found.text)).collect()
    }

    #[test]
    fn forbidden_arrows_are_found_in_each_form() {
        let head = "[package]\nname = \"copyist-gateway\"\n";
        let violation = |line: usize, other: &str| vec![(line, format!("gateway must not know {other}"))];
        for (rest, expected) in [
            ("[dependencies]\ncopyist-proto.workspace = true\n", vec![]),
            ("[dependencies]\ncopyist-agent.workspace = true\n", violation(4, "agent")),
            ("[dependencies]\ncopyist = \"1\"\n", violation(4, "copyist")),
            ("[dependencies.copyist-lane]\nworkspace = true\n", violation(3, "lane")),
            ("[dependencies]\nx = { package = \"copyist-wire\" }\n", violation(4, "wire")),
            ("[target.'cfg(unix)'.dependencies]\ncopyist-kafka.workspace = true\n", violation(4, "kafka")),
            ("[dependencies]\nredb = \"4\"\n", violation(4, "redb")),
            ("[dev-dependencies]\ncopyist-agent.workspace = true\n", vec![]),
        ] {
            assert_eq!(found("crates/gateway/Cargo.toml", &format!("{head}{rest}")), expected, "{rest}");
        }
    }

    #[test]
    fn an_unknown_room_and_a_wrong_name_are_found() {
        let text = "[package]\nname = \"copyist-extras\"\n";
        assert_eq!(
            found("crates/extras/Cargo.toml", text),
            [(1, "extras is no room of the design".to_owned())]
        );
        let expected = "the package of crates/wire is copyist-wire".to_owned();
        assert_eq!(found("crates/wire/Cargo.toml", text), [(1, expected)]);
    }

    #[test]
    fn arrows_run_one_way() {
        let position =
            |name: &str| ARROWS.iter().position(|(room, _)| *room == name).expect("every end is a room");
        for (room, others) in ARROWS {
            assert!(others.iter().all(|other| position(other) > position(room)), "{room}");
        }
    }
}
