//! The ends of every range: quotas, costs, timestamps, clocks.

use std::time::Duration;

use crate::oracle::{DAY, DECADE, SECOND, TODAY, at, limiter, nanos, quota};
use tollgate::{Quota, QuotaError, RateLimiter, Retry, Timestamp, VirtualClock, all};

const CENTURY: u64 = 10 * DECADE;

#[test]
fn one_per_ten_years() {
    for start in [0, TODAY] {
        let limiter = limiter(quota(1, DECADE, 2), VirtualClock::new().clock());
        let check = |t| limiter.check_at("k", 1, at(start + t));
        check(0).unwrap();
        check(0).unwrap();
        let wait = check(1).unwrap_err().retry();
        assert_eq!(wait, Retry::After(Duration::from_nanos(DECADE - 1)));
        check(DECADE - 1).unwrap_err();
        check(DECADE).unwrap();
        check(2 * DECADE - 1).unwrap_err();
        check(2 * DECADE).unwrap();
        check(2 * DECADE).unwrap_err();
        check(4 * DECADE).unwrap();
        check(4 * DECADE).unwrap();
        check(4 * DECADE).unwrap_err();
    }
}

#[test]
fn ten_to_the_ten_a_second() {
    for start in [0, TODAY] {
        let limiter = limiter(Quota::per_second(10_000_000_000), VirtualClock::new().clock());
        let check = |cost, t| limiter.check_at("k", cost, at(start + t));
        check(10_000_000_000, 0).unwrap();
        for t in 1..1000 {
            assert_eq!(check(11, t).unwrap_err().retry(), Retry::After(Duration::from_nanos(1)));
            check(10, t).unwrap();
            check(1, t).unwrap_err();
        }
        check(10_000_000_000, 1_000_000_999).unwrap();
    }
}

#[test]
fn the_largest_cost_and_the_largest_burst() {
    let limiter = limiter(Quota::per_second(1), VirtualClock::new().clock());
    for now in [Timestamp::ZERO, at(TODAY), Timestamp::MAX] {
        assert_eq!(limiter.check_at("k", u64::MAX, now).unwrap_err().retry(), Retry::Never);
        assert_eq!(limiter.peek_at("k", 0, now).unwrap().remaining(), 1);
    }
    assert_eq!(limiter.len(), 0, "a cost above the burst writes nothing");
    let second = Duration::from_secs(1);
    for burst in [u64::MAX, (1 << 60) + 1] {
        let refused = Quota::new(1, second).unwrap().with_burst(burst);
        assert_eq!(refused, Err(QuotaError::BurstTooLarge));
    }
    assert_eq!(Quota::new(u64::MAX, second), Err(QuotaError::TooFast));
    assert_eq!(Quota::new(1, Duration::MAX), Err(QuotaError::PeriodTooLong));
    assert_eq!(Quota::new(1, Duration::from_nanos(u64::MAX)).unwrap().burst_size(), 1);
}

#[test]
fn a_burst_of_centuries_is_counted() {
    // 2^60 units at 2^36 a second would be half a year; at 10^9 a second, 36 years.
    for (count, per, burst) in
        [(1 << 36, SECOND, 1 << 60), (SECOND, SECOND, 1 << 60), (1, SECOND, 1 << 40)]
    {
        let limiter = limiter(quota(count, per, burst), VirtualClock::new().clock());
        limiter.check_at("k", burst, at(TODAY)).unwrap();
        let denied = limiter.check_at("k", 1, at(TODAY)).unwrap_err();
        let wait = denied.retry().after().unwrap();
        limiter.peek_at("k", 1, at(TODAY) + wait).unwrap();
        limiter.peek_at("k", 1, at(TODAY) + wait - Duration::from_nanos(1)).unwrap_err();
        // Both end with time itself.
        let whole = u128::from(burst) * u128::from(per) / u128::from(count);
        let whole = Duration::from_nanos(u64::try_from(whole).unwrap_or(u64::MAX));
        let late = (at(TODAY) + denied.reset_after()).since(at(TODAY) + whole);
        assert!(late <= Duration::from_millis(1) && denied.reset_after() > whole / 2, "{late:?}");
    }
}

