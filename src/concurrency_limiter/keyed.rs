//! [`KeyedConcurrencyLimiter`]: a number of slots for each key. The table of keys is in
//! `keyed_semaphores`.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::time::Duration;

use crate::decision::Denied;
use crate::queue::{Acquire, WaitError, acquire_blocking};
use crate::sync::{Arc, RandomState};
use crate::time::Clock;

use super::keyed_semaphores::KeyedSemaphores;
use super::lease::Lease;
use super::plan::SlotPlan;
use super::semaphore::Semaphore;
use super::{AcquireSlots, ConcurrencyLimiterBuilder, SlotKey, Usage};

/// A separate number of slots for each key. The documentation of
/// [`ConcurrencyLimiter`](crate::ConcurrencyLimiter) applies to the slots of each key.
///
/// ```
/// use tollgate::{ConcurrencyLimiter, KeyedConcurrencyLimiter};
///
/// let reports: KeyedConcurrencyLimiter<str> = ConcurrencyLimiter::builder(1).build_keyed();
/// let lease = reports.try_acquire("org-7")?;
/// assert!(reports.try_acquire("org-7").is_err());
/// assert!(reports.try_acquire("org-8").is_ok());
/// # Ok::<(), tollgate::Denied>(())
/// ```
///
/// A key is known only by its 64-bit hash, as in [`RateLimiter`](crate::RateLimiter). A key is
/// forgotten when no slot of it is held and no caller waits for one: each new key checks two known
/// keys, and [`len`](Self::len) and [`memory`](Self::memory) check all. A key with a leaked lease
/// (`mem::forget`) is never forgotten, though its slots become free when the lease ends.
pub struct KeyedConcurrencyLimiter<K: ?Sized, S = RandomState> {
    semaphores: Arc<KeyedSemaphores>,
    hasher: S,
    name: Option<&'static str>,
    keys: PhantomData<fn(&K)>,
}

impl ConcurrencyLimiterBuilder {
    /// Builds a limiter with separate slots for each key.
    pub fn build_keyed<K: ?Sized>(self) -> KeyedConcurrencyLimiter<K> {
        self.build_keyed_with(RandomState::default())
    }

    /// As [`build_keyed`](Self::build_keyed), with another hasher than std's randomly keyed one. If
    /// callers choose the keys, the hasher must be keyed too, and good in all 64 bits.
    pub fn build_keyed_with<K: ?Sized, S>(self, hasher: S) -> KeyedConcurrencyLimiter<K, S> {
        let semaphores = KeyedSemaphores::new(self.cap, self.lease, self.max_waiters, self.clock);
        KeyedConcurrencyLimiter { semaphores, hasher, name: self.name, keys: PhantomData }
    }
}

impl<K: Hash + ?Sized, S: BuildHasher> KeyedConcurrencyLimiter<K, S> {
    /// Takes a slot of `key`, if one is free and no caller waits for it.
    pub fn try_acquire(&self, key: &K) -> Result<Lease, Denied> {
        self.try_acquire_n(key, 1)
    }

    /// Takes `weight` slots of `key`, all or none. A weight of 0 counts as 1.
    pub fn try_acquire_n(&self, key: &K, weight: u32) -> Result<Lease, Denied> {
        Lease::try_take(self.semaphore(key), weight, |semaphore| semaphore)
    }

    /// Waits in the line of `key`, on this thread: see
    /// [`ConcurrencyLimiter::acquire_blocking`](crate::ConcurrencyLimiter::acquire_blocking).
    pub fn acquire_blocking(&self, key: &K, within: Duration) -> Result<Lease, WaitError> {
        self.acquire_n_blocking(key, 1, within)
    }

    /// As [`acquire_blocking`](Self::acquire_blocking), for `weight` slots.
    pub fn acquire_n_blocking(
        &self,
        key: &K,
        weight: u32,
        within: Duration,
    ) -> Result<Lease, WaitError> {
        acquire_blocking(SlotPlan::new(self.semaphore(key), weight, within))
    }

    /// Waits in the line of `key`, under any executor: see
    /// [`ConcurrencyLimiter::acquire`](crate::ConcurrencyLimiter::acquire).
    pub fn acquire(&self, key: &K, within: Duration) -> AcquireSlots {
        self.acquire_n(key, 1, within)
    }

    /// As [`acquire`](Self::acquire), for `weight` slots.
    pub fn acquire_n(&self, key: &K, weight: u32, within: Duration) -> AcquireSlots {
        AcquireSlots(Acquire::New(SlotPlan::new(self.semaphore(key), weight, within)))
    }

    /// Ends all leases of `key`.
    pub fn reset(&self, key: &K) {
        self.semaphores.reset(self.tag(key));
    }

    /// The current state of the slots of `key`. The counts of a forgotten key start again at 0.
    pub fn usage(&self, key: &K) -> Usage {
        match self.semaphores.find(self.tag(key)) {
            Some(semaphore) => semaphore.usage(),
            None => Usage::of_nothing(self.semaphores.cap()),
        }
    }

    /// `key` as a part of a set that is decided all or none: see [`all`](crate::all).
    pub fn key(&self, key: &K) -> SlotKey<'_> {
        SlotKey {
            semaphore: self.semaphore(key),
            clock: self.semaphores.clock(),
            weight: 1,
            name: self.name,
        }
    }

    fn tag(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    fn semaphore(&self, key: &K) -> Arc<Semaphore> {
        self.semaphores.semaphore(self.tag(key))
    }
}

impl<K: ?Sized, S> KeyedConcurrencyLimiter<K, S> {
    /// The clock for timestamps.
    pub fn clock(&self) -> &Clock {
        self.semaphores.clock()
    }

    /// Changes the number of slots of each key.
    pub fn resize(&self, cap: u32) {
        self.semaphores.resize(cap);
    }

    /// The number of keys with a held slot or a waiting caller. Checks all known keys, and forgets
    /// the others.
    pub fn len(&self) -> usize {
        self.semaphores.len()
    }

    /// Whether no key has a held slot or a waiting caller. Checks all known keys, as
    /// [`len`](Self::len).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes allocated for keys with a held slot or a waiting caller. Forgets the other keys.
    pub fn memory(&self) -> usize {
        self.semaphores.memory()
    }
}

impl<K: ?Sized, S> Drop for KeyedConcurrencyLimiter<K, S> {
    fn drop(&mut self) {
        self.semaphores.close();
    }
}

impl<K: ?Sized, S> fmt::Debug for KeyedConcurrencyLimiter<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedConcurrencyLimiter")
            .field("known", &self.semaphores.known())
            .finish_non_exhaustive()
    }
}
