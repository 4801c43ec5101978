//! What a [`RateLimiter`] is built from.

use std::marker::PhantomData;

use crate::algorithm::{Algorithm, Gcra};
use crate::cells::Overflow;
use crate::decision::intern;
use crate::queue::MAX_WAITERS;
use crate::quota::Quota;
use crate::sync::RandomState;
use crate::time::Clock;

use super::{Rate, RateLimiter, Store};

/// What a [`RateLimiter`] is built from: [`RateLimiter::builder`].
#[derive(Clone, Debug)]
pub struct RateLimiterBuilder<A = Gcra, S = RandomState> {
    algorithm: A,
    clock: Clock,
    max_keys: usize,
    overflow: Overflow,
    max_waiters: usize,
    hasher: S,
    name: Option<&'static str>,
}

impl RateLimiter {
    /// A limiter on the system's clock for up to about a million keys in debt at once.
    pub fn new(quota: Quota) -> Self {
        Self::builder(quota).build()
    }

    /// A limiter with another algorithm, clock, capacity, overflow or hasher.
    pub fn builder(quota: Quota) -> RateLimiterBuilder {
        RateLimiterBuilder {
            algorithm: Gcra::new(quota),
            clock: Clock::default(),
            max_keys: 1 << 20,
            overflow: Overflow::default(),
            max_waiters: MAX_WAITERS,
            hasher: RandomState::default(),
            name: None,
        }
    }
}

impl<A: Algorithm> RateLimiter<A> {
    /// A limiter by another algorithm than GCRA; otherwise as [`new`](RateLimiter::new).
    ///
    /// ```
    /// use tollgate::{Quota, RateLimiter};
    /// use tollgate::algorithm::SlidingLog;
    ///
    /// let codes = RateLimiter::with_algorithm(SlidingLog::new(Quota::per_hour(5)));
    /// assert!(codes.check("+44 20 7946 0000").is_ok());
    /// ```
    pub fn with_algorithm(algorithm: A) -> Self {
        RateLimiter::builder(algorithm.quota()).algorithm(algorithm).build()
    }
}

impl<A: Algorithm, S> RateLimiterBuilder<A, S> {
    /// How a key's quota is counted. Default: [`Gcra`]. Brings a quota of its own.
    pub fn algorithm<B: Algorithm>(self, algorithm: B) -> RateLimiterBuilder<B, S> {
        let RateLimiterBuilder { clock, max_keys, overflow, max_waiters, hasher, name, .. } = self;
        RateLimiterBuilder { algorithm, clock, max_keys, overflow, max_waiters, hasher, name }
    }

    /// Where stamps come from. Default: [`Clock::monotonic`].
    pub fn clock(self, clock: Clock) -> Self {
        RateLimiterBuilder { clock, ..self }
    }

    /// How many keys can be in debt at once. Memory grows with use: up to 24 bytes for each where
    /// its state is a word, else its state and 40 to 100 more.
    /// Default: 1,048,576. 0 counts as 1.
    pub fn max_keys(self, max_keys: usize) -> Self {
        RateLimiterBuilder { max_keys, ..self }
    }

    /// What happens to a key beyond that. Default: [`Overflow::Pool`].
    pub fn overflow(self, overflow: Overflow) -> Self {
        RateLimiterBuilder { overflow, ..self }
    }

    /// How many callers may wait in line for one key; more are denied. Default: 1,000.
    pub fn max_waiters(self, max_waiters: usize) -> Self {
        RateLimiterBuilder { max_waiters, ..self }
    }

    /// What a refusal by a set of limits calls this one. Default: its place in the set. Kept for
    /// the life of the process: for names you choose, not one for each tenant.
    pub fn name(self, name: &str) -> Self {
        RateLimiterBuilder { name: Some(intern(name)), ..self }
    }

    /// How keys are hashed. Default: std's SipHash, keyed at random. Another must be keyed too if
    /// callers choose the keys, and good in all 64 bits.
    pub fn hasher<T>(self, hasher: T) -> RateLimiterBuilder<A, T> {
        let RateLimiterBuilder { algorithm, clock, max_keys, overflow, max_waiters, name, .. } =
            self;
        RateLimiterBuilder { algorithm, clock, max_keys, overflow, max_waiters, hasher, name }
    }

    /// The limiter.
    pub fn build(self) -> RateLimiter<A, S> {
        let RateLimiterBuilder { algorithm, clock, max_keys, overflow, max_waiters, hasher, name } =
            self;
        let store = Store::new(algorithm, max_keys, overflow, &clock);
        let rate = Rate::new(store, clock, max_waiters, name);
        RateLimiter { rate, hasher, algorithm: PhantomData }
    }
}
