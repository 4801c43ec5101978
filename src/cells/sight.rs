//! The fast path: a key that stands in its slot, under numbers that are not being changed, while
//! nobody waits in line.
//!
//! A sight is a few numbers that stay in registers. It says what a charge would make of the word,
//! and answers are made of it only where somebody reads them.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::algorithm;
use crate::decision::{Allowed, Denied, Retry, Standing};
use crate::sync::{Ordering, mutant};
use crate::time::Timestamp;

use super::numbers::FastNumbers;
use super::table::Cell;
use super::word::{self, MAX_TICK};
use super::{Cells, Charge, Seat};

/// A key as the fast path sees it.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'a> {
    cell: Cell<'a>,
    word: u64,
    /// What makes a word of a tick.
    mask: u64,
    numbers: FastNumbers,
}

impl Cells {
    /// The key, if it stands in its slot and the fast path may decide it.
    #[inline(always)]
    pub(crate) fn sight(&self, tag: u64, now: Timestamp) -> Option<Sight<'_>> {
        let spread = word::spread(tag);
        let numbers = self.published.fast(now)?;
        let cell = self.table.find(tag, spread)?;
        let word = cell.load()?;
        // After the word: whatever changed before it was written is seen here.
        if !self.published.is_unchanged(&numbers) {
            return None;
        }
        let mask = word::mask(spread, numbers.salt, numbers.generation());
        Some(Sight { cell, word, mask, numbers })
    }
}

impl<'a> Sight<'a> {
    /// The step of GCRA for this key. `None`: the word is held or of another generation, or the cost
    /// is 0 or above the burst.
    #[inline(always)]
    pub(crate) fn step(&self, cost: u64) -> Option<Result<u64, u64>> {
        let charge = cost.checked_mul(self.numbers.unit)?;
        if cost == 0 || charge > self.numbers.capacity {
            return None;
        }
        let (state, now) = (self.word ^ self.mask, self.numbers.now);
        let step = algorithm::step(state, charge, self.numbers.capacity, now, now);
        // A word that is held or of another generation unmasks to more than any tick.
        if step.is_err() && state > MAX_TICK { None } else { Some(step) }
    }

    /// Writes the charge, unless something came between.
    #[inline(always)]
    pub(crate) fn charge(&self, next: u64) -> bool {
        self.cell.replace(self.word, next ^ self.mask)
    }

    /// Whether the word is still what it was.
    #[inline(always)]
    pub(crate) fn stands(&self) -> bool {
        mutant("answer_unconfirmed") || self.cell.is_still(self.word)
    }

    /// What writes the charge after which the bucket is full at `next`.
    #[inline(always)]
    pub(crate) fn seen(&self, cells: &'a Cells, next: u64) -> Seen<'a> {
        let Sight { cell, word, mask, .. } = *self;
        Seen { cells, cell, generation: self.numbers.generation(), word, charged: next ^ mask }
    }

    /// How the key stands after that charge.
    #[inline(always)]
    pub(crate) fn left(&self, next: u64) -> Left {
        let FastNumbers { now, num, unit, burst, capacity, .. } = self.numbers;
        let owed = next - now;
        Left { burst, room: capacity.saturating_sub(owed), unit, owed, num }
    }

    /// The answer of a charge after which the bucket is full at `next`.
    #[inline(always)]
    pub(crate) fn allowed(&self, next: u64) -> Allowed {
        self.left(next).allowed()
    }

    /// The answer to a charge that would be allowed at the tick `at`.
    #[inline(always)]
    pub(crate) fn denied(&self, at: u64) -> Denied {
        let owed = (self.word ^ self.mask).saturating_sub(self.numbers.now);
        let wait = nanos(at - self.numbers.now, self.numbers.num);
        Denied { standing: self.standing(owed), retry: Retry::After(Duration::from_nanos(wait)) }
    }

    #[inline(always)]
    fn standing(&self, owed: u64) -> Standing {
        Standing {
            burst: self.numbers.burst,
            room: self.numbers.capacity.saturating_sub(owed),
            unit: self.numbers.unit,
            reset_nanos: nanos(owed, self.numbers.num),
        }
    }
}

/// What is kept of a sight until the decision: little, for there may be several.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    cells: &'a Cells,
    cell: Cell<'a>,
    /// That of the quota it was decided under.
    generation: u64,
    word: u64,
    /// The word once it is charged.
    charged: u64,
}

