//! HTTP as bytes: no client library between, which would put paths and headers in order.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::case::Request;

/// Connect gives itself 90 s.
const PATIENCE: Duration = Duration::from_secs(95);

#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| &**value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request on a connection of its own. `Host`, `Accept: application/json`, `Connection: close`, and with a body
/// Content-Type and Content-Length are added; a header `X: -` is not sent at all; `Transfer-Encoding: chunked` is done.
pub fn exchange(address: &str, request: &Request) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&encode(request))?;
    read(&mut BufReader::new(stream), request.line.starts_with("HEAD "))
}

fn encode(request: &Request) -> Vec<u8> {
    let protocol = if request.line.split(' ').count() > 2 { "" } else { " HTTP/1.1" };
    let mut raw = format!("{}{protocol}\r\n", request.line);
    let named = |name: &str| request.headers.iter().any(|(known, _)| known == name);
    let chunked = named("Transfer-Encoding");
    let length = request.body.len().to_string();
    let mut usual = vec![("Host", "connect:8083"), ("Accept", "application/json"), ("Connection", "close")];
    if !request.body.is_empty() {
        usual.push(("Content-Type", "application/json"));
        if !chunked {
            usual.push(("Content-Length", &length));
        }
    }
    usual.retain(|(name, _)| !named(name));
    let own = request.headers.iter().map(|(name, value)| (&**name, &**value));
    for (name, value) in usual.into_iter().chain(own).filter(|(_, value)| *value != "-") {
        raw.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut raw = (raw + "\r\n").into_bytes();
    if !chunked {
        raw.extend(&request.body);
        return raw;
    }
    for chunk in request.body.chunks(7) {
        raw.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        raw.extend(chunk);
        raw.extend(b"\r\n");
    }
    raw.extend(b"0\r\n\r\n");
    raw
}

pub fn read(from: &mut impl BufRead, head_alone: bool) -> std::io::Result<Answer> {
    let mut answer = Answer::default();
    // Interim answers are passed over.
    while answer.status / 100 <= 1 {
        answer = head(from)?;
    }
    if head_alone || answer.status == 204 {
        return Ok(answer);
    }
    if answer.header("Transfer-Encoding") == Some("chunked") {
        loop {
            let size = usize::from_str_radix(line(from)?.trim(), 16).map_err(std::io::Error::other)?;
            let mut chunk = vec![0; size];
            from.read_exact(&mut chunk)?;
            line(from)?;
            if size == 0 {
                return Ok(answer);
            }
            answer.body.extend(chunk);
        }
    }
    match answer.header("Content-Length").map(str::parse) {
        Some(length) => {
            answer.body.resize(length.map_err(std::io::Error::other)?, 0);
            from.read_exact(&mut answer.body)?;
        }
        None => drop(from.read_to_end(&mut answer.body)?),
    }
    Ok(answer)
}

fn head(from: &mut impl BufRead) -> std::io::Result<Answer> {
    let first = line(from)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no status in {first:?}")))?;
    let mut headers = Vec::new();
    loop {
        let text = line(from)?;
        let Some((name, value)) = text.split_once(':') else {
            return Ok(Answer { status, headers, body: vec![] });
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn line(from: &mut impl BufRead) -> std::io::Result<String> {
    let mut text = String::new();
    from.read_line(&mut text)?;
    Ok(text.trim_end().to_owned())
}
