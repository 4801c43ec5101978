//! [`Lease`]: slots that are held until it is dropped or ends. The record of a lease is in
//! `crate::slots`.

use std::borrow::Borrow;
use std::fmt;
use std::time::Duration;

use crate::decision::Denied;
use crate::slots::Held;
use crate::sync::Arc;

use super::semaphore::Semaphore;

/// Slots that are held. Dropping the lease gives them back; at the end of the lease they become
/// free by themselves.
///
/// A lease may move to another thread or task, and may outlive its limiter. Giving it back after
/// its end, or after a reset, has no effect on the slots; [`Usage::late`](crate::Usage::late)
/// counts this, and documents how exactly.
#[must_use = "dropping a lease gives its slots back at once"]
pub struct Lease {
    semaphore: Arc<Semaphore>,
    held: Held,
}

/// The lease was over: another caller may hold its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseExpired;

impl Lease {
    #[inline]
    pub(crate) fn new(semaphore: Arc<Semaphore>, held: Held) -> Lease {
        Lease { semaphore, held }
    }

    /// Takes slots of `at` for a caller that does not wait. `own` turns `at` into the reference
    /// that the lease keeps, so that a fast refusal does not touch the count of owners, and an
    /// `Arc` that the caller owns is not cloned.
    #[inline(always)]
    pub(super) fn try_take<R: Borrow<Arc<Semaphore>>>(
        at: R,
        weight: u32,
        own: impl FnOnce(R) -> Arc<Semaphore>,
    ) -> Result<Lease, Denied> {
        let (semaphore, weight) = (at.borrow(), weight.max(1));
        // The slow path is a separate function: it may take the lock and serve the line.
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
            // The line may have held only waiters that have their answer by now.
            let is_over = is_queued && !semaphore.slots.is_queued();
            if is_over { take() } else { Err(denied) }
        });
        taken.map(|held| Lease::new(semaphore.clone(), held))
    }

    /// Extends the lease to the length of a new lease from now on, if it does not end later
    /// already.
    ///
    /// # Errors
    /// [`LeaseExpired`] if the lease is over. It stays over.
    pub fn renew(&self) -> Result<(), LeaseExpired> {
        let renewed = self.semaphore.slots.renew(&self.held, self.semaphore.clock().now());
        if renewed { Ok(()) } else { Err(LeaseExpired) }
    }

    /// Whether the lease still holds its slots.
    pub fn is_live(&self) -> bool {
        self.remaining() > Duration::ZERO
    }

    /// How long the lease still holds its slots: zero if it is over, [`Duration::MAX`] if it has no
    /// end.
    pub fn remaining(&self) -> Duration {
        match self.semaphore.slots.end_of(&self.held) {
            Some(crate::time::Timestamp::MAX) => Duration::MAX,
            Some(end) => end.since(self.semaphore.clock().now()),
            None => Duration::ZERO,
        }
    }

    /// The number of slots of the lease.
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
