//! [`GranuleQuotas`]: Sentry's sliding windows.

use std::time::Duration;

use super::{Keyed, Lasting, nanos};
use crate::algorithm::{History, Span};
use crate::sync::Mutex;
use crate::time::{Clock, Timestamp};

/// Units in windows that slide in granules, as Sentry's `RedisSlidingWindowRateLimiter` grants them:
/// each request as much as all of its quotas have left.
///
/// A unit used at `t` is free again at `floor(t / granularity) * granularity + window`. Quotas come
/// with each request; what was used is kept by prefix, window and granularity, so quotas that agree on
/// those share it, whatever their limits.
///
/// It counts as [`SlidingGranules`](crate::algorithm::SlidingGranules) does and grants as
/// [`Set::grant_up_to`](crate::Set::grant_up_to) does; unlike them it takes any limit, 0 and below
/// granting nothing, and tells the quotas that were in the way.
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
    /// Held while requests are decided, so that they are one step.
    step: Mutex<()>,
}

/// So many units in any window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GranuleQuota<'a> {
    /// How long the window is. A multiple of the granularity, or a unit is free again that much
    /// before the end of a granule.
    pub window: Duration,
    /// By how much it slides at a time. 0 counts as a nanosecond.
    pub granularity: Duration,
    /// How many units it holds.
    pub limit: i64,
    /// What to count by instead of the request's prefix.
    pub prefix_override: Option<&'a str>,
}

/// Units that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// What to count by.
    pub prefix: &'a str,
    /// How many units.
    pub requested: u64,
    /// What they must fit into.
    pub quotas: &'a [GranuleQuota<'a>],
}

/// Units that were granted, and used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// How many: the least that was left of a quota, of those requested at most.
    pub granted: u64,
    /// The quotas, by their places, that had less left than those before them would have granted.
    pub reached: Vec<usize>,
}

/// What was used of a key, and how long that matters.
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

/// The same algorithm as [`SlidingGranules`](crate::algorithm::SlidingGranules)'.
fn span(quota: &GranuleQuota<'_>) -> Span {
    let (window, granule) = (nanos(quota.window), nanos(quota.granularity).max(1));
    Span { count: u64::try_from(quota.limit).unwrap_or(0), granule, life: window.into() }
}

impl GranuleQuotas {
    /// Quotas of which nothing was used yet.
    pub fn new(clock: Clock) -> GranuleQuotas {
        GranuleQuotas { keys: Keyed::new(clock), step: Mutex::new(()) }
    }

    /// Grants and uses what each request can have now, one after the other, all in one step.
    pub fn check_and_use(&self, requests: &[Request<'_>]) -> Vec<Grant> {
        self.check_and_use_at(requests, self.keys.now())
    }

    /// [`check_and_use`](Self::check_and_use) at `now`, or the time of a quota's latest use if that
    /// is later.
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
            // What two quotas share is used once.
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
