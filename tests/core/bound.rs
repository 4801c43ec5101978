//! Promise 1: at most `burst + floor(t * count / per)` units in any closed interval of length t,
//! and with `Quota::strict` never more than n in any half-open interval of a period.

use std::time::Duration;

use crate::oracle::{self, Rng, any_quota, at, limiter, nanos};
use tollgate::{Quota, VirtualClock};

/// Units admitted at given timestamps, in the order of the calls, to a caller that takes all it can
/// get.
fn greedy(quota: Quota, rng: &mut Rng, backwards: bool) -> Vec<(u64, u64)> {
    let limiter = limiter(quota, VirtualClock::new().clock());
    let interval = nanos(quota.period()).div_ceil(quota.count());
    let mut now = rng.pick(&[0, 5, oracle::TODAY]);
    let mut admitted = Vec::new();
    for _ in 0..120 {
        let early = if backwards && rng.one_in(3) { rng.magnitude(interval * 3) } else { 0 };
        let stamp = now.saturating_sub(early);
        let cost = rng.magnitude(quota.burst_size());
        match limiter.check_at("k", cost, at(stamp)) {
            Ok(_) => admitted.push((stamp, cost)),
            Err(denied) if rng.one_in(2) => {
                now += denied.retry().after().map_or(0, nanos);
            }
            Err(_) => now += rng.magnitude(interval),
        }
    }
    admitted
}

fn bounded(quota: Quota, admitted: &[(u64, u64)]) {
    // Every interval that begins and ends at an admission, whatever the order of the calls.
    let mut by_stamp = admitted.to_vec();
    by_stamp.sort_unstable();
    for (first, (begin, _)) in by_stamp.iter().enumerate() {
        let mut units = 0_u128;
        for (end, cost) in &by_stamp[first..] {
            units += u128::from(*cost);
            let refill =
                u128::from(end - begin) * u128::from(quota.count()) / quota.period().as_nanos();
            let bound = u128::from(quota.burst_size()) + refill;
            assert!(units <= bound, "{quota}: {units} of {bound} in [{begin}, {end}]");
        }
    }
}

#[test]
fn no_closed_interval_holds_more() {
    let mut rng = Rng(7);
    let (mut most, mut rounds) = (0, 0);
    for _ in 0..oracle::steps(400_000) / 120 {
        let quota = any_quota(&mut rng);
        let admitted = greedy(quota, &mut rng, false);
        bounded(quota, &admitted);
        rounds += 1;
        most += u64::from(admitted.len() > 40);
    }
    assert!(most * 4 > rounds, "only {most} of {rounds} runs admitted much");
}

#[test]
fn nor_when_stamps_run_backwards() {
    let mut rng = Rng(8);
    for _ in 0..oracle::steps(400_000) / 120 {
        let quota = any_quota(&mut rng);
        bounded(quota, &greedy(quota, &mut rng, true));
    }
}

#[test]
fn the_bound_is_reached() {
    let mut rng = Rng(9);
    for _ in 0..200 {
        // Where the bucket is full within a nanosecond, waiting for whole ones loses the rest.
        let quota = any_quota(&mut rng);
        let Ok(quota) = quota.with_burst(quota.burst_size() + 1) else { continue };
        if u128::from(quota.count()) > quota.period().as_nanos() {
            continue;
        }
        let limiter = limiter(quota, VirtualClock::new().clock());
        limiter.check_at("k", quota.burst_size(), at(0)).unwrap();
        for units in 1..20_u64 {
            let refilled = u128::from(units) * quota.period().as_nanos();
            let stamp =
                u64::try_from(refilled.div_ceil(u128::from(quota.count()))).unwrap_or(u64::MAX);
            if stamp > 1 << 62 {
                break;
            }
            limiter.check_at("k", 1, at(stamp)).unwrap();
            let back = u128::from(stamp) * u128::from(quota.count()) / quota.period().as_nanos();
            assert!(back > u128::from(units) || limiter.peek_at("k", 1, at(stamp)).is_err());
        }
    }
}

#[test]
fn strict_never_admits_more_than_n_in_a_half_open_period() {
    let mut rng = Rng(10);
    for _ in 0..oracle::steps(100_000) / 120 {
        let n = 1 + rng.below(30);
        let period = rng.magnitude(100 * oracle::SECOND).max(n);
        let quota = Quota::strict(n, Duration::from_nanos(period)).unwrap();
        let admitted = greedy(quota, &mut rng, false);
        let spread = Quota::new(n, Duration::from_nanos(period)).unwrap();
        let burst = 1 + rng.below(n);
        let leftover = quota_of(n - burst + 1, period, burst);
        for admitted in [admitted, greedy(leftover, &mut rng, false)] {
            for (first, (begin, _)) in admitted.iter().enumerate() {
                let within = admitted[first..].iter().take_while(|(now, _)| now - begin < period);
                let units: u64 = within.map(|(_, cost)| cost).sum();
                assert!(units <= n, "{units} of {spread} from {begin}");
            }
        }
    }
}

fn quota_of(count: u64, period: u64, burst: u64) -> Quota {
    oracle::quota(count, period, burst)
}
