//! The bucket of a quota in ticks: GCRA in its virtual scheduling form (ITU-T I.371).
//!
//! The state is one number: the tick at which the bucket is full again (the theoretical arrival
//! time, TAT). A charge moves the TAT forward, and time catches up with it. All arithmetic is in
//! ticks, in which a unit is a whole number; `ticks` converts them from and to nanoseconds.

use std::time::Duration;

use crate::decision::{Allowed, Denied, Retry, Standing};
use crate::quota::Quota;
use crate::ticks::Scale;

use super::Refill;

/// The latest TAT that a booking may result in, well within what a word can hold.
const MAX_BOOKED: u64 = 1 << 60;

/// A time in ticks. If the time falls between two ticks, a busy period starts at the later one
/// (`ceil`) and time has passed only to the earlier one (`floor`), so rounding never allows more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Nanoseconds since tick 0.
    pub(crate) nanos: u64,
    /// How many nanoseconds the time lies before tick 0. It is decided as if at tick 0.
    pub(crate) early: u64,
    pub(crate) floor: u64,
    pub(crate) ceil: u64,
}

impl Moment {
    /// Nanoseconds until `floor` reaches `tick`; 0 if it has.
    #[inline]
    pub(crate) fn until(&self, tick: u64, scale: &Scale) -> u64 {
        match scale.nanos(tick).saturating_sub(self.nanos) {
            0 => 0,
            wait => wait.saturating_add(self.early),
        }
    }
}

/// The parameters of one quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) scale: Scale,
    pub(crate) burst: u64,
    /// The whole burst in ticks, at most [`MAX_CAPACITY`](crate::ticks::MAX_CAPACITY).
    pub(crate) capacity: u64,
}

/// The step of GCRA, in ticks: decides a charge of at most `capacity` for a key whose bucket is
/// full at `state`. `Ok` is the tick at which the bucket is full after the charge, `Err` the tick
/// at which the charge would be allowed.
///
/// `floor` and `ceil` are the ticks around now, see [`Moment`].
#[inline(always)]
pub(crate) fn step(
    state: u64,
    charge: u64,
    capacity: u64,
    floor: u64,
    ceil: u64,
) -> Result<u64, u64> {
    let room = capacity - charge;
    // No sum wraps: `capacity` is at most 2^60, and `floor` is below 2^62.
    if state <= floor + room { Ok(state.max(ceil) + charge) } else { Err(state - room) }
}

impl Bucket {
    pub(crate) fn new(quota: &Quota, refill: Refill) -> Bucket {
        let step = match refill {
            Refill::Steady => 0,
            Refill::Stepped => quota.period().as_nanos() as u64,
        };
        let scale = Scale { step, ..quota.scale() };
        let burst = quota.burst_size();
        // Never saturates: a quota's constructors refuse what does not fit.
        Bucket { scale, burst, capacity: burst.saturating_mul(scale.unit) }
    }

    pub(crate) fn refill(&self) -> Refill {
        if self.scale.step == 0 { Refill::Steady } else { Refill::Stepped }
    }

    /// The moment `nanos` nanoseconds after tick 0, or `early` nanoseconds before.
    #[inline]
    pub(crate) fn moment(&self, nanos: u64, early: u64) -> Moment {
        let (floor, cut) = self.scale.ticks(nanos);
        Moment { nanos, early, floor, ceil: floor.saturating_add(u64::from(cut)) }
    }

    /// Decides `cost` at `now` for a key whose bucket is full at `tat`, and returns the TAT after
    /// the charge. A cost of 0 is allowed and leaves the TAT as it is.
    // Always inlined, so that a caller that ignores the numbers of the answer does not divide.
    #[inline(always)]
    pub(crate) fn decide(
        &self,
        tat: u64,
        cost: u64,
        now: Moment,
    ) -> Result<(u64, Allowed), Denied> {
        let debt = tat.saturating_sub(now.floor);
        if cost == 0 {
            return Ok((tat, Allowed(self.standing(debt, tat, now))));
        }
        let charge = match cost.checked_mul(self.scale.unit) {
            Some(charge) if charge <= self.capacity => charge,
            _ => return Err(self.denied(debt, tat, Retry::Never, now)),
        };
        match step(tat, charge, self.capacity, now.floor, now.ceil) {
            // The part that was rounded up at the start of a busy period does not remain either.
            Ok(next) => Ok((next, Allowed(self.standing(next - now.floor, next, now)))),
            // The charge is allowed once `floor` reaches `tick`, and at no earlier nanosecond.
            Err(tick) => {
                let wait = Duration::from_nanos(now.until(tick, &self.scale));
                Err(self.denied(debt, tat, Retry::After(wait), now))
            }
        }
    }

    /// `decide` for a caller behind others that wait for `ahead` units.
    pub(crate) fn decide_behind(
        &self,
        tat: u64,
        ahead: u64,
        cost: u64,
        now: Moment,
    ) -> Result<(u64, Allowed), Denied> {
        if ahead == 0 || cost == 0 {
            return self.decide(tat, cost, now);
        }
        let debt = tat.saturating_sub(now.floor);
        let Some(charge) = self.charge(cost) else {
            return Err(self.denied(debt, tat, Retry::Never, now));
        };
        // The bucket is never full while the others wait, so each charge starts at the TAT that the
        // previous one left.
        let others = ahead.saturating_mul(self.scale.unit);
        let after = tat.max(now.ceil).saturating_add(others);
        let wait =
            now.until(after.saturating_add(charge).saturating_sub(self.capacity), &self.scale);
        Err(self.denied(debt, tat, Retry::After(Duration::from_nanos(wait.max(1))), now))
    }

    /// Charges `cost` now for a turn that comes within `max_wait`. Returns the TAT after the charge
    /// and the wait until the turn. Until then the bucket may owe more than its burst.
    pub(crate) fn book(
        &self,
        tat: u64,
        cost: u64,
        now: Moment,
        max_wait: Duration,
    ) -> Result<(u64, Duration, Allowed), Denied> {
        match self.decide(tat, cost, now) {
            Ok((next, allowed)) => Ok((next, Duration::ZERO, allowed)),
            Err(denied) => match (denied.retry, self.charge(cost)) {
                (Retry::After(wait), Some(charge)) if wait <= max_wait => {
                    // Never wraps: a TAT and a charge are both below 2^62.
                    let next = tat.max(now.ceil) + charge;
                    if next > MAX_BOOKED {
                        return Err(denied);
                    }
                    let owed = next.saturating_sub(now.floor);
                    Ok((next, wait, Allowed(self.standing(owed, next, now))))
                }
                _ => Err(denied),
            },
        }
    }

    /// The ticks of `cost`; `None` if `cost` is above the burst.
    fn charge(&self, cost: u64) -> Option<u64> {
        cost.checked_mul(self.scale.unit).filter(|charge| *charge <= self.capacity)
    }

    /// Whether `tat` decides as a key never seen does, now and later.
    #[inline]
    pub(crate) fn is_idle(tat: u64, now: Moment) -> bool {
        tat < now.floor
    }

    #[inline(always)]
    fn standing(&self, owed: u64, tat: u64, now: Moment) -> Standing {
        Standing {
            capacity: self.capacity,
            room: self.capacity.saturating_sub(owed),
            unit: self.scale.unit,
            reset: now.until(tat, &self.scale),
            per_nano: 1,
        }
    }

    #[inline(always)]
    fn denied(&self, owed: u64, tat: u64, retry: Retry, now: Moment) -> Denied {
        Denied { standing: self.standing(owed, tat, now), retry }
    }
}
