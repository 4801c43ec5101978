//! Several keys on the fast path, as a list: where their number is not known before, or some have no
//! slot.

use smallvec::SmallVec;

use crate::cells::{Charge, FastPending, Newcomer};
use crate::decision::Retry;
use crate::rate_limiter::Store;
use crate::sync::mutant;

use super::{FastPart, INLINE, Refusal, Said, commit_last};

/// Keys that were looked at, to be decided as one.
#[derive(Default)]
pub(crate) struct Listed<'a> {
    keys: SmallVec<[FastPending<'a>; INLINE]>,
    newcomers: SmallVec<[Newcomer<'a>; 2]>,
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
        let part = FastPart::new::<false>(store, charge.tag, charge.cost, charge.at);
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

    /// Charges all, or confirms the refusal. Says whether it did: something may have come between.
    #[inline(always)]
    pub(crate) fn decide(&mut self) -> bool {
        match self.refusal {
            Some(_) => self.stands(),
            None => (self.newcomers.is_empty() || self.seat()) && self.commit(),
        }
    }

    /// Whether all was as it was seen at one moment, since it still is.
    #[inline(always)]
    pub(crate) fn stands(&self) -> bool {
        // The tables are asked now whether newcomers have slots, and the other keys are confirmed after
        // that: they have not changed since they were looked at, so all was so at a moment at which the
        // tables answered.
        let are_absent = match &*self.newcomers {
            [] => true,
            [newcomer] => newcomer.stands(),
            newcomers => all_absent(newcomers),
        };
        are_absent && self.keys.iter().all(FastPending::stands)
    }

    /// Gives each newcomer a slot, since all keys agree. Says whether all have one.
    #[cold]
    #[inline(never)]
    fn seat(&mut self) -> bool {
        let seats = self.newcomers.iter().map_while(Newcomer::seat);
        let before = self.keys.len();
        self.keys.extend(seats);
        self.keys.len() - before == self.newcomers.len()
    }

    /// Charges all, or none if something came between: each is held while those after it are charged.
    /// Nothing in between can panic.
    #[inline(always)]
    fn commit(&self) -> bool {
        let Some((last, outer)) = self.keys.split_last() else { return true };
        let mut held = 0;
        for key in outer {
            if !key.hold() {
                break;
            }
            held += 1;
        }
        let is_charged = held == outer.len() && commit_last(last);
        for key in outer.iter().take(held) {
            key.release(is_charged);
        }
        is_charged
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
