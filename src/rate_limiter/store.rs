//! Where the states of keys are: a word each in the cells, or a record each.

use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::cells::{Cells, Charge, Overflow};
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
            Store::Records(records) => {
                records.take(tag, Ask::All(cost), now, false).map(|(_, allowed)| allowed)
            }
        }
    }

    /// What `decide` would say, charging nothing.
    pub(crate) fn peek(&self, tag: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        match self {
            Store::Words(cells) => cells.peek(tag, cost, now),
            Store::Records(records) => records.peek(tag, cost, now),
        }
    }

    /// As `peek`, `own` of the units that the key's line waits for being the caller's.
    pub(crate) fn peek_past(
        &self,
        tag: u64,
        own: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        match self {
            Store::Words(cells) => cells.peek_past(tag, own, cost, now),
            Store::Records(records) => records.peek_past(tag, own, cost, now),
        }
    }

    /// As `decide`, and says what `settle` needs to know. `turn`: for who is at the head of the
    /// key's line, if there is one.
    pub(crate) fn reserve(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
        turn: bool,
    ) -> Result<(Charge, Allowed), Denied> {
        match self {
            Store::Words(cells) => cells.reserve(tag, cost, now, turn),
            Store::Records(records) => records.take(tag, Ask::All(cost), now, turn),
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
            Store::Records(records) => records.take(tag, Ask::UpTo(up_to), now, false),
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
                self.reserve(tag, cost, now, false).map(|(charge, at)| (charge, Duration::ZERO, at))
            }
        }
    }

    pub(crate) fn settle(&self, charge: &Charge, cost: u64, clock: &Clock) {
        match self {
            Store::Words(cells) => cells.settle(charge, cost, clock),
            Store::Records(records) => records.settle(charge, cost, clock),
        }
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
        match self {
            Store::Words(cells) => cells.len(now),
            Store::Records(records) => records.len(now),
        }
    }

    /// Bytes allocated.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Store::Words(cells) => cells.memory(),
            Store::Records(records) => records.memory(),
        }
    }

    pub(crate) fn overflows(&self) -> u64 {
        match self {
            Store::Words(cells) => cells.overflows(),
            Store::Records(records) => records.overflows(),
        }
    }

    pub(crate) fn quota(&self) -> Quota {
        match self {
            Store::Words(cells) => cells.quota(),
            Store::Records(records) => records.quota(),
        }
    }

    pub(crate) fn set_quota(&self, quota: Quota, now: Timestamp) {
        match self {
            Store::Words(cells) => cells.set_quota(quota, now),
            Store::Records(records) => records.set_quota(quota, now),
        }
    }

    /// Says how many units callers wait for in the line of the key.
    pub(crate) fn set_queued(&self, tag: u64, units: u64) {
        match self {
            Store::Words(cells) => cells.set_queued(tag, units),
            Store::Records(records) => records.queued().set(tag, units, |_| {}),
        }
    }

    /// Whether callers wait for any key.
    #[inline]
    pub(crate) fn is_queued(&self) -> bool {
        match self {
            Store::Words(cells) => cells.is_queued(),
            Store::Records(records) => records.queued().any(),
        }
    }

    /// Whether keys are seen by [`Cells::sight_cut`].
    pub(crate) fn is_cut(&self) -> bool {
        match self {
            Store::Words(cells) => cells.is_cut(),
            Store::Records(_) => false,
        }
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
