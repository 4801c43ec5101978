//! [`RateLimiterBuilder`] and the constructors of [`RateLimiter`].
//!
//! A builder holds the options of a limiter until `build` creates the tables.

use std::marker::PhantomData;

use crate::algorithm::{Algorithm, Gcra};
use crate::cells::Overflow;
use crate::decision::intern;
use crate::queue::MAX_WAITERS;
use crate::quota::Quota;
use crate::sync::RandomState;
use crate::time::Clock;

use super::{Rate, RateLimiter, Store};

/// The options of a [`RateLimiter`]: [`RateLimiter::builder`].
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
    /// A limiter on the system's clock, for up to about a million keys in debt at the same time.
    pub fn new(quota: Quota) -> Self {
        Self::builder(quota).build()
    }

    /// A builder, to choose another algorithm, clock, capacity, overflow or hasher.
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
    /// A limiter with another algorithm than GCRA; otherwise like [`new`](RateLimiter::new).
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
    /// The algorithm, with its own quota, which replaces the builder's. Default: [`Gcra`].
    pub fn algorithm<B: Algorithm>(self, algorithm: B) -> RateLimiterBuilder<B, S> {
        let RateLimiterBuilder { clock, max_keys, overflow, max_waiters, hasher, name, .. } = self;
        RateLimiterBuilder { algorithm, clock, max_keys, overflow, max_waiters, hasher, name }
    }

    /// The clock that gives the timestamps. Default: [`Clock::monotonic`].
    pub fn clock(self, clock: Clock) -> Self {
        RateLimiterBuilder { clock, ..self }
    }

    /// How many keys can be in debt at the same time. Memory grows with use: up to 24 bytes for
    /// each key whose state is a word; otherwise the size of the state and 40 to 100 bytes more.
    /// Default: 1,048,576. 0 counts as 1.
    pub fn max_keys(self, max_keys: usize) -> Self {
        RateLimiterBuilder { max_keys, ..self }
    }

    /// What happens to a key that finds `max_keys` keys in debt. Default: [`Overflow::Pool`].
    pub fn overflow(self, overflow: Overflow) -> Self {
        RateLimiterBuilder { overflow, ..self }
    }

    /// How many callers may wait in line for one key; further callers are denied. Default: 1,000.
    pub fn max_waiters(self, max_waiters: usize) -> Self {
        RateLimiterBuilder { max_waiters, ..self }
    }

    /// The name that a refusal by a set of limits gives this limit. Default: its place in the set.
    /// The process keeps the name until it exits, so choose names in code and not one per tenant.
    pub fn name(self, name: &str) -> Self {
        RateLimiterBuilder { name: Some(intern(name)), ..self }
    }

    /// The hasher of keys. Default: std's SipHash with a random key. Another hasher must be keyed
    /// too if callers choose the keys, and good in all 64 bits.
    pub fn hasher<T>(self, hasher: T) -> RateLimiterBuilder<A, T> {
        let RateLimiterBuilder { algorithm, clock, max_keys, overflow, max_waiters, name, .. } =
            self;
        RateLimiterBuilder { algorithm, clock, max_keys, overflow, max_waiters, hasher, name }
    }

    /// Creates the limiter.
    pub fn build(self) -> RateLimiter<A, S> {
        let RateLimiterBuilder { algorithm, clock, max_keys, overflow, max_waiters, hasher, name } =
            self;
        let store = Store::new(algorithm, max_keys, overflow, &clock);
        let rate = Rate::new(store, clock, max_waiters, name);
        RateLimiter { rate, hasher, algorithm: PhantomData }
    }
}
