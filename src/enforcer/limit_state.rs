//! [`LimitState`]: what a limit, or an override of it, keeps for its keys: the cells of a rate, or
//! the semaphores of a concurrency limit. What a limit keeps across all reloads is in
//! `limit_counters`.

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
    /// The number of overflows when they were last logged.
    logged: AtomicU64,
    past: Arc<Past>,
}

/// Counts of limit states that were dropped.
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

/// Settings that cannot change while the limit runs: if they differ, the limit starts fresh.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FixedSettings {
    Rate { max_keys: usize, overflow: Overflow, algorithm: AlgorithmName },
    Slots,
}

/// Settings that can change while the limit runs.
#[derive(Clone, Copy)]
enum Settings {
    Quota(Quota),
    Slots { cap: u32, lease: Option<Duration> },
}

impl LimitState {
    /// The limit state of `limit` under `change`: `before` with the new settings if it can
    /// continue, or else a new one. `None`: the change exempts.
    pub(super) fn new(
        limit: &Limit,
        change: Change,
        before: Option<&Arc<LimitState>>,
        past: &Arc<Past>,
        clock: &Clock,
        reload: &mut Reload,
    ) -> Option<Arc<LimitState>> {
        let settings = Settings::of(limit.what, change)?;
        let (overflow, algorithm) = (limit.overflow, limit.algorithm);
        let fixed = match limit.what {
            // Without parts, the key is the same for all requests.
            What::Rate(_) if limit.key.is_empty() => {
                FixedSettings::Rate { max_keys: 1, overflow, algorithm }
            }
            What::Rate(_) => FixedSettings::Rate { max_keys: limit.max_keys, overflow, algorithm },
            What::Slots { .. } => FixedSettings::Slots,
        };
        let max_waiters = limit.most_waiters();
        let is_kept = |before: &&Arc<LimitState>| {
            let resets =
                limit.carry_over == CarryOver::Reset && before.amount() != settings.amount();
            before.fixed == fixed && !resets
        };
        if let Some(before) = before.filter(is_kept) {
            before.set(settings, max_waiters);
            reload.kept += 1;
            return Some(before.clone());
        }
        reload.fresh += 1;
        let clock = clock.clone();
        let limiter = match (settings, fixed) {
            (Settings::Quota(quota), FixedSettings::Rate { max_keys, overflow, algorithm }) => {
                let store = algorithm.store(quota, max_keys, overflow, &clock);
                Limiter::Rate(Rate::new(store, clock, max_waiters, None))
            }
            (Settings::Slots { cap, lease }, _) => {
                Limiter::Slots(KeyedSemaphores::new(cap, lease, max_waiters, clock))
            }
            // Cannot happen: a limit has a quota exactly if its fixed settings are of a rate.
            (Settings::Quota(_), FixedSettings::Slots) => return None,
        };
        Some(Arc::new(LimitState { limiter, fixed, logged: AtomicU64::new(0), past: past.clone() }))
    }

    /// Changes the settings. Does not serve waiters: the reload does that later, when no lock is
    /// held.
    fn set(&self, settings: Settings, max_waiters: usize) {
        match (&self.limiter, settings) {
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

    /// How many keys there is room for. `None`: there is no bound.
    pub(crate) fn max_keys(&self) -> Option<usize> {
        match self.fixed {
            FixedSettings::Rate { max_keys, .. } => Some(max_keys),
            FixedSettings::Slots => None,
        }
    }

    /// The quota or the cap in force.
    pub(crate) fn amount(&self) -> Amount {
        match &self.limiter {
            Limiter::Rate(rate) => Amount::Quota(rate.store.quota()),
            Limiter::Slots(semaphores) => Amount::Cap(semaphores.cap()),
        }
    }

    /// The number of overflows, if it has at least doubled since it was last logged.
    pub(crate) fn unlogged_overflows(&self) -> Option<u64> {
        let Limiter::Rate(rate) = &self.limiter else { return None };
        // Relaxed: counts; the `fetch_max` lets only one thread log each number.
        let (overflows, logged) = (rate.store.overflows(), self.logged.load(Ordering::Relaxed));
        let is_due = overflows > 0 && overflows >= logged.saturating_mul(2);
        let tells = || self.logged.fetch_max(overflows, Ordering::Relaxed) < overflows;
        (is_due && tells()).then_some(overflows)
    }

    /// Checks all waiters again.
    pub(crate) fn serve_all(&self) {
        match &self.limiter {
            Limiter::Rate(rate) => rate.serve_all(),
            Limiter::Slots(semaphores) => semaphores.serve_all(),
        }
    }

    /// Checks the waiters for the key again, if there are any.
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

    /// Sends all waiters away.
    pub(crate) fn close(&self) {
        match &self.limiter {
            Limiter::Rate(rate) => rate.close(),
            Limiter::Slots(semaphores) => semaphores.close(),
        }
    }

    /// Resets the key, as if never seen.
    pub(crate) fn reset(&self, tag: u64) {
        match &self.limiter {
            Limiter::Rate(rate) => rate.reset(tag),
            Limiter::Slots(semaphores) => semaphores.reset(tag),
        }
    }

    /// Resets all keys, as if never seen.
    pub(crate) fn reset_all(&self) {
        match &self.limiter {
            Limiter::Rate(rate) => rate.reset_all(),
            Limiter::Slots(semaphores) => semaphores.reset_all(),
        }
    }
}

impl Drop for LimitState {
    fn drop(&mut self) {
        // Relaxed: counts; no other data is published with them.
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

    /// The settings of a limit under the change. `None`: the change exempts.
    fn of(what: What, change: Change) -> Option<Settings> {
        // The policy's check has reported a change that does not fit the limit.
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
