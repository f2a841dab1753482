use tokio::sync::oneshot::{self, Receiver};

use super::*;

const NOW: Duration = Duration::from_secs(100);

fn record(key: &str, number: usize) -> Outgoing {
    Outgoing { key: format!("{key} {number}"), value: Some("5".to_owned()), mark: None }
}

/// A put of these records.
fn put(outbox: &mut Outbox, now: Duration, records: &[Outgoing]) -> Receiver<Written> {
    let (done, answer) = oneshot::channel();
    outbox.push(now, Put { records: records.to_vec(), stops_at_refusal: false, done });
    answer
}

/// The numbers that the keys end with.
fn numbers_of(draft: &Draft) -> Vec<usize> {
    let key = |item: &Item| item.record.key.rsplit_once(' ').unwrap().1.parse().unwrap();
    draft.items.iter().map(key).collect()
}

#[test]
fn a_put_is_answered_once_all_of_it_is_written() {
    let mut outbox = Outbox::new("p");
    let mut one = put(&mut outbox, NOW, &[record("t", 0), record("t", 1)]);
    let mut other = put(&mut outbox, NOW, &[record("t", 2)]);
    let mut drafts = outbox.take(1, |_| true);
    assert_eq!(drafts.len(), 1);
    assert_eq!(numbers_of(&drafts[0]), [0, 1, 2]);
    assert!(!outbox.has_pending());
    outbox.written(drafts.remove(0), 40);
    assert_eq!(one.try_recv().unwrap().offsets, [(0, 40), (1, 41)]);
    assert_eq!(other.try_recv().unwrap().offsets, [(0, 42)]);
    assert_eq!(outbox.next_deadline(), None);
}

#[test]
fn records_go_to_javas_partition_of_their_key_and_wait_for_its_leader() {
    let mut outbox = Outbox::new("p");
    let records: Vec<Outgoing> = (0..40).map(|number| record("t", number)).collect();
    let _answer = put(&mut outbox, NOW, &records);
    let drafts = outbox.take(5, |partition| partition != 3);
    let sent: usize = drafts.iter().map(|draft| draft.items.len()).sum();
    for draft in &drafts {
        assert_ne!(draft.partition, 3);
        for item in &draft.items {
            assert_eq!(partition_of(item.record.key.as_bytes(), 5), Some(draft.partition));
        }
    }
    let waiting = outbox.take(5, |_| true);
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].partition, waiting[0].items.len()), (3, 40 - sent));
}

#[test]
fn one_batch_of_a_partition_is_on_its_way_and_what_comes_back_goes_first() {
    let mut outbox = Outbox::new("p");
    let _one = put(&mut outbox, NOW, &[record("t", 0), record("t", 1)]);
    let first = outbox.take(1, |_| true).remove(0);
    let _other = put(&mut outbox, NOW, &[record("t", 2)]);
    assert!(outbox.take(1, |_| true).is_empty());
    outbox.again(first);
    assert_eq!(numbers_of(&outbox.take(1, |_| true)[0]), [0, 1, 2]);
}

#[test]
fn a_batch_is_bounded_and_nothing_overtakes() {
    let mut outbox = Outbox::new("p");
    let long = "l".repeat(200);
    let records: Vec<Outgoing> = (0..1_000).map(|number| record(&long, number)).collect();
    let mut answer = put(&mut outbox, NOW, &records);
    let mut seen = Vec::new();
    while outbox.has_pending() {
        let draft = outbox.take(1, |_| true).remove(0);
        assert!(draft.bytes <= BATCH_BYTES_MAX);
        seen.extend(numbers_of(&draft));
        outbox.written(draft, 0);
    }
    assert_eq!(seen, (0..1_000).collect::<Vec<_>>());
    assert_eq!(answer.try_recv().unwrap().offsets.len(), 1_000);
}

#[test]
fn a_failed_batch_fails_its_puts_and_keeps_what_was_written() {
    let mut outbox = Outbox::new("p");
    let records: Vec<Outgoing> = (0..40).map(|number| record("t", number)).collect();
    let mut answer = put(&mut outbox, NOW, &records);
    let mut drafts = outbox.take(2, |_| true);
    let (failed, written) = (drafts.remove(0), drafts.remove(0));
    let count = written.items.len();
    outbox.failed(failed, "no answer");
    assert!(answer.try_recv().is_err(), "the rest is on its way");
    outbox.written(written, 7);
    let told = answer.try_recv().unwrap();
    assert_eq!(told.offsets.len(), count);
    let text = told.failed.unwrap().to_string();
    assert!(text.contains("was not stored in topic p: no answer"), "{text}");
}

#[test]
fn of_a_refused_batch_each_record_is_tried_alone() {
    let mut outbox = Outbox::new("p");
    let mut answer = put(&mut outbox, NOW, &[record("t", 0), record("t", 1), record("t", 2)]);
    let whole = outbox.take(1, |_| true).remove(0);
    let mut other = put(&mut outbox, NOW, &[record("t", 3), record("t", 4)]);
    outbox.refused(whole, "too large");
    let mut tried = Vec::new();
    for offset in 10.. {
        let Some(draft) = outbox.take(1, |_| true).pop() else { break };
        tried.push(numbers_of(&draft));
        if numbers_of(&draft) == [1] {
            outbox.refused(draft, "too large");
        } else {
            outbox.written(draft, offset);
        }
    }
    assert_eq!(tried, [vec![0], vec![1], vec![2], vec![3, 4]]);
    let told = answer.try_recv().unwrap();
    assert_eq!(told.offsets, [(0, 10), (2, 12)]);
    let Some(Error::Stuck(why)) = told.failed else { panic!("{:?}", told.failed) };
    assert_eq!(why, "the record t 1 was not stored in topic p: too large");
    assert!(other.try_recv().unwrap().failed.is_none());
}

