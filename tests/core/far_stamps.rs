//! Stamps decades ahead of the clock: each is its own key's, and no other key notices.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use foldhash::fast::FixedState;
use tollgate::algorithm::{
    Algorithm, FixedWindow, Gcra, LeakyBucket, SlidingGranules, SlidingLog, SlidingWindow,
};
use tollgate::{
    Enforcer, Limit, Overflow, Policy, Quota, RateLimiter, Retry, Timestamp, VirtualClock, all,
};

use crate::oracle::{DAY, DECADE, SECOND, TODAY, at};

const YEAR: u64 = 365 * DAY;
const CENTURY: u64 = 10 * DECADE;

fn limiter<A: Algorithm>(algorithm: A, time: &VirtualClock) -> RateLimiter<A, FixedState> {
    let builder = RateLimiter::builder(algorithm.quota()).algorithm(algorithm).clock(time.clock());
    builder.hasher(FixedState::default()).max_keys(10_000).build()
}

/// Two limiters whose keys, old and new, use all they have at each moment of the clock. The second
/// also gets timestamps far ahead; both give the same answers.
fn nobody_else_notices<A: Algorithm>(algorithm: A) {
    let time = VirtualClock::starting_at(at(TODAY));
    let (alone, beside) = (limiter(algorithm.clone(), &time), limiter(algorithm, &time));
    for round in 0..50_u64 {
        for (years, key) in [12, 25, 70, 400].into_iter().zip(1_000 + 4 * round..) {
            let _ = beside.check_at(&key, 1, at(TODAY + years * YEAR));
            let _ = beside.check_at(&1_000_u64, 1, at(TODAY + (years + round) * YEAR));
        }
        for key in (0..20).chain(100_000 + 20 * round..100_020 + 20 * round) {
            assert_eq!(alone.check_n(&key, 1 + key % 3), beside.check_n(&key, 1 + key % 3));
            assert_eq!(alone.peek_n(&key, 0), beside.peek_n(&key, 0), "key {key}, round {round}");
        }
        time.advance(Duration::from_millis(40 + 977 * (round % 3)));
    }
}

#[test]
fn nobody_else_notices_by_any_algorithm_in_a_word() {
    let quota = Quota::per_second(7).burst(20);
    nobody_else_notices(Gcra::new(quota));
    nobody_else_notices(LeakyBucket::new(quota));
    nobody_else_notices(Gcra::new(Quota::per_second(333)));
    nobody_else_notices(FixedWindow::new(Quota::per_second(9)));
}

#[test]
fn nobody_else_notices_by_any_algorithm_in_a_record() {
    let quota = Quota::per_second(7);
    nobody_else_notices(SlidingWindow::new(quota));
    nobody_else_notices(SlidingLog::new(quota));
    nobody_else_notices(SlidingGranules::new(quota, 10));
    nobody_else_notices(FixedWindow::new(quota).from_first_hit());
}

#[test]
fn the_first_stamp_may_be_the_far_one() {
    let time = VirtualClock::starting_at(at(TODAY));
    let limiter = limiter(Gcra::new(Quota::per_second(10)), &time);
    limiter.check_at("far", 10, at(TODAY + 60 * YEAR)).unwrap();
    limiter.check_n("k", 10).unwrap();
    limiter.check("k").unwrap_err();
    time.advance(Duration::from_millis(100));
    limiter.check("k").unwrap();
    limiter.check("k").unwrap_err();
    // The far key owes its charge, at whichever time it is checked.
    let then = at(TODAY + 60 * YEAR) + Duration::from_millis(100);
    for now in [at(TODAY), time.now(), at(TODAY + 30 * YEAR)] {
        let denied = limiter.check_at("far", 1, now).unwrap_err();
        assert_eq!(now + denied.retry().after().unwrap(), then);
    }
    limiter.check_at("far", 1, then).unwrap();
}

