//! A token bucket in exact arithmetic, written to be obviously right rather than fast, and what the
//! tests that use it share.
//!
//! What is owed is counted in *grains*: `unit` of them are one unit, and `speed` come back in a
//! nanosecond. Over a period that all quotas of a test divide, both are whole numbers.

use std::time::Duration;

use foldhash::fast::FixedState;
use tollgate::algorithm::Gcra;
use tollgate::{Allowed, Clock, Denied, Quota, RateLimiter, Retry, Timestamp};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const DAY: u64 = 86_400 * SECOND;
pub(crate) const DECADE: u64 = 3650 * DAY;
/// A present-day timestamp.
pub(crate) const TODAY: u64 = 1_790_000_000 * SECOND;

pub(crate) fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn quota(count: u64, per: u64, burst: u64) -> Quota {
    Quota::new(count, Duration::from_nanos(per)).unwrap().with_burst(burst).unwrap()
}

/// A limiter that gives the same answers in every run.
pub(crate) fn limiter(quota: Quota, clock: Clock) -> RateLimiter<Gcra, FixedState> {
    RateLimiter::builder(quota).clock(clock).hasher(FixedState::default()).max_keys(1000).build()
}

/// One key of one limit.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    common: u64,
    unit: u128,
    speed: u128,
    burst: u64,
    /// Grains a nanosecond of rounding may add; 0 where the stamps must be exact.
    rounding: u128,
    /// Owed at `latest`: exactly, and if every rounding there may be denies.
    least: u128,
    most: u128,
    /// When that was owed: at the latest stamp that changed it.
    latest: u64,
    /// The latest stamp of a charge. An earlier one counts as this.
    charged: u64,
}

/// What came of a call that agreed with the oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Charged, the bucket having been full.
    First,
    /// Charged.
    Allowed,
    /// A cost of 0.
    Looked,
    Denied,
    Never,
    /// Denied for the rounding of the stamp at which the busy period began.
    Rounded,
    /// Denied because the timestamp was before that of the last charge.
    Stale,
}

impl Bucket {
    pub(crate) fn new(quota: Quota) -> Bucket {
        Bucket::over(nanos(quota.period()), quota)
    }

    /// A bucket whose quotas have periods that divide `common`.
    pub(crate) fn over(common: u64, quota: Quota) -> Bucket {
        let unit = u128::from(common);
        let speed = Bucket::speed(common, quota);
        let burst = quota.burst_size();
        Bucket { common, unit, speed, burst, rounding: 0, least: 0, most: 0, latest: 0, charged: 0 }
    }

    /// The same where a busy period may begin up to a nanosecond late.
    pub(crate) fn rounded(self) -> Bucket {
        Bucket { rounding: self.speed, ..self }
    }

    /// The same where only answers that allow too much are wrong.
    pub(crate) fn at_least(self) -> Bucket {
        Bucket { most: u128::MAX, ..self }
    }

    fn speed(common: u64, quota: Quota) -> u128 {
        assert_eq!(common % nanos(quota.period()), 0);
        u128::from(quota.count()) * u128::from(common / nanos(quota.period()))
    }

    fn capacity(&self) -> u128 {
        u128::from(self.burst) * self.unit
    }

    fn grains(&self, units: u64) -> u128 {
        u128::from(units).saturating_mul(self.unit)
    }

    /// What is owed at `now`.
    fn owed(&self, now: u64) -> (u128, u128) {
        let back = u128::from(now.saturating_sub(self.latest)).saturating_mul(self.speed);
        (self.least.saturating_sub(back), self.most.saturating_sub(back))
    }

    /// Nanoseconds from `now` until at most `left` grains are owed of `owed`.
    fn wait(&self, owed: u128, left: u128, now: u64) -> u64 {
        match owed.saturating_sub(left) {
            0 => 0,
            excess => u64::try_from(excess.div_ceil(self.speed))
                .unwrap_or(u64::MAX)
                .saturating_add(self.latest.saturating_sub(now)),
        }
    }

