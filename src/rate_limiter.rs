//! [`RateLimiter`]: a quota for each key, on a clock.

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

/// The identity of a key without size, as `()`: nobody waits for a hasher to say it. Any number would
/// do, as hashers are keyed.
const UNIT: u64 = 0x9e37_79b9_7f4a_7c15;

/// Keys that one call of [`RateLimiter::check_many`] brings near at a time.
const BATCH: usize = 16;

/// A quota for each key, kept apart.
///
/// A key is anything that hashes; it is neither kept nor cloned. Which verb is right:
///
/// | to | call |
/// |---|---|
/// | decide a request and charge it | [`check`](Self::check), [`check_n`](Self::check_n) |
/// | decide many at once | [`check_many`](Self::check_many) |
/// | decide at a stamp of your own | [`check_at`](Self::check_at) |
/// | look without charging | [`peek`](Self::peek), [`peek_n`](Self::peek_n) |
/// | charge an estimate, correct it later | [`reserve`](Self::reserve) |
/// | wait for one's turn | [`acquire`](Self::acquire), [`acquire_blocking`](Self::acquire_blocking) |
/// | know when one's turn will be, and wait elsewhere | [`book`](Self::book) |
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
/// A limit that all share has one key, `()`, which is not hashed; all values of any type without size
/// are that key.
///
/// A key is known by its 64-bit hash alone: two of n live keys are taken for one with a chance of
/// n^2 / 2^65. The hasher is keyed from the system's randomness, so nobody can make keys collide.
/// A faster one must be keyed too, and good in all 64 bits.
///
/// Share it by reference or in an `Arc`. Every verb takes `&self`, and no check waits for another
/// thread longer than a look through one group of slots takes; settling over a change of quota and
/// the first overflow wait for a [`set_quota`](Self::set_quota) under way. While callers wait in line
/// for any key, each decision leaves the fast path, and one that is denied may serve those before it.
///
/// `A` is the [`Algorithm`]: [`Gcra`] unless another is [chosen](Self::with_algorithm). What is said
/// here of keys and memory is so where its state is a word ([`Gcra`], [`LeakyBucket`], and a
/// [`FixedWindow`](crate::algorithm::FixedWindow) aligned to the epoch). Other states are in records, one to a
/// key: a decision takes a short lock, memory grows with the keys that are not idle, and at
/// `max_keys` a newcomer may find no room although a key has become idle.
pub struct RateLimiter<A = Gcra, S = RandomState> {
    rate: Arc<Rate>,
    hasher: S,
    algorithm: PhantomData<fn() -> A>,
}

