//! Several keys on the fast path, as a list: where their number is not known before, or some have no
//! slot.

use smallvec::SmallVec;

use crate::cells::{Charge, FastPending, Newcomer};
use crate::decision::Retry;
use crate::rate_limiter::Store;

use super::{FastPart, INLINE, Refusal, commit_last};

/// Keys that were looked at, to be decided as one.
#[derive(Default)]
pub(crate) struct Listed<'a> {
    keys: SmallVec<[FastPending<'a>; INLINE]>,
    newcomers: SmallVec<[Newcomer<'a>; 2]>,
    /// Read where it stands: it is large, and a copy that is read at once is slow.
    pub(crate) refusal: Option<Refusal>,
}

impl<'a> Listed<'a> {
    /// Looks at the key that is to be charged, and notes the generation of its quota, and in `full` the
    /// tick at which its bucket is full after the charge. `place`: that of its limit among those of the
    /// request. `None`: the fast path does not decide it.
    #[inline(always)]
    pub(crate) fn look(
        &mut self,
        place: u32,
        store: &'a Store,
        charge: &mut Charge,
        full: &mut u64,
    ) -> Option<()> {
        match FastPart::new::<false>(store, charge.tag, charge.cost, charge.at) {
            Some(part) => {
                self.add(place, &part, charge, full);
                Some(())
            }
            None => self.look_again(store, charge, full),
        }
    }

    /// Looks at a key without a slot.
    #[cold]
    #[inline(never)]
    fn look_again(&mut self, store: &'a Store, charge: &mut Charge, full: &mut u64) -> Option<()> {
        let Store::Words(words) = store else { return None };
        let newcomer = words.cells.newcomer(charge.tag, charge.cost, charge.at)?;
        (*full, charge.generation) = newcomer.charged();
        self.newcomers.push(newcomer);
        Some(())
    }

    /// Adds what a key says: see `look`.
    #[inline(always)]
    pub(crate) fn add(
        &mut self,
        place: u32,
        part: &FastPart<'a>,
        charge: &mut Charge,
        full: &mut u64,
    ) {
        match part.step() {
            Ok(next) => {
                let key = part.pending_until(next);
                (*full, charge.generation) = (next, key.generation());
                self.keys.push(key);
            }
            Err(at) => {
                match &mut self.refusal {
                    Some(Refusal { denied, .. }) => {
                        denied.retry = denied.retry.max(Retry::After(part.wait(at)));
                    }
                    none => *none = part.refusal(place),
                }
                self.keys.push(part.pending_until(0));
            }
        }
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
        self.keys.iter().all(FastPending::stands) && self.newcomers.iter().all(Newcomer::stands)
    }

    /// Gives those a slot that have none: all agree.
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
