//! A word that was decided on, and the one that it is to become: little, for a request may have several.

use crate::sync::{Ordering, mutant};
use crate::time::Timestamp;

use super::sequence::generation_of;
use super::table::Cell;
use super::{Cells, Charge, ChargedTo, word};

/// A word that is to be charged.
#[derive(Clone, Copy)]
pub(crate) struct Pending<'a> {
    cell: Cell<'a>,
    word: u64,
    /// The word once it is charged.
    charged: u64,
}

/// A key on the fast path that is to be charged, under the quota in force.
#[derive(Clone, Copy)]
pub(crate) struct FastPending<'a> {
    cells: &'a Cells,
    /// The sequence word of the quota that it was decided under.
    sequence: u64,
    pending: Pending<'a>,
}

impl<'a> Pending<'a> {
    #[inline(always)]
    pub(super) fn new(cell: Cell<'a>, word: u64, charged: u64) -> Pending<'a> {
        Pending { cell, word, charged }
    }

    pub(super) fn cell(&self) -> Cell<'a> {
        self.cell
    }

    pub(super) fn word(&self) -> u64 {
        self.word
    }

    /// Whether there is a charge to write.
    pub(super) fn is_changed(&self) -> bool {
        self.charged != self.word
    }

    /// Whether the word is still what it was.
    #[inline(always)]
    pub(super) fn is_valid(&self) -> bool {
        mutant("answer_unconfirmed") || self.cell.is_still(self.word)
    }

    /// Writes the charge, unless the word has become another.
    #[inline(always)]
    pub(super) fn write(&self) -> bool {
        self.cell.replace(self.word, self.charged)
    }

    /// Holds the word, unless it has become another.
    #[inline(always)]
    pub(super) fn take(&self) -> bool {
        self.cell.replace(self.word, word::held(self.word))
    }

    /// Lets go of a word that is held: charged, or as it was.
    #[inline(always)]
    pub(super) fn release(&self, is_charged: bool) {
        let is_charged = is_charged || mutant("charge_first");
        let word = if is_charged { self.charged } else { self.word };
        // Release: a thread that reads this word sees the commit that it belongs to.
        self.cell.word.store(word, Ordering::Release);
    }
}

impl<'a> FastPending<'a> {
    #[inline(always)]
    pub(super) fn new(cells: &'a Cells, sequence: u64, pending: Pending<'a>) -> FastPending<'a> {
        FastPending { cells, sequence, pending }
    }

    /// Whether the quota is still in force, and nobody waits in line.
    #[inline(always)]
    fn is_current(&self) -> bool {
        mutant("mixed_quotas") || self.cells.published.is_unchanged(self.sequence)
    }

    /// Whether the word is still what it was and the quota is in force. Words follow a change of quota
    /// one by one, after it, so the word alone would let a refusal be made of two quotas.
    #[inline(always)]
    pub(crate) fn is_valid(&self) -> bool {
        self.pending.is_valid() && self.is_current()
    }

    /// Charges the key, unless something came between.
    #[inline(always)]
    pub(crate) fn charge(&self) -> bool {
        self.is_current() && self.pending.write()
    }

    /// Holds the key, unless something came between. Then `release` must follow.
    #[inline(always)]
    pub(crate) fn hold(&self) -> bool {
        if !self.pending.take() {
            return false;
        }
        // Two keys of one limiter are not decided under two quotas of it.
        let is_current = self.is_current();
        if !is_current || mutant("release_early") {
            self.pending.release(false);
        }
        is_current
    }

    /// Lets go of a key that is held: charged, or as it was.
    #[inline(always)]
    pub(crate) fn release(&self, is_charged: bool) {
        self.pending.release(is_charged);
    }

    /// That of the quota it was decided under.
    #[inline(always)]
    pub(crate) fn generation(&self) -> u64 {
        generation_of(self.sequence)
    }

    /// What was charged, for settling.
    #[inline(always)]
    pub(crate) fn charged(&self, cost: u64, now: Timestamp) -> Charge {
        let (tag, generation) = (self.pending.cell.tag, self.generation());
        Charge { tag, cost, at: now, charged_to: ChargedTo::Own, generation }
    }
}
