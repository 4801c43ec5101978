//! [`QuotaSet`]: Relay's quotas.
//!
//! Decides several quotas as one step; `counters` counts the windows of a key.

use std::hash::Hash;
use std::time::Duration;

use super::Keyed;
use super::counters::{Counters, Windows};
use crate::sync::Mutex;
use crate::time::{Clock, Timestamp};

/// Quotas that are decided together, like Relay's `is_rate_limited`: all of them are charged, or
/// none. A quota rejects if more than its limit would be consumed.
///
/// Windows tumble. An organization's windows are shifted by its number modulo the window's length,
/// in seconds. Consumption is kept by key and window number. Quotas come with each call: limits may
/// change between calls, and a call may pass fewer quotas than another.
///
/// It decides like [`all`](crate::all) of [`FixedWindow`](crate::algorithm::FixedWindow)s, with
/// Relay's additions: a quantity of 0 asks whether the limit is reached, quotas without a limit are
/// counted, a quota may be exceeded once, and a refund need not match a charge. A refund of more
/// than was consumed lets that much more pass until the window ends.
///
/// ```
/// use std::time::Duration;
/// use tollgate::Clock;
/// use tollgate::compat::{CountedQuota, QuotaSet};
///
/// let quotas = QuotaSet::new(Clock::default());
/// let minute = Duration::from_secs(60);
/// let of = |key, limit| CountedQuota { key, limit, window: minute, organization: 7 };
/// let both = [of("errors", Some(1)), of("all", None)];
/// assert!(quotas.check(&both, 1, false).iter().all(|quota| !quota.rejected));
/// let answers = quotas.check(&both, 1, false);
/// assert!(answers[0].rejected && !answers[1].rejected);
/// assert_eq!(answers[1].consumed, 1);
/// ```
#[derive(Debug)]
pub struct QuotaSet {
    keys: Keyed<Counters>,
    /// Held while quotas are decided, so that they are one atomic step.
    step: Mutex<()>,
}

/// One quota of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedQuota<K> {
    /// The key to count by.
    pub key: K,
    /// How much may be consumed in a window. `None` (-1 in Relay): any amount, which is counted.
    pub limit: Option<u64>,
    /// The length of a window. 0 counts as a nanosecond.
    pub window: Duration,
    /// The number that shifts the windows.
    pub organization: u64,
}

/// The answer of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaAnswer {
    /// Whether the quota rejects; then no quota was charged.
    pub rejected: bool,
    /// The amount consumed after the call. Below 0 if more was refunded.
    pub consumed: i128,
}

/// A quota with its key hash and its windows.
#[derive(Clone, Copy)]
struct Counted {
    tag: u64,
    limit: Option<u64>,
    windows: Windows,
}

impl QuotaSet {
    /// Creates quotas of which nothing is consumed yet.
    pub fn new(clock: Clock) -> QuotaSet {
        QuotaSet { keys: Keyed::new(clock), step: Mutex::new(()) }
    }

    /// Charges `quantity` to all quotas now, unless a quota rejects it; returns the answers in the
    /// order of the quotas. With `over_accept_once`, a quota rejects only if its limit was reached
    /// before.
    pub fn check<K: Hash>(
        &self,
        quotas: &[CountedQuota<K>],
        quantity: u64,
        over_accept_once: bool,
    ) -> Vec<QuotaAnswer> {
        self.check_at(quotas, quantity, over_accept_once, self.keys.now())
    }

    /// Like [`check`](Self::check), at `now` or the latest time at which a quota was charged if
    /// that is later.
    pub fn check_at<K: Hash>(
        &self,
        quotas: &[CountedQuota<K>],
        quantity: u64,
        over_accept_once: bool,
        now: Timestamp,
    ) -> Vec<QuotaAnswer> {
        let quotas = self.counted(quotas);
        let rejects = |limit: u64, consumed: i128| match quantity {
            0 => consumed >= i128::from(limit),
            _ if over_accept_once => consumed >= i128::from(limit),
            _ => consumed + i128::from(quantity) > i128::from(limit),
        };
        let _one_step = self.step.lock();
        let ask = |quota: &Counted| {
            let consumed = self.consumed(quota, now);
            let rejected = quota.limit.is_some_and(|limit| rejects(limit, consumed));
            QuotaAnswer { rejected, consumed }
        };
        let mut answers: Vec<QuotaAnswer> = quotas.iter().map(ask).collect();
        if quantity > 0 && answers.iter().all(|answer| !answer.rejected) {
            quotas.iter().for_each(|quota| self.add(quota, quantity, 0, now));
            for (answer, quota) in answers.iter_mut().zip(&quotas) {
                answer.consumed = self.consumed(quota, now);
            }
        }
        answers
    }

    /// Gives `quantity` back to all quotas, in the windows of the current time.
    pub fn refund<K: Hash>(&self, quotas: &[CountedQuota<K>], quantity: u64) {
        self.refund_at(quotas, quantity, self.keys.now());
    }

    /// Like [`refund`](Self::refund), at `now` or the latest time at which a quota was charged if
    /// that is later.
    pub fn refund_at<K: Hash>(&self, quotas: &[CountedQuota<K>], quantity: u64, now: Timestamp) {
        let quotas = self.counted(quotas);
        let _one_step = self.step.lock();
        quotas.iter().for_each(|quota| self.add(quota, 0, quantity, now));
    }

    fn counted<K: Hash>(&self, quotas: &[CountedQuota<K>]) -> Vec<Counted> {
        let counted = |quota: &CountedQuota<K>| {
            let window = quota.window.as_nanos().max(1);
            // Less than the window, so it fits if the window does.
            let shift = u128::from(quota.organization) * 1_000_000_000 % window;
            let windows = Windows::new(quota.window, u64::try_from(shift).unwrap_or(0));
            Counted { tag: self.keys.tag(&quota.key), limit: quota.limit, windows }
        };
        quotas.iter().map(counted).collect()
    }

    fn consumed(&self, quota: &Counted, now: Timestamp) -> i128 {
        let balance = |counters: &Counters, now| counters.balance(quota.windows.at(now), now);
        self.keys.view(quota.tag, now, balance)
    }

    fn add(&self, quota: &Counted, consumed: u64, refunded: u64, now: Timestamp) {
        self.keys.update(quota.tag, now, |counters, now| {
            counters.add(quota.windows.at(now), consumed, refunded, now);
        });
    }
}
