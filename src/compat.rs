//! The exact rules of limiters that Tollgate replaces, for services that must not notice the
//! change.
//!
//! For new code the limiters at the crate's root are the better choice: their waits are exact, and
//! several of them can refuse as one. The limiters here follow the rules of the original system
//! without judging them, and each page says where a rule differs from the plain algorithm.
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
//! Rules that those systems share: the limit comes with each call, so a limiter remembers counts,
//! not what remains. Each call is one atomic step here, which it is not in some of those systems.
//! If the time runs backwards, it stands still for the key. A key that finds no room among
//! [`MAX_KEYS`] is always allowed, as in those systems when their store fails. A key is identified
//! by its 64-bit hash.

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

/// The number of non-idle keys that a limiter of this module can remember.
pub const MAX_KEYS: usize = 1 << 20;

/// The state of a key whose rules come with each call.
trait Lasting: Clone + Default + Send + 'static {
    /// The moment from which on the state cannot be distinguished from the default, whatever the
    /// rules.
    fn lasts_until(&self) -> Timestamp;
}

/// The states of keys, in records.
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

    /// Runs `step` on the key's state, at `now` or at the latest time of an earlier step if that is
    /// later.
    fn update<R>(&self, tag: u64, now: Timestamp, step: impl FnOnce(&mut T, Timestamp) -> R) -> R {
        self.records.update(tag, now, step)
    }

    /// Runs `look` as `update` would, without changing the state.
    fn view<R>(&self, tag: u64, now: Timestamp, look: impl Fn(&T, Timestamp) -> R) -> R {
        self.records.view(tag, now, look)
    }
}

impl<T: Lasting> std::fmt::Debug for Keyed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// The nanoseconds of `span`, at most `u64::MAX` (584 years).
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
        // Key hashes of one shard, so that one key forgets the other.
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
        // At 20 the first key is idle.
        assert_eq!((put(2, 19, 90), put(2, 20, 90)), ((0, 19), (0, 20)));
        assert_eq!(put(2, 21, 90), (90, 21));
        assert_eq!(put(1, 89, 99), (0, 89), "the other has the room now");
        assert_eq!(put(1, 90, 99), (0, 90));
        assert_eq!(put(1, 91, 99), (99, 91));
    }
}
