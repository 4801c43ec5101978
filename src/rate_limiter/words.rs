//! Keys whose states are words, and a second table for the few keys that leave the first.
//!
//! All words of a table share one range of timestamps, which follows the clock. A key that is
//! charged beyond that range moves to a second table, whose range follows such timestamps: so they
//! neither keep other keys from refilling nor become the start of a group's unknown keys.

use crate::algorithm::Refill;
use crate::cells::{Ask, Cells, Charge, Overflow, Queued, Taken};
use crate::decision::{Allowed, Denied};
use crate::quota::Quota;
use crate::records::States;
use crate::sync::{AtomicU64, OnceLock, Ordering};
use crate::time::{Clock, Timestamp};

/// The number of keys that may leave. Further keys are treated as new keys without room.
const FAR_KEYS: usize = 1024;

pub(crate) struct Words {
    pub(crate) cells: Cells,
    far: OnceLock<Box<Cells>>,
    /// The number of keys that have left.
    left: AtomicU64,
    /// The latest timestamp beyond the range of the first table, in nanoseconds.
    far_latest: AtomicU64,
    clock: Clock,
}

impl Words {
    pub(super) fn new(
        quota: Quota,
        refill: Refill,
        max_keys: usize,
        overflow: Overflow,
        clock: Clock,
    ) -> Words {
        Words {
            cells: Cells::new(quota, refill, max_keys, overflow),
            far: OnceLock::new(),
            left: AtomicU64::new(0),
            far_latest: AtomicU64::new(0),
            clock,
        }
    }

    /// The table that decides the key at `now`. `cost`: units that the key may be charged.
    #[inline]
    pub(crate) fn place(&self, tag: u64, cost: u64, now: Timestamp) -> &Cells {
        if self.far.get().is_none() && self.cells.reaches(now) {
            return &self.cells;
        }
        self.place_apart(tag, cost, now)
    }

    #[cold]
    fn place_apart(&self, tag: u64, cost: u64, now: Timestamp) -> &Cells {
        let is_beyond = !self.cells.reaches(now) && !self.cells.reach(now, self.clock.latest());
        if !is_beyond {
            return self
                .far
                .get()
                .filter(|_| self.cells.has_left(tag))
                .map_or(&self.cells, |far| far);
        }
        let far = self.far.get().unwrap_or_else(|| {
            let make = || Box::new(self.cells.apart(FAR_KEYS, now));
            self.cells.unchanged(|| self.far.get_or_init(make))
        });
        // Relaxed: pairs with the load in `set_quota`, which converts debts as of the stamp it
        // reads. Any of the stamps that came before will do.
        self.far_latest.fetch_max(now.as_nanos(), Ordering::Relaxed);
        far.reach(now, now);
        let is_charged = (1..=self.cells.quota().burst_size()).contains(&cost);
        // A peek or a denial answers the same for an idle key as for an absent one, so an idle key
        // leaves only to be charged.
        if (is_charged || self.cells.owes(tag, now)) && !self.cells.has_left(tag) {
            self.leave(tag, now, far);
        }
        far
    }

    /// Moves the key to `far`, unless it has left already or too many have.
    fn leave(&self, tag: u64, now: Timestamp, far: &Cells) {
        // Relaxed: a counter; no other data depends on it.
        let is_room = self.left.fetch_add(1, Ordering::Relaxed) < FAR_KEYS as u64;
        if !is_room || !self.cells.leave_for(far, tag, now) {
            self.left.fetch_sub(1, Ordering::Relaxed);
        }
        // The key's waiters come first in the far table too.
        far.set_queued(tag, self.cells.queued().ahead(tag));
    }

    /// The existing tables.
    fn tables(&self) -> impl Iterator<Item = &Cells> {
        [&self.cells].into_iter().chain(self.far.get().map(|far| &**far))
    }
}

impl States for Words {
    fn take(&self, tag: u64, ahead: u64, ask: Ask, now: Timestamp) -> Result<Taken, Denied> {
        self.place(tag, ask.least, now).take(tag, ahead, ask, now)
    }

    fn peek_behind(
        &self,
        tag: u64,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        self.place(tag, 0, now).peek_behind(tag, ahead, cost, now)
    }

    fn len(&self, now: Timestamp) -> usize {
        // The first table also counts the keys that have left it.
        self.cells.len(now)
    }

    fn memory(&self) -> usize {
        self.tables().map(Cells::memory).sum()
    }

    fn overflows(&self) -> u64 {
        self.tables().map(Cells::overflows).sum()
    }

    fn quota(&self) -> Quota {
        self.cells.quota()
    }

    fn queued(&self) -> &Queued {
        self.cells.queued()
    }

    fn set_queued(&self, tag: u64, units: u64) {
        // In both tables: a key may leave while callers wait for it.
        self.tables().for_each(|cells| cells.set_queued(tag, units));
    }

    fn set_quota(&self, quota: Quota, now: Timestamp) {
        self.cells.set_quota(quota, now);
        // Load `far` after the change: a table created meanwhile has the old or the new quota, and
        // gets the new one here.
        if let Some(far) = self.far.get() {
            let latest = Timestamp::from_nanos(self.far_latest.load(Ordering::Relaxed));
            far.set_quota(quota, now.max(latest));
        }
    }

    fn reset(&self, tag: u64, now: Timestamp) {
        // After the reset, the first table decides the key again.
        if self.cells.reset(tag, now) {
            // Relaxed: a counter; no other data depends on it.
            self.left.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(far) = self.far.get() {
            far.reset(tag, now);
        }
    }

    fn reset_all(&self, now: Timestamp) {
        // Relaxed: a counter; no other data depends on it.
        self.left.fetch_sub(self.cells.reset_all(now), Ordering::Relaxed);
        if let Some(far) = self.far.get() {
            far.reset_all(now);
        }
    }

    fn settle(&self, charge: &Charge, cost: u64) {
        // A table returns `false` for a key that has left it.
        for cells in self.tables() {
            if cells.settle(charge, cost, &self.clock) {
                return;
            }
        }
    }
}
