use super::*;
use crate::engine::raw::budget::Budget;
use copyist_wire::TimestampPolicy;

const POLICY: Policy = Policy {
    start_offset: 0,
    log_append_time: TimestampPolicy::Exact,
    drop_null_keys: false,
    max_batch_bytes: 1 << 20,
    max_plain_bytes: 1 << 24,
};

/// What a batch is like; as the source's broker stores it.
#[derive(Clone, Copy)]
pub(crate) struct Like {
    base_offset: i64,
    count: i32,
    /// Offsets that compaction took behind the last record.
    gap: i32,
    bytes: usize,
    attributes: i16,
    producer_id: i64,
}

pub(crate) fn like(base_offset: i64, count: i32, bytes: usize) -> Like {
    Like { base_offset, count, gap: 0, bytes, attributes: 0, producer_id: -1 }
}

fn varint(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Records of `bytes` each, values counting from their offsets; leader epoch 3, stamped 1,000.
pub(crate) fn batch(like: Like) -> Vec<u8> {
    let mut records = Vec::new();
    for delta in 0..like.count {
        let mut body = vec![0];
        varint(0, &mut body);
        varint(delta.into(), &mut body);
        varint(-1, &mut body);
        let value = vec![(like.base_offset + i64::from(delta)) as u8; like.bytes];
        varint(value.len() as i64, &mut body);
        body.extend(value);
        varint(0, &mut body);
        varint(body.len() as i64, &mut records);
        records.extend(body);
    }
    let mut bytes = vec![0; HEADER_BYTES];
    bytes.extend(&records);
    let length = i32::try_from(bytes.len() - 12).unwrap();
    bytes[0..8].copy_from_slice(&like.base_offset.to_be_bytes());
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[12..16].copy_from_slice(&3_i32.to_be_bytes());
    bytes[16] = 2;
    bytes[21..23].copy_from_slice(&like.attributes.to_be_bytes());
    bytes[23..27].copy_from_slice(&(like.count - 1 + like.gap).to_be_bytes());
    bytes[27..35].copy_from_slice(&1_000_i64.to_be_bytes());
    bytes[35..43].copy_from_slice(&1_000_i64.to_be_bytes());
    bytes[43..51].copy_from_slice(&like.producer_id.to_be_bytes());
    bytes[57..61].copy_from_slice(&like.count.to_be_bytes());
    sealed(bytes)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = checksum(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// CRC-32C by the bit.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

fn lease() -> Arc<Lease> {
    Arc::new(Budget::new(1 << 20).take(1))
}

fn reader(read: Read) -> LaneReader {
    let mut reader = LaneReader::new(POLICY);
    reader.begin(&read);
    reader
}

fn from(from_offset: i64, skip_records: u64) -> Read {
    Read { reading: 7, from_offset, skip_records, leader_epoch: -1 }
}

fn push(reader: &mut LaneReader, batches: &[Like]) {
    let bytes: Vec<u8> = batches.iter().flat_map(|like| batch(*like)).collect();
    reader.push(bytes.into(), Vec::new(), &lease()).unwrap();
}

/// What, first offset, next offset, records.
type Seen = (&'static str, i64, i64, u32);

/// Each next thing.
fn all(reader: &mut LaneReader) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        seen.push(match reader.advance() {
            Next::Offer(ready) => {
                let offer = ready.offer;
                assert_eq!(Batch::new(&ready.bytes).unwrap().count().unsigned_abs(), offer.count);
                ("offer", offer.first_offset, offer.next_offset, offer.count)
            }
            Next::NothingUntil { next_offset, .. } => ("nothing", -1, next_offset, 0),
            Next::SkippedTo { next_offset, .. } => ("skipped", -1, next_offset, 0),
            Next::Unreadable(text) => {
                assert!(text.contains("offset"), "{text}");
                ("unreadable", -1, -1, 0)
            }
            Next::ReadAgain(text) => {
                assert!(text.contains("offset"), "{text}");
                ("again", -1, reader.fetch_from().0, 0)
            }
            Next::Empty => return seen,
        });
    }
}

#[test]
fn large_batches_pass_as_they_are() {
    let mut reader = reader(from(10, 0));
    let likes = [like(10, 20, 1_000), like(30, 20, 1_000)];
    push(&mut reader, &likes);
    assert_eq!(reader.fetch_from(), (50, 3));
    for like in likes {
        let Next::Offer(ready) = reader.advance() else { panic!("an offer") };
        assert_eq!(ready.bytes, batch(like));
        assert_eq!((ready.offer.reading, ready.offer.leader_epoch, ready.offer.max_timestamp), (7, 3, 1_000));
        assert_eq!(payload(&ready.bytes), ready.bytes[61..]);
    }
    assert!(matches!(reader.advance(), Next::Empty));
    assert_eq!((reader.queued_bytes(), reader.take_counts().passed), (0, 2));
}

#[test]
fn what_is_cut_is_fetched_again() {
    let mut reader = reader(from(0, 0));
    let mut bytes = batch(like(0, 20, 1_000));
    bytes.extend(&batch(like(20, 20, 1_000))[..100]);
    reader.push(bytes.into(), Vec::new(), &lease()).unwrap();
    assert_eq!(reader.fetch_from(), (20, 3));
    assert_eq!(all(&mut reader), [("offer", 0, 20, 20)]);
    reader.push(Bytes::from_static(b"cut"), Vec::new(), &lease()).unwrap();
    assert_eq!(all(&mut reader), []);
}

#[test]
fn tiny_batches_that_wait_together_go_together() {
    let mut reader = reader(from(0, 0));
    push(&mut reader, &[like(0, 1, 10), like(1, 1, 10), like(2, 1, 10)]);
    push(&mut reader, &[like(3, 1, 10)]);
    assert_eq!(all(&mut reader), [("offer", 0, 4, 4)]);
    // One alone does not wait for others.
    push(&mut reader, &[like(4, 1, 10)]);
    assert_eq!(all(&mut reader), [("offer", 4, 5, 1)]);
    assert_eq!(reader.take_counts().rewritten[Reason::Tiny as usize], 4);
}

#[test]
fn a_large_batch_does_not_overtake_tiny_ones() {
    let mut reader = reader(from(0, 0));
    push(&mut reader, &[like(0, 1, 10), like(1, 20, 1_000), like(21, 1, 10)]);
    assert_eq!(all(&mut reader), [("offer", 0, 1, 1), ("offer", 1, 21, 20), ("offer", 21, 22, 1)]);
}

#[test]
fn a_start_within_a_batch_leaves_what_is_before() {
    let mut reader = reader(from(5, 0));
    push(&mut reader, &[like(0, 20, 1_000)]);
    assert_eq!(all(&mut reader), [("offer", 5, 20, 15)]);
}

#[test]
fn records_at_the_destination_go_by_first() {
    let rows: [(u64, Vec<Seen>); 3] = [
        (20, vec![("skipped", -1, 20, 0), ("offer", 20, 40, 20)]),
        (25, vec![("skipped", -1, 25, 0), ("offer", 25, 40, 15)]),
        (40, vec![("skipped", -1, 40, 0)]),
    ];
    for (skip, expected) in rows {
        let mut reader = reader(from(0, skip));
        push(&mut reader, &[like(0, 20, 1_000), like(20, 20, 1_000)]);
        let mut seen = all(&mut reader);
        // What the skipped ones covered may be told once more.
        seen.retain(|(what, ..)| *what != "nothing");
        assert_eq!(seen, expected, "skip {skip}");
    }
}

#[test]
fn control_aborted_and_empty_batches_are_nothing() {
    let mut reader = reader(from(0, 0));
    let aborted = Like { attributes: 1 << 4, producer_id: 9, ..like(0, 3, 10) };
    let empty = Like { gap: 5, ..like(3, 0, 0) };
    let bytes = [batch(aborted), batch(empty)].concat();
    reader.push(bytes.into(), vec![(9, 0)], &lease()).unwrap();
    assert_eq!(all(&mut reader), [("nothing", -1, 8, 0)]);
    let counts = reader.take_counts();
    assert_eq!(counts.skipped[SkipReason::Aborted as usize], 1);
    assert_eq!(counts.skipped[SkipReason::Empty as usize], 1);
    assert_eq!(all(&mut reader), [], "told once");
}

#[test]
fn gaps_are_renumbered_and_covered() {
    let mut reader = reader(from(0, 0));
    push(&mut reader, &[Like { gap: 4, ..like(0, 20, 1_000) }]);
    assert_eq!(all(&mut reader), [("offer", 0, 24, 20)]);
}

#[test]
fn a_batch_too_large_is_split_and_a_record_too_large_stops() {
    let mut reader = reader(from(0, 0));
    reader.limit_batches(5_000);
    push(&mut reader, &[like(0, 20, 1_000), like(20, 1, 9_000), like(21, 1, 10)]);
    let seen = all(&mut reader);
    assert_eq!(seen.iter().map(|(.., count)| count).sum::<u32>(), 20);
    assert_eq!(seen.last().map(|(what, ..)| *what), Some("unreadable"));
    assert_eq!(seen[seen.len() - 2].2, 20, "all before it is offered");
    assert_eq!((reader.reading(), all(&mut reader)), (None, vec![]), "and nothing behind it");
}

/// The middle one of three is damaged at a byte.
fn damaged_at(byte: usize, flip: u8) -> Bytes {
    let mut middle = batch(like(20, 20, 1_000));
    middle[byte] ^= flip;
    [batch(like(0, 20, 1_000)), middle, batch(like(40, 20, 1_000))].concat().into()
}

#[test]
fn damage_is_read_again_once_and_never_hidden() {
    // As it is it passes: the destination refuses it.
    let mut passing = reader(from(0, 0));
    passing.push(damaged_at(500, 1), Vec::new(), &lease()).unwrap();
    assert_eq!(all(&mut passing).len(), 3);
    // The control bit: it would be skipped, and its records gone.
    let mut skipped = reader(from(0, 0));
    skipped.push(damaged_at(22, 0x20), Vec::new(), &lease()).unwrap();
    assert_eq!(all(&mut skipped), [("offer", 0, 20, 20), ("again", -1, 20, 0)]);
    skipped.push(damaged_at(22, 0), Vec::new(), &lease()).unwrap();
    assert_eq!(all(&mut skipped), [("offer", 20, 40, 20), ("offer", 40, 60, 20)]);
    // Rewritten, or verified at the destination's word: damaged twice, it stays so.
    let mut rewritten = reader(from(25, 0));
    let mut verified = reader(from(20, 0));
    verified.verify_source();
    for (reader, at) in [(&mut rewritten, 25), (&mut verified, 20)] {
        for expected in [("again", -1, at, 0), ("unreadable", -1, -1, 0)] {
            reader.push(damaged_at(500, 1), Vec::new(), &lease()).unwrap();
            let seen: Vec<Seen> = all(reader).into_iter().filter(|it| it.0 != "nothing").collect();
            assert_eq!(seen, [expected]);
        }
        assert_eq!(reader.reading(), None);
    }
}

#[test]
fn what_waits_to_be_merged_goes_before_damage() {
    let mut reader = reader(from(0, 0));
    let mut damaged = batch(like(2, 1, 10));
    damaged[22] ^= 0x20;
    let bytes = [batch(like(0, 1, 10)), batch(like(1, 1, 10)), damaged].concat();
    reader.push(bytes.into(), Vec::new(), &lease()).unwrap();
    assert_eq!(all(&mut reader), [("offer", 0, 2, 2), ("again", -1, 2, 0)]);
}

#[test]
fn a_header_that_makes_no_sense_keeps_what_is_before_it() {
    let mut reader = reader(from(0, 0));
    let mut bytes = batch(like(0, 20, 1_000));
    let mut broken = batch(like(20, 20, 1_000));
    broken[16] = 9;
    bytes.extend(broken);
    assert!(reader.push(bytes.into(), Vec::new(), &lease()).is_err());
    assert_eq!(reader.fetch_from().0, 20);
    assert_eq!(all(&mut reader), [("offer", 0, 20, 20)]);
}

#[test]
fn another_reading_forgets_the_one_before() {
    let mut reader = reader(from(0, 0));
    push(&mut reader, &[like(0, 20, 1_000)]);
    reader.begin(&Read { reading: 8, from_offset: 100, skip_records: 0, leader_epoch: 2 });
    assert_eq!((reader.fetch_from(), reader.queued_bytes()), ((100, 2), 0));
    assert_eq!(all(&mut reader), []);
    reader.stop();
    assert_eq!(reader.reading(), None);
    push(&mut reader, &[like(100, 20, 1_000)]);
    assert_eq!(all(&mut reader), [], "it reads nothing now");
}

#[test]
fn the_budget_is_free_once_a_batch_is_gone() {
    let budget = Budget::new(1 << 20);
    let mut reader = reader(from(0, 0));
    let records = batch(like(0, 20, 1_000));
    let lease = Arc::new(budget.take(records.len()));
    reader.push(records.into(), Vec::new(), &lease).unwrap();
    drop(lease);
    let Next::Offer(ready) = reader.advance() else { panic!("an offer") };
    assert!(matches!(reader.advance(), Next::Empty));
    assert!(budget.used_bytes() > 0);
    drop(ready);
    assert_eq!(budget.used_bytes(), 0);
}
