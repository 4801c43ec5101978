//! Requests that wait at what a reload replaced: nothing that follows forgets them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollgate::future::Admission;
use tollgate::policy::Override;
use tollgate::{Enforcer, Limit, Mode, Permit, Policy, Quota, Refused, VirtualClock, WaitError};

const SECOND: Duration = Duration::from_secs(1);
const FACTS: [(&str, u32); 1] = [("org", 7)];

fn poll(admission: &mut Admission) -> Poll<Result<Permit, WaitError<Refused>>> {
    Pin::new(admission).poll(&mut Context::from_waker(Waker::noop()))
}

fn slots() -> Limit {
    Limit::concurrent("slots", 5).key(["org"]).wait(60 * SECOND)
}

/// A request that waits at an override that a reload removed, and the request that holds its slot.
fn waiting() -> (Enforcer, Admission, Permit) {
    let time = VirtualClock::new();
    let policy = Policy::new().limit(slots());
    let narrow = Override::new("slots").when("org", ["7"]).concurrent(1);
    let enforcer = Enforcer::builder(policy.clone().with_override(narrow)).clock(time.clock());
    let enforcer = enforcer.build().unwrap();
    let held = enforcer.admit(&FACTS, 1).unwrap();
    let mut waiting = enforcer.admit_waiting(&FACTS, 1);
    assert!(poll(&mut waiting).is_pending());
    enforcer.reload(policy).unwrap();
    (enforcer, waiting, held)
}

#[test]
fn it_goes_when_what_it_waits_for_comes_back() {
    let (_enforcer, mut waiting, held) = waiting();
    drop(held);
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(_))));
}

#[test]
fn it_goes_when_the_limit_is_switched_off() {
    let (enforcer, mut waiting, _held) = waiting();
    enforcer.set_mode("slots", Mode::Off).unwrap();
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(_))));
}

#[test]
fn it_goes_when_all_limits_are_bypassed() {
    let (enforcer, mut waiting, _held) = waiting();
    enforcer.bypass(true);
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(_))));
}

#[test]
fn it_goes_when_the_limit_is_reset() {
    let (enforcer, mut waiting, _held) = waiting();
    enforcer.reset("slots").unwrap();
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(_))));
}

#[test]
fn it_goes_when_the_limit_is_taken_away() {
    let (enforcer, mut waiting, _held) = waiting();
    enforcer.reload(Policy::new().limit(Limit::new("other", Quota::per_second(1)))).unwrap();
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(_))));
}

#[test]
fn it_is_sent_away_with_the_enforcer() {
    let (enforcer, mut waiting, _held) = waiting();
    drop(enforcer);
    assert!(matches!(poll(&mut waiting), Poll::Ready(Err(WaitError::Gone))));
}
