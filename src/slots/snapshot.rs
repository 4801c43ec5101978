//! Slots as a participant of a transaction: take a snapshot, validate it, hold the slots, and
//! commit. `transaction` decides the order of these steps over several limits.

use crate::decision::{Allowed, Denied, Retry};
use crate::sync::Ordering;
use crate::time::Timestamp;

use super::Slots;
use super::exclusive::Exclusive;
use super::head::{FLAGS, HOLD, SHUT, has_room, in_use, still_has_room};
use super::record::{UNKNOWN, at_latest};

/// A limit as a transaction saw it. The answer is computed only when it is read.
#[derive(Clone, Copy)]
pub(crate) struct SlotSnapshot {
    head: u64,
    /// The first end at that time, if there was no room.
    first: u64,
    /// The length of a lease at that time, in nanoseconds.
    lease: u64,
    cap: u32,
    units: u32,
    refusal: Option<Retry>,
}

impl SlotSnapshot {
    #[inline]
    pub(crate) fn answer(&self) -> Result<Allowed, Denied> {
        match self.refusal {
            None => Ok(self.allowed()),
            Some(retry) => Err(self.denied(retry)),
        }
    }

    pub(crate) fn units(&self) -> u32 {
        self.units
    }

    #[inline]
    pub(crate) fn agrees(&self) -> bool {
        self.refusal.is_none()
    }

    /// The state of the slots after these units are taken.
    #[inline]
    fn allowed(&self) -> Allowed {
        let in_use = in_use(self.head, self.cap).saturating_add(self.units);
        Allowed(Slots::standing(in_use, self.cap, self.lease))
    }

    #[inline]
    fn denied(&self, retry: Retry) -> Denied {
        let standing = Slots::standing(in_use(self.head, self.cap), self.cap, self.lease);
        Denied { standing, retry }
    }
}

impl Exclusive<'_> {
    #[cold]
    #[inline(never)]
    fn look(mut self, units: u32, now: Timestamp) -> SlotSnapshot {
        let refusal = self.make_room(units, now).err().map(|denied| denied.retry);
        // Relaxed: written only under the lock that is held here, except for `UNKNOWN`.
        let first = self.rare.first.load(Ordering::Relaxed);
        let (cap, lease) = (self.slots.cap(), self.slots.terms.lease());
        SlotSnapshot { head: self.open(), first, lease, cap, units, refusal }
    }
}

impl Slots {
    /// A snapshot with the answer that `take` would give.
    #[inline]
    pub(crate) fn look(&self, units: u32, now: Timestamp, turn: bool) -> SlotSnapshot {
        match self.snapshot_fast(units, now) {
            Some(look) => look,
            None => self.exclusive_for(turn).look(units, now),
        }
    }

    /// As `look`, without exclusive access. Returns `None` if a flag is set, or if a refusal needs
    /// a search for ended leases.
    #[inline]
    pub(crate) fn snapshot_fast(&self, units: u32, now: Timestamp) -> Option<SlotSnapshot> {
        let head = self.load();
        let lease = self.terms.lease();
        if has_room(head, units, FLAGS) {
            let cap = self.cap();
            return Some(SlotSnapshot { head, first: UNKNOWN, lease, cap, units, refusal: None });
        }
        let (first, cap) = self.first_if_full(head, units, Some(now), FLAGS)?;
        let refusal = Some(Retry::Unknown { at_latest: at_latest(first, now) });
        Some(SlotSnapshot { head, first, lease, cap, units, refusal })
    }

    /// Whether the answer still holds. The shut flag is ignored: a thread with exclusive access
    /// does not change the head before it opens the slots.
    pub(crate) fn is_valid(&self, look: &SlotSnapshot) -> bool {
        // A slot that was given back and taken again leaves the same head but another first end.
        let is_first = look.agrees() || self.first_end() == look.first;
        is_first && self.load() & !SHUT == look.head
    }

    /// Sets the hold flag, which stops takers, if the head is unchanged. The caller must then call
    /// `release`.
    #[inline]
    pub(crate) fn hold(&self, look: &SlotSnapshot) -> bool {
        self.swap(look.head, look.head | HOLD).is_ok()
    }

    /// Clears the hold flag, and subtracts the units if they were taken.
    #[inline]
    pub(crate) fn release(&self, look: &SlotSnapshot, is_taken: bool) {
        let units = if is_taken { u64::from(look.units) } else { 0 };
        // AcqRel: pairs with `swap`. The next taker sees the finished transaction. A single
        // subtraction, because other threads may have given back meanwhile.
        self.head.fetch_sub(units + HOLD, Ordering::AcqRel);
    }

    /// Takes the slots, and returns the snapshot as of the swap, since other threads may have taken
    /// and given back meanwhile. Returns `None` if there is no room any more, a flag is set or the
    /// cycle changed.
    #[inline]
    pub(crate) fn commit(&self, look: &SlotSnapshot) -> Option<SlotSnapshot> {
        let mut head = look.head;
        loop {
            match self.swap(head, head - u64::from(look.units)) {
                Ok(_) => return Some(SlotSnapshot { head, ..*look }),
                // Lost the compare-and-swap. Other limits are held, so retry without waiting.
                Err(seen) if still_has_room(head, seen, look.units, FLAGS) => head = seen,
                Err(_) => return None,
            }
        }
    }
}
