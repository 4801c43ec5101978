//! Several limits on the fast path, as a list: where their number is not known before, or keys have no
//! slot yet, or concurrency slots are among them.

use smallvec::SmallVec;

use crate::cells::{Charge, FastPending, Newcomer};
use crate::concurrency_limiter::Semaphore;
use crate::decision::{Allowed, Denied, Retry};
use crate::rate_limiter::Store;
use crate::slots::Claim;
use crate::sync::{Arc, mutant};
use crate::time::Timestamp;

use super::slot_participant::{HeldSlots, SLOTS, SlotParticipant, SlotParticipants};
use super::{FastParticipant, INLINE, Refusal, Said, commit_last};

/// Limits that were looked at, to be decided as one.
#[derive(Default)]
pub(crate) struct Listed<'a> {
    keys: SmallVec<[FastPending<'a>; INLINE]>,
    newcomers: SmallVec<[Newcomer<'a>; 2]>,
    slots: SlotParticipants,
    /// Read where it stands: it is large, and a copy that is read at once is slow.
    pub(crate) refusal: Option<Refusal>,
}

impl<'a> Listed<'a> {
    /// Looks at the key that is to be charged, and notes the generation of its quota. Gives the tick at
    /// which its bucket is full after the charge; 0 if it is denied. `says` is told what the key says.
    /// `place`: that of its limit among those of the request. `None`: the fast path does not decide
    /// it.
    #[inline(always)]
    pub(crate) fn look(
        &mut self,
        place: u32,
        store: &'a Store,
        charge: &mut Charge,
        says: impl FnOnce(Said<'_, 'a>),
    ) -> Option<u64> {
        let part = FastParticipant::new::<false>(store, charge.tag, charge.cost, charge.at);
        let Some(part) = part else {
            let newcomer = self.look_again(store, charge)?;
            says(Said::New(newcomer));
            return Some(newcomer.full());
        };
        says(Said::Seen(&part));
        Some(match part.step() {
            Ok(full) => {
                let key = part.pending_until(full);
                charge.generation = key.generation();
                self.keys.push(key);
                full
            }
            Err(at) => {
                match &mut self.refusal {
                    Some(Refusal { denied, .. }) => {
                        denied.retry = denied.retry.max(Retry::After(part.wait(at)));
                    }
                    none => *none = part.refusal(place),
                }
                self.keys.push(part.pending_until(0));
                0
            }
        })
    }

    /// Looks at slots that are to be taken. `None`: as of `look`.
    #[inline(never)]
    pub(crate) fn look_slots(
        &mut self,
        place: u32,
        semaphore: Arc<Semaphore>,
        units: u32,
        now: Timestamp,
    ) -> Option<()> {
        let part = SlotParticipant::fast(place, semaphore, units, now)?;
        if let Err(denied) = part.answer() {
            let refusal = Refusal { place, denied };
            self.refusal = Some(self.refusal.map_or(refusal, |first| first.and(refusal)));
        }
        self.slots.push(part)
    }

    /// Looks at a key without a slot.
    #[cold]
    #[inline(never)]
    fn look_again(&mut self, store: &'a Store, charge: &mut Charge) -> Option<&Newcomer<'a>> {
        let Store::Words(words) = store else { return None };
        let newcomer = words.cells.newcomer(charge.tag, charge.cost, charge.at)?;
        charge.generation = newcomer.generation();
        self.newcomers.push(newcomer);
        self.newcomers.last()
    }

    /// Charges and takes all, or confirms the refusal. Says whether it did: something may have come
    /// between.
    #[inline(always)]
    pub(crate) fn decide(&mut self) -> bool {
        if self.refusal.is_some() {
            return self.is_valid();
        }
        let is_seated = self.newcomers.is_empty() || self.insert_new();
        is_seated && if self.slots.is_empty() { self.commit() } else { self.commit_and_take() }
    }

    /// Whether all was as it was seen at one moment, since it still is.
    #[inline(always)]
    pub(crate) fn is_valid(&self) -> bool {
        // The tables are asked now whether newcomers have slots, and the others are confirmed after
        // that: they have not changed since they were looked at, so all was so at a moment at which the
        // tables answered.
        let are_absent = match &*self.newcomers {
            [] => true,
            [newcomer] => newcomer.is_valid(),
            newcomers => all_absent(newcomers),
        };
        are_absent
            && (self.slots.is_empty() || self.slots.iter().all(SlotParticipant::is_valid))
            && self.keys.iter().all(FastPending::is_valid)
    }

    #[inline(always)]
    pub(crate) fn has_slots(&self) -> bool {
        !self.slots.is_empty()
    }

    /// What each concurrency limit says, and its place.
    pub(crate) fn slot_answers(&self) -> impl Iterator<Item = (u32, Result<Allowed, Denied>)> {
        self.slots.iter().map(|part| (part.place, part.answer()))
    }

    /// How the concurrency limit stands of which the least remains, and its place.
    pub(crate) fn tightest_slots(&self) -> Option<(u32, Allowed)> {
        let stood = self.slot_answers().filter_map(|(place, answer)| Some((place, answer.ok()?)));
        stood.reduce(tighter)
    }

    /// The slots that were taken.
    pub(crate) fn taken(&mut self) -> impl Iterator<Item = HeldSlots> {
        self.slots.take().filter_map(SlotParticipant::taken)
    }

    /// Gives each newcomer a slot, since all keys agree. Says whether all have one.
    #[cold]
    #[inline(never)]
    fn insert_new(&mut self) -> bool {
        let inserted = self.newcomers.iter().map_while(Newcomer::insert_new);
        let before = self.keys.len();
        self.keys.extend(inserted);
        self.keys.len() - before == self.newcomers.len()
    }

    /// Charges all, or none if something came between: each is held while those after it are charged.
    /// Nothing in between can panic.
    #[inline(always)]
    fn commit(&self) -> bool {
        let Some((last, outer)) = self.keys.split_last() else { return true };
        let held = hold(outer);
        let is_charged = held == outer.len() && commit_last(last);
        release(outer, held, is_charged);
        is_charged
    }

    /// As `commit`, and takes the slots: all keys are held, and all slots but the last.
    #[inline(never)]
    fn commit_and_take(&mut self) -> bool {
        if mutant("slots_before_words") {
            // They refuse others then, and nobody keeps them.
            self.slots.iter_mut().for_each(SlotParticipant::take_anyway);
            let is_charged = self.commit();
            if !is_charged {
                self.taken()
                    .for_each(|HeldSlots { semaphore, held, .. }| semaphore.give_back(&held));
            }
            return is_charged;
        }
        let (taken, seen) = {
            let mut outer = self.slots.iter().rev();
            let Some(last) = outer.next() else { return self.commit() };
            // While it has claims the caller waits for nobody. Made before anything is held: that may
            // allocate.
            let mut claims = [const { None }; SLOTS];
            for (claim, part) in claims.iter_mut().zip(self.slots.iter()) {
                let Some(claimed) = part.claim() else { return false };
                *claim = Some(claimed);
            }
            let held = hold(&self.keys);
            let mut seen = None;
            if held == self.keys.len() {
                let held = outer.clone().take_while(|part| part.hold()).count();
                if held == outer.clone().count() {
                    seen = last.commit();
                }
                outer.take(held).for_each(|part| part.release(seen.is_some()));
            }
            release(&self.keys, held, seen.is_some());
            let Some(seen) = seen else { return false };
            (claims.map(|claim| claim.map(Claim::live)), seen)
        };
        for (part, held) in self.slots.iter_mut().zip(taken) {
            part.held = held;
        }
        if let Some(last) = self.slots.iter_mut().next_back() {
            last.look = seen;
        }
        true
    }
}

/// Whether there was a moment at which no newcomer had a slot: each has none before it, and none after
/// it, and has not been forgotten in between.
#[cold]
#[inline(never)]
fn all_absent(newcomers: &[Newcomer<'_>]) -> bool {
    let before: SmallVec<[Option<u64>; INLINE]> =
        newcomers.iter().map(Newcomer::forgotten).collect();
    let is_still = |(newcomer, before): (&Newcomer<'_>, &Option<u64>)| {
        before.is_some() && (mutant("absent_once") || newcomer.forgotten() == *before)
    };
    newcomers.iter().zip(&before).all(is_still)
}

/// The tighter of two limits, and its place: if the same remains of both, the first.
pub(crate) fn tighter(one: (u32, Allowed), other: (u32, Allowed)) -> (u32, Allowed) {
    let (first, second) = if one.0 <= other.0 { (one, other) } else { (other, one) };
    if second.1.is_tighter(&first.1) { second } else { first }
}

/// Holds the keys, and says how many: fewer than all if something came between.
#[inline(always)]
fn hold(keys: &[FastPending<'_>]) -> usize {
    let mut held = 0;
    for key in keys {
        if !key.hold() {
            break;
        }
        held += 1;
    }
    held
}

/// Lets go of the first `held` keys: charged, or as they were.
#[inline(always)]
fn release(keys: &[FastPending<'_>], held: usize, is_charged: bool) {
    for key in keys.iter().take(held) {
        key.release(is_charged);
    }
}
