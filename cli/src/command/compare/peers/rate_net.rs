//! The peer rate-net, with each of its algorithms.

use std::sync::Arc;
use std::time::Duration;

use crate::compare::{Answer, Contender, Entry, Setup, Wait};
use clock_lib::ManualClock;
use rate_net::{Algorithm, Eviction};
use tollgate::Timestamp;

use super::clock::{Told, small};

pub(super) fn entries() -> Vec<Entry> {
    let entry = |name: &str, algorithm, what: &str| {
        Entry::peer(format!("rate-net 2.1 {name}"), move |setup| RateNet::make(algorithm, setup))
            .what(what)
    };
    vec![
        entry("bucket", Algorithm::TokenBucket, "token bucket, its default"),
        entry("leaky", Algorithm::LeakyBucket, "leaky bucket"),
        entry("fixed", Algorithm::FixedWindow, "fixed window"),
        entry("counter", Algorithm::SlidingWindowCounter, "sliding window counter"),
        entry("log", Algorithm::SlidingWindowLog, "sliding window log, up to 65,536 units"),
    ]
}

struct RateNet {
    limiter: rate_net::RateLimiter<Arc<ManualClock>>,
    clock: Arc<ManualClock>,
    told: Told,
}

impl RateNet {
    fn make(algorithm: Algorithm, setup: Setup) -> Result<Box<dyn Contender>, String> {
        let clock = Arc::new(ManualClock::new());
        let limiter = rate_net::RateLimiter::builder()
            .algorithm(algorithm)
            .quota(small(setup.quota.count())?, setup.quota.period())
            .burst(small(setup.quota.burst_size())?)
            // Twice the capacity: it spreads keys unevenly, and denies where a part is full.
            .eviction(Eviction::capacity(setup.max_keys.saturating_mul(2)))
            .clock(clock.clone())
            .try_build()
            .map_err(|error| error.to_string())?;
        Ok(Box::new(RateNet { limiter, clock, told: Told::default() }))
    }
}

impl Contender for RateNet {
    fn decide(&mut self, key: u64, cost: u64, now: Timestamp) -> Answer {
        // Its clock does not go back.
        let nanos = self.told.tell(now);
        self.clock.advance_to(Duration::from_nanos(nanos));
        let Ok(cost) = u32::try_from(cost) else { return Answer::Denied(Wait::Never) };
        let decision = self.limiter.check_n(key, cost);
        match decision.retry_after() {
            None => Answer::Allowed,
            Some(_) if decision.is_impossible() => Answer::Denied(Wait::Never),
            Some(wait) => Answer::Denied(Wait::After(wait)),
        }
    }
}
