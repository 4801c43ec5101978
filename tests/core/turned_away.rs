//! A waiter that is never polled gets its turn by the passing of time alone, on a clock that rings
//! no timers. A caller that is turned away because of this waiter passes the turn on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollgate::{
    Clock, ConcurrencyLimiter, Enforcer, Limit, Policy, Quota, RateLimiter, Timestamp,
    VirtualClock, WaitError, all,
};

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(1000);
const NO_FACTS: &[(&str, &str)] = &[];

type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Polls with a waker that does nothing.
fn look<T>(waiting: &mut Waiting<'_, T>) -> Poll<T> {
    waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits for the second unit of a rate of one a second.
fn head_of(limiter: &RateLimiter) -> Waiting<'_, bool> {
    limiter.check("").unwrap();
    let mut head: Waiting<'_, bool> =
        Box::pin(async { limiter.acquire("", 1, LONG).await.is_ok() });
    assert!(look(&mut head).is_pending());
    head
}

#[tokio::test(start_paused = true)]
async fn at_a_rate_by_whatever_verb() {
    type TurnedAway = fn(&RateLimiter) -> bool;
    let verbs: [(&str, TurnedAway); 6] = [
        ("check", |limiter| limiter.check("").is_err()),
        ("check_many", |limiter| {
            let mut answers = Vec::new();
            limiter.check_many(&[""], &mut answers);
            answers[0].is_err()
        }),
        ("reserve", |limiter| limiter.reserve("", 1).is_err()),
        ("book", |limiter| limiter.book("", 1, Duration::ZERO).is_err()),
        ("set", |limiter| all((limiter.key(""),)).admit(1).is_err()),
        ("acquire", |limiter| limiter.acquire_blocking("", 1, Duration::ZERO).is_err()),
    ];
    for (name, turned_away) in verbs {
        let limiter = RateLimiter::builder(Quota::per_second(1).burst(1)).clock(Clock::tokio());
        let limiter = limiter.build();
        let mut head = head_of(&limiter);
        tokio::time::advance(SECOND).await;
        assert_eq!(limiter.peek_n("", 0).unwrap().remaining(), 1, "{name}: its turn came");
        assert!(turned_away(&limiter), "{name} got it instead");
        assert_eq!(limiter.peek_n("", 0).unwrap().remaining(), 0, "{name} left it lying");
        assert_eq!(look(&mut head), Poll::Ready(true), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_slots_as_a_part_of_a_set() {
    let slots = ConcurrencyLimiter::builder(1).lease(SECOND).clock(Clock::tokio()).build();
    std::mem::forget(slots.try_acquire().unwrap());
    let mut head: Waiting<'_, _> = Box::pin(slots.acquire(LONG));
    assert!(look(&mut head).is_pending());
    tokio::time::advance(SECOND).await;
    assert!(all((slots.slot(),)).admit(1).is_err());
    assert_eq!(slots.usage().waiting, 0);
    assert!(matches!(look(&mut head), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn at_a_rate_of_a_policy() {
    let limit = |name| Limit::new(name, Quota::per_second(1).burst(1));
    for waits_too in [false, true] {
        let policy = Policy::new().limit(limit("rate").wait(LONG).key(["user"]));
        let enforcer = Enforcer::builder(policy).clock(Clock::tokio()).build().unwrap();
        drop(enforcer.admit(&[("user", "a")], 1).unwrap());
        let mut head: Waiting<'_, _> = Box::pin(enforcer.admit_waiting(&[("user", "a")], 1));
        assert!(look(&mut head).is_pending());
        tokio::time::advance(SECOND).await;
        if waits_too {
            // Two units are never to be had, so it is turned away at once.
            assert!(enforcer.admit_blocking(&[("user", "a")], 2).is_err());
        } else {
            assert!(enforcer.admit(&[("user", "a")], 1).is_err());
        }
        assert_eq!(enforcer.limits()[0].waiting, 0);
        assert!(matches!(look(&mut head), Poll::Ready(Ok(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_is_not_full_of_those_whose_time_is_over() {
    let slots = ConcurrencyLimiter::builder(1).max_waiters(1).clock(Clock::tokio()).build();
    let _held = slots.try_acquire().unwrap();
    let mut late: Waiting<'_, _> = Box::pin(slots.acquire(SECOND));
    assert!(look(&mut late).is_pending());
    tokio::time::advance(2 * SECOND).await;
    let mut newcomer: Waiting<'_, _> = Box::pin(slots.acquire(SECOND));
    assert!(look(&mut newcomer).is_pending());
    assert!(matches!(look(&mut late), Poll::Ready(Err(WaitError::Denied(_)))));
}

#[test]
fn a_stamp_of_ones_own_is_not_the_time_of_those_who_wait() {
    let time = VirtualClock::new();
    let policy = Policy::new().limit(Limit::concurrent("slots", 1).wait(SECOND));
    let enforcer = Enforcer::builder(policy).clock(time.clock()).build().unwrap();
    let held = enforcer.admit(NO_FACTS, 1).unwrap();
    let mut head: Waiting<'_, _> = Box::pin(enforcer.admit_waiting(NO_FACTS, 1));
    assert!(look(&mut head).is_pending());
    assert!(enforcer.admit_at(NO_FACTS, 1, Timestamp::from_secs(1000)).is_err());
    assert!(look(&mut head).is_pending(), "a second has not passed");
    drop(held);
    assert!(matches!(look(&mut head), Poll::Ready(Ok(_))));
}
