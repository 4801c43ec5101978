//! Batches that go as soon as there are slots for them.

use std::fmt;
use std::time::Duration;

use crate::concurrency_limiter::{ConcurrencyLimiter, Lease};
use crate::queue::WaitError;

use super::{Batches, Pacer};

/// The batches of an iterator, each item with its slot: see [`Pacer::batches_when_free`].
#[must_use = "nothing is handed out until it is asked for"]
pub struct BatchesWhenFree<'a, I: Iterator> {
    batches: Batches<I>,
    slots: &'a ConcurrencyLimiter,
}

/// The items of a batch, each with its slot.
type Leased<T> = Vec<(T, Lease)>;

impl Pacer {
    /// The batches of `items`, each item with a slot of its own. A batch is handed out as soon as
    /// the pause is over (with a pause of zero: at once) and one slot is free, and has as many
    /// items as there are slots then, up to the size.
    ///
    /// The slots should be on the pacer's clock, on which the pause is counted.
    pub fn batches_when_free<'a, I: IntoIterator>(
        &self,
        items: I,
        slots: &'a ConcurrencyLimiter,
    ) -> BatchesWhenFree<'a, I::IntoIter> {
        BatchesWhenFree { batches: self.batches(items), slots }
    }
}

impl<I: Iterator> BatchesWhenFree<'_, I> {
    /// The next batch, or `None` once there are no more items. Waits in the line of the slots for
    /// the first, however long it takes, and takes what others are free without waiting.
    ///
    /// Dropping the future loses no item and no slot, but the place in line.
    ///
    /// # Errors
    /// As [`ConcurrencyLimiter::acquire`]: if the clock has no timer, the line is full or the cap
    /// is 0. No item is lost, so it can be asked again.
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
        // An item is taken once there is a slot for it.
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
