//! Keys with records as a part of a transaction.

use smallvec::SmallVec;

use crate::cells::Charge;
use crate::decision::{Allowed, Denied};
use crate::records::{Look, Recorded};
use crate::sync::mutant;
use crate::time::Timestamp;

use super::{Again, INLINE};

/// One limit's part in a decision, of a key whose state is a record.
pub(crate) struct RecordEntry<'a> {
    records: &'a dyn Recorded,
    pub(crate) tag: u64,
    cost: u64,
    now: Timestamp,
    /// Whether its denial refuses the request. If not it is charged if it agrees.
    pub(crate) enforced: bool,
    /// Its place among all limits of the request.
    pub(crate) place: u32,
    /// Whether whoever waits in line for the key has been asked.
    turn: bool,
    /// What it charges for entries that turned out to share its record.
    carried: u64,
    look: Look,
}

pub(crate) type RecordEntries<'a> = SmallVec<[RecordEntry<'a>; INLINE]>;

impl<'a> RecordEntry<'a> {
    /// Asks `cost` of the key, at the head of its line if it is that one's `turn`.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        records: &'a dyn Recorded,
        tag: u64,
        cost: u64,
        now: Timestamp,
        enforced: bool,
        place: u32,
        turn: bool,
    ) -> RecordEntry<'a> {
        let look = records.look(tag, cost, now, turn);
        RecordEntry { records, tag, cost, now, enforced, place, turn, carried: 0, look }
    }

    /// What this limit says.
    pub(crate) fn answer(&self) -> Result<Allowed, Denied> {
        self.look.answer
    }

    /// What was charged, if it was and is this entry's alone.
    pub(crate) fn charge(&self) -> Option<Charge> {
        (self.is_charged() && self.carried == 0).then(|| self.look.charge(self.tag, self.cost))
    }

    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    /// To be looked at again.
    pub(super) fn set_cost(&mut self, cost: u64) {
        self.cost = cost;
    }

    pub(super) fn look_again(&mut self) {
        self.carried = 0;
        self.look = self.records.look(self.tag, self.cost, self.now, self.turn);
    }

    pub(super) fn refuses(&self) -> bool {
        self.enforced && self.look.answer.is_err()
    }

    /// What it was decided on.
    pub(super) fn look(&self) -> Look {
        self.look
    }

    pub(super) fn stands(&self) -> bool {
        self.records.stands(self.tag, &self.look)
    }

    pub(super) fn is_charged(&self) -> bool {
        self.cost > 0 && self.look.answer.is_ok() && self.look.is_counted()
    }

    pub(super) fn needs_seat(&self) -> bool {
        self.is_charged() && self.look.needs_seat()
    }

    /// Counts what was decided: that it had no record of its own, and its denial if it counts those.
    pub(super) fn count(&self) {
        self.look.count_overflow(self.records);
        if self.look.answer.is_err() && self.cost > 0 {
            self.records.count_denied(self.tag, self.cost, self.now);
        }
    }
}

/// Gives new keys a record to be held in. Nothing is charged, and a record not charged is idle.
#[cold]
pub(super) fn seat(entries: &mut [RecordEntry<'_>]) -> Result<(), Again> {
    for index in 0..entries.len() {
        if !entries[index].needs_seat() {
            continue;
        }
        let look = seat_one(entries, index, entries[index].cost);
        let (before, after) = entries.split_at_mut(index);
        let Some(entry) = after.first_mut() else { continue };
        entry.look = look;
        let shares = |other: &RecordEntry<'_>| {
            std::ptr::addr_eq(other.records, entry.records)
                && other.look.shares_record_with(other.tag, &look, entry.tag)
        };
        let Some(at) = before.iter().position(shares) else { continue };
        entry.look = look.as_passenger();
        let other = &mut before[at];
        other.carried = other.carried.saturating_add(entry.cost);
        let cost = other.cost.saturating_add(other.carried);
        let both = seat_one(entries, at, cost);
        // Unless there is room for it by now.
        if !both.shares_record_with(entries[at].tag, &look, entries[index].tag) {
            return Err(Again);
        }
        entries[at].look = both;
    }
    Ok(())
}

/// Gives the entry at `index` a record, and takes none for it from the others.
fn seat_one(entries: &[RecordEntry<'_>], index: usize, cost: u64) -> Look {
    let entry = &entries[index];
    let is_of_another = |tag| {
        let mut others = entries.iter().filter(|other| other.is_charged());
        others.any(|other| other.tag == tag && std::ptr::addr_eq(other.records, entry.records))
    };
    entry.records.seat(entry.tag, cost, entry.now, &is_of_another)
}

/// Entries that are held. Dropping it, unwinding included, lets go of them as they were, or charged
/// once all agreed.
pub(super) struct Holds<'h, 'a> {
    entries: &'h [RecordEntry<'a>],
    reached: usize,
    pub(super) charge: bool,
}

impl<'h, 'a> Holds<'h, 'a> {
    pub(super) fn take(entries: &'h [RecordEntry<'a>]) -> Result<Self, Again> {
        let mut holds = Holds { entries, reached: 0, charge: mutant("charge_first") };
        for entry in entries {
            if entry.is_charged() && !entry.records.hold(entry.tag, &entry.look) {
                return Err(Again);
            }
            holds.reached += 1;
        }
        Ok(holds)
    }
}

impl Drop for Holds<'_, '_> {
    fn drop(&mut self) {
        if let Some((entry, others)) = self.entries[..self.reached].split_first() {
            // Should its algorithm panic, dropping what is left lets go of the others.
            let left = Holds { entries: others, reached: others.len(), charge: self.charge };
            if entry.is_charged() {
                let cost = if self.charge { entry.cost.saturating_add(entry.carried) } else { 0 };
                entry.records.release(entry.tag, &entry.look, cost, entry.now);
            }
            drop(left);
        }
    }
}
