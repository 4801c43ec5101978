//! The records behind one lock: admission of new keys, the shared pool, forgetting of idle keys, and
//! reads and writes of a record. Decisions on top of these are in `snapshot`; the capacity that
//! all shards share is in `capacity`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::cells::Overflow;
use crate::sync::Arc;
use crate::tagged::TagMap;
use crate::time::Timestamp;

use super::capacity::Capacity;
use super::keep::Keep;

/// How many records a new key checks in order to forget idle ones.
pub(super) const LOOKED_AT: usize = 2;

/// How many changes of quota a shard remembers. Settling a charge that is older than these gives
/// nothing back.
const REMEMBERED_CHANGES: usize = 16;

pub(super) struct RecordShard<A: Keep> {
    pub(super) algorithm: A,
    records: TagMap<KeyRecord<A::Kept>>,
    /// The key hashes of `records`, in the order in which forgetting checks them.
    round: VecDeque<u64>,
    /// The shared pool: the record that new keys without room use together.
    pool: Option<KeyRecord<A::Kept>>,
    /// The latest time at which a forgotten key became idle. New keys start at this time.
    forgotten: Timestamp,
    /// How many quotas came before this one; `past` holds the latest of them, oldest first.
    pub(super) generation: u64,
    past: VecDeque<A>,
    pub(super) room: Arc<Capacity>,
}

/// The state of one key.
pub(super) struct KeyRecord<T> {
    state: T,
    /// The latest time of a charge. The algorithm never sees an earlier time for this key.
    latest: Timestamp,
}

/// Where a key's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordPlace {
    Own,
    Pool,
    /// The key has no record yet.
    New,
}

impl<A: Keep> RecordShard<A> {
    pub(super) fn new(algorithm: A, room: Arc<Capacity>) -> RecordShard<A> {
        RecordShard {
            algorithm,
            records: TagMap::default(),
            round: VecDeque::new(),
            pool: None,
            forgotten: Timestamp::ZERO,
            generation: 0,
            past: VecDeque::new(),
            room,
        }
    }

    /// Puts `algorithm` in force. The caller has converted all states to it.
    pub(super) fn change(&mut self, algorithm: A) {
        if self.past.len() == REMEMBERED_CHANGES {
            self.past.pop_front();
        }
        self.past.push_back(std::mem::replace(&mut self.algorithm, algorithm));
        self.generation += 1;
    }

    /// The time at which a charge of the key made at `now` is counted.
    pub(super) fn charged_at(&mut self, tag: u64, place: RecordPlace, now: Timestamp) -> Timestamp {
        let ahead = self.algorithm.time_ahead(tag);
        self.record(tag, place).map_or(now, |record| now.max(record.latest - ahead))
    }

    /// Where the key's record is.
    pub(super) fn place(&self, tag: u64) -> RecordPlace {
        if self.records.contains_key(&tag) { RecordPlace::Own } else { RecordPlace::New }
    }

    /// The record at `place`, if there is one.
    pub(super) fn record(
        &mut self,
        tag: u64,
        place: RecordPlace,
    ) -> Option<&mut KeyRecord<A::Kept>> {
        match place {
            RecordPlace::Own => self.records.get_mut(&tag),
            RecordPlace::Pool => self.pool.as_mut(),
            RecordPlace::New => None,
        }
    }

    /// The state that a new key starts with, and as of when. `None` is the default state. If the
    /// pool is in debt, the key may have been counted there, so it starts with the pool's state.
    fn newcomer(&self, tag: u64, now: Timestamp) -> (Option<&A::Kept>, Timestamp) {
        let from = self.forgotten + self.algorithm.time_ahead(tag);
        match &self.pool {
            Some(pool) if self.is_pooled(tag, now) => (Some(&pool.state), pool.latest.max(from)),
            _ => (None, from),
        }
    }

    /// Whether a key without a record is counted in the pool, because the pool is in debt.
    pub(super) fn is_pooled(&self, tag: u64, now: Timestamp) -> bool {
        let now = now + self.algorithm.time_ahead(tag);
        self.pool.as_ref().is_some_and(|pool| self.algorithm.kept_until(&pool.state) > now)
    }

    /// Runs `step` on the key's state at `now`, or at the latest time it was charged if that is
    /// later. The returned duration is how much later.
    pub(super) fn ask<R>(
        &mut self,
        tag: u64,
        place: RecordPlace,
        now: Timestamp,
        step: impl FnOnce(&A, &A::Kept, Timestamp) -> R,
    ) -> (R, Duration) {
        let record = match place {
            RecordPlace::Own => self.records.get(&tag),
            RecordPlace::Pool => self.pool.as_ref(),
            RecordPlace::New => None,
        };
        let (state, latest) = match record {
            Some(record) => (Some(&record.state), record.latest),
            None => self.newcomer(tag, now),
        };
        let now = now + self.algorithm.time_ahead(tag);
        let at = now.max(latest);
        let answer = match state {
            Some(state) => step(&self.algorithm, state, at),
            None => step(&self.algorithm, &A::Kept::default(), at),
        };
        (answer, at.since(now))
    }

