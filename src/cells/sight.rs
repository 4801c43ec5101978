//! The fast path of `check`: a key that has a slot, while the parameters are not being changed and
//! no caller waits in line.
//!
//! A [`Sight`] is a few integers that stay in registers. It says what word a charge would write; an
//! answer is made from it only where a caller reads it. Keys without a slot are in `newcomer`.

use std::time::Duration;

use crate::algorithm;
use crate::decision::{Allowed, Denied, Retry, Standing};
use crate::sync::Backoff;
use crate::time::Timestamp;

use super::pending::{FastPending, Pending};
use super::published::FastParameters;
use super::table::Cell;
use super::word::{self, MAX_TICK};
use super::{Cells, Charge};

/// A key and its word as the fast path reads them.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'a> {
    cell: Cell<'a>,
    word: u64,
    /// Converts between a tick and a word.
    mask: u64,
    params: FastParameters,
}

impl Cells {
    /// The key, if it has a slot and the fast path may decide it. With `WHOLE` only under a quota
    /// whose ticks are whole, as most are, which keeps the code inlined in callers short.
    #[inline(always)]
    pub(crate) fn sight<const WHOLE: bool>(&self, tag: u64, now: Timestamp) -> Option<Sight<'_>> {
        let spread = word::spread(tag);
        let (cell, word) = self.table.find(tag, spread)?;
        // Read after the word, so the parameters are not older than it. If they are newer, the word
        // is of another generation, or it was converted since and its compare-and-swap fails.
        let now = self.published.moment::<WHOLE>(now)?;
        let params = self.published.fast(now)?;
        let mask = word::mask(spread, params.salt);
        Some(Sight { cell, word, mask, params })
    }

    /// The standing of the key right after the charge, when its bucket was full at the tick `full`.
    /// The parameters of that time are lost once the quota has changed twice; then, the present
    /// standing.
    pub(crate) fn stood(&self, charge: &Charge, full: u64) -> Option<Allowed> {
        let backoff = Backoff::default();
        let params = loop {
            let current = self.published.load();
            if current.generation == charge.generation {
                break current;
            }
            // `None`: the quota changed meanwhile.
            match self.published.before(&current) {
                Some(before) if before.generation == charge.generation => break before,
                Some(_) => return self.peek_behind(charge.tag, 0, 0, charge.at).ok(),
                None => backoff.snooze(),
            }
        };
        let stood = params.bucket.decide(full, 0, params.moment(charge.at));
        stood.ok().map(|(_, allowed)| allowed)
    }
}

impl<'a> Sight<'a> {
    /// The GCRA step for this key. `None`: the word is held or of another generation, or the cost
    /// is 0 or above the burst.
    #[inline(always)]
    pub(crate) fn step(&self, cost: u64) -> Option<Result<u64, u64>> {
        let FastParameters { now, unit, capacity, .. } = self.params;
        let charge = cost.checked_mul(unit)?;
        if cost == 0 || charge > capacity {
            return None;
        }
        let state = self.word ^ self.mask;
        let step = algorithm::step(state, charge, capacity, now.floor, now.ceil);
        // A word that is held or of another generation unmasks to more than any tick.
        if step.is_err() && state > MAX_TICK { None } else { Some(step) }
    }

    /// Decides `cost` and charges it if allowed. `None`: as in `step`, or another write came
    /// between.
    #[inline(always)]
    pub(super) fn decide(&self, cost: u64) -> Option<Result<Allowed, Denied>> {
        // No closures: one that is not inlined would keep all of this in memory.
        match self.step(cost)? {
            Ok(next) if self.charge(next) => Some(Ok(self.allowed(next))),
            Err(at) if self.is_valid() => Some(Err(self.denied(at))),
            _ => None,
        }
    }

    /// What a charge of `cost` would answer, or the standing of the key if `cost` is 0. `None`: as
    /// in `step`, or another write came between.
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
        self.is_valid().then_some(answer)
    }

    /// Writes the charge, unless another write came between.
    #[inline(always)]
    pub(crate) fn charge(&self, next: u64) -> bool {
        self.cell.replace(self.word, next ^ self.mask)
    }

    /// Whether the word is unchanged.
    #[inline(always)]
    fn is_valid(&self) -> bool {
        self.cell.is_still(self.word)
    }

    /// The pending write of the charge after which the bucket is full at `next`.
    #[inline(always)]
    pub(crate) fn pending(&self, cells: &'a Cells, next: u64) -> FastPending<'a> {
        let Sight { cell, word, mask, params } = *self;
        FastPending::new(cells, params.now.sequence, Pending::new(cell, word, next ^ mask))
    }

    /// The answer to a charge after which the bucket is full at `next`.
    #[inline(always)]
    pub(crate) fn allowed(&self, next: u64) -> Allowed {
        Allowed(self.params.standing(next))
    }

    /// The standing of the key without a charge, and its [`next_unit`](Self::next_unit).
    pub(crate) fn uncharged(&self) -> (Allowed, Option<Duration>) {
        let full = self.word ^ self.mask;
        (self.allowed(full), self.next_unit(full))
    }

    /// The denial of a charge that would be allowed at the tick `at`.
    #[inline(always)]
    pub(crate) fn denied(&self, at: u64) -> Denied {
        let standing = self.params.standing(self.word ^ self.mask);
        Denied { standing, retry: Retry::After(self.wait(at)) }
    }

    /// How long until one more unit remains, if the key's bucket is full at the tick `full`.
    /// `None`: the whole burst remains.
    pub(crate) fn next_unit(&self, full: u64) -> Option<Duration> {
        let FastParameters { unit, capacity, .. } = self.params;
        let Allowed(Standing { room, .. }) = self.allowed(full);
        let more = room - room.checked_rem(unit)? + unit;
        // The tick at which a charge of `more` ticks would be allowed.
        (more <= capacity).then(|| self.wait((full + more).saturating_sub(capacity)))
    }

    /// How long until the tick `at`.
    #[inline(always)]
    pub(crate) fn wait(&self, at: u64) -> Duration {
        let (ticks, per_nano) = self.params.now.until(at);
        // Rounded up. If a nanosecond has several ticks, `ticks` is below 2^62 and `per_nano` below
        // 2^7, so the sum does not wrap; otherwise 0 is added.
        Duration::from_nanos((ticks + (per_nano.get() - 1)) / per_nano)
    }
}
