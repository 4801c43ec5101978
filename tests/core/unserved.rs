//! Turns that come by the passing of time, on a clock that rings no timers. A caller that is
//! refused because others wait checks whether their turn has come, so a waiter that is never polled
//! does not block the rest.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollgate::{Clock, ConcurrencyLimiter, Enforcer, Limit, Policy, Quota, RateLimiter};

const SECOND: Duration = Duration::from_secs(1);

/// Looks once, and never again.
fn abandon<F: Future + Unpin>(future: &mut F) {
    let polled = Pin::new(future).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending));
}

/// A rate of one a second, with a waiter that is not polled when its turn comes. Asks 2 s later,
/// and again 2 s after that, when the turn was served.
async fn asked_twice<T, E>(limiter: &RateLimiter, mut ask: impl FnMut() -> Result<T, E>) {
    limiter.check("k").unwrap();
    let mut waiting = limiter.acquire("k", 1, 5 * SECOND);
    abandon(&mut waiting);
    tokio::time::advance(2 * SECOND).await;
    assert!(ask().is_err(), "others wait");
    tokio::time::advance(2 * SECOND).await;
    assert!(ask().is_ok(), "their turn was never served");
    drop(waiting);
}

fn rate() -> RateLimiter {
    RateLimiter::builder(Quota::per_second(1)).clock(Clock::tokio()).build()
}

#[tokio::test(start_paused = true)]
async fn every_verb_of_a_rate_serves_those_who_wait() {
    let limiter = rate();
    asked_twice(&limiter, || limiter.check("k")).await;
    let limiter = rate();
    asked_twice(&limiter, || limiter.reserve("k", 1)).await;
    let limiter = rate();
    asked_twice(&limiter, || limiter.book("k", 1, 5 * SECOND)).await;
    let limiter = rate();
    asked_twice(&limiter, || {
        let mut answers = Vec::new();
        limiter.check_many(&["k"], &mut answers);
        answers.remove(0)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_set_serves_those_who_wait_for_its_rates() {
    let (limiter, other) = (rate(), rate());
    asked_twice(&limiter, || tollgate::all((other.key("k"), limiter.key("k"))).admit(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_set_serves_those_who_wait_for_its_slots() {
    let builder = || ConcurrencyLimiter::builder(1).lease(SECOND).clock(Clock::tokio());
    let (slots, other) = (builder().build(), rate());
    std::mem::forget(slots.try_acquire().unwrap());
    let mut waiting = slots.acquire(50 * SECOND);
    abandon(&mut waiting);
    tokio::time::advance(2 * SECOND).await;
    let ask = || tollgate::all((other.key("k"), slots.slot())).admit(1).is_ok();
    assert!(!ask(), "it is another's turn");
    tokio::time::advance(2 * SECOND).await;
    assert!(ask(), "its turn was never served");
}

#[tokio::test(start_paused = true)]
async fn a_policy_serves_those_who_wait_for_its_rates() {
    let policy = Policy::new()
        .limit(Limit::new("calls", Quota::per_second(1)).key(["user"]).wait(5 * SECOND));
    let enforcer = Enforcer::builder(policy).clock(Clock::tokio()).build().unwrap();
    let facts = [("user", 7)];
    let _first = enforcer.admit(&facts, 1).unwrap();
    let mut waiting = enforcer.admit_waiting(&facts, 1);
    abandon(&mut waiting);
    tokio::time::advance(2 * SECOND).await;
    assert!(enforcer.admit(&facts, 1).is_err(), "another waits");
    tokio::time::advance(2 * SECOND).await;
    assert!(enforcer.admit(&facts, 1).is_ok(), "its turn was never served");
}
