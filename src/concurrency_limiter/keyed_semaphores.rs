//! [`KeyedSemaphores`]: the semaphores of all keys of one limit, by key hash. A semaphore is
//! created when its key is first used, and forgotten when it is idle.

use std::collections::VecDeque;
use std::time::Duration;

use crate::queue;
use crate::slots::Terms;
use crate::sync::{Arc, AtomicU32, CachePadded, Mutex, Ordering};
use crate::tagged::{self, SHARDS, TagMap};
use crate::time::Clock;

use super::Usage;
use super::semaphore::Semaphore;

/// The number of semaphores that a new key checks, to forget idle ones.
const LOOKED_AT: usize = 2;

/// The semaphores of all keys, in shards by key hash.
pub(crate) struct KeyedSemaphores {
    /// The cap of semaphores that are created from now on.
    cap: AtomicU32,
    /// Held while the cap changes and is applied to all semaphores.
    changes: Mutex<()>,
    terms: Arc<Terms>,
    shards: Box<[CachePadded<Mutex<SemaphoreShard>>]>,
}

#[derive(Default)]
struct SemaphoreShard {
    semaphores: TagMap<Arc<Semaphore>>,
    /// The key hashes, in the order in which they are checked.
    round: VecDeque<u64>,
    /// Leases of forgotten semaphores that ran out, and in `late`, leases that were given back
    /// late.
    expired: u64,
    late: u64,
}

impl SemaphoreShard {
    /// Forgets the semaphore that is next to be checked, if it is idle.
    fn look(&mut self) -> Option<Arc<Semaphore>> {
        let tag = self.round.pop_front()?;
        // Every lease, waiter and caller in progress owns the semaphore too.
        let owners = 1;
        if self.semaphores.get(&tag).is_some_and(|semaphore| Arc::strong_count(semaphore) <= owners)
        {
            let semaphore = self.semaphores.remove(&tag)?;
            let (expired, late) = semaphore.slots.past();
            self.expired += expired;
            self.late += late;
            return Some(semaphore);
        }
        self.round.push_back(tag);
        None
    }
}

impl KeyedSemaphores {
    pub(crate) fn new(
        cap: u32,
        lease: Option<Duration>,
        max_waiters: usize,
        clock: Clock,
    ) -> Arc<KeyedSemaphores> {
        Arc::new(KeyedSemaphores {
            cap: AtomicU32::new(cap),
            changes: Mutex::new(()),
            terms: Terms::new(clock, lease, max_waiters),
            shards: (0..SHARDS).map(|_| CachePadded::default()).collect(),
        })
    }

    fn shard(&self, tag: u64) -> &Mutex<SemaphoreShard> {
        &self.shards[tagged::shard(tag)]
    }

    /// The semaphore of a key, created if it does not exist.
    pub(crate) fn semaphore(&self, tag: u64) -> Arc<Semaphore> {
        let mut shard = self.shard(tag).lock();
        if let Some(semaphore) = shard.semaphores.get(&tag) {
            return semaphore.clone();
        }
        let mut idle: [_; LOOKED_AT] = std::array::from_fn(|_| shard.look());
        // Read under the lock of the shard: a thread that changes the cap visits the shard
        // afterwards.
        let cap = self.cap();
        let reused = idle.iter_mut().find_map(|idle| {
            // An idle semaphore has no other owner, and gets none, because it is not in the table.
            let semaphore = Arc::get_mut(idle.as_mut()?)?;
            *semaphore = Semaphore::new(cap, self.terms.clone());
            idle.take()
        });
        let semaphore = reused.unwrap_or_else(|| Arc::new(Semaphore::new(cap, self.terms.clone())));
        shard.semaphores.insert(tag, semaphore.clone());
        shard.round.push_back(tag);
        drop(shard);
        drop(idle);
        semaphore
    }

    pub(crate) fn find(&self, tag: u64) -> Option<Arc<Semaphore>> {
        self.shard(tag).lock().semaphores.get(&tag).cloned()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.terms.clock
    }

