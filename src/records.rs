//! Key states that do not fit in a word: one record per key, decided under a short lock.
//!
//! `shard` holds the records behind one lock; `snapshot` is the view of a locked shard that
//! decisions use, whatever the algorithm. States that fit in a word are in `cells`. A transaction
//! keeps all shards that it needs locked until it has charged them: see `transaction/record.rs`.
//!
//! # What is weaker than in the cells
//!
//! - A decision takes the lock of its key's shard, one of 64, and a map that grows is rehashed
//!   under that lock. Forgetting is bounded: a new key checks two records of its shard, and if the
//!   limiter is full, two of each of four other shards and two more of its own.
//! - So at `max_keys` a new key may find no room although some key is idle. If new keys are denied
//!   there, a waiter in line is not notified when a key becomes idle.
//! - Behind a line of waiters the stated wait is a lower bound.
//! - A change of quota visits every record, shard by shard, under the shard's lock.

mod answer;
mod capacity;
mod keep;
mod shard;
mod snapshot;
#[cfg(feature = "compat")]
mod update;

use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::cells::{Ask, Charge, ChargedTo, Overflow, Queued, Taken};
use crate::decision::{Allowed, Denied};
use crate::quota::Quota;
use crate::sync::{Arc, AtomicBool, AtomicU64, CachePadded, LockedAs, Mutex, MutexGuard, Ordering};
use crate::tagged::{self, SHARDS};
use crate::time::{Clock, Timestamp};

use capacity::Capacity;
pub(crate) use keep::Keep;
use shard::{RecordPlace, RecordShard};
pub(crate) use snapshot::{Locked, RecordSnapshot};

/// How many other shards a new key forgets idle records from when the limiter is full.
const LOOKED_ELSEWHERE: usize = 4;

pub(crate) struct Records<A: Keep> {
    shards: Box<[CachePadded<Mutex<RecordShard<A>>>]>,
    room: Arc<Capacity>,
    overflows: AtomicU64,
    /// Round-robin counter: the shard that the next new key of a full limiter checks.
    elsewhere: AtomicU64,
    queued: Queued,
    /// Held during a change of quota, so that only one runs at a time.
    changes: Mutex<()>,
    /// Whether the quota is changing. Transactions then take no snapshot, so that none decides its
    /// keys under two quotas.
    is_changing: AtomicBool,
}

/// The states of a limiter's keys, kept as words or as records.
pub(crate) trait States: Send + Sync {
    /// Decides `ask` for the key, behind the `ahead` units that its waiters want, and charges what
    /// is allowed.
    fn take(&self, tag: u64, ahead: u64, ask: Ask, now: Timestamp) -> Result<Taken, Denied>;
    /// The answer that `take` would give for `cost`, without charging.
    fn peek_behind(
        &self,
        tag: u64,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied>;
    /// Corrects a charge to `cost` units.
    fn settle(&self, charge: &Charge, cost: u64);
    /// Resets the key to the state of a key never seen.
    fn reset(&self, tag: u64, now: Timestamp);
    /// Resets every key to the state of a key never seen.
    fn reset_all(&self, now: Timestamp);
    /// The number of keys that are not idle at `now`. Visits every key.
    fn len(&self, now: Timestamp) -> usize;
    /// Bytes allocated. Visits every record.
    fn memory(&self) -> usize;
    /// How many calls found no room for their key.
    fn overflows(&self) -> u64;
    fn quota(&self) -> Quota;
    fn set_quota(&self, quota: Quota, now: Timestamp);
    /// The units that callers wait for, by key.
    fn queued(&self) -> &Queued;
    /// Sets how many units the waiters in the key's line want.
    fn set_queued(&self, tag: u64, units: u64);
}

/// Records of any algorithm, as a transaction uses them.
pub(crate) trait Recorded: States {
    /// Locks a shard for a transaction, which locks several in order. `None` while the quota
    /// changes, since two keys could then be decided under different quotas.
    fn lock(&self, shard: usize) -> Option<LockedAs<'_, dyn Locked>>;
    /// Forgets idle keys of other shards and returns whether there is room now. The caller may hold
    /// locks of shards, so this only tries the locks.
    fn look_elsewhere(&self, now: Timestamp) -> bool;
    fn count_overflow(&self);
}

impl<A: Keep> Records<A> {
    pub(crate) fn new(
        algorithm: A,
        max_keys: usize,
        overflow: Overflow,
        clock: Clock,
    ) -> Records<A> {
        let room = Arc::new(Capacity::new(max_keys, overflow, clock));
        let shard =
            || CachePadded::new(Mutex::new(RecordShard::new(algorithm.clone(), room.clone())));
        Records {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            room,
            overflows: AtomicU64::new(0),
            elsewhere: AtomicU64::new(0),
            queued: Queued::default(),
            changes: Mutex::new(()),
            is_changing: AtomicBool::new(false),
        }
    }

    fn shard(&self, tag: u64) -> MutexGuard<'_, RecordShard<A>> {
        self.shards[tagged::shard(tag)].lock()
    }

    /// [`Recorded::look_elsewhere`].
    fn make_room(&self, now: Timestamp) -> bool {
        for _ in 0..LOOKED_ELSEWHERE {
            // Relaxed: the counter guards no data, and any shard will do.
            let next = self.elsewhere.fetch_add(1, Ordering::Relaxed) as usize % SHARDS;
            if let Some(mut shard) = self.shards[next].try_lock() {
                shard.forget_idle(now, &|_| false);
            }
        }
        !self.room.is_full()
    }

