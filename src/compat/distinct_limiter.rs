//! [`DistinctLimiter`]: a limit on the different values of each key and window.
//!
//! `roster` is the state of a key, `records` stores it, and `distinct_values` decides many values
//! in one step.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use super::roster::Roster;
use crate::algorithm::{Algorithm, SlidingGranules};
use crate::cells::{Ask, Overflow};
use crate::decision::{Allowed, Denied, Retry};
use crate::quota::Quota;
use crate::records::{Records, States};
use crate::sync::RandomState;
use crate::time::{Clock, Timestamp};

/// Limits the different values of each key and window: how many addresses a user may log in from in
/// a day, or how many time series a tenant may name in an hour.
///
/// ```
/// use tollgate::Quota;
/// use tollgate::compat::DistinctLimiter;
///
/// let addresses = DistinctLimiter::new(Quota::per_day(2));
/// assert!(addresses.check("user:42", "192.0.2.7").is_ok());
/// assert!(addresses.check("user:42", "192.0.2.8").is_ok());
/// assert!(addresses.check("user:42", "192.0.2.9").is_err());
/// // What was seen passes for nothing, and is remembered anew:
/// assert_eq!(addresses.check("user:42", "192.0.2.7")?.remaining(), 0);
/// # Ok::<(), tollgate::Denied>(())
/// ```
///
/// The quota gives the number of values and the period; its burst plays no part. The window slides
/// in granules, like that of [`SlidingGranules`]: a value last allowed at `t` is forgotten a window
/// after the start of the granule of `t`. [`Retry::After`] is exact: the least recently seen value
/// leaves then. A denied value is not remembered.
///
/// Keys and values are identified by 64-bit hashes, keyed from the system's randomness: two of n
/// live values of a key share a hash, so that the second passes for free, with a probability of n^2
/// / 2^65. **Memory**: 17 to 39 bytes for each value, 16 for each granule in which a value was last
/// seen, and about 120 for each key. A decision takes a short lock and scans the key's granules;
/// after a granule has passed, also its values.
pub struct DistinctLimiter<S = RandomState> {
    records: Records<Distinct>,
    clock: Clock,
    hasher: S,
}

/// The options of a [`DistinctLimiter`]: [`DistinctLimiter::builder`].
#[derive(Clone, Debug)]
pub struct DistinctBuilder<S = RandomState> {
    quota: Quota,
    granules: u32,
    clock: Clock,
    max_keys: usize,
    overflow: Overflow,
    hasher: S,
}

/// The hashes of a key and of a value.
#[derive(Clone, Copy)]
pub(crate) struct ValueOf {
    key: u64,
    value: u64,
}

impl DistinctLimiter {
    /// A limiter on the system's clock, for up to about a million keys at the same time, with 60
    /// granules in a window.
    pub fn new(quota: Quota) -> Self {
        Self::builder(quota).build()
    }

    /// A builder, to choose another clock, hasher, capacity, overflow or number of granules.
    pub fn builder(quota: Quota) -> DistinctBuilder {
        DistinctBuilder {
            quota,
            granules: 60,
            clock: Clock::default(),
            max_keys: 1 << 20,
            overflow: Overflow::default(),
            hasher: RandomState::default(),
        }
    }
}

impl<S> DistinctBuilder<S> {
    /// The number of granules in a window, as for [`SlidingGranules::new`]. Default: 60, so a value
    /// is forgotten at most a sixtieth of the window early.
    pub fn granules(self, granules: u32) -> Self {
        DistinctBuilder { granules, ..self }
    }

    /// The clock that gives the timestamps. Default: [`Clock::monotonic`].
    pub fn clock(self, clock: Clock) -> Self {
        DistinctBuilder { clock, ..self }
    }

    /// How many keys can have values at the same time. Default: 1,048,576. 0 counts as 1.
    pub fn max_keys(self, max_keys: usize) -> Self {
        DistinctBuilder { max_keys, ..self }
    }

    /// What happens to a key that finds no room. Default: [`Overflow::Pool`], in which new keys
    /// share the number of values of one key.
    pub fn overflow(self, overflow: Overflow) -> Self {
        DistinctBuilder { overflow, ..self }
    }

    /// The hasher of keys and values. Default: std's SipHash with a random key. Another hasher must
    /// be keyed too if callers choose the keys or values, and good in all 64 bits.
    pub fn hasher<T>(self, hasher: T) -> DistinctBuilder<T> {
        let DistinctBuilder { quota, granules, clock, max_keys, overflow, .. } = self;
        DistinctBuilder { quota, granules, clock, max_keys, overflow, hasher }
    }

