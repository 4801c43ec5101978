//! [`History`], the units of a key by the timestamp at which they were charged, and [`Span`], the
//! arithmetic on it. `sliding_log` and `sliding_granules` are the algorithms that use them.

use std::collections::VecDeque;
use std::time::Duration;

use super::axis::{aligned, stamp, until};
use crate::decision::{Allowed, Denied, Retry};
use crate::time::Timestamp;

/// The state that [`SlidingLog`](super::SlidingLog) and [`SlidingGranules`](super::SlidingGranules)
/// keep of a key: units by timestamp, 16 bytes per timestamp.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Timestamps in ascending order, each with the sum of the units up to it, including its own,
    /// so that the units of any range of entries are one subtraction. An entry stays when all its
    /// units are given back, since the latest timestamp must not go back.
    entries: VecDeque<(Timestamp, u64)>,
    /// The sum of the units before the first entry.
    before: u64,
}

/// The limit on a history: at most `count` units at any time. A unit is held for `life` nanoseconds
/// after the beginning of the granule in which it was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) count: u64,
    /// The length of a granule in nanoseconds. Above 0.
    pub(crate) granule: u64,
    pub(crate) life: u128,
}

impl History {
    /// The latest timestamp. A charge at an earlier time counts as at this time.
    fn latest(&self) -> Timestamp {
        self.entries.back().map_or(Timestamp::ZERO, |(at, _)| *at)
    }

    /// Units of the entries from `index` on.
    fn held_from(&self, index: usize) -> u64 {
        // Sums may wrap, but their differences are below 2^64.
        self.up_to(self.entries.len()).wrapping_sub(self.up_to(index))
    }

    /// The sum of the units before the entry at `index`.
    fn up_to(&self, index: usize) -> u64 {
        let last = index.checked_sub(1).and_then(|last| self.entries.get(last));
        last.map_or(self.before, |(_, sum)| *sum)
    }

    fn forget(&mut self, entries: usize) {
        self.before = self.up_to(entries);
        self.entries.drain(..entries);
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<History>() + self.entries.capacity() * size_of::<(Timestamp, u64)>()
    }
}

impl Span {
    /// The time, in nanoseconds, from which on at most `units` are held.
    fn down_to(&self, units: u64, history: &History) -> u128 {
        let mut from = 0;
        let mut to = history.entries.len();
        // Find the least number of oldest entries without which at most `units` are held.
        while from < to {
            let middle = from.midpoint(to);
            if history.held_from(middle) <= units { to = middle } else { from = middle + 1 }
        }
        let last = from.checked_sub(1).and_then(|last| history.entries.get(last));
        last.map_or(0, |(at, _)| self.end(*at))
    }

    /// The time, in nanoseconds, at which units of an entry at `at` are free again.
    fn end(&self, at: Timestamp) -> u128 {
        u128::from(at.as_nanos()) + self.life
    }

    /// How many entries hold units that are free again at `now`.
    fn over(&self, history: &History, now: Timestamp) -> usize {
        let now = u128::from(now.as_nanos());
        history.entries.partition_point(|(at, _)| self.end(*at) <= now)
    }

    fn left(&self, history: &History, now: Timestamp) -> u64 {
        self.count.saturating_sub(history.held_from(self.over(history, now)))
    }

    /// The timestamp of an entry for a charge at `now`.
    fn entry(&self, history: &History, now: Timestamp) -> Timestamp {
        aligned(now, self.granule).max(history.latest())
    }

    pub(crate) fn decide(
        &self,
        history: &History,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        let left = self.left(history, now.max(history.latest()));
        if cost > 0 && cost <= left {
            let reset_after = until(self.end(self.entry(history, now)), now);
            return Ok(Allowed::new(self.count, left - cost, reset_after));
        }
        let reset_after = until(self.down_to(0, history), now);
        if cost == 0 {
            return Ok(Allowed::new(self.count, left, reset_after));
        }
        let retry = match self.count.checked_sub(cost) {
            Some(rest) => Retry::After(until(self.down_to(rest, history), now)),
            None => Retry::Never,
        };
        Err(Denied::new(self.count, left, reset_after, retry))
    }

    pub(crate) fn charge(&self, history: &mut History, cost: u64, now: Timestamp) {
        if cost == 0 {
            return;
        }
        let at = self.entry(history, now);
        history.forget(self.over(history, now));
        // Cap the held units at `u64::MAX`: beyond that, differences of sums would wrap.
        let cost = cost.min(u64::MAX - history.held_from(0));
        match history.entries.back_mut() {
            Some((last, sum)) if *last == at => *sum = sum.wrapping_add(cost),
            _ => {
                let sum = history.up_to(history.entries.len()).wrapping_add(cost);
                history.entries.push_back((at, sum));
            }
        }
    }

    pub(crate) fn idle_at(&self, history: &History) -> Timestamp {
        stamp(self.down_to(0, history)).max(history.latest())
    }

    /// Corrects a charge of `charged` units at `at` to `cost` units.
    pub(super) fn settle(
        &self,
        history: &mut History,
        charged: u64,
        at: Timestamp,
        cost: u64,
        now: Timestamp,
    ) {
        let Some(less) = charged.checked_sub(cost) else {
            return self.charge(history, cost - charged, now);
        };
        let upto = history.entries.partition_point(|(begun, _)| *begun <= at);
        let Some(index) = upto.checked_sub(1) else { return };
        let units = history.up_to(upto).wrapping_sub(history.up_to(index));
        let less = less.min(units);
        for (_, sum) in history.entries.range_mut(index..) {
            *sum = sum.wrapping_sub(less);
        }
    }

    /// Drops the units that are free again under `before` at `now`, so that they stay free.
    pub(super) fn convert(&self, before: &Span, history: &mut History, now: Timestamp) {
        let over = before.over(history, now);
        let latest = history.latest();
        history.forget(over);
        if over > 0 && history.entries.is_empty() {
            history.entries.push_back((latest, history.before));
        }
    }

    /// The most units that a closed interval of length `within` admits, if each `granules`
    /// consecutive granules hold at most the count.
    pub(super) fn bound(&self, granules: u128, within: Duration) -> u64 {
        let touched = within.as_nanos().div_ceil(u128::from(self.granule)) + 1;
        let units = touched.div_ceil(granules).saturating_mul(u128::from(self.count));
        u64::try_from(units).unwrap_or(u64::MAX)
    }
}
