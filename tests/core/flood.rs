//! More keys than the capacity: memory stays bounded, debts stay, every overflow is counted.

use std::time::Duration;

use crate::oracle::{self, Census, Rng, SECOND, TODAY, at, nanos, quota};
use foldhash::fast::FixedState;
use tollgate::algorithm::Gcra;
use tollgate::{Overflow, Quota, RateLimiter, Retry, VirtualClock, all};

fn table(quota: Quota, max_keys: u64, overflow: Overflow) -> RateLimiter<Gcra, FixedState> {
    RateLimiter::builder(quota)
        .clock(VirtualClock::starting_at(at(TODAY)).clock())
        .hasher(FixedState::default())
        .max_keys(max_keys as usize)
        .overflow(overflow)
        .build()
}

/// One unit each for so many keys, at the clock's time.
fn fill(limiter: &RateLimiter<Gcra, FixedState>, keys: u64) {
    for key in 0..keys {
        let _ = limiter.check(&key);
    }
}

#[test]
fn as_many_keys_as_were_promised_have_room() {
    let sizes = [1, 2, 3, 7, 64, 100, 348, 512, 1_000, 4_096, 10_000, 65_537, 1_000_000];
    // A million takes its time where the code is not optimized.
    let sizes = &sizes[..sizes.len() - usize::from(cfg!(debug_assertions))];
    for &keys in sizes {
        let limiter = table(Quota::per_hour(1), keys, Overflow::Deny);
        for key in 0..keys {
            assert!(limiter.check(&key).is_ok(), "key {key} of {keys}");
        }
        assert_eq!((limiter.overflows(), limiter.len() as u64), (0, keys));
        assert!((0..keys).all(|key| limiter.check(&key).is_err()), "one of {keys} was forgotten");
        if keys == 1_000_000 {
            let bytes = limiter.memory() as f64 / keys as f64;
            println!("{bytes:.2} bytes a key");
            assert!(bytes <= 24.0, "{bytes}");
        }
    }
}

#[test]
fn ten_times_as_many_and_the_debtor_stays_denied() {
    const KEYS: u64 = if cfg!(debug_assertions) { 1_000 } else { 5_000 };
    for overflow in [Overflow::Pool, Overflow::Deny, Overflow::Allow] {
        let limiter = table(Quota::per_hour(2), KEYS, overflow);
        limiter.check_n("debtor", 2).unwrap();
        let wait = limiter.check("debtor").unwrap_err().retry();
        let (mut uncounted, mut allowed) = (0, 0);
        for key in 0..10 * KEYS {
            let before = limiter.overflows();
            let got = limiter.check(&key);
            allowed += u64::from(got.is_ok());
            match limiter.overflows() - before {
                0 => assert!(got.is_ok(), "a fresh key that has room"),
                1 => uncounted += 1,
                more => panic!("one call, {more} overflows"),
            }
            if key % 1_000 == 0 {
                assert_eq!(limiter.check("debtor").unwrap_err().retry(), wait);
            }
        }
        let seated = 10 * KEYS - uncounted;
        assert_eq!(limiter.overflows(), uncounted);
        assert_eq!(limiter.len() as u64, seated + 1);
        assert!(seated + 1 >= KEYS, "{seated} of {KEYS} had room");
        assert!(limiter.memory() as u64 <= 24 * KEYS + 8_192, "{}", limiter.memory());
        let pooled = allowed - seated;
        match overflow {
            Overflow::Pool => assert_eq!(pooled, 2 * 64, "64 shared cells"),
            Overflow::Deny => assert_eq!(pooled, 0),
            _ => assert_eq!(pooled, uncounted),
        }
    }
}

#[test]
fn a_key_moves_out_of_the_pool_with_its_debt() {
    let limiter = table(Quota::per_second(1).burst(5), 1, Overflow::Pool);
    let now = at(TODAY);
    fill(&limiter, 100);
    let overflows = limiter.overflows();
    while limiter.check_at("late", 1, now).is_ok() {}
    assert!(limiter.overflows() > overflows, "counted in the pool");
    // A second on, all but debtors of several units are idle: there is room, and no fresh burst.
    let next = now + Duration::from_secs(1) + Duration::from_nanos(1);
    let burst = (0..10).filter(|_| limiter.check_at("late", 1, next).is_ok()).count();
    assert_eq!(burst, 1);
}

#[test]
fn where_newcomers_are_denied_the_wait_is_exact() {
    let mut rng = Rng(11);
    let mut census = Census::default();
    for _ in 0..oracle::steps(200_000) / 100 {
        let per = rng.pick(&[1, 7, 60]) * SECOND;
        let limiter = table(quota(rng.magnitude(2000), per, 6), 1 + rng.below(20), Overflow::Deny);
        let interval = nanos(limiter.quota().period()).div_ceil(limiter.quota().count());
        let mut now = TODAY;
        for call in 0..100_u64 {
            let overflows = limiter.overflows();
            let cost = 1 + rng.below(6);
            let got = limiter.check_at(&call, cost, at(now));
            if limiter.overflows() == overflows {
                census.count("room");
            } else {
                let Retry::After(wait) = got.unwrap_err().retry() else { panic!("{got:?}") };
                let then = at(now) + wait;
                let before = then - Duration::from_nanos(1);
                assert!(limiter.check_at(&call, cost, before).is_err(), "a nanosecond early");
                limiter.check_at(&call, cost, then).unwrap();
                now = nanos(then.since(at(0)));
                census.count("waited");
            }
            now += rng.below(interval);
        }
    }
    census.require(&["room", "waited"], 50);
}

#[test]
fn a_cost_above_the_burst_is_never_allowed_with_or_without_room() {
    for overflow in [Overflow::Pool, Overflow::Deny, Overflow::Allow] {
        let limiter = table(Quota::per_hour(2), 1, overflow);
        fill(&limiter, 1_000);
        assert_eq!(limiter.check_n("new", 3).unwrap_err().retry(), Retry::Never, "{overflow:?}");
    }
}

#[test]
fn a_set_with_a_full_table_charges_no_other() {
    let full = table(Quota::per_hour(1), 1, Overflow::Deny);
    fill(&full, 1_000);
    let other = table(Quota::per_second(5), 1_000, Overflow::Deny);
    let overflows = full.overflows();
    let refused = all((other.key("k"), full.key("new"))).admit(1).unwrap_err();
    assert_eq!(refused.index(), 1);
    assert_eq!(full.overflows(), overflows + 1);
    assert_eq!(other.peek_n("k", 0).unwrap().remaining(), 5);
    let refused = all((full.key("new"), other.key("k"))).admit(1).unwrap_err();
    assert_eq!(refused.index(), 0);
    assert_eq!(other.peek_n("k", 0).unwrap().remaining(), 5);
}
