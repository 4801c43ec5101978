//! The one door to threads and atomics: std's in a build, loom's or shuttle's in a model.
//!
//! Two cfgs choose: `tollgate_loom` explores interleavings and weak memory, `tollgate_shuttle`
//! draws random schedules. `verify/models.sh` runs them.

pub(crate) use imp::*;

#[cfg(not(any(tollgate_loom, tollgate_shuttle)))]
mod imp {
    pub(crate) use parking_lot::Mutex;
    pub(crate) use std::hash::RandomState;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, fence};
    pub(crate) use std::sync::{Arc, OnceLock, Weak};

    /// How many times a wait doubles its spin before it yields.
    const SPIN_DOUBLINGS: u32 = 6;

    /// Lets another thread get on, in the `round`th wait for it.
    pub(crate) fn pause(round: u32) {
        if round < SPIN_DOUBLINGS {
            for _ in 0..1 << round {
                std::hint::spin_loop();
            }
        } else {
            std::thread::yield_now();
        }
    }

    /// Whether the seeded bug `name` is in. Only under a model can one be.
    #[inline(always)]
    pub(crate) const fn mutant(_name: &str) -> bool {
        false
    }
}

#[cfg(any(tollgate_loom, tollgate_shuttle))]
#[path = "sync/modelled.rs"]
mod imp;

pub(crate) use std::sync::LazyLock;
pub(crate) use std::sync::atomic::Ordering;
/// Std's in models too: for what no model looks at.
pub(crate) use std::sync::{Condvar as PlainCondvar, Mutex as PlainMutex, PoisonError};

/// Waiting for another thread's few instructions: spin, twice as long each time, then yield.
#[derive(Default)]
pub(crate) struct Backoff(u32);

impl Backoff {
    #[cold]
    pub(crate) fn wait(&mut self) {
        pause(self.0);
        self.0 = self.0.saturating_add(1);
    }
}

/// A value alone on its cache lines, so that a neighbour's writes do not slow its readers.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct CachePadded<T>(pub(crate) T);

impl<T> std::ops::Deref for CachePadded<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
