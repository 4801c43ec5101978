//! A line of the table: key hashes and their words in one cache line, and the [`Cell`], one slot
//! with its key hash. Which line a key is in is decided in `group`.

use crate::sync::{AtomicU64, Backoff, Ordering};

use crate::cells::word::{self, IN_TRANSIT};

/// Slots in a line of 64 bytes.
#[cfg(not(tollgate_loom))]
pub(super) const SLOTS: usize = 4;
#[cfg(tollgate_loom)]
pub(super) const SLOTS: usize = 2;

pub(super) const LINE: usize = 2 * SLOTS;

pub(super) type SlotLine = [AtomicU64; LINE];

/// A line and the index of a slot in it.
pub(super) type SlotOfLine<'a> = (&'a SlotLine, usize);

/// A slot that was found to be the key's.
#[derive(Clone, Copy)]
pub(crate) struct Cell<'a> {
    pub(super) tag_at: &'a AtomicU64,
    pub(crate) word: &'a AtomicU64,
    pub(crate) tag: u64,
}

impl<'a> Cell<'a> {
    /// A cell outside the table.
    pub(crate) fn apart(tag_at: &'a AtomicU64, word: &'a AtomicU64, tag: u64) -> Self {
        Cell { tag_at, word, tag }
    }

    /// The word, unless the slot has gone to another key.
    #[inline]
    pub(crate) fn load(&self) -> Option<u64> {
        // Acquire: pairs with the Release stores of words. If the word is another key's, that key's
        // hash is visible below.
        let word = self.word.load(Ordering::Acquire);
        // Acquire: pairs with the Release stores of key hashes. If the hash was put back since, the
        // word, loaded again in `is_still`, shows that it had been away.
        (self.tag_at.load(Ordering::Acquire) == self.tag).then_some(word)
    }

    /// Whether both are the same cell.
    pub(crate) fn is_same(&self, other: &Cell<'_>) -> bool {
        self.tag == other.tag && std::ptr::eq(self.word, other.word)
    }

    /// Whether the word is still what `load` returned: then a decision that wrote nothing is valid.
    #[inline]
    pub(crate) fn is_still(&self, word: u64) -> bool {
        self.word.load(Ordering::Relaxed) == word
    }

    /// Writes `new` if the word is still `old`.
    #[inline]
    pub(crate) fn replace(&self, old: u64, new: u64) -> bool {
        // Release: pairs with the Acquire in `load`. A thread that reads this word and then the
        // clock sees no earlier time than the writer saw (settling), and a thread that reads it as
        // part of a commit sees what the transaction holds.
        self.word.compare_exchange(old, new, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

/// The slot of this line that has the key hash; any slot, if none has. Reads all slots without a
/// branch: the processor cannot predict which it is, and a wrong guess costs more than reading.
#[inline(always)]
fn slot_of(line: &SlotLine, tag: u64) -> usize {
    count_touch();
    (1..SLOTS).fold(0, |found, slot| {
        count_touch();
        // Relaxed: callers check again.
        found | (slot * usize::from(line[slot].load(Ordering::Relaxed) == tag))
    })
}

/// The cell of the key in this line, and its word.
#[inline(always)]
pub(super) fn read(line: &SlotLine, tag: u64) -> Option<(Cell<'_>, u64)> {
    let cell = cell(line, slot_of(line, tag), tag);
    Some((cell, cell.load()?))
}

/// The slot of the key in this line.
pub(super) fn seek(line: &SlotLine, tag: u64) -> Option<SlotOfLine<'_>> {
    let slot = slot_of(line, tag) % SLOTS;
    // Relaxed: `Cell::load` checks again.
    (line[slot].load(Ordering::Relaxed) == tag).then_some((line, slot))
}

#[inline(always)]
pub(super) fn cell(line: &SlotLine, slot: usize, tag: u64) -> Cell<'_> {
    // Always in range already; the remainder lets the compiler see that.
    let slot = slot % SLOTS;
    Cell { tag_at: &line[slot], word: &line[SLOTS + slot], tag }
}

/// Waits until the word is not held, and takes it out.
pub(super) fn take_out(word_at: &AtomicU64) -> u64 {
    let backoff = Backoff::default();
    loop {
        let word = word_at.load(Ordering::Relaxed);
        if word::is_held(word) {
            // The thread that holds a word waits for no lock, so this ends.
            backoff.snooze();
        // Relaxed: the lock orders the key hash, and the word is all that is read.
        } else if word_at
            .compare_exchange(word, IN_TRANSIT, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        {
            return word;
        }
    }
}

#[cfg(not(test))]
pub(super) fn count_touch() {}
#[cfg(not(test))]
pub(super) fn count_lock() {}

#[cfg(test)]
pub(super) use touches::{count_lock, count_touch};

/// How many slots the calls of this thread have touched, and how many groups they have locked.
#[cfg(test)]
pub(crate) mod touches {
    use std::cell::Cell;

    thread_local!(static TOUCHES: Cell<usize> = const { Cell::new(0) });
    thread_local!(static LOCKS: Cell<usize> = const { Cell::new(0) });

    pub(crate) fn count_touch() {
        TOUCHES.set(TOUCHES.get() + 1);
    }

    pub(crate) fn count_lock() {
        LOCKS.set(LOCKS.get() + 1);
    }

    /// Slots touched since the last call.
    pub(crate) fn take() -> usize {
        TOUCHES.take()
    }

    /// Groups locked since the last call.
    pub(crate) fn take_locks() -> usize {
        LOCKS.take()
    }
}
