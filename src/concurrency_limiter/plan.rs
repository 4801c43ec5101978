//! [`SlotPlan`]: what the queue runs for a caller that waits for slots of one semaphore. The future
//! and the blocking wait are in `crate::queue`.

use std::time::Duration;

use crate::decision::Denied;
use crate::queue::{Attempt, Plan, QueuePlace};
use crate::sync::Arc;
use crate::time::{Clock, Timestamp};

use super::lease::Lease;
use super::semaphore::Semaphore;

pub(super) struct SlotPlan {
    semaphore: Arc<Semaphore>,
    weight: u32,
    /// Before `begin`: the deadline of a wait that begins at timestamp 0.
    deadline: Timestamp,
}

impl SlotPlan {
    pub(super) fn new(semaphore: Arc<Semaphore>, weight: u32, within: Duration) -> SlotPlan {
        SlotPlan { semaphore, weight: weight.max(1), deadline: Timestamp::ZERO + within }
    }
}

impl Plan for SlotPlan {
    type Granted = Lease;
    type Refusal = Denied;

    fn clock(&self) -> &Clock {
        self.semaphore.clock()
    }

    fn begin(&mut self, now: Timestamp) {
        self.deadline = now + self.deadline.since(Timestamp::ZERO);
    }

    fn attempt(&self, turn: bool, now: Timestamp) -> Attempt<Lease, Denied> {
        match self.semaphore.slots.take(self.weight, now, turn) {
            Ok(held) => {
                // Only for a weight of 1: the retry time of a heavier waiter is when several slots
                // are free, which may be too late for the next waiter in line.
                let tells = turn && self.weight == 1;
                let full_until = if tells { self.semaphore.slots.full_until(now) } else { None };
                Attempt::Granted { granted: Lease::new(self.semaphore.clone(), held), full_until }
            }
            Err(denied) => {
                let (at, deadline) = (self.semaphore.clone(), self.deadline);
                let place = QueuePlace { at, units: self.weight.into(), deadline };
                Attempt::waiting(denied, denied.retry(), place, now)
            }
        }
    }

    fn refusal(&self, now: Timestamp) -> Denied {
        match self.semaphore.slots.look(self.weight, now, false).answer() {
            Err(denied) => denied,
            // The slots became free just now, and belong to another caller's turn.
            Ok(allowed) => Denied::just_now(allowed),
        }
    }

    fn serve_others(&self) {
        self.semaphore.serve_queued();
    }
}
