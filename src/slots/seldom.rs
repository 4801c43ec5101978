//! Rare operations on slots: taking without room, and renewing, resizing, resetting and counting
//! leases. Taking and giving back are in `slots`.

use crate::sync::Ordering;
use crate::time::Timestamp;

use super::head::{FLAGS, ROOM, SHUT};
use super::rare::Rare;
use super::record::{Held, UNKNOWN, is_over};
use super::{MAX_SLOTS, Slots};

/// The slots and leases of a limit at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) cap: u32,
    /// Slots held by leases that are not over.
    pub(crate) in_use: u32,
    /// Slots held by leases that are over and whose slots are not taken back yet.
    pub(crate) overdue: u32,
    /// Leases that ran out, including those in `overdue`.
    pub(crate) expired: u64,
    /// Leases given back too late, or after a reset.
    pub(crate) late: u64,
}

impl Slots {
    /// Takes `units` even if there is no room or callers wait, for limits that only count. Returns
    /// `None` if more than [`MAX_SLOTS`] would be in use.
    pub(crate) fn take_anyway(&self, units: u32, now: Timestamp) -> Option<Held> {
        let mut exclusive = self.exclusive();
        if exclusive.in_use().saturating_add(units) > MAX_SLOTS {
            exclusive.reap(now);
        }
        if exclusive.in_use().saturating_add(units) > MAX_SLOTS {
            return None;
        }
        let claim = self.claim(units, now)?;
        exclusive.room -= i64::from(units);
        Some(claim.live())
    }

    /// Begins the lease anew at `now`, if it is not over. The end never becomes earlier, because
    /// waiters that wait for it would not notice.
    pub(crate) fn renew(&self, held: &Held, now: Timestamp) -> bool {
        let exclusive = self.exclusive();
        let live = self.records.get(held.index).filter(|record| record.is_live(held));
        let renewed = match live {
            Some(record) if !is_over(record.end.load(Ordering::Relaxed), now) => {
                // Relaxed: the search for the first end reads it under the lock that is held here.
                // Any other reader may see either end.
                record.end.fetch_max(self.terms.end(now), Ordering::Relaxed);
                self.forget_first(held.index);
                true
            }
            _ => false,
        };
        drop(exclusive);
        renewed
    }

    /// When the lease is over; `None` if its slots were taken back or the slots were reset.
    pub(crate) fn end_of(&self, held: &Held) -> Option<Timestamp> {
        let record = self.records.get(held.index)?;
        loop {
            let head = self.load();
            if head & SHUT != 0 {
                // A reset ends all leases at the same moment, so wait until the reset is done.
                drop(self.records.rare().ends.lock());
                continue;
            }
            // Acquire: pairs with the fence in `LeaseRecord::claim`. If this is the end of a later
            // lease, `is_live` returns false. The second load of the head also comes after this
            // load.
            let end = record.end.load(Ordering::Acquire);
            let live = record.is_live(held);
            let unmoved = (self.load() ^ head) & !(FLAGS | ROOM) == 0;
            if unmoved {
                return live.then(|| Timestamp::from_nanos(end));
            }
        }
    }

    /// Changes the number of slots. Current leases keep their slots.
    pub(crate) fn resize(&self, cap: u32) {
        let cap = cap.min(MAX_SLOTS);
        let mut exclusive = self.exclusive();
        exclusive.room += i64::from(cap) - i64::from(self.cap());
        exclusive.is_changed = true;
        // Release: pairs with the Acquire in `first_if_full`, which then sees that the slots are
        // shut.
        self.cap.store(cap, Ordering::Release);
    }

    /// Ends all leases. Giving such a lease back later is only counted.
    pub(crate) fn reset(&self, now: Timestamp) {
        let mut exclusive = self.exclusive();
        exclusive.reap(now);
        self.records.each_live(|record, live| record.end_lease(live.serial));
        exclusive.room = self.cap().into();
        exclusive.is_changed = true;
        // Relaxed: published when the slots are opened.
        exclusive.rare.first.store(UNKNOWN, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, now: Timestamp) -> Count {
        let exclusive = self.exclusive();
        let (mut overdue, mut leases) = (0, 0);
        self.records.each_live(|_, live| {
            if is_over(live.end, now) {
                overdue += live.units;
                leases += 1;
            }
            true
        });
        let (expired, late) = self.past();
        Count {
            cap: self.cap(),
            in_use: exclusive.in_use().saturating_sub(overdue),
            overdue,
            expired: expired + leases,
            late,
        }
    }

    /// The number of leases that ran out, and the number of leases given back late, so far.
    pub(crate) fn past(&self) -> (u64, u64) {
        // Relaxed: counters that order nothing else.
        self.records.known_rare().map_or((0, 0), |rare| {
            (rare.expired.load(Ordering::Relaxed), rare.late.load(Ordering::Relaxed))
        })
    }

    /// The number of leases that ran out and were not logged yet. Marks them as logged.
    pub(crate) fn unlogged_expired(&self) -> u64 {
        let Some(rare) = self.records.known_rare() else { return 0 };
        // Relaxed: counters. Concurrent callers get disjoint counts.
        let expired = rare.expired.load(Ordering::Relaxed);
        if rare.told.load(Ordering::Relaxed) >= expired {
            return 0;
        }
        expired.saturating_sub(rare.told.fetch_max(expired, Ordering::Relaxed))
    }

    /// Bytes allocated, excluding `self`.
    pub(crate) fn memory(&self) -> usize {
        self.records.known_rare().map_or(0, Rare::memory)
    }
}
