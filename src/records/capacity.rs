//! How many keys may have a record, and until when they are remembered.

use crate::cells::{HORIZON, Overflow};
use crate::sync::{AtomicU64, Ordering};
use crate::time::{Clock, Timestamp};

/// How many keys may have a record, in all shards, and what happens to others.
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

    /// The moment as of which keys are forgotten at `now`: the clock's, if `now` is beyond its horizon.
    /// For newcomers start where a forgotten key was idle, and one that was charged far ahead would
    /// stop them all. A clock at 0 says nothing, since all stamps are then the caller's own.
    pub(super) fn forgets_at(&self, now: Timestamp) -> Timestamp {
        // Relaxed: the clock's time only grows.
        if now.as_nanos() <= self.horizon.load(Ordering::Relaxed) {
            return now;
        }
        let latest = self.clock.latest();
        let horizon = if latest == Timestamp::ZERO { now } else { latest + HORIZON };
        self.horizon.fetch_max(horizon.as_nanos(), Ordering::Relaxed);
        if now <= horizon { now } else { latest }
    }

    // Relaxed: a count. Records are under their locks.
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
