//! The agents that take parts, ordered by what they have, for each wish that parts have: who is idlest is looked up,
//! never searched.

use std::collections::{BTreeMap, BTreeSet};

use super::{Candidate, Labels};

/// An agent that takes parts: its place in the order of names.
pub(super) type Taker = usize;

/// A set of wanted labels: its place in their order.
pub(super) type Wish = usize;

/// Who may take what.
#[derive(Debug)]
pub(super) struct Wishes<'a> {
    of_labels: BTreeMap<&'a Labels, Wish>,
    /// The wishes that each agent fulfils, in order.
    fulfilled: Vec<Vec<Wish>>,
    /// Those that some agent fulfils.
    possible: BTreeSet<Wish>,
}

impl<'a> Wishes<'a> {
    pub(super) fn new(takers: &[&'a Candidate], wanted: &BTreeSet<&'a Labels>) -> Self {
        let fulfils = |taker: &Candidate, wanted: &Labels| {
            wanted.iter().all(|(key, value)| taker.labels.get(key) == Some(value))
        };
        let fulfilled = takers.iter().map(|taker| {
            let all = wanted.iter().enumerate();
            all.filter(|(_, wanted)| fulfils(taker, wanted)).map(|(wish, _)| wish).collect()
        });
        let fulfilled: Vec<Vec<Wish>> = fulfilled.collect();
        Self {
            possible: fulfilled.iter().flatten().copied().collect(),
            fulfilled,
            of_labels: wanted.iter().enumerate().map(|(wish, wanted)| (*wanted, wish)).collect(),
        }
    }

    /// The wish for `labels`; nothing: they were not among the wanted ones.
    pub(super) fn of(&self, labels: &Labels) -> Option<Wish> {
        self.of_labels.get(labels).copied()
    }

    pub(super) fn fulfils(&self, taker: Taker, wish: Wish) -> bool {
        self.fulfilled[taker].binary_search(&wish).is_ok()
    }

    pub(super) fn is_vain(&self, wish: Wish) -> bool {
        !self.possible.contains(&wish)
    }
}

/// Agents by lanes, the idlest first.
type Order = BTreeSet<(usize, Taker)>;

/// The agents that fulfil one wish.
#[derive(Debug, Default)]
struct Eligible<'a> {
    all: Order,
    /// Those in racks that some part prefers.
    of_rack: BTreeMap<&'a str, Order>,
}

/// What every agent has.
#[derive(Debug)]
pub(super) struct Loads<'a> {
    wishes: Wishes<'a>,
    racks: Vec<&'a str>,
    lanes: Vec<usize>,
    eligible: Vec<Eligible<'a>>,
}

impl<'a> Loads<'a> {
    pub(super) fn new(
        takers: &[&'a Candidate],
        wishes: Wishes<'a>,
        preferred: &BTreeSet<&'a str>,
        lanes: Vec<usize>,
    ) -> Self {
        let empty = || Eligible {
            all: Order::new(),
            of_rack: preferred.iter().map(|rack| (*rack, Order::new())).collect(),
        };
        let eligible = wishes.of_labels.iter().map(|_| empty()).collect();
        let racks = takers.iter().map(|taker| taker.rack.as_str()).collect();
        let mut loads = Self { wishes, racks, lanes, eligible };
        (0..takers.len()).for_each(|taker| loads.enter(taker));
        loads
    }

    pub(super) fn lanes(&self, taker: Taker) -> usize {
        self.lanes[taker]
    }

    pub(super) fn rack(&self, taker: Taker) -> &'a str {
        self.racks[taker]
    }

    pub(super) fn set(&mut self, taker: Taker, lanes: usize) {
        self.leave(taker);
        self.lanes[taker] = lanes;
        self.enter(taker);
    }

    /// The idlest agent that fulfils a wish.
    pub(super) fn idlest(&self, wish: Wish) -> Option<Taker> {
        self.eligible[wish].all.first().map(|(_, taker)| *taker)
    }

    /// The idlest of those in `racks`.
    pub(super) fn idlest_in(&self, wish: Wish, racks: &[String]) -> Option<Taker> {
        let of_rack = &self.eligible[wish].of_rack;
        let each = racks.iter().filter_map(|rack| of_rack.get(rack.as_str())?.first());
        each.min().map(|(_, taker)| *taker)
    }

    fn enter(&mut self, taker: Taker) {
        let (at, rack) = ((self.lanes[taker], taker), self.racks[taker]);
        for wish in &self.wishes.fulfilled[taker] {
            let eligible = &mut self.eligible[*wish];
            eligible.all.insert(at);
            if let Some(of_rack) = eligible.of_rack.get_mut(rack) {
                of_rack.insert(at);
            }
        }
    }

    fn leave(&mut self, taker: Taker) {
        let (at, rack) = ((self.lanes[taker], taker), self.racks[taker]);
        for wish in &self.wishes.fulfilled[taker] {
            let eligible = &mut self.eligible[*wish];
            eligible.all.remove(&at);
            if let Some(of_rack) = eligible.of_rack.get_mut(rack) {
                of_rack.remove(&at);
            }
        }
    }
}
