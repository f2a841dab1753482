//! Whom the leader has not heard of for too long.
//!
//! Silence is counted in the time that the leader listened and heard anybody at all. What it slept through itself is
//! nobody's silence; and when all are silent it is the leader that is cut off: nobody could take over anything, and the
//! first one that is heard again must not be given the work of all. So a new leader waits for everybody from the first
//! word that it hears.

use std::collections::{BTreeMap, BTreeSet};

use super::view::Holder;

/// Who was heard when.
#[derive(Debug)]
pub(super) struct Hearing {
    suspect_ms: u64,
    /// How long the leader has listened.
    listened_ms: u64,
    stepped_ms: Option<u64>,
    /// When anybody was heard last; this and the rest counted in listened time.
    anybody_ms: Option<u64>,
    /// When who was heard last, or listened for first.
    heard_ms: BTreeMap<Holder, u64>,
    suspects: BTreeSet<Holder>,
}

impl Hearing {
    pub(super) fn new(suspect_ms: u64) -> Self {
        let (heard_ms, suspects) = (BTreeMap::new(), BTreeSet::new());
        Self { suspect_ms, listened_ms: 0, stepped_ms: None, anybody_ms: None, heard_ms, suspects }
    }

    /// A step begins.
    pub(super) fn listen(&mut self, now_ms: u64) {
        // More than lies between two heartbeats, and too little to be suspect for.
        let longest_ms = self.suspect_ms / 2;
        let passed_ms = self.stepped_ms.map_or(0, |before| now_ms.saturating_sub(before));
        let latest_ms = self.anybody_ms.map_or(0, |heard| heard + longest_ms);
        self.listened_ms = (self.listened_ms + passed_ms).min(latest_ms);
        self.stepped_ms = Some(now_ms);
    }

    /// A holder said something. Returns whether it was suspect until now.
    pub(super) fn hear(&mut self, holder: &Holder) -> bool {
        self.anybody_ms = Some(self.listened_ms);
        self.heard_ms.insert(holder.clone(), self.listened_ms);
        self.suspects.remove(holder)
    }

    /// Finds out who of `living` is silent for too long; one that was never heard is from now on listened for. Returns
    /// whether there are others than before.
    pub(super) fn judge(&mut self, living: BTreeSet<Holder>) -> bool {
        self.heard_ms.retain(|holder, _| living.contains(holder));
        let now_ms = self.listened_ms;
        let mut suspects = BTreeSet::new();
        for holder in living {
            let heard_ms = *self.heard_ms.entry(holder.clone()).or_insert(now_ms);
            if now_ms - heard_ms >= self.suspect_ms {
                suspects.insert(holder);
            }
        }
        let changed = suspects != self.suspects;
        self.suspects = suspects;
        changed
    }

    pub(super) fn is_suspect(&self, holder: &Holder) -> bool {
        self.suspects.contains(holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(incarnation: &str) -> Holder {
        Holder { agent: "a:1".parse().unwrap(), incarnation: incarnation.into() }
    }

    fn living() -> BTreeSet<Holder> {
        BTreeSet::from([holder("one"), holder("two")])
    }

    fn hearing() -> Hearing {
        let mut hearing = Hearing::new(900);
        hearing.listen(10_000);
        for holder in living() {
            hearing.hear(&holder);
        }
        assert!(!hearing.judge(living()));
        hearing
    }

    /// In steps of 100 ms, of which the last may be shorter.
    fn pass(hearing: &mut Hearing, from_ms: u64, to_ms: u64, speaker: Option<&str>) {
        for now_ms in (from_ms..to_ms).step_by(100).skip(1).chain([to_ms]) {
            hearing.listen(now_ms);
            let _ = speaker.map(|speaker| hearing.hear(&holder(speaker)));
        }
    }

    #[test]
    fn who_is_silent_for_long_enough_is_suspect_until_it_speaks() {
        let mut hearing = hearing();
        pass(&mut hearing, 10_000, 10_899, Some("two"));
        assert!(!hearing.judge(living()));
        hearing.listen(10_900);
        assert!(hearing.judge(living()) && !hearing.judge(living()));
        assert!(hearing.is_suspect(&holder("one")) && !hearing.is_suspect(&holder("two")));
        assert!(hearing.hear(&holder("one")) && !hearing.is_suspect(&holder("one")));
        assert!(!hearing.hear(&holder("one")), "it was not suspect");
    }

    #[test]
    fn what_the_leader_sleeps_through_is_nobodys_silence() {
        let mut hearing = hearing();
        hearing.listen(70_000);
        assert!(!hearing.hear(&holder("two")) && !hearing.judge(living()));
        pass(&mut hearing, 70_000, 70_449, Some("two"));
        assert!(!hearing.judge(living()));
        hearing.listen(70_450);
        assert!(hearing.judge(living()), "450 ms of the sleep counted");
    }

    #[test]
    fn when_nobody_is_heard_nobody_is_suspect_and_all_are_waited_for_after_the_first() {
        let mut hearing = hearing();
        pass(&mut hearing, 10_000, 40_000, None);
        assert!(!hearing.judge(living()));
        hearing.hear(&holder("two"));
        pass(&mut hearing, 40_000, 40_449, Some("two"));
        assert!(!hearing.judge(living()));
        hearing.listen(40_450);
        assert!(hearing.judge(living()) && hearing.is_suspect(&holder("one")));
    }

    #[test]
    fn a_new_leader_waits_for_everybody_from_the_first_word_on() {
        let mut hearing = Hearing::new(900);
        pass(&mut hearing, 0, 60_000, None);
        assert!(!hearing.judge(living()));
        hearing.hear(&holder("two"));
        pass(&mut hearing, 60_000, 60_899, Some("two"));
        assert!(!hearing.judge(living()));
        hearing.listen(60_900);
        assert!(hearing.judge(living()) && hearing.is_suspect(&holder("one")));
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut hearing = hearing();
        pass(&mut hearing, 10_000, 11_000, Some("two"));
        assert!(hearing.judge(living()) && hearing.judge(BTreeSet::from([holder("two")])));
        assert!(!hearing.is_suspect(&holder("one")));
        assert!(!hearing.judge(living()), "who comes back is listened for anew");
    }
}
