//! The exact rules of limiters that Tollgate replaces, for who must not notice the change.
//!
//! For new code the limiters at the crate's root are the better choice: their waits are exact and
//! they refuse as one with others. Here each rule is as its system has it, whatever one may think
//! of it, and the page of each says where it differs from the plain algorithm.
//!
//! | here | the rule of | plain |
//! |---|---|---|
//! | [`FixedWindowCounter`] | Sentry's API limits | [`FixedWindow`](crate::algorithm::FixedWindow) |
//! | [`SlotsById`] | Sentry's limits of concurrent requests | [`KeyedConcurrencyLimiter`](crate::KeyedConcurrencyLimiter) |
//! | [`LeakyBucket`] | Sentry's leaky bucket | [`LeakyBucket`](crate::algorithm::LeakyBucket) |
//! | [`GranuleQuotas`] | Sentry's sliding windows | [`SlidingGranules`](crate::algorithm::SlidingGranules) |
//! | [`DistinctValues`] | Sentry's cardinality limits | [`DistinctLimiter`] |
//! | [`QuotaSet`] | Relay's quotas | [`all`](crate::all) |
//! | [`DualLimiter`] | Snuba's rate and concurrency | [`all`](crate::all) of a rate and slots |
//!
//! What those systems have in common: the limit comes with each call, so what is remembered is
//! counts, not room. Each call is one step here, which in some of them it is not. Time that runs
//! backwards stands still for the key. Everybody passes whose key finds no room among
//! [`MAX_KEYS`], as there if the store fails. A key is known by its 64-bit hash.

mod counters;
mod distinct_limiter;
mod distinct_values;
mod dual_limiter;
mod fixed_window_counter;
mod granule_quotas;
mod leaky_bucket;
mod quota_set;
mod roster;
mod slots_by_id;

use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::time::Duration;

use crate::cells::Overflow;
use crate::records::{Keep, Records};
use crate::sync::RandomState;
use crate::time::{Clock, Timestamp};

pub use distinct_limiter::{DistinctBuilder, DistinctLimiter};
pub use distinct_values::{DistinctValues, Granted};
pub use dual_limiter::{DualLimit, DualLimiter, Load, Overloaded, Running};
pub use fixed_window_counter::{FixedWindowCounter, Hit};
pub use granule_quotas::{Grant, GranuleQuota, GranuleQuotas, Request};
pub use leaky_bucket::{Leak, LeakyBucket};
pub use quota_set::{CountedQuota, QuotaAnswer, QuotaSet};
pub use slots_by_id::{SlotsById, Started};

/// How many keys of a limiter of this module are remembered at once, unless they are idle.
pub const MAX_KEYS: usize = 1 << 20;

/// What is remembered of a key whose rules come with each call.
trait Lasting: Clone + Default + Send + 'static {
    /// From when on nobody can tell it from the default, whatever the rules.
    fn lasts_until(&self) -> Timestamp;
}

/// Such states in records.
struct Keyed<T: Lasting> {
    records: Records<Lasts<T>>,
    clock: Clock,
    hasher: RandomState,
}

struct Lasts<T>(PhantomData<fn() -> T>);

impl<T> Clone for Lasts<T> {
    fn clone(&self) -> Self {
        Lasts(PhantomData)
    }
}

impl<T: Lasting> Keep for Lasts<T> {
    type Kept = T;

    fn kept_until(&self, kept: &T) -> Timestamp {
        kept.lasts_until()
    }

    fn time_ahead(&self, _identity: u64) -> Duration {
        Duration::ZERO
    }

    fn kept_bytes(_: &T) -> usize {
        size_of::<T>()
    }
}

impl<T: Lasting> Keyed<T> {
    fn new(clock: Clock) -> Keyed<T> {
        let lasts = Lasts(PhantomData);
        let records = Records::new(lasts, MAX_KEYS, Overflow::Allow, clock.clone());
        Keyed { records, clock, hasher: RandomState::default() }
    }

    fn tag<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Runs `step` on what is remembered, at `now` or the latest moment at which one was run.
    fn update<R>(&self, tag: u64, now: Timestamp, step: impl FnOnce(&mut T, Timestamp) -> R) -> R {
        self.records.update(tag, now, step)
    }

    /// Runs `look` as `update` would, changing nothing.
    fn view<R>(&self, tag: u64, now: Timestamp, look: impl Fn(&T, Timestamp) -> R) -> R {
        self.records.view(tag, now, look)
    }
}

impl<T: Lasting> std::fmt::Debug for Keyed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// Nanoseconds of a span of time, at most 584 years.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Until(Timestamp);

    impl Lasting for Until {
        fn lasts_until(&self) -> Timestamp {
            self.0
        }
    }

    #[test]
    fn a_key_without_room_is_decided_as_if_never_seen_and_forgotten() {
        let clock = Clock::default();
        let records = Records::new(Lasts(PhantomData), 1, Overflow::Allow, clock.clone());
        let keys: Keyed<Until> = Keyed { records, clock, hasher: RandomState::default() };
        // Tags of one shard, so that one forgets the other.
        let put = |tag: u64, now: u64, until: u64| {
            keys.update(tag, Timestamp::from_nanos(now), |kept, now| {
                let before = kept.0;
                kept.0 = Timestamp::from_nanos(until);
                (before.as_nanos(), now.as_nanos())
            })
        };
        assert_eq!(put(1, 10, 20), (0, 10));
        assert_eq!((put(2, 10, 90), put(2, 11, 90)), ((0, 10), (0, 11)));
        assert_eq!(put(1, 5, 20), (20, 10), "time stands still");
        assert_eq!(
            keys.view(1, Timestamp::from_nanos(5), |kept, now| (kept.0, now)).1.as_nanos(),
            10
        );
        // At 20 the first is idle.
        assert_eq!((put(2, 19, 90), put(2, 20, 90)), ((0, 19), (0, 20)));
        assert_eq!(put(2, 21, 90), (90, 21));
        assert_eq!(put(1, 89, 99), (0, 89), "the other has the room now");
        assert_eq!(put(1, 90, 99), (0, 90));
        assert_eq!(put(1, 91, 99), (99, 91));
    }
}
