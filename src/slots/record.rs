//! One record: the lease that has it, when that ends and what it weighs.
//!
//! | state | who may change it |
//! |---|---|
//! | free | anybody, by claiming it |
//! | claimed | its claimer: makes it live, or free again, and waits for nobody meanwhile |
//! | live | its holder, by leaving; and a thread that has shut the slots, by ending the lease |
//! | leaving | its holder: frees it, or makes it live again, and waits for nobody meanwhile |
//!
//! The word of a record is its state and a serial number that rises with each claim: what belongs
//! to a lease that is over never fits again. A bit of the serial number says whether the record is
//! *listed*: whether those who look for the first end know of it (see `ends`).

use std::time::Duration;

use crate::sync::{AtomicU32, AtomicU64, Backoff, Ordering, fence, mutant};
use crate::time::Timestamp;

/// An end that is not known: the slots must be shut to find it. No lease ends sooner.
pub(super) const UNKNOWN: u64 = 0;
/// The end of a lease that has none.
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
    /// When the lease is over, in nanoseconds; `u64::MAX` never.
    pub(super) end: AtomicU64,
    pub(super) units: AtomicU32,
    /// What `news` was before this record was listed.
    pub(super) next: AtomicU32,
}

/// What a lease holds. Not `Copy`: it is given back once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) index: u32,
    pub(crate) units: u32,
    pub(crate) serial: u64,
}

/// A live record.
pub(super) struct LiveLease {
    pub(super) serial: u64,
    pub(super) end: u64,
    pub(super) units: u32,
}

/// A claimed record: dropping it makes it free again.
pub(crate) struct Claim<'a> {
    pub(super) record: &'a LeaseRecord,
    pub(super) index: u32,
    pub(super) units: u32,
    pub(super) serial: u64,
    pub(super) is_live: bool,
}

/// How long until a lease is over that ends at `end`, if it has an end.
#[inline]
pub(super) fn at_latest(end: u64, now: Timestamp) -> Option<Duration> {
    (end < NEVER).then(|| Timestamp::from_nanos(end).since(now))
}

/// Whether a lease is over that ends at `end`; at the end of time none does.
#[inline]
pub(super) fn is_over(end: u64, now: Timestamp) -> bool {
    end <= now.as_nanos() && end < NEVER
}

/// Whether those who look for the first end know of a record whose word was `word`.
#[inline]
pub(super) fn is_listed(word: u64) -> bool {
    word & LISTED != 0
}

/// The serial number of the lease that takes a record whose word was `word`. A lease without an end
/// needs no entry in `ends`, so its record is not listed for it.
pub(super) fn serial_after(word: u64, end: u64) -> u64 {
    let serial = (word & !STATE).wrapping_add(SERIAL);
    if end < NEVER { serial | LISTED } else { serial }
}

impl LeaseRecord {
    /// Its word, if it was free.
    #[inline]
    pub(super) fn claim(&self, end: u64) -> Option<u64> {
        let word = self.word.load(Ordering::Relaxed);
        if word & STATE != FREE {
            return None;
        }
        let claimed = serial_after(word, end) | CLAIMED;
        if mutant("claim_by_store") {
            self.word.store(claimed, Ordering::Relaxed);
            return Some(word);
        }
        // Acquire: after its last owner freed it. Relaxed on failure: another is tried.
        self.word.compare_exchange(word, claimed, Ordering::Acquire, Ordering::Relaxed).ok()?;
        // Pairs with the fence in `live`: a reader of what is written next sees it claimed.
        fence(Ordering::Release);
        Some(word)
    }

    #[inline]
    pub(super) fn is_live(&self, held: &Held) -> bool {
        // Acquire: whoever sees it over sees who ended it.
        self.word.load(Ordering::Acquire) == held.serial | LIVE
    }

    /// Marks it as leaving, if the lease is not over. Then `free` or `stay` must follow, and no wait.
    #[inline]
    pub(super) fn leave(&self, held: &Held) -> bool {
        let (live, leaving) = (held.serial | LIVE, held.serial | LEAVING);
        if mutant("expiry_frees_stranger") {
            self.word.store(leaving, Ordering::Relaxed);
            return true;
        }
        // Relaxed: the swap of the head publishes it.
        self.word.compare_exchange(live, leaving, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// It does not leave after all.
    #[cold]
    pub(super) fn stay(&self, held: &Held) {
        // Release: as in `Claim::live`.
        self.word.store(held.serial | LIVE, Ordering::Release);
    }

    /// Ends the lease of that serial number. Only while the slots are shut. False: its holder just
    /// tried to leave, or it is over.
    pub(super) fn end_lease(&self, serial: u64) -> bool {
        // Release: as in `free`.
        let (live, free) = (serial | LIVE, serial | FREE);
        self.word.compare_exchange(live, free, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    #[inline]
    pub(super) fn free(&self, serial: u64) {
        // Release: its next claimer comes after all that was read of it.
        self.word.store(serial | FREE, Ordering::Release);
    }

    /// Makes a free record one that is not listed. False: it is claimed.
    pub(super) fn unlist(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        // Release: its next claimer lists it anew after what was read of the list.
        word & STATE == FREE
            && self
                .word
                .compare_exchange(word, word & !LISTED, Ordering::Release, Ordering::Relaxed)
                .is_ok()
    }

    /// The lease of a live record. Waits while it is claimed or leaves.
    pub(super) fn live(&self) -> Option<LiveLease> {
        let backoff = Backoff::default();
        loop {
            // Acquire: sees what was written of it before it became live.
            let word = self.word.load(Ordering::Acquire);
            let is_live =
                word & STATE == LIVE || word & STATE == LEAVING && mutant("reap_unsettled");
            if word & STATE == FREE {
                return None;
            }
            if is_live {
                let end = self.end.load(Ordering::Relaxed);
                let units = self.units.load(Ordering::Relaxed);
                // Acquire: pairs with the fence in `claim`. If the end or the units are those of a later
                // lease, the word has changed.
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
    /// The lease begins.
    #[inline]
    pub(crate) fn live(mut self) -> Held {
        // Release: publishes the end and the units.
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
