//! One limit's part in a decision: what is asked of it, and a participant of its kind.

use smallvec::SmallVec;

use crate::cells::{Cells, Charge, Look};
use crate::concurrency_limiter::Room;
use crate::decision::{Allowed, Denied};
use crate::rate_limiter::Store;
use crate::sync::Arc;

use super::asked::Asked;
use super::locks::Locks;
use super::record::Record;
use super::slot_part::{HeldSlots, SlotPart};
use super::{INLINE, Refusal};

/// One limit's part in a decision.
pub(crate) struct Entry<'a> {
    pub(crate) asked: Asked,
    pub(super) part: Part<'a>,
}

pub(crate) type Entries<'a> = SmallVec<[Entry<'a>; INLINE]>;

pub(super) enum Part<'a> {
    Word(Look<'a>),
    Record(Record<'a>),
    Slots(SlotPart),
}

/// Looks at a word. Waits while others hold it.
fn look_at<'a>(cells: &'a Cells, tag: u64, asked: &Asked) -> Look<'a> {
    cells.look(tag, asked.ahead(cells.queued(), tag), asked.cost, asked.now)
}

impl<'a> Entry<'a> {
    /// Asks a rate, and looks at it once if it is a word.
    pub(crate) fn rate(store: &'a Store, tag: u64, asked: Asked) -> Entry<'a> {
        let part = match store {
            Store::Words(words) => {
                Part::Word(look_at(words.place(tag, asked.cost, asked.now), tag, &asked))
            }
            Store::Records(records) => Part::Record(Record::new(&**records, tag)),
        };
        Entry { asked, part }
    }

    /// Asks for slots, and looks at them once.
    pub(crate) fn slots(room: Arc<Room>, asked: Asked) -> Entry<'a> {
        Entry { asked, part: Part::Slots(SlotPart::new(room, &asked)) }
    }

    /// What this limit says.
    pub(crate) fn answer(&self) -> Result<Allowed, Denied> {
        match &self.part {
            Part::Word(look) => look.answer,
            Part::Record(record) => record.look.answer,
            Part::Slots(slots) => slots.answer(),
        }
    }

    /// Whether this limit agrees.
    fn agrees(&self) -> bool {
        match &self.part {
            Part::Word(look) => look.answer.is_ok(),
            Part::Record(record) => record.look.answer.is_ok(),
            Part::Slots(slots) => slots.agrees(),
        }
    }

    /// The key of a rate.
    pub(crate) fn tag(&self) -> Option<u64> {
        match &self.part {
            Part::Word(look) => Some(look.tag),
            Part::Record(record) => Some(record.tag),
            Part::Slots(_) => None,
        }
    }

    /// What slots are taken of.
    pub(crate) fn room(&self) -> Option<&Arc<Room>> {
        match &self.part {
            Part::Slots(slots) => Some(&slots.room),
            Part::Word(_) | Part::Record(_) => None,
        }
    }

    /// What was charged, if it was and is this entry's alone.
    pub(crate) fn charge(&self) -> Option<Charge> {
        match &self.part {
            Part::Word(look) if self.is_charged() => look.charge(self.asked.cost, self.asked.now),
            Part::Record(record) if self.is_charged() => record.charge(&self.asked),
            _ => None,
        }
    }

    /// What was taken, for a caller that gives it back.
    pub(crate) fn taken(self) -> Option<HeldSlots> {
        match self.part {
            Part::Slots(slots) => slots.taken(),
            Part::Word(_) | Part::Record(_) => None,
        }
    }

    pub(super) fn look_again(&mut self) {
        match &mut self.part {
            Part::Word(look) => *look = look_at(look.cells, look.tag, &self.asked),
            Part::Slots(slots) => slots.look_again(&self.asked),
            // Looked at again under its lock.
            Part::Record(_) => {}
        }
    }

    /// As `look_again`, for a record, whose shard is locked.
    pub(super) fn look_again_locked(&mut self, locks: &mut Locks<'a>) {
        if let Part::Record(record) = &mut self.part {
            record.look_again(&self.asked, locks);
        }
    }

    /// Whether its key has no slot.
    pub(super) fn is_absent(&self) -> bool {
        matches!(&self.part, Part::Word(look) if look.is_absent())
    }

    pub(super) fn stands(&self) -> bool {
        match &self.part {
            Part::Word(look) => look.stands(),
            Part::Slots(slots) => slots.stands(),
            // A record is locked.
            Part::Record(_) => true,
        }
    }

    /// What it refuses the request with, if it does.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        if self.agrees() || !self.asked.enforced {
            return None;
        }
        let denied = self.answer().err()?;
        Some(Refusal { place: self.asked.place, denied })
    }

    pub(super) fn is_charged(&self) -> bool {
        self.asked.cost > 0
            && self.agrees()
            && match &self.part {
                Part::Word(look) => look.is_counted(),
                Part::Record(record) => record.look.is_counted,
                // Slots in shadow are taken after the decision.
                Part::Slots(_) => self.asked.enforced,
            }
    }

    /// Whether its key must be given a place before it can be held.
    pub(super) fn needs_seat(&self) -> bool {
        self.is_charged()
            && match &self.part {
                Part::Word(look) => look.needs_seat(),
                Part::Record(record) => record.look.needs_seat(),
                Part::Slots(_) => false,
            }
    }

    /// Whether both are charged in one place: keys of one limiter that share its pool.
    pub(super) fn shares_with(&self, other: &Entry<'_>) -> bool {
        match (&self.part, &other.part) {
            (Part::Word(a), Part::Word(b)) => a.shares_cell_with(b),
            (Part::Record(a), Part::Record(b)) => a.shares_with(b),
            _ => false,
        }
    }

    /// Whether it is the key `tag` of the same limiter as `other`.
    pub(super) fn is_beside(&self, other: &Entry<'_>, tag: u64) -> bool {
        self.tag() == Some(tag)
            && match (&self.part, &other.part) {
                (Part::Word(a), Part::Word(b)) => std::ptr::eq(a.cells, b.cells),
                (Part::Record(a), Part::Record(b)) => std::ptr::addr_eq(a.records, b.records),
                _ => false,
            }
    }

    pub(super) fn hold(&self) -> bool {
        match &self.part {
            Part::Word(look) => look.hold(),
            Part::Slots(slots) => slots.hold(),
            Part::Record(_) => true,
        }
    }

    pub(super) fn release(&self, is_charged: bool) {
        match &self.part {
            Part::Word(look) => look.release(is_charged),
            Part::Slots(slots) => slots.release(is_charged),
            Part::Record(_) => {}
        }
    }

    /// The state of a word that was decided on.
    pub(super) fn state(&self) -> [u64; 3] {
        match &self.part {
            Part::Word(look) => look.state(),
            Part::Record(_) | Part::Slots(_) => [0; 3],
        }
    }
}
