//! Where the states of keys are: a word each in the cells, or a record each.

use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::cells::{Cells, Charge, Overflow, Queued};
use crate::decision::{Allowed, Denied};
use crate::quota::Quota;
use crate::records::{Ask, Recorded, Records};
use crate::time::{Clock, Timestamp};

// A limiter has one, and what it decides with stands beside what it looks up.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Store {
    Words(Cells),
    Records(Box<dyn Recorded>),
}

macro_rules! each {
    ($store:expr, $keys:ident => $call:expr) => {
        match $store {
            Store::Words($keys) => $call,
            Store::Records($keys) => $call,
        }
    };
}

impl Store {
    pub(crate) fn new<A: Algorithm>(algorithm: A, max_keys: usize, overflow: Overflow) -> Store {
        match algorithm.in_word() {
            Some(word) => {
                let quota = algorithm.quota();
                Store::Words(Cells::new(quota, word.refill, max_keys, overflow))
            }
            None => Store::Records(Box::new(Records::new(algorithm, max_keys, overflow))),
        }
    }

    /// [`Cells::decide_fast`], where the keys are words.
    #[inline(always)]
    pub(crate) fn decide_fast(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Option<Result<Allowed, Denied>> {
        match self {
            Store::Words(cells) => cells.decide_fast(tag, cost, now),
            Store::Records(_) => None,
        }
    }

    /// Decides `cost` for the key and charges it if allowed. A cost of 0 is a peek.
    pub(crate) fn decide(&self, tag: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        match self {
            Store::Words(cells) => cells.decide(tag, cost, now),
            Store::Records(_) => {
                self.reserve(tag, self.ahead(tag), cost, now).map(|(_, allowed)| allowed)
            }
        }
    }

    /// What `decide` would say, charging nothing.
    pub(crate) fn peek(&self, tag: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        let peeked = match self {
            Store::Words(cells) => cells.peek_fast(tag, cost, now),
            Store::Records(_) => None,
        };
        peeked.unwrap_or_else(|| self.peek_past(tag, 0, cost, now))
    }

    /// As `peek`, `own` of the units that the key's line waits for being the caller's.
    pub(crate) fn peek_past(
        &self,
        tag: u64,
        own: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        let ahead = self.ahead(tag).saturating_sub(own);
        match self {
            Store::Words(cells) => cells.peek_behind(tag, ahead, cost, now),
            Store::Records(records) => records.peek(tag, ahead, cost, now),
        }
    }

    /// As `decide`, behind `ahead` units of the key's line, and says what `settle` needs to know.
    pub(crate) fn reserve(
        &self,
        tag: u64,
        ahead: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<(Charge, Allowed), Denied> {
        match self {
            Store::Words(cells) => cells.reserve(tag, ahead, cost, now),
            Store::Records(records) => records.take(tag, ahead, Ask::All(cost), now),
        }
    }

    /// Charges as much as is there, of at most `up_to` units.
    pub(crate) fn grant(
        &self,
        tag: u64,
        up_to: u64,
        now: Timestamp,
    ) -> Result<(Charge, Allowed), Denied> {
        match self {
            Store::Words(cells) => cells.grant(tag, up_to, now),
            Store::Records(records) => records.take(tag, self.ahead(tag), Ask::UpTo(up_to), now),
        }
    }

    /// Charges `cost` for a turn that comes within `max_wait`, and says after how long. Only words
    /// can owe what is not there yet.
    pub(crate) fn book(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
        max_wait: Duration,
    ) -> Result<(Charge, Duration, Allowed), Denied> {
        match self {
            Store::Words(cells) => cells.book(tag, cost, now, max_wait),
            Store::Records(_) => {
                let reserved = self.reserve(tag, self.ahead(tag), cost, now);
                reserved.map(|(charge, allowed)| (charge, Duration::ZERO, allowed))
            }
        }
    }

    pub(crate) fn settle(&self, charge: &Charge, cost: u64, clock: &Clock) {
        each!(self, keys => keys.settle(charge, cost, clock));
    }

    pub(crate) fn reset(&self, tag: u64, now: Timestamp) {
        match self {
            Store::Words(cells) => cells.reset(tag, now),
            Store::Records(records) => records.reset(tag),
        }
    }

    pub(crate) fn reset_all(&self, now: Timestamp) {
        match self {
            Store::Words(cells) => cells.reset_all(now),
            Store::Records(records) => records.reset_all(),
        }
    }

    /// Keys in debt at `now`. Looks at all.
    pub(crate) fn len(&self, now: Timestamp) -> usize {
        each!(self, keys => keys.len(now))
    }

    /// Bytes allocated.
    pub(crate) fn memory(&self) -> usize {
        each!(self, keys => keys.memory())
    }

    pub(crate) fn overflows(&self) -> u64 {
        each!(self, keys => keys.overflows())
    }

    pub(crate) fn quota(&self) -> Quota {
        each!(self, keys => keys.quota())
    }

    pub(crate) fn set_quota(&self, quota: Quota, now: Timestamp) {
        each!(self, keys => keys.set_quota(quota, now));
    }

    /// Says how many units callers wait for in the line of the key.
    pub(crate) fn set_queued(&self, tag: u64, units: u64) {
        match self {
            Store::Words(cells) => cells.set_queued(tag, units),
            Store::Records(records) => records.queued().set(tag, units, |_| {}),
        }
    }

    /// The units that callers wait for, by key.
    #[inline]
    pub(crate) fn queued(&self) -> &Queued {
        each!(self, keys => keys.queued())
    }

    /// Units that callers wait for in the line of the key.
    pub(crate) fn ahead(&self, tag: u64) -> u64 {
        self.queued().ahead(tag)
    }

    /// Brings what is known of the key near, without waiting for it.
    #[inline]
    pub(crate) fn touch(&self, tag: u64) -> u64 {
        match self {
            Store::Words(cells) => cells.touch(tag),
            Store::Records(_) => 0,
        }
    }
}
