//! Loom models of sets that admit rates and slots together. As in `models.rs`, `models.sh` seeds a
//! bug with which each model must fail.
#![cfg(tollgate_loom)]

mod identity;
#[macro_use]
mod race;

use std::sync::Arc;
use std::time::Duration;

use tollgate::algorithm::Gcra;
use tollgate::{
    ConcurrencyLimiter, Enforcer, Lease, Limit, Policy, Quota, RateLimiter, Retry, VirtualClock,
    all,
};

use identity::Identity;
use race::{model, race, wide_model};

const NANO: Duration = Duration::from_nanos(1);
const KEY: u64 = 1 << 32;

/// Two units at once, and no unit comes back within a model.
fn rate(time: &VirtualClock) -> Arc<RateLimiter<Gcra, Identity>> {
    let quota = Quota::new(1, 10 * NANO).and_then(|quota| quota.with_burst(2)).unwrap();
    let limiter = RateLimiter::builder(quota).clock(time.clock()).hasher(Identity::default());
    let limiter = limiter.max_keys(2).build();
    limiter.check(&KEY).unwrap();
    limiter.reset(&KEY);
    Arc::new(limiter)
}

fn slots(cap: u32, time: &VirtualClock) -> Arc<ConcurrencyLimiter> {
    Arc::new(ConcurrencyLimiter::builder(cap).clock(time.clock()).build())
}

/// One slot, leased for this many nanoseconds.
fn leased(nanos: u32, time: &VirtualClock) -> Arc<ConcurrencyLimiter> {
    Arc::new(ConcurrencyLimiter::builder(1).lease(nanos * NANO).clock(time.clock()).build())
}

fn left(rate: &RateLimiter<Gcra, Identity>) -> u64 {
    rate.peek_n(&KEY, 0).unwrap().remaining()
}

#[test]
fn a_set_refused_by_its_slots_charges_no_rate() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (rate, slots) = (rate(&time), slots(1, &time));
        // A permit borrows its set, so it cannot leave the thread. The model checks what is left
        // instead.
        let set = thread!(rate, slots; {
            match all((rate.key(&KEY), slots.slot())).admit(1) {
                Ok(permit) => {
                    std::mem::forget(permit);
                    (true, None)
                }
                Err(_) => (false, None),
            }
        });
        let take = thread!(slots; {
            let lease = slots.try_acquire().ok();
            (lease.is_some(), lease)
        });
        let [(admitted, _), (taken, _lease)]: [(bool, Option<Lease>); 2] = race(first, [set, take]);
        assert!(admitted != taken, "not one of the two got the slot");
        assert_eq!(left(&rate), if admitted { 1 } else { 2 }, "refused and charged");
    });
}

#[test]
fn a_slot_is_not_taken_from_under_a_set() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (a, b) = (slots(1, &time), slots(1, &time));
        let set = thread!(a, b; {
            let permit = all((a.slot(), b.slot())).admit(1);
            permit.map(std::mem::forget).is_ok()
        });
        let take = thread!(a; a.try_acquire().map(std::mem::forget).is_ok());
        let [admitted, taken]: [bool; 2] = race(first, [set, take]);
        assert!(admitted != taken, "not one of the two got the slot");
        assert_eq!(a.usage().in_use, 1, "two hold one slot");
        assert_eq!(b.usage().in_use, u32::from(admitted), "half of a set was taken");
    });
}

#[test]
fn sets_of_slots_in_opposite_orders() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (a, b) = (slots(1, &time), slots(1, &time));
        let one = thread!(a, b; all((a.slot(), b.slot())).admit(1).map(std::mem::forget).is_ok());
        let other = thread!(a, b; all((b.slot(), a.slot())).admit(1).map(std::mem::forget).is_ok());
        let [one, other]: [bool; 2] = race(first, [one, other]);
        assert!(one != other, "not one of the two was admitted");
        assert_eq!((a.usage().in_use, b.usage().in_use), (1, 1), "two hold one slot");
    });
}

