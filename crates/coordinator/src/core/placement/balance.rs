//! The work on one plan: first every part that has no place gets one, then those with too much give.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{AgentId, AssignmentId};

use super::loads::{Loads, Taker, Wish, Wishes};
use super::{Candidate, Fleet, Hold, Move, Placed, Plan, Standing};

/// A part that this plan may place: its place in the order of ids.
type Item = usize;

/// The order in which an agent gives parts of one wish: of equal weights first what it would only get by this plan, then
/// what does not prefer its rack.
type GivingOrder = (usize, bool, bool, Item);

pub(super) struct Work<'a> {
    takers: Vec<&'a AgentId>,
    loads: Loads<'a>,
    items: Vec<Piece<'a>>,
    /// What each agent would have.
    held: Vec<BTreeMap<Wish, BTreeSet<GivingOrder>>>,
    /// What was given to somebody by this plan, in that order.
    given: Vec<Item>,
}

struct Piece<'a> {
    id: &'a AssignmentId,
    part: &'a Placed,
    weight: usize,
    wish: Wish,
    /// Who must release it first.
    from: Option<&'a AgentId>,
    /// Where it counts before this plan; nothing: it needs a place.
    before: Option<Taker>,
    after: Option<Taker>,
}

impl<'a> Work<'a> {
    pub(super) fn new(fleet: &'a Fleet) -> Self {
        let takes = |(_, agent): &(&AgentId, &Candidate)| agent.standing == Standing::Takes;
        let (takers, candidates): (Vec<&AgentId>, Vec<&Candidate>) =
            fleet.agents.iter().filter(takes).unzip();
        let wanted = fleet.parts.values().map(|part| &part.wants).collect();
        let preferred = fleet.parts.values().flat_map(|part| &part.prefers).map(String::as_str).collect();
        let wishes = Wishes::new(&candidates, &wanted);
        let numbers = takers.iter().enumerate().map(|(taker, agent)| (*agent, taker)).collect();
        let items: Vec<Piece> =
            fleet.parts.iter().filter_map(|(id, part)| piece(fleet, &numbers, &wishes, id, part)).collect();
        let mut lanes = vec![0; takers.len()];
        for item in &items {
            item.before.into_iter().for_each(|taker| lanes[taker] += item.weight);
        }
        let loads = Loads::new(&candidates, wishes, &preferred, lanes);
        let held = vec![BTreeMap::new(); takers.len()];
        let mut work = Self { takers, loads, items, held, given: Vec::new() };
        for item in 0..work.items.len() {
            if let Some(taker) = work.items[item].before {
                work.items[item].after = Some(taker);
                work.note(item, taker);
            }
        }
        work
    }

    /// Heaviest first, as that evens out best; of equal ones first those that care where they go.
    pub(super) fn place_homeless(&mut self) {
        let mut homeless: Vec<Item> =
            (0..self.items.len()).filter(|item| self.items[*item].before.is_none()).collect();
        homeless.sort_by_key(|item| {
            let Piece { weight, part, .. } = &self.items[*item];
            (Reverse(*weight), part.prefers.is_empty(), *item)
        });
        let total: usize = self.items.iter().map(|item| item.weight).sum();
        let share = total / self.takers.len().max(1);
        for item in homeless {
            if let Some(taker) = self.idlest_for(item, share) {
                self.give(item, taker);
            }
        }
    }

    /// The idlest agent, or one in a preferred rack that has as little or stays within `share`.
    fn idlest_for(&self, item: Item, share: usize) -> Option<Taker> {
        let Piece { weight, wish, part, .. } = &self.items[item];
        let idlest = self.loads.idlest(*wish)?;
        let preferred = self.loads.idlest_in(*wish, &part.prefers).filter(|taker| {
            let lanes = self.loads.lanes(*taker);
            lanes == self.loads.lanes(idlest) || lanes + weight <= share
        });
        Some(preferred.unwrap_or(idlest))
    }

    /// Whoever has too much gives, whoever has most first. Each gift brings giver and taker nearer to each other, so
    /// this ends. Where all may take everything one round does it: nobody ever gets less than the idlest had, so who
    /// needed not give need not later. Only labels can make an idlest agent of one that gave.
    pub(super) fn balance(&mut self) {
        while self.balance_once() {}
    }

