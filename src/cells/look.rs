//! A key as a transaction sees it: looked at first, then held or charged if nothing came between.

use crate::decision::{Allowed, Denied, Retry};
use crate::sync::{Backoff, Ordering, mutant};
use crate::time::Timestamp;

use super::pool::{Full, Overflow};
use super::settle::Charge;
use super::table::{Cell, Claim};
use super::{Cells, Seat, word};

/// One key as a transaction sees it: the answer, and what to write if all agree.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    cell: Option<Cell<'a>>,
    seat: Seat,
    /// What was decided on: the word, or the stamp `forgotten` if there is no cell.
    word: u64,
    next: u64,
    generation: u64,
    pub(crate) answer: Result<Allowed, Denied>,
}

impl Cells {
    /// What `decide` would say, with what it would write. Waits while the key is held.
    /// `ahead`: units that callers before this one wait for.
    #[inline(never)]
    pub(crate) fn look(&self, tag: u64, ahead: u64, cost: u64, now: Timestamp) -> Look<'_> {
        let backoff = Backoff::default();
        loop {
            match self.table.find(tag, word::spread(tag)) {
                Some(found) => match self.look_at(found, Seat::Own, ahead, cost, now) {
                    Seen::Clear(look) => return look,
                    Seen::Held => backoff.snooze(),
                    Seen::Gone => {}
                },
                None => {
                    if let Some(look) = self.look_at_absent(tag, ahead, cost, now) {
                        return look;
                    }
                }
            }
        }
    }

    #[inline]
    fn look_at<'a>(
        &'a self,
        (cell, word): (Cell<'a>, u64),
        seat: Seat,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> Seen<'a> {
        if word::is_held(word) {
            return Seen::Held;
        }
        // Moving the axis waits for holds, and the caller may hold.
        if mutant("move_while_holding") {
            self.reach(now, now);
        }
        let (numbers, moment) = self.numbers_at(now);
        let Some(tat) = self.state(&cell, word, &numbers) else { return Seen::Gone };
        let decided = numbers.bucket.decide_behind(tat, ahead, cost, moment);
        Seen::Clear(Look {
            cell: Some(cell),
            seat,
            word,
            next: decided
                .map_or(word, |(next, _)| word::encode(next, cell.tag, numbers.generation)),
            generation: numbers.generation,
            answer: decided.map(|(_, allowed)| allowed),
        })
    }

    fn look_at_absent(&self, tag: u64, ahead: u64, cost: u64, now: Timestamp) -> Option<Look<'_>> {
        let (numbers, moment) = self.numbers_at(now);
        let forgotten = self.table.forgotten(tag);
        let tat = self.initial(tag, forgotten, &numbers, moment)?;
        let decided = numbers.bucket.decide_behind(tat, ahead, cost, moment);
        let answer = decided.map(|(_, allowed)| allowed);
        let pooled = answer.is_err_and(|denied: Denied| denied.retry != Retry::Never)
            && self.is_pooled(tag, now);
        let seat = if pooled { Seat::Pool } else { Seat::Own };
        Some(Look::nowhere(seat, forgotten, numbers.generation, answer))
    }

    /// Gives a key that was not there a slot, in the state of a key never seen, and looks at it.
    /// Not one that the same transaction gave to a key that is `taken`. `None`: look again.
    pub(crate) fn seat(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
        taken: impl Fn(u64) -> bool,
    ) -> Option<Look<'_>> {
        let (numbers, moment) = self.numbers_at(now);
        let (cell, seat) = match self.claim(tag, &numbers, moment, taken, Some) {
            Claim::Made(cell) | Claim::Present(cell) => (cell, Seat::Own),
            Claim::None | Claim::Stale => return None,
            Claim::Full { until } => match self.overflow {
                Overflow::Pool => (self.pool_cell(tag)?, Seat::Pool),
                Overflow::Allow | Overflow::Deny => {
                    let answer = self.without_seat(cost, now, &Full { until });
                    let generation = numbers.generation;
                    return Some(Look::nowhere(Seat::Uncounted, 0, generation, answer));
                }
            },
        };
        match self.look_at((cell, cell.load()?), seat, 0, cost, now) {
            Seen::Clear(look) => Some(look),
            Seen::Held | Seen::Gone => None,
        }
    }

    /// Counts the overflow if the decided key had no slot of its own.
    pub(crate) fn count_seat(&self, look: &Look<'_>) {
        if look.seat != Seat::Own {
            self.count_overflow();
        }
    }
}