#[test]
fn a_slot_is_given_back_while_a_set_holds_it() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (a, b) = (slots(2, &time), slots(1, &time));
        let lease = a.try_acquire().unwrap();
        let set = thread!(a, b; {
            let permit = all((a.slot(), b.slot())).admit(1);
            permit.map(std::mem::forget).is_ok()
        });
        let back = Box::new(move || {
            drop(lease);
            true
        });
        let [admitted, _]: [bool; 2] = race(first, [set, back]);
        assert!(admitted, "refused though there was room");
        assert_eq!(a.usage().in_use, 1, "a slot is lost");
    });
}

#[test]
fn a_rate_is_checked_under_a_set_with_slots() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (rate, slots) = (rate(&time), slots(1, &time));
        let set = thread!(rate, slots; {
            let permit = all((rate.key(&KEY), slots.slot())).admit(1);
            permit.map(std::mem::forget).is_ok()
        });
        let check = thread!(rate; rate.check(&KEY).is_ok());
        let [admitted, allowed]: [bool; 2] = race(first, [set, check]);
        assert!(admitted && allowed, "refused though there was room");
        assert_eq!(left(&rate), 0, "a charge is lost");
    });
}

/// When a thread ends, its counts are added to those of the ended threads.
#[test]
fn counts_are_summed_as_the_thread_that_counted_ends() {
    model(2, |first| {
        let clock = VirtualClock::new().clock();
        let enforcer = Arc::new(Enforcer::builder(Policy::new()).clock(clock).build().unwrap());
        let count = thread!(enforcer; {
            let facts: [(&str, &str); 0] = [];
            (0..2).filter(|_| enforcer.admit(&facts, 1).is_ok()).count()
        });
        let sum = thread!(enforcer; {
            let sums = [(); 2].map(|()| enforcer.totals().admitted);
            assert!(sums[0] <= sums[1] && sums[1] <= 2, "a count went back, or was seen twice");
            2_usize
        });
        assert_eq!(race(first, [count, sum]), [2_usize; 2]);
        assert_eq!(enforcer.totals().admitted, 2, "a count is lost");
    });
}

#[test]
fn two_sets_say_what_remains_after_each() {
    model(2, |first| {
        let slots = slots(4, &VirtualClock::new());
        let set = || {
            thread!(slots; {
                let permit = all((slots.slot(),)).admit(1).unwrap();
                let left = permit.allowed().remaining();
                std::mem::forget(permit);
                left
            })
        };
        let [a, b]: [u64; 2] = race(first, [set(), set()]);
        assert_eq!((a.min(b), a.max(b)), (2, 3), "what remained before was said");
    });
}

/// The first of two limits refuses for five nanoseconds and, after the renewal, for ten. After that
/// renewal the second refuses for seven. At no moment is the wait of the set seven.
#[test]
fn a_lease_is_renewed_between_two_looks() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (a, b) = (leased(10, &time), leased(7, &time));
        let held = a.try_acquire().unwrap();
        time.advance(5 * NANO);
        let set = thread!(a, b; {
            let refused = all((a.slot(), b.slot())).admit(1).unwrap_err();
            let never = Retry::Unknown { at_latest: Some(7 * NANO) };
            assert_ne!(refused.retry(), never, "two moments in one answer");
            None
        });
        let taker = b.clone();
        let other: Box<dyn FnOnce() -> _> = Box::new(move || {
            held.renew().unwrap();
            let taken = taker.try_acquire().ok();
            Some((held, taken))
        });
        drop(race::<Option<(Lease, Option<Lease>)>, 2>(first, [set, other]));
    });
}

/// The rate has one unit left, and the set may lose it to a check. Then no other thread may see the
/// slot as taken.
#[test]
fn slots_are_taken_once_the_words_are_held() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (rate, slots) = (rate(&time), slots(1, &time));
        rate.check(&KEY).unwrap();
        let set = thread!(rate, slots; {
            let permit = all((rate.key(&KEY), slots.slot())).admit(1);
            permit.map(std::mem::forget).is_ok()
        });
        let other = thread!(rate, slots; {
            rate.check(&KEY).is_ok() && slots.try_acquire().map(std::mem::forget).is_err()
        });
        // If the check was allowed, the set was not admitted, and the slot was free.
        let [_, refused]: [bool; 2] = race(first, [set, other]);
        assert!(!refused, "refused by a slot that nobody has");
    });
}

