//! [`FixedWindowCounter`]: Sentry's API limits.
//!
//! Counts hits with the tumbling windows in `counters`.

use std::hash::Hash;
use std::time::Duration;

use super::Keyed;
use super::counters::{Counters, Windows};
use crate::time::{Clock, Timestamp};

/// Counts the hits of a key in a window, like Sentry's `RedisRateLimiter`. Every hit counts, even
/// beyond the limit, where it is `limited`.
///
/// Each call gives limit and window. Windows are aligned to the time origin; a window of `None` or of
/// length 0 is 60 s. As in Sentry, only the *number* of a window, `now / length`, identifies its count:
/// windows of two lengths with the same number share one.
///
/// Unlike [`FixedWindow::counting_denied`](crate::algorithm::FixedWindow::counting_denied) it
/// returns the count instead of what remains, and accepts any limit; at 0
/// or less, every hit is `limited`.
///
/// ```
/// use tollgate::Clock;
/// use tollgate::compat::FixedWindowCounter;
///
/// let hits = FixedWindowCounter::new(Clock::default());
/// let hit = hits.hit("user:42", 1, None);
/// assert_eq!((hit.limited, hit.value), (false, 1));
/// let hit = hits.hit("user:42", 1, None);
/// assert_eq!((hit.limited, hit.value), (true, 2));
/// assert_eq!(hits.current("user:42", None), 2);
/// ```
#[derive(Debug)]
pub struct FixedWindowCounter {
    keys: Keyed<Counters>,
}

/// The result of a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Whether the hit is beyond the limit.
    pub limited: bool,
    /// Hits in this window, including this one.
    pub value: u64,
    /// The moment at which the next window begins.
    pub reset: Timestamp,
}

const MINUTE: Duration = Duration::from_secs(60);

impl FixedWindowCounter {
    /// Creates counters without hits.
    pub fn new(clock: Clock) -> FixedWindowCounter {
        FixedWindowCounter { keys: Keyed::new(clock) }
    }

    /// Counts a hit now.
    pub fn hit<K: Hash + ?Sized>(&self, key: &K, limit: i64, window: Option<Duration>) -> Hit {
        self.hit_at(key, limit, window, self.keys.now())
    }

    /// Like [`hit`](Self::hit), at `now` or the time of the key's latest hit if that is later.
    pub fn hit_at<K: Hash + ?Sized>(
        &self,
        key: &K,
        limit: i64,
        window: Option<Duration>,
        now: Timestamp,
    ) -> Hit {
        let windows = windows(window);
        self.keys.update(self.keys.tag(key), now, |counters, now| {
            let window = windows.at(now);
            counters.add(window, 1, 0, now);
            let value = counters.balance(window, now);
            let limited = value > i128::from(limit);
            Hit { limited, value: u64::try_from(value).unwrap_or(u64::MAX), reset: window.ends }
        })
    }

    /// The number of hits in the current window.
    pub fn current<K: Hash + ?Sized>(&self, key: &K, window: Option<Duration>) -> u64 {
        let windows = windows(window);
        let value = self.keys.view(self.keys.tag(key), self.keys.now(), |counters, now| {
            counters.balance(windows.at(now), now)
        });
        u64::try_from(value).unwrap_or(u64::MAX)
    }
}

fn windows(window: Option<Duration>) -> Windows {
    Windows::new(window.filter(|window| !window.is_zero()).unwrap_or(MINUTE), 0)
}
