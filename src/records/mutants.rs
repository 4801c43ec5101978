//! Seeded bugs that do not fit a line. No build but a model's runs them: see `sync::mutant`.

use crate::algorithm::Algorithm;
use crate::cells::{Charge, Seat};
use crate::decision::{Allowed, Denied};
use crate::time::Timestamp;

use super::{Ask, Place, Recorded, Records};

impl<A: Algorithm> Records<A> {
    /// Lets go of the lock between deciding and charging: two that race for the last unit both get
    /// it.
    pub(super) fn decide_then_charge(
        &self,
        tag: u64,
        ask: Ask,
        now: Timestamp,
    ) -> Result<(Charge, Allowed), Denied> {
        let cost = match ask {
            Ask::All(cost) => cost,
            Ask::UpTo(most) => {
                let left = self.peek(tag, 0, 0, now).map_or(0, |left| left.remaining());
                left.min(most).max(most.min(1))
            }
        };
        let allowed = self.peek(tag, 0, cost, now)?;
        self.run(tag, |shard| {
            if shard.place(tag)? == Place::New {
                shard.seat(tag, now, &self.room, &|_| false);
            }
            shard.write(tag, Place::Own, now, |algorithm, state, now| {
                algorithm.charge(state, cost, now);
            });
            Some(Ok((Charge::apart(tag, cost, now, Seat::Own), allowed)))
        })
    }
}
