//! A key as a transaction sees it: looked at first, then held and charged.

use crate::cells::{Charge, Seat};
use crate::decision::{Allowed, Denied};
use crate::tagged;
use crate::time::Timestamp;

use super::Recorded;
use super::shard::Place;

/// One key as a transaction sees it.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(super) place: Place,
    pub(super) is_counted: bool,
    /// Whether there was no room for the key.
    pub(super) is_overflow: bool,
    /// What was decided on.
    pub(super) version: u64,
    /// When it would be charged, and how many changes of quota there were before.
    pub(super) at: Timestamp,
    pub(super) generation: u64,
    pub(crate) answer: Result<Allowed, Denied>,
}

impl Look {
    /// Whether the key must be given a record before it can be held.
    pub(crate) fn needs_seat(&self) -> bool {
        self.is_counted && self.place == Place::New
    }

    /// Whether there is something to write.
    pub(crate) fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// Whether both are one record: keys of one limiter that share its pool.
    pub(crate) fn shares_record_with(&self, tag: u64, other: &Look, other_tag: u64) -> bool {
        let is_pool = |look: &Look| look.is_counted && look.place == Place::Pool;
        is_pool(self) && is_pool(other) && tagged::shard(tag) == tagged::shard(other_tag)
    }

    /// Counts the overflow if the decided key had no record of its own.
    pub(crate) fn count_overflow(&self, records: &dyn Recorded) {
        if self.is_overflow {
            records.count_overflow();
        }
    }

    pub(crate) fn charge(&self, tag: u64, cost: u64) -> Charge {
        let seat = match self.place {
            _ if !self.is_counted => Seat::Uncounted,
            Place::Own | Place::New => Seat::Own,
            Place::Pool => Seat::Pool,
        };
        Charge { tag, cost, at: self.at, seat, generation: self.generation }
    }

    /// Equal for two looks at one state of the key.
    pub(crate) fn state(&self) -> [u64; 3] {
        [self.place as u64, self.version, self.generation]
    }

    /// The same answer with nothing to write: another entry charges for it.
    pub(crate) fn as_passenger(self) -> Look {
        Look { is_counted: false, ..self }
    }
}
