//! Waiting for slots of one room.

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
    /// Until the wait begins, as if it began at 0.
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
                // What a heavier waiter waited for is several slots: later than the next in line.
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
            // It came free this moment, and is somebody else's.
            Ok(allowed) => Denied::just_now(allowed),
        }
    }

    fn serve_others(&self) {
        self.semaphore.serve_queued();
    }
}
