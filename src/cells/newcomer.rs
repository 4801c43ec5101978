//! Keys without a slot on the fast paths. The fast path of a single key gives it a slot and charges
//! it. The fast path of several keys inserts one only if all others agree, since a denial writes
//! nothing. What these paths cannot decide goes through `claim`.

use crate::decision::{Allowed, Denied};
use crate::time::Timestamp;

use super::Cells;
use super::pending::{FastPending, Pending};
use super::pool::{Full, Overflow};
use super::published::FastParameters;
use super::sequence::generation_of;
use super::table::{ClaimedSlot, Meaning, Start};
use super::word::{self, MAX_TICK};

/// A key that may have no slot, and would then be allowed if it was never seen.
#[derive(Clone, Copy)]
pub(crate) struct Newcomer<'a> {
    cells: &'a Cells,
    tag: u64,
    stamp: Timestamp,
    /// Of a quota whose ticks are whole.
    params: FastParameters,
    /// The tick at which the key's bucket is full after the charge.
    full: u64,
}

/// What words mean under the parameters of the fast path, at the stamp `now`, which is at `tick`.
struct FastWords {
    salt: u64,
    tick: u64,
    per_nano: u64,
    now: Timestamp,
}

impl Cells {
    /// The key, if a key never seen would be allowed `cost`. `None`: it would not, the cost is 0,
    /// there is a pool, callers wait in line, the parameters are changing, ticks are not whole, or
    /// the axis does not reach to `now`.
    #[inline]
    pub(crate) fn newcomer(&self, tag: u64, cost: u64, now: Timestamp) -> Option<Newcomer<'_>> {
        let params = self.published.fast(self.published.moment::<true>(now)?)?;
        let charge = cost.checked_mul(params.unit)?;
        if cost == 0 || charge > params.capacity || self.pool.get().is_some() {
            return None;
        }
        let full = params.now.floor + charge;
        Some(Newcomer { cells: self, tag, stamp: now, params, full })
    }

    /// Decides a key that has no slot and is allowed as if never seen: inserts it, charged `cost`.
    /// `None`: the key is not such a key, or the fast path cannot read the parameters.
    #[inline]
    pub(super) fn decide_absent(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Option<Result<Allowed, Denied>> {
        let newcomer = self.newcomer(tag, cost, now)?;
        match newcomer.claim(|_| newcomer.full) {
            ClaimedSlot::Made(_) => Some(Ok(newcomer.allowed())),
            // The caller goes on to make the pool; then `newcomer` returns `None` for every key.
            ClaimedSlot::Full { .. } if self.overflow == Overflow::Pool => None,
            ClaimedSlot::Full { until } => {
                self.count_overflow();
                Some(self.not_inserted(cost, now, &Full { until }))
            }
            ClaimedSlot::Present(_) | ClaimedSlot::None | ClaimedSlot::Stale => None,
        }
    }
}

impl<'a> Newcomer<'a> {
    fn mask(&self) -> u64 {
        word::mask(word::spread(self.tag), self.params.salt)
    }

    /// The tick at which the key's bucket is full after the charge.
    pub(crate) fn full(&self) -> u64 {
        self.full
    }

    /// The generation of the quota it was decided under.
    pub(crate) fn generation(&self) -> u64 {
        generation_of(self.params.now.sequence)
    }

    /// The answer to the charge.
    #[inline(always)]
    pub(crate) fn allowed(&self) -> Allowed {
        Allowed(self.params.standing(self.full))
    }

    #[inline(always)]
    fn words(&self) -> FastWords {
        let FastParameters { now, salt, .. } = self.params;
        FastWords { salt, tick: now.floor, per_nano: now.num, now: self.stamp }
    }

