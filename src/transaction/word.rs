//! A key whose state is a word, as a part of a transaction.

use crate::cells::{Cells, Charge, Look};
use crate::sync::mutant;

use super::Asked;

#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) cells: &'a Cells,
    pub(super) tag: u64,
    /// What it charges for entries that turned out to share its cell.
    carried: u64,
    pub(super) look: Look<'a>,
}

impl<'a> Word<'a> {
    pub(super) fn new(cells: &'a Cells, tag: u64, asked: &Asked) -> Word<'a> {
        let look = cells.look(tag, asked.ahead(cells.queued(), tag), asked.cost, asked.now);
        Word { cells, tag, carried: 0, look }
    }

    /// With a slot for its key, which was not there. `None`: look again.
    pub(super) fn seat(&self, asked: &Asked, taken: impl Fn(u64) -> bool) -> Option<Word<'a>> {
        let look = self.cells.seat(self.tag, asked.cost, asked.now, taken)?;
        Some(Word { look, ..*self })
    }

    /// Leaves its charge to another entry.
    pub(super) fn ride(&mut self) {
        self.look = self.look.as_passenger();
    }

    /// Charges `cost` more, for another entry. Says whether it could be looked at again.
    pub(super) fn carry(&mut self, cost: u64, asked: &Asked) -> bool {
        self.carried = self.carried.saturating_add(cost);
        self.again(asked).map(|seen| *self = seen).is_some()
    }

    /// Looked at again, without waiting. `None`: the key is held, or gone.
    pub(super) fn again(&self, asked: &Asked) -> Option<Word<'a>> {
        let cost = asked.cost.saturating_add(self.carried);
        Some(Word { look: self.look.again(self.cells, cost, asked.now)?, ..*self })
    }

    /// Whether the quota that it was decided under is still in force.
    pub(super) fn is_current(&self) -> bool {
        self.look.is_current(self.cells)
    }

    pub(super) fn commit(&self) -> bool {
        self.look.commit(self.cells, self.tag)
    }

    /// What was charged, if that is this entry's alone.
    pub(super) fn charge(&self, asked: &Asked) -> Option<Charge> {
        (self.carried == 0).then(|| self.look.charge(self.tag, asked.cost, asked.now))
    }

    /// Looks at it anew. Waits while others hold it.
    pub(super) fn look(&mut self, asked: &Asked) {
        *self = Word::new(self.cells, self.tag, asked);
    }

    /// Whether the answer is still the one that would be given.
    pub(super) fn stands(&self) -> bool {
        self.look.stands(self.cells, self.tag)
    }

    /// Keeps others away, if nothing came between. Then `release` must follow.
    pub(super) fn hold(&self) -> bool {
        self.look.hold()
    }

    /// Lets go of what is held: charged, or as it was.
    pub(super) fn release(&self, _: &Asked, is_charged: bool) {
        self.look.release(is_charged || mutant("charge_first"));
    }

    pub(super) fn count(&self) {
        self.cells.count_seat(&self.look);
    }
}
