//! One lock's worth of records: who has one, who shares one, who is forgotten.

use std::collections::VecDeque;
use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::decision::{Allowed, Denied, Retry};
use crate::sync::{AtomicU64, Ordering};
use crate::tagged::TagMap;
use crate::time::Timestamp;

/// Records that a newcomer looks at, to forget those that are idle.
pub(super) const LOOKED_AT: usize = 2;

/// What records must know of the states they keep.
pub(crate) trait Keep: Clone + Send + Sync + 'static {
    /// What is remembered of a key.
    type Kept: Clone + Default + Send + 'static;

    /// [`Algorithm::idle_at`].
    fn kept_until(&self, kept: &Self::Kept) -> Timestamp;

    /// [`Algorithm::ahead`].
    fn time_ahead(&self, identity: u64) -> Duration;

    /// [`Algorithm::bytes`].
    fn kept_bytes(kept: &Self::Kept) -> usize;
}

impl<A: Algorithm> Keep for A {
    type Kept = A::State;

    fn kept_until(&self, state: &A::State) -> Timestamp {
        self.idle_at(state)
    }

    fn time_ahead(&self, identity: u64) -> Duration {
        self.ahead(identity)
    }

    fn kept_bytes(state: &A::State) -> usize {
        A::bytes(state)
    }
}

pub(super) struct Shard<A: Keep> {
    pub(super) algorithm: A,
    records: TagMap<Record<A::Kept>>,
    /// Their tags, in the order in which they are looked at.
    round: VecDeque<u64>,
    /// What newcomers share for whom there is no room.
    pool: Option<Record<A::Kept>>,
    /// The latest moment at which a forgotten key had become idle: newcomers start from there.
    forgotten: Timestamp,
    versions: u64,
    /// The version of what newcomers start with.
    start: u64,
}

/// What is kept of a key.
pub(super) struct Record<T> {
    pub(super) state: T,
    /// When it was last charged: it is never asked at an earlier time.
    latest: Timestamp,
    /// Another for each state it has had, in the whole shard. Odd while it is held.
    pub(super) version: u64,
}

/// Where a key's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Own,
    Pool,
    /// Nowhere yet.
    New,
}

/// How many keys may have a record, in all shards.
pub(super) struct Room {
    taken: AtomicU64,
    max: u64,
}

impl Room {
    pub(super) fn new(max_keys: usize) -> Room {
        Room { taken: AtomicU64::new(0), max: (max_keys as u64).max(1) }
    }

