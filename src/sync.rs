//! The one door to threads and atomics: std's in a build, loom's or shuttle's in a model.
//!
//! Three cfgs choose. `tollgate_loom` explores weak memory. `tollgate_loom_rmw` turns every load
//! into a read-modify-write, since loom by itself does not explore all interleavings of
//! load-then-compare-and-swap. `tollgate_shuttle` draws random schedules.

pub(crate) use imp::*;

#[cfg(not(any(tollgate_loom, tollgate_loom_rmw, tollgate_shuttle)))]
mod imp {
    pub(crate) use parking_lot::Mutex;
    pub(crate) use std::hash::RandomState;
    pub(crate) use std::hint::spin_loop;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, fence};
    pub(crate) use std::sync::{Arc, OnceLock};
    pub(crate) use std::thread::yield_now;
}

#[cfg(any(tollgate_loom, tollgate_loom_rmw, tollgate_shuttle))]
#[path = "sync/modelled.rs"]
mod imp;

pub(crate) use std::sync::atomic::Ordering;

/// How many times [`Backoff`] doubles its spin before it yields.
const SPIN_DOUBLINGS: u32 = 6;

/// Waiting for another thread's few instructions: spin, twice as long each time, then yield.
#[derive(Default)]
pub(crate) struct Backoff(u32);

impl Backoff {
    #[cold]
    pub(crate) fn wait(&mut self) {
        if self.0 < SPIN_DOUBLINGS && !cfg!(any(tollgate_loom, tollgate_loom_rmw)) {
            for _ in 0..1 << self.0 {
                spin_loop();
            }
            self.0 += 1;
        } else {
            yield_now();
        }
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
