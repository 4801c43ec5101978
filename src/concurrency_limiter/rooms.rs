//! The rooms of all keys of one limit: made when a key comes, forgotten when it is idle.

use std::collections::VecDeque;
use std::time::Duration;

use crate::queue;
use crate::slots::Terms;
use crate::sync::{Arc, AtomicU32, CachePadded, Mutex, Ordering, mutant};
use crate::tagged::{self, SHARDS, TagMap};
use crate::time::Clock;

use super::Usage;
use super::room::Room;

/// Rooms that a new key looks at, to forget those that are idle.
const LOOKED_AT: usize = 2;

/// The rooms of all keys.
pub(crate) struct Rooms {
    /// The cap of rooms that are yet to be.
    cap: AtomicU32,
    /// Held while the cap changes and rooms follow.
    changes: Mutex<()>,
    terms: Arc<Terms>,
    shards: Box<[CachePadded<Mutex<Shard>>]>,
}

#[derive(Default)]
struct Shard {
    rooms: TagMap<Arc<Room>>,
    /// Their tags, in the order in which they are looked at.
    round: VecDeque<u64>,
    /// Leases of forgotten rooms that ran out, and that were given back late.
    expired: u64,
    late: u64,
}

impl Shard {
    /// Forgets the room that is next to be looked at, if it is idle.
    fn look(&mut self) -> Option<Arc<Room>> {
        let tag = self.round.pop_front()?;
        // Whoever holds, waits or is about to has the room too.
        let owners = if mutant("forget_busy") { 2 } else { 1 };
        if self.rooms.get(&tag).is_some_and(|room| Arc::strong_count(room) <= owners) {
            let room = self.rooms.remove(&tag)?;
            let (expired, late) = room.slots.past();
            self.expired += expired;
            self.late += late;
            return Some(room);
        }
        self.round.push_back(tag);
        None
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
            cap: AtomicU32::new(cap),
            changes: Mutex::new(()),
            terms: Terms::new(clock, lease, max_waiters),
            shards: (0..SHARDS).map(|_| CachePadded::default()).collect(),
        })
    }

    fn shard(&self, tag: u64) -> &Mutex<Shard> {
        &self.shards[tagged::shard(tag)]
    }

    /// The room of a key, made if it is not there.
    pub(crate) fn room(&self, tag: u64) -> Arc<Room> {
        let mut shard = self.shard(tag).lock();
        if let Some(room) = shard.rooms.get(&tag) {
            return room.clone();
        }
        let mut idle: [_; LOOKED_AT] = std::array::from_fn(|_| shard.look());
        // Read under the lock of the shard: whoever changes it visits the shard afterwards.
        let cap = self.cap();
        let reused = idle.iter_mut().find_map(|idle| {
            // Nobody else has it, nor will: else it is not idle.
            let room = Arc::get_mut(idle.as_mut()?)?;
            *room = Room::new(cap, self.terms.clone());
            idle.take()
        });
        let room = reused.unwrap_or_else(|| Arc::new(Room::new(cap, self.terms.clone())));
        shard.rooms.insert(tag, room.clone());
        shard.round.push_back(tag);
        drop(shard);
        drop(idle);
        room
    }

    pub(crate) fn find(&self, tag: u64) -> Option<Arc<Room>> {
        self.shard(tag).lock().rooms.get(&tag).cloned()
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
            self.each(|room| room.slots.resize(cap));
        }
        self.serve_all();
    }

    /// Changes everything; lines that are there keep their `max_waiters`. Nobody is served.
    pub(crate) fn set(&self, cap: u32, lease: Option<Duration>, max_waiters: usize) {
        let _one_at_a_time = self.changes.lock();
        self.cap.store(cap, Ordering::Relaxed);
        self.terms.set(lease, max_waiters);
        self.each(|room| {
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
        let now = self.clock().now();
        self.each(|room| queue::serve(&**room, now));
    }

    /// How all rooms stand together, with what those that were forgotten had counted.
    pub(crate) fn usage(&self) -> Usage {
        let mut sum = Usage::of_nothing(self.cap());
        for shard in &self.shards {
            let (rooms, expired, late) = {
                let shard = shard.lock();
                let rooms: Vec<Arc<Room>> = shard.rooms.values().cloned().collect();
                (rooms, shard.expired, shard.late)
            };
            sum = rooms.iter().fold(sum, |sum, room| sum.plus(&room.usage()));
            sum.expired += expired;
            sum.late += late;
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

    /// Rooms there are, idle ones included.
    pub(super) fn known(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().rooms.len()).sum()
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
