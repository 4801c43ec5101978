//! [`KeyedConcurrencyLimiter`]: so many at once for each key.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::marker::PhantomData;
use std::time::Duration;

use crate::decision::Denied;
use crate::queue::{self, Acquire, WaitError, acquire_blocking};
use crate::slots::Ended;
use crate::sync::{Arc, CachePadded, Mutex, RandomState};
use crate::time::Clock;

use super::lease::Lease;
use super::room::{Room, SlotPlan};
use super::{AcquireSlots, SlotsBuilder, Usage};

/// Shards, so that callers seldom meet on one lock. A power of two.
const SHARDS: usize = 64;

/// Rooms that a new key looks at, to forget those that are idle.
const LOOKED_AT: usize = 2;

/// So many slots for each key, kept apart. What [`ConcurrencyLimiter`](crate::ConcurrencyLimiter)
/// says of slots holds here for each key.
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
/// A key is known by its 64-bit hash alone, as in [`RateLimiter`](crate::RateLimiter), and forgotten
/// when nothing of it is held or waited for: each new key looks at two that are known, and
/// [`len`](Self::len) and [`memory`](Self::memory) look at all.
pub struct KeyedConcurrencyLimiter<K: ?Sized, S = RandomState> {
    rooms: Arc<Rooms>,
    hasher: S,
    name: Option<&'static str>,
    keys: PhantomData<fn(&K)>,
}

/// The rooms of all keys.
pub(crate) struct Rooms {
    /// What new rooms are made with.
    plan: Mutex<RoomPlan>,
    clock: Clock,
    shards: Box<[CachePadded<Mutex<Shard>>]>,
}

#[derive(Clone, Copy)]
struct RoomPlan {
    cap: u32,
    lease: Option<Duration>,
    max_waiters: usize,
}

#[derive(Default)]
struct Shard {
    rooms: HashMap<u64, Arc<Room>, BuildHasherDefault<Tagged>>,
    /// Their tags, in the order in which they are looked at.
    round: VecDeque<u64>,
    /// Of rooms that are forgotten: leases that ran out, and that were given back too late.
    ended: Ended,
}

impl Shard {
    /// Forgets the room that is next to be looked at, if it is idle.
    fn look(&mut self) -> Option<Arc<Room>> {
        let tag = self.round.pop_front()?;
        // Whoever holds, waits or is about to has the room too.
        if self.rooms.get(&tag).is_some_and(|room| Arc::strong_count(room) == 1) {
            let room = self.rooms.remove(&tag)?;
            self.ended = self.ended.plus(room.slots.ended());
            return Some(room);
        }
        self.round.push_back(tag);
        None
    }
}

/// A tag is a hash already.
#[derive(Default)]
struct Tagged(u64);

impl Hasher for Tagged {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, tag: u64) {
        self.0 = tag;
    }
}

/// Slots as a part of a set: [`ConcurrencyLimiter::slot`](crate::ConcurrencyLimiter::slot),
/// [`KeyedConcurrencyLimiter::key`].
#[derive(Clone)]
pub struct SlotKey<'a> {
    pub(crate) room: Arc<Room>,
    pub(crate) clock: &'a Clock,
    pub(crate) weight: u32,
    pub(crate) name: Option<&'static str>,
}

impl SlotKey<'_> {
    /// So many slots instead of one. 0 counts as 1.
    pub fn weight(self, weight: u32) -> Self {
        SlotKey { weight: weight.max(1), ..self }
    }
}

impl SlotsBuilder {
    /// A limiter for each key.
    pub fn build_keyed<K: ?Sized>(self) -> KeyedConcurrencyLimiter<K> {
        self.build_keyed_with(RandomState::default())
    }

    /// A limiter for each key, hashed in another way than std's, which is keyed at random. If
    /// callers choose the keys it must be keyed too, and good in all 64 bits.
    pub fn build_keyed_with<K: ?Sized, S>(self, hasher: S) -> KeyedConcurrencyLimiter<K, S> {
        let rooms = Rooms::new(self.cap, self.lease, self.max_waiters, self.clock);
        KeyedConcurrencyLimiter { rooms, hasher, name: self.name, keys: PhantomData }
    }
}

