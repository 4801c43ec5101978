//! Slots as a transaction needs them: to look, to hold, to take what it holds.

use crate::decision::{Allowed, Denied, Retry};
use crate::sync::{Ordering, mutant};
use crate::time::Timestamp;

use super::Slots;
use super::exclusive::Exclusive;
use super::head::{FLAGS, HOLD, SHUT, has_room, in_use, still_has_room};
use super::record::{UNKNOWN, at_latest};

/// A limit as a transaction sees it. The answer is made of it only where somebody reads it.
#[derive(Clone, Copy)]
pub(crate) struct SlotSnapshot {
    head: u64,
    /// When the first lease ended, if there is no room.
    first: u64,
    /// How long leases were.
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

    /// How the slots stand once these are taken.
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
        // Relaxed: written under this lock, but for `UNKNOWN`.
        let first = self.rare.first.load(Ordering::Relaxed);
        let (cap, lease) = (self.slots.cap(), self.slots.terms.lease());
        SlotSnapshot { head: self.open(), first, lease, cap, units, refusal }
    }
}

impl Slots {
    /// What `take` would say.
    #[inline]
    pub(crate) fn look(&self, units: u32, now: Timestamp, turn: bool) -> SlotSnapshot {
        match self.snapshot_fast(units, now) {
            Some(look) => look,
            None => self.exclusive_for(turn).look(units, now),
        }
    }

    /// The same, if there is room, or if a refusal needs nothing to be found out, and nobody waits in
    /// line.
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

    /// Whether the answer still holds. A thread that has shut the slots changes nothing before it opens
    /// them.
    pub(crate) fn is_valid(&self, look: &SlotSnapshot) -> bool {
        // A slot that was given back and taken leaves the head as it was, and another first end.
        let is_first =
            look.agrees() || self.first_end() == look.first || mutant("first_unconfirmed");
        is_first && self.load() & !SHUT == look.head
    }

    /// Keeps others from taking, if nothing came between. Then `release` must follow.
    #[inline]
    pub(crate) fn hold(&self, look: &SlotSnapshot) -> bool {
        self.swap(look.head, look.head | HOLD).is_ok()
    }

    /// Lets others take again, after the slots were taken, if they were.
    #[inline]
    pub(crate) fn release(&self, look: &SlotSnapshot, is_taken: bool) {
        let units = if is_taken { u64::from(look.units) } else { 0 };
        if mutant("release_by_store") {
            let head = self.load();
            self.head.store((head & !HOLD) - units, Ordering::Release);
            return;
        }
        // Release: whoever takes next sees the transaction done. One addition, since others may
        // have given back meanwhile.
        self.head.fetch_sub(units + HOLD, Ordering::AcqRel);
    }

    /// Takes the slots, and says as what they were then seen: others may have taken and given back
    /// meanwhile. `None`: there is no room any more, or something else came between.
    #[inline]
    pub(crate) fn commit(&self, look: &SlotSnapshot) -> Option<SlotSnapshot> {
        let mut head = look.head;
        if mutant("commit_by_store") {
            self.head.store(head - u64::from(look.units), Ordering::Release);
            return Some(*look);
        }
        loop {
            match self.swap(head, head - u64::from(look.units)) {
                Ok(_) if mutant("answer_of_before") => return Some(*look),
                Ok(_) => return Some(SlotSnapshot { head, ..*look }),
                // Lost the compare-and-swap. Others are held, so go on without waiting.
                Err(seen) if still_has_room(head, seen, look.units, FLAGS) => head = seen,
                Err(_) => return None,
            }
        }
    }
}
