//! Requests that are almost right, or not at all.

use std::fmt::Write as _;

use copyist_tests::exact::Dice;

const METHODS: [&str; 12] =
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "B\u{7f}D", "X"];

/// `%` stands for a name. Loggers are only read: a level could hide a panic.
const PATHS: [&str; 21] = [
    "/",
    "/health",
    "/connectors",
    "/connectors?expand=info&expand=status",
    "/connectors/%",
    "/connectors/%/config",
    "/connectors/%/config",
    "/connectors/%/status",
    "/connectors/%/tasks",
    "/connectors/%/tasks/0/status",
    "/connectors/%/tasks/%/restart",
    "/connectors/%/pause",
    "/connectors/%/stop",
    "/connectors/%/resume",
    "/connectors/%/restart?includeTasks=true",
    "/connectors/%/offsets",
    "/connectors/%/topics",
    "/connector-plugins",
    "/connector-plugins/%/config/validate",
    "//connectors",
    "*",
];

const NAMES: [&str; 12] = [
    "a",
    "a%2Fb",
    "..",
    "%2e%2e",
    "100%2525",
    "a%5Cb",
    "%7Bb%7D",
    "%F0%9F%98%80",
    "%00",
    "%zz",
    "%ff",
    "semi;colon",
];

const VALUES: [&str; 14] = [
    "\"x\"",
    "17",
    "1e999",
    "-0.0",
    "true",
    "null",
    "{}",
    "[[[[]]]]",
    "\"\\ud83d\"",
    "\"\\u0000\"",
    "'x'",
    "NaN",
    "\"\u{1F600}\"",
    "\"EMRReplicatorSourceConnector\"",
];

const KEYS: [&str; 9] = [
    "name",
    "config",
    "initial_state",
    "connector.class",
    "tasks.max",
    "topic.regex",
    "level",
    "",
    "\\ud800",
];

const CONFIG: &str = r#""connector.class":"EMRReplicatorSourceConnector","src.kafka.bootstrap.servers":"127.0.0.1:1","topic.regex":"x""#;

const HEADERS: [&str; 14] = [
    "Accept: text/plain",
    "Accept: */*;q=2",
    "Accept: ;;;,,,",
    "Accept: application/json;charset=utf-8",
    "Content-Type: garbage",
    "Content-Type: application/json",
    "Content-Type: text/plain",
    "Expect: 100-continue",
    "Host: other:1",
    "Transfer-Encoding: chunked",
    "Content-Length: 5",
    "Content-Length: -1",
    "Transfer-Encoding: gzip, chunked",
    "X: \u{1}",
];

/// Some kilobytes are usual; now and then there is far more, up to what is more than the server takes. (A build for tests
/// reads JSON slowly.)
const LARGE: [usize; 3] = [65_537, 1 << 20, 20_000_001];
const LARGE_ONE_IN: u64 = 250;
/// One that is as large as can be.
const LARGEST: usize = 19_999_900;

/// A request, and where its bytes end before it does.
pub struct Noise {
    pub bytes: Vec<u8>,
    pub is_cut: bool,
    /// It must be answered, however wrong it is; else the server may wait for more.
    pub is_whole: bool,
    /// One byte after the other, for its first so many.
    pub dripped: usize,
}

/// A config of 20 MB that is refused for its size alone.
pub fn largest() -> Noise {
    let body = large(LARGEST);
    let head =
        "POST /connectors HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let mut bytes = format!("{head}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend(body);
    Noise { bytes, is_cut: false, is_whole: true, dripped: 0 }
}

fn large(bytes: usize) -> Vec<u8> {
    format!("{{\"name\":\"large\",\"config\":{{\"x\":\"{}\"}}}}", "v".repeat(bytes)).into_bytes()
}

