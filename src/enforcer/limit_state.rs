//! What a limit, or an override of it, counts with: the cells of a quota, or rooms of slots.

use std::time::Duration;

use crate::cells::Overflow;
use crate::concurrency_limiter::KeyedSemaphores;
use crate::policy::{AlgorithmName, Amount, CarryOver, Change, Limit, What};
use crate::quota::Quota;
use crate::rate_limiter::Rate;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::Clock;

use super::reload::Reload;

pub(crate) struct LimitState {
    pub(crate) limiter: Limiter,
    fixed: FixedSettings,
    /// Of how many overflows somebody was told.
    logged: AtomicU64,
    past: Arc<Past>,
}

/// What the accounts of a limit had counted that are gone.
#[derive(Default)]
pub(crate) struct Past {
    pub(crate) overflows: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) late: AtomicU64,
}

pub(crate) enum Limiter {
    Rate(Arc<Rate>),
    Slots(Arc<KeyedSemaphores>),
}

/// What cannot be changed while it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FixedSettings {
    Rate { max_keys: usize, overflow: Overflow, algorithm: AlgorithmName },
    Slots,
}

/// What can.
#[derive(Clone, Copy)]
enum Settings {
    Quota(Quota),
    Slots { cap: u32, lease: Option<Duration> },
}

impl LimitState {
    /// That of `limit`, under `change` if there is one; `None` if that exempts. That of `before` goes
    /// on if it was made alike.
    pub(super) fn new(
        limit: &Limit,
        change: Change,
        before: Option<&Arc<LimitState>>,
        past: &Arc<Past>,
        clock: &Clock,
        reload: &mut Reload,
    ) -> Option<Arc<LimitState>> {
        let numbers = Settings::of(limit.what, change)?;
        let (overflow, algorithm) = (limit.overflow, limit.algorithm);
        let fixed = match limit.what {
            // An empty key is one key.
            What::Rate(_) if limit.key.is_empty() => {
                FixedSettings::Rate { max_keys: 1, overflow, algorithm }
            }
            What::Rate(_) => FixedSettings::Rate { max_keys: limit.max_keys, overflow, algorithm },
            What::Slots { .. } => FixedSettings::Slots,
        };
        let max_waiters = limit.most_waiters();
        let is_kept = |before: &&Arc<LimitState>| {
            let resets =
                limit.carry_over == CarryOver::Reset && before.amount() != numbers.amount();
            before.fixed == fixed && !resets
        };
        if let Some(before) = before.filter(is_kept) {
            before.set(numbers, max_waiters);
            reload.kept += 1;
            return Some(before.clone());
        }
        reload.fresh += 1;
        let clock = clock.clone();
        let limiter = match (numbers, fixed) {
            (Settings::Quota(quota), FixedSettings::Rate { max_keys, overflow, algorithm }) => {
                let store = algorithm.store(quota, max_keys, overflow, &clock);
                Limiter::Rate(Rate::new(store, clock, max_waiters, None))
            }
            (Settings::Slots { cap, lease }, _) => {
                Limiter::Slots(KeyedSemaphores::new(cap, lease, max_waiters, clock))
            }
            // A quota is made only of a rate.
            (Settings::Quota(_), FixedSettings::Slots) => return None,
        };
        Some(Arc::new(LimitState { limiter, fixed, logged: AtomicU64::new(0), past: past.clone() }))
    }

    /// Nobody is served: that is for later, when no lock is held.
    fn set(&self, numbers: Settings, max_waiters: usize) {
        match (&self.limiter, numbers) {
            (Limiter::Rate(rate), Settings::Quota(quota)) => {
                rate.set_max_waiters(max_waiters);
                rate.set_quota_unserved(quota);
            }
            (Limiter::Slots(semaphores), Settings::Slots { cap, lease }) => {
                semaphores.set(cap, lease, max_waiters);
            }
            _ => {}
        }
    }

