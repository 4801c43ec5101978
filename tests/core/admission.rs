//! Rates and slots in one policy: decided as one step, waited for in line.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollgate::future::Admission;
use tollgate::{
    Enforcer, Limit, Mode, Permit, Policy, Quota, Refused, Retry, VirtualClock, WaitError,
};

const SECOND: Duration = Duration::from_secs(1);

type Answer = Result<Permit, WaitError<Refused>>;

fn poll(admission: &mut Admission) -> Poll<Answer> {
    Pin::new(admission).poll(&mut Context::from_waker(Waker::noop()))
}

fn enforcer(policy: Policy, time: &VirtualClock) -> Enforcer {
    Enforcer::builder(policy).clock(time.clock()).build().unwrap()
}

/// At most 50 concurrent queries, 10 of one organization, waiting up to 60 s.
fn queries() -> Policy {
    let limit = |name, cap| Limit::concurrent(name, cap).lease(300 * SECOND).wait(60 * SECOND);
    Policy::new().limit(limit("org", 10).key(["org"])).limit(limit("all", 50))
}

#[test]
fn who_waits_for_one_cap_holds_no_other() {
    let time = VirtualClock::new();
    let enforcer = enforcer(queries(), &time);
    let mut requests: Vec<Admission> =
        (0..60).map(|_| enforcer.admit_waiting(&[("org", "7")], 1)).collect();
    let mut admitted: Vec<Permit> = Vec::new();
    for request in &mut requests {
        if let Poll::Ready(Ok(permit)) = poll(request) {
            admitted.push(permit);
        }
    }
    assert_eq!(admitted.len(), 10);
    assert_eq!(enforcer.limits()[0].waiting, 50);
    let others: Vec<Permit> = (0..40)
        .map(|other| enforcer.admit(&[("org", 100 + other)], 1).expect("40 slots are left"))
        .collect();
    let refused = enforcer.admit(&[("org", 1_000)], 1).unwrap_err();
    assert_eq!(refused.limit(), "all");
    drop(others);
    // One comes back: the first that waits has it, and it is the organization's tenth again.
    admitted.pop();
    assert!(matches!(poll(&mut requests[10]), Poll::Ready(Ok(_))));
}

#[test]
fn a_full_cap_says_when_it_will_have_room_at_the_latest() {
    let time = VirtualClock::new();
    let enforcer = enforcer(
        Policy::new()
            .limit(Limit::new("rate", Quota::per_second(10)))
            .limit(Limit::concurrent("slots", 1).lease(300 * SECOND)),
        &time,
    );
    let permit = enforcer.admit(&[("org", "7")], 1).unwrap();
    assert_eq!(permit.allowed().remaining(), 0);
    time.advance(SECOND);
    let refused = enforcer.admit(&[("org", "7")], 1).unwrap_err();
    assert_eq!(refused.limit(), "slots");
    assert_eq!(refused.retry(), Retry::Unknown { at_latest: Some(299 * SECOND) });
    // The rate was not charged for it.
    drop(permit);
    let permit = enforcer.admit(&[("org", "7")], 10).unwrap();
    assert_eq!(permit.allowed().remaining(), 0);
}

#[test]
fn a_rate_that_cannot_pass_in_time_refuses_before_queueing() {
    let time = VirtualClock::new();
    let enforcer = enforcer(
        Policy::new()
            .limit(Limit::new("hour", Quota::per_hour(1)).wait(60 * SECOND))
            .limit(Limit::concurrent("slots", 1).wait(60 * SECOND)),
        &time,
    );
    let _permit = enforcer.admit(&[("org", "7")], 1).unwrap();
    let mut late = enforcer.admit_waiting(&[("org", "7")], 1);
    let Poll::Ready(Err(WaitError::Denied(refused))) = poll(&mut late) else { panic!("it waits") };
    assert_eq!(refused.limit(), "hour");
    assert_eq!(enforcer.limits()[1].waiting, 0);
}

#[test]
fn a_turn_that_another_limit_refuses_passes_on() {
    let time = VirtualClock::new();
    let wait = 60 * SECOND;
    let enforcer = enforcer(
        Policy::new()
            .limit(Limit::concurrent("a", 1).key(["a"]).when("a", ["*"]).wait(wait))
            .limit(Limit::concurrent("b", 1).key(["b"]).when("b", ["*"]).wait(wait)),
        &time,
    );
    let a = enforcer.admit(&[("a", "1")], 1).unwrap();
    let b = enforcer.admit(&[("b", "1")], 1).unwrap();
    let mut both = enforcer.admit_waiting(&[("a", "1"), ("b", "1")], 1);
    let mut behind = enforcer.admit_waiting(&[("a", "1")], 1);
    assert!(poll(&mut both).is_pending() && poll(&mut behind).is_pending());
    drop(a);
    // The first needs `b` too, and waits there now, holding nothing.
    assert!(poll(&mut both).is_pending());
    let Poll::Ready(Ok(behind)) = poll(&mut behind) else { panic!("its turn was passed on") };
    assert_eq!((enforcer.limits()[0].waiting, enforcer.limits()[1].waiting), (0, 1));
    drop(b);
    assert!(poll(&mut both).is_pending(), "`a` is held again");
    drop(behind);
    assert!(matches!(poll(&mut both), Poll::Ready(Ok(_))));
}

