//! The capacity that all shards of a limiter share: how many keys may have a record, and at what time
//! a record is judged to be idle.

use crate::cells::{HORIZON, Overflow};
use crate::sync::{AtomicU64, Ordering};
use crate::time::{Clock, Timestamp};

/// How many keys may have a record in all shards together, and what happens to further keys.
pub(super) struct Capacity {
    taken: AtomicU64,
    max: u64,
    pub(super) overflow: Overflow,
    pub(super) clock: Clock,
    /// In nanoseconds: see [`Capacity::forgets_at`].
    horizon: AtomicU64,
}

impl Capacity {
    pub(super) fn new(max_keys: usize, overflow: Overflow, clock: Clock) -> Capacity {
        let max = (max_keys as u64).max(1);
        Capacity { taken: AtomicU64::new(0), max, overflow, clock, horizon: AtomicU64::new(0) }
    }

    /// The time as of which a call at `now` forgets keys: `now`, or the clock's time if `now` is
    /// beyond the horizon. A new key starts at the time at which a forgotten key became idle, so a
    /// key that was charged far in the future would block all new keys. A clock at 0 sets no
    /// horizon, since the caller then supplies all timestamps.
    pub(super) fn forgets_at(&self, now: Timestamp) -> Timestamp {
        // Relaxed: pairs with the `fetch_max` below. The horizon only grows and guards no other
        // data; a stale value only costs another read of the clock.
        if now.as_nanos() <= self.horizon.load(Ordering::Relaxed) {
            return now;
        }
        let latest = self.clock.latest();
        let horizon = if latest == Timestamp::ZERO { now } else { latest + HORIZON };
        self.horizon.fetch_max(horizon.as_nanos(), Ordering::Relaxed);
        if now <= horizon { now } else { latest }
    }

    // Relaxed, as in `is_full` and `give_back`: the read-modify-writes alone keep the count exact.
    // The locks of the shards guard the records.
    pub(super) fn take(&self) -> bool {
        let more = |taken| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn is_full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.max
    }

    pub(super) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
