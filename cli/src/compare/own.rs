//! This crate's algorithms as contenders.

use std::hash::{BuildHasherDefault, DefaultHasher};

use super::contender::{Answer, Contender, Entry, Setup};
use super::report::Origin;
use tollgate::Quota;
use tollgate::RateLimiter;
use tollgate::{
    Algorithm, FixedWindow, Gcra, LeakyBucket, SlidingGranules, SlidingLog, SlidingWindow,
};
use tollgate::{Timestamp, VirtualClock};

/// The same keys in the same places every time.
type Hasher = BuildHasherDefault<DefaultHasher>;

/// A limiter by an algorithm, on the time it is told.
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

/// Granules of a window: a minute in steps of five seconds.
const GRANULES: u32 = 12;

/// All of this crate's algorithms, with all that can be chosen about them.
pub fn algorithms() -> Vec<Entry> {
    fn entry<A: Algorithm>(name: &str, algorithm: fn(Quota) -> A, what: &str) -> Entry {
        Entry::new(name, algorithm).origin(Origin::Tollgate).what(what)
    }
    vec![
        entry("gcra", Gcra::new, "units come back one by one, evenly; a word"),
        entry("leaky-bucket", LeakyBucket::new, "as gcra, told as a level; a word"),
        entry("fixed-window", FixedWindow::new, "a count for each window of the clock; a word"),
        entry(
            "fixed-first-hit",
            |quota| FixedWindow::new(quota).from_first_hit(),
            "a count for each window, which the first request begins",
        ),
        entry(
            "fixed-shifted",
            |quota| FixedWindow::new(quota).shifted_per_key(),
            "a count for each window, of each key at another moment",
        ),
        entry(
            "fixed-counting",
            |quota| FixedWindow::new(quota).counting_denied(),
            "a count for each window, denied requests included",
        ),
        entry("sliding-window", SlidingWindow::new, "the last window fades out evenly"),
        entry(
            "granules",
            |quota| SlidingGranules::new(quota, GRANULES),
            "a count for each twelfth of a window",
        ),
        entry(
            "granules-strict",
            |quota| SlidingGranules::new(quota, GRANULES).strict(),
            "a count for each twelfth, kept for a thirteenth",
        ),
        entry("sliding-log", SlidingLog::new, "every stamp is kept: exact"),
    ]
}
