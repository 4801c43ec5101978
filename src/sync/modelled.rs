//! The names of `sync` under a model checker, and what makes a model fail when it should.
//!
//! Three environment variables, read once:
//! - `TOLLGATE_MUTANT=name` seeds a bug. Every model has a bug with which it must fail.
//! - `TOLLGATE_WEAKEN=file.rs:line` makes the ordering on that line relaxed, to check whether the
//!   ordering is needed.
//! - `TOLLGATE_RMW=1` turns every load and store into a read-modify-write. Loom does not explore
//!   all interleavings of a load and a later compare-and-swap (tokio-rs/loom #166). In this mode it
//!   does, but does not see stale reads. Each loom model runs in both modes.

use std::panic::Location;

use super::{LazyLock, Ordering};

#[cfg(tollgate_loom)]
use loom as model;
#[cfg(tollgate_shuttle)]
use shuttle as model;

// Not modelled: they count owners, and order nothing else.
pub(crate) use std::sync::{Arc, Weak};

/// A fixed seed: a model must not depend on the randomness of the process.
pub(crate) type RandomState = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

struct Settings {
    weaken: Option<(String, u32)>,
    rmw: bool,
}

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let get = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    Settings {
        weaken: get("TOLLGATE_WEAKEN").and_then(|place| {
            let (file, line) = place.rsplit_once(':')?;
            Some((file.to_owned(), line.parse().ok()?))
        }),
        rmw: get("TOLLGATE_RMW").is_some(),
    }
});

pub(crate) use std::thread::panicking as is_panicking;

/// The same number for all threads: an address would differ from run to run.
pub(crate) fn thread_mark() -> u64 {
    0
}

/// A value of each thread of a model.
macro_rules! per_thread {
    (static $name:ident: $of:ty = const $value:block;) => {
        #[cfg(tollgate_loom)]
        loom::thread_local! { static $name: $of = $value; }
        #[cfg(tollgate_shuttle)]
        shuttle::thread_local! { static $name: $of = $value; }
    };
}
pub(crate) use per_thread;

/// A value of one run of a model, created when it is first used.
macro_rules! global {
    (static $name:ident: $of:ty = $value:expr;) => {
        #[cfg(tollgate_loom)]
        loom::lazy_static! { static ref $name: $of = $value; }
        #[cfg(tollgate_shuttle)]
        shuttle::lazy_static! { static ref $name: $of = $value; }
    };
}
pub(crate) use global;

/// crossbeam's interface. Yields through the model, which does not see a yield of crossbeam's own
/// type.
#[derive(Default)]
pub(crate) struct Backoff(std::cell::Cell<u32>);

impl Backoff {
    pub(crate) fn snooze(&self) {
        // Two threads that wait for a third would take turns forever, since loom tries every order.
        #[cfg(tollgate_loom)]
        if self.0.get() >= 2 {
            loom::skip_branch();
        }
        self.0.set(self.0.get().saturating_add(1));
        model::thread::yield_now();
    }
}

fn is_weakened(at: &Location<'_>) -> bool {
    let place = SETTINGS.weaken.as_ref();
    place.is_some_and(|(file, line)| *line == at.line() && at.file().ends_with(&**file))
}

#[track_caller]
fn ordering(asked: Ordering) -> Ordering {
    if is_weakened(Location::caller()) { Ordering::Relaxed } else { asked }
}

#[track_caller]
pub(crate) fn fence(order: Ordering) {
    if !is_weakened(Location::caller()) {
        model::sync::atomic::fence(order);
    }
}

