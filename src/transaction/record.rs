//! A key whose state is a record, as a part of a transaction.

use crate::cells::Charge;
use crate::decision::{Allowed, Denied};
use crate::records::{Look, Recorded};
use crate::sync::mutant;

use super::{Asked, Participant};

pub(super) struct Record<'a> {
    records: &'a dyn Recorded,
    pub(super) tag: u64,
    /// What it charges for entries that turned out to share its record.
    carried: u64,
    look: Look,
}

impl<'a> Record<'a> {
    pub(super) fn new(records: &'a dyn Recorded, tag: u64, asked: &Asked) -> Record<'a> {
        let ahead = asked.ahead(records.queued(), tag);
        let look = records.look(tag, ahead, asked.cost, asked.now);
        Record { records, tag, carried: 0, look }
    }

    /// Whether it is the key `tag` of the same limiter as `other`.
    pub(super) fn is_beside(&self, other: &Record<'_>, tag: u64) -> bool {
        self.tag == tag && std::ptr::addr_eq(self.records, other.records)
    }

    pub(super) fn shares_with(&self, other: &Record<'_>) -> bool {
        std::ptr::addr_eq(self.records, other.records)
            && self.look.shares_record_with(self.tag, &other.look, other.tag)
    }

    pub(super) fn needs_seat(&self) -> bool {
        self.look.needs_seat()
    }

    /// With a record for its key, which had none.
    pub(super) fn seat(&self, asked: &Asked, taken: &dyn Fn(u64) -> bool) -> Record<'a> {
        let look = self.records.seat(self.tag, asked.cost, asked.now, taken);
        Record { look, ..*self }
    }

    /// Leaves its charge to another entry.
    pub(super) fn ride(&mut self) {
        self.look = self.look.as_passenger();
    }

    /// Charges `cost` more, for another entry that shares its pool. Says whether it still does.
    pub(super) fn carry(&mut self, cost: u64, asked: &Asked) -> bool {
        self.carried = self.carried.saturating_add(cost);
        let cost = asked.cost.saturating_add(self.carried);
        self.look = self.records.seat(self.tag, cost, asked.now, &|_| true);
        self.look.shares_record_with(self.tag, &self.look, self.tag)
    }

    /// What was charged, if that is this entry's alone.
    pub(super) fn charge(&self, asked: &Asked) -> Option<Charge> {
        (self.carried == 0).then(|| self.look.charge(self.tag, asked.cost))
    }

    pub(super) fn state(&self) -> [u64; 3] {
        self.look.state()
    }
}

impl Participant for Record<'_> {
    fn look(&mut self, asked: &Asked) {
        *self = Record::new(self.records, self.tag, asked);
    }

    fn answer(&self) -> Result<Allowed, Denied> {
        self.look.answer
    }

    fn stands(&self) -> bool {
        self.records.stands(self.tag, &self.look)
    }

    fn is_counted(&self, _: &Asked) -> bool {
        self.look.is_counted()
    }

    fn hold(&self) -> bool {
        self.records.hold(self.tag, &self.look)
    }

    fn release(&self, asked: &Asked, is_charged: bool) {
        let is_charged = is_charged || mutant("charge_first");
        let cost = if is_charged { asked.cost.saturating_add(self.carried) } else { 0 };
        self.records.release(self.tag, &self.look, cost, asked.now);
    }

    /// That it had no record of its own, and its denial if the algorithm counts those.
    fn count(&self, asked: &Asked) {
        self.look.count_overflow(self.records);
        if self.look.answer.is_err() && asked.cost > 0 {
            self.records.count_denied(self.tag, asked.cost, asked.now);
        }
    }
}
