//! [`FixedWindow`]: a count per window of one period. Windows are aligned, shifted per key, or
//! begin at the first hit.

use std::time::Duration;

use super::axis::{aligned, period, until};
use super::{Algorithm, InWord, Refill, axis};
use crate::decision::{Allowed, Denied, Retry};
use crate::quota::Quota;
use crate::time::Timestamp;

/// The fixed window: counts units, which come back all at once when a window of one period ends.
///
/// Windows begin at multiples of the period since the time origin (1970), the same for all keys,
/// unless an option below says otherwise. A window holds the quota's burst, and `count` units come
/// back at its end. By default the burst is the count, so each window begins empty, as in the
/// classic fixed window; with another burst it is a bucket that is refilled once a period.
///
/// **Bound**: `burst + min(count, burst) * ceil(t / period)` units in any closed interval of length
/// `t`, since up to `ceil(t / period)` windows end in it. If denied requests count, each end gives
/// back up to `burst`. **Worst case**: with a burst of `n`, `2n` units within a nanosecond, around
/// the end of a window; `2n - 1` with windows from the first hit, since one unit began the window.
/// **Memory**: a state of 16 bytes, or a word with aligned windows that do not count denied
/// requests. When the quota changes, used units stay used in the current window, which then has
/// the new period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedWindow {
    quota: Quota,
    begins: Begins,
    counts_denied: bool,
}

/// When windows begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    Aligned,
    /// Aligned, with the time of each key ahead by its own part of `within` nanoseconds. A change
    /// of quota leaves `within` as it is, since a key's time must not jump.
    AlignedAhead {
        within: u64,
    },
    FirstHit,
}

/// The state that [`FixedWindow`] keeps of a key: a window, and the units used in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    start: Timestamp,
    used: u64,
}

impl FixedWindow {
    /// Windows of a quota, aligned to the time origin.
    pub fn new(quota: Quota) -> FixedWindow {
        FixedWindow { quota, begins: Begins::Aligned, counts_denied: false }
    }

    /// A window begins with the first charge after all units have come back, so the window of one
    /// key does not reveal the window of another.
    #[must_use]
    pub fn from_first_hit(self) -> FixedWindow {
        FixedWindow { begins: Begins::FirstHit, ..self }
    }

    /// Aligned windows, shifted for each key by its own part of the period, so that the units of
    /// different keys come back at different times. A change of quota does not change the shift.
    ///
    /// Keys that share a pool for lack of room ([`Overflow::Pool`](crate::Overflow::Pool)) share
    /// its windows, each key with its own shift, so the bound does not hold for them together.
    #[must_use]
    pub fn shifted_per_key(self) -> FixedWindow {
        let within = period(&self.quota);
        FixedWindow { begins: Begins::AlignedAhead { within }, ..self }
    }

    /// Charges denied requests too, as counters that only increment do: a caller that keeps asking
    /// keeps itself and others with the same key out until the window ends. All units come back
    /// then, including those that a burst other than the count would carry over.
    #[must_use]
    pub fn counting_denied(self) -> FixedWindow {
        FixedWindow { counts_denied: true, ..self }
    }

    /// The window at `now`, and the units used in it. A time before the state's window counts as in
    /// that window.
    fn current(&self, state: &Window, now: Timestamp) -> Window {
        let elapsed = now.since(state.start).as_nanos() as u64;
        let ended = elapsed / period(&self.quota);
        let used = if ended > 0 && self.counts_denied {
            0
        } else {
            let back = u128::from(ended) * u128::from(self.quota.count());
            u128::from(state.used).saturating_sub(back) as u64
        };
        let start = state.start + Duration::from_nanos(ended * period(&self.quota));
        Window { start, used }
    }

    fn charged(&self, state: &Window, cost: u64, now: Timestamp) -> Window {
        let current = self.current(state, now);
        let start = match self.begins {
            Begins::FirstHit if current.used == 0 => now.max(state.start),
            _ => current.start,
        };
        Window { start, used: current.used.saturating_add(cost) }
    }

