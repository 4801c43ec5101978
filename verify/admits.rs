//! Loom models of rates and slots decided as one. As in `models.rs`, each has a seeded bug with
//! which it must fail.
#![cfg(tollgate_loom)]

mod identity;
#[macro_use]
mod race;

use std::sync::Arc;
use std::time::Duration;

use tollgate::{
    ConcurrencyLimiter, Enforcer, Gcra, Lease, Policy, Quota, RateLimiter, Retry, VirtualClock, all,
};

use identity::Identity;
use race::{model, race};

const NANO: Duration = Duration::from_nanos(1);
const KEY: u64 = 1 << 32;

/// Two units at once, and no more within a model.
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

fn left(rate: &RateLimiter<Gcra, Identity>) -> u64 {
    rate.peek_n(&KEY, 0).unwrap().remaining()
}

#[test]
fn a_set_refused_by_its_slots_charges_no_rate() {
    model(2, |first| {
        let time = VirtualClock::new();
        let (rate, slots) = (rate(&time), slots(1, &time));
        // A permit borrows; what it took is told by what is left.
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

/// A thread's cells are added to the rest when it ends.
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

/// The first of two limits refuses for five nanoseconds and then for ten, the second for seven once the
/// first has been renewed: never both for seven.
#[test]
fn a_lease_is_renewed_between_two_looks() {
    model(2, |first| {
        let time = VirtualClock::new();
        let leased = |nanos: u32| {
            let slots = ConcurrencyLimiter::builder(1).lease(nanos * NANO).clock(time.clock());
            Arc::new(slots.build())
        };
        let (a, b) = (leased(10), leased(7));
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
