//! The rules between connectors: no cycles, nothing copied twice.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{ClusterId, ConnectorName, TopicName};

/// A topic of a cluster.
pub type Place = (ClusterId, TopicName);

/// What one connector copies: source to destination.
pub type Edges = BTreeSet<(Place, Place)>;

/// What the rules say about the edges that a connector wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Fine {
        /// Destinations that other source topics are copied into as well, with who does it.
        shared: BTreeMap<Place, BTreeSet<ConnectorName>>,
    },
    /// The connector may not copy; the text names both connectors and what is wrong.
    Conflict(String),
}

/// Judges what `name` wants against the connectors that were there before it.
#[must_use]
pub fn judge(name: &ConnectorName, wanted: &Edges, earlier: &BTreeMap<ConnectorName, Edges>) -> Verdict {
    for (other, edges) in earlier {
        if let Some((source, destination)) = wanted.intersection(edges).next() {
            return Verdict::Conflict(format!(
                "connector {name} would copy topic {} of cluster {} into topic {} of cluster {}, as connector {other} \
                 already does; leave the topic out of one of them",
                source.1, source.0, destination.1, destination.0
            ));
        }
    }
    if let Some(text) = cycle(name, wanted, earlier) {
        return Verdict::Conflict(text);
    }
    let destinations: BTreeSet<&Place> = wanted.iter().map(|(_, destination)| destination).collect();
    let mut shared: BTreeMap<Place, BTreeSet<ConnectorName>> = BTreeMap::new();
    for (other, edges) in earlier {
        for (_, destination) in edges.iter().filter(|(_, to)| destinations.contains(to)) {
            shared.entry(destination.clone()).or_default().insert(other.clone());
        }
    }
    Verdict::Fine { shared }
}

/// What the user should know about destinations that are shared.
#[must_use]
pub fn shared_note(shared: &BTreeMap<Place, BTreeSet<ConnectorName>>) -> Option<String> {
    let (place, others) = shared.first_key_value()?;
    let others: Vec<&str> = others.iter().map(ConnectorName::as_str).collect();
    Some(format!("topic {} is shared with connector {}", place.1, others.join(", ")))
}

/// What the user should know about topics that are not copied because connectors of this fleet make them.
#[must_use]
pub fn left_out_note(left_out: &BTreeSet<TopicName>) -> Option<String> {
    const SHOWN_MAX: usize = 10;
    let mut names: Vec<String> = left_out.iter().take(SHOWN_MAX).map(ToString::to_string).collect();
    if let Some(more) = left_out.len().checked_sub(SHOWN_MAX + 1) {
        names.push(format!("and {} more", more + 1));
    }
    let names = names.join(", ");
    (!left_out.is_empty()).then(|| {
        format!("not copied, since connectors of this fleet copy into them: {names}; topic.whitelist takes them all the same")
    })
}

/// The text of the first cycle that an edge of `wanted` closes, walking forward from its destination.
fn cycle(name: &ConnectorName, wanted: &Edges, earlier: &BTreeMap<ConnectorName, Edges>) -> Option<String> {
    let own = wanted.iter().map(|edge| (name, edge));
    let others = earlier.iter().flat_map(|(other, edges)| edges.iter().map(move |edge| (other, edge)));
    let mut out_of: BTreeMap<&Place, Vec<(&ConnectorName, &Place)>> = BTreeMap::new();
    for (by, (from, to)) in own.chain(others) {
        out_of.entry(from).or_default().push((by, to));
    }
    for (source, destination) in wanted {
        let mut seen = BTreeSet::from([destination]);
        let mut open = vec![destination];
        while let Some(place) = open.pop() {
            for &(by, next) in out_of.get(place).into_iter().flatten() {
                if next == source {
                    return Some(format!(
                        "connector {name} would copy topic {} of cluster {} into topic {} of cluster {}, from where \
                         connector {by} brings it back: each record would go round for ever; rename the copies \
                         or leave the topic out of one of them",
                        source.1, source.0, destination.1, destination.0
                    ));
                }
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        let (cluster, topic) = text.split_once(':').unwrap();
        (cluster.parse().unwrap(), topic.parse().unwrap())
    }

    fn edges(texts: &[&str]) -> Edges {
        texts.iter().map(|text| text.split_once('>').unwrap()).map(|(a, b)| (place(a), place(b))).collect()
    }

    fn judged(wanted: &[&str], earlier: &[(&str, &[&str])]) -> Verdict {
        let earlier = earlier.iter().map(|(name, texts)| (name.parse().unwrap(), edges(texts))).collect();
        judge(&"new".parse().unwrap(), &edges(wanted), &earlier)
    }

    fn conflict(verdict: Verdict) -> String {
        match verdict {
            Verdict::Conflict(text) => text,
            Verdict::Fine { shared } => panic!("no conflict was seen: {shared:?}"),
        }
    }

    #[test]
    fn unrelated_copies_and_chains_are_fine() {
        let fine = Verdict::Fine { shared: BTreeMap::new() };
        assert_eq!(judged(&["A:t>B:t"], &[]), fine);
        assert_eq!(judged(&["B:t>C:t"], &[("old", &["A:t>B:t"])]), fine);
        assert_eq!(judged(&["B:t>A:t.back"], &[("old", &["A:t>B:t"])]), fine);
    }

    #[test]
    fn the_same_copy_twice_is_refused_naming_both() {
        let text = conflict(judged(&["A:t>B:t"], &[("old", &["A:t>B:t"])]));
        assert!(text.contains("connector new") && text.contains("connector old"), "{text}");
    }

    #[test]
    fn cycles_of_any_length_are_refused() {
        conflict(judged(&["B:t>A:t"], &[("old", &["A:t>B:t"])]));
        let text = conflict(judged(&["C:t>A:t"], &[("one", &["A:t>B:t"]), ("two", &["B:t>C:t"])]));
        assert!(text.contains("connector two"), "{text}");
        conflict(judged(&["A:a>A:b", "A:b>A:a"], &[]));
    }

    #[test]
    fn notes_name_what_is_shared_and_what_is_left_out() {
        let shared = BTreeMap::from([(place("C:t"), BTreeSet::from(["old".parse().unwrap()]))]);
        assert_eq!(shared_note(&shared).as_deref(), Some("topic t is shared with connector old"));
        assert_eq!(shared_note(&BTreeMap::new()), None);
        let topics = |count: usize| (0..count).map(|n| format!("t{n:02}").parse().unwrap()).collect();
        assert_eq!(left_out_note(&topics(0)), None);
        for (count, end) in [(1, "them: t00;"), (10, "t08, t09;"), (11, "t09, and 1 more;")] {
            let note = left_out_note(&topics(count)).unwrap();
            assert!(note.contains(end), "{note}");
        }
    }

    #[test]
    fn different_sources_into_one_destination_make_it_shared() {
        let Verdict::Fine { shared } = judged(&["A:t>C:t"], &[("old", &["B:t>C:t"])]) else {
            panic!("refused")
        };
        assert_eq!(shared, BTreeMap::from([(place("C:t"), BTreeSet::from(["old".parse().unwrap()]))]));
    }
}
