//! A word that was decided on, and the word it becomes if the charge is written. Kept small, since
//! a request may have several. `sight` and `snapshot` decide; this file holds, charges and
//! releases.

use crate::sync::Ordering;
use crate::time::Timestamp;

use super::sequence::generation_of;
use super::table::Cell;
use super::{Cells, Charge, ChargedTo, word};

/// A word that is to be charged.
#[derive(Clone, Copy)]
pub(crate) struct Pending<'a> {
    cell: Cell<'a>,
    word: u64,
    /// The word after the charge.
    charged: u64,
}

/// A key on the fast path that is to be charged under the quota in force.
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

    /// Whether the word is unchanged.
    #[inline(always)]
    pub(super) fn is_valid(&self) -> bool {
        self.cell.is_still(self.word)
    }

    /// Writes the charge, unless the word has changed.
    #[inline(always)]
    pub(super) fn write(&self) -> bool {
        self.cell.replace(self.word, self.charged)
    }

    /// Holds the word, unless it has changed.
    #[inline(always)]
    pub(super) fn take(&self) -> bool {
        self.cell.replace(self.word, word::held(self.word))
    }

    /// Releases a held word: charged, or as it was.
    #[inline(always)]
    pub(super) fn release(&self, is_charged: bool) {
        let word = if is_charged { self.charged } else { self.word };
        // Release: pairs with the Acquire in `Cell::load`, so a thread that reads this word sees
        // the commit it belongs to.
        self.cell.word.store(word, Ordering::Release);
    }
}

impl<'a> FastPending<'a> {
    #[inline(always)]
    pub(super) fn new(cells: &'a Cells, sequence: u64, pending: Pending<'a>) -> FastPending<'a> {
        FastPending { cells, sequence, pending }
    }

    /// Whether the quota is still in force and no caller waits in line.
    #[inline(always)]
    fn is_current(&self) -> bool {
        self.cells.published.is_unchanged(self.sequence)
    }

    /// Whether the word is unchanged and the quota is in force. A change of quota converts words
    /// one by one, after it is published, so checking the word alone could mix two quotas in one
    /// denial.
    #[inline(always)]
    pub(crate) fn is_valid(&self) -> bool {
        self.pending.is_valid() && self.is_current()
    }

    /// Charges the key, unless another write came between.
    #[inline(always)]
    pub(crate) fn charge(&self) -> bool {
        self.is_current() && self.pending.write()
    }

    /// Holds the key, unless another write came between. If this returns `true`, `release` must
    /// follow.
    #[inline(always)]
    pub(crate) fn hold(&self) -> bool {
        if !self.pending.take() {
            return false;
        }
        // Two keys of one limiter must not be decided under two of its quotas.
        let is_current = self.is_current();
        if !is_current {
            self.pending.release(false);
        }
        is_current
    }

    /// Releases a held key: charged, or as it was.
    #[inline(always)]
    pub(crate) fn release(&self, is_charged: bool) {
        self.pending.release(is_charged);
    }

    /// The generation of the quota it was decided under.
    #[inline(always)]
    pub(crate) fn generation(&self) -> u64 {
        generation_of(self.sequence)
    }

    /// The charge, for settling.
    #[inline(always)]
    pub(crate) fn charged(&self, cost: u64, now: Timestamp) -> Charge {
        let (tag, generation) = (self.pending.cell.tag, self.generation());
        Charge { tag, cost, at: now, charged_to: ChargedTo::Own, generation }
    }
}
