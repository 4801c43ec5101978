//! [`RateLimiter`] limits each key to a quota and decides at the time of a clock.
//!
//! `builder` configures a limiter, `store` and `words` hold the states of keys, `lines` adds the
//! wait lines of keys, and `reservation` is a charge that can be corrected. The decisions
//! themselves are in `cells` and `records`, wait queues in `queue`.

mod builder;
mod lines;
mod reservation;
mod store;
mod words;

use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::algorithm::{Algorithm, Gcra, LeakyBucket};
use crate::cells::Ask;
use crate::decision::{Allowed, Denied};
use crate::queue::{Acquire, WaitError, acquire_blocking};
use crate::quota::Quota;
use crate::sync::{Arc, RandomState};
use crate::time::{Clock, Timestamp};

pub use builder::RateLimiterBuilder;
pub(crate) use lines::Rate;
use lines::RatePlan;
pub use reservation::Reservation;
pub(crate) use store::Store;

/// The key hash of a zero-sized key such as `()`, which skips the hasher. Any value will do, since
/// hashers are keyed.
const UNIT: u64 = 0x9e37_79b9_7f4a_7c15;

/// Keys that [`RateLimiter::check_many`] prefetches at a time.
const BATCH: usize = 16;

/// Limits each key to a quota of its own.
///
/// Any type that implements `Hash` can be a key; the limiter neither keeps nor clones keys.
///
/// | to | call |
/// |---|---|
/// | decide a request and charge it | [`check`](Self::check), [`check_n`](Self::check_n) |
/// | decide many requests in one call | [`check_many`](Self::check_many) |
/// | decide at a timestamp of your own | [`check_at`](Self::check_at) |
/// | get the answer without a charge | [`peek`](Self::peek), [`peek_n`](Self::peek_n) |
/// | charge an estimate, correct it later | [`reserve`](Self::reserve) |
/// | wait for a turn | [`acquire`](Self::acquire), [`acquire_blocking`](Self::acquire_blocking) |
/// | learn when a turn comes, and wait elsewhere | [`book`](Self::book) |
/// | decide several limits as one | [`all`](crate::all) with [`key`](Self::key) |
///
/// ```
/// use tollgate::{Quota, RateLimiter};
///
/// let logins = RateLimiter::new(Quota::per_minute(10).burst(3));
/// match logins.check("192.0.2.7") {
///     Ok(allowed) => println!("{} more at once", allowed.remaining()),
///     Err(denied) => println!("{}", denied.retry()),
/// }
/// ```
///
/// A limit that all callers share has one key, `()`, which is not hashed. All values of all
/// zero-sized types are that key.
///
/// The limiter identifies a key by its 64-bit hash: two of n live keys share a hash with a
/// probability of n^2 / 2^65. The default hasher takes its key from the system's randomness, so
/// callers cannot provoke collisions. A faster hasher must be keyed too, and good in all 64 bits.
///
/// Share a limiter by reference or in an `Arc`: every method takes `&self`. No check waits for
/// another thread longer than a scan of one group of slots takes; to settle a charge across a
/// change of quota, and the first overflow, wait for a [`set_quota`](Self::set_quota) in progress.
/// While callers wait in line for any key, each decision takes the slow path, and a denied decision
/// may serve the waiters of its key.
///
/// `A` is the [`Algorithm`]: [`Gcra`] unless another is [chosen](Self::with_algorithm). What this
/// page says of keys and memory holds for algorithms whose state is a word ([`Gcra`],
/// [`LeakyBucket`], and a [`FixedWindow`](crate::algorithm::FixedWindow) aligned to the epoch).
/// Other algorithms keep a record per key: a decision takes a short lock, memory grows with the
/// keys that are not idle, and at `max_keys` a new key may find no room although another key has
/// become idle.
pub struct RateLimiter<A = Gcra, S = RandomState> {
    rate: Arc<Rate>,
    hasher: S,
    algorithm: PhantomData<fn() -> A>,
}

