//! The fast path of a transaction: [`FastParticipant`], for a key that has a word in the table.
//!
//! Keys without a slot, concurrency slots and lists of limits are in `listed`. The slow path is in
//! `transaction`.

use std::time::Duration;

use crate::cells::{Cells, FastPending, Newcomer, Sight};
use crate::decision::{Allowed, Denied};
use crate::rate_limiter::Store;
use crate::time::Timestamp;

use super::Refusal;

/// The snapshot of a key on the fast path.
#[derive(Clone, Copy)]
pub(crate) struct FastParticipant<'a> {
    cells: &'a Cells,
    sight: Sight<'a>,
    /// `Ok`: the tick at which its bucket is full after the charge. `Err`: the tick at which the
    /// cost would be allowed.
    step: Result<u64, u64>,
}

impl<'a> FastParticipant<'a> {
    /// Takes a snapshot of the key; with `WHOLE`, only under a quota with whole ticks. `None`: the
    /// fast path does not decide this key.
    #[inline(always)]
    pub(crate) fn new<const WHOLE: bool>(
        store: &'a Store,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Option<FastParticipant<'a>> {
        let Store::Words(words) = store else { return None };
        let cells = &words.cells;
        let sight = cells.sight::<WHOLE>(tag, now)?;
        Some(FastParticipant { cells, sight, step: sight.step(cost)? })
    }

    #[inline(always)]
    pub(crate) fn allowed(&self) -> Option<Allowed> {
        self.step.ok().map(|next| self.sight.allowed(next))
    }

    #[inline(always)]
    pub(crate) fn refusal(&self, place: u32) -> Option<Refusal> {
        self.step.err().map(|at| Refusal { place, denied: self.sight.denied(at) })
    }

    /// As the field `step`.
    #[inline(always)]
    pub(crate) fn step(&self) -> Result<u64, u64> {
        self.step
    }

    /// How long until the tick `at`, at which it would be allowed.
    #[inline(always)]
    pub(crate) fn wait(&self, at: u64) -> Duration {
        self.sight.wait(at)
    }

    #[inline(always)]
    pub(crate) fn answer(&self) -> Result<Allowed, Denied> {
        match self.step {
            Ok(next) => Ok(self.sight.allowed(next)),
            Err(at) => Err(self.sight.denied(at)),
        }
    }

    /// The answer of the key once the request is decided, and a wait. If the key agrees: its state
    /// after the charge (without the charge if `is_refused`), and the time until it has one more
    /// unit (`None`: its bucket is full). If it denies: the time until it would agree.
    pub(crate) fn answer_with_next(
        &self,
        is_refused: bool,
    ) -> (Result<Allowed, Denied>, Option<Duration>) {
        let (allowed, next) = match self.step {
            Ok(_) if is_refused => self.sight.uncharged(),
            Ok(full) => (self.sight.allowed(full), self.sight.next_unit(full)),
            Err(at) => return (Err(self.sight.denied(at)), Some(self.sight.wait(at))),
        };
        (Ok(allowed), next)
    }

    /// The part that is kept until the decision. It is not charged if the key denies.
    #[inline(always)]
    pub(crate) fn pending(&self) -> FastPending<'a> {
        self.pending_until(self.step.unwrap_or(0))
    }

    /// `pending` for a key whose bucket is full at the tick `full` after the charge.
    #[inline(always)]
    pub(crate) fn pending_until(&self, full: u64) -> FastPending<'a> {
        self.sight.pending(self.cells, full)
    }

    #[inline(always)]
    pub(crate) fn is_denied(&self) -> bool {
        self.step.is_err()
    }

    /// Whether the key has not changed since the snapshot, and the quota is the same.
    #[inline(always)]
    pub(crate) fn is_valid(&self) -> bool {
        self.pending_until(0).is_valid()
    }
}

/// A key's answer on the fast path. Borrowed, because a copy is large and slow to read right after
/// it is made.
pub(crate) enum Said<'s, 'a> {
    Seen(&'s FastParticipant<'a>),
    /// A key without a slot. It agrees.
    New(&'s Newcomer<'a>),
}

impl Said<'_, '_> {
    #[inline(always)]
    pub(crate) fn answer(&self) -> Result<Allowed, Denied> {
        match self {
            Said::Seen(part) => part.answer(),
            Said::New(newcomer) => Ok(newcomer.allowed()),
        }
    }
}

/// Charges the last of several keys while the others are held. This is the moment of the decision.
#[inline(always)]
pub(crate) fn commit_last(last: &FastPending<'_>) -> bool {
    last.charge()
}
