//! A key without a slot, as the fast paths see it. That of one key gives it a slot at once. That of
//! several gives it one only if the others agree, since what is denied writes nothing.

use crate::decision::{Allowed, Denied};
use crate::sync::mutant;
use crate::time::Timestamp;

use super::Cells;
use super::pool::{Full, Overflow};
use super::published::Axis;
use super::sight::Sight;
use super::table::{Claim, Meaning, Start};
use super::word::{self, MAX_TICK};

/// A key that had no slot, and for which there is room for the cost.
#[derive(Clone, Copy)]
pub(crate) struct Newcomer<'a> {
    cells: &'a Cells,
    tag: u64,
    /// The stamp `forgotten` of its group, and the generation, at which it was looked for.
    forgotten: u64,
    generation: u64,
}

impl Cells {
    /// The key, if it has no slot and would be allowed. `None`: it would not, or callers wait in line,
    /// or keys without room may be in the pool.
    #[cold]
    pub(crate) fn newcomer(&self, tag: u64, cost: u64, now: Timestamp) -> Option<Newcomer<'_>> {
        if self.queued.any() || self.pool.get().is_some() || !self.reaches(now) {
            return None;
        }
        let (numbers, moment) = self.numbers_at(now);
        let forgotten = self.table.forgotten(tag);
        let tat = self.initial(tag, forgotten, &numbers, moment)?;
        let is_allowed = cost > 0 && numbers.bucket.decide(tat, cost, moment).is_ok();
        let generation = numbers.generation;
        is_allowed.then_some(Newcomer { cells: self, tag, forgotten, generation })
    }
}

impl Cells {
    /// Decides a key that has no slot and is allowed as if never seen: gives it one, charged `cost`.
    /// `None`: it is not such a key, or the numbers are not those of a fast path.
    #[inline]
    pub(super) fn decide_absent(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Option<Result<Allowed, Denied>> {
        let numbers = self.published.fast(self.published.sequence()?, now)?;
        let Axis::Whole { per_nano } = numbers.axis else { return None };
        let charge = cost.checked_mul(numbers.unit)?;
        if cost == 0 || charge > numbers.capacity || self.pool.get().is_some() {
            return None;
        }
        let words = FastWords { salt: numbers.salt, tick: numbers.now, per_nano, now };
        let mask = word::mask(word::spread(tag), numbers.salt);
        let next = numbers.now + charge;
        let claim = self.table.claim(tag, &words, |forgotten| {
            // Asked under the lock: a change that comes later rewrites the word that is written here.
            let is_current = self.published.is_unchanged(&numbers) || mutant("claim_unasked");
            // What the pool owes the key may owe.
            let is_never_seen = forgotten <= now.as_nanos() && self.pool.get().is_none();
            if is_current && is_never_seen { Start::With(next ^ mask) } else { Start::Stale }
        });
        match claim {
            Claim::Made(cell) => {
                Some(Ok(Sight::new(cell, next ^ mask, mask, numbers).allowed(next)))
            }
            // The pool is there from then on, and this is not asked again.
            Claim::Full { .. } if self.overflow == Overflow::Pool => None,
            Claim::Full { until } => {
                self.count_overflow();
                Some(self.without_seat(cost, now, &Full { until }))
            }
            Claim::Present(_) | Claim::None | Claim::Stale => None,
        }
    }
}

/// What words mean under the numbers of the fast path, at the stamp `now`, which is at a tick.
struct FastWords {
    salt: u64,
    tick: u64,
    per_nano: u64,
    now: Timestamp,
}

impl Meaning for FastWords {
    #[inline]
    fn needed_until(&self, word: u64, tag: u64) -> Option<u64> {
        let tick = word ^ word::mask(word::spread(tag), self.salt);
        // A word that is held or of another generation unmasks to more than any tick.
        (tick <= MAX_TICK).then_some(tick)
    }

    #[inline]
    fn now(&self) -> u64 {
        self.tick
    }

    #[inline]
    fn stamp(&self, tick: u64) -> u64 {
        // Never 0 in numbers in force.
        let per_nano = self.per_nano.max(1);
        match self.tick.checked_sub(tick) {
            Some(ago) => self.now.as_nanos().saturating_sub(ago / per_nano),
            None => self.now.as_nanos().saturating_add((tick - self.tick).div_ceil(per_nano)),
        }
    }
}

impl Newcomer<'_> {
    /// Whether it still has no slot, and nothing else changed.
    pub(crate) fn stands(&self) -> bool {
        self.cells.pool.get().is_none()
            && self.cells.published.is_current(self.generation)
            && self.cells.table.is_absent(self.tag, self.forgotten)
    }

    /// Gives it a slot, in the state of a key never seen. Whether it has one now.
    pub(crate) fn seat(&self, now: Timestamp) -> bool {
        let (numbers, moment) = self.cells.numbers_at(now);
        let claim = self.cells.claim(self.tag, &numbers, moment, |_| false, Some);
        matches!(claim, Claim::Made(_) | Claim::Present(_))
    }
}
