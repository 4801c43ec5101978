//! [`Gcra`], the generic cell rate algorithm as an [`Algorithm`]. The arithmetic is in `bucket`,
//! which `cells` uses without this file.

use std::time::Duration;

use super::bucket::{Bucket, Moment};
use super::{Algorithm, InWord, Refill};
use crate::decision::{Allowed, Denied};
use crate::quota::Quota;
use crate::time::Timestamp;

/// GCRA, the generic cell rate algorithm (ITU-T I.371): a token bucket kept as one number.
///
/// Units come back one by one, evenly. **Bound**: `burst + floor(t * count / period)` units in any
/// closed interval of length `t`. **Worst case**: after a pause the whole burst passes at once and
/// further units follow at the rate, so with a burst of `n` up to `2n - 1` pass within a period.
/// **Memory**: a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    quota: Quota,
    bucket: Bucket,
}

/// The state that [`Gcra`] keeps of a key: the theoretical arrival time, at which its bucket is
/// full again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tat {
    /// When the busy period began. Ticks are counted from this time, so its start is never rounded.
    since: Timestamp,
    /// Ticks after `since`.
    ticks: u64,
}

impl Gcra {
    /// GCRA for a quota.
    pub fn new(quota: Quota) -> Gcra {
        Gcra { quota, bucket: Bucket::new(&quota, Refill::Steady) }
    }

    fn moment(&self, state: &Tat, now: Timestamp) -> Moment {
        let nanos = now.since(state.since).as_nanos() as u64;
        let early = state.since.since(now).as_nanos() as u64;
        self.bucket.moment(nanos, early)
    }

    /// The state at `now`, with a busy period that begins at `now` if none is in progress.
    fn rebased(&self, state: &Tat, now: Timestamp) -> Tat {
        let moment = self.moment(state, now);
        let since = now.max(state.since);
        if state.ticks <= moment.floor { Tat { since, ticks: 0 } } else { *state }
    }
}

impl Algorithm for Gcra {
    type State = Tat;

    fn quota(&self) -> Quota {
        self.quota
    }

    fn set_quota(&mut self, quota: Quota) {
        *self = Gcra::new(quota);
    }

    fn decide(&self, state: &Tat, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        let state = self.rebased(state, now);
        let decided = self.bucket.decide(state.ticks, cost, self.moment(&state, now));
        decided.map(|(_, allowed)| allowed)
    }

    fn charge(&self, state: &mut Tat, cost: u64, now: Timestamp) {
        let at = self.rebased(state, now);
        if let Ok((ticks, _)) = self.bucket.decide(at.ticks, cost, self.moment(&at, now)) {
            if cost > 0 {
                *state = Tat { ticks, ..at };
            }
        }
    }

    fn idle_at(&self, state: &Tat) -> Timestamp {
        state.since + Duration::from_nanos(self.bucket.scale.nanos(state.ticks))
    }

    fn bound(&self, within: Duration) -> u64 {
        let (count, per) = (u128::from(self.quota.count()), self.quota.period().as_nanos());
        let more = within.as_nanos().saturating_mul(count) / per;
        u64::try_from(more).map_or(u64::MAX, |more| more.saturating_add(self.quota.burst_size()))
    }

    fn settle(&self, state: &mut Tat, charged: u64, at: Timestamp, cost: u64, now: Timestamp) {
        let unit = u128::from(self.bucket.scale.unit);
        match cost.checked_sub(charged) {
            Some(more) => {
                let at = self.rebased(state, now);
                let owed = u128::from(at.ticks) + u128::from(more) * unit;
                *state = Tat { ticks: within_reach(owed), ..at };
            }
            None => {
                let elapsed = now.since(at).as_nanos() as u64;
                let (ticks, cut) = self.bucket.scale.ticks(elapsed);
                let given = u128::from(ticks) + u128::from(cut);
                let less = (u128::from(charged - cost) * unit).saturating_sub(given);
                let less = u64::try_from(less).unwrap_or(u64::MAX);
                state.ticks = state.ticks.saturating_sub(less);
            }
        }
    }

    fn convert(&self, before: &Gcra, state: &mut Tat, now: Timestamp) {
        let owed = state.ticks.saturating_sub(before.moment(state, now).floor);
        let units = u128::from(owed) * u128::from(self.bucket.scale.unit);
        let ticks = units.div_ceil(u128::from(before.bucket.scale.unit));
        *state = Tat { since: now, ticks: within_reach(ticks) };
    }

    fn in_word(&self) -> Option<InWord> {
        Some(InWord { refill: Refill::Steady })
    }
}

/// `ticks` of debt, capped at `MAX_OWED`, which is at least a year.
fn within_reach(ticks: u128) -> u64 {
    const MAX_OWED: u64 = 1 << 61;
    u64::try_from(ticks).map_or(MAX_OWED, |ticks| ticks.min(MAX_OWED))
}
