//! [`Pacer`] hands out work in batches, with a pause between them.
//!
//! This file has the batches of an iterator. `stream` has those of a stream, and `when_free` adds a
//! slot of a concurrency limit for each item.

use std::fmt;
use std::iter::{Fuse, Peekable};
use std::time::Duration;

use crate::time::{Clock, InSimulation, NoTimer, Timestamp};

#[cfg(feature = "stream")]
mod stream;
mod when_free;

#[cfg(feature = "stream")]
pub use stream::PacedStream;
pub use when_free::BatchesWhenFree;

/// Hands out work in batches, with a pause between one batch and the next.
///
/// The first batch is available immediately, and each later batch once the pause since the previous
/// batch is over. A consumer that takes longer than the pause finds only the next batch ready: no
/// credit builds up. No pause follows the last batch.
///
/// ```no_run
/// use std::time::Duration;
/// use tollgate::pacer::Pacer;
///
/// let pacer = Pacer::new(25, Duration::from_secs(2));
/// let mut batches = pacer.batches(0..100);
/// // After 0, 2, 4 and 6 seconds.
/// while let Some(batch) = batches.next_blocking()? {
///     println!("send {batch:?}");
/// }
/// # Ok::<(), tollgate::InSimulation>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pacer {
    size: usize,
    pause: Duration,
    clock: Clock,
}

/// The batches of an iterator: see [`Pacer::batches`].
#[must_use = "nothing is handed out until it is asked for"]
pub struct Batches<I: Iterator> {
    pacer: Pacer,
    items: Peekable<Fuse<I>>,
    /// The end of the pause.
    earliest: Timestamp,
}

impl Pacer {
    /// Batches of `size` items (0 counts as 1, the last batch may have fewer) with a pause of
    /// `pause` between them, timed by [`Clock::monotonic`].
    pub fn new(size: usize, pause: Duration) -> Pacer {
        Pacer { size: size.max(1), pause, clock: Clock::monotonic() }
    }

    /// Times the pauses by `clock`, which needs a timer for all methods but
    /// [`Batches::next_blocking`].
    pub fn clock(self, clock: Clock) -> Pacer {
        Pacer { clock, ..self }
    }

    /// The batches of `items`. Items are taken from the iterator when their batch is handed out;
    /// only the first item of a batch is taken before the pause, to see whether there is one.
    pub fn batches<I: IntoIterator>(&self, items: I) -> Batches<I::IntoIter> {
        Batches {
            pacer: self.clone(),
            items: items.into_iter().fuse().peekable(),
            earliest: Timestamp::ZERO,
        }
    }

    /// The end of a pause that begins now.
    fn earliest(&self) -> Timestamp {
        self.clock.now() + self.pause
    }
}

impl<I: Iterator> Batches<I> {
    /// Waits for the pause and returns the next batch, or `None` immediately if no items are left.
    ///
    /// Dropping the future loses no item.
    ///
    /// # Errors
    /// If the clock has no timer, even for the first batch.
    pub async fn next(&mut self) -> Result<Option<Vec<I::Item>>, NoTimer> {
        Ok(if self.ready().await? { Some(self.hand_out()) } else { None })
    }

    /// Like [`next`](Self::next), on any clock, but blocks this thread. On a virtual clock another
    /// thread must move the time.
    ///
    /// # Errors
    /// Inside a simulation, even for the first batch.
    pub fn next_blocking(&mut self) -> Result<Option<Vec<I::Item>>, InSimulation> {
        Ok(if self.ready_blocking()? { Some(self.hand_out()) } else { None })
    }

    /// Bounds on the number of batches left: the lower bound, and the upper bound if it is known.
    pub fn size_hint(&self) -> (usize, Option<usize>) {
        let (least, most) = self.items.size_hint();
        let size = self.pacer.size;
        (least.div_ceil(size), most.map(|most| most.div_ceil(size)))
    }

    /// Whether items are left; if so, waits for the end of the pause.
    async fn ready(&mut self) -> Result<bool, NoTimer> {
        let pause = self.pacer.clock.sleep_until(self.earliest)?;
        if self.items.peek().is_none() {
            return Ok(false);
        }
        pause.await;
        Ok(true)
    }

    fn ready_blocking(&mut self) -> Result<bool, InSimulation> {
        InSimulation::check()?;
        if self.items.peek().is_none() {
            return Ok(false);
        }
        self.pacer.clock.block_until(self.earliest)?;
        Ok(true)
    }

    fn hand_out(&mut self) -> Vec<I::Item> {
        let mut batch = Vec::new();
        // Grows item by item: an allocation of `size` items, or of the iterator's size hint, could
        // panic.
        for item in self.items.by_ref().take(self.pacer.size) {
            batch.push(item);
        }
        self.earliest = self.pacer.earliest();
        batch
    }
}

impl<I: Iterator> fmt::Debug for Batches<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches")
            .field("pacer", &self.pacer)
            .field("earliest", &self.earliest)
            .finish_non_exhaustive()
    }
}
