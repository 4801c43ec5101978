//! Algorithms: pure functions from a state and a time to a decision. No clock, no key, no lock.
//!
//! [`Algorithm`] is the trait that each implements and states the laws that it obeys. `bucket` is
//! the arithmetic of the algorithms whose state is one number and so fits a word of `cells`.

mod axis;
mod bucket;
mod fixed_window;
mod gcra;
mod history;
mod leaky_bucket;
mod sliding_granules;
mod sliding_log;
mod sliding_window;

use std::time::Duration;

use crate::decision::{Allowed, Denied};
use crate::quota::Quota;
use crate::time::Timestamp;

pub(crate) use bucket::{Bucket, Moment, step};
pub use fixed_window::{FixedWindow, Window};
pub use gcra::{Gcra, Tat};
pub use history::History;
#[cfg(feature = "compat")]
pub(crate) use history::Span;
pub use leaky_bucket::LeakyBucket;
pub use sliding_granules::SlidingGranules;
pub use sliding_log::SlidingLog;
pub use sliding_window::{SlidingWindow, TwoWindows};

/// The arithmetic of a quota: decides and charges costs, given the state of a key.
///
/// The methods are pure functions of a small value and take the time as an argument. The limiter
/// does the rest: keys, locks, forgetting. The default state means "never seen".
///
/// A limiter relies on these laws, and `tests/core/algorithms` tests each algorithm against them:
/// 1. A cost of 0 is allowed, whatever the state, and charging it changes nothing.
/// 2. A limiter calls [`charge`](Self::charge) only with a cost that [`decide`](Self::decide) just
///    allowed, or denied if the algorithm [counts denied costs](Self::counts_denied).
/// 3. From [`idle_at`](Self::idle_at) on, a state decides as the default state does, for good.
/// 4. At a time before its latest charge, a state allows no more than at the time of that charge. A
///    limiter never asks at an earlier time anyway.
/// 5. At `now` plus the wait of a denial the same cost is allowed, a nanosecond earlier it is not.
/// 6. No interval admits more than [`bound`](Self::bound) units, whatever the calls are.
///
/// A limiter calls these methods under the lock of the key, and of all other keys of the same
/// transaction. They must not call a limiter, and should not panic: a panic leaves the state as it
/// is at that moment.
pub trait Algorithm: Clone + Send + Sync + 'static {
    /// The state of a key.
    type State: Clone + Default + Send + 'static;

    /// The quota that the algorithm enforces.
    fn quota(&self) -> Quota;

    /// Replaces the quota. States made under the old quota remain; [`convert`](Self::convert) gives
    /// them their meaning under the new one.
    fn set_quota(&mut self, quota: Quota);

    /// Decides `cost` units at `now` without charging them. An allowed answer states what
    /// [remains](Allowed::remaining) after the charge.
    fn decide(&self, state: &Self::State, cost: u64, now: Timestamp) -> Result<Allowed, Denied>;

    /// Charges `cost` units that [`decide`](Self::decide) allowed at `now`.
    fn charge(&self, state: &mut Self::State, cost: u64, now: Timestamp);

    /// The time from which on the state is equivalent to the default state.
    fn idle_at(&self, state: &Self::State) -> Timestamp;

    /// The most units that any closed interval of length `within` admits, whatever the callers do.
    fn bound(&self, within: Duration) -> u64;

    /// Corrects a charge of `charged` units, made at `at`, to `cost` units. If `cost` is lower,
    /// gives back the difference, less the units that time has already given back; if higher,
    /// charges the difference as debt. The default leaves the charge as it is, even if the caller
    /// cancels it or is a waiter that leaves as its turn comes.
    fn settle(
        &self,
        _state: &mut Self::State,
        _charged: u64,
        _at: Timestamp,
        _cost: u64,
        _now: Timestamp,
    ) {
    }

    /// Whether denied costs are charged too, and so keep others out. Default: no.
    fn counts_denied(&self) -> bool {
        false
    }

    /// How far the time of a key is ahead of the clock, so that keys begin their windows at
    /// different times. `identity` is the key hash. Must not depend on the quota. Default: zero.
    fn ahead(&self, _identity: u64) -> Duration {
        Duration::ZERO
    }

    /// Converts a state of `before` into a state of `self` when the quota changes at `now`. The
    /// default leaves the state as it is.
    fn convert(&self, _before: &Self, _state: &mut Self::State, _now: Timestamp) {}

    /// Bytes that a state takes, including the heap.
    fn bytes(_state: &Self::State) -> usize {
        size_of::<Self::State>()
    }

    /// How the state fits in a word. `Some` only for algorithms of this crate whose state does.
    #[doc(hidden)]
    fn in_word(&self) -> Option<InWord> {
        None
    }
}

/// Marks an algorithm whose state fits in a word: the tick at which the bucket is full again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InWord {
    pub(crate) refill: Refill,
}

/// How units come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Refill {
    /// One by one, evenly.
    #[default]
    Steady,
    /// The count of a period all together at the end of the period. Periods are aligned to the
    /// beginning of the time axis.
    Stepped,
}
