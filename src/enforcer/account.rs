//! What a limit, or an override of it, counts with: the cells of a quota, or rooms of slots.

use std::time::Duration;

use crate::cells::Overflow;
use crate::concurrency_limiter::Rooms;
use crate::policy::{AlgorithmName, Amount, Change, Limit, What};
use crate::quota::Quota;
use crate::rate_limiter::Rate;
use crate::sync::Arc;
use crate::time::Clock;

use super::Reload;

pub(crate) struct Account {
    pub(crate) counts: Counts,
    made: Made,
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
        if let Some(before) = before.filter(|before| before.made == made) {
            before.set(numbers, max_waiters);
            reload.kept += 1;
            return Some(before.clone());
        }
        reload.fresh += 1;
        let clock = clock.clone();
        let counts = match (numbers, made) {
            (Numbers::Quota(quota), Made::Rate { max_keys, overflow, algorithm }) => {
                let store = algorithm.store(quota, max_keys, overflow);
                Counts::Rate(Rate::new(store, clock, max_waiters))
            }
            (Numbers::Slots { cap, lease }, _) => {
                Counts::Slots(Rooms::new(cap, lease, max_waiters, clock))
            }
            // A quota is made only of a rate.
            (Numbers::Quota(_), Made::Slots) => return None,
        };
        Some(Arc::new(Account { counts, made }))
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

    /// What it allows.
    pub(crate) fn amount(&self) -> Amount {
        match &self.counts {
            Counts::Rate(rate) => Amount::Quota(rate.store.quota()),
            Counts::Slots(rooms) => Amount::Cap(rooms.cap()),
        }
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

impl Numbers {
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
