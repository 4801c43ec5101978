//! The same names under a model checker.

use super::Ordering;

#[cfg(any(tollgate_loom, tollgate_loom_rmw))]
use loom as model;
#[cfg(tollgate_shuttle)]
use shuttle as model;

pub(crate) use model::hint::spin_loop;
pub(crate) use model::sync::atomic::fence;
pub(crate) use model::thread::yield_now;
// Not modelled: what they guard is published by an atomic that is.
pub(crate) use std::sync::{Arc, OnceLock};

/// A fixed seed: a model must not depend on the process's randomness.
pub(crate) type RandomState = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

macro_rules! atomic {
    ($name:ident, $of:ty, $zero:expr) => {
        #[derive(Debug)]
        pub(crate) struct $name(model::sync::atomic::$name);

        #[allow(dead_code)]
        impl $name {
            pub(crate) fn new(value: $of) -> Self {
                Self(model::sync::atomic::$name::new(value))
            }
            #[cfg(not(tollgate_loom_rmw))]
            pub(crate) fn load(&self, order: Ordering) -> $of {
                self.0.load(order)
            }
            #[cfg(tollgate_loom_rmw)]
            pub(crate) fn load(&self, order: Ordering) -> $of {
                self.0.fetch_or($zero, order)
            }
            pub(crate) fn store(&self, value: $of, order: Ordering) {
                self.0.store(value, order);
            }
            pub(crate) fn fetch_max(&self, value: $of, order: Ordering) -> $of
            where
                $of: Ord,
            {
                let mut old = self.0.load(Ordering::Relaxed);
                while let Err(seen) =
                    self.0.compare_exchange(old, old.max(value), order, Ordering::Relaxed)
                {
                    old = seen;
                }
                old
            }
            pub(crate) fn compare_exchange(
                &self,
                old: $of,
                new: $of,
                ok: Ordering,
                err: Ordering,
            ) -> Result<$of, $of> {
                self.0.compare_exchange(old, new, ok, err)
            }
        }
    };
}

atomic!(AtomicU8, u8, 0);
atomic!(AtomicU32, u32, 0);
atomic!(AtomicU64, u64, 0);
atomic!(AtomicBool, bool, false);

impl AtomicU64 {
    pub(crate) fn fetch_add(&self, by: u64, order: Ordering) -> u64 {
        self.0.fetch_add(by, order)
    }
}

impl Default for AtomicU64 {
    fn default() -> Self {
        Self::new(0)
    }
}

/// `parking_lot`'s face on the model's mutex.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(model::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(model::sync::Mutex::new(value))
    }
    pub(crate) fn lock(&self) -> model::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
