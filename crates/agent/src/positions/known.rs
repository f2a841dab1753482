//! The positions known so far: of each lane the record that counts. Pure.
//!
//! In the order of the log: a tombstone forgets all before it, a plain offset wins over all before it. An exact position
//! does not win over a newer generation, nor over a greater `n` of its own: then it is the late word of a former owner. So
//! it is when its generation was ended by a change of the offset, which the store of lane records tells: then it does not
//! count at all.
//! Ours are taken in when they are acknowledged and again when they are read, so records come in any order and more than
//! once; what counts depends on their places alone.

use std::collections::BTreeMap;

use copyist_model::{ConnectorName, LaneGeneration, LaneHeld, LaneId};

use super::format::{Entry, Stored};

/// Where a record lies in the positions topic. A key stays in one partition, so its offsets order it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub offset: i64,
}

/// Of lanes.
pub type Generations = BTreeMap<LaneId, LaneGeneration>;

/// What is known of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remembered {
    /// The position that counts.
    pub stored: Option<Stored>,
    /// Of all its positions; zero: there is none that is exact.
    pub newest: LaneGeneration,
}

impl Remembered {
    /// Whether a lane of which the store holds this can begin by it, however old it is: where the lane's record and a
    /// position of ours are there, the destination says where the lane stands, and the position only from where to read. An
    /// offset to start from is believed only when nothing newer can be there.
    ///
    /// Only a takeover from somebody who may still be at work is in such a hurry. Between two holders of which the first
    /// is known to have ended something else may have been there: the other engine, which leaves the record as it is.
    #[must_use]
    pub fn may_be_old(&self, held: Option<&LaneHeld>, is_takeover: bool) -> bool {
        is_takeover && has_record(held) && !self.is_start()
    }

    /// Whether what counts is an offset to start from that the lane's record may have come after: it is looked up again
    /// once who proposed that cannot go on from it.
    #[must_use]
    pub fn may_be_outdone(&self, held: Option<&LaneHeld>, is_takeover: bool) -> bool {
        is_takeover && has_record(held) && self.is_start()
    }

    fn is_start(&self) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.exact.is_none())
    }
}

fn has_record(held: Option<&LaneHeld>) -> bool {
    held.is_some_and(|held| held.record().is_some())
}

/// Positions by lane.
#[derive(Debug, Default)]
pub struct Known {
    lanes: BTreeMap<LaneId, Log>,
}

impl Known {
    /// Takes in a record.
    pub fn apply(&mut self, place: Place, entry: Entry) {
        self.lanes.entry(entry.lane).or_default().insert(place, entry.stored);
    }

    /// What is known of a lane, generations up to `altered` left out.
    #[must_use]
    pub fn remembered(&self, lane: &LaneId, altered: LaneGeneration) -> Remembered {
        self.lanes.get(lane).map(|log| log.remembered(altered)).unwrap_or_default()
    }

    /// Every lane of a connector that has positions, generations up to those of `altered` left out.
    #[must_use]
    pub fn all(&self, connector: &ConnectorName, altered: &Generations) -> Vec<(LaneId, Remembered)> {
        let of_it = self.lanes.iter().filter(|(lane, _)| lane.connector == *connector);
        let remembered = |(lane, log): (&LaneId, &Log)| {
            let found = log.remembered(altered.get(lane).copied().unwrap_or_default());
            let is_any = found.stored.is_some() || found.newest > LaneGeneration::default();
            is_any.then(|| (lane.clone(), found))
        };
        of_it.filter_map(remembered).collect()
    }
}

/// Of each lane the position that would count if all were written in this order.
#[must_use]
pub fn last_word(positions: Vec<(LaneId, Option<Stored>)>) -> Vec<(LaneId, Option<Stored>)> {
    let mut logs: BTreeMap<LaneId, Log> = BTreeMap::new();
    for (offset, (lane, stored)) in (0..).zip(positions) {
        logs.entry(lane).or_default().insert(Place { offset }, stored);
    }
    logs.into_iter().map(|(lane, log)| (lane, log.counts(LaneGeneration::default()).cloned())).collect()
}

/// A lane's records, without those that cannot count any more, whatever else is found between them.
#[derive(Debug, Default)]
struct Log(BTreeMap<Place, Option<Stored>>);

impl Log {
    fn insert(&mut self, place: Place, record: Option<Stored>) {
        let outdone = self.0.range(place..).any(|(_, later)| outdoes(later.as_ref(), record.as_ref()));
        if outdone {
            return;
        }
        self.0.retain(|at, earlier| *at >= place || !outdoes(record.as_ref(), earlier.as_ref()));
        self.0.insert(place, record);
    }