    /// The time, in nanoseconds, at which `units` of the used units have come back.
    fn back_at(&self, window: &Window, units: u64) -> u128 {
        let ends =
            if self.counts_denied { units.min(1) } else { units.div_ceil(self.quota.count()) };
        u128::from(window.start.as_nanos()) + u128::from(ends) * u128::from(period(&self.quota))
    }

    fn reset_after(&self, window: &Window, now: Timestamp) -> Duration {
        match window.used {
            0 => Duration::ZERO,
            used => until(self.back_at(window, used), now),
        }
    }

    /// How many windows end after `from` and not after `to`.
    fn ends(&self, state: &Window, from: Timestamp, to: Timestamp) -> u128 {
        let nth = |at: Timestamp| {
            let after = i128::from(at.as_nanos()) - i128::from(state.start.as_nanos());
            after.div_euclid(i128::from(period(&self.quota)))
        };
        u128::try_from(nth(to) - nth(from)).unwrap_or(0)
    }
}

impl Algorithm for FixedWindow {
    type State = Window;

    fn quota(&self) -> Quota {
        self.quota
    }

    fn set_quota(&mut self, quota: Quota) {
        self.quota = quota;
    }

    fn decide(&self, state: &Window, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        let burst = self.quota.burst_size();
        let current = self.current(state, now);
        let left = burst.saturating_sub(current.used);
        if cost == 0 {
            return Ok(Allowed::new(burst, left, self.reset_after(&current, now)));
        }
        if cost <= left {
            let next = self.charged(state, cost, now);
            return Ok(Allowed::new(burst, left - cost, self.reset_after(&next, now)));
        }
        let retry = match burst.checked_sub(cost) {
            Some(rest) => Retry::After(until(self.back_at(&current, current.used - rest), now)),
            None => Retry::Never,
        };
        Err(Denied::new(burst, left, self.reset_after(&current, now), retry))
    }

    fn charge(&self, state: &mut Window, cost: u64, now: Timestamp) {
        if cost > 0 {
            *state = self.charged(state, cost, now);
        }
    }

    fn idle_at(&self, state: &Window) -> Timestamp {
        axis::stamp(self.back_at(state, state.used))
    }

    fn bound(&self, within: Duration) -> u64 {
        let burst = self.quota.burst_size();
        let back = if self.counts_denied { burst } else { burst.min(self.quota.count()) };
        let ends = within.as_nanos().div_ceil(self.quota.period().as_nanos());
        let more = ends.saturating_mul(u128::from(back));
        u64::try_from(more).map_or(u64::MAX, |more| more.saturating_add(burst))
    }

    fn settle(&self, state: &mut Window, charged: u64, at: Timestamp, cost: u64, now: Timestamp) {
        if let Some(more) = cost.checked_sub(charged) {
            return self.charge(state, more, now);
        }
        let ended = self.ends(state, at, now.max(state.start));
        let per_end = if self.counts_denied { u64::MAX } else { self.quota.count() };
        let came_back = ended.saturating_mul(u128::from(per_end));
        let left = u128::from(charged - cost).saturating_sub(came_back) as u64;
        state.used = state.used.saturating_sub(left);
    }

    fn counts_denied(&self) -> bool {
        self.counts_denied
    }

    fn ahead(&self, identity: u64) -> Duration {
        match self.begins {
            Begins::AlignedAhead { within } => Duration::from_nanos(identity % within),
            Begins::Aligned | Begins::FirstHit => Duration::ZERO,
        }
    }

    fn convert(&self, before: &FixedWindow, state: &mut Window, now: Timestamp) {
        let now = now.max(state.start);
        let Window { start, used } = before.current(state, now);
        let whole = self.quota.period();
        let start = match self.begins {
            Begins::FirstHit if now.since(start) < whole => start,
            Begins::FirstHit => now,
            Begins::Aligned | Begins::AlignedAhead { .. } => aligned(now, period(&self.quota)),
        };
        *state = Window { start, used };
    }

    fn in_word(&self) -> Option<InWord> {
        let plain = self.begins == Begins::Aligned && !self.counts_denied;
        plain.then_some(InWord { refill: Refill::Stepped })
    }
}