/// A key of a limiter, as a member of a set: [`RateLimiter::key`].
#[derive(Clone, Copy)]
pub struct Key<'a> {
    pub(crate) rate: &'a Rate,
    pub(crate) tag: u64,
}

impl<A: Algorithm, S: BuildHasher> RateLimiter<A, S> {
    /// Decides one unit for `key` now, and charges it if allowed.
    #[inline(always)]
    pub fn check<K: Hash + ?Sized>(&self, key: &K) -> Result<Allowed, Denied> {
        self.check_n(key, 1)
    }

    /// Decides `cost` units, all or none. A cost of 0 is a peek.
    #[inline(always)]
    pub fn check_n<K: Hash + ?Sized>(&self, key: &K, cost: u64) -> Result<Allowed, Denied> {
        self.check_at(key, cost, self.rate.clock.now())
    }

    /// Decides `cost` units at `now` instead of the clock's time.
    ///
    /// A timestamp before one already used admits no more than the later one would have.
    ///
    /// A timestamp over ten years ahead of the clock affects its own key only. Where states are
    /// words, all keys share one range of timestamps, from 9 years before the first timestamp to 10
    /// years after it (48 and 145 days at 10^10 units a second). The range moves on when the
    /// limiter's clock reaches its end. A key that is charged beyond the end is decided in a second
    /// table from then on, which holds 1,024 keys; further keys are treated as keys without room
    /// ([`overflow`](RateLimiterBuilder::overflow)). A timestamp before the range counts as its
    /// beginning.
    #[inline(always)]
    pub fn check_at<K: Hash + ?Sized>(
        &self,
        key: &K,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        let tag = self.tag(key);
        match self.rate.store.decide_fast(tag, cost, now) {
            Some(answer) => answer,
            None => self.rate.decide(tag, cost, now),
        }
    }

    /// The answer that [`check`](Self::check) would give, without a charge.
    pub fn peek<K: Hash + ?Sized>(&self, key: &K) -> Result<Allowed, Denied> {
        self.peek_n(key, 1)
    }

    /// The answer that [`check_n`](Self::check_n) would give, without a charge. The answer states
    /// what remains after a charge of `cost`. A key without a slot is answered as if there were
    /// room for it.
    pub fn peek_n<K: Hash + ?Sized>(&self, key: &K, cost: u64) -> Result<Allowed, Denied> {
        self.peek_at(key, cost, self.rate.clock.now())
    }

    /// [`peek_n`](Self::peek_n) at `now` instead of the clock's time.
    pub fn peek_at<K: Hash + ?Sized>(
        &self,
        key: &K,
        cost: u64,
        now: Timestamp,
    ) -> Result<Allowed, Denied> {
        self.rate.store.peek(self.tag(key), cost, now)
    }

    /// Decides one unit for each of `keys` now, in order, each by itself.
    ///
    /// Clears `answers`, then pushes one answer for each key. Faster than separate calls when the
    /// table is larger than the processor's cache, because the limiter prefetches the slots of a
    /// whole batch before it decides the first key.
    pub fn check_many<K: Hash>(&self, keys: &[K], answers: &mut Vec<Result<Allowed, Denied>>) {
        answers.clear();
        answers.reserve(keys.len());
        let now = self.rate.clock.now();
        for batch in keys.chunks(BATCH) {
            let mut tags = [0; BATCH];
            let mut seen = 0;
            for (tag, key) in tags.iter_mut().zip(batch) {
                *tag = self.tag(key);
                seen |= self.rate.store.touch(*tag);
            }
            // Keeps the compiler from removing the loads; their values do not matter.
            std::hint::black_box(seen);
            answers.extend(tags.iter().take(batch.len()).map(|tag| {
                let answer = self.rate.store.decide_fast(*tag, 1, now);
                answer.unwrap_or_else(|| self.rate.decide(*tag, 1, now))
            }));
        }
    }

