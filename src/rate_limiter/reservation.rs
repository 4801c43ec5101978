//! [`Reservation`]: a charge that its holder can correct later.
//!
//! The charge is made in `cells` or `records`; this file only keeps what is needed to settle it.

use std::time::Duration;

use crate::cells::Taken;
use crate::decision::Allowed;
use crate::time::Timestamp;

use super::lines::Rate;

/// A charge that can still be corrected, from [`reserve`](crate::RateLimiter::reserve),
/// [`book`](crate::RateLimiter::book) or [`grant_up_to`](crate::RateLimiter::grant_up_to). Dropping
/// it keeps the charge.
#[must_use = "without `settle` or `cancel` the charge stays as reserved"]
pub struct Reservation<'a> {
    pub(super) rate: &'a Rate,
    pub(super) taken: Taken,
}

impl Reservation<'_> {
    /// Changes the charge to `cost`. A cost above the reservation adds debt, whatever the burst.
    ///
    /// Units that time has already given back are not given back again. Let `t0` be the time of the
    /// charge and `t1` the latest time that the limiter's clock has shown: with GCRA, of `c` units too
    /// many, at most `c - (t1 - t0) * count / period` are given back. Timestamps that the caller
    /// supplies ([`check_at`](crate::RateLimiter::check_at)) must not be ahead of `t1`.
    pub fn settle(self, cost: u64) {
        self.rate.settle(&self.taken.charge, cost);
    }

    /// Gives the charge back: [`settle`](Self::settle) at 0.
    pub fn cancel(self) {
        self.settle(0);
    }

    /// How long after the call the turn comes: zero unless it was booked ahead.
    pub fn wait(&self) -> Duration {
        self.taken.wait
    }

    /// The moment at which the turn comes.
    pub fn turn(&self) -> Timestamp {
        self.taken.charge.at + self.taken.wait
    }

    /// The answer given when the units were reserved.
    pub fn allowed(&self) -> Allowed {
        self.taken.allowed
    }

    /// The number of units reserved.
    pub fn cost(&self) -> u64 {
        self.taken.charge.cost
    }
}
