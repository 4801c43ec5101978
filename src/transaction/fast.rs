//! The fast path of a transaction: keys whose words stand in their slots.

use std::time::Duration;

use crate::cells::{Cells, FastPending, Newcomer, Sight};
use crate::decision::{Allowed, Denied};
use crate::rate_limiter::Store;
use crate::sync::{Backoff, mutant};
use crate::time::Timestamp;

use super::Refusal;

/// A key on the fast path, looked at.
#[derive(Clone, Copy)]
pub(crate) struct FastParticipant<'a> {
    cells: &'a Cells,
    sight: Sight<'a>,
    /// The tick at which its bucket is full after the charge, or at which it would be allowed.
    step: Result<u64, u64>,
}

impl<'a> FastParticipant<'a> {
    /// Looks at the key: if `WHOLE` only under a quota whose ticks are whole. `None`: the fast path does
    /// not decide it.
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

    /// The tick at which its bucket is full after the charge, or at which it would be allowed.
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

    /// What the key says of a request that is decided: if it agreed, how it stands after the charge, or
    /// uncharged if the request `is_refused`, and how long until it has one unit more (`None`: nothing is
    /// missing); if it denies, how long until it would agree.
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

    /// What is kept of it until the decision. What is denied is not charged.
    #[inline(always)]
    pub(crate) fn pending(&self) -> FastPending<'a> {
        self.pending_until(self.step.unwrap_or(0))
    }

    /// The same, of a key whose bucket is full at the tick `full` after the charge.
    #[inline(always)]
    pub(crate) fn pending_until(&self, full: u64) -> FastPending<'a> {
        self.sight.pending(self.cells, full)
    }

    #[inline(always)]
    pub(crate) fn is_denied(&self) -> bool {
        self.step.is_err()
    }

    /// Whether the key is still as it was seen, under the same quota.
    #[inline(always)]
    pub(crate) fn is_valid(&self) -> bool {
        self.pending_until(0).is_valid()
    }
}

/// What a key says on the fast path. Borrowed: it is large, and a copy that is read at once is slow.
pub(crate) enum Said<'s, 'a> {
    Seen(&'s FastParticipant<'a>),
    /// A key without a slot, which agrees.
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

/// Charges the last of several keys, while the others are held: the moment of the decision.
#[inline(always)]
pub(crate) fn commit_last(last: &FastPending<'_>) -> bool {
    while mutant("wait_while_holding") && !last.is_valid() {
        Backoff::default().snooze();
    }
    last.charge()
}
