//! What the slots of all keys of a limiter have in common.

use std::time::Duration;

use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::{Clock, Timestamp};

use super::record::NEVER;

/// Kept once for all keys: what each key keeps beside its slots is memory that a caller must fetch.
pub(crate) struct Terms {
    pub(crate) clock: Clock,
    /// How long a lease is, in nanoseconds; `u64::MAX` without end.
    lease: AtomicU64,
    max_waiters: AtomicU64,
}

fn nanos(lease: Option<Duration>) -> u64 {
    lease.map_or(NEVER, |lease| u64::try_from(lease.as_nanos()).unwrap_or(NEVER))
}

impl Terms {
    pub(crate) fn new(clock: Clock, lease: Option<Duration>, max_waiters: usize) -> Arc<Terms> {
        let (lease, max_waiters) =
            (AtomicU64::new(nanos(lease)), AtomicU64::new(max_waiters as u64));
        Arc::new(Terms { clock, lease, max_waiters })
    }

    /// For leases that begin and lines that are made from now on.
    pub(crate) fn set(&self, lease: Option<Duration>, max_waiters: usize) {
        // Relaxed: nothing else goes with them.
        self.lease.store(nanos(lease), Ordering::Relaxed);
        self.max_waiters.store(max_waiters as u64, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn lease(&self) -> u64 {
        self.lease.load(Ordering::Relaxed)
    }

    /// The end of a lease that begins at `now`.
    #[inline]
    pub(super) fn end(&self, now: Timestamp) -> u64 {
        now.as_nanos().saturating_add(self.lease())
    }

    pub(crate) fn max_waiters(&self) -> usize {
        self.max_waiters.load(Ordering::Relaxed) as usize
    }
}
