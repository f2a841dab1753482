//! In the contracts every message, field, enum, value, service and call has a comment of its own, directly above. What a
//! call takes and gives, `…Request` and `…Response`, is told by the comment of the call.

use crate::Violation;
use crate::tree::File;

pub fn violations(file: &File) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut above = "";
    let mut goes_on = false;
    for (at, line) in file.text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default().trim();
        if !goes_on
            && let Some(what) = declared(code)
            && !above.trim_start().starts_with("//")
        {
            violations.push(Violation::new(&file.path, at + 1, format!("no comment above {what}")));
        }
        if !code.is_empty() {
            goes_on = !code.ends_with([';', '{', '}']);
        }
        above = line;
    }
    violations
}

/// "message Hello", "field connector", … of a line that begins such a declaration.
fn declared(code: &str) -> Option<String> {
    let words: Vec<&str> = code.split([' ', '(', '{', '=', ';']).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [] | ["syntax" | "package" | "import" | "option" | "reserved" | "returns" | "}" | "]" | ")", ..] => {
            None
        }
        ["message", name, ..] if name.ends_with("Request") || name.ends_with("Response") => None,
        [kind @ ("message" | "enum" | "service" | "rpc" | "oneof"), name, ..] => {
            Some(format!("{kind} {name}"))
        }
        // "string name = 1", "map<string, string> config = 2", "repeated Lane lanes = 3", "STATE_RUNNING = 1".
        words => {
            let named = code.split('=').next().and_then(|before| before.split_whitespace().last());
            let what = if named == words.first().copied() { "value" } else { "field" };
            (code.contains('=') && !code.starts_with('"'))
                .then(|| format!("{what} {}", named.unwrap_or_default()))
        }
    }
}

#[test]
fn whatever_has_no_comment_is_found() {
    let text = r#"// The file.
syntax = "proto3";
package x.v1;
import "y.proto";
option java_package = "x";

// A message.
message A {
  reserved 4, 5;
  // A field.
  string a = 1;
  map<string, string> b = 2;

  repeated A c = 3; // beside
  // A choice.
  oneof d {
    string e = 6;
    // A long one.
    some.very.long.Name
        f = 7;
  }
}

message CallRequest {
  uint32 g = 1;
}
enum E {
  // None.
  E_UNSPECIFIED = 0;
  E_ONE = 1;
}
service S {
  rpc Call(A) returns (A);
  // A long one.
  rpc Long(A)
      returns (A) {}
}
"#;
    let file = File { path: "x.proto".to_owned(), text: text.to_owned() };
    let found: Vec<(usize, String)> =
        violations(&file).into_iter().map(|found| (found.line, found.text)).collect();
    let expected = [
        (12, "field b"),
        (14, "field c"),
        (17, "field e"),
        (25, "field g"),
        (27, "enum E"),
        (30, "value E_ONE"),
        (32, "service S"),
        (33, "rpc Call"),
    ];
    assert_eq!(found, expected.map(|(line, what)| (line, format!("no comment above {what}"))));
}