    /// Charges `cost` units now, as an estimate that the caller can correct later.
    ///
    /// ```
    /// use tollgate::{Quota, RateLimiter};
    ///
    /// let tokens = RateLimiter::new(Quota::per_minute(10_000));
    /// let reservation = tokens.reserve("tenant-7", 4_000)?;
    /// // … the work turns out to need fewer:
    /// reservation.settle(1_234);
    /// # Ok::<(), tollgate::Denied>(())
    /// ```
    pub fn reserve<K: Hash + ?Sized>(&self, key: &K, cost: u64) -> Result<Reservation<'_>, Denied> {
        self.take(key, Ask::all(cost))
    }

    /// Charges as many units as remain, at most `up_to`: [`Reservation::cost`] says how many, which
    /// is more than 0. For work that can be done in part.
    ///
    /// ```
    /// use tollgate::{Quota, RateLimiter};
    ///
    /// let rows = RateLimiter::new(Quota::per_minute(1_000));
    /// assert_eq!(rows.grant_up_to("import", 700)?.cost(), 700);
    /// assert_eq!(rows.grant_up_to("import", 700)?.cost(), 300);
    /// assert!(rows.grant_up_to("import", 700).is_err());
    /// # Ok::<(), tollgate::Denied>(())
    /// ```
    ///
    /// # Errors
    /// If no unit remains: the error is that of a request for one unit.
    pub fn grant_up_to<K: Hash + ?Sized>(
        &self,
        key: &K,
        up_to: u64,
    ) -> Result<Reservation<'_>, Denied> {
        self.take(key, Ask::up_to(up_to))
    }

    fn take<K: Hash + ?Sized>(&self, key: &K, ask: Ask) -> Result<Reservation<'_>, Denied> {
        let now = self.rate.clock.now();
        let tag = self.tag(key);
        let store = &self.rate.store;
        let taken = store.take(tag, store.ahead(tag), ask, now);
        let taken = taken.inspect_err(|_| self.rate.serve_queued(tag))?;
        Ok(Reservation { rate: &self.rate, taken })
    }

    /// Waits in line for `cost` units, for at most `within`, and blocks this thread. Works on any
    /// clock; on a virtual clock another thread must move the time.
    ///
    /// Each key serves its callers in order of arrival. A waiter is charged when its turn comes,
    /// not before. While callers wait for a key, a [`check`](Self::check) of that key is denied,
    /// and its stated wait counts all waiters.
    ///
    /// # Errors
    /// [`WaitError::Denied`] immediately if the turn cannot come in time, if it can never come, or
    /// if the line is full; later if the quota was lowered meanwhile. Also
    /// [`WaitError::InSimulation`] and [`WaitError::Gone`].
    pub fn acquire_blocking<K: Hash + ?Sized>(
        &self,
        key: &K,
        cost: u64,
        within: Duration,
    ) -> Result<Allowed, WaitError> {
        let plan = RatePlan::new(self.rate.clone(), self.tag(key), cost, within);
        acquire_blocking(plan).map(lines::Turn::take)
    }

    /// Like [`acquire_blocking`](Self::acquire_blocking), as a future for any executor. `within`
    /// counts from the first poll. Dropping the future leaves the line; nothing was charged.
    ///
    /// # Errors
    /// Also [`WaitError::NoTimer`] if the clock has no timer.
    pub fn acquire<K: Hash + ?Sized>(&self, key: &K, cost: u64, within: Duration) -> AcquireRate {
        let plan = RatePlan::new(self.rate.clone(), self.tag(key), cost, within);
        AcquireRate(Acquire::New(plan))
    }

    /// `key` as a member of a set that is decided all or none: [`all`](crate::all).
    #[inline]
    pub fn key<K: Hash + ?Sized>(&self, key: &K) -> Key<'_> {
        Key { rate: &self.rate, tag: self.tag(key) }
    }

    /// Makes `key` as if it had never been seen.
    ///
    /// A reservation made before the reset still gives back units when it is settled.
    pub fn reset<K: Hash + ?Sized>(&self, key: &K) {
        self.rate.reset(self.tag(key));
    }

    /// The key hash. Never 0, which marks an unused slot.
    #[inline(always)]
    fn tag<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        // All values of a zero-sized type are equal. An empty `str` also has size 0, but must hash
        // like an empty `String`.
        let is_sized = size_of::<&K>() == size_of::<usize>();
        if is_sized && size_of_val(key) == 0 {
            return UNIT;
        }
        self.hasher.hash_one(key).max(1)
    }
}

