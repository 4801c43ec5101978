//! The limits of one fact, from the loosest that is needed to the tightest that is possible.

use std::collections::BTreeMap;
use std::time::Duration;

use super::grouped::{Allowance, Grouped};
use tollgate::Quota;

/// The number of parts into which a target's allowance is divided.
pub(super) const PARTS: u64 = 64;

/// The tightest limit of one fact alone for each part of the allowance.
pub(super) struct Dial<'o> {
    fact: &'o Grouped<'o>,
    period: Duration,
    /// The allowance of all parts together.
    whole: Allowance,
    /// The smallest count for each part that was asked for.
    known: BTreeMap<u64, u64>,
}

impl<'o> Dial<'o> {
    /// None if no count is large enough even for the whole allowance, for example for huge costs.
    pub(super) fn new(
        fact: &'o Grouped<'o>,
        period: Duration,
        whole: Allowance,
    ) -> Option<Dial<'o>> {
        let most = fact.most_units();
        if !fact.keeps(most, period, whole) {
            return None;
        }
        let known = BTreeMap::from([(PARTS, fact.smallest(period, whole, (0, most)))]);
        Some(Dial { fact, period, whole, known })
    }

    /// The smallest quota that refuses no more than this part of the allowance.
    pub(super) fn quota(&mut self, part: u64) -> Option<Quota> {
        let count = match self.known.get(&part) {
            Some(count) => *count,
            None => {
                let count = self.search(part)?;
                self.known.insert(part, count);
                count
            }
        };
        Quota::new(count, self.period).ok()
    }

    fn search(&self, part: u64) -> Option<u64> {
        let most = u128::from(self.whole.most) * u128::from(part) / u128::from(PARTS);
        let allowance = Allowance { most: most as u64, ..self.whole };
        // A count that breaks a larger part breaks this one; one that keeps to a smaller part keeps
        // to it.
        let breaks = self.known.range(part..).next().map_or(0, |(_, count)| count - 1);
        let keeps = match self.known.range(..part).next_back() {
            Some((_, count)) => *count,
            None => Some(self.fact.most_units())
                .filter(|most| self.fact.keeps(*most, self.period, allowance))?,
        };
        Some(self.fact.smallest(self.period, allowance, (breaks, keeps)))
    }

    /// The most units that the tightest limit lets through in a minute: the burst and a minute's
    /// rate.
    pub(super) fn worst_minute(&self) -> u128 {
        let count = u128::from(self.known.get(&PARTS).copied().unwrap_or(0));
        count + count * 60 / u128::from(self.period.as_secs())
    }
}
