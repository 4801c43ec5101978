//! Charges that are corrected later.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tollgate::algorithm::{FixedWindow, SlidingLog};
use tollgate::policy::AlgorithmName;
use tollgate::{Enforcer, Limit, Overflow, Policy, VirtualClock};

use crate::records::{at, each_algorithm, full, key, left, limiter, nanos, quota};

#[test]
fn settling_moves_the_charge_both_ways() {
    each_algorithm!(10, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm, &time);
        limiter.reserve(&1, 4).unwrap().settle(1);
        assert_eq!(left(&limiter, 1), 9);
        limiter.reserve(&1, 4).unwrap().settle(6);
        assert_eq!(left(&limiter, 1), 3);
        limiter.reserve(&1, 3).unwrap().cancel();
        assert_eq!(left(&limiter, 1), 3);
        // More than there is makes debt.
        limiter.reserve(&1, 3).unwrap().settle(100);
        assert_eq!(left(&limiter, 1), 0);
        drop(limiter.reserve(&2, 4).unwrap());
        assert_eq!(left(&limiter, 2), 6);
    });
}

#[test]
fn settling_gives_nothing_back_that_time_has() {
    each_algorithm!(10, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm, &time);
        let reserved = limiter.reserve(&1, 10).unwrap();
        // Two of the longest window.
        time.advance(nanos(220));
        limiter.check_n(&1, 10).unwrap();
        reserved.cancel();
        assert_eq!(left(&limiter, 1), 0);
    });
}

#[test]
fn settling_a_key_that_was_forgotten_makes_none() {
    each_algorithm!(10, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm, &time);
        let [less, same, more] = [(); 3].map(|()| limiter.reserve(&key(1, 1), 3).unwrap());
        time.advance(nanos(1_000));
        for number in 2..6 {
            limiter.check(&key(1, number)).unwrap();
        }
        less.cancel();
        same.settle(3);
        assert_eq!(limiter.len(), 4);
        more.settle(5);
        assert_eq!((limiter.len(), left(&limiter, key(1, 1))), (5, 8));
    });
}

#[test]
fn a_charge_in_the_pool_is_settled_in_the_pool() {
    each_algorithm!(10, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = full(algorithm, &time, 1, Overflow::Pool);
        limiter.check(&key(1, 1)).unwrap();
        limiter.reserve(&key(1, 2), 8).unwrap().settle(3);
        assert_eq!(left(&limiter, key(1, 3)), 7, "of the pool");
        assert_eq!(left(&limiter, key(1, 1)), 9);
    });
}

#[test]
fn threads_that_reserve_and_settle_lose_nothing() {
    const ROUNDS: u64 = 100;
    each_algorithm!(1_000, |algorithm| {
        let time = VirtualClock::starting_at(at(1_000));
        let limiter = limiter(algorithm, &time);
        let kept = AtomicU64::new(0);
        thread::scope(|scope| {
            for thread in 0..4 {
                let (limiter, kept) = (&limiter, &kept);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let cost = (round + thread) % 5;
                        limiter.reserve(&1, 3).unwrap().settle(cost);
                        kept.fetch_add(cost, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(left(&limiter, 1), 1_000 - kept.into_inner());
    });
}

/// Two limits in records and one in a word.
fn enforcer(time: &VirtualClock) -> Enforcer {
    let policy = Policy::new()
        .limit(Limit::new("user", quota(5)).key(["user"]).algorithm(AlgorithmName::SlidingLog))
        .limit(Limit::new("org", quota(8)).key(["org"]))
        .limit(Limit::new("all", quota(9)).algorithm(AlgorithmName::SlidingWindow));
    Enforcer::builder(policy).clock(time.clock()).build().unwrap()
}

#[test]
fn permits_over_records_settle_and_cancel() {
    let time = VirtualClock::starting_at(at(1_000));
    let enforcer = enforcer(&time);
    let admit = |user: &str, cost| enforcer.admit(&[("user", user), ("org", "7")], cost);
    admit("a", 5).unwrap().settle(2);
    // user a has 3 left, the organization 6, all 7.
    let permit = admit("a", 3).unwrap();
    assert_eq!(admit("a", 1).unwrap_err().limit(), "user");
    permit.cancel();
    drop(admit("b", 4).unwrap());
    // the organization has 2 left, all 3.
    assert_eq!(admit("a", 3).unwrap_err().limit(), "org");
    drop(admit("a", 2).unwrap());
    time.advance(nanos(1));
    let org = |org: &str| enforcer.admit(&[("user", "c"), ("org", org)], 2);
    assert_eq!(org("8").unwrap_err().limit(), "all");
}

#[test]
fn a_stale_stamp_gives_back_no_more_than_it_took() {
    let time = VirtualClock::starting_at(at(1_000));
    let log = limiter(SlidingLog::new(quota(10)), &time);
    let windows = limiter(FixedWindow::new(quota(10)).from_first_hit(), &time);
    log.check_n(&1, 3).unwrap();
    windows.check_n(&1, 3).unwrap();
    time.advance(nanos(50));
    log.check_n(&1, 1).unwrap();
    // The clock goes back: charged at the latest, not before.
    time.set(at(1_020));
    let (a, b) = (log.reserve(&1, 2).unwrap(), windows.reserve(&1, 2).unwrap());
    time.set(at(1_060));
    a.cancel();
    b.cancel();
    assert_eq!((left(&log, 1), left(&windows, 1)), (6, 7));
    time.set(at(1_100));
    assert_eq!(left(&log, 1), 9, "those of 1,000 are back, that of 1,050 is not");
}