impl<S: BuildHasher> RateLimiter<Gcra, S> {
    /// Charges `cost` units now for a turn that comes within `max_wait`, and returns the turn. The
    /// caller itself waits until then; meanwhile checks of the key are denied.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use tollgate::{Quota, RateLimiter, VirtualClock};
    ///
    /// let time = VirtualClock::new();
    /// let mails = RateLimiter::builder(Quota::per_second(10).burst(1)).clock(time.clock()).build();
    /// let turns: Vec<_> = (0..3).map(|_| mails.book("", 1, Duration::from_secs(1))).collect();
    /// let waits: Vec<_> = turns.iter().flatten().map(|turn| turn.wait().as_millis()).collect();
    /// assert_eq!(waits, [0, 100, 200]);
    /// ```
    ///
    /// # Errors
    /// If the turn would come later than `max_wait` (the error says after how long to retry), or if
    /// other callers wait in line for the key. Nothing is charged then.
    pub fn book<K: Hash + ?Sized>(
        &self,
        key: &K,
        cost: u64,
        max_wait: Duration,
    ) -> Result<Reservation<'_>, Denied> {
        self.take(key, Ask { within: max_wait, ..Ask::all(cost) })
    }
}

impl<S: BuildHasher> RateLimiter<LeakyBucket, S> {
    /// The level of the bucket of `key`: units admitted less units leaked, rounded up to whole
    /// units; at most the burst.
    pub fn level<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        let look = |allowed: Allowed| allowed.burst().saturating_sub(allowed.remaining());
        self.peek_n(key, 0).map_or(0, look)
    }
}

impl<A, S> RateLimiter<A, S> {
    /// Replaces the quota of all keys, now.
    ///
    /// GCRA keeps debt in units and repays it at the new rate: after 100 units of 100 an hour, a
    /// quota of 500 a second is whole again in 200 ms. Other algorithms document how they convert
    /// their states. Takes time in proportion to the table; other threads go on meanwhile, and each
    /// decision is made under the old quota or the new one.
    pub fn set_quota(&self, quota: Quota) {
        self.rate.set_quota(quota);
    }

    /// The current quota.
    pub fn quota(&self) -> Quota {
        self.rate.store.quota()
    }

    /// The number of keys in debt now. Scans the whole table.
    pub fn len(&self) -> usize {
        self.rate.store.len(self.rate.clock.now())
    }

    /// Whether no key is in debt now. Scans the whole table.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes allocated. The system commits them page by page at first use.
    pub fn memory(&self) -> usize {
        self.rate.store.memory()
    }

    /// The number of calls that found no room for their key.
    pub fn overflows(&self) -> u64 {
        self.rate.store.overflows()
    }

    /// The clock that gives the timestamps.
    pub fn clock(&self) -> &Clock {
        &self.rate.clock
    }
}

/// A future that waits in line for units of a key: [`RateLimiter::acquire`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct AcquireRate(Acquire<RatePlan>);

impl Future for AcquireRate {
    type Output = Result<Allowed, WaitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_ok(lines::Turn::take)
    }
}

impl std::fmt::Debug for AcquireRate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AcquireRate").finish_non_exhaustive()
    }
}

impl<A, S> Drop for RateLimiter<A, S> {
    fn drop(&mut self) {
        self.rate.close();
    }
}

impl<A, S> std::fmt::Debug for RateLimiter<A, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimiter").field("clock", &self.rate.clock).finish_non_exhaustive()
    }
}
