//! [`DistinctValues`]: Sentry's cardinality limits.
//!
//! Decides several values in one step of a [`DistinctLimiter`], which counts them.

use std::hash::Hash;

use super::distinct_limiter::{DistinctLimiter, ValueOf};
use crate::quota::Quota;
use crate::sync::Mutex;
use crate::time::{Clock, Timestamp};

/// Limits the different values of each prefix and window, like Sentry's cardinality limiter: of the
/// values of one call, it grants all that were seen before, and as many others as there is room
/// for.
///
/// It is a [`DistinctLimiter`] that decides many values in one step. The number of values, the
/// window and its granules are set for the whole limiter, whereas in Sentry they come with each
/// call.
///
/// ```
/// use tollgate::{Clock, Quota};
/// use tollgate::compat::DistinctValues;
///
/// let series = DistinctValues::new(Quota::per_hour(2), 60, Clock::default());
/// let granted = series.check_and_use("org:7", &[1, 2, 3, 1]);
/// assert_eq!(granted.granted, [&1, &2, &1]);
/// assert!(granted.reached);
/// ```
#[derive(Debug)]
pub struct DistinctValues {
    limiter: DistinctLimiter,
    /// Held while values are decided, so that they are one atomic step.
    step: Mutex<()>,
}

/// The values that may go ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted<'a, V> {
    /// The granted values, in the order in which they were passed.
    pub granted: Vec<&'a V>,
    /// Whether any value was not granted.
    pub reached: bool,
}

impl DistinctValues {
    /// Like [`DistinctLimiter::new`], with `granules` granules in a window.
    pub fn new(quota: Quota, granules: u32, clock: Clock) -> DistinctValues {
        let limiter = DistinctLimiter::builder(quota).granules(granules).clock(clock).build();
        DistinctValues { limiter, step: Mutex::new(()) }
    }

    /// Decides all of `values` now, and remembers those that are granted.
    pub fn check_and_use<'a, K, V>(&self, prefix: &K, values: &'a [V]) -> Granted<'a, V>
    where
        K: Hash + ?Sized,
        V: Hash,
    {
        self.check_and_use_at(prefix, values, self.limiter.clock().now())
    }

    /// Like [`check_and_use`](Self::check_and_use), at `now` or the time of the prefix's latest
    /// value if that is later.
    pub fn check_and_use_at<'a, K, V>(
        &self,
        prefix: &K,
        values: &'a [V],
        now: Timestamp,
    ) -> Granted<'a, V>
    where
        K: Hash + ?Sized,
        V: Hash,
    {
        // Hash before the lock is taken, since the caller's `Hash` runs then.
        let of = |value| (value, self.limiter.value_of(prefix, value));
        let asked: Vec<(&V, ValueOf)> = values.iter().map(of).collect();
        let _one_step = self.step.lock();
        let is_granted = |(_, of): &&(&V, ValueOf)| self.limiter.decide(*of, now).is_ok();
        let granted: Vec<&V> = asked.iter().filter(is_granted).map(|(value, _)| *value).collect();
        Granted { reached: granted.len() < values.len(), granted }
    }
}
