//! Where the states of keys are: a word each in the cells, or a record each.

use std::time::Duration;

use crate::algorithm::Algorithm;
use crate::cells::{Cells, Charge, Overflow, Queued};
use crate::decision::{Allowed, Denied};
use crate::quota::Quota;
use crate::records::{Ask, Recorded, Records};
use crate::time::{Clock, Timestamp};

use super::words::Words;

// A limiter has one, and what it decides with stands beside what it looks up.
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

    /// [`Cells::decide_fast`], where the keys are words.
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
    pub(crate) fn decide(&self, tag: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        match self {
            Store::Words(words) => words.place(tag, cost, now).decide(tag, cost, now),
            Store::Records(records) => {
                let taken = records.take(tag, self.ahead(tag), Ask::All(cost), now);
                taken.map(|(_, allowed)| allowed)
            }
        }
    }

    /// What `decide` would say, charging nothing.
    pub(crate) fn peek(&self, tag: u64, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        let peeked = match self {
            Store::Words(words) => words.cells.peek_fast(tag, cost, now),
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
            Store::Words(words) => words.place(tag, 0, now).peek_behind(tag, ahead, cost, now),
            Store::Records(records) => records.peek(tag, ahead, cost, now),
        }
    }

    /// How a key stood right after a charge on the fast path: [`Cells::stood`].
    pub(crate) fn stood(&self, charge: &Charge, full: u64) -> Option<Allowed> {
        match self {
            Store::Words(words) => words.cells.stood(charge, full),
            Store::Records(_) => None,
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
            Store::Words(words) => words.place(tag, cost, now).reserve(tag, ahead, cost, now),
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
            Store::Words(words) => words.place(tag, up_to.min(1), now).grant(tag, up_to, now),
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
            Store::Words(words) => {
                let booked = words.place(tag, cost, now).book(tag, cost, now, max_wait);
                booked.map(|(charge, (wait, allowed))| (charge, wait, allowed))
            }
            Store::Records(records) => {
                let reserved = records.take(tag, self.ahead(tag), Ask::All(cost), now);
                reserved.map(|(charge, allowed)| (charge, Duration::ZERO, allowed))
            }
        }
    }

    pub(crate) fn settle(&self, charge: &Charge, cost: u64, clock: &Clock) {
        match self {
            Store::Words(words) => words.settle(charge, cost),
            Store::Records(records) => records.settle(charge, cost, clock),
        }
    }

    pub(crate) fn reset(&self, tag: u64, now: Timestamp) {
        match self {
            Store::Words(words) => words.reset(tag, now),
            Store::Records(records) => records.reset(tag),
        }
    }

    pub(crate) fn reset_all(&self, now: Timestamp) {
        match self {
            Store::Words(words) => words.reset_all(now),
            Store::Records(records) => records.reset_all(),
        }
    }

    /// Keys in debt at `now`. Looks at all.
    pub(crate) fn len(&self, now: Timestamp) -> usize {
        match self {
            // Those that have left are counted here.
            Store::Words(words) => words.cells.len(now),
            Store::Records(records) => records.len(now),
        }
    }

    /// Bytes allocated.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Store::Words(words) => words.tables().map(Cells::memory).sum(),
            Store::Records(records) => records.memory(),
        }
    }

    pub(crate) fn overflows(&self) -> u64 {
        match self {
            Store::Words(words) => words.tables().map(Cells::overflows).sum(),
            Store::Records(records) => records.overflows(),
        }
    }

    pub(crate) fn quota(&self) -> Quota {
        match self {
            Store::Words(words) => words.cells.quota(),
            Store::Records(records) => records.quota(),
        }
    }

    pub(crate) fn set_quota(&self, quota: Quota, now: Timestamp) {
        match self {
            Store::Words(words) => words.set_quota(quota, now),
            Store::Records(records) => records.set_quota(quota, now),
        }
    }

    /// Says how many units callers wait for in the line of the key.
    pub(crate) fn set_queued(&self, tag: u64, units: u64) {
        match self {
            // In both tables: a key may leave while callers wait for it.
            Store::Words(words) => {
                words.tables().for_each(|cells| cells.set_queued(tag, units));
            }
            Store::Records(records) => records.queued().set(tag, units, |_| {}),
        }
    }

    /// The units that callers wait for, by key.
    #[inline]
    pub(crate) fn queued(&self) -> &Queued {
        match self {
            Store::Words(words) => words.cells.queued(),
            Store::Records(records) => records.queued(),
        }
    }

    /// Units that callers wait for in the line of the key.
    pub(crate) fn ahead(&self, tag: u64) -> u64 {
        self.queued().ahead(tag)
    }

    /// Brings what is known of the key near, without waiting for it.
    #[inline]
    pub(crate) fn touch(&self, tag: u64) -> u64 {
        match self {
            Store::Words(words) => words.cells.touch(tag),
            Store::Records(_) => 0,
        }
    }
}
