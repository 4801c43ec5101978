//! [`LeakyBucket`]: Sentry's leaky bucket.
//!
//! The arithmetic is that of `algorithm::LeakyBucket`, kept in records. This file adds the two
//! differences of Sentry's rule.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use super::MAX_KEYS;
use crate::algorithm;
use crate::cells::{Ask, Overflow};
use crate::decision::{Denied, Retry};
use crate::quota::Quota;
use crate::records::{Records, States};
use crate::sync::RandomState;
use crate::time::{Clock, Timestamp};

/// A leaky bucket for each key, like Sentry's `LeakyBucketRateLimiter`: units that would overflow
/// the bucket are limited and change nothing.
///
/// It decides like [`LeakyBucket`](crate::algorithm::LeakyBucket), with two differences. A time
/// before the key's last unit counts as the time of that unit, whereas the plain algorithm uses the
/// level that the bucket would have had then. A request above the burst also gets a wait, although
/// it never passes.
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Clock, Quota};
/// use tollgate::compat::LeakyBucket;
///
/// // Two drips a second.
/// let bucket = LeakyBucket::new(Quota::per_second(2).burst(5), Clock::default());
/// assert_eq!(bucket.fill("project:7", 5).level, 5);
/// let leak = bucket.fill("project:7", 1);
/// assert!(leak.limited && leak.wait <= Duration::from_millis(500));
/// ```
#[derive(Debug)]
pub struct LeakyBucket {
    records: Levels,
    quota: Quota,
    clock: Clock,
    hasher: RandomState,
}

struct Levels(Records<algorithm::LeakyBucket>);

impl std::fmt::Debug for Levels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// The result of filling a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Whether the bucket would have overflowed.
    pub limited: bool,
    /// The units in the bucket after the call, rounded up.
    pub level: u64,
    /// The time until the units would fit, rounded up; zero if they did.
    pub wait: Duration,
}

impl LeakyBucket {
    /// Buckets that hold the quota's burst and leak its count in each period.
    pub fn new(quota: Quota, clock: Clock) -> LeakyBucket {
        let bucket = algorithm::LeakyBucket::new(quota);
        let records = Records::new(bucket, MAX_KEYS, Overflow::Allow, clock.clone());
        LeakyBucket { records: Levels(records), quota, clock, hasher: RandomState::default() }
    }

    /// Fills `units` into the bucket of `key` now, all or none.
    pub fn fill<K: Hash + ?Sized>(&self, key: &K, units: u64) -> Leak {
        self.fill_at(key, units, self.clock.now())
    }

    /// Like [`fill`](Self::fill), at `now` or the time of the key's last unit if that is later. The
    /// wait counts from `now`.
    pub fn fill_at<K: Hash + ?Sized>(&self, key: &K, units: u64, now: Timestamp) -> Leak {
        let tag = self.hasher.hash_one(key);
        match self.records.0.take(tag, 0, Ask::all(units), now).map(|taken| taken.allowed) {
            Ok(allowed) => Leak {
                limited: false,
                level: allowed.burst().saturating_sub(allowed.remaining()),
                wait: Duration::ZERO,
            },
            Err(denied) => Leak {
                limited: true,
                level: denied.burst().saturating_sub(denied.remaining()),
                wait: match denied.retry() {
                    Retry::After(wait) => wait,
                    _ => self.oversize(units, &denied),
                },
            },
        }
    }

    /// The time to leak until the level is as far below 0 as `units` are above the burst.
    fn oversize(&self, units: u64, denied: &Denied) -> Duration {
        let below = u128::from(units.saturating_sub(self.quota.burst_size()));
        let period = self.quota.period().as_nanos();
        let nanos = below.saturating_mul(period).div_ceil(u128::from(self.quota.count()));
        let more = u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos);
        denied.reset_after().saturating_add(more)
    }
}
