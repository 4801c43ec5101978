//! A key whose state is a record, as a part of a transaction. Its shard is locked from before it is
//! looked at until it is charged. Algorithms run before the first hold and after the last.

use crate::cells::Charge;
use crate::records::{Locked, Look, Recorded};
use crate::sync::mutant;
use crate::tagged;

use super::asked::Asked;
use super::locks::{Locks, Which};

#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) records: &'a dyn Recorded,
    pub(super) tag: u64,
    /// What it charges for entries that turned out to share its record.
    carried: u64,
    pub(super) look: Look,
}

impl<'a> Record<'a> {
    /// Not yet looked at: that takes the lock.
    pub(super) fn new(records: &'a dyn Recorded, tag: u64) -> Record<'a> {
        Record { records, tag, carried: 0, look: Look::NONE }
    }

    pub(super) fn look_again(&mut self, asked: &Asked, locks: &mut Locks<'a>) {
        let ahead = asked.ahead(self.records.queued(), self.tag);
        self.carried = 0;
        self.ask(locks, |shard, record| shard.look(record.tag, None, ahead, asked.cost, asked.now));
    }

    fn ask(
        &mut self,
        locks: &mut Locks<'a>,
        look: impl FnOnce(&mut dyn Locked, &Record<'a>) -> Look,
    ) {
        if let Some(shard) = locks.get(self.shard()) {
            self.look = look(shard, self);
        }
    }

    pub(super) fn shard(&self) -> Which {
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
        self.ask(locks, |shard, Record { records, tag, .. }| {
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
        self.ask(locks, |shard, record| {
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
        self.ask(locks, |shard, Record { records, tag, look, .. }| {
            let elsewhere = || records.look_elsewhere(asked.now);
            shard.charge(*tag, look, cost, asked.now, &elsewhere);
            *look
        });
    }
}
