//! The history of a key: units by the stamp at which they were charged.

use std::collections::VecDeque;
use std::time::Duration;

use super::axis::{aligned, stamp, until};
use crate::decision::{Allowed, Denied, Retry};
use crate::time::Timestamp;

/// What [`SlidingLog`](super::SlidingLog) and [`SlidingGranules`](super::SlidingGranules) remember
/// of a key: units by stamp, 16 bytes each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Stamps rise, and beside each stand the units up to it, its own included: so that what any
    /// run of stamps holds is one subtraction. An entry of which all was given back stays, and
    /// still says how late it is.
    entries: VecDeque<(Timestamp, u64)>,
    /// Units up to the stamp before the first.
    before: u64,
}

/// What a history is held against: at most `count` units, each for `life` nanoseconds after the
/// beginning of the granule it was charged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) count: u64,
    /// Above 0.
    pub(crate) granule: u64,
    pub(crate) life: u128,
}

impl History {
    /// No time before this is believed.
    fn latest(&self) -> Timestamp {
        self.entries.back().map_or(Timestamp::ZERO, |(at, _)| *at)
    }

    /// Units of the entries from `index` on.
    fn held_from(&self, index: usize) -> u64 {
        // Sums may wrap; what is between two of them is below 2^64.
        self.up_to(self.entries.len()).wrapping_sub(self.up_to(index))
    }

    /// The sum before the entry at `index`.
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
    /// The moment from which on at most `units` are held.
    fn down_to(&self, units: u64, history: &History) -> u128 {
        let mut from = 0;
        let mut to = history.entries.len();
        // The least number of entries without which they are.
        while from < to {
            let middle = from.midpoint(to);
            if history.held_from(middle) <= units { to = middle } else { from = middle + 1 }
        }
        let last = from.checked_sub(1).and_then(|last| history.entries.get(last));
        last.map_or(0, |(at, _)| self.end(*at))
    }

    /// The moment at which what was charged at `at` is free again.
    fn end(&self, at: Timestamp) -> u128 {
        u128::from(at.as_nanos()) + self.life
    }

    /// How many entries are free again.
    fn over(&self, history: &History, now: Timestamp) -> usize {
        let now = u128::from(now.as_nanos());
        history.entries.partition_point(|(at, _)| self.end(*at) <= now)
    }

    fn left(&self, history: &History, now: Timestamp) -> u64 {
        self.count.saturating_sub(history.held_from(self.over(history, now)))
    }

    /// The stamp of a charge.
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
        // No more than can be told apart from nothing held.
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

    /// Makes a charge of `charged` units at `at` one of `cost`.
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

    /// What was free again under `before` at `now` stays so.
    pub(super) fn convert(&self, before: &Span, history: &mut History, now: Timestamp) {
        let over = before.over(history, now);
        let latest = history.latest();
        history.forget(over);
        if over > 0 && history.entries.is_empty() {
            history.entries.push_back((latest, history.before));
        }
    }

    /// The most units that a closed interval of length `within` admits, if `granules` in a row
    /// hold at most the count: it touches that many granules, and so many rows.
    pub(super) fn bound(&self, granules: u128, within: Duration) -> u64 {
        let touched = within.as_nanos().div_ceil(u128::from(self.granule)) + 1;
        let units = touched.div_ceil(granules).saturating_mul(u128::from(self.count));
        u64::try_from(units).unwrap_or(u64::MAX)
    }
}