enum Seen<'a> {
    Clear(Look<'a>),
    Held,
    Gone,
}

impl<'a> Look<'a> {
    fn nowhere(
        seat: Seat,
        forgotten: u64,
        generation: u64,
        answer: Result<Allowed, Denied>,
    ) -> Self {
        Look { cell: None, seat, word: forgotten, next: forgotten, generation, answer }
    }

    /// Equal for two looks at one state of the key under one quota.
    pub(crate) fn state(&self) -> [u64; 3] {
        [self.word, self.generation, self.cell.is_some().into()]
    }

    /// Whether the key must be given a slot before it can be held.
    pub(crate) fn needs_seat(&self) -> bool {
        self.cell.is_none() && self.seat == Seat::Own
    }

    /// Whether there is something to write.
    pub(crate) fn is_counted(&self) -> bool {
        self.seat != Seat::Uncounted
    }

    /// Whether both are one cell: keys of one limiter that share a cell of its pool.
    pub(crate) fn shares_cell_with(&self, other: &Look<'_>) -> bool {
        match (self.cell, other.cell) {
            (Some(a), Some(b)) => a.tag == b.tag && std::ptr::eq(a.word, b.word),
            _ => false,
        }
    }

    /// The same answer with nothing to write: another entry charges for it.
    pub(crate) fn as_passenger(self) -> Self {
        Look { cell: None, seat: Seat::Uncounted, ..self }
    }

    /// Whether the answer is still the one that would be given.
    #[inline]
    pub(crate) fn stands(&self, cells: &Cells, tag: u64) -> bool {
        if mutant("answer_unconfirmed") {
            return true;
        }
        match self.cell {
            Some(cell) => cell.is_still(self.word),
            // A change of quota rewrites words, and here is none.
            None if !self.is_current(cells) => false,
            None => self.seat == Seat::Uncounted || cells.table.is_absent(tag, self.word),
        }
    }

    /// Whether the quota that it was decided under is still in force.
    #[inline]
    pub(crate) fn is_current(&self, cells: &Cells) -> bool {
        mutant("mixed_quotas") || cells.published.is_current(self.generation)
    }

    /// Writes the charge, if there is one and nothing came between.
    #[inline]
    pub(crate) fn commit(&self, cells: &Cells, tag: u64) -> bool {
        match self.cell {
            Some(cell) if self.next != self.word => cell.replace(self.word, self.next),
            _ => self.stands(cells, tag),
        }
    }

    /// Holds the key, if nothing came between. Then `release` must follow.
    #[inline]
    pub(crate) fn hold(&self) -> bool {
        let Some(cell) = self.cell else { return false };
        // Nothing is published: the commit that follows is a release.
        let held = cell.replace(self.word, word::held(self.word));
        if held && mutant("release_early") {
            cell.word.store(self.word, Ordering::Release);
        }
        held
    }

    /// Lets go of a key that is held: as it was, or charged.
    #[inline]
    pub(crate) fn release(&self, charged: bool) {
        if let Some(cell) = self.cell {
            // Release: whoever reads this word sees the commit that it belongs to.
            cell.word.store(if charged { self.next } else { self.word }, Ordering::Release);
        }
    }

    /// Looks again, without waiting. `None` if the key is held or gone.
    pub(crate) fn again(&self, cells: &'a Cells, cost: u64, now: Timestamp) -> Option<Look<'a>> {
        let cell = self.cell?;
        match cells.look_at((cell, cell.load()?), self.seat, 0, cost, now) {
            Seen::Clear(look) => Some(look),
            Seen::Held | Seen::Gone => None,
        }
    }

    pub(crate) fn charge(&self, tag: u64, cost: u64, at: Timestamp) -> Charge {
        Charge { tag, cost, at, seat: self.seat, generation: self.generation }
    }
}