#[test]
fn what_follows_a_refused_record_of_a_row_is_not_written() {
    let mut outbox = Outbox::new("p");
    let (done, mut row) = oneshot::channel();
    let records = [0, 1, 2, 3].map(|number| record("t", number)).to_vec();
    outbox.push(NOW, Put { records, stops_at_refusal: true, done });
    let mut other = put(&mut outbox, NOW, &[record("t", 4)]);
    let whole = outbox.take(1, |_| true).remove(0);
    outbox.refused(whole, "too large");
    let first = outbox.take(1, |_| true).remove(0);
    outbox.written(first, 10);
    let second = outbox.take(1, |_| true).remove(0);
    outbox.refused(second, "too large");
    let told = row.try_recv().unwrap();
    assert_eq!(told.offsets, [(0, 10)]);
    assert!(matches!(told.failed, Some(Error::Stuck(_))));
    let last = outbox.take(1, |_| true).remove(0);
    assert_eq!(numbers_of(&last), [4]);
    outbox.written(last, 11);
    assert_eq!(other.try_recv().unwrap().offsets, [(0, 11)]);
}

#[test]
fn a_refusal_is_told_as_one_unless_something_else_may_pass() {
    for refused_first in [true, false] {
        let mut outbox = Outbox::new("p");
        let records: Vec<Outgoing> = (0..40).map(|number| record("t", number)).collect();
        // One for each of two partitions.
        let of = |partition| records.iter().find(|it| partition_of(it.key.as_bytes(), 2) == Some(partition));
        let two = [of(0).unwrap().clone(), of(1).unwrap().clone()];
        let mut answer = put(&mut outbox, NOW, &two);
        let mut drafts = outbox.take(2, |_| true);
        if refused_first {
            outbox.refused(drafts.remove(0), "too large");
            outbox.failed(drafts.remove(0), "no answer");
        } else {
            outbox.failed(drafts.remove(0), "no answer");
            outbox.refused(drafts.remove(0), "too large");
        }
        let failed = answer.try_recv().unwrap().failed.unwrap();
        assert!(
            matches!(failed, Error::Retry { .. }) && failed.to_string().ends_with("no answer"),
            "{failed}"
        );
    }
}

#[test]
fn what_waits_too_long_is_given_up_alone() {
    let mut outbox = Outbox::new("p");
    let mut one = put(&mut outbox, NOW, &[record("t", 0)]);
    let later = NOW + Duration::from_secs(1);
    let mut other = put(&mut outbox, later, &[record("t", 1)]);
    assert_eq!(outbox.next_deadline(), Some(NOW + PUT_DEADLINE));
    outbox.expire(NOW + PUT_DEADLINE - Duration::from_millis(1), "down");
    assert!(one.try_recv().is_err());
    outbox.expire(NOW + PUT_DEADLINE, "down");
    let text = one.try_recv().unwrap().failed.unwrap().to_string();
    assert_eq!(text, "records were not, within 30 s, stored in topic p: down");
    assert!(other.try_recv().is_err());
    assert_eq!(numbers_of(&outbox.take(1, |_| true)[0]), [1]);
}

#[test]
fn what_is_given_up_on_its_way_is_nobodys_when_it_arrives() {
    let mut outbox = Outbox::new("p");
    let mut answer = put(&mut outbox, NOW, &[record("t", 0)]);
    let draft = outbox.take(1, |_| true).remove(0);
    outbox.expire(NOW + PUT_DEADLINE, "slow");
    assert!(answer.try_recv().unwrap().failed.is_some());
    outbox.written(draft, 3);
    let _other = put(&mut outbox, NOW, &[record("t", 0)]);
    let draft = outbox.take(1, |_| true).remove(0);
    outbox.expire(NOW + PUT_DEADLINE, "slow");
    outbox.again(draft);
    assert!(!outbox.has_pending());
}

#[test]
fn puts_are_bounded_and_an_empty_one_is_done_at_once() {
    let mut outbox = Outbox::new("p");
    assert!(put(&mut outbox, NOW, &[]).try_recv().unwrap().failed.is_none());
    let mut answers = Vec::new();
    for _ in 0..PUTS_MAX {
        assert!(outbox.has_room());
        answers.push(put(&mut outbox, NOW, &[record("t", 0)]));
    }
    assert!(!outbox.has_room());
}

#[test]
fn what_nobody_waits_for_any_more_is_not_sent() {
    let mut outbox = Outbox::new("p");
    drop(put(&mut outbox, NOW, &[record("t", 0)]));
    let _answer = put(&mut outbox, NOW, &[record("t", 1)]);
    let drafts = outbox.take(1, |_| true);
    assert_eq!(drafts.iter().flat_map(numbers_of).collect::<Vec<_>>(), [1]);
}
