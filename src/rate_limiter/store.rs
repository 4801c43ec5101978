//! [`Store`] holds the states of a limiter's keys: a word each in the cells, or a record each.
//!
//! It picks one of the two for the algorithm and forwards each call; most calls go through
//! [`States`].

use std::ops::Deref;

use crate::algorithm::Algorithm;
use crate::cells::{Ask, Charge, Overflow};
use crate::decision::{Allowed, Denied};
use crate::records::{Recorded, Records, States};
use crate::time::{Clock, Timestamp};

use super::words::Words;

// A limiter has one store. Not boxed: the fast path reads the words without another pointer.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Store {
    Words(Words),
    Records(Box<dyn Recorded>),
}

impl Store {
    pub(crate) fn new<A: Algorithm>(
        algorithm: A,
        max_keys: usize,
        overflow: Overflow,
        clock: &Clock,
    ) -> Store {
        let (quota, clock) = (algorithm.quota(), clock.clone());
        match algorithm.in_word() {
            Some(word) => Store::Words(Words::new(quota, word.refill, max_keys, overflow, clock)),
            None => Store::Records(Box::new(Records::new(algorithm, max_keys, overflow, clock))),
        }
    }

    /// [`Cells::decide_fast`], if the states are words.
    #[inline(always)]
    pub(crate) fn decide_fast(
        &self,
        tag: u64,
        cost: u64,
        now: Timestamp,
    ) -> Option<Result<Allowed, Denied>> {
        match self {
            Store::Words(words) => words.cells.decide_fast(tag, cost, now),
            Store::Records(_) => None,
        }
    }

    /// Decides `cost` for the key and charges it if allowed. A cost of 0 is a peek.
    #[inline]
    pub(crate) fn decide(&self, tag: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        match self {
            Store::Words(words) => words.place(tag, cost, now).decide(tag, cost, now),
            Store::Records(records) => {
                let taken = records.take(tag, self.ahead(tag), Ask::all(cost), now);
                taken.map(|taken| taken.allowed)
            }
        }
    }

    /// The answer that `decide` would give, without a charge.
    pub(crate) fn peek(&self, tag: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        let peeked = match self {
            Store::Words(words) => words.cells.peek_fast(tag, cost, now),
            Store::Records(_) => None,
        };
        peeked.unwrap_or_else(|| self.peek_past(tag, 0, cost, now))
    }

    /// Like `peek`, for a caller that itself waits for `own` units in the key's line.
    pub(crate) fn peek_past(
        &self,
        tag: u64,
        own: u64,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        self.peek_behind(tag, self.ahead(tag).saturating_sub(own), cost, now)
    }

    /// The state of a key right after a charge on the fast path: [`Cells::stood`].
    pub(crate) fn stood(&self, charge: &Charge, full: u64) -> Option<Allowed> {
        match self {
            Store::Words(words) => words.cells.stood(charge, full),
            Store::Records(_) => None,
        }
    }

    /// The units that callers wait for in the key's line.
    pub(crate) fn ahead(&self, tag: u64) -> u64 {
        self.queued().ahead(tag)
    }

    /// Prefetches the key's slot, without waiting for the memory.
    #[inline]
    pub(crate) fn touch(&self, tag: u64) -> u64 {
        match self {
            Store::Words(words) => words.cells.touch(tag),
            Store::Records(_) => 0,
        }
    }
}

impl Deref for Store {
    type Target = dyn States;

    fn deref(&self) -> &(dyn States + 'static) {
        match self {
            Store::Words(words) => words,
            Store::Records(records) => &**records,
        }
    }
}
