//! Forgetting has no visible effect: a tiny table with many keys, against one that never forgets.

use crate::oracle::{self, Bucket, Census, Rng, SECOND, at, nanos, quota};
use foldhash::fast::FixedState;
use tollgate::algorithm::Gcra;
use tollgate::{Overflow, RateLimiter, VirtualClock};

const KEYS: u64 = 50;

fn table(quota: tollgate::Quota, max_keys: usize) -> RateLimiter<Gcra, FixedState> {
    RateLimiter::builder(quota)
        .clock(VirtualClock::new().clock())
        .hasher(FixedState::default())
        .max_keys(max_keys)
        .overflow(Overflow::Deny)
        .build()
}

/// Runs a tiny table beside a large one, and returns how many calls overflowed.
fn run(seed: u64, backwards: bool, census: &mut Census) -> u64 {
    let mut rng = Rng(seed);
    let per = SECOND * rng.pick(&[1, 1, 7, 60]);
    let quota = quota(rng.pick(&[1, 3, 50, 997, 2_000_000_011]), per, 1 + rng.below(8));
    let (tiny, large) = (table(quota, 1 + rng.below(6) as usize), table(quota, 10_000));
    let mut buckets = vec![Bucket::new(quota).rounded(); KEYS as usize];
    let interval = nanos(quota.period()).div_ceil(quota.count());
    let mut now = rng.pick(&[0, oracle::TODAY, oracle::TODAY + 1]);
    for _ in 0..400 {
        if rng.one_in(2) {
            now += rng.magnitude(interval * quota.burst_size() * 2);
        }
        let key = rng.below(KEYS);
        let cost = rng.below(quota.burst_size() + 2);
        let early = backwards && rng.one_in(3);
        let stamp = if early { now.saturating_sub(rng.magnitude(interval * 30)) } else { now };
        let overflows = tiny.overflows();
        let got = tiny.check_at(&key, cost, at(stamp));
        if tiny.overflows() > overflows {
            assert!(got.is_err(), "nowhere to count it");
            census.count("overflow");
            continue;
        }
        if backwards {
            // A limiter that remembers everything would have admitted it too.
            let bucket = &mut buckets[key as usize];
            if got.is_ok() && cost > 0 {
                assert!(bucket.allows(cost, stamp), "{got:?} for {cost} at {stamp}: {bucket:?}");
                bucket.charge(cost, stamp);
            }
            census.count(if got.is_ok() {
                "early or not, allowed"
            } else {
                "early or not, denied"
            });
        } else {
            assert_eq!(got, large.check_at(&key, cost, at(stamp)), "{key} at {stamp}");
            census.count(if got.is_ok() { "allowed" } else { "denied" });
        }
    }
    tiny.overflows()
}

#[test]
fn the_same_answers_as_from_a_table_that_forgets_nothing() {
    let mut census = Census::default();
    for seed in 0..oracle::steps(800_000) / 400 {
        run(seed, false, &mut census);
    }
    census.require(&["allowed", "denied", "overflow"], 50);
}

#[test]
fn earlier_stamps_are_allowed_nothing_that_was_used() {
    let mut census = Census::default();
    for seed in 0..oracle::steps(800_000) / 400 {
        run(seed, true, &mut census);
    }
    census.require(&["early or not, allowed", "early or not, denied", "overflow"], 50);
}

#[test]
fn a_slot_given_for_a_set_that_was_refused_remembers_too() {
    let ten = quota(1, SECOND, 10);
    let (tiny, full) = (table(ten, 1), table(ten, 1));
    tiny.check_at("k", 10, at(100 * SECOND)).unwrap();
    // Full with keys that are never idle here; `k` finds no room, which is seen late.
    let overflows = full.overflows();
    let fill = |key| full.check_at(&key, 10, at(200 * SECOND)).is_ok();
    assert!((0..u64::MAX).any(|key| !fill(key)));
    assert!(full.overflows() > overflows);
    // Strangers make `tiny` forget `k`, idle since 110 s, and go idle themselves.
    while tiny.overflows() == 0 {
        for key in 0..1000_u64 {
            let _ = tiny.check_at(&key, 1, at(150 * SECOND));
        }
    }
    let refused = tollgate::all((tiny.key("k"), full.key("k"))).admit_at(1, at(200 * SECOND));
    assert_eq!(refused.unwrap_err().index(), 1);
    assert!(tiny.check_at("k", 1, at(100 * SECOND)).is_err(), "used ten at 100 s");
}