#[test]
fn a_key_takes_its_debt_along() {
    let time = VirtualClock::starting_at(at(TODAY));
    // A unit in 10 years: the burst is owed until 30 years from now.
    let quota = Quota::new(1, Duration::from_nanos(10 * YEAR)).unwrap().with_burst(3).unwrap();
    let limiter = limiter(Gcra::new(quota), &time);
    limiter.check_n("k", 3).unwrap();
    limiter.check_at("k", 3, at(TODAY + 15 * YEAR)).unwrap_err();
    assert_eq!(limiter.check_at("k", 1, at(TODAY + 15 * YEAR)).unwrap().remaining(), 0);
    let denied = limiter.check_at("k", 1, at(TODAY + 16 * YEAR)).unwrap_err();
    assert_eq!(denied.retry(), Retry::After(Duration::from_nanos(4 * YEAR)));
    // And back again: the clock's own time is before all that.
    let denied = limiter.check("k").unwrap_err();
    assert_eq!(denied.retry(), Retry::After(Duration::from_nanos(20 * YEAR)));
}

#[test]
fn where_the_clock_gets_to_nothing_is_far() {
    let time = VirtualClock::starting_at(at(TODAY));
    let limiter = limiter(Gcra::new(Quota::per_second(10)), &time);
    // More keys than may leave.
    for decade in 0..30 {
        for key in 0..2_000_u64 {
            limiter.check_n(&key, 10).unwrap();
            limiter.check(&key).unwrap_err();
        }
        assert_eq!(limiter.len(), 2_000, "decade {decade}");
        time.advance(Duration::from_nanos(13 * YEAR));
    }
}

#[test]
fn a_key_that_left_is_reset_settled_and_changed_as_any_other() {
    let time = VirtualClock::starting_at(at(TODAY));
    let limiter = limiter(Gcra::new(Quota::per_second(10)), &time);
    let far = at(TODAY + CENTURY);
    limiter.check_at("k", 10, far).unwrap();
    limiter.reset("k");
    assert_eq!(limiter.check_n("k", 10).unwrap().remaining(), 0);
    assert_eq!(limiter.check_at("k", 10, far).unwrap().remaining(), 0, "the old debt is gone");

    // As of the latest stamp 10 units are owed, and come back at the new rate.
    limiter.set_quota(Quota::per_second(2).burst(10));
    let denied = limiter.check_at("k", 10, far).unwrap_err();
    assert_eq!(denied.retry(), Retry::After(Duration::from_secs(5)));
    limiter.check("other").unwrap();
    limiter.set_quota(Quota::per_second(10));

    // All or none, beside a key that is at home.
    limiter.reset("k");
    limiter.check_at("k", 9, far).unwrap();
    all((limiter.key("k"), limiter.key("home"))).admit_at(1, far).unwrap().cancel();
    let set = all((limiter.key("k"), limiter.key("home")));
    set.admit_at(1, far).unwrap();
    assert_eq!(set.admit_at(1, far).unwrap_err().index(), 0);
    assert_eq!(limiter.peek_at("home", 0, far).unwrap().remaining(), 9);
}

#[test]
fn so_many_may_leave_and_for_others_there_is_no_room() {
    let time = VirtualClock::starting_at(at(TODAY));
    for overflow in [Overflow::Pool, Overflow::Deny, Overflow::Allow] {
        let builder = RateLimiter::builder(Quota::per_second(10)).clock(time.clock());
        let limiter = builder.max_keys(1 << 20).overflow(overflow).build();
        let memory = limiter.memory();
        for key in 0..20_000_u64 {
            let far = at(TODAY + 20 * YEAR + key * SECOND);
            let admitted = (0..30).filter(|_| limiter.check_at(&key, 1, far).is_ok()).count();
            assert!(admitted == 10 || key >= 1_000, "{admitted} of key {key}");
        }
        assert!(limiter.len() <= 1024, "{} keys have left", limiter.len());
        let overflows = limiter.overflows();
        limiter.check_n("k", 10).unwrap();
        limiter.check("k").unwrap_err();
        time.advance(Duration::from_secs(1));
        limiter.check_n("k", 10).unwrap();
        assert_eq!(limiter.overflows(), overflows, "others have room");
        assert!(limiter.memory() < memory + (4 << 20), "{}", limiter.memory());
    }
}