    /// Where the key is counted. Admits the key if it has no record.
    fn place(&self, shard: &mut RecordShard<A>, tag: u64, now: Timestamp) -> RecordPlace {
        match shard.place(tag) {
            RecordPlace::New => shard.admit(tag, now, &|| self.make_room(now), &|_| false),
            place => place,
        }
    }
}

impl<A: Algorithm> States for Records<A> {
    fn take(&self, tag: u64, ahead: u64, ask: Ask, now: Timestamp) -> Result<Taken, Denied> {
        let elsewhere = || self.make_room(now);
        let mut shard = self.shard(tag);
        let units = |shard: &mut RecordShard<A>, at| {
            ask.units(ahead, || shard.look(tag, at, 0, 0, now).answer)
        };
        let mut cost = units(&mut shard, None);
        let mut look = shard.look(tag, None, ahead, cost, now);
        if look.needs_insert() && (look.answer.is_ok() || shard.algorithm.counts_denied()) {
            look = shard.insert_new(tag, cost, now, &elsewhere, &|_| false);
            if let Some(pool) = look.pool() {
                cost = units(&mut shard, Some(pool));
                look = shard.look(tag, Some(pool), ahead, cost, now);
            }
        }
        look.count_overflow(self);
        shard.charge(tag, &look, cost, now, &elsewhere);
        let allowed = look.answer?;
        Ok(Taken { charge: look.charge(tag, cost), wait: Duration::ZERO, allowed })
    }

    fn peek_behind(
        &self,
        tag: u64,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        self.shard(tag).look(tag, None, ahead, cost, now).answer
    }

    fn settle(&self, charge: &Charge, cost: u64) {
        let mut place = match charge.charged_to {
            ChargedTo::Own => RecordPlace::Own,
            ChargedTo::Pool => RecordPlace::Pool,
            ChargedTo::Uncounted => return,
        };
        if cost == charge.cost {
            return;
        }
        let tag = charge.tag;
        let mut shard = self.shard(tag);
        // Read the clock under the lock. A time read before it may be earlier than charges and
        // refunds that other callers make meanwhile, and would then give back too much.
        let now = self.room.clock.latest();
        if shard.record(tag, place).is_none() {
            if cost <= charge.cost {
                // The key was forgotten, so time has given back everything it could get.
                return;
            }
            place = self.place(&mut shard, tag, now);
            if place != RecordPlace::Own {
                self.count_overflow();
            }
        }
        let given = shard.given_back(charge.generation, charge.at, now);
        let cost = cost.saturating_add(given).min(charge.cost.max(cost));
        let at = charge.at + shard.algorithm.ahead(tag);
        shard.write(tag, place, now, |algorithm, state, now| {
            algorithm.settle(state, charge.cost, at, cost, now);
        });
    }

    fn reset(&self, tag: u64, _: Timestamp) {
        let clear = |_: &A, state: &mut A::State, _| *state = A::State::default();
        self.shard(tag).write(tag, RecordPlace::Own, Timestamp::ZERO, clear);
    }

    fn reset_all(&self, _: Timestamp) {
        for shard in &self.shards {
            shard.lock().write_all(|_, _, state| *state = A::State::default());
        }
    }

    fn len(&self, now: Timestamp) -> usize {
        self.shards.iter().map(|shard| shard.lock().live(now)).sum()
    }

    fn memory(&self) -> usize {
        let records = self.shards.iter().map(|shard| shard.lock().memory());
        size_of::<Self>() + size_of_val(&*self.shards) + records.sum::<usize>()
    }

    fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    fn quota(&self) -> Quota {
        self.shards.first().map_or(Quota::per_second(1), |shard| shard.lock().algorithm.quota())
    }

    fn set_quota(&self, quota: Quota, now: Timestamp) {
        let _one_at_a_time = self.changes.lock();
        let _changing = Changing::begin(&self.is_changing);
        for shard in &self.shards {
            let mut shard = shard.lock();
            let mut algorithm = shard.algorithm.clone();
            algorithm.set_quota(quota);
            shard.write_all(|tag, before, state| {
                algorithm.convert(before, state, now + before.ahead(tag));
            });
            shard.change(algorithm);
        }
    }

    fn queued(&self) -> &Queued {
        &self.queued
    }

    fn set_queued(&self, tag: u64, units: u64) {
        self.queued.set(tag, units, |_| {});
    }
}

impl<A: Algorithm> Recorded for Records<A> {
    fn lock(&self, shard: usize) -> Option<LockedAs<'_, dyn Locked>> {
        let shard = LockedAs::lock(&self.shards[shard], |shard| shard as &mut dyn Locked);
        // Relaxed: pairs with the store in `Changing::begin`. If the change has already visited
        // this shard, the shard's lock makes the store visible. If not, the change waits for that
        // lock.
        let is_changing = self.is_changing.load(Ordering::Relaxed);
        (!is_changing).then_some(shard)
    }

    fn look_elsewhere(&self, now: Timestamp) -> bool {
        self.make_room(now)
    }

    #[cold]
    fn count_overflow(&self) {
        // Relaxed: a statistic that guards no other data.
        self.overflows.fetch_add(1, Ordering::Relaxed);
    }
}

/// Marks a change of quota for as long as it lives. The drop clears the mark also on unwinding,
/// since an algorithm may panic.
struct Changing<'a>(&'a AtomicBool);

impl<'a> Changing<'a> {
    fn begin(is_changing: &'a AtomicBool) -> Changing<'a> {
        // Relaxed, as in `drop`: pairs with the load in `Recorded::lock`; the locks of the changed
        // shards order the two.
        is_changing.store(true, Ordering::Relaxed);
        Changing(is_changing)
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