    pub(crate) fn allows(&self, cost: u64, now: u64) -> bool {
        cost == 0
            || cost <= self.burst
                && self.owed(now).0.saturating_add(self.grains(cost)) <= self.capacity()
    }

    /// The least wait, exactly; `None` if no wait helps.
    pub(crate) fn retry(&self, cost: u64, now: u64) -> Option<u64> {
        let left = self.capacity().checked_sub(self.grains(cost))?;
        Some(self.wait(self.owed(now).0, left, now))
    }

    fn units_left(&self, owed: u128) -> u64 {
        (self.capacity().saturating_sub(owed) / self.unit) as u64
    }

    fn pass(&mut self, now: u64) {
        (self.least, self.most) = self.owed(now);
        self.latest = self.latest.max(now);
    }

    /// Charges, whether there is room or not.
    pub(crate) fn charge(&mut self, cost: u64, now: u64) {
        self.pass(now);
        if self.least == 0 {
            // A bucket that was full when the quota changed, or that giving back made full, was
            // full before.
            let start = self.charged.max(now);
            if self.most > 0 {
                let before = u128::from(self.latest - start) * self.speed;
                self.most = self.most.saturating_add(before);
            }
            self.latest = start;
            self.most = self.most.max(self.rounding);
        }
        self.charged = self.charged.max(now);
        self.least = self.least.saturating_add(self.grains(cost));
        self.most = self.most.saturating_add(self.grains(cost));
    }

    /// Another quota from `now` on. What is owed stays owed, in units.
    pub(crate) fn set_quota(&mut self, quota: Quota, now: u64) {
        self.pass(now);
        let rounded = self.rounding > 0;
        self.most = self.most.saturating_add(self.rounding);
        self.speed = Bucket::speed(self.common, quota);
        self.burst = quota.burst_size();
        if rounded {
            // What is owed is rounded up, and so is the stamp it is owed from.
            self.rounding = self.speed;
            self.most = self.most.saturating_add(2 * self.rounding);
        }
    }

    /// Gives back `units` charged at `then`, less what time gave back since at the fastest of
    /// `quotas`.
    pub(crate) fn give_back(&mut self, units: u64, then: u64, quotas: &[Quota], now: u64) {
        self.pass(now);
        let fastest = quotas.iter().map(|quota| Bucket::speed(self.common, *quota)).max();
        let passed = u128::from(now.saturating_sub(then)).saturating_mul(fastest.unwrap());
        let back = self.grains(units).saturating_sub(passed);
        self.least = self.least.saturating_sub(back);
        self.most = self.most.saturating_sub(back.saturating_sub(self.rounding));
    }

    /// Compares an answer with what it must be, and charges what was admitted.
    #[track_caller]
    pub(crate) fn agree(&mut self, got: Result<Allowed, Denied>, cost: u64, now: u64) -> Outcome {
        let early = now < self.latest;
        let (least, most) = self.owed(now);
        let context = || format!("{got:?} for {cost} at {now}: {self:?}");
        let Some(left) = self.capacity().checked_sub(self.grains(cost)).filter(|_| cost > 0) else {
            let (outcome, remaining, reset) = match got {
                Ok(looked) if cost == 0 => {
                    (Outcome::Looked, looked.remaining(), looked.reset_after())
                }
                Err(denied) if cost > 0 && denied.retry() == Retry::Never => {
                    (Outcome::Never, denied.remaining(), denied.reset_after())
                }
                _ => panic!("{}", context()),
            };
            self.stands(least, most, remaining, nanos(reset), now, &context);
            return outcome;
        };
        match got {
            Ok(allowed) => {
                assert!(least <= left, "over-admitted: {}", context());
                let first = least == 0;
                let mut after = self.clone();
                after.charge(cost, now);
                let (remaining, reset) = (allowed.remaining(), nanos(allowed.reset_after()));
                let (least, most) = after.owed(now);
                after.stands(least, most, remaining, reset, now, &context);
                *self = after;
                if first { Outcome::First } else { Outcome::Allowed }
            }
            Err(denied) => {
                let Some(wait) = denied.retry().after().map(nanos) else {
                    panic!("{}", context());
                };
                self.stands(
                    least,
                    most,
                    denied.remaining(),
                    nanos(denied.reset_after()),
                    now,
                    &context,
                );
                assert!(wait > 0, "{}", context());
                if least > left || !early {
                    let soonest = self.wait(least, left, now).max(1);
                    let range = soonest..=self.wait(most, left, now);
                    assert!(range.contains(&wait), "wait not in {range:?}: {}", context());
                }
                match (least > left, most > left) {
                    (true, _) => Outcome::Denied,
                    (false, true) if !early => Outcome::Rounded,
                    _ if early => Outcome::Stale,
                    _ => panic!("denied without reason: {}", context()),
                }
            }
        }
    }