/// A key of a limiter, as a part of a set: [`RateLimiter::key`].
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
    /// A stamp before one already used admits no more than the later one would have.
    ///
    /// A stamp over ten years ahead of the clock concerns its own key only. Where states are words one
    /// axis serves all keys: it begins 9 years before the first stamp, ends 10 years after it (48 and
    /// 145 days at 10^10 a second), and moves on when the limiter's clock gets to its end. A key that is
    /// charged beyond the end is decided apart from then on; 1,024 keys can be, and more of them are
    /// keys without room. Stamps before the axis count as its beginning.
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

    /// What [`check`](Self::check) would say, charging nothing.
    pub fn peek<K: Hash + ?Sized>(&self, key: &K) -> Result<Allowed, Denied> {
        self.peek_n(key, 1)
    }

    /// What [`check_n`](Self::check_n) would say, charging nothing. What remains is counted
    /// before the charge that does not happen, if `cost` is 0, and after it otherwise.
    /// A key without a slot is answered as if there were room for it.
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
    /// `answers` is emptied first and then holds an answer for each key. Faster than one by one
    /// when the table is larger than the processor's cache: memory is asked for all keys of a
    /// batch before the first is decided.
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
            // The loads must happen; their values do not matter.
            std::hint::black_box(seen);
            answers.extend(tags.iter().take(batch.len()).map(|tag| {
                let answer = self.rate.store.decide_fast(*tag, 1, now);
                answer.unwrap_or_else(|| self.rate.decide(*tag, 1, now))
            }));
        }
    }

    /// Charges `cost` units now that may turn out to be more or fewer.
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

    /// Charges as many units as are there, of at most `up_to`:
    /// [`Reservation::cost`] says how many, which is more than 0. For work that can be done in part.
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
    /// If nothing is there: as if one unit had been asked.
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

    /// Waits in line for `cost` units, `within` so long, on this thread. Works on any clock; on a
    /// virtual one another thread must move the time.
    ///
    /// First come, first served, for each key. Nobody is charged before its turn, and while anybody
    /// waits a [`check`](Self::check) of that key is denied, with the wait behind all of them.
    ///
    /// # Errors
    /// [`WaitError::Denied`] at once if the turn cannot come in time, if it never can, or if the line
    /// is full; later if the quota was lowered meanwhile. [`WaitError::InSimulation`],
    /// [`WaitError::Gone`].
    pub fn acquire_blocking<K: Hash + ?Sized>(
        &self,
        key: &K,
        cost: u64,
        within: Duration,
    ) -> Result<Allowed, WaitError> {
        let plan = RatePlan::new(self.rate.clone(), self.tag(key), cost, within);
        acquire_blocking(plan).map(lines::Turn::take)
    }

    /// As [`acquire_blocking`](Self::acquire_blocking), under `.await` and any executor, `within` so
    /// long from the first poll. Dropping the future leaves the line; nothing was charged.
    ///
    /// # Errors
    /// Also [`WaitError::NoTimer`] if the clock has no timer.
    pub fn acquire<K: Hash + ?Sized>(&self, key: &K, cost: u64, within: Duration) -> AcquireRate {
        let plan = RatePlan::new(self.rate.clone(), self.tag(key), cost, within);
        AcquireRate(Acquire::New(plan))
    }

    /// `key` as a part of a set that is decided all or none: [`all`](crate::all).
    #[inline]
    pub fn key<K: Hash + ?Sized>(&self, key: &K) -> Key<'_> {
        Key { rate: &self.rate, tag: self.tag(key) }
    }

    /// Makes `key` as if it had never been seen.
    ///
    /// A reservation made before gives back all the same when it is settled.
    pub fn reset<K: Hash + ?Sized>(&self, key: &K) {
        self.rate.reset(self.tag(key));
    }

    /// The identity of a key. Never 0, which marks an unused slot.
    #[inline(always)]
    fn tag<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        // Nothing tells two values without size apart. An empty `str` also has none, but is hashed as
        // an empty `String` is.
        let is_sized = size_of::<&K>() == size_of::<usize>();
        if is_sized && size_of_val(key) == 0 {
            return UNIT;
        }
        self.hasher.hash_one(key).max(1)
    }
}

impl<S: BuildHasher> RateLimiter<Gcra, S> {
    /// Charges `cost` units now for a turn that comes within `max_wait`, and says when: for callers
    /// that schedule themselves. Until then the key owes more than its burst.
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
    /// If the turn would come later: after how long. Then, and if others wait in line for the key,
    /// nothing is charged.
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
    /// How full the bucket of `key` is: what was admitted less what has leaked, in whole units,
    /// rounded up; at most the burst.
    pub fn level<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        let look = |allowed: Allowed| allowed.burst().saturating_sub(allowed.remaining());
        self.peek_n(key, 0).map_or(0, look)
    }
}

impl<A, S> RateLimiter<A, S> {
    /// Puts another quota in force for all keys, now.
    ///
    /// By GCRA debt is kept in units and repaid at the new rate: after 100 units of 100 an hour, a
    /// quota of 500 a second is whole again in 200 ms. Other algorithms say what becomes of their
    /// states. Takes time in proportion to the table; others
    /// go on meanwhile, each decision under the old quota or the new.
    pub fn set_quota(&self, quota: Quota) {
        self.rate.set_quota(quota);
    }

    /// The quota in force.
    pub fn quota(&self) -> Quota {
        self.rate.store.quota()
    }

    /// How many keys are in debt now. Looks at the whole table.
    pub fn len(&self) -> usize {
        self.rate.store.len(self.rate.clock.now())
    }

    /// Whether no key is in debt now. Looks at the whole table.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes allocated. The system gives them page by page as they are first used.
    pub fn memory(&self) -> usize {
        self.rate.store.memory()
    }

    /// How many calls found no room for their key.
    pub fn overflows(&self) -> u64 {
        self.rate.store.overflows()
    }

    /// Where stamps come from.
    pub fn clock(&self) -> &Clock {
        &self.rate.clock
    }
}

/// Waits in line for units of a key: [`RateLimiter::acquire`].
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
