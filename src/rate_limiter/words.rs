//! Keys whose states are words, and of those the few that have left for a table apart.
//!
//! One axis serves all words of a table, and it follows the limiter's clock. A key that is charged at
//! a stamp beyond the axis, where the clock has not got, leaves: its word says so for good, and it is
//! decided in a second table, whose axis follows such stamps. So a stamp far ahead stops no other key
//! from refilling, and raises the mark of none when its key is forgotten.

use crate::algorithm::Refill;
use crate::cells::{Ask, Cells, Charge, Overflow, Queued, Taken};
use crate::decision::{Allowed, Denied};
use crate::quota::Quota;
use crate::records::States;
use crate::sync::{AtomicU64, OnceLock, Ordering};
use crate::time::{Clock, Timestamp};

/// As many keys may leave. More of them are newcomers without room.
const FAR_KEYS: usize = 1024;

pub(crate) struct Words {
    pub(crate) cells: Cells,
    far: OnceLock<Box<Cells>>,
    /// How many keys have left.
    left: AtomicU64,
    /// The latest stamp at which one was asked for beyond the axis, in nanoseconds.
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

    /// Where the key is decided at `now`. `cost`: units that it may be charged.
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
        // Relaxed: as of when debts are converted is one of the stamps that came before.
        self.far_latest.fetch_max(now.as_nanos(), Ordering::Relaxed);
        far.reach(now, now);
        let is_charged = (1..=self.cells.quota().burst_size()).contains(&cost);
        // What a peek or a denial sees of an idle key it sees of one that is not there.
        if (is_charged || self.cells.owes(tag, now)) && !self.cells.has_left(tag) {
            self.leave(tag, now, far);
        }
        far
    }

    /// Has the key leave, unless it has or too many have.
    fn leave(&self, tag: u64, now: Timestamp, far: &Cells) {
        // Relaxed: a count.
        let is_room = self.left.fetch_add(1, Ordering::Relaxed) < FAR_KEYS as u64;
        if !is_room || !self.cells.leave_for(far, tag, now) {
            self.left.fetch_sub(1, Ordering::Relaxed);
        }
        // Callers that wait for it come first there, too.
        far.set_queued(tag, self.cells.queued().ahead(tag));
    }

    /// The tables there are.
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
        // Those that have left are counted here.
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
        // Asked after the change: a table made meanwhile has either quota, and then this one.
        if let Some(far) = self.far.get() {
            let latest = Timestamp::from_nanos(self.far_latest.load(Ordering::Relaxed));
            far.set_quota(quota, now.max(latest));
        }
    }

    fn reset(&self, tag: u64, now: Timestamp) {
        // It is decided at home again.
        if self.cells.reset(tag, now) {
            // Relaxed: a count.
            self.left.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(far) = self.far.get() {
            far.reset(tag, now);
        }
    }

    fn reset_all(&self, now: Timestamp) {
        // Relaxed: a count.
        self.left.fetch_sub(self.cells.reset_all(now), Ordering::Relaxed);
        if let Some(far) = self.far.get() {
            far.reset_all(now);
        }
    }

    fn settle(&self, charge: &Charge, cost: u64) {
        // Of a key that has left the first table settles nothing.
        for cells in self.tables() {
            if cells.settle(charge, cost, &self.clock) {
                return;
            }
        }
    }
}
