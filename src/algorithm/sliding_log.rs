//! [`SlidingLog`], the sliding log. This file sets the span of a quota; the log of timestamps and
//! the decisions are in `history`.

use std::time::Duration;

use super::Algorithm;
use super::axis::period;
use super::history::{History, Span};
use crate::decision::{Allowed, Denied};
use crate::quota::Quota;
use crate::time::Timestamp;

/// The sliding log: keeps the timestamp of every unit of the last period, so it is exact.
///
/// A unit charged at `t` is free again at `t + period`. The quota's burst has no effect.
/// **Bound**: `count * (floor(t / period) + 1)` units in any closed interval of length `t`, so at
/// most `count` in any that is shorter than the period. **Worst case**: `n` at once, and `n` again
/// a period later. **Memory**: 16 bytes for each timestamp within a period at which units were
/// charged. A decision reads a few timestamps; a correction writes all after the corrected charge.
/// When the quota changes, held units are free again a new period after their timestamps; free
/// units stay free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingLog {
    quota: Quota,
}

impl SlidingLog {
    /// The log of a quota.
    pub fn new(quota: Quota) -> SlidingLog {
        SlidingLog { quota }
    }

    fn span(&self) -> Span {
        Span { count: self.quota.count(), granule: 1, life: u128::from(period(&self.quota)) }
    }
}

impl Algorithm for SlidingLog {
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
        let span = self.span();
        span.bound(span.life, within)
    }

    fn settle(&self, state: &mut History, charged: u64, at: Timestamp, cost: u64, now: Timestamp) {
        self.span().settle(state, charged, at, cost, now);
    }

    fn convert(&self, before: &SlidingLog, state: &mut History, now: Timestamp) {
        self.span().convert(&before.span(), state, now);
    }

    fn bytes(state: &History) -> usize {
        state.bytes()
    }
}
