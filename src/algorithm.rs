//! Algorithms: pure functions from a state to a decision. No clock, no key, no lock.
//!
//! [`Algorithm`] is what each is, and says the laws. `bucket` is the arithmetic of those whose
//! state is one number, and so fits a word of the cells.

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

/// The arithmetic of a quota: from what is remembered of a key to a decision.
///
/// Pure functions of a small value. The time is an argument; keys, locks and forgetting are the
/// limiter's. A state's default means "never seen".
///
/// The laws, which a limiter relies on and `tests/core/algorithms` holds each algorithm to:
/// 1. A cost of 0 is allowed, whatever the state, and charging it changes nothing.
/// 2. [`charge`](Self::charge) is called only with what [`decide`](Self::decide) just allowed, or
///    denied if the algorithm [counts those](Self::counts_denied).
/// 3. From [`idle_at`](Self::idle_at) on a state decides as the default does, for good.
/// 4. A state decides no more at an earlier time than at the latest it was charged at. A limiter
///    sees to that too: it never asks at an earlier one.
/// 5. At `now` plus the wait of a denial the same cost is allowed, a nanosecond earlier it is not.
/// 6. No sequence of decisions, however chosen, is allowed more than [`bound`](Self::bound).
///
/// It is asked under the lock of the key, and of all others that a set decides with it: it must not
/// call a limiter, and is expected not to panic (a panic leaves the state as it is at that moment).
pub trait Algorithm: Clone + Send + Sync + 'static {
    /// What is remembered of a key.
    type State: Clone + Default + Send + 'static;

    /// How much per how long.
    fn quota(&self) -> Quota;

    /// The same arithmetic for another quota. States made under the old one stay: what they mean
    /// under the new is for [`convert`](Self::convert) to say.
    fn set_quota(&mut self, quota: Quota);

    /// What `cost` units would get at `now`. What [remains](Allowed::remaining) is counted after
    /// the charge, if it is allowed.
    fn decide(&self, state: &Self::State, cost: u64, now: Timestamp) -> Result<Allowed, Denied>;

    /// Charges what `decide` allowed.
    fn charge(&self, state: &mut Self::State, cost: u64, now: Timestamp);

    /// From when on nobody can tell the state from the default.
    fn idle_at(&self, state: &Self::State) -> Timestamp;

    /// The most units that any closed interval of this length admits, whatever the callers do.
    fn bound(&self, within: Duration) -> u64;

    /// Makes a charge of `charged` units, made at `at`, one of `cost`: units that time has not
    /// given back are given back, more than was charged makes debt. Default: the charge stays, also
    /// one that is cancelled, or of a waiter who leaves as its turn comes.
    fn settle(
        &self,
        _state: &mut Self::State,
        _charged: u64,
        _at: Timestamp,
        _cost: u64,
        _now: Timestamp,
    ) {
    }

    /// Whether what is denied is charged too: it then keeps others out. Default: no.
    fn counts_denied(&self) -> bool {
        false
    }

    /// By how much the time of a key is ahead, so that not all keys begin a window at one moment.
    /// `identity` is the key's hash. The same whatever the quota. Default: by nothing.
    fn ahead(&self, _identity: u64) -> Duration {
        Duration::ZERO
    }

    /// Makes a state of `before` one of this, when the quota changes at `now`. Default: as it is.
    fn convert(&self, _before: &Self, _state: &mut Self::State, _now: Timestamp) {}

    /// Bytes that a state takes, the heap included.
    fn bytes(_state: &Self::State) -> usize {
        size_of::<Self::State>()
    }

    /// How its state is a word, if it is one of ours whose state is.
    #[doc(hidden)]
    fn in_word(&self) -> Option<InWord> {
        None
    }
}

/// A state that is a word: the tick at which a bucket is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InWord {
    pub(crate) refill: Refill,
}

/// When units come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Refill {
    /// Each when its time has come.
    #[default]
    Steady,
    /// A whole period's at its end. Periods are aligned to the beginning of the axis.
    Stepped,
}