    #[track_caller]
    fn stands(
        &self,
        least: u128,
        most: u128,
        remaining: u64,
        reset: u64,
        now: u64,
        context: &impl Fn() -> String,
    ) {
        let units = self.units_left(most)..=self.units_left(least);
        let resets = self.wait(least, 0, now)..=self.wait(most, 0, now);
        if now < self.latest {
            // An earlier stamp may see more debt, never less.
            assert!(remaining <= *units.end(), "remaining not {units:?}: {}", context());
            return;
        }
        assert!(units.contains(&remaining), "remaining not {units:?}: {}", context());
        assert!(resets.contains(&reset), "reset not {resets:?}: {}", context());
    }
}

/// Numbers that are the same in every run (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is above 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// From 1 to `n`, each order of magnitude as likely.
    pub(crate) fn magnitude(&mut self, n: u64) -> u64 {
        let bits = self.below(u64::from(n.ilog2()) + 1);
        (self.next() & (u64::MAX >> (63 - bits))).saturating_add(1).min(n)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A quota anywhere between 1 per 10 years and 10^10 per second.
pub(crate) fn any_quota(rng: &mut Rng) -> Quota {
    loop {
        let per = match rng.below(3) {
            0 => SECOND * rng.pick(&[1, 60, 3600, 86_400]),
            1 => SECOND * rng.magnitude(DECADE / SECOND),
            _ => rng.magnitude(DECADE),
        };
        let count = rng.magnitude(1 << 40);
        let most = 1 << rng.below(24);
        let burst = rng.magnitude(most);
        if u128::from(count) * u128::from(SECOND) > 10_000_000_000 * u128::from(per) {
            continue;
        }
        // A full bucket of less than 36 years needs no tick above a nanosecond.
        if u128::from(burst) * u128::from(per) >= (1 << 59) * u128::from(count) {
            continue;
        }
        return quota(count, per, burst);
    }
}

/// How many steps a randomized test takes: `TOLLGATE_STEPS`, or `release` of them, fewer where
/// the code is not optimized.
pub(crate) fn steps(release: u64) -> u64 {
    let chosen = std::env::var("TOLLGATE_STEPS").ok().and_then(|steps| steps.parse().ok());
    chosen.unwrap_or(if cfg!(debug_assertions) { release / 20 } else { release })
}

/// Counts outcomes, and fails if one is rare.
#[derive(Debug, Default)]
pub(crate) struct Census(std::collections::BTreeMap<String, u64>);

impl Census {
    pub(crate) fn count(&mut self, what: impl std::fmt::Debug) {
        *self.0.entry(format!("{what:?}")).or_default() += 1;
    }

    pub(crate) fn add(&mut self, what: impl std::fmt::Debug, times: u64) {
        *self.0.entry(format!("{what:?}")).or_default() += times;
    }

    /// Each of `classes` must make up at least one in `per` of all.
    #[track_caller]
    pub(crate) fn require<T: std::fmt::Debug>(&self, classes: &[T], per: u64) {
        let total: u64 = self.0.values().sum();
        println!("{total} outcomes: {:?}", self.0);
        for class in classes {
            let seen = self.0.get(&format!("{class:?}")).copied().unwrap_or(0);
            assert!(seen > 0 && seen >= total / per, "{class:?}: {seen} of {total}");
        }
    }
}
