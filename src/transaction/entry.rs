//! One limit's part in a decision: what is asked of it, and a participant of its kind.

use smallvec::SmallVec;

use crate::cells::{Cells, Charge, WordSnapshot};
use crate::concurrency_limiter::Semaphore;
use crate::decision::{Allowed, Denied};
use crate::rate_limiter::Store;
use crate::sync::Arc;

use super::asked::Asked;
use super::locks::Locks;
use super::record_participant::RecordParticipant;
use super::slot_participant::{HeldSlots, SlotParticipant};
use super::{INLINE, Refusal};

/// One limit's part in a decision.
pub(crate) struct Entry<'a> {
    pub(crate) asked: Asked,
    pub(super) part: Participant<'a>,
}

pub(crate) type Entries<'a> = SmallVec<[Entry<'a>; INLINE]>;

pub(super) enum Participant<'a> {
    Word(WordSnapshot<'a>),
    Record(RecordParticipant<'a>),
    Slots(SlotParticipant),
}

/// Looks at a word. Waits while others hold it.
fn look_at<'a>(cells: &'a Cells, tag: u64, asked: &Asked) -> WordSnapshot<'a> {
    cells.look(tag, asked.ahead(cells.queued(), tag), asked.cost, asked.now)
}

impl<'a> Entry<'a> {
    /// Asks a rate, and looks at it once if it is a word.
    pub(crate) fn rate(store: &'a Store, tag: u64, asked: Asked) -> Entry<'a> {
        let part = match store {
            Store::Words(words) => {
                Participant::Word(look_at(words.place(tag, asked.cost, asked.now), tag, &asked))
            }
            Store::Records(records) => Participant::Record(RecordParticipant::new(&**records, tag)),
        };
        Entry { asked, part }
    }

    /// Asks for slots, and looks at them once.
    pub(crate) fn slots(semaphore: Arc<Semaphore>, asked: Asked) -> Entry<'a> {
        Entry { asked, part: Participant::Slots(SlotParticipant::new(semaphore, &asked)) }
    }

    /// What this limit says.
    pub(crate) fn answer(&self) -> Result<Allowed, Denied> {
        match &self.part {
            Participant::Word(look) => look.answer,
            Participant::Record(record) => record.look.answer,
            Participant::Slots(slots) => slots.answer(),
        }
    }

    /// Whether this limit agrees.
    fn agrees(&self) -> bool {
        match &self.part {
            Participant::Word(look) => look.answer.is_ok(),
            Participant::Record(record) => record.look.answer.is_ok(),
            Participant::Slots(slots) => slots.agrees(),
        }
    }

    /// The key of a rate.
    pub(crate) fn tag(&self) -> Option<u64> {
        match &self.part {
            Participant::Word(look) => Some(look.tag),
            Participant::Record(record) => Some(record.tag),
            Participant::Slots(_) => None,
        }
    }

    /// What slots are taken of.
    pub(crate) fn semaphore(&self) -> Option<&Arc<Semaphore>> {
        match &self.part {
            Participant::Slots(slots) => Some(&slots.semaphore),
            Participant::Word(_) | Participant::Record(_) => None,
        }
    }

    /// What was charged, if it was and is this entry's alone.
    pub(crate) fn charge(&self) -> Option<Charge> {
        match &self.part {
            Participant::Word(look) if self.is_charged() => {
                look.charge(self.asked.cost, self.asked.now)
            }
            Participant::Record(record) if self.is_charged() => record.charge(&self.asked),
            _ => None,
        }
    }

    /// What was taken, for a caller that gives it back.
    pub(crate) fn taken(self) -> Option<HeldSlots> {
        match self.part {
            Participant::Slots(slots) => slots.taken(),
            Participant::Word(_) | Participant::Record(_) => None,
        }
    }

    pub(super) fn look_again(&mut self) {
        match &mut self.part {
            Participant::Word(look) => *look = look_at(look.cells, look.tag, &self.asked),
            Participant::Slots(slots) => slots.look_again(&self.asked),
            // Looked at again under its lock.
            Participant::Record(_) => {}
        }
    }

    /// As `look_again`, for a record, whose shard is locked.
    pub(super) fn look_again_locked(&mut self, locks: &mut Locks<'a>) {
        if let Participant::Record(record) = &mut self.part {
            record.look_again(&self.asked, locks);
        }
    }

    /// Whether its key has no slot.
    pub(super) fn is_absent(&self) -> bool {
        matches!(&self.part, Participant::Word(look) if look.is_absent())
    }

    pub(super) fn is_valid(&self) -> bool {
        match &self.part {
            Participant::Word(look) => look.is_valid(),
            Participant::Slots(slots) => slots.is_valid(),
            // A record is locked.
            Participant::Record(_) => true,
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
                Participant::Word(look) => look.is_counted(),
                Participant::Record(record) => record.look.is_counted,
                // Slots in shadow are taken after the decision.
                Participant::Slots(_) => self.asked.enforced,
            }
    }

    /// Whether its key must be given a place before it can be held.
    pub(super) fn needs_insert(&self) -> bool {
        self.is_charged()
            && match &self.part {
                Participant::Word(look) => look.needs_insert(),
                Participant::Record(record) => record.look.needs_insert(),
                Participant::Slots(_) => false,
            }
    }

    /// Whether both are charged in one place: keys of one limiter that share its pool.
    pub(super) fn shares_with(&self, other: &Entry<'_>) -> bool {
        match (&self.part, &other.part) {
            (Participant::Word(a), Participant::Word(b)) => a.shares_cell_with(b),
            (Participant::Record(a), Participant::Record(b)) => a.shares_with(b),
            _ => false,
        }
    }

    /// Whether it is the key `tag` of the same limiter as `other`.
    pub(super) fn is_beside(&self, other: &Entry<'_>, tag: u64) -> bool {
        self.tag() == Some(tag)
            && match (&self.part, &other.part) {
                (Participant::Word(a), Participant::Word(b)) => std::ptr::eq(a.cells, b.cells),
                (Participant::Record(a), Participant::Record(b)) => {
                    std::ptr::addr_eq(a.records, b.records)
                }
                _ => false,
            }
    }

    pub(super) fn hold(&self) -> bool {
        match &self.part {
            Participant::Word(look) => look.hold(),
            Participant::Slots(slots) => slots.hold(),
            Participant::Record(_) => true,
        }
    }

    pub(super) fn release(&self, is_charged: bool) {
        match &self.part {
            Participant::Word(look) => look.release(is_charged),
            Participant::Slots(slots) => slots.release(is_charged),
            Participant::Record(_) => {}
        }
    }

    /// The state of a word that was decided on.
    pub(super) fn state(&self) -> [u64; 3] {
        match &self.part {
            Participant::Word(look) => look.state(),
            Participant::Record(_) | Participant::Slots(_) => [0; 3],
        }
    }
}
