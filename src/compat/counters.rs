//! [`Counters`]: counts of a key by the number of a tumbling window.
//!
//! The state of a key in `fixed_window_counter` and `quota_set`.

use std::time::Duration;

use smallvec::SmallVec;

use super::{Lasting, nanos};
use crate::time::Timestamp;

/// Tumbling windows of equal length; one of them begins `shift` nanoseconds after the time origin.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    length: u64,
    shift: u64,
}

/// One window.
#[derive(Clone, Copy)]
pub(super) struct NthWindow {
    number: i128,
    /// The moment at which the next window begins.
    pub(super) ends: Timestamp,
}

impl Windows {
    /// A length of 0 counts as a nanosecond.
    pub(super) fn new(length: Duration, shift: u64) -> Windows {
        Windows { length: nanos(length).max(1), shift }
    }

    /// The window that contains `now`.
    pub(super) fn at(&self, now: Timestamp) -> NthWindow {
        let (length, shift) = (i128::from(self.length), i128::from(self.shift));
        let number = (i128::from(now.as_nanos()) - shift).div_euclid(length);
        let ends = u64::try_from((number + 1) * length + shift);
        NthWindow { number, ends: ends.map_or(Timestamp::MAX, Timestamp::from_nanos) }
    }
}

/// The counts of a key in windows that are not over. There is one, unless callers use different
/// window lengths.
#[derive(Clone, Default)]
pub(super) struct Counters(SmallVec<[WindowCount; 1]>);

#[derive(Clone, Copy)]
struct WindowCount {
    number: i128,
    ends: Timestamp,
    consumed: u64,
    refunded: u64,
}

impl WindowCount {
    /// A window that ends at the end of time is never over.
    fn is_over(&self, now: Timestamp) -> bool {
        self.ends <= now && self.ends < Timestamp::MAX
    }
}

impl Counters {
    /// Units consumed in a window, less the units refunded in it.
    pub(super) fn balance(&self, window: NthWindow, now: Timestamp) -> i128 {
        let same =
            |counter: &&WindowCount| counter.number == window.number && !counter.is_over(now);
        let counter = self.0.iter().find(same);
        counter.map_or(0, |counter| i128::from(counter.consumed) - i128::from(counter.refunded))
    }

    /// Counts in a window. The end of the latest call's window replaces the stored end.
    pub(super) fn add(&mut self, window: NthWindow, consumed: u64, refunded: u64, now: Timestamp) {
        self.0.retain(|counter| !counter.is_over(now));
        let NthWindow { number, ends } = window;
        match self.0.iter_mut().find(|counter| counter.number == number) {
            Some(counter) => {
                let consumed = counter.consumed.saturating_add(consumed);
                let refunded = counter.refunded.saturating_add(refunded);
                *counter = WindowCount { number, ends, consumed, refunded };
            }
            None => self.0.push(WindowCount { number, ends, consumed, refunded }),
        }
    }
}

impl Lasting for Counters {
    fn lasts_until(&self) -> Timestamp {
        self.0.iter().map(|counter| counter.ends).max().unwrap_or(Timestamp::ZERO)
    }
}
