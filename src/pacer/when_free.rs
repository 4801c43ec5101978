//! [`BatchesWhenFree`]: batches that are handed out as soon as slots are free for their items.
//!
//! Combines `Batches` with a `ConcurrencyLimiter`, which keeps the wait line.

use std::fmt;
use std::time::Duration;

use crate::concurrency_limiter::{ConcurrencyLimiter, Lease};
use crate::queue::WaitError;

use super::{Batches, Pacer};

/// The batches of an iterator, with a slot for each item: see [`Pacer::batches_when_free`].
#[must_use = "nothing is handed out until it is asked for"]
pub struct BatchesWhenFree<'a, I: Iterator> {
    batches: Batches<I>,
    slots: &'a ConcurrencyLimiter,
}

/// The items of a batch, each with its slot.
type Leased<T> = Vec<(T, Lease)>;

impl Pacer {
    /// The batches of `items`, with a slot for each item. A batch is handed out as soon as the
    /// pause is over (with a pause of zero: immediately) and one slot is free. It has as many items
    /// as there are free slots, up to the batch size.
    ///
    /// The slots should use the pacer's clock, which times the pause.
    pub fn batches_when_free<'a, I: IntoIterator>(
        &self,
        items: I,
        slots: &'a ConcurrencyLimiter,
    ) -> BatchesWhenFree<'a, I::IntoIter> {
        BatchesWhenFree { batches: self.batches(items), slots }
    }
}

impl<I: Iterator> BatchesWhenFree<'_, I> {
    /// The next batch, or `None` if no items are left. Waits in line for the first slot, for as
    /// long as needed, and takes further slots only if they are free.
    ///
    /// Dropping the future gives up the place in line, but loses no item and no slot.
    ///
    /// # Errors
    /// As [`ConcurrencyLimiter::acquire`]: if the clock has no timer, the line is full or the cap
    /// is 0. No item is lost, so the caller can call again.
    pub async fn next(&mut self) -> Result<Option<Leased<I::Item>>, WaitError> {
        if !self.batches.ready().await.map_err(|_| WaitError::NoTimer)? {
            return Ok(None);
        }
        let first = self.slots.acquire(Duration::MAX).await?;
        Ok(Some(self.hand_out(first)))
    }

    /// As [`next`](Self::next), on any clock, but blocks this thread.
    ///
    /// # Errors
    /// As [`ConcurrencyLimiter::acquire_blocking`]. No item is lost.
    pub fn next_blocking(&mut self) -> Result<Option<Leased<I::Item>>, WaitError> {
        if !self.batches.ready_blocking().map_err(|_| WaitError::InSimulation)? {
            return Ok(None);
        }
        let first = self.slots.acquire_blocking(Duration::MAX)?;
        Ok(Some(self.hand_out(first)))
    }

    fn hand_out(&mut self, first: Lease) -> Leased<I::Item> {
        let Batches { pacer, items, earliest } = &mut self.batches;
        let mut batch = Vec::new();
        let mut slot = Some(first);
        // Takes an item only if there is a slot for it.
        while let Some(lease) = slot.take() {
            let Some(item) = items.next() else { break };
            batch.push((item, lease));
            if batch.len() < pacer.size && items.peek().is_some() {
                slot = self.slots.try_acquire().ok();
            }
        }
        *earliest = pacer.earliest();
        batch
    }
}

impl<I: Iterator> fmt::Debug for BatchesWhenFree<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchesWhenFree").field("batches", &self.batches).finish_non_exhaustive()
    }
}