impl<K: Hash + ?Sized, S: BuildHasher> KeyedConcurrencyLimiter<K, S> {
    /// Takes a slot of `key`, if there is one and nobody waits for it.
    pub fn try_acquire(&self, key: &K) -> Result<Lease, Denied> {
        self.try_acquire_n(key, 1)
    }

    /// Takes `weight` slots of `key`, all or none. A weight of 0 counts as 1.
    pub fn try_acquire_n(&self, key: &K, weight: u32) -> Result<Lease, Denied> {
        self.room(key).try_take(weight)
    }

    /// Waits in the line of `key`, on this thread:
    /// [`ConcurrencyLimiter::acquire_blocking`](crate::ConcurrencyLimiter::acquire_blocking).
    pub fn acquire_blocking(&self, key: &K, within: Duration) -> Result<Lease, WaitError> {
        acquire_blocking(SlotPlan::new(self.room(key), 1, within), &self.rooms.clock)
    }

    /// Waits in the line of `key`, under any executor:
    /// [`ConcurrencyLimiter::acquire`](crate::ConcurrencyLimiter::acquire).
    pub fn acquire(&self, key: &K, within: Duration) -> AcquireSlots {
        let plan = SlotPlan::new(self.room(key), 1, within);
        AcquireSlots(Acquire::new(self.rooms.clock.clone(), plan))
    }

    /// Ends all leases of `key`.
    pub fn reset(&self, key: &K) {
        self.rooms.reset(self.tag(key));
    }

    /// How the slots of `key` stand now.
    pub fn usage(&self, key: &K) -> Usage {
        match self.rooms.find(self.tag(key)) {
            Some(room) => room.usage(),
            None => Usage::of_nothing(self.rooms.cap()),
        }
    }

    /// `key` as a part of a set that is decided all or none: [`all`](crate::all).
    pub fn key(&self, key: &K) -> SlotKey<'_> {
        SlotKey { room: self.room(key), clock: &self.rooms.clock, weight: 1, name: self.name }
    }

    fn tag(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    fn room(&self, key: &K) -> Arc<Room> {
        self.rooms.room(self.tag(key))
    }
}

impl<K: ?Sized, S> KeyedConcurrencyLimiter<K, S> {
    /// Changes how many slots each key has.
    pub fn resize(&self, cap: u32) {
        self.rooms.resize(cap);
    }

    /// How many keys there are of which something is held or waited for. Looks at all that are
    /// known, and forgets the others.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes allocated for keys of which something is held or waited for; the others are forgotten.
    pub fn memory(&self) -> usize {
        self.rooms.memory()
    }
}

impl<K: ?Sized, S> Drop for KeyedConcurrencyLimiter<K, S> {
    fn drop(&mut self) {
        self.rooms.close();
    }
}

impl<K: ?Sized, S> fmt::Debug for KeyedConcurrencyLimiter<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedConcurrencyLimiter").field("keys", &self.len()).finish_non_exhaustive()
    }
}

impl Rooms {
    pub(crate) fn new(
        cap: u32,
        lease: Option<Duration>,
        max_waiters: usize,
        clock: Clock,
    ) -> Arc<Rooms> {
        Arc::new(Rooms {
            plan: Mutex::new(RoomPlan { cap, lease, max_waiters }),
            clock,
            shards: (0..SHARDS).map(|_| CachePadded::default()).collect(),
        })
    }

    fn shard(&self, tag: u64) -> &Mutex<Shard> {
        // The top bits: the table in the shard uses the others.
        &self.shards[(tag >> 58) as usize % SHARDS]
    }

