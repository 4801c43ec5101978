//! A limiter that is compared, as one call.

use std::time::Duration;

use tollgate::Quota;
use tollgate::Timestamp;
use tollgate::{Denied, Retry};

/// A limiter that is compared.
pub trait Contender {
    /// Decides `cost` units of `key`, and charges them if it allows. `now` may be earlier than at
    /// the last call; one that reads a clock of its own ignores it.
    fn decide(&mut self, key: u64, cost: u64, now: Timestamp) -> Answer;

    /// Bytes that it holds, if it knows.
    fn memory(&self) -> Option<usize> {
        None
    }
}

/// What a contender answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may go ahead.
    Allowed,
    /// It may not.
    Denied(Wait),
}

/// When to come back, as the contender says.
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
    /// Whether it may go ahead.
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
    /// How much per how long.
    pub quota: Quota,
    /// How many keys there is room for. One without such a bound ignores it.
    pub max_keys: usize,
}

/// Keys that a contender has room for in a scenario: more than there are.
pub(crate) const MAX_KEYS: usize = 1 << 16;
