//! One lock's worth of records: who has one, who shares one, who is forgotten.

use std::collections::VecDeque;
use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::cells::Overflow;
use crate::sync::Arc;
use crate::tagged::TagMap;
use crate::time::Timestamp;

use super::capacity::Capacity;
use super::keep::Keep;

/// Records that a newcomer looks at, to forget those that are idle.
pub(super) const LOOKED_AT: usize = 2;

/// Changes of quota that a charge can look back on. Over an older one nothing is given back.
const REMEMBERED_CHANGES: usize = 16;

pub(super) struct RecordShard<A: Keep> {
    pub(super) algorithm: A,
    records: TagMap<KeyRecord<A::Kept>>,
    /// Their tags, in the order in which they are looked at.
    round: VecDeque<u64>,
    /// What newcomers share for whom there is no room.
    pool: Option<KeyRecord<A::Kept>>,
    /// The latest moment at which a forgotten key had become idle: newcomers start from there.
    forgotten: Timestamp,
    /// How many quotas there were before this one, and the latest of them.
    pub(super) generation: u64,
    past: VecDeque<A>,
    pub(super) room: Arc<Capacity>,
}

/// What is kept of a key.
pub(super) struct KeyRecord<T> {
    state: T,
    /// When it was last charged: it is never asked at an earlier time.
    latest: Timestamp,
}

/// Where a key's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordPlace {
    Own,
    Pool,
    /// Nowhere yet.
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

    /// Puts another algorithm in force, to which all states have been changed.
    pub(super) fn change(&mut self, algorithm: A) {
        if self.past.len() == REMEMBERED_CHANGES {
            self.past.pop_front();
        }
        self.past.push_back(std::mem::replace(&mut self.algorithm, algorithm));
        self.generation += 1;
    }

    /// When a charge of the key would be counted that is made at `now`.
    pub(super) fn charged_at(&mut self, tag: u64, place: RecordPlace, now: Timestamp) -> Timestamp {
        let ahead = self.algorithm.time_ahead(tag);
        self.record(tag, place).map_or(now, |record| now.max(record.latest - ahead))
    }

    /// Where the key's record is.
    pub(super) fn place(&self, tag: u64) -> RecordPlace {
        if self.records.contains_key(&tag) { RecordPlace::Own } else { RecordPlace::New }
    }

    /// The record that is there.
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

    /// What a newcomer starts with, and since when: perhaps it was counted in the pool, and what
    /// that owes it may owe. `None`: with nothing.
    fn newcomer(&self, tag: u64, now: Timestamp) -> (Option<&A::Kept>, Timestamp) {
        let from = self.forgotten + self.algorithm.time_ahead(tag);
        match &self.pool {
            Some(pool) if self.is_pooled(tag, now) => (Some(&pool.state), pool.latest.max(from)),
            _ => (None, from),
        }
    }

    /// Whether who has no record is counted in the pool, which is in debt.
    pub(super) fn is_pooled(&self, tag: u64, now: Timestamp) -> bool {
        let now = now + self.algorithm.time_ahead(tag);
        self.pool.as_ref().is_some_and(|pool| self.algorithm.kept_until(&pool.state) > now)
    }

    /// Runs `step` on the key's state at `now`, or the latest it was charged at: how much later that
    /// is comes with the answer.
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

    /// Writes the state of a key; one that is nowhere is forgotten at once.
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

    /// Where a newcomer is counted: with a record of its own, in the pool, or not at all. Records of
    /// keys that are `taken` are not forgotten for it, though they are idle. `elsewhere`: asks other
    /// shards for room.
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

    /// Gives a newcomer a record, if there is room.
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

    /// Forgets the records that are next to be looked at, if they are idle.
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

    /// Changes every state.
    pub(super) fn write_all(&mut self, mut step: impl FnMut(u64, &A, &mut A::Kept)) {
        for (tag, record) in &mut self.records {
            step(*tag, &self.algorithm, &mut record.state);
        }
        if let Some(pool) = &mut self.pool {
            step(0, &self.algorithm, &mut pool.state);
        }
    }

    /// Keys that are not idle at `now`.
    pub(super) fn live(&self, now: Timestamp) -> usize {
        let is_live = |(tag, record): &(&u64, &KeyRecord<A::Kept>)| {
            self.algorithm.kept_until(&record.state) > now + self.algorithm.time_ahead(**tag)
        };
        self.records.iter().filter(is_live).count()
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        let beside = |record: &KeyRecord<A::Kept>| {
            A::kept_bytes(&record.state).saturating_sub(size_of::<A::Kept>())
        };
        // A byte of the map's own for each entry.
        let entry = size_of::<(u64, KeyRecord<A::Kept>)>() + 1;
        // A map of n entries has room for n * 7 / 8 of them.
        let entries = self.records.capacity() * 8 / 7 * entry;
        let states = self.records.values().chain(&self.pool).map(beside).sum::<usize>();
        entries + states + self.round.capacity() * size_of::<u64>()
    }
}

impl<A: Algorithm> RecordShard<A> {
    /// The most units that time can have given back since a charge that was made `at`, if the quota
    /// changed meanwhile: by all quotas in force since.
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
