//! How many keys may have a record.

use crate::cells::Overflow;
use crate::sync::{AtomicU64, Ordering};

/// How many keys may have a record, in all shards, and what happens to others.
pub(super) struct Room {
    taken: AtomicU64,
    max: u64,
    pub(super) overflow: Overflow,
}

impl Room {
    pub(super) fn new(max_keys: usize, overflow: Overflow) -> Room {
        Room { taken: AtomicU64::new(0), max: (max_keys as u64).max(1), overflow }
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
