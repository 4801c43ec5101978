//! Charges that are corrected later.

use crate::decision::{Allowed, Denied};
use crate::ticks::Scale;
use crate::time::{Clock, Timestamp};

use super::look::Look;
use super::numbers::Numbers;
use super::word::MAX_TICK;
use super::{Cells, Seat, Step};

/// A charge that can be settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    pub(crate) tag: u64,
    pub(crate) cost: u64,
    pub(crate) at: Timestamp,
    pub(super) seat: Seat,
    pub(super) generation: u64,
}

impl Cells {
    /// As `decide`, and says what `settle` needs to know.
    pub(crate) fn reserve(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<(Charge, Allowed), Denied> {
        let mut look = Look::blank();
        self.look(tag, cost, now, &mut look);
        loop {
            // A cost of 0 is a peek: no key.
            if cost > 0 && look.answer.is_ok() && look.needs_seat() {
                let Some(seated) = self.seat(tag, cost, now, |_| false) else {
                    self.look(tag, cost, now, &mut look);
                    continue;
                };
                look = seated;
            }
            match look.answer {
                Ok(allowed) if look.commit(self, tag) => {
                    self.count_seat(&look);
                    return Ok((look.charge(tag, cost, now), allowed));
                }
                Err(denied) if look.stands(self, tag) => {
                    self.count_seat(&look);
                    return Err(denied);
                }
                _ => self.look(tag, cost, now, &mut look),
            }
        }
    }

    /// Makes a charge what it should have been. What time has already given back is not given
    /// back again: of `c` units charged at `t0` at most `c - (t1 - t0) / interval` return at `t1`,
    /// the interval being the shortest in force since.
    pub(crate) fn settle(&self, charge: &Charge, cost: u64, clock: &Clock) {
        if charge.seat == Seat::Uncounted || cost == charge.cost {
            return;
        }
        // The clock is read after the state: an earlier reading would give back too much, and so
        // would a clock that was set back.
        let settled = self.run(
            charge.seat,
            charge.tag,
            || clock.latest(),
            |tat, numbers, moment| {
                let unit = numbers.gcra.scale.unit;
                let next = match cost.checked_sub(charge.cost) {
                    Some(more) => {
                        let more = u64::try_from(u128::from(more) * u128::from(unit));
                        tat.max(moment.ceil).saturating_add(more.unwrap_or(MAX_TICK)).min(MAX_TICK)
                    }
                    None => {
                        let now = numbers.stamp_of(moment);
                        tat.saturating_sub(self.refund(charge, charge.cost - cost, numbers, now))
                    }
                };
                if next == tat { Step::Stay(()) } else { Step::Move(next, ()) }
            },
        );
        if settled.is_err() {
            // A debt for which there is no room.
            self.count_overflow();
        }
    }

    /// Ticks of `units` charged then that time has not given back until `now`, rounded down.
    fn refund(&self, charge: &Charge, units: u64, numbers: &Numbers, now: u64) -> u64 {
        let elapsed = now.saturating_sub(charge.at.as_nanos());
        let Scale { unit, .. } = numbers.gcra.scale;
        let ticks = if charge.generation == numbers.generation {
            let (ticks, cut) = numbers.gcra.scale.ticks(elapsed);
            u128::from(ticks) + u128::from(cut)
        } else {
            let Some(quota) = self.changes.lock().fastest_since(charge.generation) else {
                return 0;
            };
            let per = quota.period().as_nanos();
            let given = u128::from(elapsed) * u128::from(quota.count());
            // No overflow: what is left of a period is below 2^64, a unit at most 2^60.
            let part = (given % per * u128::from(unit)).div_ceil(per);
            (given / per).saturating_mul(u128::from(unit)).saturating_add(part)
        };
        let charged = u128::from(units) * u128::from(unit);
        u64::try_from(charged.saturating_sub(ticks)).unwrap_or(MAX_TICK)
    }
}
