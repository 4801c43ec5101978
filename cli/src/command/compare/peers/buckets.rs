//! Peers that hold one bucket each, used here with a bucket per key: ratelimit, leaky-bucket.

use std::collections::HashMap;
use std::time::Duration;

use crate::compare::{Answer, Contender, Entry, Setup, Wait};
use tollgate::Timestamp;

use super::clock::Told;

pub(super) fn entries() -> Vec<Entry> {
    vec![
        Entry::peer("ratelimit 2.0", Ratelimit::make).what("token bucket, one a key in a HashMap"),
        Entry::peer("leaky-bucket 1.1", Leaky::make)
            .what("token bucket, one a key in a HashMap, on tokio's clock, moved by hand")
            .untimed(),
    ]
}

impl ratelimit::Clock for Told {
    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }
}

struct Ratelimit {
    buckets: HashMap<u64, ratelimit::Ratelimiter<Told>>,
    setup: Setup,
    clock: Told,
}

impl Ratelimit {
    fn make(setup: Setup) -> Result<Box<dyn Contender>, String> {
        let _ = Self::bucket(setup, Told::default())?;
        Ok(Box::new(Ratelimit { buckets: HashMap::new(), setup, clock: Told::default() }))
    }

    fn bucket(setup: Setup, clock: Told) -> Result<ratelimit::Ratelimiter<Told>, String> {
        let (quota, burst) = (setup.quota, setup.quota.burst_size());
        ratelimit::Builder::with_clock(quota.count(), clock)
            .period(quota.period())
            .max_tokens(burst)
            .initial_available(burst)
            .build()
            .map_err(|error| error.to_string())
    }
}

impl Contender for Ratelimit {
    fn decide(&mut self, key: u64, cost: u64, now: Timestamp) -> Answer {
        self.clock.tell(now);
        if !self.buckets.contains_key(&key) {
            if let Ok(bucket) = Self::bucket(self.setup, self.clock.clone()) {
                self.buckets.insert(key, bucket);
            }
        }
        match self.buckets.get(&key).map(|bucket| bucket.try_wait_n(cost)) {
            Some(Ok(())) => Answer::Allowed,
            Some(Err(ratelimit::TryWaitError::Insufficient(wait))) => {
                Answer::Denied(Wait::After(wait))
            }
            Some(Err(_)) => Answer::Denied(Wait::Never),
            None => Answer::Denied(Wait::Unstated),
        }
    }
}

/// Runs on a tokio runtime of its own, whose clock stands still until it is moved.
struct Leaky {
    buckets: HashMap<u64, leaky_bucket::RateLimiter>,
    runtime: tokio::runtime::Runtime,
    latest: Option<Timestamp>,
    burst: usize,
    /// Units that come back in each interval: the quota in lowest terms.
    refill: usize,
    interval: Duration,
}

impl Leaky {
    fn make(setup: Setup) -> Result<Box<dyn Contender>, String> {
        // leaky-bucket counts in whole milliseconds, so this is the smallest number of units that
        // come back in a whole number of them.
        const MILLISECOND: u64 = 1_000_000;
        let period = u64::try_from(setup.quota.period().as_nanos()).map_err(|e| e.to_string())?;
        let common = gcd(setup.quota.count(), period).max(1);
        let (refill, interval) = (setup.quota.count() / common, period / common);
        let times = MILLISECOND / gcd(interval, MILLISECOND).max(1);
        let (refill, interval) = (refill.saturating_mul(times), interval.saturating_mul(times));
        if refill > setup.quota.burst_size() {
            return Err("it counts in whole milliseconds".to_owned());
        }
        let whole = |number: u64| usize::try_from(number).map_err(|error| error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Box::new(Leaky {
            buckets: HashMap::new(),
            runtime,
            latest: None,
            burst: whole(setup.quota.burst_size())?,
            refill: whole(refill)?,
            interval: Duration::from_nanos(interval),
        }))
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Contender for Leaky {
    fn decide(&mut self, key: u64, cost: u64, now: Timestamp) -> Answer {
        let Ok(cost) = usize::try_from(cost) else { return Answer::Denied(Wait::Unstated) };
        let by = now.since(self.latest.unwrap_or(now));
        self.latest = self.latest.max(Some(now));
        if !by.is_zero() {
            self.runtime.block_on(tokio::time::advance(by));
        }
        let _entered = self.runtime.enter();
        let bucket = self.buckets.entry(key).or_insert_with(|| {
            leaky_bucket::RateLimiter::builder()
                .max(self.burst)
                .initial(self.burst)
                .refill(self.refill)
                .interval(self.interval)
                .build()
        });
        match bucket.try_acquire(cost) {
            true => Answer::Allowed,
            false => Answer::Denied(Wait::Unstated),
        }
    }
}
