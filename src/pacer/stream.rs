//! [`PacedStream`]: the batches of a stream, as a stream.
//!
//! Compiled with the feature `stream`. The batches of an iterator are in `pacer`.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::time::{NoTimer, Sleep, Timestamp};

use super::Pacer;

/// The batches of a stream: see [`Pacer::stream`].
#[must_use = "a stream does nothing unless it is polled"]
pub struct PacedStream<S: Stream> {
    pacer: Pacer,
    items: Pin<Box<S>>,
    ended: bool,
    /// The items received for the next batch.
    batch: Vec<S::Item>,
    /// The end of the pause.
    earliest: Timestamp,
    pause: Option<Sleep>,
}

impl Pacer {
    /// The batches of the stream `items`. A batch is handed out once the pause is over and the
    /// batch is full or the stream has ended: items gather during the pause, and a slow stream
    /// delays the batch until it is full.
    ///
    /// On a clock without a timer, the stream yields an error instead of the first batch, and ends.
    pub fn stream<S: Stream>(&self, items: S) -> PacedStream<S> {
        PacedStream {
            pacer: self.clone(),
            items: Box::pin(items),
            ended: false,
            batch: Vec::new(),
            earliest: Timestamp::ZERO,
            pause: None,
        }
    }
}

/// Only the boxed stream is pinned.
impl<S: Stream> Unpin for PacedStream<S> {}

impl<S: Stream> Stream for PacedStream<S> {
    type Item = Result<Vec<S::Item>, NoTimer>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while !this.ended && this.batch.len() < this.pacer.size {
            match ready!(this.items.as_mut().poll_next(cx)) {
                Some(item) => this.batch.push(item),
                None => this.ended = true,
            }
        }
        if this.batch.is_empty() {
            return Poll::Ready(None);
        }
        let pause = match &mut this.pause {
            Some(pause) => pause,
            None => match this.pacer.clock.sleep_until(this.earliest) {
                Ok(pause) => this.pause.insert(pause),
                Err(no_timer) => {
                    this.ended = true;
                    this.batch.clear();
                    return Poll::Ready(Some(Err(no_timer)));
                }
            },
        };
        ready!(Pin::new(pause).poll(cx));
        this.pause = None;
        this.earliest = this.pacer.earliest();
        Poll::Ready(Some(Ok(mem::take(&mut this.batch))))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let most = if self.ended { Some(0) } else { self.items.size_hint().1 };
        let most = most.and_then(|most| most.checked_add(self.batch.len()));
        // At least one batch if an item has come, but no more: an error ends the stream.
        let least = usize::from(!self.batch.is_empty());
        (least, most.map(|most| most.div_ceil(self.pacer.size)))
    }
}

impl<S: Stream> fmt::Debug for PacedStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacedStream")
            .field("pacer", &self.pacer)
            .field("earliest", &self.earliest)
            .finish_non_exhaustive()
    }
}