    /// Runs `step` on the key's state and keeps the result. For [`RecordPlace::New`] the result is
    /// dropped.
    pub(super) fn write<R>(
        &mut self,
        tag: u64,
        place: RecordPlace,
        now: Timestamp,
        step: impl FnOnce(&A, &mut A::Kept, Timestamp) -> R,
    ) -> R {
        let now = now + self.algorithm.time_ahead(tag);
        let record = match place {
            RecordPlace::Own => self.records.get_mut(&tag),
            RecordPlace::Pool => self.pool.as_mut(),
            RecordPlace::New => None,
        };
        let Some(record) = record else {
            return step(&self.algorithm, &mut A::Kept::default(), now);
        };
        record.latest = now.max(record.latest);
        step(&self.algorithm, &mut record.state, record.latest)
    }

    /// Admits a new key: to a record of its own, to the pool, or nowhere. Does not forget a key that
    /// is `taken`, even an idle one. `elsewhere` makes room in other shards and returns whether
    /// there is any.
    pub(super) fn admit(
        &mut self,
        tag: u64,
        now: Timestamp,
        elsewhere: &dyn Fn() -> bool,
        taken: &dyn Fn(u64) -> bool,
    ) -> RecordPlace {
        if self.insert_new(tag, now, taken) || elsewhere() && self.insert_new(tag, now, taken) {
            return RecordPlace::Own;
        }
        if self.room.overflow != Overflow::Pool {
            return RecordPlace::New;
        }
        let latest = self.forgotten;
        self.pool.get_or_insert_with(|| KeyRecord { state: A::Kept::default(), latest });
        RecordPlace::Pool
    }

    /// Inserts a record for a new key, if there is room.
    fn insert_new(&mut self, tag: u64, now: Timestamp, taken: &dyn Fn(u64) -> bool) -> bool {
        self.forget_idle(now, taken);
        if self.room.is_full() {
            return false;
        }
        let (state, latest) = self.newcomer(tag, now);
        let state = state.cloned().unwrap_or_default();
        if !self.room.take() {
            return false;
        }
        self.records.insert(tag, KeyRecord { state, latest });
        self.round.push_back(tag);
        true
    }

    /// Checks the next [`LOOKED_AT`] records and forgets the idle ones that are not `taken`.
    pub(super) fn forget_idle(&mut self, now: Timestamp, taken: &dyn Fn(u64) -> bool) {
        let now = self.room.forgets_at(now);
        for _ in 0..LOOKED_AT {
            let Some(tag) = self.round.front().copied() else { return };
            let ahead = self.algorithm.time_ahead(tag);
            let idle_at = match self.records.get(&tag) {
                Some(record) if !taken(tag) => self.algorithm.kept_until(&record.state),
                _ => Timestamp::MAX,
            };
            self.round.rotate_left(1);
            if idle_at <= now + ahead && idle_at < Timestamp::MAX {
                self.round.pop_back();
                self.records.remove(&tag);
                self.forgotten = self.forgotten.max(idle_at - ahead);
                self.room.give_back();
            }
        }
    }

    /// Runs `step` on every state, the pool's included, which gets the key hash 0.
    pub(super) fn write_all(&mut self, mut step: impl FnMut(u64, &A, &mut A::Kept)) {
        for (tag, record) in &mut self.records {
            step(*tag, &self.algorithm, &mut record.state);
        }
        if let Some(pool) = &mut self.pool {
            step(0, &self.algorithm, &mut pool.state);
        }
    }

    /// The number of keys that are not idle at `now`.
    pub(super) fn live(&self, now: Timestamp) -> usize {
        let is_live = |(tag, record): &(&u64, &KeyRecord<A::Kept>)| {
            self.algorithm.kept_until(&record.state) > now + self.algorithm.time_ahead(**tag)
        };
        self.records.iter().filter(is_live).count()
    }

    /// Bytes that the records take on the heap.
    pub(super) fn memory(&self) -> usize {
        let beside = |record: &KeyRecord<A::Kept>| {
            A::kept_bytes(&record.state).saturating_sub(size_of::<A::Kept>())
        };
        // The map keeps one control byte per entry.
        let entry = size_of::<(u64, KeyRecord<A::Kept>)>() + 1;
        // A map that allocates n entries has a capacity of n * 7 / 8.
        let entries = self.records.capacity() * 8 / 7 * entry;
        let states = self.records.values().chain(&self.pool).map(beside).sum::<usize>();
        entries + states + self.round.capacity() * size_of::<u64>()
    }
}

impl<A: Algorithm> RecordShard<A> {
    /// The most units that time can have given back since a charge at `at`: the sum over all quotas
    /// in force since. 0 if the quota has not changed since.
    pub(super) fn given_back(&self, generation: u64, at: Timestamp, now: Timestamp) -> u64 {
        let changes = self.generation.saturating_sub(generation);
        if changes == 0 {
            return 0;
        }
        let Some(known) = self.past.len().checked_sub(changes as usize) else { return u64::MAX };
        let elapsed = now.since(at);
        let given = |algorithm: &A| {
            algorithm.bound(elapsed).saturating_sub(algorithm.bound(Duration::ZERO))
        };
        self.past
            .iter()
            .skip(known)
            .chain([&self.algorithm])
            .map(given)
            .fold(0, u64::saturating_add)
    }
}