pub fn request(dice: &mut Dice) -> Noise {
    if dice.below(40) == 0 {
        let bytes = bytes(dice, 2_000);
        return Noise { bytes, is_cut: true, is_whole: false, dripped: 0 };
    }
    let body = body(dice);
    let mut head = String::new();
    let version =
        if dice.below(15) == 0 { pick(dice, &["HTTP/1.0", "HTTP/2.0", "HTTP/9", ""]) } else { "HTTP/1.1" };
    let _ = write!(head, "{} {} {version}\r\n", pick(dice, &METHODS), path(dice));
    if dice.below(20) != 0 {
        head.push_str("Host: h\r\n");
    }
    head.push_str("Connection: close\r\n");
    let headers = dice.below(3);
    let is_plain = headers == 0 && version == "HTTP/1.1";
    for _ in 0..headers {
        let _ = write!(head, "{}\r\n", pick(dice, &HEADERS));
    }
    if dice.below(100) == 0 {
        let (count, length) = (dice.below(300), dice.below(3_000));
        for number in 0..count {
            let _ =
                write!(head, "X-{number}: {}\r\n", "v".repeat(usize::try_from(length).unwrap_or_default()));
        }
    }
    let is_honest = dice.below(8) != 0;
    if is_honest {
        let _ = write!(head, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend(body);
    let is_cut = dice.below(12) == 0;
    if is_cut {
        bytes.truncate(dice.index(bytes.len()));
    }
    let dripped = if dice.below(25) == 0 { dice.index(40) } else { 0 };
    let is_whole = is_honest && !is_cut && is_plain;
    Noise { bytes, is_cut, is_whole, dripped }
}

fn path(dice: &mut Dice) -> String {
    let mut path = String::new();
    for part in pick(dice, &PATHS).split_inclusive('%') {
        path.push_str(part.trim_end_matches('%'));
        if part.ends_with('%') {
            path.push_str(&name(dice));
        }
    }
    path
}

fn name(dice: &mut Dice) -> String {
    match dice.below(6) {
        0 => "n".repeat(dice.index(9_000)),
        1 => bytes(dice, 30).iter().map(|byte| format!("%{byte:02X}")).collect(),
        2 => String::from_utf8_lossy(&bytes(dice, 12)).replace([' ', '\r', '\n'], "-"),
        _ => pick(dice, &NAMES).to_owned(),
    }
}

fn body(dice: &mut Dice) -> Vec<u8> {
    if dice.below(LARGE_ONE_IN) == 0 {
        return large(LARGE[dice.index(LARGE.len())]);
    }
    let mut body = match dice.below(6) {
        0 => return bytes(dice, 4_000),
        // What is right.
        1 => {
            return format!(
                "{{\"name\":\"{}\",\"config\":{{{CONFIG}}}}}",
                pick(dice, &["a", "b/c", "..", "{d}"])
            )
            .into();
        }
        2 => return format!("{{{CONFIG}}}").into(),
        3 => format!("{{\"name\":{},\"config\":{}}}", pick(dice, &VALUES), object(dice)),
        4 => nested(dice),
        _ => object(dice),
    }
    .into_bytes();
    // Mutated.
    for _ in 0..dice.below(4) {
        if body.is_empty() {
            break;
        }
        let at = dice.index(body.len());
        match dice.below(3) {
            0 => body[at] = u8::try_from(dice.below(256)).unwrap_or_default(),
            1 => drop(body.remove(at)),
            _ => body.insert(at, *b"{}[]\",:\\"[dice.index(8)..].first().unwrap_or(&b' ')),
        }
    }
    if dice.below(15) == 0 {
        let text = String::from_utf8_lossy(&body).into_owned();
        return text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    }
    body
}

fn object(dice: &mut Dice) -> String {
    let members: Vec<String> = (0..dice.below(6))
        .map(|_| {
            let key = pick(dice, &KEYS);
            format!("\"{key}\":{}", pick(dice, &VALUES))
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Deeper than any stack would like.
fn nested(dice: &mut Dice) -> String {
    let depth = dice.index(20_000);
    pick(dice, &["[", "{\"a\":"]).repeat(depth)
}

fn bytes(dice: &mut Dice, most: usize) -> Vec<u8> {
    (0..dice.index(most)).map(|_| u8::try_from(dice.below(256)).unwrap_or_default()).collect()
}

fn pick<'a>(dice: &mut Dice, choices: &[&'a str]) -> &'a str {
    choices[dice.index(choices.len())]
}
