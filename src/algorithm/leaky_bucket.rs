//! [`LeakyBucket`], the leaky bucket as a meter: it wraps [`Gcra`], which decides, and adds the
//! level of the bucket.

use std::time::Duration;

use super::{Algorithm, Gcra, InWord, Tat};
use crate::decision::{Allowed, Denied};
use crate::quota::Quota;
use crate::time::Timestamp;

/// The leaky bucket as a meter (ITU-T I.371, nginx's `limit_req`): each unit raises the level by
/// one, the bucket leaks evenly, and a cost that would make it overflow is denied.
///
/// It decides as [`Gcra`] does, which counts the free part of the same bucket, and also has the
/// [`level`](Self::level). **Bound**: `burst + floor(t * count / period)` units in any closed
/// interval of length `t`. **Worst case**: an empty bucket takes the whole burst at once and then
/// the units that leak, so with a burst of `n` up to `2n - 1` pass within a period. **Memory**: a
/// word. When the quota changes, the level stays and leaks at the new rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeakyBucket(Gcra);

impl LeakyBucket {
    /// A leaky bucket that holds the quota's burst and leaks its count in a period.
    pub fn new(quota: Quota) -> LeakyBucket {
        LeakyBucket(Gcra::new(quota))
    }

    /// Units in the bucket at `now`, rounded up. At most the burst, even if a key owes more.
    pub fn level(&self, state: &Tat, now: Timestamp) -> u64 {
        let remaining = self.decide(state, 0, now).map_or(0, |allowed| allowed.remaining());
        self.quota().burst_size() - remaining
    }
}

impl Algorithm for LeakyBucket {
    type State = Tat;

    fn quota(&self) -> Quota {
        self.0.quota()
    }

    fn set_quota(&mut self, quota: Quota) {
        self.0.set_quota(quota);
    }

    fn decide(&self, state: &Tat, cost: u64, now: Timestamp) -> Result<Allowed, Denied> {
        self.0.decide(state, cost, now)
    }

    fn charge(&self, state: &mut Tat, cost: u64, now: Timestamp) {
        self.0.charge(state, cost, now);
    }

    fn idle_at(&self, state: &Tat) -> Timestamp {
        self.0.idle_at(state)
    }

    fn bound(&self, within: Duration) -> u64 {
        self.0.bound(within)
    }

    fn settle(&self, state: &mut Tat, charged: u64, at: Timestamp, cost: u64, now: Timestamp) {
        self.0.settle(state, charged, at, cost, now);
    }

    fn convert(&self, before: &LeakyBucket, state: &mut Tat, now: Timestamp) {
        self.0.convert(&before.0, state, now);
    }

    fn in_word(&self) -> Option<InWord> {
        self.0.in_word()
    }
}
