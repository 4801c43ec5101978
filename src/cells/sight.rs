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

use super::published::{Axis, FastNumbers};
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
        let sequence = self.published.sequence()?;
        let (cell, word) = self.table.find(tag, spread)?;
        // After the word: whatever changed before it was written is seen here.
        let numbers = self.published.fast(sequence, now)?;
        let mask = word::mask(spread, numbers.salt);
        Some(Sight { cell, word, mask, numbers })
    }

    /// As `sight`, under a quota whose ticks are no whole part of a nanosecond (333 a second), or
    /// that comes back in steps.
    // Not a case of `sight`: most quotas are not such, and their decisions stay short.
    #[inline(always)]
    pub(crate) fn sight_cut(&self, tag: u64, now: Timestamp) -> Option<Sight<'_>> {
        let spread = word::spread(tag);
        let sequence = self.published.sequence_of_cut()?;
        let (cell, word) = self.table.find(tag, spread)?;
        let numbers = self.published.fast_cut(sequence, now)?;
        let mask = word::mask(spread, numbers.salt);
        Some(Sight { cell, word, mask, numbers })
    }

    /// How the key stood right after the charge, when its bucket was full at the tick `full`. The
    /// numbers of that time are gone once the quota has changed twice: then, how the key stands now.
    pub(crate) fn stood(&self, charge: &Charge, full: u64) -> Option<Allowed> {
        let numbers = loop {
            let current = self.published.load();
            if current.generation == charge.generation {
                break current;
            }
            // `None`: the quota changed meanwhile.
            match self.published.before(&current) {
                Some(before) if before.generation == charge.generation => break before,
                Some(_) => return self.peek_behind(charge.tag, 0, 0, charge.at).ok(),
                None => {}
            }
        };
        let stood = numbers.bucket.decide(full, 0, numbers.moment(charge.at));
        stood.ok().map(|(_, allowed)| allowed)
    }
}

impl<'a> Sight<'a> {
    pub(super) fn new(cell: Cell<'a>, word: u64, mask: u64, numbers: FastNumbers) -> Self {
        Sight { cell, word, mask, numbers }
    }

    /// The step of GCRA for this key. `None`: the word is held or of another generation, or the cost
    /// is 0 or above the burst.
    #[inline(always)]
    pub(crate) fn step(&self, cost: u64) -> Option<Result<u64, u64>> {
        let charge = cost.checked_mul(self.numbers.unit)?;
        if cost == 0 || charge > self.numbers.capacity {
            return None;
        }
        let (state, now) = (self.word ^ self.mask, self.numbers.now);
        let ceil = match self.numbers.axis {
            Axis::Whole { .. } => now,
            Axis::Cut { now, .. } => now.ceil,
        };
        let step = algorithm::step(state, charge, self.numbers.capacity, now, ceil);
        // A word that is held or of another generation unmasks to more than any tick.
        if step.is_err() && state > MAX_TICK { None } else { Some(step) }
    }

    /// Decides `cost` and charges it if allowed. `None`: as of `step`, or something came between.
    #[inline(always)]
    pub(super) fn decide(&self, cost: u64) -> Option<Result<Allowed, Denied>> {
        match self.step(cost)? {
            Ok(next) => self.charge(next).then(|| Ok(self.allowed(next))),
            Err(at) => self.stands().then(|| Err(self.denied(at))),
        }
    }