    /// Creates the limiter.
    pub fn build(self) -> DistinctLimiter<S> {
        let distinct = Distinct(SlidingGranules::new(self.quota, self.granules));
        let records = Records::new(distinct, self.max_keys, self.overflow, self.clock.clone());
        DistinctLimiter { records, clock: self.clock, hasher: self.hasher }
    }
}

impl<S: BuildHasher> DistinctLimiter<S> {
    /// Decides whether `key` may have `value` now, and remembers the value if so.
    ///
    /// [`remaining`](Allowed::remaining) is the number of further values that the key may have.
    pub fn check<K, V>(&self, key: &K, value: &V) -> Result<Allowed, Denied>
    where
        K: Hash + ?Sized,
        V: Hash + ?Sized,
    {
        self.check_at(key, value, self.clock.now())
    }

    /// Like [`check`](Self::check), at `now` instead of the clock's time. A timestamp before the
    /// key's latest value counts as the time of that value.
    pub fn check_at<K, V>(&self, key: &K, value: &V, now: Timestamp) -> Result<Allowed, Denied>
    where
        K: Hash + ?Sized,
        V: Hash + ?Sized,
    {
        self.decide(self.value_of(key, value), now)
    }

    /// The answer that [`check`](Self::check) would give, without remembering the value.
    pub fn peek<K, V>(&self, key: &K, value: &V) -> Result<Allowed, Denied>
    where
        K: Hash + ?Sized,
        V: Hash + ?Sized,
    {
        let of = self.value_of(key, value);
        self.records.peek_behind(of.key, 0, of.value, self.clock.now())
    }

    /// Forgets the values of `key`.
    pub fn reset<K: Hash + ?Sized>(&self, key: &K) {
        self.records.reset(self.tag(key), self.clock.now());
    }

    pub(crate) fn decide(&self, of: ValueOf, now: Timestamp) -> Result<Allowed, Denied> {
        self.records.take(of.key, 0, Ask::all(of.value), now).map(|taken| taken.allowed)
    }

    /// Includes the key in the hash of the value, so that keys in the shared pool do not share
    /// values.
    pub(crate) fn value_of<K, V>(&self, key: &K, value: &V) -> ValueOf
    where
        K: Hash + ?Sized,
        V: Hash + ?Sized,
    {
        let key = self.tag(key);
        // 0 would be a peek.
        ValueOf { key, value: self.hasher.hash_one((key, value)).max(1) }
    }

    fn tag<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }
}

impl<S> DistinctLimiter<S> {
    /// The number of keys that have values now. Scans all keys.
    pub fn len(&self) -> usize {
        self.records.len(self.clock.now())
    }

    /// Whether no key has values now. Scans all keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes allocated. Scans all keys.
    pub fn memory(&self) -> usize {
        self.records.memory()
    }

    /// The number of calls that found no room for their key.
    pub fn overflows(&self) -> u64 {
        self.records.overflows()
    }

    /// The clock that gives the timestamps.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

impl<S> fmt::Debug for DistinctLimiter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistinctLimiter").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// The algorithm for the records. The cost that a caller asks for is the hash of a value here; the
/// records never add costs, so they can carry a hash.
#[derive(Clone)]
struct Distinct(SlidingGranules);

impl Algorithm for Distinct {
    type State = Roster;

    fn quota(&self) -> Quota {
        self.0.quota()
    }

    fn set_quota(&mut self, quota: Quota) {
        self.0.set_quota(quota);
    }

    fn decide(&self, values: &Roster, value: u64, now: Timestamp) -> Result<Allowed, Denied> {
        let count = self.quota().count();
        let left = count.saturating_sub(values.live(now));
        if value == 0 {
            return Ok(Allowed::new(count, left, values.last().since(now)));
        }
        let reset_after = self.0.free_at(now).max(values.last()).since(now);
        match left.checked_sub(u64::from(!values.is_live(value, now))) {
            Some(left) => Ok(Allowed::new(count, left, reset_after)),
            None => {
                let retry = Retry::After(values.down_to(count - 1).since(now));
                Err(Denied::new(count, left, values.last().since(now), retry))
            }
        }
    }

    fn charge(&self, values: &mut Roster, value: u64, now: Timestamp) {
        if value > 0 {
            values.reap(now);
            values.put(value, self.0.free_at(now));
        }
    }

    fn idle_at(&self, values: &Roster) -> Timestamp {
        values.last()
    }

    /// Counts values instead of units. At the end of the last granule of a window, the values of
    /// all its granules are still remembered.
    fn bound(&self, within: Duration) -> u64 {
        self.0.bound(within)
    }

    fn bytes(values: &Roster) -> usize {
        values.bytes()
    }
}