#[test]
fn near_the_end_of_time() {
    for before in [0, 1, 999, SECOND - 1, SECOND, DAY, 9 * DECADE / 10, CENTURY] {
        let end = u64::MAX - before;
        let limiter = limiter(Quota::per_second(10).burst(3), VirtualClock::new().clock());
        for left in [2, 1, 0] {
            assert_eq!(limiter.check_at("k", 1, at(end)).unwrap().remaining(), left);
        }
        let wait = limiter.check_at("k", 1, at(end)).unwrap_err().retry();
        assert_eq!(wait, Retry::After(Duration::from_millis(100)));
        // However much earlier, it is no later than the end.
        for now in [0, SECOND, TODAY, 1 << 62, end - DAY.min(end), end - 1] {
            let denied = limiter.check_at("k", 1, at(now)).unwrap_err();
            let then = at(now) + denied.retry().after().unwrap();
            assert_eq!(then, at(end) + Duration::from_millis(100), "asked at {now}");
        }
        if before > SECOND {
            limiter.check_at("k", 3, at(end + 300_000_000)).unwrap();
        }
    }
}

#[test]
fn ticks_of_every_size_at_the_end_of_time_and_back() {
    // From 1/68 ns to 1 ms: axes of months, of decades, and of all time.
    for (count, per, burst) in [
        (1 << 36, SECOND, 5),
        (SECOND, SECOND, 5),
        (1, DECADE, 8),
        (1, DECADE, 20),
        (1, DECADE, 64),
        (1, DECADE, 1_000),
        (1, DECADE, 1_000_000),
        (7, 3 * DECADE + 1, 100),
    ] {
        for first in [0, 1, TODAY, 1 << 62, u64::MAX - DAY, u64::MAX - 1, u64::MAX] {
            let quota = quota(count, per, burst);
            let limiter = limiter(quota, VirtualClock::new().clock());
            limiter.check_at("k", burst, at(first)).unwrap();
            for now in [0, 1, SECOND, TODAY, 1 << 62, u64::MAX - DAY, u64::MAX]
                .into_iter()
                .filter(|now| *now <= first)
            {
                let denied = limiter.check_at("k", 1, at(now)).expect_err("all used");
                assert_eq!(denied.remaining(), 0, "{quota} used at {first}, asked at {now}");
            }
        }
    }
}

#[test]
fn a_century_later_the_bucket_is_full_and_no_fuller() {
    for quota in [Quota::per_second(10), Quota::per_hour(3), quota(2, DECADE, 2), quota(977, 61, 5)]
    {
        let burst = quota.burst_size();
        let limiter = limiter(quota, VirtualClock::new().clock());
        for century in 0..5 {
            let now = at(century * CENTURY);
            limiter.check_at("k", burst, now).unwrap();
            limiter.check_at("k", burst, now).unwrap_err();
            limiter.check_at("k", 1, now).unwrap_err();
        }
        assert_eq!(limiter.check_at("k", burst, at(5 * CENTURY)).unwrap().remaining(), 0);
    }
}

#[test]
fn first_at_0_then_today_then_at_0_again() {
    let limiter = limiter(Quota::per_second(10).burst(5), VirtualClock::new().clock());
    limiter.check_at("k", 5, at(0)).unwrap();
    limiter.check_at("k", 1, at(0)).unwrap_err();
    limiter.check_at("k", 5, at(TODAY)).unwrap();
    // The wait is told from the stamp that was given, decades before the axis begins by now.
    for now in [0, SECOND, DAY, TODAY - DECADE, TODAY - 1, TODAY] {
        let denied = limiter.check_at("k", 1, at(now)).unwrap_err();
        let then = at(now) + denied.retry().after().unwrap();
        assert_eq!(then, at(TODAY) + Duration::from_millis(100), "asked at {now}");
        assert_eq!(at(now) + denied.reset_after(), at(TODAY) + Duration::from_millis(500));
    }
    limiter.check_at("k", 1, at(TODAY + 100_000_000)).unwrap();
}

#[test]
fn first_today_then_at_0() {
    let limiter = limiter(Quota::per_second(10).burst(5), VirtualClock::new().clock());
    limiter.check_at("k", 5, at(TODAY)).unwrap();
    // Another key is new at 0; all it is allowed there is a burst.
    limiter.check_at("other", 5, at(0)).unwrap();
    for now in [0, DAY] {
        let denied = limiter.check_at("other", 1, at(now)).unwrap_err();
        let then = at(now) + denied.retry().after().unwrap();
        assert!(then <= at(TODAY));
        assert!(limiter.peek_at("other", 1, then).is_ok());
        assert!(limiter.peek_at("other", 1, then - Duration::from_nanos(1)).is_err());
    }
}

#[test]
fn a_frozen_clock_gives_nothing_back() {
    let limiter = limiter(Quota::per_second(1_000_000).burst(1000), VirtualClock::new().clock());
    let allowed = (0..100_000).filter(|_| limiter.check("k").is_ok()).count();
    assert_eq!(allowed, 1000);
}