impl Seen<'_> {
    /// Whether the quota is still in force.
    #[inline(always)]
    fn is_current(&self) -> bool {
        mutant("mixed_quotas") || self.cells.published.is_current(self.generation)
    }

    /// Whether the word is still what it was.
    #[inline(always)]
    pub(crate) fn stands(&self) -> bool {
        mutant("answer_unconfirmed") || self.cell.is_still(self.word)
    }

    /// Charges the key, unless something came between.
    #[inline(always)]
    pub(crate) fn charge(&self) -> bool {
        self.is_current() && self.cell.replace(self.word, self.charged)
    }

    /// Holds the key, unless something came between. Then `release` must follow.
    #[inline(always)]
    pub(crate) fn hold(&self) -> bool {
        if !self.cell.replace(self.word, word::held(self.word)) {
            return false;
        }
        // Two keys of one limiter are not decided under two quotas of it.
        let is_current = self.is_current();
        if !is_current || mutant("release_early") {
            self.release(false);
        }
        is_current
    }

    /// Lets go of a key that is held: charged, or as it was.
    #[inline(always)]
    pub(crate) fn release(&self, is_charged: bool) {
        let is_charged = is_charged || mutant("charge_first");
        let word = if is_charged { self.charged } else { self.word };
        // Release: a thread that reads this word sees the commit that it belongs to.
        self.cell.word.store(word, Ordering::Release);
    }

    /// What was charged, for settling.
    #[inline(always)]
    pub(crate) fn charged(&self, cost: u64, now: Timestamp) -> Charge {
        let (tag, generation) = (self.cell.tag, self.generation);
        Charge { tag, cost, at: now, seat: Seat::Own, generation }
    }
}

/// How a key stands after a charge, in ticks: only who reads the answer divides.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    burst: u64,
    room: u64,
    unit: u64,
    owed: u64,
    /// Ticks that pass in a nanosecond.
    num: u64,
}

impl Left {
    /// Where no limit applies.
    pub(crate) const UNLIMITED: Left =
        Left { burst: u64::MAX, room: u64::MAX, unit: 1, owed: 0, num: 1 };

    #[inline(always)]
    pub(crate) fn allowed(&self) -> Allowed {
        let Left { burst, room, unit, owed, num } = *self;
        Allowed(Standing { burst, room, unit, reset_nanos: nanos(owed, num) })
    }

    /// Whether fewer units remain.
    #[inline(always)]
    pub(crate) fn is_tighter(&self, other: &Left) -> bool {
        // Compared as parts of parts: few divide.
        let parts = |a: &Left, b: &Left| u128::from(a.room) * u128::from(b.unit);
        let (ours, others) = (parts(self, other), parts(other, self));
        let units = |left: &Left| left.room.checked_div(left.unit).unwrap_or(0);
        ours < others
            && (others - ours >= u128::from(self.unit) * u128::from(other.unit)
                || units(self) < units(other))
    }
}

impl Default for Left {
    fn default() -> Left {
        Left::UNLIMITED
    }
}

impl From<Allowed> for Left {
    fn from(Allowed(standing): Allowed) -> Left {
        let Standing { burst, room, unit, reset_nanos } = standing;
        Left { burst, room, unit, owed: reset_nanos, num: 1 }
    }
}

/// Nanoseconds until `ticks` have passed, rounded up, if `num` pass in each.
#[inline(always)]
fn nanos(ticks: u64, num: u64) -> u64 {
    // Never 0, as the type says: a division that nobody reads is left out only where it cannot
    // panic.
    let per_nano = NonZeroU64::new(num).unwrap_or(NonZeroU64::MIN);
    // What is divided is below 2^62 and the divisor below 2^7, so that nothing wraps.
    (ticks + (per_nano.get() - 1)) / per_nano
}