    /// Inserts the key with the tick that `first` makes of the `forgotten` stamp of its group. Only
    /// if the key has no slot and counts as never seen: no forgotten key of the group was still in
    /// debt at `stamp`.
    #[inline(always)]
    fn claim(&self, mut first: impl FnMut(u64) -> u64) -> ClaimedSlot<'a> {
        let Newcomer { cells, stamp, .. } = *self;
        let mask = self.mask();
        cells.table.claim(self.tag, &self.words(), |forgotten| {
            // Checked under the lock: a later change converts the word that is written here.
            let is_current = self.is_current();
            // If there is a pool, the key may owe what its pool cell owes.
            let is_never_seen = forgotten <= stamp.as_nanos() && cells.pool.get().is_none();
            if is_current && is_never_seen {
                Start::With(first(forgotten) ^ mask)
            } else {
                Start::Stale
            }
        })
    }

    fn is_current(&self) -> bool {
        self.cells.published.is_unchanged(self.params.now.sequence)
    }

    /// Whether the decision on the key is still valid.
    pub(crate) fn is_valid(&self) -> bool {
        self.forgotten().is_some()
    }

    /// The `forgotten` stamp of the key's group, if the key has no slot and would be allowed.
    pub(crate) fn forgotten(&self) -> Option<u64> {
        let Cells { pool, table, .. } = self.cells;
        let forgotten = table.absent(self.tag)?;
        let is_never_seen = forgotten <= self.stamp.as_nanos();
        (is_never_seen && pool.get().is_none() && self.is_current()).then_some(forgotten)
    }

    /// Inserts the key uncharged, as if never seen. It is charged later, together with other keys.
    pub(crate) fn insert_new(&self) -> Option<FastPending<'a>> {
        let mut start = 0;
        let claim = self.claim(|forgotten| {
            start = self.words().tick_of(forgotten);
            start
        });
        let ClaimedSlot::Made(cell) = claim else { return None };
        let mask = self.mask();
        let pending = Pending::new(cell, start ^ mask, self.full ^ mask);
        Some(FastPending::new(self.cells, self.params.now.sequence, pending))
    }
}

impl FastWords {
    /// The tick of a stamp that is not after now, or 0 if the stamp is before the axis.
    fn tick_of(&self, stamp: u64) -> u64 {
        let ago = self.now.as_nanos().saturating_sub(stamp);
        self.tick.saturating_sub(ago.saturating_mul(self.per_nano))
    }
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
        // Never 0 in parameters in force.
        let per_nano = self.per_nano.max(1);
        match self.tick.checked_sub(tick) {
            Some(ago) => self.now.as_nanos().saturating_sub(ago / per_nano),
            None => self.now.as_nanos().saturating_add((tick - self.tick).div_ceil(per_nano)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::Refill;
    use crate::quota::Quota;

    #[test]
    fn a_slot_that_is_not_charged_is_that_of_a_key_never_seen() {
        // Three ticks a nanosecond.
        let quota = Quota::per_second(3);
        let cells = Cells::new(quota, Refill::Steady, 10, Overflow::Deny);
        let now = Timestamp::from_secs(1_000_000_000);
        cells.reach(now, now);
        let newcomer = cells.newcomer(7, 1, now).unwrap();
        assert!(newcomer.is_valid());
        // Up to what its group has forgotten, the key may be in debt.
        let params = cells.published.load();
        for stamp in [0, 1, now.as_nanos() - 1, now.as_nanos()] {
            assert_eq!(newcomer.words().tick_of(stamp), params.tick(stamp), "{stamp}");
        }
        assert!(newcomer.insert_new().is_some() && !newcomer.is_valid());
        for seconds in [0, 999_999_999, 1_000_000_000] {
            let standing = cells.peek_behind(7, 0, 3, Timestamp::from_secs(seconds));
            assert_eq!(standing.map(|allowed| allowed.remaining()), Ok(0), "{seconds}");
        }
        assert!(newcomer.insert_new().is_none(), "it has a slot");
    }

    #[test]
    fn several_are_charged_where_they_are_given_a_slot() {
        let cells = Cells::new(Quota::per_second(50), Refill::Steady, 10, Overflow::Deny);
        let now = Timestamp::from_secs(1);
        cells.reach(now, now);
        let pending = cells.newcomer(7, 2, now).unwrap().insert_new().unwrap();
        assert!(pending.hold());
        pending.release(true);
        assert!(!pending.charge(), "it was charged");
        let left = cells.peek_behind(7, 0, 0, now).map(|allowed| allowed.remaining());
        assert_eq!(left, Ok(48));
    }
}