macro_rules! atomic {
    ($name:ident, $of:ty) => {
        #[derive(Debug, Default)]
        pub(crate) struct $name(model::sync::atomic::$name);

        #[allow(dead_code)]
        impl $name {
            pub(crate) fn new(value: $of) -> Self {
                Self(model::sync::atomic::$name::new(value))
            }
            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $of {
                let order = ordering(order);
                if SETTINGS.rmw {
                    self.0.fetch_or(<$of>::default(), order)
                } else {
                    self.0.load(order)
                }
            }
            #[track_caller]
            pub(crate) fn store(&self, value: $of, order: Ordering) {
                let order = ordering(order);
                if SETTINGS.rmw {
                    self.0.swap(value, order);
                } else {
                    self.0.store(value, order);
                }
            }
            #[track_caller]
            pub(crate) fn swap(&self, value: $of, order: Ordering) -> $of {
                self.0.swap(value, ordering(order))
            }
            #[track_caller]
            pub(crate) fn fetch_max(&self, value: $of, order: Ordering) -> $of {
                let order = ordering(order);
                let mut old = self.0.load(Ordering::Relaxed);
                while let Err(seen) =
                    self.0.compare_exchange(old, old.max(value), order, Ordering::Relaxed)
                {
                    old = seen;
                }
                old
            }
            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                old: $of,
                new: $of,
                ok: Ordering,
                err: Ordering,
            ) -> Result<$of, $of> {
                self.0.compare_exchange(old, new, ordering(ok), err)
            }
        }
    };
}

atomic!(AtomicU8, u8);
atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);
atomic!(AtomicBool, bool);

impl AtomicU64 {
    #[track_caller]
    pub(crate) fn fetch_add(&self, by: u64, order: Ordering) -> u64 {
        self.0.fetch_add(by, ordering(order))
    }
    #[track_caller]
    pub(crate) fn fetch_sub(&self, by: u64, order: Ordering) -> u64 {
        self.0.fetch_sub(by, ordering(order))
    }
    #[track_caller]
    pub(crate) fn fetch_update(
        &self,
        ok: Ordering,
        err: Ordering,
        next: impl FnMut(u64) -> Option<u64>,
    ) -> Result<u64, u64> {
        self.0.fetch_update(ordering(ok), err, next)
    }
    #[track_caller]
    pub(crate) fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
        self.0.fetch_or(bits, ordering(order))
    }
    #[track_caller]
    pub(crate) fn fetch_and(&self, bits: u64, order: Ordering) -> u64 {
        self.0.fetch_and(bits, ordering(order))
    }
}

pub(crate) use model::sync::MutexGuard;

/// `parking_lot`'s interface over the model's mutex.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(model::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(model::sync::Mutex::new(value))
    }
    pub(crate) fn lock(&self) -> model::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
    pub(crate) fn try_lock(&self) -> Option<model::sync::MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

/// A locked value that the holder sees only as a `U`, such as a trait object.
pub(crate) struct LockedAs<'a, U: ?Sized>(Box<dyn Lend<U> + 'a>);

trait Lend<U: ?Sized> {
    fn lend(&mut self) -> &mut U;
}

impl<T, U: ?Sized> Lend<U> for (MutexGuard<'_, T>, fn(&mut T) -> &mut U) {
    fn lend(&mut self) -> &mut U {
        (self.1)(&mut self.0)
    }
}

impl<'a, U: ?Sized + 'a> LockedAs<'a, U> {
    pub(crate) fn lock<T>(mutex: &'a Mutex<T>, of: fn(&mut T) -> &mut U) -> Self {
        LockedAs(Box::new((mutex.lock(), of)))
    }
    pub(crate) fn get(&mut self) -> &mut U {
        self.0.lend()
    }
}

/// `wait_for` ignores its time limit: a model moves a virtual clock instead.
#[derive(Debug, Default)]
pub(crate) struct Condvar(model::sync::Condvar);

impl Condvar {
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(|poisoned| poisoned.into_inner())
    }
    pub(crate) fn wait_for<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        _: std::time::Duration,
    ) -> MutexGuard<'a, T> {
        self.wait(guard)
    }
    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }
}

/// std's type, with a flag and a lock that the model sees.
#[derive(Debug)]
pub(crate) struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    is_set: AtomicBool,
    setting: Mutex<()>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        OnceLock {
            value: std::sync::OnceLock::new(),
            is_set: AtomicBool::new(false),
            setting: Mutex::new(()),
        }
    }
    pub(crate) fn get(&self) -> Option<&T> {
        if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
    }
    pub(crate) fn get_or_init(&self, init: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _setting = self.setting.lock();
        if self.value.get().is_none() {
            let value = init();
            let _ = self.value.set(value);
            self.is_set.store(true, Ordering::Release);
        }
        self.value.get().expect("just set")
    }
}
