//! The requests of one fact grouped by caller, and the smallest count with which a limit refuses no
//! more of them than allowed.

use std::time::Duration;

use super::Of;
use super::observed::{Column, Observed};
use tollgate::Quota;
use tollgate::Timestamp;
use tollgate::algorithm::{Algorithm, Gcra, Tat};

/// The largest count that is tried: the fastest quota that exists.
const MAX_COUNT: u64 = 1 << 36;

/// The requests of one fact, grouped by caller, in their order.
pub(super) struct Grouped<'o> {
    observed: &'o Observed,
    pub(super) column: &'o Column,
    /// Indices of requests.
    order: Vec<u32>,
    /// Where the requests of each caller begin in `order`, and at the end its length.
    starts: Vec<usize>,
    /// The units of each caller.
    units: Vec<u64>,
}

/// How much was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusals {
    pub(super) requests: u64,
    /// Callers that had any request refused.
    pub(super) callers: u64,
}

/// How much may be refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) of: Of,
    pub(super) most: u64,
}

impl Allowance {
    pub(super) fn covers(&self, refusals: Refusals) -> bool {
        self.most
            >= match self.of {
                Of::Requests => refusals.requests,
                Of::Callers => refusals.callers,
            }
    }
}

impl<'o> Grouped<'o> {
    pub(super) fn new(observed: &'o Observed, column: &'o Column) -> Grouped<'o> {
        let requests = 0..observed.requests() as usize;
        let with_caller = requests.filter_map(|index| Some((index, column.caller(index)?)));
        let mut starts = vec![0_usize; column.values() + 1];
        let mut units = vec![0_u64; column.values()];
        for (index, caller) in with_caller.clone() {
            starts[caller + 1] += 1;
            units[caller] = units[caller].saturating_add(observed.request(index).1);
        }
        for caller in 0..column.values() {
            starts[caller + 1] += starts[caller];
        }
        let mut next = starts.clone();
        let mut order = vec![0; starts[column.values()]];
        for (index, caller) in with_caller {
            order[next[caller]] = index as u32;
            next[caller] += 1;
        }
        Grouped { observed, column, order, starts, units }
    }

    /// The number of requests that have the fact.
    pub(super) fn requests(&self) -> u64 {
        self.order.len() as u64
    }

    pub(super) fn callers(&self) -> usize {
        self.units.len()
    }

    /// The requests of a caller: when they came, and what they cost.
    pub(super) fn of(&self, caller: usize) -> impl Iterator<Item = (Timestamp, u64)> + Clone {
        let range = match (self.starts.get(caller), self.starts.get(caller + 1)) {
            (Some(start), Some(end)) => *start..*end,
            _ => 0..0,
        };
        let indices = self.order.get(range).unwrap_or_default();
        indices.iter().map(|index| self.observed.request(*index as usize))
    }

    /// A count that no caller ever exceeds, clamped to what a quota can have.
    pub(super) fn most_units(&self) -> u64 {
        self.units.iter().copied().max().unwrap_or(0).clamp(1, MAX_COUNT)
    }

    /// The smallest count per `period` with which a limit keeps to the allowance, searched above a
    /// count that breaks it and up to a count that keeps to it.
    ///
    /// With costs of 1 a larger count never refuses more. With different costs it may; then the
    /// result is a count that keeps to the allowance while the next smaller one does not.
    pub(super) fn smallest(
        &self,
        period: Duration,
        allowance: Allowance,
        (mut breaks, mut keeps): (u64, u64),
    ) -> u64 {
        while keeps - breaks > 1 {
            let middle = breaks + (keeps - breaks) / 2;
            match self.keeps(middle, period, allowance) {
                true => keeps = middle,
                false => breaks = middle,
            }
        }
        keeps
    }

    /// Whether `count` per `period` keeps to the allowance.
    pub(super) fn keeps(&self, count: u64, period: Duration, allowance: Allowance) -> bool {
        let Ok(quota) = Quota::new(count, period) else { return false };
        let gcra = Gcra::new(quota);
        let mut all = Refusals::default();
        // A caller that never asks for more than the burst is never refused.
        let some = |caller: &usize| self.units.get(*caller).is_none_or(|units| *units > count);
        for caller in (0..self.callers()).filter(some) {
            let mut state = Tat::default();
            let before = all;
            for (at, cost) in self.of(caller) {
                if !decide(&gcra, &mut state, cost, at) {
                    all.requests += 1;
                    all.callers = before.callers + 1;
                    if !allowance.covers(all) {
                        return false;
                    }
                }
            }
        }
        true
    }
}

/// Charges the request if it is allowed, and returns whether it was.
pub(super) fn decide(gcra: &Gcra, state: &mut Tat, cost: u64, at: Timestamp) -> bool {
    let before = *state;
    gcra.charge(state, cost, at);
    // Only a charge changes the state. A separate check would take twice as long.
    cost == 0 || *state != before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Format;

    #[test]
    fn the_smallest_count_is_found_where_more_may_refuse_more() {
        // With 5 at once, the expensive request takes the capacity of three cheap ones.
        let mut observed = Observed::of(["user"]).unwrap();
        for cost in [5, 1, 1, 1] {
            let line = format!(r#"{{"t": 0, "cost": {cost}, "facts": {{"user": 1}}}}"#);
            observed.event(&Format::Jsonl.event(line.as_bytes()).unwrap().unwrap()).unwrap();
        }
        let grouped = Grouped::new(&observed, &observed.columns()[0]);
        let minute = Duration::from_secs(60);
        let keeps =
            |count, most| grouped.keeps(count, minute, Allowance { of: Of::Requests, most });
        let refuses_one: Vec<u64> = (1..=8).filter(|count| keeps(*count, 1)).collect();
        assert_eq!(refuses_one, [3, 4, 7, 8]);
        let allowance = Allowance { of: Of::Requests, most: 1 };
        let found = grouped.smallest(minute, allowance, (0, grouped.most_units()));
        assert!(keeps(found, 1) && !keeps(found - 1, 1), "{found}");
    }

    #[test]
    fn it_is_allowed_iff_the_algorithm_says_so() {
        let gcra = Gcra::new("3/s".parse().unwrap());
        let mut state = Tat::default();
        for (at, cost) in [(0, 1), (0, 0), (0, 2), (0, 1), (0, 0), (1, 1), (2, 4), (9, 3), (9, 1)] {
            let at = Timestamp::from_secs(at);
            let allowed = gcra.decide(&state, cost, at).is_ok();
            assert_eq!(decide(&gcra, &mut state, cost, at), allowed, "{at:?} {cost}");
        }
    }
}
