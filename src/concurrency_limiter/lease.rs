//! [`Lease`]: slots that are held, and come back.

use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

use crate::decision::Denied;
use crate::slots::Held;
use crate::sync::{Arc, mutant};

use super::semaphore::Semaphore;

/// Slots that are held. Dropping it gives them back, and at the end of its time they come back by
/// themselves.
///
/// It may move to another thread or task, and may outlive its limiter. Giving back after the end,
/// or after a reset, changes nothing; [`Usage::late`](crate::Usage::late) counts it, and says how
/// exactly.
#[must_use = "dropping a lease gives its slots back at once"]
pub struct Lease {
    semaphore: Arc<Semaphore>,
    held: Held,
}

/// The lease was over: its slots may be somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseExpired;

impl Lease {
    #[inline]
    pub(crate) fn new(semaphore: Arc<Semaphore>, held: Held) -> Lease {
        Lease { semaphore, held }
    }

    /// Takes slots of `at` for a caller who does not wait. `own` makes of `at` what the lease keeps: a
    /// refused caller does not count as an owner of the room, and a room that is owned already is not
    /// counted twice.
    #[inline(always)]
    pub(super) fn try_take<R: Borrow<Arc<Semaphore>>>(
        at: R,
        weight: u32,
        own: impl FnOnce(R) -> Arc<Semaphore>,
    ) -> Result<Lease, Denied> {
        let (semaphore, weight) = (at.borrow(), weight.max(1));
        // The rest is apart: it may take the lock and serve the line.
        match semaphore.slots.try_fast(weight, semaphore.clock()) {
            Some(Ok(held)) => Ok(Lease::new(own(at), held)),
            Some(Err(denied)) => Err(denied),
            None => Lease::try_take_slow(semaphore, weight),
        }
    }

    #[cold]
    #[inline(never)]
    fn try_take_slow(semaphore: &Arc<Semaphore>, weight: u32) -> Result<Lease, Denied> {
        let take = || semaphore.slots.take(weight, semaphore.clock().now(), false);
        let is_queued = semaphore.slots.is_queued();
        let taken = take().or_else(|denied| {
            semaphore.serve_queued();
            // The line that was in the way may have been one of waiters who have their answer.
            let is_over = is_queued && !semaphore.slots.is_queued() && !mutant("denial_kept");
            if is_over { take() } else { Err(denied) }
        });
        taken.map(|held| Lease::new(semaphore.clone(), held))
    }

    /// Makes the lease as long as a new one, from now on, if it is not longer already.
    ///
    /// # Errors
    /// If it is over. It stays so.
    pub fn renew(&self) -> Result<(), LeaseExpired> {
        let renewed = self.semaphore.slots.renew(&self.held, self.semaphore.clock().now());
        if renewed { Ok(()) } else { Err(LeaseExpired) }
    }

    /// Whether the slots are still its own.
    pub fn is_live(&self) -> bool {
        self.remaining() > Duration::ZERO
    }

    /// How long they still are: zero if they are not, [`Duration::MAX`] if the lease has no end.
    pub fn remaining(&self) -> Duration {
        match self.semaphore.slots.end_of(&self.held) {
            Some(crate::time::Timestamp::MAX) => Duration::MAX,
            Some(end) => end.since(self.semaphore.clock().now()),
            None => Duration::ZERO,
        }
    }

    /// How many slots it holds.
    pub fn weight(&self) -> u32 {
        self.held.units
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        self.semaphore.give_back(&self.held);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("weight", &self.held.units).finish_non_exhaustive()
    }
}

impl fmt::Display for LeaseExpired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lease is over: acquire another before going on")
    }
}

impl std::error::Error for LeaseExpired {}
