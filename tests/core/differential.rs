//! Random calls, against the oracle: millions of steps, `TOLLGATE_STEPS` for more.

use crate::oracle::{
    self, Bucket, Census, Outcome, Rng, SECOND, TODAY, any_quota, at, limiter, nanos, quota,
};
use tollgate::algorithm::Gcra;
use tollgate::{Quota, RateLimiter, VirtualClock};

const KEYS: u64 = 3;
const STEPS_A_QUOTA: u64 = 2_000;
/// Where every run stops: the end of time has tests of its own.
const END: u64 = 1 << 63;
/// How far back, at least (rounded down), a limiter remembers after its time origin has moved.
const NO_RETURN: u64 = 40 * oracle::DAY;

/// A timestamp where something may change: at the end of the last wait, a nanosecond before, the
/// current time again, or anywhere within a few refills.
fn later(rng: &mut Rng, now: u64, wait: u64, refill: u64) -> u64 {
    now.saturating_add(match rng.below(8) {
        0 | 1 => 0,
        2 => 1,
        3 => wait,
        4 => wait.saturating_sub(1),
        5 => rng.below(refill.saturating_add(1)),
        6 => rng.magnitude(refill.saturating_mul(8).max(1)),
        _ => rng.magnitude(refill.saturating_mul(2).max(1)),
    })
}

fn a_cost(rng: &mut Rng, burst: u64) -> u64 {
    match rng.below(32) {
        0 => 0,
        1 => burst,
        2 => burst.saturating_add(1),
        3 => rng.magnitude(u64::MAX),
        4..8 => rng.magnitude(burst.max(1)),
        _ => 1 + rng.below((burst / 3).max(1)),
    }
}

/// Nanoseconds in which a unit comes back.
fn interval(quota: &Quota) -> u64 {
    nanos(quota.period()).div_ceil(quota.count())
}

struct Run {
    rng: Rng,
    counts: [u64; 7],
    /// Stamps are whole numbers of this.
    grid: u64,
    backwards: bool,
}

impl Run {
    fn new(seed: u64) -> Run {
        Run { rng: Rng(seed), counts: [0; 7], grid: 1, backwards: true }
    }

    fn of<S: std::hash::BuildHasher>(
        &mut self,
        limiter: &RateLimiter<Gcra, S>,
        bucket: &Bucket,
        start: u64,
    ) {
        let quota = limiter.quota();
        let refill = interval(&quota).max(self.grid);
        let mut buckets = vec![bucket.clone(); KEYS as usize];
        let (mut now, mut wait) = (start, 0);
        for _ in 0..STEPS_A_QUOTA {
            let key = self.rng.below(KEYS);
            now = later(&mut self.rng, now, wait, refill);
            if now > END {
                return;
            }
            now = now.next_multiple_of(self.grid);
            let early = self.backwards && self.rng.one_in(8);
            let stamp = if early {
                now.saturating_sub(self.rng.magnitude(refill.saturating_mul(4).min(NO_RETURN)))
            } else {
                now
            };
            let cost = a_cost(&mut self.rng, quota.burst_size());
            let got = limiter.check_at(&key, cost, at(stamp));
            if let Err(denied) = got {
                wait = denied.retry().after().map_or(0, nanos);
            }
            self.counts[buckets[key as usize].agree(got, cost, stamp) as usize] += 1;
        }
    }

    fn census(&self) -> Census {
        use Outcome::*;
        let mut census = Census::default();
        for what in [First, Allowed, Looked, Denied, Never, Rounded, Stale] {
            census.add(what, self.counts[what as usize]);
        }
        census
    }
}

/// Quotas whose unit is a whole number of ticks of a nanosecond or a whole part of one.
const NATURAL: [(u64, u64, u64); 16] = [
    (50, SECOND, 100),
    (1, SECOND, 1),
    (1, SECOND, 10),
    (100, 3600 * SECOND, 100),
    (7, 60 * SECOND, 7),
    (1000, 60 * SECOND, 20),
    (3, 10, 10),
    (100, 100, 100),
    (5000, SECOND, 5000),
    (1, 60 * SECOND, 30),
    (1, oracle::DECADE, 1),
    (10_000_000_000, SECOND, 10_000_000_000),
    (10_000_000_000, SECOND, 3),
    (1_000_000_000, SECOND, 2),
    (60, SECOND, 1),
    (11, 7 * oracle::DAY, 13),
];

#[test]
fn natural_quotas_answer_as_rational_arithmetic_does() {
    let mut run = Run::new(1);
    let time = VirtualClock::new();
    for round in 0..oracle::steps(6_000_000).div_ceil(STEPS_A_QUOTA) {
        let (count, per, burst) = NATURAL[round as usize % NATURAL.len()];
        let quota = quota(count, per, burst);
        let start = run.rng.pick(&[0, 1, TODAY, TODAY + 123_456_789]);
        run.of(&limiter(quota, time.clock()), &Bucket::new(quota), start);
    }
    use Outcome::*;
    run.census().require(&[First, Allowed, Looked, Denied, Never], 200);
    run.census().require(&[Stale], 500);
    assert_eq!(run.counts[Rounded as usize], 0);
}

#[test]
fn any_quota_answers_so_up_to_a_nanosecond_at_the_start_of_a_busy_period() {
    let mut run = Run::new(2);
    let time = VirtualClock::new();
    for _ in 0..oracle::steps(6_000_000).div_ceil(STEPS_A_QUOTA) {
        let quota = any_quota(&mut run.rng);
        let start = run.rng.pick(&[0, 1, TODAY, TODAY + 123_456_789]);
        run.of(&limiter(quota, time.clock()), &Bucket::new(quota).rounded(), start);
    }
    use Outcome::*;
    run.census().require(&[First, Allowed, Looked, Denied, Never], 200);
    run.census().require(&[Rounded, Stale], 500);
}

/// Up to 10^9 a second and 2^35 a period, per whole seconds. Beyond, whole seconds need more ticks
/// than there are, and round as any stamp.
fn quota_of_whole_seconds(rng: &mut Rng) -> Quota {
    loop {
        let per = rng.magnitude(oracle::DECADE / SECOND);
        let count = rng.magnitude(per.saturating_mul(SECOND).min(1 << 35));
        let burst = rng.magnitude(10_000);
        if u128::from(burst) * u128::from(per) * u128::from(SECOND) < (1 << 58) * u128::from(count)
        {
            return quota(count, per * SECOND, burst);
        }
    }
}

#[test]
fn on_whole_seconds_every_quota_per_whole_seconds_is_exact() {
    let mut run = Run { grid: SECOND, backwards: false, ..Run::new(3) };
    let time = VirtualClock::new();
    for _ in 0..oracle::steps(3_000_000).div_ceil(STEPS_A_QUOTA) {
        let quota = quota_of_whole_seconds(&mut run.rng);
        let start = run.rng.pick(&[0, SECOND, TODAY]);
        run.of(&limiter(quota, time.clock()), &Bucket::new(quota), start);
    }
    use Outcome::*;
    run.census().require(&[First, Allowed, Looked, Denied, Never], 200);
    assert_eq!(run.counts[Rounded as usize], 0);
}
