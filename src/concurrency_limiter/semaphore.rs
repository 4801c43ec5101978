//! [`Semaphore`]: the slots of one limit or key, and the line of callers that wait for them. The
//! slots themselves are in `crate::slots`, the line in `crate::queue`.

use crate::queue::{self, QueueOwner, WaitLine};
use crate::slots::{Held, Slots, Terms};
use crate::sync::{Arc, OnceLock};
use crate::time::Clock;

use super::Usage;

/// The order of the fields puts what each call touches beside the count of owners in the `Arc`.
#[repr(C)]
pub(crate) struct Semaphore {
    pub(crate) slots: Slots,
    /// Created for the first waiter: most keys have none.
    line: OnceLock<Box<WaitLine>>,
}

impl Semaphore {
    pub(super) fn new(cap: u32, terms: Arc<Terms>) -> Semaphore {
        Semaphore { slots: Slots::new(cap, terms), line: OnceLock::new() }
    }

    #[inline]
    pub(crate) fn clock(&self) -> &Clock {
        &self.slots.terms().clock
    }

    /// Gives back what is held, and serves the line if callers wait.
    #[inline]
    pub(crate) fn give_back(self: &Arc<Self>, held: &Held) {
        if self.give_back_unserved(held) {
            self.serve_now();
        }
    }

    /// Gives back what is held, and returns whether callers wait in line.
    #[inline]
    pub(crate) fn give_back_unserved(&self, held: &Held) -> bool {
        self.slots.give_back(held, self.clock())
    }

    #[cold]
    pub(crate) fn serve_now(self: &Arc<Self>) {
        queue::serve(&**self, self.clock().now());
    }

    /// Serves the line, if callers wait. If a turn comes only because time passes, a thread must
    /// serve the line: on a real clock that is the waiter's task, if it runs, or else the next
    /// caller.
    #[cold]
    pub(crate) fn serve_queued(self: &Arc<Self>) {
        if self.slots.is_queued() {
            queue::serve(&**self, self.clock().now());
        }
    }

    pub(crate) fn resize(self: &Arc<Self>, cap: u32) {
        self.slots.resize(cap);
        queue::serve(&**self, self.clock().now());
    }

    pub(crate) fn reset(self: &Arc<Self>) {
        let now = self.clock().now();
        self.slots.reset(now);
        queue::serve(&**self, now);
    }

    pub(crate) fn usage(&self) -> Usage {
        let count = self.slots.count(self.clock().now());
        Usage {
            cap: count.cap,
            in_use: count.in_use,
            overdue: count.overdue,
            waiting: self.line.get().map_or(0, |line| line.len()),
            expired: count.expired,
            late: count.late,
        }
    }
}

impl QueueOwner for Semaphore {
    fn line(&self) -> &WaitLine {
        self.line.get_or_init(|| {
            let terms = self.slots.terms();
            Box::new(WaitLine::new(terms.clock.clone(), terms.max_waiters()))
        })
    }

    fn set_queued(&self, units: u64) {
        // Only this function changes the flag, under the lock of the line.
        if self.slots.is_queued() != (units > 0) {
            self.slots.set_queued(units > 0);
        }
    }
}