    /// What a charge of `cost` would say, or how the key stands if that is 0. `None`: as of `step`, or
    /// something came between.
    #[inline(always)]
    pub(super) fn peek(&self, cost: u64) -> Option<Result<Allowed, Denied>> {
        let state = self.word ^ self.mask;
        let answer = match cost {
            0 if state > MAX_TICK => return None,
            0 => Ok(self.allowed(state)),
            _ => match self.step(cost)? {
                Ok(next) => Ok(self.allowed(next)),
                Err(at) => Err(self.denied(at)),
            },
        };
        self.stands().then_some(answer)
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
    pub(crate) fn pending(&self, cells: &'a Cells, next: u64) -> Pending<'a> {
        let Sight { cell, word, mask, .. } = *self;
        Pending::new(cells, cell, self.numbers.generation(), word, next ^ mask)
    }

    /// The answer of a charge after which the bucket is full at `next`.
    #[inline(always)]
    pub(crate) fn allowed(&self, next: u64) -> Allowed {
        Allowed(self.standing(next))
    }

    /// The answer to a charge that would be allowed at the tick `at`.
    #[inline(always)]
    pub(crate) fn denied(&self, at: u64) -> Denied {
        let standing = self.standing(self.word ^ self.mask);
        Denied { standing, retry: Retry::After(self.wait(at)) }
    }

    /// How long until the tick `at`.
    #[inline(always)]
    pub(crate) fn wait(&self, at: u64) -> Duration {
        let (ticks, per_nano) = self.until(at);
        // Rounded up. Below 2^62 and 2^7 where a nanosecond has parts, so that nothing wraps.
        Duration::from_nanos((ticks + (per_nano.get() - 1)) / per_nano)
    }

    /// How a bucket stands that is full at the tick `full`.
    #[inline(always)]
    fn standing(&self, full: u64) -> Standing {
        let owed = full.saturating_sub(self.numbers.now);
        let (reset, per_nano) = self.until(full);
        Standing {
            burst: self.numbers.burst,
            room: self.numbers.capacity.saturating_sub(owed),
            unit: self.numbers.unit,
            reset,
            per_nano: per_nano.get(),
        }
    }

    /// How long until the tick `tick`, in parts of which so many make a nanosecond.
    #[inline(always)]
    fn until(&self, tick: u64) -> (u64, NonZeroU64) {
        match self.numbers.axis {
            // Never 0, as the type says: a division that nobody reads is left out only where it
            // cannot panic.
            Axis::Whole { per_nano } => (
                tick.saturating_sub(self.numbers.now),
                NonZeroU64::new(per_nano).unwrap_or(NonZeroU64::MIN),
            ),
            Axis::Cut { scale, now } => (now.until(tick, &scale), NonZeroU64::MIN),
        }
    }
}

/// What is kept of a sight until the decision: little, for there may be several.
#[derive(Clone, Copy)]
pub(crate) struct Pending<'a> {
    cells: &'a Cells,
    cell: Cell<'a>,
    /// That of the quota it was decided under.
    generation: u64,
    word: u64,
    /// The word once it is charged.
    charged: u64,
}

impl<'a> Pending<'a> {
    #[inline(always)]
    pub(super) fn new(
        cells: &'a Cells,
        cell: Cell<'a>,
        generation: u64,
        word: u64,
        charged: u64,
    ) -> Pending<'a> {
        Pending { cells, cell, generation, word, charged }
    }

    pub(super) fn cell(&self) -> Cell<'a> {
        self.cell
    }

    pub(super) fn word(&self) -> u64 {
        self.word
    }

    /// Whether there is a charge to write.
    pub(super) fn is_changed(&self) -> bool {
        self.charged != self.word
    }

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
        self.is_current() && self.write()
    }

    /// Writes the charge, unless the word has become another.
    #[inline(always)]
    pub(super) fn write(&self) -> bool {
        self.cell.replace(self.word, self.charged)
    }

    /// Holds the word, unless it has become another.
    #[inline(always)]
    pub(super) fn take(&self) -> bool {
        self.cell.replace(self.word, word::held(self.word))
    }

    /// Holds the key, unless something came between. Then `release` must follow.
    #[inline(always)]
    pub(crate) fn hold(&self) -> bool {
        if !self.take() {
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

    /// That of the quota it was decided under.
    #[inline(always)]
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// What was charged, for settling.
    #[inline(always)]
    pub(crate) fn charged(&self, cost: u64, now: Timestamp) -> Charge {
        let (tag, generation) = (self.cell.tag, self.generation);
        Charge { tag, cost, at: now, seat: Seat::Own, generation }
    }
}
