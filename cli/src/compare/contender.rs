//! The interface of a limiter under comparison, as one call. `entry` says how one is made.

use std::time::Duration;

use tollgate::Quota;
use tollgate::Timestamp;
use tollgate::{Denied, Retry};

/// A limiter under comparison.
pub trait Contender {
    /// Decides `cost` units of `key`, and charges them if it allows them. `now` may be earlier than
    /// in the last call; a contender that reads a clock of its own ignores it.
    fn decide(&mut self, key: u64, cost: u64, now: Timestamp) -> Answer;

    /// The bytes that it holds, if it knows.
    fn memory(&self) -> Option<usize> {
        None
    }
}

/// The answer of a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The request may go ahead.
    Allowed,
    /// The request may not go ahead.
    Denied(Wait),
}

/// When to retry, according to the contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// After this long.
    After(Duration),
    /// No wait helps.
    Never,
    /// It does not say.
    Unstated,
}

impl Answer {
    /// Whether the request may go ahead.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Answer::Allowed)
    }
}

impl From<Denied> for Answer {
    fn from(denied: Denied) -> Answer {
        Answer::Denied(match denied.retry() {
            Retry::After(wait) => Wait::After(wait),
            Retry::Never => Wait::Never,
            _ => Wait::Unstated,
        })
    }
}

/// What a fresh contender is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The quota.
    pub quota: Quota,
    /// The capacity in keys. A contender without such a bound ignores it.
    pub max_keys: usize,
}

/// The capacity of a contender in a scenario: more than there are keys.
pub(crate) const MAX_KEYS: usize = 1 << 16;
