//! Exclusive access to the slots of a limit: one thread shuts the head under a lock, takes back the
//! slots of leases that are over, and opens the head again. The search for the first end is in
//! `ends`.

use crate::decision::{Denied, Retry};
use crate::sync::{Backoff, MutexGuard, Ordering};
use crate::time::Timestamp;

use super::Slots;
use super::ends::FirstEnd;
use super::head::{CYCLE, FLAGS, HOLD, NO_ROOM, QUEUE, ROOM, SHUT, room};
use super::rare::{Ends, Rare};
use super::record::{Held, NEVER, at_latest, is_over};

impl Slots {
    /// Gets exclusive access, as soon as no transaction holds the slots.
    pub(super) fn exclusive(&self) -> Exclusive<'_> {
        let rare = self.records.rare();
        let ends = rare.ends.lock();
        let backoff = Backoff::default();
        let mut head = self.load();
        loop {
            if head & HOLD != 0 {
                backoff.snooze();
                head = self.load();
                continue;
            }
            match self.swap(head, head | SHUT) {
                Ok(_) => break,
                Err(seen) => head = seen,
            }
        }
        let (room, queued) = (room(head), head & QUEUE != 0);
        Exclusive { slots: self, room, queued, is_changed: false, rare, ends }
    }

    /// As `exclusive`, to take slots or a snapshot. `turn`: the caller is the head of the line.
    pub(super) fn exclusive_for(&self, turn: bool) -> Exclusive<'_> {
        let mut exclusive = self.exclusive();
        exclusive.queued &= !turn;
        exclusive
    }
}

/// Exclusive access to the slots. Dropping it opens the slots.
pub(super) struct Exclusive<'a> {
    pub(super) slots: &'a Slots,
    /// The number of free slots; can be below 0.
    pub(super) room: i64,
    /// Callers wait in line, and this caller is not their head.
    pub(super) queued: bool,
    /// Leases were ended, or the cap or the first end changed: earlier snapshots are not valid.
    pub(super) is_changed: bool,
    pub(super) rare: &'a Rare,
    ends: MutexGuard<'a, Ends>,
}

impl Exclusive<'_> {
    pub(super) fn in_use(&self) -> u32 {
        u32::try_from(i64::from(self.slots.cap()) - self.room).unwrap_or(0)
    }

    /// Takes `units` and opens the slots.
    #[cold]
    #[inline(never)]
    pub(super) fn take(mut self, units: u32, now: Timestamp) -> Result<Held, Denied> {
        self.make_room(units, now)?;
        let slots = self.slots;
        let Some(claim) = slots.claim(units, now) else { return Err(slots.never(self.in_use())) };
        self.room -= i64::from(units);
        Ok(claim.live())
    }

    /// Makes room for `units`. If needed, takes back the slots of leases that are over.
    pub(super) fn make_room(&mut self, units: u32, now: Timestamp) -> Result<(), Denied> {
        let slots = self.slots;
        if units > slots.cap() {
            return Err(slots.never(self.in_use()));
        }
        let may_take = !self.queued;
        if self.room >= i64::from(units) && may_take {
            return Ok(());
        }
        let first = self.reap(now);
        if self.room >= i64::from(units) && may_take {
            return Ok(());
        }
        let needed = (i64::from(units) - self.room).max(1);
        self.publish(&first);
        let end = match first {
            Some((_, live)) if i64::from(live.units) >= needed => live.end,
            _ => self.freed_by_several(needed),
        };
        let standing = Slots::standing(self.in_use(), slots.cap(), slots.terms.lease());
        Err(Denied { standing, retry: Retry::Unknown { at_latest: at_latest(end, now) } })
    }

    /// Takes back the slots of leases that are over. Returns the lease that ends first of the
    /// others.
    pub(super) fn reap(&mut self, now: Timestamp) -> Option<FirstEnd> {
        let slots = self.slots;
        loop {
            let (index, live) = self.ends.first(&slots.records)?;
            if !is_over(live.end, now) {
                return Some((index, live));
            }
            let record = slots.records.get(index)?;
            if record.end_lease(live.serial) {
                slots.forget_first(index);
                self.room += i64::from(live.units);
                self.is_changed = true;
                // Relaxed: a counter that orders nothing else.
                self.rare.expired.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Stores the first end beside the head, for the refusals that follow.
    fn publish(&mut self, first: &Option<FirstEnd>) {
        let (index, end) = first.as_ref().map_or((u32::MAX, NEVER), |(at, live)| (*at, live.end));
        // Relaxed: written only under the lock that is held here, except for `UNKNOWN`.
        if self.rare.first.load(Ordering::Relaxed) != end {
            self.rare.first_at.store(index, Ordering::Relaxed);
            // Release: pairs with the Acquire in `first_end`. A thread that reads this end and then
            // the head sees that the slots are shut, or the cycle that follows.
            self.rare.first.store(end, Ordering::Release);
            // A taker that has loaded the head may be about to take for a lease that ends sooner,
            // and a giver to give back this lease. Their swaps must fail, so the cycle changes.
            self.is_changed = true;
        }
    }

    /// The time at which enough leases are over to free `units`; `NEVER` if they do not free so
    /// many.
    #[cold]
    fn freed_by_several(&self, units: i64) -> u64 {
        let mut ends = Vec::new();
        self.slots.records.each_live(|_, live| {
            ends.push((live.end, live.units));
            true
        });
        ends.sort_unstable();
        let mut freed = 0;
        let enough = ends.iter().find(|(_, units_of)| {
            freed += i64::from(*units_of);
            freed >= units
        });
        enough.map_or(NEVER, |(end, _)| *end)
    }

    /// Opens the slots, and returns the head that results.
    pub(super) fn open(&self) -> u64 {
        let slots = self.slots;
        let mut head = slots.load();
        loop {
            if head & SHUT == 0 {
                return head;
            }
            // A thread that only took a snapshot leaves the cycle unchanged. Otherwise transactions
            // on the same limits would invalidate each other's snapshots forever.
            let changed = self.is_changed;
            let cycle = if changed { head.wrapping_add(CYCLE) } else { head };
            // `room` is between -2^24 and 2^24.
            let room = NO_ROOM.wrapping_add_signed(self.room) & ROOM;
            let new = head & QUEUE | cycle & !(FLAGS | ROOM) | room;
            match slots.swap(head, new) {
                Ok(_) => return new,
                Err(seen) => head = seen,
            }
        }
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        self.open();
    }
}
