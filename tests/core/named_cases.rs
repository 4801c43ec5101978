//! Cases that a first design got wrong.

use std::time::Duration;

use crate::oracle::{self, SECOND, at, limiter, nanos, quota};
use tollgate::algorithm::Gcra;
use tollgate::{Overflow, Quota, RateLimiter, Retry, VirtualClock};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_hundred_an_hour_exhausted_then_five_hundred_a_second() {
    let time = VirtualClock::starting_at(at(oracle::TODAY));
    let limiter = limiter(Quota::per_hour(100), time.clock());
    limiter.check_n("k", 100).unwrap();
    limiter.set_quota(Quota::per_second(500).burst(100));
    assert_eq!(limiter.check("k").unwrap_err().retry(), Retry::After(Duration::from_millis(2)));
    assert_eq!(limiter.peek_n("k", 0).unwrap().reset_after(), Duration::from_millis(200));
    time.advance(Duration::from_millis(200) - Duration::from_nanos(1));
    assert!(limiter.check_n("k", 100).is_err());
    time.advance(Duration::from_nanos(1));
    limiter.check_n("k", 100).unwrap();
}

#[test]
fn a_larger_burst_is_there_at_once_and_a_smaller_one_drains() {
    let time = VirtualClock::new();
    let limiter = limiter(Quota::per_second(10), time.clock());
    limiter.check_n("k", 10).unwrap();
    limiter.set_quota(Quota::per_second(10).burst(15));
    assert_eq!(limiter.peek_n("k", 0).unwrap().remaining(), 5);
    limiter.set_quota(Quota::per_second(10).burst(4));
    assert_eq!(limiter.check("k").unwrap_err().retry(), Retry::After(Duration::from_millis(700)));
}

#[test]
fn five_reserved_at_one_a_second_slowed_to_one_per_ten_seconds_and_settled() {
    // Seconds waited before settling at 0, and seconds until all is there again. Of the five
    // units settling returns what the faster rate cannot have given back: 5, less 1 a second.
    // Of those five the slower rate gave back 1 in 10 s; what is owed is repaid at that.
    for (waited, whole_in) in [(0, 0), (2, 18), (3, 27), (4, 36), (5, 45), (6, 44), (60, 0)] {
        let time = VirtualClock::starting_at(at(oracle::TODAY));
        let limiter = limiter(quota(1, SECOND, 5), time.clock());
        let reservation = limiter.reserve("k", 5).unwrap();
        limiter.set_quota(quota(1, 10 * SECOND, 5));
        time.advance(secs(waited));
        reservation.settle(0);
        let looked = limiter.peek_n("k", 0).unwrap();
        assert_eq!(looked.reset_after(), secs(whole_in), "settled after {waited} s");
    }
}

#[test]
fn a_reservation_settled_at_0_after_others_charged_at_5() {
    let time = VirtualClock::new();
    let limiter = limiter(quota(1, SECOND, 5), time.clock());
    let reservation = limiter.reserve("k", 5).unwrap();
    time.set(at(5 * SECOND));
    limiter.check_n("k", 5).unwrap();
    // The settling clock has fallen behind: time gave the five back already.
    time.set(at(0));
    reservation.cancel();
    time.set(at(5 * SECOND));
    assert_eq!(limiter.check("k").unwrap_err().retry(), Retry::After(secs(1)));
}

#[test]
fn a_quota_changed_by_a_clock_that_fell_behind() {
    let time = VirtualClock::starting_at(at(100 * SECOND));
    let limiter = limiter(quota(1, SECOND, 10), time.clock());
    limiter.check_n("k", 10).unwrap();
    time.set(at(0));
    limiter.set_quota(quota(2, SECOND, 10));
    time.set(at(100 * SECOND));
    assert_eq!(limiter.check("k").unwrap_err().retry(), Retry::After(Duration::from_millis(500)));
}

#[test]
fn a_forgotten_key_asked_with_an_earlier_now() {
    let time = VirtualClock::new();
    let small = RateLimiter::builder(quota(1, SECOND, 10))
        .clock(time.clock())
        .max_keys(1)
        .overflow(Overflow::Deny)
        .build();
    small.check_at("k", 10, at(100 * SECOND)).unwrap();
    // Idle from 110 s on; a flood takes its slot.
    for stranger in 0..10_000_u64 {
        let _ = small.check_at(&stranger, 1, at(111 * SECOND));
    }
    assert!(small.overflows() > 0, "the slot was wanted");
    // At 100 s all ten were used: none is there, and what was exact was to wait for 101.
    let denied = small.check_at("k", 1, at(100 * SECOND)).unwrap_err();
    let wait = nanos(denied.retry().after().unwrap());
    assert!(wait >= SECOND, "{wait}");
}

#[test]
fn seven_a_minute_on_stamps_of_whole_seconds() {
    let limiter = limiter(Quota::per_minute(7).burst(1), VirtualClock::new().clock());
    let allowed: Vec<u64> =
        (0..=120).filter(|s| limiter.check_at("k", 1, at(s * SECOND)).is_ok()).collect();
    // Every 60/7 = 8.571… s, from the stamp that was used: the next whole second.
    assert_eq!(allowed, (0..14).map(|n| n * 9).collect::<Vec<_>>());

    let limiter = limiter_of_burst_7();
    let mut allowed = 0;
    for second in 0..=60_000 {
        while limiter.check_at("k", 1, at(second * SECOND)).is_ok() {
            allowed += 1;
        }
    }
    assert_eq!(allowed, 7 + 7_000, "7 a minute for 1000 minutes, not one more or less");
}

fn limiter_of_burst_7() -> RateLimiter<Gcra, foldhash::fast::FixedState> {
    limiter(Quota::per_minute(7), VirtualClock::new().clock())
}
