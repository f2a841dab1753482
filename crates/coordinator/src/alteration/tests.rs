use super::*;

fn connector() -> ConnectorName {
    "c".parse().unwrap()
}

fn spec() -> ConnectorSpec {
    let config = [
        ("connector.class", "EMRReplicatorSourceConnector"),
        ("src.kafka.bootstrap.servers", "s:9092"),
        ("topic.whitelist", "t"),
    ];
    let config = config.iter().map(|(key, value)| ((*key).into(), Some((*value).into()))).collect();
    copyist_connector::parse("c", &config).unwrap().spec
}

fn lane(partition: i32) -> LaneId {
    LaneId {
        connector: connector(),
        source_cluster: "k".parse().unwrap(),
        topic: "t".parse().unwrap(),
        partition,
    }
}

fn offset(partition: &str, offset: Option<&str>) -> ConnectorOffset {
    ConnectorOffset { partition_json: partition.to_owned(), offset_json: offset.map(str::to_owned) }
}

fn asked(offsets: &[ConnectorOffset]) -> Result<Changes, String> {
    let (name, source, spec) = (connector(), "k".parse().unwrap(), spec());
    read(&Of { connector: &name, source: Some(&source), spec: Some(&spec) }, offsets)
}

const P0: &str = r#"{"topic":"t","partition":0,"cluster":"k"}"#;

#[test]
fn an_offset_is_the_last_one_copied() {
    let rows = [
        (Some(r#"{"offset":41}"#), Some(42)),
        (Some(r#"{"offset":"41"}"#), Some(42)),
        (Some(r#"{"offset":-1}"#), Some(0)),
        (Some(r#"{"offset":41,"copyist.n":9,"x":null}"#), Some(42)),
        (Some("null"), None),
        (None, None),
    ];
    for (given, next_offset) in rows {
        assert_eq!(asked(&[offset(P0, given)]), Ok([(lane(0), next_offset)].into()), "{given:?}");
    }
    let twice = [offset(P0, Some(r#"{"offset":1}"#)), offset(P0, Some(r#"{"offset":2}"#))];
    assert_eq!(asked(&twice), Ok([(lane(0), Some(3))].into()), "the last one counts");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let at_5 = Some(r#"{"offset":5}"#);
    let rows = [
        ("null", at_5, "Partition objects cannot be null"),
        ("[1]", at_5, "Partition [1] is not a JSON object"),
        ("{", at_5, "Partition { is not JSON: EOF"),
        (r#"{"partition":0,"topic":"t"}"#, at_5, "is missing the 'cluster' key"),
        (r#"{"cluster":"k","partition":0}"#, at_5, "is missing the 'topic' key"),
        (r#"{"cluster":"k","topic":"t"}"#, at_5, "is missing the 'partition' key"),
        (
            r#"{"cluster":1,"partition":0,"topic":"t"}"#,
            at_5,
            "invalid value 1 for the 'cluster' key, which must be a string",
        ),
        (r#"{"cluster":"k","partition":0,"topic":"a b"}"#, at_5, "a b"),
        (r#"{"cluster":"k","partition":"x","topic":"t"}"#, at_5, "'partition' key, which must be an integer"),
        (r#"{"cluster":"k","partition":-1,"topic":"t"}"#, at_5, "'partition' key, which cannot be negative"),
        (r#"{"cluster":"k","partition":2147483648,"topic":"t"}"#, at_5, "must be a 32-bit integer"),
        (r#"{"cluster":"k","partition":[0],"topic":"t"}"#, at_5, "field partition contains ARRAY"),
        (
            r#"{"cluster":"j","partition":0,"topic":"t"}"#,
            at_5,
            "is of cluster j, and connector c copies from cluster k",
        ),
        (r#"{"cluster":"k","partition":0,"topic":"u"}"#, at_5, "does not select topic u"),
        (P0, Some(r#"{"position":5}"#), "is missing the 'offset' key"),
        (P0, Some(r#"{"offset":1.5}"#), "invalid value 1.5 for the 'offset' key, which must be an integer"),
        (P0, Some(r#"{"offset":-2}"#), "cannot be below -1"),
        (P0, Some(r#"{"offset":9223372036854775807}"#), "is too large"),
        (P0, Some(r#"{"offset":{}}"#), "field offset contains MAP"),
        (P0, Some("5"), "Offset 5 is not a JSON object"),
    ];
    let mut all = Vec::new();
    for (partition, given, expected) in rows {
        let told = asked(&[offset(partition, given)]).unwrap_err();
        assert!(told.contains(expected) && told.lines().count() == 1, "{partition} {given:?}: {told}");
        all.push(offset(partition, given));
    }
    assert_eq!(asked(&all).unwrap_err().lines().count(), rows.len());
}

#[test]
fn what_is_not_selected_can_be_removed_and_before_the_first_survey_any_cluster_is_taken() {
    let elsewhere = r#"{"cluster":"k","partition":0,"topic":"u"}"#;
    assert_eq!(asked(&[offset(elsewhere, None)]).unwrap().len(), 1);
    let name = connector();
    let unknown = Of { connector: &name, source: None, spec: None };
    let given = offset(r#"{"cluster":"j","partition":0,"topic":"u"}"#, Some(r#"{"offset":5}"#));
    let changes = read(&unknown, &[given]).unwrap();
    assert_eq!(changes.into_values().collect::<Vec<_>>(), [Some(6)]);
}

#[test]
fn what_is_written_again_or_left_out_is_told() {
    let before: BTreeMap<LaneId, i64> = (0..4).map(|partition| (lane(partition), 100)).collect();
    let changes: Changes =
        [(0, Some(50)), (1, Some(150)), (2, None), (3, Some(100)), (4, Some(7)), (5, None)]
            .map(|(partition, to)| (lane(partition), to))
            .into();
    let expected = "offsets were changed: t-0 writes offsets 50 to 99 again; t-1 leaves out offsets 100 to 149; t-2 begins \
                    anew (it was copied up to offset 99); t-4 begins at offset 7; in all 50 offsets are written again";
    assert_eq!(told(&changes, &before).as_deref(), Some(expected));
    assert_eq!(told(&[(lane(3), Some(100)), (lane(9), None)].into(), &before), None);
    let began = told(&[(lane(0), None)].into(), &[(lane(0), 0)].into()).unwrap();
    assert!(began.ends_with("t-0 begins anew (nothing of it was copied)"), "{began}");
    let many: Changes = (0..12).map(|partition| (lane(partition), Some(7))).collect();
    let told = told(&many, &BTreeMap::new()).unwrap();
    assert!(told.ends_with("t-9 begins at offset 7; and 2 more"), "{told}");
}
