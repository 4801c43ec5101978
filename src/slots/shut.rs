//! The slots while one thread has them to itself: what is over is taken back, and nothing else
//! changes meanwhile.

use crate::decision::{Allowed, Denied, Retry};
use crate::sync::{Backoff, MutexGuard, Ordering, mutant};
use crate::time::Timestamp;

use super::{CYCLE, FLAGS, HOLD, Held, IN_USE, QUEUE, SHUT, Slots, in_use, is_over};

/// Whether a seeded bug is in with which the two counts never agree.
fn is_miscounted() -> bool {
    const BUGS: [&str; 5] = [
        "add_then_count",
        "claim_by_store",
        "expiry_frees_stranger",
        "release_by_store",
        "reset_keeps_lease",
    ];
    BUGS.into_iter().any(mutant)
}

impl Slots {
    /// Shuts the slots, as soon as no transaction holds them.
    pub(super) fn shut(&self) -> Shut<'_> {
        let guard = self.shut.lock();
        let backoff = Backoff::default();
        let mut head = self.load();
        loop {
            if head & HOLD != 0 {
                backoff.snooze();
                head = self.load();
                continue;
            }
            let new = head | SHUT;
            match self.swap(head, new) {
                Ok(_) => break,
                Err(seen) => head = seen,
            }
        }
        let (in_use, queued) = (in_use(head), head & QUEUE != 0);
        Shut { slots: self, in_use, queued, is_changed: false, first: None, _guard: guard }
    }

    /// As `shut`, to take or look, perhaps as the head of the line.
    pub(super) fn shut_for(&self, turn: bool) -> Shut<'_> {
        let mut shut = self.shut();
        shut.queued &= !turn;
        shut
    }
}

/// The slots while they are shut. Dropping it opens them.
pub(super) struct Shut<'a> {
    pub(super) slots: &'a Slots,
    pub(super) in_use: u32,
    /// Callers wait in line, and this is not their head.
    pub(super) queued: bool,
    /// Leases were ended or the cap changed: what was seen before holds no more.
    pub(super) is_changed: bool,
    /// Once those are waited for who were in between: the first end of a lease, and what it weighs.
    first: Option<(u64, u32)>,
    _guard: MutexGuard<'a, ()>,
}

impl Shut<'_> {
    /// Takes `units` and opens the slots.
    #[cold]
    #[inline(never)]
    pub(super) fn take(mut self, units: u32, now: Timestamp) -> Result<(Held, Allowed), Denied> {
        self.room(units, now)?;
        let slots = self.slots;
        let Some(claim) = slots.claim(units, now) else { return Err(slots.never(self.in_use)) };
        self.in_use += units;
        Ok((claim.live(), slots.allowed(self.in_use)))
    }

    /// Makes room for `units`, by taking back what is over if need be.
    pub(super) fn room(&mut self, units: u32, now: Timestamp) -> Result<(), Denied> {
        let cap = self.slots.cap();
        if units > cap {
            return Err(self.slots.never(self.in_use));
        }
        let may_take = !self.queued || mutant("barge");
        if self.in_use + units > cap || !may_take {
            self.reap(now);
        }
        if self.in_use + units <= cap && may_take {
            return Ok(());
        }
        let needed = (self.in_use + units).saturating_sub(cap).max(1);
        let at_latest = self.freed_by(needed).map(|end| end.since(now));
        let standing = self.slots.standing(self.in_use);
        Err(Denied { standing, retry: Retry::Unknown { at_latest } })
    }

    /// Takes back what is over.
    pub(super) fn reap(&mut self, now: Timestamp) {
        if !mutant("reap_unsettled") && self.settle().0 > now.as_nanos() {
            return;
        }
        self.first = None;
        let (slots, mut expired) = (self.slots, 0);
        slots.records.each_live(|record, live| {
            if is_over(live.end, now) {
                self.in_use = self.in_use.saturating_sub(live.units);
                self.is_changed = true;
                record.free(live.serial);
                expired += 1;
            }
        });
        // Relaxed: a count.
        slots.expired.fetch_add(expired, Ordering::Relaxed);
    }

    /// Waits for those who have swapped the head and not yet freed their record: until the live
    /// records are those that are counted. Then the first end of a lease, and what it weighs.
    pub(super) fn settle(&mut self) -> (u64, u32) {
        if let Some(first) = self.first {
            return first;
        }
        let backoff = Backoff::default();
        loop {
            let (mut units, mut first) = (0_u64, (u64::MAX, 0));
            self.slots.records.each_live(|_, live| {
                units += u64::from(live.units);
                first = first.min((live.end, live.units));
            });
            if units == u64::from(self.in_use) || is_miscounted() {
                self.first = Some(first);
                return first;
            }
            backoff.snooze();
        }
    }

    /// When leases of `units` will be over, by themselves.
    fn freed_by(&mut self, units: u32) -> Option<Timestamp> {
        let first = self.settle();
        let end = if first.1 >= units { first.0 } else { self.freed_by_several(units)? };
        (end < u64::MAX).then(|| Timestamp::from_nanos(end))
    }

    #[cold]
    fn freed_by_several(&self, units: u32) -> Option<u64> {
        let mut ends = Vec::new();
        self.slots.records.each_live(|_, live| ends.push((live.end, live.units)));
        ends.sort_unstable();
        let mut freed = 0_u32;
        let enough = ends.iter().find(|(_, units_of)| {
            freed = freed.saturating_add(*units_of);
            freed >= units
        });
        enough.map(|(end, _)| *end)
    }

    /// Opens the slots, and says what the head then is.
    pub(super) fn open(&self) -> u64 {
        let slots = self.slots;
        let mut head = slots.load();
        loop {
            if head & SHUT == 0 {
                return head;
            }
            // Whoever only looked leaves the head as it was: else those who look at several limits
            // at once would keep one another from ever being sure.
            let changed = self.is_changed && !mutant("same_cycle");
            let cycle = if changed { head.wrapping_add(CYCLE) } else { head };
            let new = head & QUEUE | cycle & !(FLAGS | IN_USE) | u64::from(self.in_use);
            match slots.swap(head, new) {
                Ok(_) => return new,
                Err(seen) => head = seen,
            }
        }
    }
}

impl Drop for Shut<'_> {
    fn drop(&mut self) {
        self.open();
    }
}
