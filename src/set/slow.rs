//! The slow path of sets: what the fast path in `keys` does not decide.
//!
//! First a list of snapshots (arrays, keys without a slot, concurrency slots), then the general
//! transaction. Both build on `transaction`.

use crate::cells::{Ask, Charge, ChargedTo};
use crate::concurrency_limiter::{Lease, SlotKey};
use crate::decision::{Allowed, Refused};
use crate::sync::Arc;
use crate::time::{Clock, Timestamp};
use crate::transaction::{
    self, Asked, Entries, Entry, HeldSlots, INLINE, Listed, Refusal, Said, tighter,
};
use smallvec::SmallVec;

use super::keys::{SetKey, repeats};
use super::{Charged, Key, Leases, Member, MemberKind, SetPermit};

/// The members of a set, in the order in which they are listed.
pub(super) struct Members<'a, const N: usize>(pub(super) [Member<'a>; N]);

impl<'a, const N: usize> Members<'a, N> {
    /// Decides the members, and writes the answer to `decided`.
    #[cold]
    pub(super) fn decide(
        &self,
        ask: Ask,
        now: &mut dyn FnMut(&'a Clock) -> Timestamp,
        decided: &mut Option<Result<SetPermit<'a, N>, Refused>>,
    ) {
        let fast = if ask.is_all() { self.fast(ask.most, now) } else { None };
        *decided = Some(fast.unwrap_or_else(|| self.decided(ask, now)));
    }

    /// The fast path for arrays, for keys without a slot, and for slots, which the tuples' path
    /// leaves out.
    fn fast(
        &self,
        cost: u64,
        now: &mut dyn FnMut(&'a Clock) -> Timestamp,
    ) -> Option<Result<SetPermit<'a, N>, Refused>> {
        let mut keys = SmallVec::<[Key<'a>; INLINE]>::new();
        let mut listed = Listed::default();
        let mut permit = SetPermit { cost, ..SetPermit::nothing() };
        let mut tightest = None;
        for (place, (member, charged)) in (0..).zip(self.0.iter().zip(&mut permit.charges)) {
            let key = match &member.0 {
                MemberKind::Rate(key) => *key,
                // A cost of 0 takes no slots, and this path would: the transaction decides it.
                MemberKind::Slots(_) if cost == 0 => return None,
                MemberKind::Slots(key) => {
                    if let Some(weight) = self.weight(place as usize, key) {
                        listed.look_slots(place, key.semaphore.clone(), weight, now(key.clock))?;
                    }
                    continue;
                }
            };
            keys.push(key);
            let (rate, at) = (key.rate, now(&key.rate.clock));
            let mut charge =
                Charge { tag: key.tag, cost, at, charged_to: ChargedTo::Own, generation: 0 };
            let says = |said: Said<'_, 'a>| {
                if let Ok(allowed) = said.answer() {
                    let first = tightest.unwrap_or((place, allowed));
                    tightest = Some(tighter(first, (place, allowed)));
                }
            };
            listed.look(place, &rate.store, &mut charge, says)?;
            *charged = Some(Charged { rate, charge });
        }
        if repeats(&keys) || !listed.decide() {
            return None;
        }
        if let Some(Refusal { place, denied }) = listed.refusal {
            let place = place as usize;
            return Some(Err(Refused::new(self.0[place].name(), place, denied)));
        }
        let all = tightest.into_iter().chain(listed.tightest_slots());
        if let Some((_, allowed)) = all.reduce(tighter) {
            permit.allowed = allowed;
        }
        if listed.has_slots() {
            permit.leases = Leases::new(listed.taken().map(lease).collect());
        }
        Some(Ok(permit))
    }

    fn decided(
        &self,
        ask: Ask,
        now: &mut dyn FnMut(&'a Clock) -> Timestamp,
    ) -> Result<SetPermit<'a, N>, Refused> {
        let units = ask.least;
        let mut entries = Entries::new();
        for (index, key) in self.0.iter().enumerate() {
            let place = index as u32;
            let asked = |cost, now| Asked { place, cost, now, enforced: true, turn: false };
            match &key.0 {
                MemberKind::Rate(key) => {
                    let asked = asked(self.cost(index, key, units), now(&key.rate.clock));
                    entries.push(Entry::rate(&key.rate.store, key.tag, asked));
                }
                MemberKind::Slots(key) => {
                    // All listings of the same slots are asked for together, at the first.
                    if let Some(weight) = self.weight(index, key) {
                        let asked = asked(weight.into(), now(key.clock));
                        entries.push(Entry::slots(key.semaphore.clone(), asked));
                    }
                }
            }
        }
        let decided = match ask.most {
            0 => transaction::peek(&mut entries).map(|()| 0),
            cost if ask.is_all() => transaction::admit(&mut entries).map(|()| cost),
            up_to => transaction::grant(&mut entries, up_to),
        };
        let cost = decided.map_err(|refusal| self.refused(&refusal, units, now))?;
        let mut permit = SetPermit { cost, ..SetPermit::nothing() };
        let all_allowed = entries.iter().filter_map(|entry| entry.answer().ok());
        if let Some(allowed) = all_allowed.reduce(Allowed::tighter) {
            permit.allowed = allowed;
        }
        for entry in &entries {
            let place = entry.asked.place as usize;
            if let (Some(charge), Some(key)) = (entry.charge(), self.0[place].rate()) {
                permit.charges[place] = Some(Charged { rate: key.rate, charge });
            }
        }
        permit.leases =
            Leases::new(entries.into_iter().filter_map(Entry::taken).map(lease).collect());
        Ok(permit)
    }

    /// The cost to ask of the key at `index`. The first listing of a key asks for all of its
    /// listings, and each later listing asks for nothing.
    fn cost(&self, index: usize, key: &Key<'_>, cost: u64) -> u64 {
        let same = |other: &&Member<'_>| other.rate().is_some_and(|other| other.is_same(key));
        if self.0.iter().take(index).any(|other| same(&other)) {
            return 0;
        }
        let listed = 1 + self.0.iter().skip(index + 1).filter(same).count();
        cost.saturating_mul(listed as u64)
    }

    fn refused(
        &self,
        refusal: &Refusal,
        cost: u64,
        now: &mut dyn FnMut(&'a Clock) -> Timestamp,
    ) -> Refused {
        self.0.iter().for_each(Member::serve_queued);
        let first = refusal.place as usize;
        let index = self.named(first, cost, now).unwrap_or(first);
        Refused::new(self.0[index].name(), index, refusal.denied)
    }

    /// The listing that exceeds a rate that is listed several times; `first` is its first listing.
    fn named(
        &self,
        first: usize,
        cost: u64,
        now: &mut dyn FnMut(&'a Clock) -> Timestamp,
    ) -> Option<usize> {
        let key = self.0[first].rate()?;
        let mut same = (first..N)
            .filter(|index| self.0[*index].rate().is_some_and(|other| other.is_same(&key)));
        if same.clone().count() == 1 {
            return None;
        }
        let now = now(&key.rate.clock);
        let mut asked = 0_u64;
        same.find(|_| {
            asked = asked.saturating_add(cost);
            key.rate.store.peek(key.tag, asked, now).is_err()
        })
    }

    /// The weight of all listings of the slots, if `index` is the first of them.
    fn weight(&self, index: usize, key: &SlotKey<'_>) -> Option<u32> {
        let same = |other: &SlotKey<'_>| Arc::ptr_eq(&other.semaphore, &key.semaphore);
        let listed = self.0.iter().enumerate().filter_map(|(at, other)| match &other.0 {
            MemberKind::Slots(other) if same(other) => Some((at, other.weight)),
            _ => None,
        });
        let mut weight = 0_u32;
        for (at, of_listing) in listed {
            if at < index {
                return None;
            }
            weight = weight.saturating_add(of_listing);
        }
        Some(weight)
    }
}

fn lease(HeldSlots { semaphore, held, .. }: HeldSlots) -> Lease {
    Lease::new(semaphore, held)
}

impl Member<'_> {
    /// After a refusal: waiters may be ready, since time has passed and no event woke them.
    fn serve_queued(&self) {
        match &self.0 {
            MemberKind::Rate(key) => key.rate.serve_queued(key.tag),
            MemberKind::Slots(key) => key.semaphore.serve_queued(),
        }
    }

    fn name(&self) -> Option<&'static str> {
        match &self.0 {
            MemberKind::Rate(key) => key.rate.name,
            MemberKind::Slots(key) => key.name,
        }
    }
}
