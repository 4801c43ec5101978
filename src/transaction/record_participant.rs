//! [`RecordParticipant`]: a key whose state is a record, as a participant of a transaction.
//!
//! Its shard is locked (`locks`) from before the snapshot until the charge. An algorithm may be
//! user code, so it runs only before the first hold and after the last release.

use crate::cells::Charge;
use crate::records::{Locked, RecordSnapshot, Recorded};
use crate::tagged;

use super::asked::Asked;
use super::locks::{Locks, Which};

#[derive(Clone, Copy)]
pub(super) struct RecordParticipant<'a> {
    pub(super) records: &'a dyn Recorded,
    pub(super) tag: u64,
    /// The cost that is charged for other entries that share its record.
    merged_cost: u64,
    pub(super) look: RecordSnapshot,
}

impl<'a> RecordParticipant<'a> {
    /// Without a snapshot, which needs the lock of the shard.
    pub(super) fn new(records: &'a dyn Recorded, tag: u64) -> RecordParticipant<'a> {
        RecordParticipant { records, tag, merged_cost: 0, look: RecordSnapshot::NONE }
    }

    pub(super) fn look_again(&mut self, asked: &Asked, locks: &mut Locks<'a>) {
        let ahead = asked.ahead(self.records.queued(), self.tag);
        self.merged_cost = 0;
        self.ask(locks, |shard, record| shard.look(record.tag, None, ahead, asked.cost, asked.now));
    }

    fn ask(
        &mut self,
        locks: &mut Locks<'a>,
        look: impl FnOnce(&mut dyn Locked, &RecordParticipant<'a>) -> RecordSnapshot,
    ) {
        if let Some(shard) = locks.get(self.shard()) {
            self.look = look(shard, self);
        }
    }

    pub(super) fn shard(&self) -> Which {
        (std::ptr::from_ref(self.records).addr(), tagged::shard(self.tag))
    }

    /// Whether both are charged in one record: keys of one limiter that share the pool of a shard.
    pub(super) fn shares_with(&self, other: &RecordParticipant<'_>) -> bool {
        let pools = [self, other].map(|record| record.look.pool().is_some());
        pools == [true; 2] && self.shard() == other.shard()
    }

    /// Inserts a record for the key, which has none, and takes a new snapshot. Does not forget a key
    /// for which `taken` returns true.
    pub(super) fn insert_new(
        mut self,
        asked: &Asked,
        locks: &mut Locks<'a>,
        taken: &dyn Fn(u64) -> bool,
    ) -> RecordParticipant<'a> {
        self.ask(locks, |shard, RecordParticipant { records, tag, .. }| {
            let elsewhere = || records.look_elsewhere(asked.now);
            shard.insert_new(*tag, asked.cost, asked.now, &elsewhere, taken)
        });
        self
    }

    /// Leaves the charge to another entry.
    pub(super) fn share(&mut self) {
        self.look = self.look.as_shared();
    }

    /// Charges `cost` more, for another entry that shares its pool.
    pub(super) fn merge_cost(&mut self, cost: u64, asked: &Asked, locks: &mut Locks<'a>) {
        self.merged_cost = self.merged_cost.saturating_add(cost);
        let cost = asked.cost.saturating_add(self.merged_cost);
        self.ask(locks, |shard, record| {
            shard.look(record.tag, record.look.pool(), 0, cost, asked.now)
        });
    }

    /// The charge, if it is for this entry alone.
    pub(super) fn charge(&self, asked: &Asked) -> Option<Charge> {
        (self.merged_cost == 0).then(|| self.look.charge(self.tag, asked.cost))
    }

    /// Writes the charge, or the denial if the algorithm counts denials.
    pub(super) fn write(&mut self, asked: &Asked, is_admitted: bool, locks: &mut Locks<'a>) {
        self.look.count_overflow(self.records);
        if self.look.answer.is_ok() && !is_admitted {
            return;
        }
        let cost = asked.cost.saturating_add(self.merged_cost);
        self.ask(locks, |shard, RecordParticipant { records, tag, look, .. }| {
            let elsewhere = || records.look_elsewhere(asked.now);
            shard.charge(*tag, look, cost, asked.now, &elsewhere);
            *look
        });
    }
}
