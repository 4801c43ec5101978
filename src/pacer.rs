//! Work in batches, with a pause between them.

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
/// The first batch is handed out at once, each other no sooner than the pause after the one before
/// was. A consumer that takes longer than the pause finds the next batch ready, and only that one:
/// no credit builds up. There is no pause after the last.
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
    /// The pause ends then.
    earliest: Timestamp,
}

impl Pacer {
    /// Batches of `size` items (0 counts as 1, the last may have fewer) with `pause` between them,
    /// by [`Clock::monotonic`].
    pub fn new(size: usize, pause: Duration) -> Pacer {
        Pacer { size: size.max(1), pause, clock: Clock::monotonic() }
    }

    /// By `clock`, which needs a timer for all but [`Batches::next_blocking`].
    pub fn clock(self, clock: Clock) -> Pacer {
        Pacer { clock, ..self }
    }

    /// The batches of `items`, taken from them when they are handed out; only the first item of a
    /// batch is taken before the pause, to see whether there is one.
    pub fn batches<I: IntoIterator>(&self, items: I) -> Batches<I::IntoIter> {
        Batches {
            pacer: self.clone(),
            items: items.into_iter().fuse().peekable(),
            earliest: Timestamp::ZERO,
        }
    }

    /// When the pause ends that begins now.
    fn earliest(&self) -> Timestamp {
        self.clock.now() + self.pause
    }
}

impl<I: Iterator> Batches<I> {
    /// The next batch once the pause is over, or `None` once there are no more items.
    ///
    /// Dropping the future loses no item.
    ///
    /// # Errors
    /// If the clock has no timer; already for the first batch.
    pub async fn next(&mut self) -> Result<Option<Vec<I::Item>>, NoTimer> {
        Ok(if self.ready().await? { Some(self.hand_out()) } else { None })
    }

    /// As [`next`](Self::next), on any clock, but blocks this thread. On a virtual clock another
    /// thread has to move the time.
    ///
    /// # Errors
    /// Inside a simulation; already for the first batch.
    pub fn next_blocking(&mut self) -> Result<Option<Vec<I::Item>>, InSimulation> {
        Ok(if self.ready_blocking()? { Some(self.hand_out()) } else { None })
    }

    /// How many batches are left: at least, and at most if that is known.
    pub fn size_hint(&self) -> (usize, Option<usize>) {
        let (least, most) = self.items.size_hint();
        let size = self.pacer.size;
        (least.div_ceil(size), most.map(|most| most.div_ceil(size)))
    }

    /// Whether there are more items; if so, once the pause is over.
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
        // One by one: an iterator's word on its size is not worth a panic.
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