    /// Keys for which there is room, if there is a bound.
    pub(crate) fn max_keys(&self) -> Option<usize> {
        match self.fixed {
            FixedSettings::Rate { max_keys, .. } => Some(max_keys),
            FixedSettings::Slots => None,
        }
    }

    /// What it allows.
    pub(crate) fn amount(&self) -> Amount {
        match &self.limiter {
            Limiter::Rate(rate) => Amount::Quota(rate.store.quota()),
            Limiter::Slots(semaphores) => Amount::Cap(semaphores.cap()),
        }
    }

    /// How often there was no room for a key, if that has doubled since somebody was told.
    pub(crate) fn unlogged_overflows(&self) -> Option<u64> {
        let Limiter::Rate(rate) = &self.limiter else { return None };
        // Relaxed: counts.
        let (overflows, logged) = (rate.store.overflows(), self.logged.load(Ordering::Relaxed));
        let is_due = overflows > 0 && overflows >= logged.saturating_mul(2);
        let tells = || self.logged.fetch_max(overflows, Ordering::Relaxed) < overflows;
        (is_due && tells()).then_some(overflows)
    }

    /// Asks all who wait again.
    pub(crate) fn serve_all(&self) {
        match &self.limiter {
            Limiter::Rate(rate) => rate.serve_all(),
            Limiter::Slots(semaphores) => semaphores.serve_all(),
        }
    }

    /// Asks those who wait for the key, if any, again.
    pub(crate) fn serve_queued(&self, tag: u64) {
        match &self.limiter {
            Limiter::Rate(rate) => rate.serve_queued(tag),
            Limiter::Slots(semaphores) => {
                if let Some(semaphore) = semaphores.find(tag) {
                    semaphore.serve_queued();
                }
            }
        }
    }

    /// Sends all who wait away.
    pub(crate) fn close(&self) {
        match &self.limiter {
            Limiter::Rate(rate) => rate.close(),
            Limiter::Slots(semaphores) => semaphores.close(),
        }
    }

    /// Makes the key as if never seen.
    pub(crate) fn reset(&self, tag: u64) {
        match &self.limiter {
            Limiter::Rate(rate) => rate.reset(tag),
            Limiter::Slots(semaphores) => semaphores.reset(tag),
        }
    }

    /// Makes all keys as if never seen.
    pub(crate) fn reset_all(&self) {
        match &self.limiter {
            Limiter::Rate(rate) => rate.reset_all(),
            Limiter::Slots(semaphores) => semaphores.reset_all(),
        }
    }
}

impl Drop for LimitState {
    fn drop(&mut self) {
        // Relaxed: counts.
        match &self.limiter {
            Limiter::Rate(rate) => {
                self.past.overflows.fetch_add(rate.store.overflows(), Ordering::Relaxed);
            }
            Limiter::Slots(semaphores) => {
                let usage = semaphores.usage();
                self.past.expired.fetch_add(usage.expired, Ordering::Relaxed);
                self.past.late.fetch_add(usage.late, Ordering::Relaxed);
            }
        }
    }
}

impl Settings {
    fn amount(self) -> Amount {
        match self {
            Settings::Quota(quota) => Amount::Quota(quota),
            Settings::Slots { cap, .. } => Amount::Cap(cap),
        }
    }

    /// Those of a limit that is changed so; `None`: exempt.
    fn of(what: What, change: Change) -> Option<Settings> {
        // What does not fit the limit was found by the policy's check.
        Some(match (what, change) {
            (_, Change::Exempt) => return None,
            (What::Rate(_), Change::Quota { quota }) => Settings::Quota(quota),
            (What::Rate(quota), Change::Burst { burst }) => {
                Settings::Quota(quota.with_burst(burst).unwrap_or(quota))
            }
            (What::Rate(quota), _) => Settings::Quota(quota),
            (What::Slots { lease, .. }, Change::Concurrent { cap }) => {
                Settings::Slots { cap, lease }
            }
            (What::Slots { cap, lease, .. }, _) => Settings::Slots { cap, lease },
        })
    }
}
