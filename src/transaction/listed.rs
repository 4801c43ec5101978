//! [`Listed`]: a list of limits that is decided as one step on the fast path.
//!
//! For lists of a length that is not known at compile time, for keys that are not in the table yet, and
//! for concurrency limits. `fast` is the part of a single key.

use smallvec::SmallVec;

use crate::cells::{Charge, FastPending, Newcomer};
use crate::concurrency_limiter::Semaphore;
use crate::decision::{Allowed, Denied, Retry};
use crate::rate_limiter::Store;
use crate::slots::Claim;
use crate::sync::Arc;
use crate::time::Timestamp;

use super::slot_participant::{HeldSlots, SLOTS, SlotParticipant, SlotParticipants};
use super::{FastParticipant, INLINE, Refusal, Said, commit_last};

/// The snapshots of limits that are to be decided as one step.
#[derive(Default)]
pub(crate) struct Listed<'a> {
    keys: SmallVec<[FastPending<'a>; INLINE]>,
    newcomers: SmallVec<[Newcomer<'a>; 2]>,
    slots: SlotParticipants,
    /// Read it in place: a copy is large and slow to read right after it is made.
    pub(crate) refusal: Option<Refusal>,
}

impl<'a> Listed<'a> {
    /// Takes a snapshot of the key of `charge`. Returns the tick at which the bucket is full after
    /// the charge, and sets the generation of the quota in `charge`; returns 0 if the key denies.
    /// `says` gets the answer of the key. `place` is the place of the limit in the request. `None`:
    /// the fast path does not decide the key.
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

    /// Takes a snapshot of slots that are to be taken. `None`: the fast path does not decide them.
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

    /// `look` for a key without a slot.
    #[cold]
    #[inline(never)]
    fn look_again(&mut self, store: &'a Store, charge: &mut Charge) -> Option<&Newcomer<'a>> {
        let Store::Words(words) = store else { return None };
        let newcomer = words.cells.newcomer(charge.tag, charge.cost, charge.at)?;
        charge.generation = newcomer.generation();
        self.newcomers.push(newcomer);
        self.newcomers.last()
    }

    /// Charges and takes all, or validates the refusal. Returns false if a participant has changed.
    #[inline(always)]
    pub(crate) fn decide(&mut self) -> bool {
        if self.refusal.is_some() {
            return self.is_valid();
        }
        let is_seated = self.newcomers.is_empty() || self.insert_new();
        is_seated && if self.slots.is_empty() { self.commit() } else { self.commit_and_take() }
    }

    /// Whether all snapshots were true at one moment.
    #[inline(always)]
    pub(crate) fn is_valid(&self) -> bool {
        // Newcomers first: the tables confirm now that they have no slot. The others are validated
        // after that, so they did not change between their snapshot and that moment.
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

    /// The place and the answer of each concurrency limit.
    pub(crate) fn slot_answers(&self) -> impl Iterator<Item = (u32, Result<Allowed, Denied>)> {
        self.slots.iter().map(|part| (part.place, part.answer()))
    }

    /// The place and the answer of the concurrency limit with the fewest remaining slots.
    pub(crate) fn tightest_slots(&self) -> Option<(u32, Allowed)> {
        let stood = self.slot_answers().filter_map(|(place, answer)| Some((place, answer.ok()?)));
        stood.reduce(tighter)
    }

    /// The slots that were taken.
    pub(crate) fn taken(&mut self) -> impl Iterator<Item = HeldSlots> {
        self.slots.take().filter_map(SlotParticipant::taken)
    }

    /// Inserts all newcomers. Called only if all limits agree. Returns whether all were inserted.
    #[cold]
    #[inline(never)]
    fn insert_new(&mut self) -> bool {
        let inserted = self.newcomers.iter().map_while(Newcomer::insert_new);
        let before = self.keys.len();
        self.keys.extend(inserted);
        self.keys.len() - before == self.newcomers.len()
    }

    /// Charges all keys, or none if one has changed: holds all but the last and then charges the
    /// last. No code in between can panic.
    #[inline(always)]
    fn commit(&self) -> bool {
        let Some((last, outer)) = self.keys.split_last() else { return true };
        let held = hold(outer);
        let is_charged = held == outer.len() && commit_last(last);
        release(outer, held, is_charged);
        is_charged
    }

    /// Charges all keys and takes all slots, or none: holds all keys and all slots but the last.
    #[inline(never)]
    fn commit_and_take(&mut self) -> bool {
        let (taken, seen) = {
            let mut outer = self.slots.iter().rev();
            let Some(last) = outer.next() else { return self.commit() };
            // This thread must not wait while it has claims: exclusive access to the slots waits
            // for claimed records. A claim may allocate, so it is made before the first hold.
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

/// Whether there was a moment at which no newcomer had a slot. The two passes bracket that moment:
/// each key has no slot in either pass, and no key of its group was forgotten in between.
#[cold]
#[inline(never)]
fn all_absent(newcomers: &[Newcomer<'_>]) -> bool {
    let before: SmallVec<[Option<u64>; INLINE]> =
        newcomers.iter().map(Newcomer::forgotten).collect();
    let is_still = |(newcomer, before): (&Newcomer<'_>, &Option<u64>)| {
        before.is_some() && (newcomer.forgotten() == *before)
    };
    newcomers.iter().zip(&before).all(is_still)
}

/// The limit that has less remaining, with its place; the first one if both have the same.
pub(crate) fn tighter(one: (u32, Allowed), other: (u32, Allowed)) -> (u32, Allowed) {
    let (first, second) = if one.0 <= other.0 { (one, other) } else { (other, one) };
    if second.1.is_tighter(&first.1) { second } else { first }
}

/// Holds the keys in order until one has changed, and returns the number of held keys.
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

/// Releases the first `held` keys, charged or unchanged.
#[inline(always)]
fn release(keys: &[FastPending<'_>], held: usize, is_charged: bool) {
    for key in keys.iter().take(held) {
        key.release(is_charged);
    }
}
