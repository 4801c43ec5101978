//! Keys whose states are records, as parts of a transaction.
//!
//! The shards of all of them are locked in one order, by limiter and number, before anything is
//! held, and unlocked after all is charged: what is decided on cannot change, so it needs no second
//! look. A holder of a word or of slots waits for no lock, so a wait for a hold under these locks
//! ends. Algorithms run before the first hold and after the last.

use smallvec::SmallVec;

use crate::cells::Charge;
use crate::records::{Locked, Look, Recorded};
use crate::sync::{LockedAs, mutant};
use crate::tagged;

use super::{Asked, Entry, INLINE, Part};

#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) records: &'a dyn Recorded,
    pub(super) tag: u64,
    /// What it charges for entries that turned out to share its record.
    carried: u64,
    pub(super) look: Look,
}

/// A shard by its limiter's address and its number: in this order they are locked.
type Which = (usize, usize);

/// The shards of the records of a transaction, locked. Filled in place: it is large.
#[derive(Default)]
pub(super) struct Locks<'a>(SmallVec<[(Which, LockedAs<'a, dyn Locked>); INLINE]>);

impl<'a> Locks<'a> {
    /// Locks the shards of all records. `None`: a quota changes.
    fn lock(&mut self, entries: &[Entry<'a>]) -> Option<()> {
        loop {
            let mut left = entries.iter().filter_map(|entry| match &entry.part {
                Part::Record(record) => Some((record.shard(), record.records)),
                Part::Word(_) | Part::Slots(_) => None,
            });
            let is_left = |which: Which| self.0.iter().all(|(locked, _)| *locked != which);
            let next = if mutant("lock_unordered") {
                left.find(|(which, _)| is_left(*which))
            } else {
                left.filter(|(which, _)| is_left(*which)).min_by_key(|(which, _)| *which)
            };
            let Some((which, records)) = next else { return Some(()) };
            self.0.push((which, records.lock(which.1)?));
        }
    }

    /// Locks the shards of all records, and looks at these.
    pub(super) fn look(&mut self, entries: &mut [Entry<'a>]) -> Option<()> {
        if mutant("lock_one_by_one") {
            for entry in entries.iter_mut() {
                let entry = std::slice::from_mut(entry);
                self.lock(entry)?;
                self.look_again(entry);
                self.unlock();
            }
            return self.lock(entries);
        }
        self.lock(entries)?;
        self.look_again(entries);
        Some(())
    }

    pub(super) fn unlock(&mut self) {
        self.0.clear();
    }

    pub(super) fn look_again(&mut self, entries: &mut [Entry<'a>]) {
        for Entry { asked, part } in entries {
            if let Part::Record(record) = part {
                let ahead = asked.ahead(record.records.queued(), record.tag);
                record.carried = 0;
                self.ask(record, |shard, record| {
                    shard.look(record.tag, None, ahead, asked.cost, asked.now)
                });
            }
        }
    }

    fn ask(
        &mut self,
        record: &mut Record<'a>,
        look: impl FnOnce(&mut dyn Locked, &Record<'a>) -> Look,
    ) {
        let which = record.shard();
        if let Some((_, shard)) = self.0.iter_mut().find(|(locked, _)| *locked == which) {
            record.look = look(shard.get(), record);
        }
    }
}

impl<'a> Record<'a> {
    /// Not yet looked at: that takes the lock.
    pub(super) fn new(records: &'a dyn Recorded, tag: u64) -> Record<'a> {
        Record { records, tag, carried: 0, look: Look::NONE }
    }

    fn shard(&self) -> Which {
        (std::ptr::from_ref(self.records).addr(), tagged::shard(self.tag))
    }

    /// Whether both are one record: keys of one limiter that share the pool of a shard.
    pub(super) fn shares_with(&self, other: &Record<'_>) -> bool {
        let pools = [self, other].map(|record| record.look.pool().is_some());
        pools == [true; 2] && self.shard() == other.shard()
    }

    /// With a record for its key, which had none.
    pub(super) fn seat(
        mut self,
        asked: &Asked,
        locks: &mut Locks<'a>,
        taken: &dyn Fn(u64) -> bool,
    ) -> Record<'a> {
        locks.ask(&mut self, |shard, Record { records, tag, .. }| {
            let elsewhere = || records.look_elsewhere(asked.now);
            shard.seat(*tag, asked.cost, asked.now, &elsewhere, taken)
        });
        self
    }

    /// Leaves its charge to another entry.
    pub(super) fn ride(&mut self) {
        self.look = self.look.as_passenger();
    }

    /// Charges `cost` more, for another entry that shares its pool.
    pub(super) fn carry(&mut self, cost: u64, asked: &Asked, locks: &mut Locks<'a>) {
        self.carried = self.carried.saturating_add(cost);
        let cost = asked.cost.saturating_add(self.carried);
        locks.ask(self, |shard, record| {
            shard.look(record.tag, record.look.pool(), 0, cost, asked.now)
        });
    }

    /// What was charged, if that is this entry's alone.
    pub(super) fn charge(&self, asked: &Asked) -> Option<Charge> {
        (self.carried == 0).then(|| self.look.charge(self.tag, asked.cost))
    }

    /// Writes what was decided: the charge, or its denial if the algorithm counts those.
    pub(super) fn write(&mut self, asked: &Asked, is_admitted: bool, locks: &mut Locks<'a>) {
        self.look.count_overflow(self.records);
        if self.look.answer.is_ok() && !is_admitted && !mutant("charge_first") {
            return;
        }
        let cost = asked.cost.saturating_add(self.carried);
        locks.ask(self, |shard, Record { records, tag, look, .. }| {
            let elsewhere = || records.look_elsewhere(asked.now);
            shard.charge(*tag, look, cost, asked.now, &elsewhere);
            *look
        });
    }
}
