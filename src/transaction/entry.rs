//! [`Entry`]: one limit's part in a transaction, with its request and its participant.
//!
//! It dispatches to the kind of participant: a word (`WordSnapshot`), a record or slots. The
//! transaction that uses the entries is in `transaction`.

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

/// One limit's part in a transaction.
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

/// Takes the snapshot of a word. Waits while another transaction holds it.
fn look_at<'a>(cells: &'a Cells, tag: u64, asked: &Asked) -> WordSnapshot<'a> {
    cells.look(tag, asked.ahead(cells.queued(), tag), asked.cost, asked.now)
}

impl<'a> Entry<'a> {
    /// An entry for a rate, with a first snapshot if its state is a word.
    pub(crate) fn rate(store: &'a Store, tag: u64, asked: Asked) -> Entry<'a> {
        let part = match store {
            Store::Words(words) => {
                Participant::Word(look_at(words.place(tag, asked.cost, asked.now), tag, &asked))
            }
            Store::Records(records) => Participant::Record(RecordParticipant::new(&**records, tag)),
        };
        Entry { asked, part }
    }

    /// An entry for slots, with a first snapshot.
    pub(crate) fn slots(semaphore: Arc<Semaphore>, asked: Asked) -> Entry<'a> {
        Entry { asked, part: Participant::Slots(SlotParticipant::new(semaphore, &asked)) }
    }

    /// The limit's answer.
    pub(crate) fn answer(&self) -> Result<Allowed, Denied> {
        match &self.part {
            Participant::Word(look) => look.answer,
            Participant::Record(record) => record.look.answer,
            Participant::Slots(slots) => slots.answer(),
        }
    }

    /// Whether the limit agrees.
    fn agrees(&self) -> bool {
        match &self.part {
            Participant::Word(look) => look.answer.is_ok(),
            Participant::Record(record) => record.look.answer.is_ok(),
            Participant::Slots(slots) => slots.agrees(),
        }
    }

    /// The key hash, for a rate.
    pub(crate) fn tag(&self) -> Option<u64> {
        match &self.part {
            Participant::Word(look) => Some(look.tag),
            Participant::Record(record) => Some(record.tag),
            Participant::Slots(_) => None,
        }
    }

    /// The semaphore, for slots.
    pub(crate) fn semaphore(&self) -> Option<&Arc<Semaphore>> {
        match &self.part {
            Participant::Slots(slots) => Some(&slots.semaphore),
            Participant::Word(_) | Participant::Record(_) => None,
        }
    }

    /// The charge, if there is one and it is for this entry alone.
    pub(crate) fn charge(&self) -> Option<Charge> {
        match &self.part {
            Participant::Word(look) if self.is_charged() => {
                look.charge(self.asked.cost, self.asked.now)
            }
            Participant::Record(record) if self.is_charged() => record.charge(&self.asked),
            _ => None,
        }
    }

    /// The slots that were taken, which the caller must give back.
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
            // `look_again_locked` does this under the lock.
            Participant::Record(_) => {}
        }
    }

    /// `look_again` for a record, under the lock of its shard.
    pub(super) fn look_again_locked(&mut self, locks: &mut Locks<'a>) {
        if let Participant::Record(record) = &mut self.part {
            record.look_again(&self.asked, locks);
        }
    }

    /// Whether the key has no slot.
    pub(super) fn is_absent(&self) -> bool {
        matches!(&self.part, Participant::Word(look) if look.is_absent())
    }

    pub(super) fn is_valid(&self) -> bool {
        match &self.part {
            Participant::Word(look) => look.is_valid(),
            Participant::Slots(slots) => slots.is_valid(),
            // A record is locked, so it has not changed.
            Participant::Record(_) => true,
        }
    }

    /// The refusal, if this limit refuses the request.
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
                // Slots that are not enforced are taken after the decision.
                Participant::Slots(_) => self.asked.enforced,
            }
    }

    /// Whether the key must be inserted before it can be held.
    pub(super) fn needs_insert(&self) -> bool {
        self.is_charged()
            && match &self.part {
                Participant::Word(look) => look.needs_insert(),
                Participant::Record(record) => record.look.needs_insert(),
                Participant::Slots(_) => false,
            }
    }

    /// Whether both are charged in one place, as keys of one limiter that share its pool.
    pub(super) fn shares_with(&self, other: &Entry<'_>) -> bool {
        match (&self.part, &other.part) {
            (Participant::Word(a), Participant::Word(b)) => a.shares_cell_with(b),
            (Participant::Record(a), Participant::Record(b)) => a.shares_with(b),
            _ => false,
        }
    }

    /// Whether this entry is for the key hash `tag` of the limiter of `other`.
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

    /// The state that the snapshot of a word is of; zeros for records and slots.
    pub(super) fn state(&self) -> [u64; 3] {
        match &self.part {
            Participant::Word(look) => look.state(),
            Participant::Record(_) | Participant::Slots(_) => [0; 3],
        }
    }
}
