//! How limits stood when a request was decided, and what is counted of it: what headers and
//! metrics are made of.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollgate::policy::{AlgorithmName, Amount, CarryOver, Missing, Override};
use tollgate::{
    Enforcer, Limit, LimitAnswer, Mode, Overflow, Policy, Quota, RateLimiter, Retry, VirtualClock,
    WaitError,
};

fn enforcer(policy: Policy) -> (Enforcer, VirtualClock) {
    let time = VirtualClock::new();
    (Enforcer::builder(policy).clock(time.clock()).build().unwrap(), time)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const NOTHING: &[(&str, &str)] = &[];

#[test]
fn each_enforced_limit_says_how_it_stands() {
    let (enforcer, time) = enforcer(
        Policy::new()
            .limit(Limit::new("user", Quota::per_second(50).burst(100)).key(["user"]))
            .limit(Limit::new("shadow", Quota::per_second(1)).mode(Mode::Shadow))
            .limit(Limit::concurrent("queries", 2))
            .limit(Limit::new("all", Quota::per_minute(7))),
    );
    let (permit, answers) = enforcer.admit_with_answers(&[("user", "a")], 3);
    let permit = permit.unwrap();
    assert_eq!(answers.at, time.now());
    let seen: Vec<_> = answers
        .limits
        .iter()
        .map(|answer| (answer.limit, answer.is_shared, answer.remaining(), answer.next))
        .collect();
    let next = Duration::from_nanos(8_571_428_572);
    assert_eq!(
        seen,
        [
            ("user", false, 97, Some(Duration::from_millis(20))),
            ("queries", true, 1, None),
            ("all", true, 4, Some(next)),
        ]
    );
    assert_eq!(answers.limits[1].amount, Amount::Cap(2));
    assert_eq!(answers.limits[2].amount, Amount::Quota(Quota::per_minute(7)));
    drop(permit);
    // That is when one more than remains could be had, and not a nanosecond sooner.
    time.advance(next - Duration::from_nanos(1));
    assert!(enforcer.peek(NOTHING, 5).is_err());
    time.advance(Duration::from_nanos(1));
    assert!(enforcer.peek(NOTHING, 5).is_ok());
}

#[test]
fn of_a_refused_request_limits_stand_as_if_it_had_not_come() {
    let (enforcer, _) = enforcer(
        Policy::new()
            .limit(Limit::new("user", Quota::per_second(50)).key(["user"]))
            .limit(Limit::concurrent("queries", 5).weight(2))
            .limit(Limit::new("needs", Quota::per_second(1)).key(["x"]).missing(Missing::Refuse))
            .limit(Limit::new("all", Quota::per_second(2))),
    );
    let facts = [("user", "a"), ("x", "y")];
    let (refused, answers) = enforcer.admit_with_answers(&facts, 3);
    assert_eq!(refused.unwrap_err().limit(), "needs");
    let remaining: Vec<_> = answers.limits.iter().map(|a| (a.limit, a.remaining())).collect();
    assert_eq!(remaining, [("user", 50), ("queries", 5), ("needs", 1), ("all", 2)]);
    assert_eq!(answers.limits[0].next, None, "nothing is missing");
    assert_eq!(answers.limits[3].answer.unwrap_err().retry(), Retry::Never);

    let (refused, answers) = enforcer.admit_with_answers(&[("user", "a")], 1);
    assert_eq!(refused.unwrap_err().retry(), Retry::Never);
    assert!(answers.limits[2].answer.is_err(), "its fact is missing");
    assert_eq!(answers.limits[2].remaining(), 0);
}

#[test]
fn a_limit_that_agrees_to_a_refused_request_stands_as_it_did() {
    // On axes that are whole and not, idle, in debt, and between two units.
    for quota in [Quota::per_minute(10), Quota::per_second(333), Quota::per_hour(1_001)] {
        for (charged, wait) in [(1, 0), (3, 0), (3, 1), (9, 7_000_000_001), (3, 60_000_000_000)] {
            let (enforcer, time) = enforcer(
                Policy::new()
                    .limit(Limit::new("user", quota).key(["user"]))
                    .limit(Limit::new("all", Quota::per_hour(10)).key(["all"])),
            );
            let facts = [("user", "a"), ("all", "x")];
            drop(enforcer.admit(&[("user", "a"), ("all", "y")], charged).unwrap());
            // Now `all` refuses, and `user` alone is asked for how it stands.
            drop(enforcer.admit(&[("user", "b"), ("all", "x")], 10).unwrap());
            time.advance(Duration::from_nanos(wait));
            let limiter = RateLimiter::builder(quota).clock(VirtualClock::new().clock()).build();
            limiter.check_at("a", charged, time.now() - Duration::from_nanos(wait)).unwrap();
            let stood = limiter.peek_at("a", 0, time.now()).unwrap();
            let more = limiter.peek_at("a", stood.remaining() + 1, time.now());
            let (refused, answers) = enforcer.admit_with_answers(&facts, 1);
            assert_eq!(refused.unwrap_err().limit(), "all");
            let user = &answers.limits[0];
            assert_eq!(user.answer, Ok(stood), "{quota:?}, {charged}, {wait}");
            assert_eq!(
                user.next,
                more.unwrap_err().retry().after(),
                "{quota:?}, {charged}, {wait}"
            );
        }
    }
}

#[test]
fn every_algorithm_says_when_the_next_unit_comes() {
    for algorithm in AlgorithmName::ALL.iter().copied() {
        let limit = Limit::new("l", Quota::per_minute(6)).algorithm(algorithm);
        let (enforcer, time) = enforcer(Policy::new().limit(limit));
        for wait in [0, 7, 7, 7, 30] {
            time.advance(secs(wait));
            let (permit, answers) = enforcer.admit_with_answers(NOTHING, 1);
            if permit.is_err() {
                continue;
            }
            let answer = &answers.limits[0];
            let next = answer.next.unwrap();
            let wanted = answer.remaining() + 1;
            assert!(next > Duration::ZERO, "{algorithm}");
            assert_eq!(
                enforcer.peek(NOTHING, wanted).unwrap_err().retry(),
                Retry::After(next),
                "{algorithm}"
            );
        }
    }
}

#[test]
fn a_bypass_says_nothing() {
    let (enforcer, _) = enforcer(Policy::new().limit(Limit::new("l", Quota::per_second(1))));
    enforcer.bypass(true);
    assert!(enforcer.admit_with_answers(NOTHING, 1).1.limits.is_empty());
    assert_eq!(enforcer.totals().admitted, 0);
}

#[test]
fn a_plain_limiter_says_the_same() {
    let time = VirtualClock::new();
    let limiter = RateLimiter::builder(Quota::per_minute(60)).clock(time.clock()).build();
    let answer = LimitAnswer::of("l", &limiter, "a", limiter.check_n("a", 60));
    assert_eq!((answer.remaining(), answer.next), (0, Some(secs(1))));
    let answer = LimitAnswer::of("l", &limiter, "a", limiter.check_n("a", 2));
    assert_eq!((answer.remaining(), answer.next), (0, Some(secs(2))));
    assert!(answer.answer.is_err());
}

#[test]
fn who_waits_is_told_as_of_the_end() {
    let time = VirtualClock::new();
    let policy = Policy::new()
        .limit(Limit::new("user", Quota::per_second(5)).key(["user"]))
        .limit(Limit::concurrent("queries", 1).wait(secs(10)));
    let enforcer = Enforcer::builder(policy).clock(time.clock()).build().unwrap();
    let held = enforcer.admit(&[("user", "a")], 1).unwrap();
    let mut cx = Context::from_waker(Waker::noop());

    let mut granted = pin!(enforcer.admit_waiting(&[("user", "b")], 2).with_answers());
    assert!(granted.as_mut().poll(&mut cx).is_pending());
    time.advance(secs(3));
    drop(held);
    let Poll::Ready((Ok(permit), answers)) = granted.as_mut().poll(&mut cx) else { panic!() };
    assert_eq!(answers.at.as_nanos(), 3_000_000_000);
    assert_eq!(answers.limits[0].remaining(), 3);

    let mut refused = pin!(enforcer.admit_waiting(&[("user", "c")], 2).with_answers());
    assert!(refused.as_mut().poll(&mut cx).is_pending());
    time.advance(secs(10));
    let Poll::Ready((Err(error), answers)) = refused.as_mut().poll(&mut cx) else { panic!() };
    assert!(matches!(error, WaitError::Denied(refused) if refused.limit() == "queries"));
    assert_eq!(answers.limits[0].remaining(), 5, "nothing is charged");
    let queries = &enforcer.limits()[1];
    assert_eq!((queries.timeouts, queries.refused), (1, 1));

    // Refused at once is no timeout, and with nobody asking nothing is told.
    drop(permit);
    let mut never = pin!(enforcer.admit_waiting(&[("user", "d")], 9).with_answers());
    let Poll::Ready((Err(_), answers)) = never.as_mut().poll(&mut cx) else { panic!() };
    assert_eq!(answers.limits.len(), 2);
    assert_eq!(enforcer.limits()[0].timeouts, 0);
}

/// A waiter that is granted is no longer in line: its charge is not counted twice.
#[test]
fn the_next_unit_after_a_wait_comes_after_who_waits_behind() {
    // Behind others records know the least time only.
    for (algorithm, behind) in [(AlgorithmName::Gcra, 2), (AlgorithmName::SlidingLog, 1)] {
        let time = VirtualClock::new();
        let limit = Limit::new("user", Quota::per_second(1)).algorithm(algorithm).wait(secs(10));
        let policy = Policy::new().limit(limit);
        let enforcer = Enforcer::builder(policy).clock(time.clock()).build().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(enforcer.admit(NOTHING, 1).is_ok());
        let mut alone = pin!(enforcer.admit_waiting(NOTHING, 1).with_answers());
        assert!(alone.as_mut().poll(&mut cx).is_pending());
        time.advance(secs(1));
        let Poll::Ready((Ok(_), answers)) = alone.as_mut().poll(&mut cx) else { panic!() };
        assert_eq!(answers.limits[0].next, Some(secs(1)), "{algorithm}");

        let mut first = pin!(enforcer.admit_waiting(NOTHING, 1).with_answers());
        let mut second = pin!(enforcer.admit_waiting(NOTHING, 1).with_answers());
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        time.advance(secs(1));
        let Poll::Ready((Ok(_), answers)) = first.as_mut().poll(&mut cx) else { panic!() };
        assert_eq!(
            answers.limits[0].next,
            Some(secs(behind)),
            "{algorithm}: the second comes first"
        );
    }
}

#[test]
fn what_is_counted_only_grows_through_reloads() {
    let queries = |cap| Limit::concurrent("queries", cap).key(["org"]).lease(secs(10));
    let user = |keys| {
        Limit::new("user", Quota::per_hour(1))
            .key(["user"])
            .max_keys(keys)
            .overflow(Overflow::Allow)
    };
    let (enforcer, time) = enforcer(Policy::new().limit(user(16)).limit(queries(2)));
    for nth in 0..1000 {
        let _ = enforcer.admit(&[("user", format!("u{nth}").as_str()), ("org", "7")], 1);
    }
    let held = enforcer.admit(&[("user", "last"), ("org", "8")], 1).unwrap();
    time.advance(secs(10));
    drop(held);
    let before = enforcer.limits();
    assert!(before[0].overflows > 0);
    assert_eq!(before[0].max_keys, Some(16));
    let slots = before[1].slots.unwrap();
    assert_eq!((slots.expired, slots.late), (1, 1));
    assert_eq!((before[1].acquired, before[1].returned), (1001, 1001));
    let totals = enforcer.totals();
    assert_eq!((totals.admitted, totals.refused), (1001, 0));

    // Other tables, then without the limits, and back.
    let reload = enforcer.reload(Policy::new().limit(user(32)).limit(queries(2))).unwrap();
    assert_eq!((reload.kept, reload.fresh), (1, 1));
    assert_eq!(enforcer.limits()[0].fresh_starts, 1);
    let _ = enforcer.reload(Policy::new()).unwrap();
    assert!(enforcer.limits().is_empty());
    assert_eq!(enforcer.totals().admitted, 1001);
    let _ = enforcer.reload(Policy::new().limit(user(16)).limit(queries(2))).unwrap();
    let after = enforcer.limits();
    assert_eq!((after[0].checked, after[0].overflows), (before[0].checked, before[0].overflows));
    let slots = after[1].slots.unwrap();
    assert_eq!((slots.expired, slots.late, after[1].acquired), (1, 1, 1001));

    let wrong = Policy::new().limit(Limit::new("", Quota::per_second(1)));
    assert!(enforcer.reload(wrong).is_err());
    let totals = enforcer.totals();
    assert_eq!((totals.reloads, totals.failed_reloads), (3, 1));
}

#[test]
fn slots_held_from_before_a_change_are_in_use() {
    let queries = |cap: u32| Limit::concurrent("queries", cap).key(["org"]);
    let exempt = Override::new("queries").when("org", ["7"]).concurrent(9);
    let with = Policy::new().limit(queries(2)).with_override(exempt);
    let (enforcer, _) = enforcer(with);
    let held = enforcer.admit(&[("org", "7")], 1).unwrap();
    // The key loses its override, and what it holds there it still holds.
    let _ = enforcer.reload(Policy::new().limit(queries(2))).unwrap();
    let slots = enforcer.limits()[0].slots.unwrap();
    assert_eq!((slots.in_use, slots.cap), (1, 2));
    drop(held);
    assert_eq!(enforcer.limits()[0].slots.unwrap().in_use, 0);
}

#[test]
fn what_is_owed_stays_owed_unless_the_limit_starts_anew() {
    for (carry_over, left) in [(CarryOver::Debt, 0), (CarryOver::Reset, 500)] {
        let limit = |quota| Limit::new("user", quota).key(["user"]).carry_over(carry_over);
        let (enforcer, time) = enforcer(Policy::new().limit(limit(Quota::per_hour(100))));
        let facts = [("user", "a")];
        assert!(enforcer.admit(&facts, 100).is_ok());
        // A reload that changes nothing of it keeps what it owes.
        let _ = enforcer.reload(Policy::new().limit(limit(Quota::per_hour(100)))).unwrap();
        assert!(enforcer.admit(&facts, 1).is_err());
        let _ = enforcer.reload(Policy::new().limit(limit(Quota::per_second(500)))).unwrap();
        let (_, answers) = enforcer.admit_with_answers(&facts, 0);
        let remaining = answers.limits[0].remaining();
        match carry_over {
            CarryOver::Reset => assert_eq!(remaining, left),
            CarryOver::Debt => {
                // 100 units are owed, of 500: free again in the time that 100 take at 500/s.
                assert_eq!(remaining, 400);
                time.advance(Duration::from_millis(200));
                assert!(enforcer.admit(&facts, 500).is_ok());
            }
        }
    }
}

#[test]
fn carry_over_is_for_rates() {
    let slots = Limit::concurrent("queries", 1).carry_over(CarryOver::Reset);
    let error = Policy::new().limit(slots).check().unwrap_err().to_string();
    assert!(error.contains("carry_over"), "{error}");
}
