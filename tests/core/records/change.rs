//! Another quota while keys are in debt.

use tollgate::algorithm::{Algorithm, FixedWindow, SlidingGranules, SlidingLog};
use tollgate::{Quota, VirtualClock};

use crate::records::{Limiter, at, key, left, limiter, nanos, quota};

fn per(count: u64, period: u64) -> Quota {
    Quota::new(count, nanos(period)).unwrap()
}

/// Charges three units at 1,000 under 3 in 100 ns, and lets all come back.
fn idle_again<A: Algorithm>(algorithm: A, time: &VirtualClock) -> Limiter<A> {
    time.set(at(1_000));
    let limiter = limiter(algorithm, time);
    limiter.check_n(&1, 3).unwrap();
    time.advance(nanos(500));
    assert_eq!(left(&limiter, 1), 3);
    limiter
}

#[test]
fn what_is_free_stays_free_under_a_longer_period() {
    fn holds<A: Algorithm>(algorithm: A) {
        let time = VirtualClock::new();
        let limiter = idle_again(algorithm, &time);
        limiter.set_quota(per(3, 100_000));
        assert_eq!(left(&limiter, 1), 3, "whether it was forgotten or not");
    }
    holds(SlidingLog::new(quota(3)));
    holds(SlidingGranules::new(quota(3), 10));
    holds(SlidingGranules::new(quota(3), 10).strict());
    holds(tollgate::algorithm::SlidingWindow::new(quota(3)));
    holds(FixedWindow::new(quota(3)).from_first_hit());
    holds(FixedWindow::new(quota(3)).shifted_per_key());
    holds(FixedWindow::new(quota(3)).counting_denied());
}

#[test]
fn a_key_whose_windows_are_shifted_is_free_again_after_a_shorter_period() {
    let time = VirtualClock::starting_at(at(100_100));
    let limiter = limiter(FixedWindow::new(per(10, 10_000)).shifted_per_key(), &time);
    // Ahead by 9,999 ns.
    let key = key(0, 9_999);
    limiter.check_n(&key, 10).unwrap();
    time.advance(nanos(1));
    limiter.set_quota(per(10, 10));
    let wait = limiter.check(&key).unwrap_err().retry().after().unwrap();
    assert!(wait <= nanos(10), "{wait:?} under a period of 10 ns");
    time.advance(wait);
    limiter.check_n(&key, 10).unwrap();
    // And back: what is used stays used, and comes back within the period.
    limiter.set_quota(per(10, 10_000));
    let wait = limiter.check(&key).unwrap_err().retry().after().unwrap();
    assert!(wait <= nanos(10_000), "{wait:?} under a period of 10 us");
}

#[test]
fn what_time_gave_back_under_a_faster_quota_is_not_given_back_again() {
    fn holds<A: Algorithm>(algorithm: A) {
        let time = VirtualClock::starting_at(at(10_000));
        let limiter = limiter(algorithm, &time);
        let reserved = limiter.reserve(&1, 3).unwrap();
        // All of it comes back.
        time.advance(nanos(250));
        limiter.set_quota(per(3, 1_000_000));
        limiter.check_n(&1, 3).unwrap();
        time.advance(nanos(1));
        reserved.cancel();
        assert_eq!(left(&limiter, 1), 0, "given back by time and by settling");
    }
    holds(SlidingLog::new(quota(3)));
    holds(SlidingGranules::new(quota(3), 10));
    holds(tollgate::algorithm::SlidingWindow::new(quota(3)));
    holds(FixedWindow::new(quota(3)).from_first_hit());
    holds(FixedWindow::new(quota(3)).shifted_per_key());
    holds(FixedWindow::new(quota(3)).counting_denied());
    holds(FixedWindow::new(quota(3)));
    holds(tollgate::algorithm::Gcra::new(quota(3)));
}

#[test]
fn a_step_of_a_slower_quota_is_not_given_back_again() {
    fn holds<A: Algorithm>(algorithm: impl FnOnce(Quota) -> A) {
        let quota = |count, per| Quota::new(count, nanos(per)).and_then(|q| q.with_burst(100));
        let time = VirtualClock::starting_at(at(10_990_000));
        let limiter = limiter(algorithm(quota(100, 1_000_000).unwrap()), &time);
        let reserved = limiter.reserve(&0, 100).unwrap();
        // All of it comes back at once.
        time.set(at(11_000_000));
        limiter.check_n(&0, 100).unwrap();
        limiter.set_quota(quota(2, 10_000).unwrap());
        time.set(at(11_005_000));
        reserved.cancel();
        assert_eq!(left(&limiter, 0), 0, "given back by time and by settling");
    }
    holds(FixedWindow::new);
    holds(|quota| FixedWindow::new(quota).shifted_per_key());
}

#[test]
fn what_several_quotas_gave_back_in_turn_is_not_given_back_again() {
    fn holds<A: Algorithm>(algorithm: impl FnOnce(Quota) -> A) {
        let quota = |per| Quota::new(10, nanos(per)).and_then(|quota| quota.with_burst(30));
        let time = VirtualClock::starting_at(at(5_900));
        let limiter = limiter(algorithm(quota(6_000).unwrap()), &time);
        let reserved = limiter.reserve(&0, 30).unwrap();
        // A window of each ends, and gives back ten.
        for (moment, per) in [(6_000, 6_100), (6_100, 6_200)] {
            time.set(at(moment));
            assert!(left(&limiter, 0) > 0);
            limiter.set_quota(quota(per).unwrap());
        }
        time.set(at(6_200));
        limiter.check_n(&0, 30).unwrap();
        time.set(at(6_210));
        reserved.cancel();
        assert_eq!(left(&limiter, 0), 0, "given back by time and by settling");
    }
    holds(FixedWindow::new);
    holds(|quota| FixedWindow::new(quota).shifted_per_key());
}

#[test]
fn what_is_held_is_given_back_over_a_change() {
    fn holds<A: Algorithm>(algorithm: A) {
        let time = VirtualClock::starting_at(at(10_000));
        let limiter = limiter(algorithm, &time);
        let reserved = limiter.reserve(&1, 3).unwrap();
        limiter.set_quota(per(5, 1_000));
        reserved.settle(1);
        assert_eq!(left(&limiter, 1), 4);
    }
    holds(SlidingLog::new(quota(3)));
    holds(SlidingGranules::new(quota(3), 10));
    holds(tollgate::algorithm::SlidingWindow::new(quota(3)));
    holds(FixedWindow::new(quota(3)).from_first_hit());
}
