//! Correcting a charge after it was made. Charges themselves are made in `take` and on the fast
//! path; records settle in `records.rs`.

use crate::algorithm::{Moment, Refill};
use crate::quota::Quota;
use crate::sync::{Backoff, Ordering};
use crate::ticks::Scale;
use crate::time::{Clock, Timestamp};

use super::parameters::Parameters;
use super::word::MAX_TICK;
use super::{Cells, ChargedTo, Step, word};

/// A charge that can be settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    pub(crate) tag: u64,
    pub(crate) cost: u64,
    pub(crate) at: Timestamp,
    pub(crate) charged_to: ChargedTo,
    /// The generation of the quota it was decided under.
    pub(crate) generation: u64,
}

impl Cells {
    /// Corrects a charge to `cost`. Units that time has already given back are not given back
    /// again: of `c` units charged at `t0`, at most `c - (t1 - t0) / interval` return at `t1`,
    /// where the interval is the shortest in force since. Returns `false` if the key has left the
    /// table.
    pub(crate) fn settle(&self, charge: &Charge, cost: u64, clock: &Clock) -> bool {
        if charge.charged_to == ChargedTo::Uncounted || cost == charge.cost {
            return true;
        }
        let backoff = Backoff::default();
        loop {
            let Some((cell, word)) = self.find(charge.charged_to, charge.tag) else {
                match self.settle_absent(charge, cost, clock.latest()) {
                    Some(()) => return true,
                    None => continue,
                }
            };
            if word::is_held(word) {
                backoff.snooze();
                continue;
            }
            let params = self.published.load();
            let Some(tat) = self.state(&cell, word, &params) else { continue };
            if tat > MAX_TICK {
                return false;
            }
            // Before the key is held: a change of quota holds the lock that `fastest` takes, and
            // waits for holds.
            let fastest = match self.fastest(charge, &params) {
                // A step of a slower quota may have given back more than the fastest quota did.
                Fastest::Other(_) if params.bucket.refill() == Refill::Stepped => {
                    Fastest::Forgotten
                }
                fastest => fastest,
            };
            // The clock is read under the hold, while no other thread can change the state. A time
            // read before it is too early if others charged and settled later, and would give back
            // too much.
            if !cell.replace(word, word::held(word)) {
                continue;
            }
            let now = clock.latest();
            let next = (!params.is_beyond(now))
                .then(|| settled(charge, cost, tat, &params, params.moment(now), fastest));
            let next_word =
                next.map_or(word, |next| word::encode(next, cell.tag, params.generation));
            // Release: as in `Cell::replace`.
            cell.word.store(next_word, Ordering::Release);
            if next.is_some() {
                return true;
            }
            self.reach(now, now);
        }
    }

    /// `settle` for a key that has no slot: time has given back all that the key could get back.
    /// `None`: try again.
    fn settle_absent(&self, charge: &Charge, cost: u64, now: Timestamp) -> Option<()> {
        if !self.reaches(now) {
            self.reach(now, now);
        }
        let step = |tat, params: &Parameters, moment| match settled(
            charge,
            cost.max(charge.cost),
            tat,
            params,
            moment,
            Fastest::Present,
        ) {
            next if next == tat => Step::Stay(()),
            next => Step::Move(next, ()),
        };
        if self.run_new(charge.tag, now, &step)?.is_err() {
            // The table is full, so the key keeps no debt.
            self.count_overflow();
        }
        Some(())
    }

    /// The fastest quota in force since the charge.
    fn fastest(&self, charge: &Charge, params: &Parameters) -> Fastest {
        if charge.generation == params.generation {
            return Fastest::Present;
        }
        match self.changes.lock().fastest_since(charge.generation, params.quota) {
            Some(quota) => Fastest::Other(quota),
            None => Fastest::Forgotten,
        }
    }
}

/// The fastest quota in force since a charge.
#[derive(Clone, Copy)]
enum Fastest {
    /// No other quota than the present one.
    Present,
    Other(Quota),
    /// The charge is more changes ago than are remembered.
    Forgotten,
}

/// The state `tat` after the charge became `cost`. Units that time has given back, at the rate of
/// `fastest`, are not given back again.
fn settled(
    charge: &Charge,
    cost: u64,
    tat: u64,
    params: &Parameters,
    moment: Moment,
    fastest: Fastest,
) -> u64 {
    let unit = params.bucket.scale.unit;
    match cost.checked_sub(charge.cost) {
        Some(0) => tat,
        Some(more) => {
            let more = u64::try_from(u128::from(more) * u128::from(unit)).unwrap_or(MAX_TICK);
            tat.max(moment.ceil).saturating_add(more).min(MAX_TICK)
        }
        None => {
            let given = match (fastest, params.bucket.refill()) {
                // Steps that have ended since the charge; a part of one gives nothing.
                (Fastest::Present, Refill::Stepped) => {
                    moment.floor.saturating_sub(params.moment(charge.at).floor).into()
                }
                _ => {
                    let elapsed = params.stamp_of(moment).saturating_sub(charge.at.as_nanos());
                    given(elapsed, params.bucket.scale, fastest)
                }
            };
            let charged = u128::from(charge.cost - cost) * u128::from(unit);
            // Rounded down, since what time gave back is rounded up.
            let less = u64::try_from(charged.saturating_sub(given)).unwrap_or(MAX_TICK);
            tat.saturating_sub(less)
        }
    }
}

/// Ticks that time gave back in `elapsed` nanoseconds, rounded up.
fn given(elapsed: u64, scale: Scale, fastest: Fastest) -> u128 {
    match fastest {
        Fastest::Present => {
            let (ticks, cut) = scale.ticks(elapsed);
            u128::from(ticks) + u128::from(cut)
        }
        Fastest::Other(quota) => {
            let (unit, per) = (u128::from(scale.unit), quota.period().as_nanos());
            let given = u128::from(elapsed) * u128::from(quota.count());
            // No overflow: the rest of the division by a period is below 2^64, a unit is at most
            // 2^60.
            (given / per).saturating_mul(unit).saturating_add((given % per * unit).div_ceil(per))
        }
        Fastest::Forgotten => u128::MAX,
    }
}
