//! Charging a key so that [`settle`](Cells::settle) can correct the charge later, including keys
//! that are counted in the pool or nowhere.

use std::time::Duration;

use crate::algorithm::Moment;
use crate::decision::{Allowed, Denied, Retry};
use crate::time::Timestamp;

use super::parameters::Parameters;
use super::pool::Full;
use super::settle::Charge;
use super::{Cells, ChargedTo, Overflow, Step};

/// A request for units of a key: as many as there are, between `least` and `most`.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    /// If fewer are available, the answer is the denial of this many.
    pub(crate) least: u64,
    pub(crate) most: u64,
    /// How long the caller may wait for its turn. Only words can owe units that are not there yet.
    pub(crate) within: Duration,
}

/// What a key was charged, how long until the caller's turn, and the standing of the key then.
#[derive(Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) charge: Charge,
    pub(crate) wait: Duration,
    pub(crate) allowed: Allowed,
}

impl Ask {
    /// All of `cost`, or nothing.
    pub(crate) fn all(cost: u64) -> Ask {
        Ask { least: cost, most: cost, within: Duration::ZERO }
    }

    /// At least one of `most`, and as many as there are.
    pub(crate) fn up_to(most: u64) -> Ask {
        Ask { least: most.min(1), ..Ask::all(most) }
    }

    /// Whether the cost is fixed, however many units are available.
    pub(crate) fn is_all(&self) -> bool {
        self.least == self.most
    }

    /// How many units to charge behind `ahead` units of the key's line. `left` says how many
    /// remain.
    pub(crate) fn units(&self, ahead: u64, left: impl FnOnce() -> Result<Allowed, Denied>) -> u64 {
        if self.is_all() || ahead > 0 {
            return self.least;
        }
        left().map_or(0, |left| left.remaining()).clamp(self.least, self.most)
    }
}

impl Cells {
    /// Decides `ask` for the key behind `ahead` units of its line, and charges what is allowed,
    /// wherever the key is counted: in a slot of its own, else in the pool, else nowhere.
    pub(crate) fn take(
        &self,
        tag: u64,
        ahead: u64,
        ask: Ask,
        now: Timestamp,
    ) -> Result<Taken, Denied> {
        let at = |charged_to| {
            move |tat, params: &Parameters, moment: Moment| {
                let bucket = &params.bucket;
                let left = || bucket.decide(tat, 0, moment).map(|(_, left)| left);
                let cost = ask.units(ahead, left);
                let decided = match ahead {
                    0 => bucket.book(tat, cost, moment, ask.within),
                    // Nothing is booked ahead of the waiters.
                    _ => {
                        let decided = bucket.decide_behind(tat, ahead, cost, moment);
                        decided.map(|(next, allowed)| (next, Duration::ZERO, allowed))
                    }
                };
                let (next, wait, allowed) = match decided {
                    Ok(decided) => decided,
                    Err(denied) => return Step::Stay(Err(denied)),
                };
                let charge =
                    Charge { tag, cost, at: now, charged_to, generation: params.generation };
                let taken = Ok(Taken { charge, wait, allowed });
                // A cost of 0 is a peek.
                if cost == 0 { Step::Stay(taken) } else { Step::Move(next, taken) }
            }
        };
        let Full { until } = match self.run(ChargedTo::Own, tag, now, at(ChargedTo::Own)) {
            Ok(taken) => {
                // The denial may be due to the pool's debt.
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
            if let Ok(taken) = self.run(ChargedTo::Pool, tag, now, at(ChargedTo::Pool)) {
                return taken;
            }
        }
        let cost = ask.most.min(self.quota().burst_size()).max(ask.least);
        let allowed = self.not_inserted(cost, now, &Full { until })?;
        let charge = Charge { tag, cost, at: now, charged_to: ChargedTo::Uncounted, generation: 0 };
        Ok(Taken { charge, wait: Duration::ZERO, allowed })
    }
}