    /// The room of a key, made if it is not there.
    pub(crate) fn room(&self, tag: u64) -> Arc<Room> {
        let mut shard = self.shard(tag).lock();
        if let Some(room) = shard.rooms.get(&tag) {
            return room.clone();
        }
        let idle: [_; LOOKED_AT] = std::array::from_fn(|_| shard.look());
        // Read under the lock of the shard: whoever changes it visits the shard afterwards.
        let RoomPlan { cap, lease, max_waiters } = *self.plan.lock();
        let room = Arc::new(Room::new(cap, lease, max_waiters, self.clock.clone()));
        shard.rooms.insert(tag, room.clone());
        shard.round.push_back(tag);
        drop(shard);
        drop(idle);
        room
    }

    pub(crate) fn find(&self, tag: u64) -> Option<Arc<Room>> {
        self.shard(tag).lock().rooms.get(&tag).cloned()
    }

    pub(crate) fn cap(&self) -> u32 {
        self.plan.lock().cap
    }

    pub(crate) fn resize(&self, cap: u32) {
        self.plan.lock().cap = cap;
        self.each(|room| room.resize(cap));
    }

    /// Changes everything; rooms that are there keep their `max_waiters`. Nobody is served.
    pub(crate) fn set(&self, cap: u32, lease: Option<Duration>, max_waiters: usize) {
        *self.plan.lock() = RoomPlan { cap, lease, max_waiters };
        self.each(|room| {
            room.slots.set_lease(lease);
            if room.slots.cap() != cap {
                room.slots.resize(cap);
            }
        });
    }

    pub(crate) fn reset(&self, tag: u64) {
        if let Some(room) = self.find(tag) {
            room.reset();
        }
    }

    pub(crate) fn reset_all(&self) {
        self.each(|room| room.reset());
    }

    /// Asks all who wait again.
    pub(crate) fn serve_all(&self) {
        let now = self.clock.now();
        self.each(|room| queue::serve(room.clone(), now));
    }

    /// How all rooms stand together.
    pub(crate) fn usage(&self) -> Usage {
        let mut sum = Usage::of_nothing(self.cap());
        for shard in &self.shards {
            // Together: what is counted here is not forgotten meanwhile, and counted twice.
            let (rooms, Ended { expired, late }) = {
                let shard = shard.lock();
                (shard.rooms.values().cloned().collect::<Vec<_>>(), shard.ended)
            };
            sum.expired += expired;
            sum.late += late;
            sum = rooms.iter().fold(sum, |sum, room| sum.plus(&room.usage()));
        }
        sum
    }

    pub(crate) fn close(&self) {
        self.each(|room| queue::close(&**room));
    }

    /// Visits every room, with no lock held.
    pub(crate) fn each(&self, mut visit: impl FnMut(&Arc<Room>)) {
        for shard in &self.shards {
            let rooms: Vec<Arc<Room>> = shard.lock().rooms.values().cloned().collect();
            rooms.iter().for_each(&mut visit);
        }
    }

    /// Forgets every room that is idle, and sums up what is left of each shard.
    fn sum(&self, of: impl Fn(&Shard) -> usize) -> usize {
        let sum_of = |shard: &CachePadded<Mutex<Shard>>| {
            let mut shard = shard.lock();
            let idle: Vec<_> = (0..shard.round.len()).map(|_| shard.look()).collect();
            if shard.rooms.len() <= shard.rooms.capacity() / 4 {
                shard.rooms.shrink_to_fit();
                shard.round.shrink_to_fit();
            }
            let sum = of(&shard);
            drop(shard);
            drop(idle);
            sum
        };
        self.shards.iter().map(sum_of).sum()
    }

    pub(crate) fn len(&self) -> usize {
        self.sum(|shard| shard.rooms.len())
    }

    pub(crate) fn memory(&self) -> usize {
        let of_shard = |shard: &Shard| {
            let rooms = shard.rooms.values().map(|room| size_of::<Room>() + room.slots.memory());
            let entries = shard.rooms.capacity() * size_of::<(u64, Arc<Room>)>();
            rooms.sum::<usize>() + entries + shard.round.capacity() * size_of::<u64>()
        };
        size_of::<Rooms>() + size_of_val(&*self.shards) + self.sum(of_shard)
    }
}
