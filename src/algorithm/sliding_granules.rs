//! [`SlidingGranules`], the sliding window in granules. This file computes the granules of a
//! quota; the counts per granule and the decisions are in `history`.

use std::time::Duration;

use super::Algorithm;
use super::axis::period;
#[cfg(feature = "compat")]
use super::axis::{aligned, stamp};
use super::history::{History, Span};
use crate::decision::{Allowed, Denied};
use crate::quota::Quota;
use crate::time::Timestamp;

/// The sliding window in granules (Sentry's `redis_sliding_window`): a log that keeps one count per
/// granule of time instead of one per timestamp.
///
/// A unit charged at `t` is free again a window after the granule of `t` began, so up to a granule
/// early; if [`strict`](Self::strict), a granule later than that. The quota's burst has no effect.
///
/// **Bound**: `count * ceil((ceil(t / granule) + 1) / k)` units in any closed interval of length
/// `t`, since `k` consecutive granules (strict: `k + 1`) hold at most `count`, and the interval
/// touches `ceil(t / granule) + 1`. **Worst case**: `n` at the end of a granule and `n` a window
/// after it began, so `2n` within a window less a granule; if strict, never more than `n` in a
/// half-open window. **Memory**: 16 bytes for each granule of a window in which units were charged.
/// When the quota changes, held units are free again a new window after their timestamps; free
/// units stay free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingGranules {
    quota: Quota,
    granules: u32,
    strict: bool,
}

impl SlidingGranules {
    /// The window of a quota in `granules` granules, at least 1.
    ///
    /// Granules begin at multiples of their length, which is the period divided by `granules`,
    /// rounded up to whole nanoseconds. A window is the least number of granules that cover the
    /// period.
    pub fn new(quota: Quota, granules: u32) -> SlidingGranules {
        SlidingGranules { quota, granules, strict: false }
    }

    /// Frees units a granule later. No half-open window then holds more than the count, but waits
    /// are up to a granule too long.
    #[must_use]
    pub fn strict(self) -> SlidingGranules {
        SlidingGranules { strict: true, ..self }
    }

    /// The length of a granule.
    pub fn granule(&self) -> Duration {
        Duration::from_nanos(self.granule_nanos())
    }

    /// When units charged at `at` are free again.
    #[cfg(feature = "compat")]
    pub(crate) fn free_at(&self, at: Timestamp) -> Timestamp {
        let Span { granule, life, .. } = self.span();
        stamp(u128::from(aligned(at, granule).as_nanos()) + life)
    }

    fn granule_nanos(&self) -> u64 {
        period(&self.quota).div_ceil(u64::from(self.granules.max(1)))
    }

    /// How many consecutive granules hold at most the count.
    fn row(&self) -> u64 {
        let window = period(&self.quota).div_ceil(self.granule_nanos());
        window + u64::from(self.strict)
    }

    fn span(&self) -> Span {
        let granule = self.granule_nanos();
        let life = u128::from(self.row()) * u128::from(granule);
        Span { count: self.quota.count(), granule, life }
    }
}

impl Algorithm for SlidingGranules {
    type State = History;

    fn quota(&self) -> Quota {
        self.quota
    }

    fn set_quota(&mut self, quota: Quota) {
        self.quota = quota;
    }

    fn decide(&self, state: &History, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        self.span().decide(state, cost, now)
    }

    fn charge(&self, state: &mut History, cost: u64, now: Timestamp) {
        self.span().charge(state, cost, now);
    }

    fn idle_at(&self, state: &History) -> Timestamp {
        self.span().idle_at(state)
    }

    fn bound(&self, within: Duration) -> u64 {
        self.span().bound(u128::from(self.row()), within)
    }

    fn settle(&self, state: &mut History, charged: u64, at: Timestamp, cost: u64, now: Timestamp) {
        self.span().settle(state, charged, at, cost, now);
    }

    fn convert(&self, before: &SlidingGranules, state: &mut History, now: Timestamp) {
        self.span().convert(&before.span(), state, now);
    }

    fn bytes(state: &History) -> usize {
        state.bytes()
    }
}
