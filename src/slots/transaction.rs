//! Slots as a transaction needs them: to look, to hold, to take what it holds.

use crate::decision::{Allowed, Denied};
use crate::sync::{Ordering, mutant};
use crate::time::Timestamp;

use super::Slots;
use super::head::{FLAGS, HOLD, SHUT, has_room, in_use};
use super::record::UNKNOWN;
use super::shut::Shut;

/// A limit as a transaction sees it.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    head: u64,
    /// When the first lease ended, if there is no room.
    first: u64,
    pub(crate) answer: Result<Allowed, Denied>,
}

impl Shut<'_> {
    #[cold]
    #[inline(never)]
    fn look(mut self, units: u32, now: Timestamp) -> Look {
        let answer = self.make_room(units, now).map(|()| self.slots.allowed(self.in_use() + units));
        // Relaxed: written under this lock, but for `UNKNOWN`.
        let first = self.rare.first.load(Ordering::Relaxed);
        Look { answer, first, head: self.open() }
    }
}

impl Slots {
    /// What `take` would say.
    #[inline]
    pub(crate) fn look(&self, units: u32, now: Timestamp, turn: bool) -> Look {
        let head = self.load();
        if has_room(head, units, FLAGS) {
            let answer = Ok(self.allowed(in_use(head, self.cap()) + units));
            return Look { head, first: UNKNOWN, answer };
        }
        self.shut_for(turn).look(units, now)
    }

    /// Whether the answer still holds. A thread that has shut the slots changes nothing before it opens
    /// them.
    pub(crate) fn stands(&self, look: &Look) -> bool {
        // A slot that was given back and taken leaves the head as it was, and another first end.
        let is_first =
            look.answer.is_ok() || self.first_end() == look.first || mutant("first_unconfirmed");
        is_first && self.load() & !SHUT == look.head
    }

    /// Keeps others from taking, if nothing came between. Then `release` must follow.
    pub(crate) fn hold(&self, look: &Look) -> bool {
        self.swap(look.head, look.head | HOLD).is_ok()
    }

    /// Lets others take again, after `units` were taken.
    pub(crate) fn release(&self, units: u32) {
        if mutant("release_by_store") {
            let head = self.load();
            self.head.store((head & !HOLD) - u64::from(units), Ordering::Release);
            return;
        }
        // Release: whoever takes next sees the transaction done. One addition, since others may
        // have given back meanwhile.
        self.head.fetch_sub(u64::from(units) + HOLD, Ordering::AcqRel);
    }

    /// Takes `units`, if nothing came between: the answer says what remains.
    pub(crate) fn commit(&self, look: &Look, units: u32) -> bool {
        if mutant("answer_of_before") || mutant("take_through_hold") {
            return self.swap_room(look.head, units, FLAGS);
        }
        self.swap(look.head, look.head - u64::from(units)).is_ok()
    }
}
