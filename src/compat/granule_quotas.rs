//! [`GranuleQuotas`]: Sentry's sliding windows.
//!
//! The arithmetic of a window is in `algorithm`; this file grants several quotas as one step.

use std::time::Duration;

use super::{Keyed, Lasting, nanos};
use crate::algorithm::{History, Span};
use crate::sync::Mutex;
use crate::time::{Clock, Timestamp};

/// Quotas over windows that slide in granules, like Sentry's `RedisSlidingWindowRateLimiter`: a
/// request is granted as much as all of its quotas have left.
///
/// A unit used at `t` is free again at `floor(t / granularity) * granularity + window`. Quotas come
/// with each request. Usage is kept by prefix, window and granularity, so quotas that agree on
/// those share their usage, whatever their limits.
///
/// It counts like [`SlidingGranules`](crate::algorithm::SlidingGranules) and grants like
/// [`Set::grant_up_to`](crate::Set::grant_up_to). Unlike those, it accepts any limit (0 and below
/// grant nothing), and names the quotas that reduced the grant.
///
/// ```
/// use std::time::Duration;
/// use tollgate::Clock;
/// use tollgate::compat::{GranuleQuota, GranuleQuotas, Request};
///
/// let quotas = GranuleQuotas::new(Clock::default());
/// let hour = GranuleQuota {
///     window: Duration::from_secs(3600),
///     granularity: Duration::from_secs(60),
///     limit: 100,
///     prefix_override: None,
/// };
/// let request = Request { prefix: "org:7", requested: 70, quotas: &[hour] };
/// let grants = quotas.check_and_use(&[request, request]);
/// assert_eq!((grants[0].granted, grants[1].granted), (70, 30));
/// assert_eq!(grants[1].reached, [0]);
/// ```
#[derive(Debug)]
pub struct GranuleQuotas {
    keys: Keyed<Used>,
    /// Held while requests are decided, so that they are one atomic step.
    step: Mutex<()>,
}

/// A number of units allowed in any window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GranuleQuota<'a> {
    /// The length of the window. If it is not a multiple of the granularity, units become free
    /// within a granule instead of at its end.
    pub window: Duration,
    /// The step by which the window slides. 0 counts as a nanosecond.
    pub granularity: Duration,
    /// The units that the window holds.
    pub limit: i64,
    /// The prefix to count by, instead of the request's.
    pub prefix_override: Option<&'a str>,
}

/// A request for units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The prefix to count by.
    pub prefix: &'a str,
    /// The number of units.
    pub requested: u64,
    /// The quotas that the units must fit into.
    pub quotas: &'a [GranuleQuota<'a>],
}

/// The units that were granted, and used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The number of units: the least that any quota had left, at most the number requested.
    pub granted: u64,
    /// The indices of the quotas that had less left than the quotas before them would have granted.
    pub reached: Vec<usize>,
}

/// The usage of a key, and the moment until which it matters.
#[derive(Clone, Default)]
struct Used {
    history: History,
    until: Timestamp,
}

impl Lasting for Used {
    fn lasts_until(&self) -> Timestamp {
        self.until
    }
}

/// Uses the algorithm of [`SlidingGranules`](crate::algorithm::SlidingGranules).
fn span(quota: &GranuleQuota<'_>) -> Span {
    let (window, granule) = (nanos(quota.window), nanos(quota.granularity).max(1));
    Span { count: u64::try_from(quota.limit).unwrap_or(0), granule, life: window.into() }
}

impl GranuleQuotas {
    /// Creates quotas without usage.
    pub fn new(clock: Clock) -> GranuleQuotas {
        GranuleQuotas { keys: Keyed::new(clock), step: Mutex::new(()) }
    }

    /// Grants and uses what each request can have now, one after the other, all in one atomic step.
    pub fn check_and_use(&self, requests: &[Request<'_>]) -> Vec<Grant> {
        self.check_and_use_at(requests, self.keys.now())
    }

    /// Like [`check_and_use`](Self::check_and_use), at `now` or the time of a quota's latest use if
    /// that is later.
    pub fn check_and_use_at(&self, requests: &[Request<'_>], now: Timestamp) -> Vec<Grant> {
        let _one_step = self.step.lock();
        requests.iter().map(|request| self.grant(request, now)).collect()
    }

    fn grant(&self, request: &Request<'_>, now: Timestamp) -> Grant {
        let tag = |quota: &GranuleQuota<'_>| {
            let prefix = quota.prefix_override.unwrap_or(request.prefix);
            self.keys.tag(&(prefix, quota.window, quota.granularity))
        };
        let mut grant = Grant { granted: request.requested, reached: Vec::new() };
        for (place, quota) in request.quotas.iter().enumerate() {
            let remaining = self.keys.view(tag(quota), now, |used, now| {
                span(quota).decide(&used.history, 0, now).map_or(0, |left| left.remaining())
            });
            if remaining < grant.granted {
                grant.granted = remaining;
                grant.reached.push(place);
            }
        }
        let mut charged = Vec::new();
        for quota in request.quotas.iter().filter(|_| grant.granted > 0) {
            let tag = tag(quota);
            // Quotas that share their usage are charged once.
            if charged.contains(&tag) {
                continue;
            }
            charged.push(tag);
            self.keys.update(tag, now, |used, now| {
                let span = span(quota);
                span.charge(&mut used.history, grant.granted, now);
                used.until = span.idle_at(&used.history);
            });
        }
        grant
    }
}
