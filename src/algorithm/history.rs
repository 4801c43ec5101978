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
    /// Stamps rise. An entry of which all was given back stays, and still says how late it is.
    entries: VecDeque<(Timestamp, u64)>,
    /// Units of all entries, so that a decision looks only at those that are over.
    held: u128,
}

/// What a history is held against: at most `count` units, each for `life` nanoseconds after the
/// beginning of the granule it was charged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) count: u64,
    pub(super) granule: u64,
    pub(super) life: u128,
}

impl History {
    /// No time before this is believed.
    fn latest(&self) -> Timestamp {
        self.entries.back().map_or(Timestamp::ZERO, |(at, _)| *at)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<History>() + self.entries.capacity() * size_of::<(Timestamp, u64)>()
    }
}

impl Span {
    /// The moment from which on nothing is held.
    fn empty_at(&self, history: &History) -> u128 {
        let last = history.entries.iter().rev().find(|(_, units)| *units > 0);
        last.map_or(0, |(at, _)| self.end(*at))
    }

    /// The moment from which on at most `units` are held.
    fn down_to(&self, units: u64, history: &History) -> u128 {
        let mut held = history.held;
        let mut from = 0;
        for (at, gone) in &history.entries {
            if held <= u128::from(units) {
                break;
            }
            held -= u128::from(*gone);
            from = self.end(*at);
        }
        from
    }

    /// The moment at which what was charged at `at` is free again.
    fn end(&self, at: Timestamp) -> u128 {
        u128::from(at.as_nanos()) + self.life
    }

    fn is_over(&self, at: Timestamp, now: Timestamp) -> bool {
        self.end(at) <= u128::from(now.as_nanos())
    }

    fn left(&self, history: &History, now: Timestamp) -> u64 {
        let over = history.entries.iter().take_while(|(at, _)| self.is_over(*at, now));
        let over: u128 = over.map(|(_, units)| u128::from(*units)).sum();
        u128::from(self.count).saturating_sub(history.held - over) as u64
    }

    /// The stamp of a charge.
    fn entry(&self, history: &History, now: Timestamp) -> Timestamp {
        aligned(now, self.granule).max(history.latest())
    }

    pub(super) fn decide(
        &self,
        history: &History,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        let left = self.left(history, now.max(history.latest()));
        let reset_after = until(self.empty_at(history), now);
        if cost == 0 {
            return Ok(Allowed::new(self.count, left, reset_after));
        }
        if cost <= left {
            let reset_after = until(self.end(self.entry(history, now)), now);
            return Ok(Allowed::new(self.count, left - cost, reset_after));
        }
        let retry = match self.count.checked_sub(cost) {
            Some(rest) => Retry::After(until(self.down_to(rest, history), now)),
            None => Retry::Never,
        };
        Err(Denied::new(self.count, left, reset_after, retry))
    }

    pub(super) fn charge(&self, history: &mut History, cost: u64, now: Timestamp) {
        if cost == 0 {
            return;
        }
        let at = self.entry(history, now);
        while let Some((_, gone)) =
            history.entries.front().copied().filter(|(at, _)| self.is_over(*at, now))
        {
            history.entries.pop_front();
            history.held -= u128::from(gone);
        }
        let more = match history.entries.back_mut() {
            Some((last, units)) if *last == at => {
                let more = cost.min(u64::MAX - *units);
                *units += more;
                more
            }
            _ => {
                history.entries.push_back((at, cost));
                cost
            }
        };
        history.held += u128::from(more);
    }

    pub(super) fn idle_at(&self, history: &History) -> Timestamp {
        stamp(self.empty_at(history)).max(history.latest())
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
        let entry = history.entries.iter_mut().rev().find(|(begun, _)| *begun <= at);
        if let Some((_, units)) = entry {
            let less = less.min(*units);
            *units -= less;
            history.held -= u128::from(less);
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
