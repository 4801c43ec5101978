//! The source of threads, locks and atomics for all other modules: the real ones in a build, those
//! from loom or shuttle in a model.
//!
//! Two cfgs choose: `tollgate_loom` explores interleavings and weak memory, `tollgate_shuttle` runs
//! random schedules. `verify/models.sh` runs both. The types for models are in `sync/modelled.rs`.

use std::time::Duration;

pub(crate) use imp::*;

#[cfg(not(any(tollgate_loom, tollgate_shuttle)))]
mod imp {
    pub(crate) use crossbeam_utils::Backoff;
    pub(crate) use parking_lot::{Mutex, MutexGuard};
    pub(crate) use std::hash::RandomState;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, fence};
    pub(crate) use std::sync::{Arc, OnceLock, Weak};

    /// A locked value that the holder sees only as a `U`, such as a trait object.
    pub(crate) struct LockedAs<'a, U: ?Sized>(parking_lot::MappedMutexGuard<'a, U>);

    impl<'a, U: ?Sized> LockedAs<'a, U> {
        pub(crate) fn lock<T>(mutex: &'a Mutex<T>, of: fn(&mut T) -> &mut U) -> Self {
            LockedAs(MutexGuard::map(mutex.lock(), of))
        }
        pub(crate) fn get(&mut self) -> &mut U {
            &mut self.0
        }
    }

    /// std's interface over `parking_lot`'s condition variable, which has no poisoning.
    #[derive(Default)]
    pub(crate) struct Condvar(parking_lot::Condvar);

    impl Condvar {
        pub(crate) fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(&mut guard);
            guard
        }
        pub(crate) fn wait_for<'a, T>(
            &self,
            mut guard: MutexGuard<'a, T>,
            at_most: std::time::Duration,
        ) -> MutexGuard<'a, T> {
            self.0.wait_for(&mut guard, at_most);
            guard
        }
        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }
    }

    pub(crate) use std::thread::panicking as is_panicking;

    /// A number of this thread that no other live thread has.
    #[inline(always)]
    pub(crate) fn thread_mark() -> u64 {
        std::thread_local!(static MARK: u8 = const { 0 });
        MARK.with(|mark| std::ptr::from_ref(mark).addr() as u64)
    }

    /// A value of each thread, dropped when the thread ends.
    macro_rules! per_thread {
        (static $name:ident: $of:ty = const $value:block;) => {
            std::thread_local! { static $name: $of = const $value; }
        };
    }
    pub(crate) use per_thread;

    /// A value of the whole process, created when it is first used.
    macro_rules! global {
        (static $name:ident: $of:ty = $value:expr;) => {
            static $name: $crate::sync::LazyLock<$of> = $crate::sync::LazyLock::new(|| $value);
        };
    }
    pub(crate) use global;
}

#[cfg(any(tollgate_loom, tollgate_shuttle))]
#[path = "sync/modelled.rs"]
mod imp;

/// The same in models: it orders nothing.
pub(crate) use crossbeam_utils::CachePadded;
pub(crate) use std::sync::LazyLock;
/// std's also in models, for state that no model checks.
pub(crate) use std::sync::Mutex as PlainMutex;
/// Likewise.
pub(crate) use std::sync::atomic::AtomicU8 as PlainAtomicU8;
pub(crate) use std::sync::atomic::Ordering;
#[cfg(feature = "watch")]
pub(crate) use std::thread::{Builder as ThreadBuilder, JoinHandle, current as current_thread};

/// A flag that wakes one waiting thread, which then clears the flag.
#[derive(Default)]
pub(crate) struct Signal {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    pub(crate) fn set(&self) {
        *self.is_set.lock() = true;
        self.changed.notify_one();
    }

    /// Waits until the flag is set, for at most `at_most` if given, and clears it. May return
    /// early.
    pub(crate) fn wait(&self, at_most: Option<Duration>) {
        let mut is_set = self.is_set.lock();
        if !*is_set {
            is_set = match at_most {
                Some(at_most) => self.changed.wait_for(is_set, at_most),
                None => self.changed.wait(is_set),
            };
        }
        *is_set = false;
    }
}
