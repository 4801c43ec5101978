//! Slots as a transaction needs them: to look, to hold, to take what it holds.

use crate::decision::{Allowed, Denied};
use crate::sync::{Ordering, mutant};
use crate::time::Timestamp;

use super::shut::Shut;
use super::{FLAGS, HOLD, SHUT, Slots, has_room, in_use};

/// A limit as a transaction sees it.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    head: u64,
    pub(crate) answer: Result<Allowed, Denied>,
}

impl Shut<'_> {
    #[cold]
    #[inline(never)]
    fn look(mut self, units: u32, now: Timestamp) -> Look {
        let answer = self.make_room(units, now).map(|()| self.slots.allowed(self.in_use() + units));
        Look { answer, head: self.open() }
    }
}

impl Slots {
    /// What `take` would say.
    #[inline]
    pub(crate) fn look(&self, units: u32, now: Timestamp, turn: bool) -> Look {
        let head = self.load();
        if has_room(head, units, FLAGS) {
            return Look { head, answer: Ok(self.allowed(in_use(head, self.cap()) + units)) };
        }
        self.shut_for(turn).look(units, now)
    }

    /// Whether the answer still holds. A thread that has shut the slots changes nothing before it opens
    /// them.
    pub(crate) fn stands(&self, look: &Look) -> bool {
        self.load() & !SHUT == look.head
    }

    /// Keeps others from taking, if nothing came between. Then `release` must follow.
    pub(crate) fn hold(&self, look: &Look) -> bool {
        self.swap(look.head, look.head | HOLD).is_ok()
    }

    /// Lets others take again, after `units` were taken.
    pub(crate) fn release(&self, units: u32) {
        if mutant("release_by_store") {
            let head = self.load();
            self.hot.head.store((head & !HOLD) - u64::from(units), Ordering::Release);
            return;
        }
        // Release: whoever takes next sees the transaction done. One addition, since others may
        // have given back meanwhile.
        self.hot.head.fetch_sub(u64::from(units) + HOLD, Ordering::AcqRel);
    }

    /// Takes `units`, if nothing came between but others who gave back or took.
    pub(crate) fn commit(&self, look: &Look, units: u32) -> bool {
        self.swap_room(look.head, units, FLAGS)
    }
}
