//! Peers whose state is a time: governor, gcra, throttlecrab.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use crate::compare::{Answer, Contender, Entry, Setup, Wait};
use governor::clock::Clock as _;
use governor::nanos::Nanos;
use governor::state::keyed::DefaultKeyedStateStore;
use tollgate::Timestamp;

use super::clock::{Told, burst_is_count, interval, small};

pub(super) fn entries() -> Vec<Entry> {
    vec![
        Entry::peer("governor 0.10", Governor::make).what("GCRA, keyed, in a DashMap"),
        Entry::peer("gcra 0.6", Gcra::make).what("GCRA, keyed, in a DashMap"),
        Entry::peer("throttlecrab 0.4", Throttlecrab::make).what("GCRA, in its adaptive store"),
    ]
}

impl governor::clock::Clock for Told {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.nanos())
    }
}

type Keyed = governor::RateLimiter<
    u64,
    DefaultKeyedStateStore<u64>,
    Told,
    governor::middleware::NoOpMiddleware<Nanos>,
>;

struct Governor {
    limiter: Keyed,
    clock: Told,
}

impl Governor {
    fn make(setup: Setup) -> Result<Box<dyn Contender>, String> {
        let burst = NonZeroU32::new(small(setup.quota.burst_size())?);
        let burst = burst.ok_or("its burst is above 0")?;
        let quota = governor::Quota::with_period(interval(setup)?).ok_or("a period above 0")?;
        let clock = Told::default();
        let limiter =
            Keyed::new(quota.allow_burst(burst), DefaultKeyedStateStore::default(), clock.clone());
        Ok(Box::new(Governor { limiter, clock }))
    }
}

impl Contender for Governor {
    fn decide(&mut self, key: u64, cost: u64, now: Timestamp) -> Answer {
        self.clock.tell(now);
        let Ok(cost) = u32::try_from(cost) else { return Answer::Denied(Wait::Never) };
        let Some(cost) = NonZeroU32::new(cost) else { return Answer::Allowed };
        match self.limiter.check_key_n(&key, cost) {
            Ok(Ok(())) => Answer::Allowed,
            Ok(Err(not_until)) => {
                Answer::Denied(Wait::After(not_until.wait_time_from(self.clock.now())))
            }
            Err(_) => Answer::Denied(Wait::Never),
        }
    }
}

struct Gcra {
    limiter: gcra::RateLimiter<u64>,
    limit: gcra::RateLimit,
    clock: Told,
    /// Its timestamps are std's, so the given time is added to a real one.
    begun: Instant,
}

impl Gcra {
    fn make(setup: Setup) -> Result<Box<dyn Contender>, String> {
        burst_is_count(setup)?;
        let limit = gcra::RateLimit::new(small(setup.quota.count())?, setup.quota.period());
        // Twice the capacity: its parts forget keys when they are full.
        let limiter = gcra::RateLimiter::new(setup.max_keys.saturating_mul(2));
        Ok(Box::new(Gcra { limiter, limit, clock: Told::default(), begun: Instant::now() }))
    }
}

impl Contender for Gcra {
    fn decide(&mut self, key: u64, cost: u64, now: Timestamp) -> Answer {
        let now = self.begun + Duration::from_nanos(self.clock.tell(now));
        let Ok(cost) = u32::try_from(cost) else { return Answer::Denied(Wait::Never) };
        // It never waits.
        let asked = pin!(self.limiter.check_at(key, &self.limit, cost, now));
        match asked.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(_)) => Answer::Allowed,
            Poll::Ready(Err(gcra::GcraError::DeniedUntil { next_allowed_at })) => {
                Answer::Denied(Wait::After(next_allowed_at.saturating_duration_since(now)))
            }
            Poll::Ready(Err(gcra::GcraError::DeniedIndefinitely { .. })) => {
                Answer::Denied(Wait::Never)
            }
            Poll::Pending => Answer::Denied(Wait::Unstated),
        }
    }
}

struct Throttlecrab {
    limiter: throttlecrab::RateLimiter<throttlecrab::AdaptiveStore>,
    burst: i64,
    count: i64,
    period_s: i64,
}

impl Throttlecrab {
    fn make(setup: Setup) -> Result<Box<dyn Contender>, String> {
        let period = setup.quota.period();
        if period.subsec_nanos() != 0 {
            return Err("its periods are whole seconds".to_owned());
        }
        let whole = |number: u64| i64::try_from(number).map_err(|error| error.to_string());
        Ok(Box::new(Throttlecrab {
            limiter: throttlecrab::RateLimiter::new(throttlecrab::AdaptiveStore::with_capacity(
                setup.max_keys.min(1 << 16),
            )),
            burst: whole(setup.quota.burst_size())?,
            count: whole(setup.quota.count())?,
            period_s: whole(period.as_secs())?,
        }))
    }
}

impl Contender for Throttlecrab {
    fn decide(&mut self, key: u64, cost: u64, now: Timestamp) -> Answer {
        let Ok(cost) = i64::try_from(cost) else { return Answer::Denied(Wait::Never) };
        let now = SystemTime::UNIX_EPOCH + now.since(Timestamp::ZERO);
        let key = key.to_string();
        match self.limiter.rate_limit(&key, self.burst, self.count, self.period_s, cost, now) {
            Ok((true, _)) => Answer::Allowed,
            Ok((false, result)) => Answer::Denied(Wait::After(result.retry_after)),
            Err(_) => Answer::Denied(Wait::Unstated),
        }
    }
}