#[test]
fn a_limit_switched_off_lets_those_go_who_wait_for_it() {
    let time = VirtualClock::new();
    let enforcer = enforcer(queries(), &time);
    let _held: Vec<Permit> = (0..10).map(|_| enforcer.admit(&[("org", "7")], 1).unwrap()).collect();
    let mut waiting = enforcer.admit_waiting(&[("org", "7")], 1);
    assert!(poll(&mut waiting).is_pending());
    enforcer.set_mode("org", Mode::Off).unwrap();
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(_))));
}

#[test]
fn slots_in_shadow_are_taken_above_the_cap() {
    let time = VirtualClock::new();
    let policy =
        Policy::new().limit(Limit::concurrent("queries", 50).mode(Mode::Shadow).wait(60 * SECOND));
    let enforcer = enforcer(policy, &time);
    let permits: Vec<Permit> =
        (0..159).map(|_| enforcer.admit(&[("org", "7")], 1).unwrap()).collect();
    let status = &enforcer.limits()[0];
    let slots = status.slots.unwrap();
    assert_eq!((slots.in_use, slots.cap, status.shadow_refused), (159, 50, 109));
    drop(permits);
    assert_eq!(enforcer.limits()[0].slots.unwrap().in_use, 0);
}

#[test]
fn a_dropped_enforcer_wakes_who_waits() {
    let time = VirtualClock::new();
    let enforcer = enforcer(queries(), &time);
    let _held: Vec<Permit> = (0..10).map(|_| enforcer.admit(&[("org", "7")], 1).unwrap()).collect();
    let mut waiting = pin!(enforcer.admit_waiting(&[("org", "7")], 1));
    assert!(poll(&mut waiting).is_pending());
    drop(enforcer);
    assert!(matches!(poll(&mut waiting), Poll::Ready(Err(WaitError::Gone))));
}

#[test]
fn leases_that_ran_out_stay_counted() {
    let time = VirtualClock::new();
    let policy = Policy::new().limit(Limit::concurrent("queries", 50).key(["org"]).lease(SECOND));
    let enforcer = enforcer(policy, &time);
    let late = enforcer.admit(&[("org", "7")], 1).unwrap();
    time.advance(2 * SECOND);
    drop(late);
    // Looking forgets keys that are idle.
    for _ in 0..2 {
        let usage = enforcer.limits()[0].slots.unwrap();
        assert_eq!((usage.expired, usage.late, usage.in_use), (1, 1, 0));
    }
}

#[test]
fn what_a_request_gives_back_is_all_there_before_anybody_is_asked() {
    let time = VirtualClock::new();
    let enforcer = enforcer(
        Policy::new()
            .limit(Limit::new("user", Quota::per_minute(1)).key(["user"]).wait(90 * SECOND))
            .limit(Limit::new("calls", Quota::per_minute(1).burst(2))),
        &time,
    );
    let other = enforcer.admit(&[("user", 1)], 1).unwrap();
    let mut waiting = enforcer.admit_waiting(&[("user", 1)], 1);
    assert!(poll(&mut waiting).is_pending());
    let _calls = enforcer.admit(&[("user", 2)], 1).unwrap();
    // `calls` has nothing left, and does not let anybody wait: but this gives back to both.
    other.cancel();
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(_))));
}

#[test]
fn slots_come_back_all_together_so_nobody_loses_its_turn() {
    let time = VirtualClock::new();
    let one = |name| Limit::concurrent(name, 1).wait(90 * SECOND);
    let policy = Policy::new().limit(one("user").key(["user"])).limit(one("all"));
    let enforcer = enforcer(policy, &time);
    let first = enforcer.admit(&[("user", 1)], 1).unwrap();
    let mut waiting = [2, 2, 3].map(|user| enforcer.admit_waiting(&[("user", user)], 1));
    assert!(waiting.iter_mut().all(|waiting| poll(waiting).is_pending()));
    drop(first);
    let [second, third, fourth] = &mut waiting;
    let Poll::Ready(Ok(second)) = poll(second) else { panic!("it is first in line") };
    // The third needs both that the second holds, and is before the fourth.
    drop(second);
    assert!(poll(fourth).is_pending());
    assert!(matches!(poll(third), Poll::Ready(Ok(_))));
}

#[test]
fn a_turn_that_is_dropped_unlooked_at_gives_back_what_it_was_charged() {
    let time = VirtualClock::new();
    let policy = Policy::new()
        .limit(Limit::new("calls", Quota::per_hour(3)))
        .limit(Limit::concurrent("slots", 1).wait(60 * SECOND));
    let enforcer = enforcer(policy, &time);
    let held = enforcer.admit(&[("org", 7)], 1).unwrap();
    let mut waiting = enforcer.admit_waiting(&[("org", 7)], 1);
    assert!(poll(&mut waiting).is_pending());
    drop(held);
    assert_eq!(enforcer.limits()[1].slots.unwrap().in_use, 1, "it was granted");
    drop(waiting);
    let permit = enforcer.admit(&[("org", 7)], 2).expect("one of three was charged");
    assert_eq!(permit.allowed().remaining(), 0);
}
