//! What a limit, or an override of it, counts with: the cells of a quota, or rooms of slots.

use std::time::Duration;

use crate::cells::Overflow;
use crate::concurrency_limiter::Rooms;
use crate::policy::{AlgorithmName, Amount, CarryOver, Change, Limit, What};
use crate::quota::Quota;
use crate::rate_limiter::Rate;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::time::Clock;

use super::reload::Reload;

pub(crate) struct Account {
    pub(crate) counts: Counts,
    made: Made,
    /// Of how many overflows somebody was told.
    told: AtomicU64,
    past: Arc<Past>,
}

/// What the accounts of a limit had counted that are gone.
#[derive(Default)]
pub(crate) struct Past {
    pub(crate) overflows: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) late: AtomicU64,
}

pub(crate) enum Counts {
    Rate(Arc<Rate>),
    Slots(Arc<Rooms>),
}

/// What cannot be changed while it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Rate { max_keys: usize, overflow: Overflow, algorithm: AlgorithmName },
    Slots,
}

/// What can.
#[derive(Clone, Copy)]
enum Numbers {
    Quota(Quota),
    Slots { cap: u32, lease: Option<Duration> },
}

impl Account {
    /// That of `limit`, under `change` if there is one; `None` if that exempts. That of `before` goes
    /// on if it was made alike.
    pub(super) fn new(
        limit: &Limit,
        change: Change,
        before: Option<&Arc<Account>>,
        past: &Arc<Past>,
        clock: &Clock,
        reload: &mut Reload,
    ) -> Option<Arc<Account>> {
        let numbers = Numbers::of(limit.what, change)?;
        let (overflow, algorithm) = (limit.overflow, limit.algorithm);
        let made = match limit.what {
            // An empty key is one key.
            What::Rate(_) if limit.key.is_empty() => {
                Made::Rate { max_keys: 1, overflow, algorithm }
            }
            What::Rate(_) => Made::Rate { max_keys: limit.max_keys, overflow, algorithm },
            What::Slots { .. } => Made::Slots,
        };
        let max_waiters = limit.most_waiters();
        let is_kept = |before: &&Arc<Account>| {
            let resets =
                limit.carry_over == CarryOver::Reset && before.amount() != numbers.amount();
            before.made == made && !resets
        };
        if let Some(before) = before.filter(is_kept) {
            before.set(numbers, max_waiters);
            reload.kept += 1;
            return Some(before.clone());
        }
        reload.fresh += 1;
        let clock = clock.clone();
        let counts = match (numbers, made) {
            (Numbers::Quota(quota), Made::Rate { max_keys, overflow, algorithm }) => {
                let store = algorithm.store(quota, max_keys, overflow, &clock);
                Counts::Rate(Rate::new(store, clock, max_waiters, None))
            }
            (Numbers::Slots { cap, lease }, _) => {
                Counts::Slots(Rooms::new(cap, lease, max_waiters, clock))
            }
            // A quota is made only of a rate.
            (Numbers::Quota(_), Made::Slots) => return None,
        };
        Some(Arc::new(Account { counts, made, told: AtomicU64::new(0), past: past.clone() }))
    }

    /// Nobody is served: that is for later, when no lock is held.
    fn set(&self, numbers: Numbers, max_waiters: usize) {
        match (&self.counts, numbers) {
            (Counts::Rate(rate), Numbers::Quota(quota)) => {
                rate.set_max_waiters(max_waiters);
                rate.set_quota_unserved(quota);
            }
            (Counts::Slots(rooms), Numbers::Slots { cap, lease }) => {
                rooms.set(cap, lease, max_waiters);
            }
            _ => {}
        }
    }

    /// Keys for which there is room, if there is a bound.
    pub(crate) fn max_keys(&self) -> Option<usize> {
        match self.made {
            Made::Rate { max_keys, .. } => Some(max_keys),
            Made::Slots => None,
        }
    }

    /// What it allows.
    pub(crate) fn amount(&self) -> Amount {
        match &self.counts {
            Counts::Rate(rate) => Amount::Quota(rate.store.quota()),
            Counts::Slots(rooms) => Amount::Cap(rooms.cap()),
        }
    }

    /// How often there was no room for a key, if that has doubled since somebody was told.
    pub(crate) fn tell_overflows(&self) -> Option<u64> {
        let Counts::Rate(rate) = &self.counts else { return None };
        // Relaxed: counts.
        let (overflows, told) = (rate.store.overflows(), self.told.load(Ordering::Relaxed));
        let is_due = overflows > 0 && overflows >= told.saturating_mul(2);
        let tells = || self.told.fetch_max(overflows, Ordering::Relaxed) < overflows;
        (is_due && tells()).then_some(overflows)
    }

    /// Asks all who wait again.
    pub(crate) fn serve_all(&self) {
        match &self.counts {
            Counts::Rate(rate) => rate.serve_all(),
            Counts::Slots(rooms) => rooms.serve_all(),
        }
    }

    /// Asks those who wait for the key, if any, again.
    pub(crate) fn serve_queued(&self, tag: u64) {
        match &self.counts {
            Counts::Rate(rate) => rate.serve_queued(tag),
            Counts::Slots(rooms) => {
                if let Some(room) = rooms.find(tag) {
                    room.serve_queued();
                }
            }
        }
    }

    /// Sends all who wait away.
    pub(crate) fn close(&self) {
        match &self.counts {
            Counts::Rate(rate) => rate.close(),
            Counts::Slots(rooms) => rooms.close(),
        }
    }

    /// Makes the key as if never seen.
    pub(crate) fn reset(&self, tag: u64) {
        match &self.counts {
            Counts::Rate(rate) => rate.reset(tag),
            Counts::Slots(rooms) => rooms.reset(tag),
        }
    }

    /// Makes all keys as if never seen.
    pub(crate) fn reset_all(&self) {
        match &self.counts {
            Counts::Rate(rate) => rate.reset_all(),
            Counts::Slots(rooms) => rooms.reset_all(),
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // Relaxed: counts.
        match &self.counts {
            Counts::Rate(rate) => {
                self.past.overflows.fetch_add(rate.store.overflows(), Ordering::Relaxed);
            }
            Counts::Slots(rooms) => {
                let usage = rooms.usage();
                self.past.expired.fetch_add(usage.expired, Ordering::Relaxed);
                self.past.late.fetch_add(usage.late, Ordering::Relaxed);
            }
        }
    }
}

impl Numbers {
    fn amount(self) -> Amount {
        match self {
            Numbers::Quota(quota) => Amount::Quota(quota),
            Numbers::Slots { cap, .. } => Amount::Cap(cap),
        }
    }

    /// Those of a limit that is changed so; `None`: exempt.
    fn of(what: What, change: Change) -> Option<Numbers> {
        // What does not fit the limit was found by the policy's check.
        Some(match (what, change) {
            (_, Change::Exempt) => return None,
            (What::Rate(_), Change::Quota { quota }) => Numbers::Quota(quota),
            (What::Rate(quota), Change::Burst { burst }) => {
                Numbers::Quota(quota.with_burst(burst).unwrap_or(quota))
            }
            (What::Rate(quota), _) => Numbers::Quota(quota),
            (What::Slots { lease, .. }, Change::Concurrent { cap }) => {
                Numbers::Slots { cap, lease }
            }
            (What::Slots { cap, lease, .. }, _) => Numbers::Slots { cap, lease },
        })
    }
}
