//! [`SlidingWindow`], the sliding window counter: two fixed windows, the earlier one weighted. The
//! exact sliding window is in `sliding_log`.

use std::time::Duration;

use super::axis::{period, until};
use super::{Algorithm, axis};
use crate::decision::{Allowed, Denied, Retry};
use crate::quota::Quota;
use crate::time::Timestamp;

/// The sliding window counter (Cloudflare 2017, Upstash): the units used in the previous window
/// fade as the current window passes, as if they had been used evenly.
///
/// Windows last one period and are aligned to the time origin. A cost is allowed if the sum of the
/// cost, the units of the current window, and the unfaded units of the previous window is at most
/// `count`. The previous window's share is the part that a window ending now still covers. The
/// quota's burst has no effect.
///
/// **Bound**: `count + floor(count * (t - 1 ns) / period)` units in any closed interval of length
/// `t` of 1 ns or more: each window holds at most `count`, and two consecutive windows hold at most
/// `count + count * e / period` when `e` of the later one has passed. An interval in which `m > 0`
/// windows begin lasts at least `(m - 1) * period + e + 1 ns`. **Worst case**: `n` just before a
/// window ends and then further units at the rate, so up to `2n - 1` pass within a period.
/// **Memory**: a state of 24 bytes.
///
/// When the count changes, used units stay used. When the period changes, the unfaded units count
/// as used in the current window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindow {
    quota: Quota,
}

/// The state that [`SlidingWindow`] keeps of a key: the units used in a window and in the previous
/// window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TwoWindows {
    start: Timestamp,
    previous: u64,
    current: u64,
}

impl SlidingWindow {
    /// The counter of a quota.
    pub fn new(quota: Quota) -> SlidingWindow {
        SlidingWindow { quota }
    }

    /// The windows at `now`. A time before the state's window counts as its start.
    fn passed(&self, state: &TwoWindows, now: Timestamp) -> TwoWindows {
        let period = period(&self.quota);
        let ended = now.since(state.start).as_nanos() as u64 / period;
        let start = state.start + Duration::from_nanos(ended * period);
        match ended {
            0 => *state,
            1 => TwoWindows { start, previous: state.current, current: 0 },
            _ => TwoWindows { start, previous: 0, current: 0 },
        }
    }

    /// Units that count at `now`, rounded up. Costs are whole, so rounding changes no decision.
    fn counted(&self, windows: &TwoWindows, now: Timestamp) -> u128 {
        let period = u128::from(period(&self.quota));
        let left = period - now.since(windows.start).as_nanos();
        let unfaded = (u128::from(windows.previous) * left).div_ceil(period);
        unfaded + u128::from(windows.current)
    }

    /// The first nanosecond of a window at which at most `room` of the previous window's `units`
    /// count, where `units` is above `room`; the window's end if there is none.
    fn faded_to(&self, room: u64, units: u64) -> u64 {
        let period = period(&self.quota);
        let left = u128::from(room) * u128::from(period) / u128::from(units.max(1));
        u128::from(period).saturating_sub(left) as u64
    }

    /// The time, in nanoseconds, from which on `cost` is allowed. `cost` must be at most the count
    /// and denied now.
    fn allowed_at(&self, windows: &TwoWindows, cost: u64) -> u128 {
        let room = self.quota.count() - cost;
        let start = u128::from(windows.start.as_nanos());
        match room.checked_sub(windows.current) {
            Some(room) => start + u128::from(self.faded_to(room, windows.previous)),
            None => {
                let next = start + u128::from(period(&self.quota));
                next + u128::from(self.faded_to(room, windows.current))
            }
        }
    }

    fn empty_at(&self, windows: &TwoWindows) -> u128 {
        let lasting = match windows {
            TwoWindows { previous: 0, current: 0, .. } => 0,
            TwoWindows { current: 0, .. } => 1,
            _ => 2,
        };
        u128::from(windows.start.as_nanos()) + lasting * u128::from(period(&self.quota))
    }

    fn reset_after(&self, windows: &TwoWindows, now: Timestamp) -> Duration {
        match windows {
            TwoWindows { previous: 0, current: 0, .. } => Duration::ZERO,
            _ => until(self.empty_at(windows), now),
        }
    }
}

impl Algorithm for SlidingWindow {
    type State = TwoWindows;

    fn quota(&self) -> Quota {
        self.quota
    }

    fn set_quota(&mut self, quota: Quota) {
        self.quota = quota;
    }

    fn decide(&self, state: &TwoWindows, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        let count = self.quota.count();
        let mut windows = self.passed(state, now);
        let left = u128::from(count).saturating_sub(self.counted(&windows, now)) as u64;
        if cost <= left {
            // Never wraps: the sum is at most the count.
            windows.current += cost;
            return Ok(Allowed::new(count, left - cost, self.reset_after(&windows, now)));
        }
        let retry = match cost <= count {
            true => Retry::After(until(self.allowed_at(&windows, cost), now)),
            false => Retry::Never,
        };
        Err(Denied::new(count, left, self.reset_after(&windows, now), retry))
    }

    fn charge(&self, state: &mut TwoWindows, cost: u64, now: Timestamp) {
        if cost > 0 {
            *state = self.passed(state, now);
            state.current = state.current.saturating_add(cost);
        }
    }

    fn idle_at(&self, state: &TwoWindows) -> Timestamp {
        axis::stamp(self.empty_at(state))
    }

    fn bound(&self, within: Duration) -> u64 {
        let (count, period) = (self.quota.count(), self.quota.period().as_nanos());
        let more = within.as_nanos().saturating_sub(1).saturating_mul(u128::from(count)) / period;
        u64::try_from(more).map_or(u64::MAX, |more| more.saturating_add(count))
    }

    fn settle(
        &self,
        state: &mut TwoWindows,
        charged: u64,
        at: Timestamp,
        cost: u64,
        now: Timestamp,
    ) {
        let Some(less) = charged.checked_sub(cost) else {
            return self.charge(state, cost - charged, now);
        };
        if at >= state.start {
            state.current = state.current.saturating_sub(less);
        } else if state.start.since(at) <= self.quota.period() {
            state.previous = state.previous.saturating_sub(less);
        }
    }

    fn convert(&self, before: &SlidingWindow, state: &mut TwoWindows, now: Timestamp) {
        if before.quota.period() == self.quota.period() {
            return;
        }
        let now = now.max(state.start);
        let counted = before.counted(&before.passed(state, now), now);
        let start = axis::aligned(now, period(&self.quota));
        let current = u64::try_from(counted).unwrap_or(u64::MAX);
        *state = TwoWindows { start, previous: 0, current };
    }
}
