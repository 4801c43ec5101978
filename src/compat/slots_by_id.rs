//! [`SlotsById`]: Sentry's limits of concurrent requests.
//!
//! `roster` holds the ids of a key and when they end; `Keyed` stores the keys.

use std::hash::Hash;
use std::time::Duration;

use super::roster::Roster;
use super::{Keyed, Lasting};
use crate::time::{Clock, Timestamp};

/// Limits the requests in progress by ids that the caller chooses, like Sentry's
/// `ConcurrentRateLimiter`: a request is held on `[start, start + ttl)`, unless it is finished
/// before.
///
/// The limit comes with each call. The next [`start`](Self::start) of the key removes requests that
/// are over; until then they are [counted](Self::count). An id that starts again begins anew; if
/// the limit is reached, it is denied like any other.
///
/// Unlike [`KeyedConcurrencyLimiter`](crate::KeyedConcurrencyLimiter) it has no guard: any caller
/// that knows the id may finish the request, and an id used twice is one request. It stores ids
/// with their ends rather than slots with a map of leases, because such a map would need sweeping
/// too.
///
/// ```
/// use std::time::Duration;
/// use tollgate::Clock;
/// use tollgate::compat::SlotsById;
///
/// let requests = SlotsById::new(Duration::from_secs(30), Clock::default());
/// assert!(!requests.start("org:7", "request-1", 1).exceeded);
/// assert!(requests.start("org:7", "request-2", 1).exceeded);
/// requests.finish("org:7", "request-1");
/// assert_eq!(requests.count("org:7"), 0);
/// ```
#[derive(Debug)]
pub struct SlotsById {
    keys: Keyed<Roster>,
    ttl: Duration,
}

/// The result of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Requests in progress, including this one if it may go ahead.
    pub current: u64,
    /// Whether the request may not go ahead.
    pub exceeded: bool,
    /// Requests that were over and were removed by this call.
    pub cleaned: u64,
}

impl Lasting for Roster {
    fn lasts_until(&self) -> Timestamp {
        self.last()
    }
}

impl SlotsById {
    /// A limiter with no requests in progress. Requests are held for at most `ttl`.
    pub fn new(ttl: Duration, clock: Clock) -> SlotsById {
        SlotsById { keys: Keyed::new(clock), ttl }
    }

    /// Starts a request now, if fewer than `limit` of the key are in progress.
    pub fn start<K, I>(&self, key: &K, id: &I, limit: u64) -> Started
    where
        K: Hash + ?Sized,
        I: Hash + ?Sized,
    {
        self.start_at(key, id, limit, self.keys.now())
    }

    /// Like [`start`](Self::start), at `now` or the time of the key's latest call if that is later.
    pub fn start_at<K, I>(&self, key: &K, id: &I, limit: u64, now: Timestamp) -> Started
    where
        K: Hash + ?Sized,
        I: Hash + ?Sized,
    {
        let id = self.keys.tag(id);
        self.keys.update(self.keys.tag(key), now, |requests, now| {
            let cleaned = requests.reap(now);
            let exceeded = requests.len() >= limit;
            if !exceeded {
                requests.put(id, now + self.ttl);
            }
            Started { current: requests.len(), exceeded, cleaned }
        })
    }

    /// Finishes a request. Does nothing if the request is not in progress.
    pub fn finish<K, I>(&self, key: &K, id: &I)
    where
        K: Hash + ?Sized,
        I: Hash + ?Sized,
    {
        let (key, id) = (self.keys.tag(key), self.keys.tag(id));
        self.keys.update(key, Timestamp::ZERO, |requests, _| requests.remove(id));
    }

    /// Requests in progress, including requests that are over and were not removed. A key whose
    /// requests are all over may be forgotten, and then has none.
    pub fn count<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        self.keys.view(self.keys.tag(key), Timestamp::ZERO, |requests, _| requests.len())
    }
}
