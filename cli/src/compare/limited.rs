//! A limiter of this crate as a contender.

use std::hash::{BuildHasherDefault, DefaultHasher};

use super::contender::{Answer, Contender, Setup};
use tollgate::algorithm::Algorithm;
use tollgate::{RateLimiter, Timestamp, VirtualClock};

/// A hasher without a random seed, so that the same keys are in the same places in every run.
type Hasher = BuildHasherDefault<DefaultHasher>;

/// A limiter that runs an algorithm, on the time that it is given.
pub(crate) struct Limited<A>(RateLimiter<A, Hasher>);

impl<A: Algorithm> Limited<A> {
    pub(crate) fn new(algorithm: A, setup: Setup) -> Limited<A> {
        let builder = RateLimiter::builder(setup.quota).algorithm(algorithm);
        let builder = builder.clock(VirtualClock::new().clock()).hasher(Hasher::default());
        Limited(builder.max_keys(setup.max_keys).build())
    }
}

impl<A: Algorithm> Contender for Limited<A> {
    fn decide(&mut self, key: u64, cost: u64, now: Timestamp) -> Answer {
        match self.0.check_at(&key, cost, now) {
            Ok(_) => Answer::Allowed,
            Err(denied) => denied.into(),
        }
    }

    fn memory(&self) -> Option<usize> {
        Some(self.0.memory())
    }
}
