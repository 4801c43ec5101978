//! Verbs that charge a key and say what [`settle`](Cells::settle) needs to know.

use std::time::Duration;

use crate::algorithm::Moment;
use crate::decision::{Allowed, Denied, Retry};
use crate::time::Timestamp;

use super::numbers::Numbers;
use super::pool::Full;
use super::settle::Charge;
use super::{Cells, Overflow, Seat, Step};

/// What a verb makes of a state: the next one, what that costs, and an answer.
type Taken<R> = Result<(u64, u64, R), Denied>;

impl Cells {
    /// As `decide`, behind `ahead` units of the key's line.
    pub(crate) fn reserve(
        &self,
        tag: u64,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<(Charge, Allowed), Denied> {
        let reserve = |tat, numbers: &Numbers, moment| {
            let decided = numbers.bucket.decide_behind(tat, ahead, cost, moment);
            decided.map(|(next, allowed)| (next, cost, allowed))
        };
        self.take(tag, cost, now, |allowed| allowed, reserve)
    }

    /// Charges as much as is there, of at most `up_to` units.
    pub(crate) fn grant(
        &self,
        tag: u64,
        up_to: u64,
        now: Timestamp,
    ) -> Result<(Charge, Allowed), Denied> {
        let ahead = self.queued.ahead(tag);
        let grant = |tat, numbers: &Numbers, moment| {
            // Where nothing is left, the caller gets the denial of one unit.
            let left = numbers.bucket.decide(tat, 0, moment);
            let left = left.map_or(0, |(_, left)| left.remaining()).max(1);
            let cost = if ahead > 0 { 1 } else { left }.min(up_to);
            let decided = numbers.bucket.decide_behind(tat, ahead, cost, moment);
            decided.map(|(next, allowed)| (next, cost, allowed))
        };
        let most = up_to.min(self.quota().burst_size());
        self.take(tag, most, now, |allowed| allowed, grant)
    }

    /// Charges `cost` for a turn that comes within `max_wait`, and says after how long.
    pub(crate) fn book(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
        max_wait: Duration,
    ) -> Result<(Charge, (Duration, Allowed)), Denied> {
        // Nobody books before those who wait.
        let ahead = self.queued.ahead(tag);
        let book = |tat, numbers: &Numbers, moment| {
            let booked = match ahead {
                0 => numbers.bucket.book(tat, cost, moment, max_wait),
                _ => {
                    let decided = numbers.bucket.decide_behind(tat, ahead, cost, moment);
                    decided.map(|(next, allowed)| (next, Duration::ZERO, allowed))
                }
            };
            booked.map(|(next, wait, allowed)| (next, cost, (wait, allowed)))
        };
        self.take(tag, cost, now, |allowed| (Duration::ZERO, allowed), book)
    }

    /// Runs `step` on the key wherever it is counted: in a slot of its own, or else in the pool, or
    /// nowhere: then of `cost`, and `answer` says what there is no state to make an answer of.
    fn take<R>(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
        answer: impl Fn(Allowed) -> R,
        step: impl Fn(u64, &Numbers, Moment) -> Taken<R>,
    ) -> Result<(Charge, R), Denied> {
        let at = |seat| {
            let step = &step;
            move |tat, numbers: &Numbers, moment| match step(tat, numbers, moment) {
                Err(denied) => Step::Stay(Err(denied)),
                Ok((next, cost, answer)) => {
                    let generation = numbers.generation;
                    let taken = Ok((Charge { tag, cost, at: now, seat, generation }, answer));
                    // A cost of 0 is a peek.
                    if cost == 0 { Step::Stay(taken) } else { Step::Move(next, taken) }
                }
            }
        };
        let Full { until } = match self.run(Seat::Own, tag, now, at(Seat::Own)) {
            Ok(taken) => {
                // Perhaps it is the pool's debt that denies it.
                if let Err(Denied { retry: Retry::After(_), .. }) = &taken {
                    if self.is_pooled(tag, now) {
                        self.count_overflow();
                    }
                }
                return taken;
            }
            Err(full) => full,
        };
        self.count_overflow();
        if self.overflow == Overflow::Pool {
            if let Ok(taken) = self.run(Seat::Pool, tag, now, at(Seat::Pool)) {
                return taken;
            }
        }
        let allowed = self.without_seat(cost, now, &Full { until })?;
        let (seat, generation) = (Seat::Uncounted, 0);
        Ok((Charge { tag, cost, at: now, seat, generation }, answer(allowed)))
    }
}