#[test]
fn a_clock_that_only_runs_backwards_gives_nothing_back() {
    let limiter = limiter(Quota::per_second(1000).burst(10), VirtualClock::new().clock());
    let stamps = (0..10_000).map(|step| at(TODAY - step * DAY / 100));
    let allowed = stamps.filter(|now| limiter.check_at("k", 1, *now).is_ok()).count();
    assert!(allowed <= 10, "{allowed}");
}

#[test]
fn quotas_change_under_huge_debts() {
    for next in [
        quota(3, 7, 1_000_000),
        quota(1, DECADE, 1),
        quota(1, DECADE, 1000),
        quota(1, SECOND, 1),
        quota(10_000_000_000, SECOND, 1_000_000_000),
    ] {
        let time = VirtualClock::starting_at(at(TODAY));
        let limiter = limiter(Quota::per_second(1), time.clock());
        // Owed until the year 2554 and beyond: kept as 36 years or more, never wrapped.
        limiter.reserve("k", 1).unwrap().settle(u64::MAX);
        limiter.set_quota(next);
        assert!(limiter.check("k").is_err(), "{next}");
        let looked = limiter.peek_n("k", 0).unwrap();
        assert!(looked.remaining() < next.burst_size(), "{next}");
        assert!(limiter.peek("fresh").is_ok());
    }
}

#[test]
fn quotas_change_on_live_keys_without_forgiving_or_forgetting() {
    let time = VirtualClock::starting_at(at(TODAY));
    let limiter = limiter(Quota::per_hour(60), time.clock());
    for key in 0..100_u64 {
        limiter.check_n(&key, key % 61).unwrap();
    }
    limiter.set_quota(Quota::per_day(60));
    limiter.set_quota(Quota::per_second(1).burst(60));
    for key in 0..100_u64 {
        let looked = limiter.peek_n(&key, 0).unwrap();
        assert_eq!(looked.remaining(), 60 - key % 61);
        assert_eq!(nanos(looked.reset_after()), key % 61 * SECOND);
    }
}

#[test]
fn a_limit_of_nothing_denies_all_and_a_set_with_it_too() {
    let time = VirtualClock::new();
    let none = limiter(Quota::per_second(1).burst(0), time.clock());
    let some = limiter(Quota::per_second(1), time.clock());
    let refused = all((some.key("k"), none.key("k"))).admit(1).unwrap_err();
    assert_eq!((refused.index(), refused.retry()), (1, Retry::Never));
    assert_eq!(some.peek_n("k", 0).unwrap().remaining(), 1);
}

#[test]
fn denied_and_free_calls_write_nothing() {
    let time = VirtualClock::new();
    let limiter = limiter(Quota::per_second(10).burst(5), time.clock());
    let memory = limiter.memory();
    for key in 0..2_000_u64 {
        limiter.check_n(&key, 0).unwrap();
        limiter.check_n(&key, 6).unwrap_err();
        limiter.peek(&key).unwrap();
        let _ = all((limiter.key(&key),)).admit(0).unwrap();
        let _ = limiter.reserve(&key, 0).unwrap();
    }
    assert_eq!((limiter.len(), limiter.overflows()), (0, 0));
    // The first access to the table allocates everything.
    assert!(limiter.memory() <= memory + 64 * 1024, "{} after {memory}", limiter.memory());
    limiter.check_n("k", 5).unwrap();
    let before = limiter.peek_n("k", 0);
    for _ in 0..1000 {
        limiter.check("k").unwrap_err();
        limiter.check_n("k", 0).unwrap();
        let _ = limiter.reserve("k", 1).err().unwrap();
        let _ = all((limiter.key("free"), limiter.key("k"))).admit(1).unwrap_err();
    }
    assert_eq!(limiter.peek_n("k", 0), before);
    assert_eq!(limiter.len(), 1);
}

#[test]
fn a_capacity_beyond_all_memory_costs_nothing_until_it_is_used() {
    let limiter = tollgate::RateLimiter::builder(Quota::per_second(1)).max_keys(usize::MAX).build();
    assert!(limiter.check("k").is_ok());
    assert!(limiter.memory() < 1 << 20);
}

#[test]
fn an_empty_text_is_one_key_however_it_is_held_and_not_the_key_without_size() {
    let limiter = RateLimiter::new(Quota::per_hour(1));
    assert!(limiter.check("").is_ok());
    assert!(limiter.check(&String::new()).is_err(), "the same text");
    assert!(limiter.check(&Box::<str>::default()).is_err(), "the same text");
    assert!(limiter.check(&()).is_ok(), "another key");
    assert!(limiter.check(&std::marker::PhantomData::<u8>).is_err(), "no more than ()");
    assert!(limiter.check::<[u8]>(&[]).is_ok(), "a slice has a length, also of nothing");
    assert!(limiter.check(&Vec::<u8>::new()).is_err(), "the same slice");
}
