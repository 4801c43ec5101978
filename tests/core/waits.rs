//! A wait is exact: at its end the same call is allowed, a nanosecond earlier it is not. What
//! remains can be had, and no more; after the reset the whole burst can.

use std::time::Duration;

use crate::oracle::{self, Bucket, Census, Rng, SECOND, any_quota, at, limiter, nanos, quota};
use foldhash::fast::FixedState;
use tollgate::algorithm::Gcra;
use tollgate::{Key, Quota, RateLimiter, Refused, Retry, Timestamp, VirtualClock, all};

const NANO: Duration = Duration::from_nanos(1);

/// What must hold of a key right after an answer at `now`.
fn stands(
    limiter: &RateLimiter<Gcra, FixedState>,
    remaining: u64,
    reset: Duration,
    now: Timestamp,
) {
    let burst = limiter.quota().burst_size();
    let can = |cost, now| limiter.peek_at("k", cost, now).is_ok();
    assert!(can(remaining, now), "{remaining} remain at {now:?}, and cannot be had");
    assert!(remaining == burst || !can(remaining + 1, now), "more than {remaining} remain");
    assert!(can(burst, now + reset), "not whole {reset:?} after {now:?}");
    assert!(reset.is_zero() || !can(burst, now + (reset - NANO)), "whole before {reset:?}");
}

#[test]
fn of_one_limit() {
    let mut rng = Rng(5);
    let mut census = Census::default();
    for _ in 0..oracle::steps(1_000_000) / 50 {
        let quota = any_quota(&mut rng);
        let limiter = limiter(quota, VirtualClock::new().clock());
        let interval = nanos(quota.period()).div_ceil(quota.count());
        let mut now = at(rng.pick(&[0, 3, oracle::TODAY, oracle::TODAY + 1]));
        for _ in 0..50 {
            now = now + Duration::from_nanos(rng.magnitude(interval));
            let back = Duration::from_nanos(rng.magnitude(oracle::DECADE));
            let stamp = if rng.one_in(8) { now - back } else { now };
            let cost = rng.magnitude(quota.burst_size());
            match limiter.check_at("k", cost, stamp) {
                Ok(allowed) => {
                    census.count("allowed");
                    stands(&limiter, allowed.remaining(), allowed.reset_after(), stamp);
                }
                Err(denied) => {
                    census.count(if stamp < now { "denied early" } else { "denied" });
                    let Retry::After(wait) = denied.retry() else { panic!("{denied:?}") };
                    let then = stamp + wait;
                    assert!(
                        limiter.peek_at("k", cost, then).is_ok(),
                        "{quota} {denied:?} {stamp:?}"
                    );
                    let before = then - NANO;
                    assert!(limiter.peek_at("k", cost, before).is_err(), "{quota} {denied:?}");
                    stands(&limiter, denied.remaining(), denied.reset_after(), stamp);
                    if rng.one_in(2) && stamp == now {
                        now = then;
                    }
                }
            }
        }
    }
    census.require(&["allowed", "denied", "denied early"], 50);
}

