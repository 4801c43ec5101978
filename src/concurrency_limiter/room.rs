//! A room: the slots of one limit or key, and the line before them.

use std::borrow::Borrow;
use std::time::Duration;

use crate::decision::Denied;
use crate::queue::{self, Attempt, Line, Place, Plan, Turnstile};
use crate::slots::{Held, Slots, Terms};
use crate::sync::{Arc, OnceLock, mutant};
use crate::time::{Clock, Timestamp};

use super::Usage;
use super::lease::Lease;

/// In this order: what each call touches stands beside the count of the room's owners.
#[repr(C)]
pub(crate) struct Room {
    pub(crate) slots: Slots,
    /// Made for the first who waits: most keys see none.
    line: OnceLock<Box<Line>>,
}

impl Room {
    pub(super) fn new(cap: u32, terms: Arc<Terms>) -> Room {
        Room { slots: Slots::new(cap, terms), line: OnceLock::new() }
    }

    #[inline]
    pub(crate) fn clock(&self) -> &Clock {
        &self.slots.terms().clock
    }

    /// Gives back what is held, and lets whoever waits for it have it.
    #[inline]
    pub(crate) fn give_back(self: &Arc<Self>, held: &Held) {
        if self.give_back_unserved(held) {
            self.serve_now();
        }
    }

    /// Gives back what is held, and says whether anybody waits for it.
    #[inline]
    pub(crate) fn give_back_unserved(&self, held: &Held) -> bool {
        self.slots.give_back(held, self.clock())
    }

    #[cold]
    pub(crate) fn serve_now(self: &Arc<Self>) {
        queue::serve(&**self, self.clock().now());
    }

    /// Takes slots of `at` for a caller who does not wait. `own` makes of `at` what the lease keeps: a
    /// refused caller does not count as an owner of the room, and a room that is owned already is not
    /// counted twice.
    #[inline(always)]
    pub(super) fn try_take<R: Borrow<Arc<Room>>>(
        at: R,
        weight: u32,
        own: impl FnOnce(R) -> Arc<Room>,
    ) -> Result<Lease, Denied> {
        let (room, weight) = (at.borrow(), weight.max(1));
        // The rest is apart: it may take the lock and serve the line.
        match room.slots.try_at_once(weight, room.clock()) {
            Some(Ok(held)) => Ok(Lease::new(own(at), held)),
            Some(Err(denied)) => Err(denied),
            None => room.try_take_in_turn(weight),
        }
    }

    #[cold]
    #[inline(never)]
    fn try_take_in_turn(self: &Arc<Self>, weight: u32) -> Result<Lease, Denied> {
        let take = || self.slots.take(weight, self.clock().now(), false);
        let is_queued = self.slots.is_queued();
        let taken = take().or_else(|denied| {
            self.serve_queued();
            // The line that was in the way may have been one of waiters who have their answer.
            let is_over = is_queued && !self.slots.is_queued() && !mutant("denial_kept");
            if is_over { take() } else { Err(denied) }
        });
        taken.map(|held| Lease::new(self.clone(), held))
    }

    /// Serves those who wait, if any. A turn that only time has brought needs somebody to look: on
    /// a real clock that is its waiter's task, if that runs, or else the next caller.
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

impl Turnstile for Room {
    fn line(&self) -> &Line {
        self.line.get_or_init(|| {
            let terms = self.slots.terms();
            Box::new(Line::new(terms.clock.clone(), terms.max_waiters()))
        })
    }

    fn set_queued(&self, units: u64) {
        // Only this changes it, under the lock of the line.
        if self.slots.is_queued() != (units > 0) {
            self.slots.set_queued(units > 0);
        }
    }
}

/// Waiting for slots of one room.
pub(super) struct SlotPlan {
    room: Arc<Room>,
    weight: u32,
    /// Until the wait begins, as if it began at 0.
    deadline: Timestamp,
}

impl SlotPlan {
    pub(super) fn new(room: Arc<Room>, weight: u32, within: Duration) -> SlotPlan {
        SlotPlan { room, weight: weight.max(1), deadline: Timestamp::ZERO + within }
    }
}

impl Plan for SlotPlan {
    type Granted = Lease;
    type Refusal = Denied;

    fn clock(&self) -> &Clock {
        self.room.clock()
    }

    fn begin(&mut self, now: Timestamp) {
        self.deadline = now + self.deadline.since(Timestamp::ZERO);
    }

    fn attempt(&self, turn: bool, now: Timestamp) -> Attempt<Lease, Denied> {
        match self.room.slots.take(self.weight, now, turn) {
            Ok(held) => {
                // What a heavier waiter waited for is several slots: later than the next in line.
                let tells = turn && self.weight == 1;
                let full_until = if tells { self.room.slots.full_until(now) } else { None };
                Attempt::Granted { granted: Lease::new(self.room.clone(), held), full_until }
            }
            Err(denied) => {
                let (at, deadline) = (self.room.clone(), self.deadline);
                let place = Place { at, units: self.weight.into(), deadline };
                Attempt::waiting(denied, denied.retry(), place, now)
            }
        }
    }

    fn refusal(&self, now: Timestamp) -> Denied {
        match self.room.slots.look(self.weight, now, false).answer() {
            Err(denied) => denied,
            // It came free this moment, and is somebody else's.
            Ok(allowed) => Denied::just_now(allowed),
        }
    }

    fn serve_others(&self) {
        self.room.serve_queued();
    }
}
