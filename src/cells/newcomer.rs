//! A key without a slot, as the fast path of several keys sees it: it would be allowed, and is given
//! a slot only if the others agree, since what is denied writes nothing.

use crate::time::Timestamp;

use super::Cells;
use super::table::Claim;

/// A key that had no slot, and for which there is room for the cost.
#[derive(Clone, Copy)]
pub(crate) struct Newcomer<'a> {
    cells: &'a Cells,
    tag: u64,
    /// The stamp `forgotten` of its group, and the generation, at which it was looked for.
    forgotten: u64,
    generation: u64,
}

impl Cells {
    /// The key, if it has no slot and would be allowed. `None`: it would not, or callers wait in line,
    /// or keys without room may be in the pool.
    #[cold]
    pub(crate) fn newcomer(&self, tag: u64, cost: u64, now: Timestamp) -> Option<Newcomer<'_>> {
        if self.queued.any() || self.pool.get().is_some() || !self.reaches(now) {
            return None;
        }
        let (numbers, moment) = self.numbers_at(now);
        let forgotten = self.table.forgotten(tag);
        let tat = self.initial(tag, forgotten, &numbers, moment)?;
        let is_allowed = cost > 0 && numbers.bucket.decide(tat, cost, moment).is_ok();
        let generation = numbers.generation;
        is_allowed.then_some(Newcomer { cells: self, tag, forgotten, generation })
    }
}

impl Newcomer<'_> {
    /// Whether it still has no slot, and nothing else changed.
    pub(crate) fn stands(&self) -> bool {
        self.cells.pool.get().is_none()
            && self.cells.published.is_current(self.generation)
            && self.cells.table.is_absent(self.tag, self.forgotten)
    }

    /// Gives it a slot, in the state of a key never seen. Whether it has one now.
    pub(crate) fn seat(&self, now: Timestamp) -> bool {
        let (numbers, moment) = self.cells.numbers_at(now);
        let claim = self.cells.claim(self.tag, &numbers, moment, |_| false, Some);
        matches!(claim, Claim::Made(_) | Claim::Present(_))
    }
}