#[test]
fn of_several_limits_at_once() {
    let mut rng = Rng(6);
    let mut census = Census::default();
    for _ in 0..oracle::steps(500_000) / 50 {
        let quotas: Vec<Quota> = (0..1 + rng.below(4))
            .map(|_| quota(rng.magnitude(100), SECOND * rng.pick(&[1, 1, 60]), 1 + rng.below(20)))
            .collect();
        let limiters: Vec<_> =
            quotas.iter().map(|quota| limiter(*quota, VirtualClock::new().clock())).collect();
        let mut buckets: Vec<Bucket> =
            quotas.iter().map(|quota| Bucket::new(*quota).rounded()).collect();
        let mut now = oracle::TODAY;
        for _ in 0..50 {
            now += rng.magnitude(SECOND / 4);
            let keys: Vec<Key<'_>> = limiters.iter().map(|limiter| limiter.key("k")).collect();
            let cost = rng.magnitude(8);
            match admit(&keys, cost, at(now)) {
                Ok(()) => {
                    census.count("admitted");
                    for bucket in &mut buckets {
                        assert!(
                            bucket.allows(cost, now),
                            "over-admitted {cost} at {now}: {bucket:?}"
                        );
                        bucket.charge(cost, now);
                    }
                }
                Err(refused) => {
                    let first = buckets.iter().position(|bucket| !bucket.allows(cost, now));
                    // A limit may deny for the rounding of a stamp; here it then is the first.
                    assert!(first.is_none_or(|first| refused.index() <= first), "{refused:?}");
                    if first != Some(refused.index()) {
                        census.count("rounded");
                    }
                    let Retry::After(wait) = refused.retry() else {
                        assert!(quotas.iter().any(|quota| cost > quota.burst_size()));
                        census.count("never");
                        continue;
                    };
                    let exact = buckets.iter().filter_map(|bucket| bucket.retry(cost, now)).max();
                    let late = nanos(wait) - exact.unwrap();
                    assert!(late <= 1, "{refused:?}: {late} ns late");
                    census.count(["refused", "refused a nanosecond more"][late as usize]);
                    let then = at(now) + wait;
                    assert!(admit(&keys, cost, then - NANO).is_err(), "{refused:?} at {now}");
                    if rng.one_in(2) {
                        now += nanos(wait);
                        admit(&keys, cost, at(now)).unwrap();
                        buckets.iter_mut().for_each(|bucket| bucket.charge(cost, now));
                        census.count("waited");
                    }
                }
            }
        }
    }
    census.require(&["admitted", "refused", "never", "waited"], 50);
}

/// A set of as many keys as there are.
fn admit(keys: &[Key<'_>], cost: u64, now: Timestamp) -> Result<(), Refused> {
    match *keys {
        [a] => all((a,)).admit_at(cost, now).map(drop),
        [a, b] => all((a, b)).admit_at(cost, now).map(drop),
        [a, b, c] => all([a, b, c]).admit_at(cost, now).map(drop),
        [a, b, c, d] => all((a, b, c, d)).admit_at(cost, now).map(drop),
        _ => panic!("{} keys", keys.len()),
    }
}

#[test]
fn a_refusal_names_the_first_limit_and_charges_none() {
    let time = VirtualClock::new();
    let build = |name: &str, burst| {
        let quota = Quota::per_second(1).burst(burst);
        RateLimiter::builder(quota).clock(time.clock()).name(name).build()
    };
    let (user, org, global) = (build("user", 5), build("org", 2), build("global", 1));
    let set = all((user.key("u"), org.key("o"), global.key(&())));
    let _ = set.admit(1).unwrap();
    let refused = set.admit(1).unwrap_err();
    assert_eq!((refused.limit(), refused.index()), ("global", 2));
    assert_eq!(set.admit(2).unwrap_err().limit(), "org");
    // 3 s for three of five would do, but the burst of the others is less.
    assert_eq!(set.admit(3).unwrap_err().retry(), Retry::Never);
    let left = [user.peek_n("u", 0), org.peek_n("o", 0), global.peek_n(&(), 0)]
        .map(|looked| looked.unwrap().remaining());
    assert_eq!(left, [4, 1, 0]);
}

#[test]
fn a_key_listed_twice_is_charged_twice() {
    let time = VirtualClock::new();
    let limiter = limiter(Quota::per_second(1).burst(5), time.clock());
    let set = all((limiter.key("k"), limiter.key("k")));
    let _ = set.admit(2).unwrap();
    assert_eq!(limiter.peek_n("k", 0).unwrap().remaining(), 1);
    let refused = set.admit(1).unwrap_err();
    assert_eq!((refused.index(), refused.retry()), (1, Retry::After(Duration::from_secs(1))));
    assert_eq!(limiter.peek_n("k", 0).unwrap().remaining(), 1);
}
