//! [`DistinctLimiter`]: so many different values for each key and window.

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

/// At most so many different values for each key and window: how many addresses a user may log in
/// from in a day, how many time series a tenant may name in an hour.
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
/// The quota says how many and in which period; its burst plays no part. The window slides in
/// granules, as that of [`SlidingGranules`]: a value last allowed at `t` is forgotten a window after
/// the granule of `t` began. [`Retry::After`] is exact: then the value that was not seen for longest
/// leaves. A value that is denied is not remembered.
///
/// Keys and values are known by 64-bit hashes alone, keyed from the system's randomness: two of n
/// live values of a key are taken for one, the second then passing for nothing, with a chance of
/// n^2 / 2^65. **Memory**: 17 to 39 bytes for each value, 16 for each granule in which one was last
/// seen, and about 120 for each key. A decision takes a short lock and looks at each granule of the
/// key; when one has passed, at each value.
pub struct DistinctLimiter<S = RandomState> {
    records: Records<Distinct>,
    clock: Clock,
    hasher: S,
}

/// What a [`DistinctLimiter`] is built from: [`DistinctLimiter::builder`].
#[derive(Clone, Debug)]
pub struct DistinctBuilder<S = RandomState> {
    quota: Quota,
    granules: u32,
    clock: Clock,
    max_keys: usize,
    overflow: Overflow,
    hasher: S,
}

/// A key, and a value of it, by their hashes.
#[derive(Clone, Copy)]
pub(crate) struct ValueOf {
    key: u64,
    value: u64,
}

impl DistinctLimiter {
    /// A limiter on the system's clock, for up to about a million keys at once, in 60 granules.
    pub fn new(quota: Quota) -> Self {
        Self::builder(quota).build()
    }

    /// A limiter with another clock, hasher, capacity, overflow or number of granules.
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
    /// In how many granules a window is divided, as [`SlidingGranules::new`] takes them. Default:
    /// 60, so that a value is forgotten a sixtieth of the window early at most.
    pub fn granules(self, granules: u32) -> Self {
        DistinctBuilder { granules, ..self }
    }

    /// Where stamps come from. Default: [`Clock::monotonic`].
    pub fn clock(self, clock: Clock) -> Self {
        DistinctBuilder { clock, ..self }
    }

    /// How many keys can have values at once. Default: 1,048,576. 0 counts as 1.
    pub fn max_keys(self, max_keys: usize) -> Self {
        DistinctBuilder { max_keys, ..self }
    }

    /// What happens to a key beyond that. Default: [`Overflow::Pool`], in which newcomers share the
    /// number of values of one key.
    pub fn overflow(self, overflow: Overflow) -> Self {
        DistinctBuilder { overflow, ..self }
    }

    /// How keys and values are hashed. Default: std's SipHash, keyed at random. Another must be keyed
    /// too if callers choose them, and good in all 64 bits.
    pub fn hasher<T>(self, hasher: T) -> DistinctBuilder<T> {
        let DistinctBuilder { quota, granules, clock, max_keys, overflow, .. } = self;
        DistinctBuilder { quota, granules, clock, max_keys, overflow, hasher }
    }

    /// The limiter.
    pub fn build(self) -> DistinctLimiter<S> {
        let distinct = Distinct(SlidingGranules::new(self.quota, self.granules));
        let records = Records::new(distinct, self.max_keys, self.overflow, self.clock.clone());
        DistinctLimiter { records, clock: self.clock, hasher: self.hasher }
    }
}

impl<S: BuildHasher> DistinctLimiter<S> {
    /// Decides whether `key` may have `value` now, and remembers it if so.
    ///
    /// What [remains](Allowed::remaining) is how many values more there may be.
    pub fn check<K, V>(&self, key: &K, value: &V) -> Result<Allowed, Denied>
    where
        K: Hash + ?Sized,
        V: Hash + ?Sized,
    {
        self.check_at(key, value, self.clock.now())
    }

    /// [`check`](Self::check) at `now` instead of the clock's time. A stamp before one at which the
    /// key was given a value counts as that.
    pub fn check_at<K, V>(&self, key: &K, value: &V, now: Timestamp) -> Result<Allowed, Denied>
    where
        K: Hash + ?Sized,
        V: Hash + ?Sized,
    {
        self.decide(self.value_of(key, value), now)
    }

    /// What [`check`](Self::check) would say, remembering nothing.
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

    /// With the key in the hash of the value: keys that share a pool do not share values.
    pub(crate) fn value_of<K, V>(&self, key: &K, value: &V) -> ValueOf
    where
        K: Hash + ?Sized,
        V: Hash + ?Sized,
    {
        let key = self.tag(key);
        // 0 asks for nothing.
        ValueOf { key, value: self.hasher.hash_one((key, value)).max(1) }
    }

    fn tag<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }
}

impl<S> DistinctLimiter<S> {
    /// How many keys have values now. Looks at every key.
    pub fn len(&self) -> usize {
        self.records.len(self.clock.now())
    }

    /// Whether no key has values now. Looks at every key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes allocated. Looks at every key.
    pub fn memory(&self) -> usize {
        self.records.memory()
    }

    /// How many calls found no room for their key.
    pub fn overflows(&self) -> u64 {
        self.records.overflows()
    }

    /// Where stamps come from.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

impl<S> fmt::Debug for DistinctLimiter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistinctLimiter").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// The arithmetic. To the records a value is what a cost is elsewhere: what is asked of the key.
/// It is never added to another, so that it is a hash does not matter to them.
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

    /// Values, where it is units of others: those of as many granules in a row as are a window are
    /// all remembered at the end of the last.
    fn bound(&self, within: Duration) -> u64 {
        self.0.bound(within)
    }

    fn bytes(values: &Roster) -> usize {
        values.bytes()
    }
}
