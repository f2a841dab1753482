//! `bootstrap.servers`: entries of `host:port`, as Kafka's clients read them.

/// The entries without blanks around them, joined by commas; nothing at all is allowed.
///
/// # Errors
/// One rule for each entry that is not `host:port`, naming it.
pub(crate) fn read(text: &str) -> Result<String, Vec<String>> {
    let entries: Vec<_> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    let wrong: Vec<_> = entries
        .iter()
        .filter_map(|entry| {
            let why = check(entry).err()?;
            Some(format!("entry {entry:?} {why}; write host:port, several separated by commas"))
        })
        .collect();
    if wrong.is_empty() { Ok(entries.join(",")) } else { Err(wrong) }
}

/// An entry may carry a protocol in front (`SASL_SSL://host:port`) and an IPv6 address in brackets.
fn check(entry: &str) -> Result<(), &'static str> {
    let address = entry.split_once("://").map_or(entry, |(_, address)| address);
    let (host, port) = address.rsplit_once(':').ok_or("has no port")?;
    let digits = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    if !digits || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err("has a port that is not a number from 1 to 65535");
    }
    if let Some(ipv6) = host.strip_prefix('[') {
        let literal = ipv6.strip_suffix(']').ok_or("has no ']' after its address")?;
        let address = literal.split_once('%').map_or(literal, |(address, _zone)| address);
        return match address.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("has something else than an IPv6 address in its brackets"),
        };
    }
    if host.contains(':') {
        return Err("has more than one ':' (an IPv6 address goes into brackets)");
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '%');
    if host.is_empty() || !host.chars().all(legal) {
        return Err("has no valid host name");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_host_and_port() {
        let rows = [
            ("b:9092", Ok("b:9092")),
            (" b1:9092 ,b2:1, ", Ok("b1:9092,b2:1")),
            ("", Ok("")),
            ("SASL_SSL://a_b.c-d:65535", Ok("SASL_SSL://a_b.c-d:65535")),
            ("[::1]:9092,[fe80::1%eth0]:9092", Ok("[::1]:9092,[fe80::1%eth0]:9092")),
            ("b", Err(vec!["entry \"b\" has no port"])),
            ("b:0", Err(vec!["entry \"b:0\" has a port that is not a number from 1 to 65535"])),
            ("b:65536", Err(vec!["entry \"b:65536\" has a port"])),
            ("b:+1", Err(vec!["entry \"b:+1\" has a port"])),
            ("b:", Err(vec!["entry \"b:\" has a port"])),
            ("b:9092/x", Err(vec!["entry \"b:9092/x\" has a port"])),
            (":9092", Err(vec!["entry \":9092\" has no valid host"])),
            ("a b:9092", Err(vec!["entry \"a b:9092\" has no valid host"])),
            ("::1:9092", Err(vec!["entry \"::1:9092\" has more than one"])),
            ("[::1:9092", Err(vec!["entry \"[::1:9092\" has no ']'"])),
            ("[b]:9092", Err(vec!["entry \"[b]:9092\" has something else"])),
            ("ok:1,x,y:0", Err(vec!["entry \"x\" has no port", "entry \"y:0\" has a port"])),
        ];
        for (text, expected) in rows {
            match (read(text), expected) {
                (Ok(servers), Ok(expected)) => assert_eq!(servers, expected),
                (Err(rules), Err(expected)) => {
                    assert_eq!(rules.len(), expected.len(), "{text:?}: {rules:?}");
                    for (rule, beginning) in rules.iter().zip(expected) {
                        assert!(rule.starts_with(beginning), "{text:?}: {rule}");
                    }
                }
                (read, expected) => panic!("{text:?}: {read:?}, not {expected:?}"),
            }
        }
    }
}
