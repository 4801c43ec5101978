//! A count that many threads raise without meeting on one cache line.

use std::cell::Cell;

use crate::sync::{AtomicU64, CachePadded, LazyLock, Ordering};

/// Lines a count is spread over. Threads take them in turn.
const STRIPES: usize = 8;

#[derive(Default)]
pub(crate) struct Counter {
    stripes: [CachePadded<AtomicU64>; STRIPES],
}

impl Counter {
    // Relaxed throughout: counts order nothing.
    #[inline]
    pub(crate) fn add(&self, by: u64) {
        self.stripes[stripe()].fetch_add(by, Ordering::Relaxed);
    }

    /// What was counted on this thread's stripe.
    pub(crate) fn of_thread(&self) -> u64 {
        self.stripes[stripe()].load(Ordering::Relaxed)
    }

    pub(crate) fn sum(&self) -> u64 {
        self.stripes.iter().map(|stripe| stripe.load(Ordering::Relaxed)).sum()
    }
}

/// This thread's stripe.
#[inline]
fn stripe() -> usize {
    thread_local!(static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) });
    // A thread that is being torn down shares the first.
    STRIPE
        .try_with(|stripe| {
            if stripe.get() == usize::MAX {
                stripe.set(next_stripe());
            }
            stripe.get()
        })
        .unwrap_or(0)
}

fn next_stripe() -> usize {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(AtomicU64::default);
    NEXT.fetch_add(1, Ordering::Relaxed) as usize % STRIPES
}
