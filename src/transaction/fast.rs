//! The fast path of a transaction: keys whose words stand in their slots.

use std::num::NonZeroU64;

use crate::cells::{Cells, Charge, Sight};
use crate::decision::{Allowed, Denied};
use crate::rate_limiter::Store;
use crate::sync::{Backoff, mutant};
use crate::time::Timestamp;

use super::Refusal;

/// A key on the fast path, looked at.
#[derive(Clone, Copy)]
pub(crate) struct FastPart<'a> {
    cells: &'a Cells,
    now: Timestamp,
    pub(crate) sight: Sight<'a>,
    /// The tick at which its bucket is full after the charge, or at which it would be allowed.
    pub(crate) step: Result<u64, u64>,
}

impl<'a> FastPart<'a> {
    /// Looks at the key. `None`: the fast path does not decide it.
    #[inline(always)]
    pub(crate) fn new(
        store: &'a Store,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Option<FastPart<'a>> {
        let Store::Words(cells) = store else { return None };
        let sight = cells.sight(tag, now)?;
        Some(FastPart { cells, now, sight, step: sight.step(cost)? })
    }

    /// As `new`, whatever the quota.
    pub(crate) fn of_any(
        store: &'a Store,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Option<FastPart<'a>> {
        let Store::Words(cells) = store else { return None };
        let sight = cells.sight(tag, now).or_else(|| cells.sight_cut(tag, now))?;
        Some(FastPart { cells, now, sight, step: sight.step(cost)? })
    }

    #[inline(always)]
    pub(crate) fn allowed(&self) -> Option<Allowed> {
        self.step.ok().map(|next| self.sight.allowed(next))
    }

    #[inline(always)]
    pub(crate) fn is_denied(&self) -> bool {
        self.step.is_err()
    }

    #[inline(always)]
    pub(crate) fn refusal(&self, place: u32) -> Option<Refusal> {
        self.step.err().map(|at| Refusal { place, denied: self.sight.denied(at) })
    }

    pub(crate) fn answer(&self) -> Result<Allowed, Denied> {
        match self.step {
            Ok(next) => Ok(self.sight.allowed(next)),
            Err(at) => Err(self.sight.denied(at)),
        }
    }

    /// That of which fewer units remain. Both are allowed.
    #[inline]
    pub(crate) fn tighter<'p>(&'p self, other: &'p Self) -> &'p Self {
        let room = |part: &Self| part.sight.room(part.step.unwrap_or(0));
        let ((a, of_a), (b, of_b)) = (room(self), room(other));
        // Compared as parts first: few divide.
        let crossed = |room: u64, unit: NonZeroU64| u128::from(room) * u128::from(unit.get());
        if crossed(b, of_a) < crossed(a, of_b) && b / of_b < a / of_a { other } else { self }
    }

    /// Whether the key is still as it was seen.
    #[inline(always)]
    pub(crate) fn stands(&self) -> bool {
        self.sight.stands()
    }

    /// Holds the key, if nothing came between. Then `release` must follow.
    #[inline(always)]
    pub(crate) fn hold(&self) -> bool {
        let is_held = self.sight.hold();
        // Two keys of one limiter are not decided under two quotas of it.
        if is_held && !self.cells.is_current(&self.sight) {
            self.sight.release();
            return false;
        }
        is_held
    }

    /// Lets go of the key: charged, or as it was.
    #[inline(always)]
    pub(crate) fn release(&self, next: u64, is_charged: bool) {
        if is_charged || mutant("charge_first") {
            self.sight.release_charged(next);
        } else {
            self.sight.release();
        }
    }

    /// Charges the key, if nothing came between.
    #[inline(always)]
    pub(crate) fn commit(&self, next: u64) -> bool {
        while mutant("wait_while_holding") && !self.sight.stands() {
            Backoff::default().snooze();
        }
        self.cells.is_current(&self.sight) && self.sight.charge(next)
    }

    /// What was charged, for settling.
    #[inline(always)]
    pub(crate) fn charge(&self, cost: u64) -> Charge {
        self.sight.charged(cost, self.now)
    }
}

/// Charges all, or none if something came between: each is held while those after it are charged.
/// Nothing in between can panic.
pub(crate) fn commit(parts: &[FastPart<'_>]) -> bool {
    let Some((last, outer)) = parts.split_last() else { return true };
    let held = outer.iter().take_while(|part| part.hold()).count();
    let is_charged = held == outer.len() && last.step.is_ok_and(|next| last.commit(next));
    for part in outer.iter().take(held) {
        part.release(part.step.unwrap_or(0), is_charged && part.step.is_ok());
    }
    is_charged
}
