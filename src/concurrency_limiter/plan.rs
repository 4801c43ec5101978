//! Waiting for slots of one room.

use std::time::Duration;

use crate::decision::Denied;
use crate::queue::{Attempt, Place, Plan};
use crate::sync::Arc;
use crate::time::{Clock, Timestamp};

use super::lease::Lease;
use super::room::Room;

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