#[test]
fn a_key_that_is_reset_makes_room_for_another_to_leave() {
    let time = VirtualClock::starting_at(at(TODAY));
    let limiter = limiter(Gcra::new(Quota::per_second(10)), &time);
    let far = at(TODAY + CENTURY);
    let leave = |key: u64| {
        limiter.check_at(&key, 10, far).unwrap();
        assert!(limiter.check(&key).is_err(), "key {key} has not left");
    };
    for key in 0..2_000 {
        leave(key);
        limiter.reset(&key);
    }
    for key in 0..1_000 {
        leave(key);
    }
}

#[test]
fn a_limit_that_is_reset_makes_room_for_keys_to_leave() {
    let time = VirtualClock::starting_at(at(TODAY));
    let policy = Policy::new().limit(Limit::new("user", Quota::per_second(1)).key(["user"]));
    let enforcer = Enforcer::builder(policy).clock(time.clock()).build().unwrap();
    for round in 0..3 {
        for key in 0..900_u64 {
            let facts = [("user", round * 1_000 + key)];
            drop(enforcer.admit_at(&facts, 1, at(TODAY + CENTURY)).unwrap());
            assert!(enforcer.admit(&facts, 1).is_err(), "key {key} of round {round} has not left");
        }
        enforcer.reset("user").unwrap();
        assert!(enforcer.admit(&[("user", round * 1_000)], 1).is_ok());
    }
}

#[test]
fn a_peek_far_ahead_leaves_nothing() {
    let time = VirtualClock::starting_at(at(TODAY));
    let limiter = limiter(Gcra::new(Quota::per_second(10)), &time);
    for key in 0..2_000_u64 {
        assert_eq!(limiter.peek_at(&key, 3, at(TODAY + CENTURY)).unwrap().remaining(), 7);
        limiter.check_at(&key, 11, at(TODAY + CENTURY)).unwrap_err();
        limiter.check_at(&key, 0, at(TODAY + CENTURY)).unwrap();
    }
    assert_eq!((limiter.len(), limiter.overflows()), (0, 0));
    assert_eq!(limiter.check_at("k", 10, Timestamp::MAX).unwrap().remaining(), 0);
    assert_eq!(limiter.len(), 1);
}

#[test]
fn nobody_goes_before_those_who_wait_for_a_key_that_left() {
    let time = VirtualClock::starting_at(at(TODAY));
    let limiter = limiter(Gcra::new(Quota::per_second(1)), &time);
    limiter.check_at("k", 1, at(TODAY + CENTURY)).unwrap();
    time.advance(Duration::from_nanos(CENTURY));
    let second = Duration::from_secs(1);
    assert_eq!(limiter.check("k").unwrap_err().retry(), Retry::After(second));
    let mut waits = pin!(limiter.acquire("k", 1, 10 * second));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    assert_eq!(limiter.check("k").unwrap_err().retry(), Retry::After(2 * second));
    let denied = all((limiter.key("k"),)).admit(1).unwrap_err();
    assert_eq!(denied.retry(), Retry::After(2 * second));
    time.advance(second);
    assert!(waits.as_mut().poll(&mut cx).is_ready());
    assert_eq!(limiter.check("k").unwrap_err().retry(), Retry::After(second));

    // Nor if it is the first to leave while they wait: at that stamp it is full, and theirs.
    let limiter = self::limiter(Gcra::new(Quota::per_second(1)), &time);
    limiter.check("w").unwrap();
    let mut waits = pin!(limiter.acquire("w", 1, 10 * second));
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    let far = time.now() + Duration::from_nanos(CENTURY);
    assert_eq!(limiter.check_at("w", 1, far).unwrap_err().retry(), Retry::After(second));
}
