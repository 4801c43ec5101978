//! The trait of limiters that are compared, reduced to one call, with its answer and its setup.
//! Implementations are `Limited` for this crate's algorithms, and the command's peers.

use std::time::Duration;

use tollgate::Quota;
use tollgate::Timestamp;
use tollgate::{Denied, Retry};

/// A limiter that takes part in a comparison.
pub trait Contender {
    /// Decides a request of `cost` units for `key`, and charges them if it is allowed. `now` may be
    /// earlier than in the last call. A contender that reads its own clock ignores `now`.
    fn decide(&mut self, key: u64, cost: u64, now: Timestamp) -> Answer;

    /// The bytes that the limiter holds, or `None` if it does not know.
    fn memory(&self) -> Option<usize> {
        None
    }
}

/// The answer of a contender to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The request is allowed.
    Allowed,
    /// The request is denied, with the stated wait.
    Denied(Wait),
}

/// The time to wait before a retry, as the contender states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Retry after this time.
    After(Duration),
    /// No wait helps.
    Never,
    /// The contender states no wait.
    Unstated,
}

impl Answer {
    /// Whether the request is allowed.
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

/// The parameters of a fresh contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The quota of each key.
    pub quota: Quota,
    /// The number of keys to hold. A contender without such a bound ignores it.
    pub max_keys: usize,
}

/// The capacity of a contender in a scenario, above the number of its keys.
pub(crate) const MAX_KEYS: usize = 1 << 16;