    fn balance_once(&mut self) -> bool {
        let mut givers: BTreeSet<(usize, Reverse<Taker>)> =
            (0..self.takers.len()).map(|taker| (self.loads.lanes(taker), Reverse(taker))).collect();
        let mut any = false;
        while let Some((_, Reverse(giver))) = givers.pop_last() {
            let Some((item, taker)) = self.gift(giver) else { continue };
            let waits = givers.remove(&(self.loads.lanes(taker), Reverse(taker)));
            self.give(item, taker);
            givers.insert((self.loads.lanes(giver), Reverse(giver)));
            if waits {
                givers.insert((self.loads.lanes(taker), Reverse(taker)));
            }
            any = true;
        }
        any
    }

    /// What an agent gives to the idlest one, if it has too much: the lightest part that is enough, or else the heaviest.
    fn gift(&self, giver: Taker) -> Option<(Item, Taker)> {
        self.held[giver].iter().find_map(|(wish, held)| {
            let (heaviest, ..) = *held.last()?;
            let surplus = self.loads.lanes(giver).saturating_sub(self.loads.lanes(self.loads.idlest(*wish)?));
            let too_much = surplus.checked_sub(heaviest).filter(|lanes| *lanes > 0)?;
            let enough = too_much.div_ceil(2).min(heaviest);
            let (.., item) = *held.range((enough, false, false, 0)..).next()?;
            Some((item, self.idlest_for(item, 0)?))
        })
    }

    fn give(&mut self, item: Item, taker: Taker) {
        let weight = self.items[item].weight;
        if let Some(giver) = self.items[item].after.replace(taker) {
            let order = self.giving_order(item, giver);
            if let Some(held) = self.held[giver].get_mut(&self.items[item].wish) {
                held.remove(&order);
            }
            self.loads.set(giver, self.loads.lanes(giver) - weight);
        }
        self.loads.set(taker, self.loads.lanes(taker) + weight);
        self.note(item, taker);
        self.given.push(item);
    }

    fn note(&mut self, item: Item, taker: Taker) {
        // Balance leaves it alone: it counts, and is not given.
        if self.items[item].part.pinned && self.items[item].before == Some(taker) {
            return;
        }
        let order = self.giving_order(item, taker);
        self.held[taker].entry(self.items[item].wish).or_default().insert(order);
    }

    fn giving_order(&self, item: Item, taker: Taker) -> GivingOrder {
        let Piece { weight, before, part, .. } = &self.items[item];
        let at_home = part.prefers.iter().any(|rack| rack == self.loads.rack(taker));
        (*weight, *before == Some(taker), at_home, item)
    }

    pub(super) fn plan(mut self) -> Plan {
        let mut plan = Plan::default();
        for item in std::mem::take(&mut self.given) {
            let Piece { id, from, before, after, .. } = &mut self.items[item];
            // Taken, so that what was given twice is in the plan once.
            let Some(after) = after.take().filter(|after| *before != Some(*after)) else { continue };
            let (id, to) = ((*id).clone(), self.takers[after].clone());
            match from {
                Some(from) => plan.moves.push(Move { id, from: (*from).clone(), to }),
                None => drop(plan.taken.insert(id, to)),
            }
        }
        plan
    }
}

/// Nothing: the part is with an agent that keeps it.
fn piece<'a>(
    fleet: &'a Fleet,
    numbers: &BTreeMap<&AgentId, Taker>,
    wishes: &Wishes,
    id: &'a AssignmentId,
    part: &'a Placed,
) -> Option<Piece<'a>> {
    let wish = wishes.of(&part.wants)?;
    // What no agent may have stays where it is, and counts there.
    let may_stay = |taker: &Taker| wishes.fulfils(*taker, wish) || wishes.is_vain(wish);
    let taker = |agent: &AgentId| numbers.get(agent).copied().filter(may_stay);
    let holder = match &part.hold {
        Hold::Nobody => None,
        Hold::Agent(agent) | Hold::Moving { from: agent, .. } => fleet.agents.get_key_value(agent),
    };
    let before = match (&part.hold, holder) {
        (Hold::Nobody, _) | (_, None) => None,
        (Hold::Agent(_), Some((_, Candidate { standing: Standing::Keeps, .. }))) => return None,
        (Hold::Agent(agent), Some(_)) => taker(agent),
        (Hold::Moving { to, .. }, Some(_)) => taker(to),
    };
    let weight = part.weight.max(1);
    Some(Piece { id, part, weight, wish, from: holder.map(|(agent, _)| agent), before, after: None })
}
