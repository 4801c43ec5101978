//! One record: the lease that has it, when the lease ends and how many slots it holds. The
//! collection of records is in `records`.
//!
//! | state | changed by |
//! |---|---|
//! | free | any thread, by claiming it |
//! | claimed | its claimer: makes it live or frees it, without waiting for another thread |
//! | live | its holder, by leaving; or a thread with exclusive access, by ending the lease |
//! | leaving | its holder: frees it or makes it live again, without waiting for another thread |
//!
//! The word of a record has its state and a serial number that rises with each claim, so what
//! belongs to a lease that is over never matches again. A bit of the serial number says whether
//! the record is *listed*: whether the search for the first end knows it (see `ends`).

use std::time::Duration;

use crate::sync::{AtomicU32, AtomicU64, Backoff, Ordering, fence};
use crate::time::Timestamp;

/// The first end is not known and must be found under exclusive access. No lease ends sooner.
pub(super) const UNKNOWN: u64 = 0;
/// The end of a lease that has no end.
pub(super) const NEVER: u64 = u64::MAX;

const FREE: u64 = 0;
const CLAIMED: u64 = 1;
const LIVE: u64 = 2;
const LEAVING: u64 = 3;
const STATE: u64 = 3;
const LISTED: u64 = 4;
const SERIAL: u64 = 8;

#[derive(Default)]
pub(super) struct LeaseRecord {
    /// Serial number and state.
    word: AtomicU64,
    /// When the lease is over, as the nanoseconds of a [`Timestamp`]; `NEVER` if it has no end.
    pub(super) end: AtomicU64,
    pub(super) units: AtomicU32,
    /// The value of `Rare::news` before this record was listed. It links the list.
    pub(super) next: AtomicU32,
}

/// What a lease holds. Not `Copy`, so that it is given back only once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) index: u32,
    pub(crate) units: u32,
    pub(crate) serial: u64,
}

/// The lease of a live record.
pub(super) struct LiveLease {
    pub(super) serial: u64,
    pub(super) end: u64,
    pub(super) units: u32,
}

/// A claimed record. Dropping the claim frees the record.
pub(crate) struct Claim<'a> {
    pub(super) record: &'a LeaseRecord,
    pub(super) index: u32,
    pub(super) units: u32,
    pub(super) serial: u64,
    pub(super) is_live: bool,
}

/// The time from `now` until a lease with this `end` is over; `None` if the lease has no end.
#[inline]
pub(super) fn at_latest(end: u64, now: Timestamp) -> Option<Duration> {
    (end < NEVER).then(|| Timestamp::from_nanos(end).since(now))
}

/// Whether a lease with this `end` is over. A lease without an end never is.
#[inline]
pub(super) fn is_over(end: u64, now: Timestamp) -> bool {
    end <= now.as_nanos() && end < NEVER
}

/// Whether the search for the first end knows a record whose word was `word`.
#[inline]
pub(super) fn is_listed(word: u64) -> bool {
    word & LISTED != 0
}

/// The serial number of the lease that claims a record whose word was `word`. A lease without an
/// end needs no entry in `ends`, so it does not set the listed bit.
pub(super) fn serial_after(word: u64, end: u64) -> u64 {
    let serial = (word & !STATE).wrapping_add(SERIAL);
    if end < NEVER { serial | LISTED } else { serial }
}

impl LeaseRecord {
    /// Claims the record if it is free, and returns the word it had.
    #[inline]
    pub(super) fn claim(&self, end: u64) -> Option<u64> {
        let word = self.word.load(Ordering::Relaxed);
        if word & STATE != FREE {
            return None;
        }
        let claimed = serial_after(word, end) | CLAIMED;
        // Acquire: pairs with the Release in `free`, `end_lease` and `unlist`, so it comes after
        // the last owner. Relaxed on failure: the caller tries another record.
        self.word.compare_exchange(word, claimed, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // Release: pairs with the Acquire fence in `live`. A thread that reads a later write to
        // this record sees that the record is claimed.
        fence(Ordering::Release);
        Some(word)
    }

    #[inline]
    pub(super) fn is_live(&self, held: &Held) -> bool {
        // Acquire: pairs with the Release in `end_lease`. A thread that sees the lease over also
        // sees what the thread that ended it did before.
        self.word.load(Ordering::Acquire) == held.serial | LIVE
    }

    /// Marks the record as leaving, if the lease is not over. The caller must then call `free` or
    /// `stay`, without waiting for another thread.
    #[inline]
    pub(super) fn leave(&self, held: &Held) -> bool {
        let (live, leaving) = (held.serial | LIVE, held.serial | LEAVING);
        // Relaxed: the swap of the head that follows publishes it.
        self.word.compare_exchange(live, leaving, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Makes a leaving record live again.
    #[cold]
    pub(super) fn stay(&self, held: &Held) {
        // Release: as in `Claim::live`.
        self.word.store(held.serial | LIVE, Ordering::Release);
    }

    /// Ends the lease with this serial number. Only under exclusive access. Returns false if the
    /// holder is leaving or the lease is already over.
    pub(super) fn end_lease(&self, serial: u64) -> bool {
        // Release: as in `free`.
        let (live, free) = (serial | LIVE, serial | FREE);
        self.word.compare_exchange(live, free, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    #[inline]
    pub(super) fn free(&self, serial: u64) {
        // Release: pairs with the Acquire in `claim`. The next claim comes after all reads of this
        // lease.
        self.word.store(serial | FREE, Ordering::Release);
    }

    /// Clears the listed bit of a free record. Returns false if the record is claimed.
    pub(super) fn unlist(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        // Release: pairs with the Acquire in `claim`. The next claimer lists the record anew, after
        // the reads of the list.
        word & STATE == FREE
            && self
                .word
                .compare_exchange(word, word & !LISTED, Ordering::Release, Ordering::Relaxed)
                .is_ok()
    }

    /// The lease, if the record is live. Waits while the record is claimed or leaving.
    pub(super) fn live(&self) -> Option<LiveLease> {
        let backoff = Backoff::default();
        loop {
            // Acquire: pairs with the Release in `Claim::live`. Sees the end and the units.
            let word = self.word.load(Ordering::Acquire);
            let is_live = word & STATE == LIVE;
            if word & STATE == FREE {
                return None;
            }
            if is_live {
                let end = self.end.load(Ordering::Relaxed);
                let units = self.units.load(Ordering::Relaxed);
                // Acquire: pairs with the fence in `claim`. If the end or the units belong to a
                // later lease, the word has changed.
                fence(Ordering::Acquire);
                if self.word.load(Ordering::Relaxed) == word {
                    return Some(LiveLease { serial: word & !STATE, end, units });
                }
            }
            backoff.snooze();
        }
    }
}

impl Claim<'_> {
    /// Begins the lease.
    #[inline]
    pub(crate) fn live(mut self) -> Held {
        // Release: publishes the end and the units to `LeaseRecord::live`.
        self.record.word.store(self.serial | LIVE, Ordering::Release);
        self.is_live = true;
        Held { index: self.index, units: self.units, serial: self.serial }
    }
}

impl Drop for Claim<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_live {
            self.record.free(self.serial);
        }
    }
}