    pub(crate) fn cap(&self) -> u32 {
        self.cap.load(Ordering::Relaxed)
    }

    pub(crate) fn resize(&self, cap: u32) {
        {
            let _one_at_a_time = self.changes.lock();
            self.cap.store(cap, Ordering::Relaxed);
            self.each(|semaphore| semaphore.slots.resize(cap));
        }
        self.serve_all();
    }

    /// Changes the cap, the lease and `max_waiters`. Existing lines keep their `max_waiters`. Does
    /// not serve the lines.
    pub(crate) fn set(&self, cap: u32, lease: Option<Duration>, max_waiters: usize) {
        let _one_at_a_time = self.changes.lock();
        self.cap.store(cap, Ordering::Relaxed);
        self.terms.set(lease, max_waiters);
        self.each(|semaphore| {
            if semaphore.slots.cap() != cap {
                semaphore.slots.resize(cap);
            }
        });
    }

    pub(crate) fn reset(&self, tag: u64) {
        if let Some(semaphore) = self.find(tag) {
            semaphore.reset();
        }
    }

    pub(crate) fn reset_all(&self) {
        self.each(|semaphore| semaphore.reset());
    }

    /// Serves the line of every semaphore.
    pub(crate) fn serve_all(&self) {
        let now = self.clock().now();
        self.each(|semaphore| queue::serve(&**semaphore, now));
    }

    /// The sum of the usage of all semaphores, including the counts of forgotten ones.
    pub(crate) fn usage(&self) -> Usage {
        let mut sum = Usage::of_nothing(self.cap());
        for shard in &self.shards {
            let (semaphores, expired, late) = {
                let shard = shard.lock();
                let semaphores: Vec<Arc<Semaphore>> = shard.semaphores.values().cloned().collect();
                (semaphores, shard.expired, shard.late)
            };
            sum = semaphores.iter().fold(sum, |sum, semaphore| sum.plus(&semaphore.usage()));
            sum.expired += expired;
            sum.late += late;
        }
        sum
    }

    pub(crate) fn close(&self) {
        self.each(|semaphore| queue::close(&**semaphore));
    }

    /// Calls `visit` for every semaphore, with no lock held.
    pub(crate) fn each(&self, mut visit: impl FnMut(&Arc<Semaphore>)) {
        for shard in &self.shards {
            let semaphores: Vec<Arc<Semaphore>> =
                shard.lock().semaphores.values().cloned().collect();
            semaphores.iter().for_each(&mut visit);
        }
    }

    /// Forgets every idle semaphore, and sums `of` over all shards.
    fn sum(&self, of: impl Fn(&SemaphoreShard) -> usize) -> usize {
        let sum_of = |shard: &CachePadded<Mutex<SemaphoreShard>>| {
            let mut shard = shard.lock();
            let idle: Vec<_> = (0..shard.round.len()).map(|_| shard.look()).collect();
            if shard.semaphores.len() <= shard.semaphores.capacity() / 4 {
                shard.semaphores.shrink_to_fit();
                shard.round.shrink_to_fit();
            }
            let sum = of(&shard);
            drop(shard);
            drop(idle);
            sum
        };
        self.shards.iter().map(sum_of).sum()
    }

    /// The number of semaphores, including idle ones.
    pub(super) fn known(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().semaphores.len()).sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.sum(|shard| shard.semaphores.len())
    }

    pub(crate) fn memory(&self) -> usize {
        let of_shard = |shard: &SemaphoreShard| {
            let semaphores = shard
                .semaphores
                .values()
                .map(|semaphore| size_of::<Semaphore>() + semaphore.slots.memory());
            let entries = shard.semaphores.capacity() * size_of::<(u64, Arc<Semaphore>)>();
            semaphores.sum::<usize>() + entries + shard.round.capacity() * size_of::<u64>()
        };
        size_of::<KeyedSemaphores>() + size_of_val(&*self.shards) + self.sum(of_shard)
    }
}