    // Relaxed: a count. Records are under their locks.
    fn take(&self) -> bool {
        let more = |taken| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T> Record<T> {
    pub(super) fn is_held(&self) -> bool {
        self.version % 2 == 1
    }
}

impl<A: Keep> Shard<A> {
    pub(super) fn new(algorithm: A) -> Shard<A> {
        Shard {
            algorithm,
            records: TagMap::default(),
            round: VecDeque::new(),
            pool: None,
            forgotten: Timestamp::ZERO,
            versions: 0,
            start: 0,
        }
    }

    /// Where the key's record is. `None`: somebody holds it, or what a newcomer starts with.
    pub(super) fn place(&self, tag: u64) -> Option<Place> {
        let (record, place) = match self.records.get(&tag) {
            Some(record) => (Some(record), Place::Own),
            None => (self.pool.as_ref(), Place::New),
        };
        record.is_none_or(|record| !record.is_held()).then_some(place)
    }

    /// The record that is there.
    pub(super) fn record(&mut self, tag: u64, place: Place) -> Option<&mut Record<A::Kept>> {
        match place {
            Place::Own => self.records.get_mut(&tag),
            Place::Pool => self.pool.as_mut(),
            Place::New => None,
        }
    }

    /// The version of the record that is there, or of what a newcomer starts with.
    pub(super) fn version(&mut self, tag: u64, place: Place) -> u64 {
        let start = self.start;
        self.record(tag, place).map_or(start, |record| record.version)
    }

    /// What a newcomer starts with: perhaps it was counted in the pool, and what that owes it may
    /// owe.
    fn newcomer(&self, tag: u64, now: Timestamp) -> Record<A::Kept> {
        let ahead = self.algorithm.time_ahead(tag);
        let from = self.forgotten + ahead;
        match &self.pool {
            Some(pool) if self.algorithm.kept_until(&pool.state) > now + ahead => {
                Record { state: pool.state.clone(), latest: pool.latest.max(from), version: 0 }
            }
            _ => Record { state: A::Kept::default(), latest: from, version: 0 },
        }
    }

    /// Whether who has no record is counted in the pool, which is in debt.
    pub(super) fn is_pooled(&self, tag: u64, now: Timestamp) -> bool {
        let now = now + self.algorithm.time_ahead(tag);
        self.pool.as_ref().is_some_and(|pool| self.algorithm.kept_until(&pool.state) > now)
    }

    /// Runs `step` on the key's state at `now`, or the latest it was charged at. What is answered
    /// then counts from `now`.
    pub(super) fn ask<R: Answer>(
        &mut self,
        tag: u64,
        place: Place,
        now: Timestamp,
        step: impl FnOnce(&A, &A::Kept, Timestamp) -> R,
    ) -> R {
        let newcomer;
        let record = match place {
            Place::Own => self.records.get(&tag),
            Place::Pool => self.pool.as_ref(),
            Place::New => None,
        };
        let record = match record {
            Some(record) => record,
            None => {
                newcomer = self.newcomer(tag, now);
                &newcomer
            }
        };
        let now = now + self.algorithm.time_ahead(tag);
        let at = now.max(record.latest);
        step(&self.algorithm, &record.state, at).later(at.since(now))
    }

    /// Writes the state of a record that is there.
    pub(super) fn write(
        &mut self,
        tag: u64,
        place: Place,
        now: Timestamp,
        step: impl FnOnce(&A, &mut A::Kept, Timestamp),
    ) {
        self.versions += 2;
        let version = self.versions;
        if place == Place::Pool {
            self.start = version;
        }
        let now = now + self.algorithm.time_ahead(tag);
        let record = match place {
            Place::Own => self.records.get_mut(&tag),
            Place::Pool => self.pool.as_mut(),
            Place::New => None,
        };
        if let Some(record) = record {
            let at = now.max(record.latest);
            step(&self.algorithm, &mut record.state, at);
            record.latest = at;
            record.version = version;
        }
    }

    /// Gives a newcomer a record, if there is room.
    pub(super) fn seat(&mut self, tag: u64, now: Timestamp, room: &Room) -> bool {
        (0..LOOKED_AT).for_each(|_| self.look_round(now, room));
        if !room.take() {
            return false;
        }
        self.versions += 2;
        let record = Record { version: self.versions, ..self.newcomer(tag, now) };
        self.records.insert(tag, record);
        self.round.push_back(tag);
        true
    }

    /// Makes the pool, if it is not there.
    pub(super) fn open_pool(&mut self) {
        if self.pool.is_none() {
            self.versions += 2;
            let version = self.versions;
            self.pool = Some(Record { state: A::Kept::default(), latest: self.forgotten, version });
            self.start = version;
        }
    }

    /// Forgets the record that is next to be looked at, if it is idle.
    fn look_round(&mut self, now: Timestamp, room: &Room) {
        let Some(tag) = self.round.pop_front() else { return };
        let ahead = self.algorithm.time_ahead(tag);
        let Some(record) = self.records.get(&tag) else { return };
        let idle_at = self.algorithm.kept_until(&record.state);
        if record.is_held() || idle_at > now + ahead {
            self.round.push_back(tag);
            return;
        }
        self.records.remove(&tag);
        self.forgotten = self.forgotten.max(idle_at - ahead);
        self.versions += 2;
        self.start = self.versions;
        room.give_back();
    }

    /// Changes every state; `false`, and nothing done, if one is held.
    pub(super) fn write_all(&mut self, mut step: impl FnMut(u64, &A, &mut A::Kept)) -> bool {
        let mut all = self.records.values().chain(&self.pool);
        if all.any(Record::is_held) {
            return false;
        }
        self.versions += 2;
        self.start = self.versions;
        for (tag, record) in &mut self.records {
            step(*tag, &self.algorithm, &mut record.state);
            record.version = self.versions;
        }
        if let Some(pool) = &mut self.pool {
            step(0, &self.algorithm, &mut pool.state);
            pool.version = self.versions;
        }
        true
    }

    /// Keys that are not idle at `now`.
    pub(super) fn live(&self, now: Timestamp) -> usize {
        let is_live = |(tag, record): &(&u64, &Record<A::Kept>)| {
            self.algorithm.kept_until(&record.state) > now + self.algorithm.time_ahead(**tag)
        };
        self.records.iter().filter(is_live).count()
    }

    /// Bytes allocated.
    pub(super) fn memory(&self) -> usize {
        let beside = |record: &Record<A::Kept>| {
            A::kept_bytes(&record.state).saturating_sub(size_of::<A::Kept>())
        };
        // A byte of the map's own for each entry.
        let entry = size_of::<(u64, Record<A::Kept>)>() + 1;
        // A map of n entries has room for n * 7 / 8 of them.
        let entries = self.records.capacity() * 8 / 7 * entry;
        let states = self.records.values().chain(&self.pool).map(beside).sum::<usize>();
        entries + states + self.round.capacity() * size_of::<u64>()
    }
}

/// What tells a wait, which grows by as much as the clock lags behind the state.
pub(super) trait Answer {
    fn later(self, by: Duration) -> Self;
}

impl Answer for Result<Allowed, Denied> {
    fn later(self, by: Duration) -> Self {
        if by.is_zero() {
            return self;
        }
        match self {
            Ok(Allowed(standing)) => Ok(Allowed(standing.later(by))),
            Err(Denied { standing, retry }) => {
                let retry = match retry {
                    Retry::After(wait) => Retry::After(wait.saturating_add(by)),
                    other => other,
                };
                Err(Denied { standing: standing.later(by), retry })
            }
        }
    }
}