    fn remembered(&self, altered: LaneGeneration) -> Remembered {
        Remembered { stored: self.counts(altered).cloned(), newest: self.newest() }
    }

    fn newest(&self) -> LaneGeneration {
        let generations = self.0.values().flatten().filter_map(progress).map(|(generation, _)| generation);
        generations.max().unwrap_or_default()
    }

    fn counts(&self, altered: LaneGeneration) -> Option<&Stored> {
        let mut counts: Option<&Stored> = None;
        let mut newest = LaneGeneration::default();
        for record in self.0.values().flatten() {
            let Some((generation, n)) = progress(record) else {
                counts = Some(record);
                continue;
            };
            if generation <= altered {
                continue;
            }
            let behind = counts.and_then(progress).is_some_and(|known| (generation, n) < known);
            if generation >= newest && !behind {
                counts = Some(record);
            }
            newest = newest.max(generation);
        }
        counts
    }
}

/// Whether a record makes an earlier one meaningless. A plain offset does not make an exact position so: its generation
/// says which later ones are too old.
fn outdoes(later: Option<&Stored>, earlier: Option<&Stored>) -> bool {
    let Some(later) = later else { return true };
    let Some(earlier) = earlier else { return false };
    match (progress(later), progress(earlier)) {
        (Some(later), Some(earlier)) => later >= earlier,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn progress(stored: &Stored) -> Option<(LaneGeneration, i64)> {
    stored.exact.as_ref().map(|exact| (exact.position.generation, exact.position.n))
}
#[cfg(test)]
mod tests {
    use copyist_model::{Engine, LaneEnd, LaneRecord, Position, TopicId};
    use proptest::prelude::*;

    use super::*;

    fn lane(connector: &str, partition: i32) -> LaneId {
        let (source_cluster, topic) = ("k".parse().unwrap(), "t".parse().unwrap());
        LaneId { connector: connector.parse().unwrap(), source_cluster, topic, partition }
    }

    fn end(topic: &str) -> LaneEnd {
        let (cluster, topic) = ("k".parse().unwrap(), topic.parse().unwrap());
        LaneEnd { cluster, topic, topic_id: TopicId::NONE, partition: 0 }
    }

    /// Its next source offset tells it from others of the same progress.
    fn exact(generation: u64, n: i64, next_offset: i64) -> Stored {
        let generation = LaneGeneration(generation);
        let record = LaneRecord {
            lane: lane("c", 0),
            generation,
            engine: Engine::Raw,
            source: end("t"),
            destination: end("u"),
            producer_id: 1,
            base_n: 0,
            base_offset: 0,
            base_source_offset: 0,
            shared: false,
        };
        Stored::exact(
            Position { generation, next_offset, leader_epoch: -1, n, destination_offset: n },
            record,
        )
    }

    /// What counts of these records, at the places 0, 1, …
    fn counts(log: &[Option<Stored>]) -> Option<Stored> {
        counts_after(LaneGeneration::default(), log)
    }

    /// The same when generations up to `altered` were ended.
    fn counts_after(altered: LaneGeneration, log: &[Option<Stored>]) -> Option<Stored> {
        let mut known = Known::default();
        for (offset, stored) in (0..).zip(log) {
            known.apply(Place { offset }, Entry { lane: lane("c", 0), stored: stored.clone() });
        }
        known.remembered(&lane("c", 0), altered).stored
    }

    #[test]
    fn which_record_of_a_log_counts() {
        let plain = || Some(Stored::plain(7));
        let exact = |generation, n| Some(exact(generation, n, n));
        type Row<'r> = (&'r str, &'r [Option<Stored>], Option<Stored>);
        let rows: [Row<'_>; 16] = [
            ("nothing", &[], None),
            ("the later plain one", &[Some(Stored::plain(9)), plain()], plain()),
            ("greater n", &[exact(2, 50), exact(2, 60)], exact(2, 60)),
            ("a former owner's late word", &[exact(2, 60), exact(2, 50)], exact(2, 60)),
            ("a newer generation, whatever its n", &[exact(2, 60), exact(3, 5)], exact(3, 5)),
            ("not an older generation", &[exact(3, 5), exact(2, 60)], exact(3, 5)),
            ("nor after a late word", &[exact(3, 5), exact(2, 60), exact(2, 70)], exact(3, 5)),
            ("a user's", &[exact(2, 60), plain()], plain()),
            ("the same generation after a user's", &[exact(2, 60), plain(), exact(2, 50)], exact(2, 50)),
            ("the next generation after a user's", &[exact(2, 60), plain(), exact(3, 1)], exact(3, 1)),
            ("not an older one after a user's", &[exact(3, 5), plain(), exact(2, 60)], plain()),
            ("a newer after an older one after a user's", &[plain(), exact(2, 9), exact(3, 5)], exact(3, 5)),
            ("within a generation after a user's", &[plain(), exact(2, 9), exact(2, 5)], exact(2, 9)),
            ("deleted", &[exact(2, 60), None], None),
            ("all is forgotten: older", &[exact(3, 60), None, exact(2, 5)], exact(2, 5)),
            ("all is forgotten: plain", &[exact(3, 60), None, plain(), exact(2, 5)], exact(2, 5)),
        ];
        for (label, log, expected) in rows {
            assert_eq!(counts(log), expected, "{label}");
        }
    }

    #[test]
    fn a_generation_that_a_user_ended_does_not_count_wherever_it_lies() {
        let plain = || Some(Stored::plain(7));
        let exact = |generation, n| Some(exact(generation, n, n));
        type Row<'r> = (&'r str, &'r [Option<Stored>], Option<Stored>);
        let rows: [Row<'_>; 6] = [
            ("a late word", &[exact(2, 60), plain(), exact(2, 70)], plain()),
            ("a late word of one before", &[plain(), exact(1, 90)], plain()),
            ("after a removal", &[exact(2, 60), None, exact(2, 70)], None),
            ("without the change itself", &[exact(2, 60)], None),
            ("what has begun since", &[exact(2, 60), plain(), exact(3, 1), exact(2, 70)], exact(3, 1)),
            ("and its like", &[plain(), exact(2, 70), exact(3, 1), exact(3, 9)], exact(3, 9)),
        ];
        for (label, log, expected) in rows {
            assert_eq!(counts_after(LaneGeneration(2), log), expected, "{label}");
        }
    }

    #[test]
    fn what_may_be_old_is_what_the_destination_completes() {
        let Stored { exact: Some(found), .. } = exact(2, 60, 60) else { unreachable!() };
        let record = LaneHeld::Record(Box::new(found.record));
        let altered = LaneHeld::Altered(LaneGeneration(2));
        let exact = |generation| Some(exact(generation, 60, 60));
        let rows = [
            (Some(&record), None, true),
            (Some(&record), exact(2), true),
            (Some(&record), exact(1), true),
            (Some(&record), Some(Stored::plain(7)), false),
            (Some(&altered), None, false),
            (Some(&altered), exact(3), false),
            (Some(&altered), Some(Stored::plain(7)), false),
            (None, None, false),
            (None, exact(2), false),
            (None, Some(Stored::plain(7)), false),
        ];
        for (held, stored, expected) in rows {
            let found = Remembered { stored, newest: LaneGeneration(2) };
            assert_eq!(found.may_be_old(held, true), expected, "{held:?} {found:?}");
            assert!(!found.may_be_old(held, false), "{held:?} {found:?}");
            let outdone = held == Some(&record) && found.stored == Some(Stored::plain(7));
            assert_eq!(found.may_be_outdone(held, true), outdone, "{held:?} {found:?}");
            assert!(!found.may_be_outdone(held, false), "{held:?} {found:?}");
        }
    }

    #[test]
    fn the_newest_generation_is_known_though_a_users_offset_counts() {
        let mut known = Known::default();
        let newest = |known: &Known| known.remembered(&lane("c", 0), LaneGeneration::default()).newest.0;
        assert_eq!(newest(&known), 0);
        for (offset, stored) in [(1, Some(exact(3, 5, 5))), (2, Some(Stored::plain(7)))] {
            known.apply(Place { offset }, Entry { lane: lane("c", 0), stored });
        }
        let Remembered { stored, .. } = known.remembered(&lane("c", 0), LaneGeneration::default());
        assert_eq!((stored, newest(&known)), (Some(Stored::plain(7)), 3));
        known.apply(Place { offset: 3 }, Entry { lane: lane("c", 0), stored: None });
        assert_eq!(newest(&known), 0, "all is forgotten");
    }

    #[test]
    fn of_the_same_progress_the_later_one_counts() {
        // Offsets with nothing to copy move the source offset alone.
        assert_eq!(counts(&[Some(exact(2, 60, 100)), Some(exact(2, 60, 104))]), Some(exact(2, 60, 104)));
    }

    #[test]
    fn no_more_is_kept_than_can_count() {
        let mut log = Log::default();
        for offset in 0..1_000 {
            log.insert(Place { offset }, Some(exact(2, offset / 2, offset)));
        }
        assert_eq!(log.0.len(), 1);
        log.insert(Place { offset: 1_000 }, Some(Stored::plain(7)));
        log.insert(Place { offset: 1_001 }, Some(Stored::plain(8)));
        assert_eq!(log.0.len(), 2, "the newest generation, and the user's last word");
        log.insert(Place { offset: 1_002 }, None);
        assert_eq!(log.0.len(), 1);
        log.insert(Place { offset: 1_001 }, Some(Stored::plain(8)));
        assert_eq!(log.0.len(), 1, "it was forgotten");
    }

    #[test]
    fn a_lane_named_twice_is_stored_once_by_the_same_rule() {
        let named = |partition, stored: Option<Stored>| (lane("c", partition), stored);
        let (plain, exact) = (|next| Some(Stored::plain(next)), |n| Some(exact(2, n, n)));
        let put = vec![
            named(1, plain(5)),
            named(0, exact(60)),
            named(1, plain(4)),
            named(0, exact(50)),
            named(2, plain(4)),
            named(2, None),
        ];
        assert_eq!(last_word(put), [named(0, exact(60)), named(1, plain(4)), named(2, None)]);
    }

    #[test]
    fn a_connectors_positions_are_its_own_and_not_the_deleted_ones() {
        let mut known = Known::default();
        for (connector, partition, next) in [("c", 1, Some(5)), ("c", 0, None), ("d", 0, Some(9))] {
            let entry = Entry { lane: lane(connector, partition), stored: next.map(Stored::plain) };
            known.apply(Place { offset: 1 }, entry);
        }
        let remembered = Remembered { stored: Some(Stored::plain(5)), newest: LaneGeneration(0) };
        let connector = "c".parse().unwrap();
        assert_eq!(known.all(&connector, &Generations::new()), [(lane("c", 1), remembered)]);
        for (offset, stored) in [(2, exact(3, 9, 9)), (3, Stored::plain(6)), (4, exact(3, 10, 10))] {
            known.apply(Place { offset }, Entry { lane: lane("c", 1), stored: Some(stored) });
        }
        let next_offset = |altered: &Generations| match &known.all(&connector, altered)[..] {
            [(_, Remembered { stored: Some(stored), newest: LaneGeneration(3) })] => stored.next_offset,
            other => panic!("{other:?}"),
        };
        assert_eq!(next_offset(&Generations::new()), 10);
        assert_eq!(next_offset(&[(lane("c", 1), LaneGeneration(3))].into()), 6);
        assert_eq!(next_offset(&[(lane("c", 0), LaneGeneration(3))].into()), 10);
    }

    fn record() -> impl Strategy<Value = Option<Stored>> {
        prop_oneof![
            1 => Just(None),
            2 => (0..50_i64).prop_map(|next| Some(Stored::plain(next))),
            6 => (1..5_u64, 0..6_i64, 0..50_i64).prop_map(|(of, n, next)| Some(exact(of, n, next))),
        ]
    }

    /// The rule, one record after the other.
    fn by_the_rule(log: &[Option<Stored>]) -> Option<Stored> {
        let (mut counts, mut newest): (Option<Stored>, _) = (None, LaneGeneration::default());
        for record in log {
            let Some(stored) = record else {
                (counts, newest) = (None, LaneGeneration::default());
                continue;
            };
            let known = counts.as_ref().and_then(progress);
            let wins = match (progress(stored), known) {
                (None, _) => true,
                (Some((generation, _)), None) => generation >= newest,
                (Some(given), Some(known)) => given.0 >= newest && given >= known,
            };
            if wins {
                counts = Some(stored.clone());
            }
            newest = newest.max(progress(stored).map_or(newest, |(generation, _)| generation));
        }
        counts
    }

    proptest! {
        #[test]
        fn records_count_the_same_in_whatever_order_and_however_often_they_are_seen(
            (log, seen) in proptest::collection::vec(record(), 1..12).prop_flat_map(|log| {
                let places: Vec<usize> = (0..log.len()).chain(0..log.len() / 2).collect();
                (Just(log), Just(places).prop_shuffle())
            }),
        ) {
            let mut known = Known::default();
            for at in seen {
                let place = Place { offset: i64::try_from(at).unwrap() };
                known.apply(place, Entry { lane: lane("c", 0), stored: log[at].clone() });
            }
            let found = known.remembered(&lane("c", 0), LaneGeneration::default());
            prop_assert_eq!(found.stored, by_the_rule(&log));
        }
    }
}