#[test]
fn a_permit_is_dropped_under_an_admit() {
    model(2, |first| {
        let quota = Quota::new(2, 10 * NANO).unwrap();
        let policy =
            Policy::new().limit(Limit::new("rate", quota)).limit(Limit::concurrent("slots", 2));
        let clock = VirtualClock::new().clock();
        let enforcer = Enforcer::builder(policy).clock(clock).hasher(Identity::default());
        let enforcer = Arc::new(enforcer.build().unwrap());
        let facts: [(&str, &str); 0] = [];
        let held = enforcer.admit(&facts, 1).unwrap();
        let admit = thread!(enforcer; enforcer.admit(&facts, 1).map(std::mem::forget).is_ok());
        let back = Box::new(move || {
            drop(held);
            true
        });
        let [admitted, _]: [bool; 2] = race(first, [admit, back]);
        assert!(admitted, "refused though there was room");
        assert_eq!(enforcer.limits()[1].slots.unwrap().in_use, 1, "a slot is lost");
        assert!(enforcer.peek(&facts, 1).is_err(), "a charge is lost");
    });
}

/// The quota changes for the second time since the permit was given out.
#[test]
fn a_permit_says_what_remained_while_the_quota_changes() {
    wide_model(2, |first| {
        let policy = |count, nanos, burst| {
            let quota = Quota::new(count, nanos * NANO).and_then(|quota| quota.with_burst(burst));
            Policy::new().limit(Limit::new("rate", quota.unwrap()))
        };
        let clock = VirtualClock::new().clock();
        let enforcer = Enforcer::builder(policy(1, 10, 20)).clock(clock).hasher(Identity::default());
        let enforcer = Arc::new(enforcer.build().unwrap());
        let facts: [(&str, &str); 0] = [];
        // The first gives the key a slot: so the second is decided on the fast path, and works out what
        // remained when it is asked.
        drop(enforcer.admit(&facts, 1).unwrap());
        let held = enforcer.admit(&facts, 1).unwrap();
        enforcer.reload(policy(3, 7, 40)).unwrap();
        let change = thread!(enforcer; {
            enforcer.reload(policy(7, 9, 50)).unwrap();
            None
        });
        let look = Box::new(move || {
            let allowed = held.allowed();
            Some((allowed.burst(), allowed.remaining()))
        });
        let [_, seen]: [Option<(u64, u64)>; 2] = race(first, [change, look]);
        let answers = [(20, 18), (40, 38), (50, 48)];
        assert!(
            seen.is_some_and(|seen| answers.contains(&seen)),
            "numbers of two quotas: {seen:?}"
        );
    });
}

/// The slot of the first limit comes back before that of the second is taken: never do both refuse.
#[test]
fn a_refusal_by_slots_is_of_one_moment() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (a, b) = (leased(5, &time), leased(7, &time));
        let held = a.try_acquire().unwrap();
        // Refusals make the first end of both limits known.
        drop(b.try_acquire().map(|held| (b.try_acquire().unwrap_err(), held)));
        a.try_acquire().unwrap_err();
        let set = thread!(a, b; {
            if let Err(refused) = all((a.slot(), b.slot())).admit(1) {
                let after = Retry::Unknown { at_latest: Some(7 * NANO) };
                assert!(refused.index() == 1 || refused.retry() != after, "two moments in one answer");
            }
            None
        });
        let taker = b.clone();
        let other: Box<dyn FnOnce() -> _> = Box::new(move || {
            drop(held);
            taker.try_acquire().ok()
        });
        drop(race::<Option<Lease>, 2>(first, [set, other]));
    });
}

#[test]
fn a_cap_is_lowered_under_a_set() {
    model(2, |first| {
        let slots = slots(3, &VirtualClock::new());
        let set = thread!(slots; {
            let permit = all((slots.slot(),)).admit(1).unwrap();
            let allowed = permit.allowed();
            std::mem::forget(permit);
            allowed.burst() - allowed.remaining()
        });
        let resize = thread!(slots; {
            slots.resize(2);
            1_u64
        });
        let [taken, _]: [u64; 2] = race(first, [set, resize]);
        assert_eq!(taken, 1, "two caps in one answer");
        assert_eq!(slots.usage().in_use, 1, "a slot is lost");
    });
}
