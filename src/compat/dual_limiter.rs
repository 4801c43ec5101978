//! [`DualLimiter`]: Snuba's rate and concurrency.
//!
//! Counts the queries of a bucket by one moment each; `Keyed` stores the buckets.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use super::{Keyed, Lasting};
use crate::time::{Clock, Timestamp};

/// Limits the queries in progress and the queries of the last minute together, like Snuba's
/// `rate_limit` for each bucket.
///
/// A bucket stores one moment per query: its deadline while the query runs, and its start once the
/// query has [finished](Running). Queries whose moment is in the future are concurrent, including
/// the new query. Queries whose moment is in the lookback up to now, both ends included, are
/// recent. A query is denied if and only if more queries are concurrent than allowed, or more are
/// recent than the rate allows in the lookback; a denied query is not counted. A query that never
/// finishes is recent from its deadline on.
///
/// Unlike [`all`](crate::all) of a [`SlidingLog`](crate::algorithm::SlidingLog) and slots, this
/// limiter counts a query towards the rate only when it has finished. Unlike Snuba, which counts
/// before it checks, this limiter gives the last place to exactly one of two racing queries, and a
/// query finishes in the bucket it started in, even if the limits have changed. Rates are in whole
/// queries a second.
///
/// ```
/// use std::time::Duration;
/// use tollgate::Clock;
/// use tollgate::compat::{DualLimit, DualLimiter};
///
/// let (deadline, lookback) = (Duration::from_secs(60), Duration::from_secs(60));
/// let queries = DualLimiter::new(deadline, lookback, Clock::default());
/// let limit = DualLimit { concurrent: Some(1), per_second: Some(50) };
/// let running = queries.start("project:7", limit)?;
/// assert!(queries.start("project:7", limit).is_err());
/// drop(running);
/// assert_eq!(queries.start("project:7", limit)?.load().recent, 1);
/// # Ok::<(), tollgate::compat::Overloaded>(())
/// ```
#[derive(Debug)]
pub struct DualLimiter {
    keys: Keyed<Moments>,
    duration: Duration,
    lookback: Duration,
}

/// The limits of a bucket. `None`: any amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DualLimit {
    /// Queries in progress at the same time.
    pub concurrent: Option<u64>,
    /// Queries a second, on average over the lookback.
    pub per_second: Option<u64>,
}

/// The state of a bucket when a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Queries in progress, including this one.
    pub concurrent: u64,
    /// Queries of the lookback that are not in progress.
    pub recent: u64,
}

/// The error of a query that may not run; it was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded {
    /// The state of the bucket.
    pub load: Load,
}

/// A query in progress. Dropping it finishes the query, in the bucket it started in.
#[must_use = "dropping it finishes the query at once"]
pub struct Running<'a> {
    limiter: &'a DualLimiter,
    bucket: u64,
    start: Timestamp,
    deadline: Timestamp,
    load: Load,
}

/// The moments of a bucket, and the moment until which they matter.
#[derive(Clone, Default)]
struct Moments {
    queries: BTreeMap<Timestamp, u64>,
    /// The total number of queries.
    len: u64,
    until: Timestamp,
}

/// A moment at the end of time is never over.
fn is_ahead(moment: Timestamp, now: Timestamp) -> bool {
    moment > now || moment == Timestamp::MAX
}

impl Moments {
    fn load(&self, now: Timestamp) -> Load {
        let ahead = self.queries.iter().rev().take_while(|(moment, _)| is_ahead(**moment, now));
        let concurrent = ahead.map(|(_, queries)| queries).sum();
        Load { concurrent, recent: self.len - concurrent }
    }

    fn forget_before(&mut self, moment: Timestamp) {
        while let Some(first) = self.queries.first_entry().filter(|first| *first.key() < moment) {
            self.len -= first.remove();
        }
    }

    fn add(&mut self, moment: Timestamp, lookback: Duration) {
        *self.queries.entry(moment).or_default() += 1;
        self.len += 1;
        // The lookback includes its end.
        self.until = self.until.max(moment + lookback + Duration::from_nanos(1));
    }

    fn remove(&mut self, moment: Timestamp) -> bool {
        let Some(queries) = self.queries.get_mut(&moment) else { return false };
        *queries -= 1;
        if *queries == 0 {
            self.queries.remove(&moment);
        }
        self.len -= 1;
        true
    }
}

impl Lasting for Moments {
    fn lasts_until(&self) -> Timestamp {
        self.until
    }
}

impl DualLimiter {
    /// Creates buckets without queries. A query is in progress for at most `duration`; the rate
    /// covers the last `lookback`.
    pub fn new(duration: Duration, lookback: Duration, clock: Clock) -> DualLimiter {
        DualLimiter { keys: Keyed::new(clock), duration, lookback }
    }

    /// Starts a query in a bucket now, if there is room.
    ///
    /// # Errors
    /// If there is no room.
    pub fn start<K>(&self, bucket: &K, limit: DualLimit) -> Result<Running<'_>, Overloaded>
    where
        K: Hash + ?Sized,
    {
        let bucket = self.keys.tag(bucket);
        self.keys.update(bucket, self.keys.now(), |queries, start| {
            queries.forget_before(start - self.lookback);
            let deadline = start + self.duration;
            let Load { concurrent, recent } = queries.load(start);
            let concurrent = concurrent + u64::from(is_ahead(deadline, start));
            let load = Load { concurrent, recent };
            if limit.concurrent.is_some_and(|limit| concurrent > limit)
                || limit.per_second.is_some_and(|limit| self.is_above(limit, recent))
            {
                return Err(Overloaded { load });
            }
            queries.add(deadline, self.lookback);
            Ok(Running { limiter: self, bucket, start, deadline, load })
        })
    }

    fn is_above(&self, per_second: u64, recent: u64) -> bool {
        let nanos = self.lookback.as_nanos();
        u128::from(recent) * 1_000_000_000 > u128::from(per_second).saturating_mul(nanos)
    }
}

impl Running<'_> {
    /// The state of the bucket when the query came.
    pub fn load(&self) -> Load {
        self.load
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let DualLimiter { keys, lookback, .. } = self.limiter;
        keys.update(self.bucket, self.start, |queries, _| {
            // A later call to `start` removes a deadline that is older than the lookback.
            if queries.remove(self.deadline) {
                queries.add(self.start, *lookback);
            }
        });
    }
}

impl fmt::Debug for Running<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("load", &self.load).finish_non_exhaustive()
    }
}

impl fmt::Display for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { concurrent, recent } = self.load;
        write!(f, "overloaded: {concurrent} queries in progress with this one, {recent} lately")
    }
}

impl std::error::Error for Overloaded {}
