//! [`Terms`]: what the slots of all keys of a limiter share, which is the clock, the length of a
//! lease and the maximum number of waiters.

use std::time::Duration;

use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::{Clock, Timestamp};

use super::record::NEVER;

/// Stored once for all keys: a copy per key would be memory that every call must fetch.
pub(crate) struct Terms {
    pub(crate) clock: Clock,
    /// The length of a lease, in nanoseconds; `NEVER` if leases have no end.
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

    /// Applies to leases that begin and lines that are created from now on.
    pub(crate) fn set(&self, lease: Option<Duration>, max_waiters: usize) {
        // Relaxed: no other data is published with these values.
        self.lease.store(nanos(lease), Ordering::Relaxed);
        self.max_waiters.store(max_waiters as u64, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn lease(&self) -> u64 {
        self.lease.load(Ordering::Relaxed)
    }

    /// The end of a lease that begins at `now`, in nanoseconds.
    #[inline]
    pub(super) fn end(&self, now: Timestamp) -> u64 {
        now.as_nanos().saturating_add(self.lease())
    }

    pub(crate) fn max_waiters(&self) -> usize {
        self.max_waiters.load(Ordering::Relaxed) as usize
    }
}
